"""The spool: what is in it survives, what a crash tore is left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from kit.measure.drive.parse import Raw
from kit.measure.drive.spool import (
    REQUESTS,
    RESPONSES,
    SPOOL,
    Spool,
    read_spool,
    records_of,
    salvage,
    write_records,
)
from tests.drive.server import GOOD, stream


def raw(index: int, stage: str = "measured") -> Raw:
    return Raw(
        index=index,
        stage=stage,
        item="item",
        intended=10,
        sent=11,
        done=99,
        status="ok",
        error=None,
        reads=[(20 + index, stream(GOOD))],
    )


def indices(out: Path) -> list[str]:
    """What both record files hold, as ``index:stage``; they must agree."""
    import json

    files = [(out / name).read_bytes().splitlines() for name in (REQUESTS, RESPONSES)]
    first, second = [[json.loads(line) for line in lines] for lines in files]
    assert [r["index"] for r in first] == [r["index"] for r in second]
    return [f"{r['index']}:{r['stage']}" for r in first]


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / SPOOL)


def test_the_spool_gives_back_what_was_added(spool: Spool) -> None:
    spool.add(raw(1))
    spool.add(raw(0))
    assert list(spool.raws()) == [raw(1), raw(0)]


@pytest.mark.parametrize("cut", [1, 3, 10, 500])
def test_a_torn_end_is_left_out(tmp_path: Path, spool: Spool, cut: int) -> None:
    for i in range(3):
        spool.add(raw(i))
    data = (tmp_path / SPOOL).read_bytes()
    (tmp_path / SPOOL).write_bytes(data[:-cut])
    assert [r.index for r in read_spool(tmp_path / SPOOL)] == [0, 1]
    salvage(tmp_path, 0)
    assert indices(tmp_path) == ["0:measured", "1:measured"]


def test_zeros_of_a_power_loss_are_left_out(tmp_path: Path, spool: Spool) -> None:
    spool.add(raw(0))
    with (tmp_path / SPOOL).open("ab") as file:
        file.write(bytes(4096))
    salvage(tmp_path, 0)
    assert indices(tmp_path) == ["0:measured"]


def test_salvage_adds_to_what_an_earlier_stage_wrote(tmp_path: Path, spool: Spool) -> None:
    spool.add(raw(0, "warmup"))
    write_records(tmp_path, records_of(spool.raws(), 0, tmp_path))
    for i in (2, 1):
        spool.add(raw(i))
    salvage(tmp_path, 0)
    assert indices(tmp_path) == ["0:warmup", "1:measured", "2:measured"]
    assert not (tmp_path / SPOOL).exists()


def test_salvage_mends_a_crash_between_the_two_files(tmp_path: Path, spool: Spool) -> None:
    spool.add(raw(0, "warmup"))
    write_records(tmp_path, records_of(spool.raws(), 0, tmp_path))
    old = (tmp_path / RESPONSES).read_bytes()
    spool.add(raw(1))
    write_records(tmp_path, records_of(spool.raws(), 0, tmp_path))
    (tmp_path / RESPONSES).write_bytes(old)
    salvage(tmp_path, 0)
    assert indices(tmp_path) == ["0:warmup", "1:measured"]


def test_salvage_keeps_records_as_they_are(tmp_path: Path, spool: Spool) -> None:
    """A recounted answer is not overwritten by what the spool had of it."""
    spool.add(raw(0))
    write_records(tmp_path, records_of(spool.raws(), 0, tmp_path))
    counted = (tmp_path / REQUESTS).read_bytes().replace(b'"output_tokens":4', b'"output_tokens":7')
    (tmp_path / REQUESTS).write_bytes(counted)
    salvage(tmp_path, 0)
    assert (tmp_path / REQUESTS).read_bytes() == counted


def test_salvage_without_a_spool_does_nothing(tmp_path: Path) -> None:
    salvage(tmp_path, 0)
    assert list(tmp_path.iterdir()) == []


def test_salvage_of_an_empty_spool_invents_nothing(tmp_path: Path, spool: Spool) -> None:
    salvage(tmp_path, 0)
    assert list(tmp_path.iterdir()) == []
    assert spool is not None
