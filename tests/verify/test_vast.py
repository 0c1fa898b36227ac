"""Numbers that describe more work than the archive's own size: verify does no more than that."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kit import jsonio
from kit.verify import verify
from tests import golden
from tests.verify.forging import Change, edit_spec, failed

MOST = 150 * 2**20  # bytes beyond what was held before; the golden run's files have 0.2 MB
LAST = jsonio.MAX_SAFE_INTEGER


def asked(**options: Any) -> Change:
    return lambda run: edit_spec(run, lambda s: s["workload"]["options"].update(options))


def late(name: str) -> Change:
    """The last row of a stream is read at the end of time."""

    def forge(run: Path) -> None:
        path = run / "samples" / name
        *rows, last = path.read_text().splitlines()
        cells = last.split(",")
        cells[:2] = [str(LAST), str(LAST)]
        path.write_text("\n".join([*rows, ",".join(cells), ""]))

    return forge


def last_event(run: Path) -> None:
    def forge(events: list[dict[str, Any]]) -> None:
        events[-1]["t"] = LAST

    golden.rechain(run / "events.jsonl", forge)


VAST: dict[str, Change] = {
    "requests without end": asked(requests=10**12),
    "gigabytes of bodies": asked(
        requests=100_000, texts=[{"id": "a", "text": "x" * 200_000}], max_output_tokens=8
    ),
    "a late reading of a GPU": late("nvml.csv"),
    "a late reading of a CPU": late("rapl.csv"),
    "a late end": last_event,
}


@pytest.mark.parametrize("forge", VAST.values(), ids=VAST)
def test_no_number_makes_verify_do_more_than_the_files_are_worth(
    forge: Callable[[Path], None], tmp_path: Path
) -> None:
    run = golden.build(tmp_path / "runs")
    forge(run)
    run = golden.reseal(run)
    tracemalloc.start()
    try:
        verdict = verify(run)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert verdict.run_hash
    assert peak < MOST


@pytest.mark.parametrize("name", ["requests without end", "gigabytes of bodies"])
def test_a_spec_of_more_requests_than_were_sealed_is_refused(name: str, tmp_path: Path) -> None:
    run = golden.build(tmp_path / "runs")
    VAST[name](run)
    assert "SCHEDULE_DIFFERS" in failed(verify(golden.reseal(run)))
