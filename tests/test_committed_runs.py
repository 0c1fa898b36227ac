"""The runs that are committed verify with this kit: a formula that changes must say so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kit.energy import results
from kit.judge.verify import verify
from kit.record import archive, records
from kit.show import report
from tests.committed import ALL


@pytest.mark.parametrize("run", ALL, ids=lambda p: p.name[:12])
def test_a_committed_run_verifies(run: Path) -> None:
    verdict = verify(run)
    assert verdict.passed, [f"{c.code}: {c.message}" for c in verdict.failures]


@pytest.mark.parametrize("run", ALL, ids=lambda p: p.name[:12])
@pytest.mark.slow
def test_a_committed_run_is_drawn(run: Path) -> None:
    loaded = records.load(archive.open_source(run))
    page = report.html(run.name, loaded, results.compute(loaded))
    assert loaded.spec.name in page


@pytest.mark.parametrize("run", ALL, ids=lambda p: p.name[:12])
def test_no_committed_run_names_its_machine(run: Path) -> None:
    for path in run.rglob("*.json*"):
        if "private" not in path.parts:
            assert not re.search(rb'"/(root|home|work|tmp)/', path.read_bytes()), path
