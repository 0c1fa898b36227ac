"""A few hundred inputs of the fuzzer, always the same ones; `make fuzz` tries many more."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.__main__ import Fuzz


@pytest.mark.parametrize("first", [0, 1_000_000])
def test_whatever_an_archive_holds_verify_answers(tmp_path: Path, first: int) -> None:
    fuzz = Fuzz(tmp_path, asked=0.0)
    for seed in range(first, first + 60):
        fuzz.one(seed)
    assert fuzz.faults == []
    assert sum(fuzz.counts.values()) >= 60
    assert any("sealed again" in key for key in fuzz.counts)
