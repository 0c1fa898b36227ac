"""Calibrations of this host's cards: ``kit.calibration/1`` files in a folder that host.toml names.

A card's sensor errs by some percent, always the same. Whoever compared it with a better instrument
writes the result once, and every run of that card is corrected by it. An unusable file is an error:
ignoring it would leave a card uncorrected without notice.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from kit.core import jsonio, jsonplace, resources, schemawords
from kit.core.errors import UsageError
from kit.core.model import Problem, Record
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
            problems.append(error.message)
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
        raise _unusable(
            [(jsonplace.named(str(path), error.at), error.what, error.advice)]
        ) from error
    except OSError as error:
        raise _unusable(
            [(str(path), f"cannot be read: {error.strerror}", "make it readable")]
        ) from error
    schema = jsonio.read(resources.schema_path("calibration"))
    problems = list(schemawords.problems(schema, document)) or _falling(document)
    if problems:
        places = jsonplace.of_problems(data.decode(), problems)
        raise _unusable(
            (f"{jsonplace.named(str(path), at)} {one.path}:", one.message, one.remedy)
            for at, one in zip(places, problems, strict=True)
        )
    return msgspec.convert(document, Calibration, strict=False)


def _falling(document: dict[str, Any]) -> list[Problem]:
    """Ranges whose limits do not rise."""
    ranges = {name: document.get(name) for name in ("valid_w", "valid_degc")}
    return [
        Problem(f"$.{name}", "the limits must rise", "write the lower one first")
        for name, limits in ranges.items()
        if limits and limits[0] >= limits[1]
    ]


def _unusable(faults: Iterable[tuple[str, str, str]]) -> UsageError:
    """What is wrong with a file: each time where, what, and what to do."""
    listed = "; ".join(f"{where} {what} ({remedy})" for where, what, remedy in faults)
    return UsageError(listed, "correct the file, or move it out of the folder")
