"""Results of ``kit pdu calibrate``, kept next to ``host.toml`` in ``pdu-calibration.json``.

An entry is valid for the profile, outlets and inlets that it was made for: with others it is not
used, and kit reports that. Its facts go into the plan, so that verify recomputes with them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kit.core import jsonio
from kit.core.errors import UsageError

FILE = "pdu-calibration.json"
SCHEMA = "kit.pdu-calibration/1"
_MADE_FOR = ("profile", "outlets", "inlets")
# The keys of an entry that go into a plan, with limits of their numbers: a value beyond them is a
# slip, which would make every run wrong.
_NUMBERS = {
    "lag_s": (0.0, 120.0),
    "lag_u_s": (0.001, 120.0),
    "period_s": (0.01, 3600.0),
    "correction": (0.5, 2.0),
    "gain": (0.0, 0.5),
}
_TEXTS = ("gain_source", "calibrated")


def facts(folder: Path | None, alias: str, section: dict[str, Any]) -> dict[str, Any]:
    """The facts to add to those of the PDU ``alias``; empty without a calibration.

    Raises:
        UsageError: the file does not have kit's form, or the entry holds an impossible value.
    """
    entry = read(folder).get(alias) if folder else None
    if folder is None or entry is None:
        return {}
    if entry.get("made_for") != made_for(section):
        return {"calibration_unused": "made for another profile or other outlets: repeat it"}
    _check(folder, alias, entry["facts"])
    values = {key: entry["facts"][key] for key in (*_NUMBERS, *_TEXTS) if key in entry["facts"]}
    return {**values, "calibration_sha256": jsonio.hash_of(document(values))}


def document(facts: dict[str, Any]) -> dict[str, Any]:
    """A calibration as it is sealed with a run: without the outlets that it was made for."""
    sealed = {key: value for key, value in facts.items() if key != "calibration_sha256"}
    return {"schema": SCHEMA, "facts": sealed}


def read(folder: Path) -> dict[str, Any]:
    """Every entry, by alias; empty without a file.

    Raises:
        UsageError: the file does not have kit's form.
    """
    path = folder / FILE
    if not path.is_file():
        return {}
    remedy = _remedy(folder)
    try:
        entries_by_alias = jsonio.read_own(path)
    except jsonio.JsonRefused as error:
        raise UsageError(f"{FILE} cannot be read: {error.message}", remedy) from error
    except OSError as error:
        raise UsageError(f"{FILE} cannot be read: {error.strerror}", remedy) from error
    entries = entries_by_alias.values() if isinstance(entries_by_alias, dict) else [None]
    if not all(isinstance(e, dict) and isinstance(e.get("facts"), dict) for e in entries):
        raise UsageError(f"{FILE} is not one that kit wrote", remedy)
    return dict(entries_by_alias)


def keep(folder: Path, alias: str, entry: dict[str, Any]) -> Path:
    """Write an entry into the file, replacing an older one; returns the file's path.

    Raises:
        UsageError: the file does not have kit's form, or the entry holds an impossible value.
    """
    _check(folder, alias, entry["facts"])
    path = folder / FILE
    jsonio.write(path, {**read(folder), alias: entry})
    return path


def made_for(section: dict[str, Any]) -> dict[str, Any]:
    """The part of a ``[pdu.*]`` section on which a calibration depends."""
    part: dict[str, Any] = {key: section.get(key) for key in _MADE_FOR}
    part["profile"] = Path(str(part["profile"])).stem
    for key in ("outlets", "inlets"):
        part[key] = sorted(str(outlet) for outlet in part[key] or ())
    return part


def _check(folder: Path, alias: str, facts: dict[str, Any]) -> None:
    """Refuse impossible numbers, and texts that a plan cannot hold.

    Raises:
        UsageError: with every problem.
    """
    problems = [
        f"{key} must lie in {low:g}…{high:g}"
        for key, (low, high) in _NUMBERS.items()
        if key in facts and not _is_within(facts[key], low, high)
    ]
    problems += [
        f"{key} must be a line of text" for key in _TEXTS if not _is_line(facts.get(key, ""))
    ]
    if problems:
        raise UsageError(f"{FILE}, entry {alias}: {', '.join(problems)}", _remedy(folder))


def _is_within(value: Any, low: float, high: float) -> bool:
    """Whether it is a number between the limits; false for NaN and infinity."""
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def _is_line(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable()


def _remedy(folder: Path) -> str:
    return f"remove {folder / FILE} and calibrate again with `kit pdu calibrate`"
