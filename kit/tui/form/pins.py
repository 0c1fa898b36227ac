"""Pins of a draft from what this machine knows (`kit.machine.pinning`).

The look-up blocks, and runs outside of the event loop. `applied` then writes the pins into the
draft, which may have changed meanwhile.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from kit.machine import pinning
from kit.tui.form.draft import Where, same, value_at, with_value
from kit.tui.form.vocabulary import rules_at


class Pin(NamedTuple):
    """A value for ``where``, valid as long as the value at ``because`` is ``of``."""

    where: Where
    value: Any
    because: Where
    of: Any


class KnownPins(NamedTuple):
    """The known pins, and a message: their origin, or how to find them by hand."""

    pins: tuple[Pin, ...]
    message: str


def applied(document: Any, pins: KnownPins) -> Any:
    """``document`` with the pins that are still valid for it."""
    for pin in pins.pins:
        if same(value_at(document, pin.because), pin.of):
            order = tuple(rules_at(document, pin.where[:-1]).get("properties", {}))
            document = with_value(document, pin.where, pin.value, order)
    return document


# --- images -------------------------------------------------------------------------------------


def image(document: Any) -> KnownPins:
    """The digest of a spec's image: a recipe's from its lock, another's from the engine."""
    recipe = value_at(document, ("image", "recipe"))
    reference = value_at(document, ("image", "reference"))
    if isinstance(recipe, str) and recipe:
        where: Where = ("image", "recipe")
        return _of_image(("image", "digest"), pinning.recipe(recipe), where, recipe)
    if isinstance(reference, str) and reference:
        where = ("image", "reference")
        return _of_image(where, pinning.reference(reference), where, reference)
    return KnownPins((), "choose an image first: there is nothing to pin")


def _of_image(where: Where, image: pinning.ImagePin, because: Where, of: str) -> KnownPins:
    pins = (Pin(where, image.pin, because, of),) if image.pin else ()
    return KnownPins(
        pins, f"{image.message}; then press F6 again" if image.to_fetch else image.message
    )


# --- weights ------------------------------------------------------------------------------------


def model_files(document: Any) -> KnownPins:
    """Revision, hashes and sizes of a spec's model files, from what this machine knows."""
    files = value_at(document, ("weights", "files"))
    if not isinstance(files, list) or not files:
        return KnownPins((), "the spec names no model files: add one, with its source")
    pins: list[Pin] = []
    messages: list[str] = []
    for index in range(len(files)):
        where: Where = ("weights", "files", index)
        source = str(value_at(document, (*where, "source")) or "")
        facts, words = pinning.file(source)
        because = (*where, "source")
        pins += _revision(document, facts.get("source", source), because) if index == 0 else []
        # The source itself last: the other pins depend on its old value.
        keys = sorted(facts, key=lambda key: key == "source")
        pins += [Pin((*where, key), facts[key], because, source) for key in keys]
        messages.append(words)
    return KnownPins(tuple(pins), "\n".join(messages))


def _revision(document: Any, source: str, because: Where) -> list[Pin]:
    """The first source's revision, if the spec gives none or a moving one."""
    now = value_at(document, because)
    revision = value_at(document, ("weights", "revision"))
    named = pinning.revision(source)
    moves = revision in rules_at(document, ("weights", "revision")).get("not", {}).get("enum", [])
    if not named or (revision and not moves):
        return []
    return [Pin(("weights", "revision"), named, because, now)]
