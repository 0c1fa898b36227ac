"""Calibrations of this host's cards: ``kit.calibration/1`` files in a folder that host.toml names.

A card's sensor errs by some percent, always the same. Whoever compared it with a better instrument
writes the result once, and every run of that card is corrected by it. An unusable file is an error:
ignoring it would leave a card uncorrected without notice.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from kit.core import jsonio, jsonplace, resources, schemawords
from kit.core.errors import UsageError
from kit.core.model import Record
from kit.core.text import utf8


class Calibration(Record, frozen=True, kw_only=True):
    """One card against a reference: true power = ``gain`` · reading + ``offset_w``.

    ``u_gain`` and ``u_offset_w`` are standard uncertainties, ``valid_w`` and ``valid_degc`` the
    powers and temperatures that were compared. See ``kit schema calibration``.
    """

    schema: str
    uuid: str
    gain: float
    offset_w: float
    u_gain: float
    u_offset_w: float
    date: str
    reference: str
    source: str
    valid_w: tuple[float, float]
    valid_degc: tuple[float, float] | None = None


def public(calibration: Calibration) -> dict[str, Any]:
    """A calibration as it is sealed with a run: all but the card's UUID."""
    document: dict[str, Any] = msgspec.to_builtins(calibration)
    return {key: value for key, value in document.items() if key != "uuid" and value is not None}


def load(folder: Path) -> tuple[Calibration, ...]:
    """Every ``*.json`` of ``folder``, by name; none without such a folder.

    Raises:
        UsageError: a file that is not a calibration, or two of one card; all such are listed.
    """
    if not folder.is_dir():
        return ()
    calibrations: dict[str, Calibration] = {}
    problems: list[str] = []
    for path in sorted(folder.glob("*.json")):
        try:
            calibration = _read(path)
        except UsageError as error:
            problems.append(f"{error.message}: {error.remedy}")
            continue
        if calibration.uuid.lower() in calibrations:
            problems.append(f"{path}: another file calibrates the same card")
        calibrations[calibration.uuid.lower()] = calibration
    if problems:
        raise UsageError(
            "; ".join(problems),
            "correct the files, or move them out of the folder; `kit schema calibration` says what "
            "one must hold",
        )
    return tuple(calibrations.values())


def _read(path: Path) -> Calibration:
    try:
        data = utf8(path.read_bytes())
        document = jsonio.parse(data)
    except jsonio.JsonRefused as error:
        raise error.of_own(str(path)) from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", "make it readable") from error
    schema = jsonio.read(resources.schema_path("calibration"))
    if problems := list(schemawords.problems(schema, document)):
        places = jsonplace.of_problems(data.decode(), problems)
        sentences = [
            f"{jsonplace.named(str(path), at)} {problem.path}: {problem.message}"
            for at, problem in zip(places, problems, strict=True)
        ]
        raise UsageError("; ".join(sentences), problems[0].remedy)
    calibration = msgspec.convert(document, Calibration, strict=False)
    for name in ("valid_w", "valid_degc"):
        limits = getattr(calibration, name)
        if limits and limits[0] >= limits[1]:
            at = jsonplace.index(data.decode())[f"$.{name}"][1]
            where = jsonplace.named(str(path), at)
            raise UsageError(f"{where} {name} must rise", "write the lower limit first")
    return calibration
