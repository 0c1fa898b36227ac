"""What ``kit pdu calibrate`` found, kept beside ``host.toml`` in ``pdu-calibration.json``.

An entry holds for the profile, outlets and inlets that it was made for: with others of these it is
not used, and that is said. Its facts go into the plan, so that verify recomputes with them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kit import jsonio
from kit.errors import UsageError

FILE = "pdu-calibration.json"
_MADE_FOR = ("profile", "outlets", "inlets")
# What a plan may take up of an entry: anything else in the file stays here.
_FACTS = ("lag_s", "lag_u_s", "period_s", "correction", "gain", "gain_source", "calibrated")


def facts(folder: Path | None, alias: str, section: dict[str, Any]) -> dict[str, Any]:
    """The facts to be added to those of the PDU ``alias``; empty where none was calibrated.

    Raises:
        UsageError: the file is not one that kit wrote.
    """
    entry = read(folder).get(alias) if folder else None
    if entry is None:
        return {}
    if entry.get("made_for") != made_for(section):
        return {"calibration_unused": "made for another profile or other outlets: repeat it"}
    return {key: entry["facts"][key] for key in _FACTS if key in entry.get("facts", {})}


def read(folder: Path) -> dict[str, Any]:
    """Every entry, by alias; empty without a file.

    Raises:
        UsageError: the file is not one that kit wrote.
    """
    path = folder / FILE
    if not path.is_file():
        return {}
    remedy = f"remove {path} and calibrate again with `kit pdu calibrate`"
    try:
        found = jsonio.read(path)
    except jsonio.JsonRefused as error:
        raise UsageError(f"{FILE} cannot be read: {error.message}", remedy) from error
    entries = found.values() if isinstance(found, dict) else [None]
    if not all(isinstance(e, dict) and isinstance(e.get("facts"), dict) for e in entries):
        raise UsageError(f"{FILE} is not one that kit wrote", remedy)
    return dict(found)


def keep(folder: Path, alias: str, entry: dict[str, Any]) -> Path:
    """Put an entry into the file, in place of an older one; returns the file's path."""
    path = folder / FILE
    jsonio.write(path, {**read(folder), alias: entry})
    return path


def made_for(section: dict[str, Any]) -> dict[str, Any]:
    """What of a ``[pdu.*]`` section a calibration depends on."""
    found: dict[str, Any] = {key: section.get(key) for key in _MADE_FOR}
    found["profile"] = Path(str(found["profile"])).stem
    for key in ("outlets", "inlets"):
        found[key] = sorted(str(each) for each in found[key] or ())
    return found
