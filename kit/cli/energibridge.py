"""`kit import energibridge`: the energy of an EnergiBridge recording."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from kit.cli.common import Json, as_folder, print_json, say
from kit.cli.paths import Named, Written
from kit.core import jsonio, onestep
from kit.core.errors import UsageError
from kit.core.text import utf8
from kit.core.units import rounded
from kit.energy import Energy
from kit.energy.reasons import sentence
from kit.energy.value import EnergyValue
from kit.measure.readers import Recording
from kit.measure.readers import energibridge as reader
from kit.record import samples
from kit.show import render

_LARGEST = 1 << 30
_S = 1_000_000_000
_MOST_NOTES = 8


def energibridge(
    file: Annotated[Path, Named],
    *,
    from_s: Annotated[float | None, Parameter(name="--from")] = None,
    to_s: Annotated[float | None, Parameter(name="--to")] = None,
    out: Annotated[Path | None, Written] = None,
    json: Json = False,
) -> None:
    """Show the energy of an EnergiBridge recording as kit computes it, with its uncertainty.

    Args:
        file: the CSV that `energibridge -o` wrote.
        from_s: seconds since its first row at which the window begins; else the whole recording.
        to_s: seconds since its first row at which the window ends.
        out: a folder to write as kit's samples (energibridge.csv) and device facts (meters.json).
    """
    if out:
        as_folder(out, "--out", "name a folder; --json prints the energy to standard output")
    data = _bytes(file)
    recording = reader.read(_text(data, file), str(file))
    window = _window(recording, from_s, to_s)
    read = samples.from_csv({"energibridge.csv": recording.csv})
    values = Energy(read, recording.meters).of(*window)
    if out:
        _write(recording, out)
    summary = _summary(recording, data, window, values)
    if json:
        print_json(rounded(summary))
        return
    render.imported(summary, values)
    for line in recording.unused:
        say(f"not used: {line}")
    for line in _shortened(recording.notes):
        say(f"note: {line}")


def _shortened(notes: Sequence[str]) -> list[str]:
    more = len(notes) - _MOST_NOTES
    return [*notes[:_MOST_NOTES], *([f"{more} more: --json has them all"] if more > 0 else [])]


def _bytes(file: Path) -> bytes:
    try:
        if file.stat().st_size > _LARGEST:
            raise UsageError(f"{file} is larger than 1 GiB", "import a part of it")
        return file.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}", "name a CSV file") from error


def _text(data: bytes, file: Path) -> str:
    try:
        return utf8(data).decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is not text", "name a CSV file of EnergiBridge's") from error


def _window(recording: Recording, from_s: float | None, to_s: float | None) -> tuple[int, int]:
    first, last = recording.window
    if not all(math.isfinite(at) for at in (from_s, to_s) if at is not None):
        raise UsageError("--from and --to must be numbers of seconds", "give them as 12.5")
    t0 = first if from_s is None else round(from_s * _S)
    t1 = last if to_s is None else round(to_s * _S)
    if not 0 <= t0 < t1 <= last + _S:
        raise UsageError(
            f"the window {t0 / _S:g} … {t1 / _S:g} s is not within the recording, "
            f"{first / _S:g} … {last / _S:g} s",
            "give --from and --to in seconds since the first row",
        )
    for begin, end in recording.gaps:
        if any(begin < t < end for t in (t0, t1)):
            raise UsageError(
                f"the window begins or ends where {(end - begin) / _S:.3g} s have no reading",
                f"choose another time than {begin / _S:g} … {end / _S:g} s",
            )
    return t0, t1


def _summary(
    recording: Recording, data: bytes, window: tuple[int, int], values: Iterable[EnergyValue]
) -> dict[str, Any]:
    began = datetime.fromtimestamp(recording.began_ms / 1000, UTC)
    return {
        "source": {
            "tool": "EnergiBridge",
            "sha256": hashlib.sha256(data).hexdigest(),
            "rows": recording.rows,
            "began_utc": began.isoformat(timespec="milliseconds"),
        },
        "window_s": [t / _S for t in window],
        "energy": {v.scope: _in_words(v) for v in values},
        "devices": {d.device: d.description for m in recording.meters for d in m.devices},
        "not_used": list(recording.unused),
        "notes": list(recording.notes),
    }


def _in_words(value: EnergyValue) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.to_builtins(value, enc_hook=sentence)
    return document | {"reason": sentence(value.reason or "")}


def _write(recording: Recording, out: Path) -> None:
    facts = jsonio.canonical(msgspec.to_builtins(list(recording.meters)))
    files = {"energibridge.csv": recording.csv, "meters.json": facts + b"\n"}
    onestep.write_all(out, files, force=True)
    say(f"wrote {out / 'energibridge.csv'} and {out / 'meters.json'}")
