"""The runs that are committed in ``runs/``, found by what they are: their hashes change whenever
they are made anew."""

from __future__ import annotations

from pathlib import Path

from kit import jsonio, manifest

RUNS = Path(__file__).parent.parent / "runs"


def _found(spec: str, *, replay: bool = False) -> Path:
    """The one run of that spec that is, or is not, a replay."""
    (found,) = (
        path.parent
        for path in RUNS.glob("*/manifest.json")
        if jsonio.read(path.parent / "spec.json")["name"] == spec
        and bool(manifest.parent(jsonio.read(path), manifest.REPLAY)) is replay
    )
    return found


H200 = _found("h200-smollm2")
QUICKSTART = _found("quickstart")
REPLAY = _found("quickstart", replay=True)
