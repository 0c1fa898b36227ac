"""Edits of several values: another runtime, another kind of image, one more meter.

Each is one step of the draft's history.
"""

from __future__ import annotations

import json
from typing import Any

from kit.core.errors import KitError
from kit.core.model import RunSpec
from kit.machine import pinning
from kit.spec import runtimes
from kit.spec import spec as specs
from kit.tui.form import vocabulary
from kit.tui.form.draft import ABSENT, Draft, Where, same, to_text, value_at, with_value, without
from kit.tui.form.fields import Field


def changed_to(document: Any, spec: RunSpec) -> Any:
    """``document`` with the values of ``spec`` that differ; equal values keep their form.

    Raises:
        KitError: the document is no spec.
    """
    before = specs.document(specs.parse(to_text(document).encode()))
    after = specs.document(spec)
    return {**document, **{k: v for k, v in after.items() if before.get(k, ABSENT) != v}}


def choose(draft: Draft, where: Where, value: Any) -> str:
    """Write a choice and its consequences; returns the consequences as a sentence."""
    if where in (("runtime", "name"), ("workload", "name")):
        return _switch(draft, str(where[0]), value)
    if where == ("image", "recipe"):
        return _recipe(draft, value)
    return write(draft, where, value)


def write(draft: Draft, where: Where, value: Any, *, joined: bool = False) -> str:
    """Write a value, or remove it (`ABSENT`); returns the consequences as a sentence.

    Hash and size belong to the file of a source: with another source they are removed; otherwise
    other bytes would run under the new name.
    """
    dropped: list[str] = []
    if where[-1] == "source" and not same(draft.get(where), value):
        pins = draft.get(where[:-1])
        dropped = [key for key in ("sha256", "size") if isinstance(pins, dict) and key in pins]
    if value is ABSENT:
        draft.drop(where, joined=joined)
    else:
        draft.put(where, value, joined=joined)
    document = draft.document
    for key in dropped:
        document = without(document, (*where[:-1], key))
    draft.amend(document)
    message = f"{' and '.join(dropped)} were those of the file before: F7 pins the new ones"
    return f"{message} (ctrl+z takes it back)" if dropped else ""


def unpinned(before: Any, document: Any) -> Any:
    """``document`` without hashes whose sources changed in a new text."""
    files = value_at(document, ("weights", "files"))
    for index in range(len(files) if isinstance(files, list) else 0):
        where: Where = ("weights", "files", index)
        old, new = value_at(before, where), value_at(document, where)
        if not (isinstance(old, dict) and isinstance(new, dict)):
            continue
        if old.get("source") != new.get("source") and old.get("sha256") == new.get("sha256"):
            for key in ("sha256", "size"):
                document = without(document, (*where, key))
    return document


def choose_variant(draft: Draft, field: Field, chosen: str) -> None:
    """Change the value to another kind of object, keeping common keys; or to null."""
    wanted = json.loads(chosen)
    if wanted is None:
        draft.put(field.where, None)
        return
    now = draft.get(field.where)
    if isinstance(now, dict) and vocabulary.branch(field.rules, now).get("required") == wanted:
        return
    rules = next(variant for variant in field.rules["oneOf"] if variant.get("required") == wanted)
    old_values = now if isinstance(now, dict) else {}
    draft.put(field.where, {k: v for k, v in old_values.items() if k in rules["properties"]})


def variant_of(field: Field, value: Any) -> str | None:
    """The field's choice for ``value``; None without one."""
    if value is ABSENT or not (value is None or isinstance(value, dict)):
        return None
    branch = vocabulary.branch(field.rules, value)
    return "null" if value is None else json.dumps(list(branch.get("required", [])))


def tick(draft: Draft, field: Field, on: bool) -> None:
    """Add the field's element to its list, or remove it."""
    member, where = json.loads(field.member), field.where
    now = draft.get(where)
    items = list(now) if isinstance(now, list) else []
    rest = [item for item in items if not _is(item, member)]
    if on and len(rest) == len(items):
        rest.append(member)
    if rest or "default" not in field.rules:
        draft.put(where, rest)
    else:
        draft.drop(where)


def is_ticked(field: Field, value: Any) -> bool:
    """Whether the list ``value`` holds the field's element."""
    member = json.loads(field.member)
    return isinstance(value, list) and any(_is(item, member) for item in value)


def add(draft: Draft, where: Where) -> None:
    """One more element, empty, at the end of a list."""
    draft.put(where, {})


def switch(draft: Draft, where: Where, on: bool) -> None:
    """Add or remove an optional object."""
    if on:
        draft.put(where, {})
    else:
        draft.drop(where)


def _is(item: Any, member: Any) -> bool:
    """Whether two elements are the same; meters by name, whatever their alias."""
    if isinstance(item, dict) and isinstance(member, dict):
        return bool(item.get("name") == member.get("name"))
    return bool(item == member)


# --- what follows from a name -------------------------------------------------------------------


def _switch(draft: Draft, part: str, name: Any) -> str:
    """Change runtime or workload: common options are kept, others dropped."""
    if name is ABSENT:
        draft.drop((part, "name"))
        return ""
    before = draft.document
    now = value_at(before, (part, "options"))
    options = now if isinstance(now, dict) else {}
    properties = vocabulary.options_of(part, name).get("properties", {})
    values = {key: value for key, value in options.items() if key in properties}
    document = with_value(before, (part, "name"), name, ("name", "options"))
    if now is not ABSENT:
        document = with_value(document, (part, "options"), values)
    messages = [f"{key} dropped" for key in options if key not in values]
    if part == "runtime":
        document, more = _follow(before, document, name)
        messages += more
    draft.replace(document)
    return f"{name}: {', '.join(messages)} (ctrl+z takes it back)" if messages else ""


def _follow(before: Any, document: Any, name: str) -> tuple[Any, list[str]]:
    """Change the image with the runtime, if it was the recipe of the one before."""
    old, new = _recipe_of(value_at(before, ("runtime", "name"))), _recipe_of(name)
    if not old or not new or old == new or value_at(document, ("image", "recipe")) != old:
        return document, []
    return with_value(document, ("image",), pinned(new)), [f"image is now the recipe {new}"]


def _recipe_of(runtime: Any) -> str | None:
    try:
        return runtimes.get(runtime).recipe
    except (KitError, TypeError):
        return None


def pinned(recipe: str) -> dict[str, str]:
    """A spec's ``image`` for a recipe, with its locked digest, if it is locked."""
    try:
        digest = pinning.recipe(recipe).pin
    except KitError:
        digest = ""
    return {"recipe": recipe, "digest": digest} if digest else {"recipe": recipe}


def _recipe(draft: Draft, name: Any) -> str:
    """Change the recipe and its digest: the old digest would be valid, but of another image."""
    if name is ABSENT:
        draft.drop(("image", "recipe"))
        return ""
    image = draft.get(("image",))
    rest = {k: v for k, v in image.items() if k != "digest"} if isinstance(image, dict) else {}
    pins = {**rest, **pinned(name)}
    draft.put(("image",), pins)
    return "digest: as this kit's recipe is locked" if "digest" in pins else "F6 pins its digest"
