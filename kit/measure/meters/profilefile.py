"""Profiles of makes of PDU and plug: JSON files, kit's own by name, a person's by path."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import msgspec

from kit.core import jsonio
from kit.measure.meters.contract import MeterUnavailable

Profile = TypeVar("Profile")


def names(folder: Path) -> tuple[str, ...]:
    """Every profile that kit brings."""
    return tuple(sorted(path.stem for path in folder.glob("*.json")))


def load(
    name: str,
    folder: Path,
    kind: type[Profile],
    problems: Callable[[Profile], Iterable[str]],
    *,
    word: str,
    names: Iterable[str],
) -> Profile:
    """The profile called ``name``, or the one in the file ``name`` where it ends in ``.json``.

    Args:
        problems: what is wrong with a profile, each in words.
        word: what it is a profile of, for messages.
        names: the names that a message offers.

    Raises:
        MeterUnavailable: there is none, or it contradicts itself.
    """
    path = Path(name).expanduser() if name.endswith(".json") else folder / f"{name}.json"
    if not path.is_file():
        offered = ", ".join(names)
        raise MeterUnavailable(f"kit knows no {word} profile {path.stem!r} (it knows: {offered})")
    try:
        profile = msgspec.convert(jsonio.read_own(path), kind)
    except (msgspec.ValidationError, jsonio.JsonRefused) as error:
        raise MeterUnavailable(f"the {word} profile {path.stem} is malformed: {error}") from error
    for problem in problems(profile):
        raise MeterUnavailable(f"the {word} profile {path.stem}: {problem}")
    return profile
