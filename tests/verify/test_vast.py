"""Numbers that describe more work than the archive's own size: verify does no more than that."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kit.core import jsonio
from kit.judge.verify import verify
from tests import golden
from tests.verify.forging import Change, edit_spec, failed

MOST = 150 * 2**20  # bytes beyond what was held before; the golden run's files have 0.2 MB
LAST = jsonio.MAX_SAFE_INTEGER


def asked(**options: Any) -> Change:
    return lambda run: edit_spec(run, lambda s: s["workload"]["options"].update(options))


def late(name: str) -> Change:
    """The last row of a sampler is read at the end of time."""

    def forge(run: Path) -> None:
        path = run / "samples" / name
        *rows, last = path.read_text().splitlines()
        cells = last.split(",")
        cells[1:3] = [str(LAST), str(LAST)]
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
    "a late reading of every stream": lambda run: [late(n)(run) for n in ("nvml.csv", "rapl.csv")],
    "a late end": last_event,
}


@pytest.mark.parametrize("forge", VAST.values(), ids=VAST)
def test_no_number_makes_verify_do_more_than_the_files_are_worth(
    forge: Callable[[Path], None], tmp_path: Path
) -> None:
    run = golden.copied(tmp_path / "runs")
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


def block(launch: int, phase: str, part: str | None) -> Change:
    """One more block at the end of the journal, as anybody can write any number of them."""

    def forge(events: list[dict[str, Any]]) -> None:
        data = {"launch": launch, "phase": phase, "part": part}
        end = events.pop()
        more = [{"t": end["t"], "kind": f"phase.{edge}", "data": data} for edge in ("begin", "end")]
        events += [*more, end]

    return lambda run: golden.rechain(run / "events.jsonl", forge)


BLOCKS: dict[str, Change] = {
    "a block twice": block(0, "measured", None),
    "a block of no launch": block(golden.LAUNCHES, "measured", None),
    "a launch below 0": block(-1, "measured", None),
    "a block of another name": block(0, "other", None),
    "a block of another part": block(0, "measured", "before"),
    "a piece as a block": block(0, "decode", None),
}


@pytest.mark.parametrize("forge", BLOCKS.values(), ids=BLOCKS)
def test_a_journal_with_more_blocks_than_its_launches_have_is_refused_before_any_is_computed(
    forge: Change, tmp_path: Path
) -> None:
    run = golden.copied(tmp_path / "runs")
    forge(run)
    assert failed(verify(golden.reseal(run))) == {"FILE_INVALID"}


def test_a_driver_that_reports_stages_of_no_launch_is_refused(tmp_path: Path) -> None:
    run = golden.copied(tmp_path / "runs")
    driver = run / "launches/000/driver.json"
    golden.edit_json(driver, lambda d: d["stages"].update(other=d["stages"]["measured"]))
    assert "DRIVER_DIFFERS" in failed(verify(golden.reseal(run)))


@pytest.mark.parametrize("name", ["requests without end", "gigabytes of bodies"])
def test_a_spec_of_more_requests_than_were_sealed_is_refused(name: str, tmp_path: Path) -> None:
    run = golden.copied(tmp_path / "runs")
    VAST[name](run)
    assert "SCHEDULE_DIFFERS" in failed(verify(golden.reseal(run)))
