"""Every run is a row, whatever state it is in, and a large store opens at once."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from kit.show import runlist
from kit.show.runlist import BATCH, FIRST, INDEX, WORTH_AN_INDEX, Row
from kit.store.store import Store
from tests.committed import H200, QUICKSTART, REPLAY

MANIFEST = {"status": "complete", "clock": {"utc": "2026-11-21T10:33:22+00:00"}}
METRIC = {"status": "measured", "unit": "J", "launches": [0.2], "value": 0.2, "ci95": [0.19, 0.21]}
RATE = {"status": "measured", "unit": "tokens/s", "launches": [50], "value": 50}
RESULTS = {"metrics": {"gpu_energy_per_output_token": METRIC, "output_throughput": RATE}}
SPEC = {"name": "made", "runtime": {"name": "vllm"}}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


def made(store: Store, number: int, **documents: Any) -> Path:
    """A sealed run's folder with the documents that a row is read from; bytes go in as they are."""
    path = store.root / f"{number:064x}"
    path.mkdir(parents=True)
    for name, value in (
        {"manifest": MANIFEST, "spec": SPEC, "results": RESULTS} | documents
    ).items():
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        (path / f"{name}.json").write_bytes(data)
    os.utime(path / "manifest.json", (number, number))
    return path


def sealed(store: Store) -> list[Row]:
    return runlist.rows(store)


def test_a_committed_run_is_a_row_with_its_numbers() -> None:
    row = runlist.read(H200)
    assert (row.status, row.name, row.gpu) == ("complete", "h200-smollm2", "H200")
    assert row.energy == "2.416 GPU" and row.started == "2026-11-21 10:33"
    assert row.joules == pytest.approx(2.416, rel=1e-3)
    assert row.stated == "GPU 2.416 J ± 0.035 (3 launches) ± 0.090 (sensor)"
    assert row.se_percent == pytest.approx(1.4335, rel=1e-3)


def test_a_replay_names_its_original() -> None:
    row = runlist.read(REPLAY)
    assert row.replay_of == QUICKSTART.name and row.note == f"replay of {QUICKSTART.name[:8]}"
    assert row.energy.endswith(" est.")


def test_several_cards_are_counted(store: Store) -> None:
    path = made(store, 1)
    (path / "env").mkdir()
    cards = {f"gpu{n}": {"name": "NVIDIA H200"} for n in range(4)}
    (path / "env" / "start.json").write_text(json.dumps({"gpus": cards}))
    assert runlist.read(path).gpu == "4×H200"


@pytest.mark.parametrize(
    ("document", "value", "says"),
    [
        ("manifest", b"{", "manifest.json is not JSON"),
        ("manifest", b"\xff\xfe", "manifest.json is not JSON"),
        ("manifest", b"[" * 100_000, "nests deeper"),
        ("manifest", b'{"a": 1, "a": 2}', "one key twice"),
        ("manifest", b"[]", "the form that kit writes"),
        ("manifest", {"clock": 3}, "the form that kit writes"),
        ("spec", b"null", "the form that kit writes"),
        ("results", {"metrics": 7}, "the form that kit writes"),
        ("results", b'{"metrics": {"output_throughput": {"value": NaN}}}', "not a number"),
        (
            "results",
            {"metrics": {"output_throughput": {"value": 10**400}}},
            "an integer of 2^53 or more",
        ),
    ],
)
def test_what_cannot_be_read_is_a_row_with_its_reason(
    store: Store, document: str, value: Any, says: str
) -> None:
    made(store, 1, **{document: value})
    (row,) = sealed(store)
    assert row.status == "broken" and says in row.note


def test_links_and_pipes_are_not_followed(store: Store, tmp_path: Path) -> None:
    for number, name in ((1, "manifest"), (2, "results")):
        path = made(store, number) / f"{name}.json"
        path.unlink()
        if number == 1:
            (tmp_path / "elsewhere").write_text(json.dumps(MANIFEST))
            path.symlink_to(tmp_path / "elsewhere")
        else:
            os.mkfifo(path)
    assert [row.status for row in sealed(store)] == ["broken", "broken"]


def test_a_document_has_a_bound(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kit.show.runlist.runrow.SMALL", 100)
    made(store, 1, spec=b" " * 101)
    (row,) = sealed(store)
    assert row.status == "broken" and "larger than" in row.note


def test_runs_in_flight_come_first(store: Store) -> None:
    made(store, 1)
    dead, alive = store.begin(), store.begin()
    dead.write("spec.json", SPEC)
    dead.release()
    rows = sealed(store)
    assert [(r.status, r.run) for r in rows[:2]] == [("running", alive.id), ("unsealed", dead.id)]
    assert rows[1].name == "made" and rows[1].note == "kit recover"
    assert rows[2].status == "complete"
    alive.release()


def test_the_newest_comes_first_and_a_screenful_at_once(store: Store) -> None:
    for number in range(FIRST + 10):
        made(store, number)
    flight, first, rest = runlist.batches(store)
    assert (len(flight), len(first), len(rest)) == (0, FIRST, 10)
    assert int(first[0].run, 16) == FIRST + 9


@pytest.mark.slow
def test_ten_thousand_runs_come_from_the_index(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = made(store, 0)
    for number in range(1, 10_000):
        path = store.root / f"{number:064x}"
        path.mkdir()
        for name in ("manifest", "spec", "results"):
            os.link(template / f"{name}.json", path / f"{name}.json")
    assert len(sealed(store)) == 10_000
    read: list[Path] = []
    monkeypatch.setattr(runlist, "read", lambda path: read.append(path))
    sizes = [len(batch) for batch in runlist.batches(store)]
    assert sum(sizes) == 10_000 and max(sizes) == BATCH and not read


def _many(store: Store) -> list[Path]:
    paths = [made(store, number) for number in range(WORTH_AN_INDEX)]
    sealed(store)
    return paths


def test_a_changed_manifest_is_read_anew_and_a_removed_run_is_forgotten(store: Store) -> None:
    changed, removed, *_ = _many(store)
    (changed / "manifest.json").write_text(json.dumps({**MANIFEST, "status": "failed"}))
    shutil.rmtree(removed)
    made(store, WORTH_AN_INDEX)
    rows = {row.run: row for row in sealed(store)}
    assert rows[changed.name].status == "failed" and removed.name not in rows
    assert removed.name not in (store.root / INDEX).read_text()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not JSON",
        b"[" * 100_000,
        b'{"kit": "0.0.0", "rows": {}}',
        b'{"kit": "0.1.0", "rows": {"a": [1, 2, {"status": 3}]}}',
        b'{"rows": null}',
    ],
)
def test_an_index_that_kit_did_not_write_is_thrown_away(store: Store, data: bytes) -> None:
    _many(store)
    (store.root / INDEX).write_bytes(data)
    assert [row.name for row in sealed(store)] == ["made"] * WORTH_AN_INDEX
    assert b'"made"' in (store.root / INDEX).read_bytes()


def test_an_index_that_is_a_link_is_replaced_and_not_followed(store: Store, tmp_path: Path) -> None:
    _many(store)
    (store.root / INDEX).unlink()
    target = tmp_path / "precious"
    target.write_text("mine")
    (store.root / INDEX).symlink_to(target)
    assert len(sealed(store)) == WORTH_AN_INDEX
    assert target.read_text() == "mine" and not (store.root / INDEX).is_symlink()


def test_a_store_that_cannot_be_written_does_without(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    _many(store)
    assert len(sealed(store)) == WORTH_AN_INDEX and not (store.root / INDEX).exists()


def test_what_was_read_is_kept_where_the_caller_stops(store: Store) -> None:
    for number in range(WORTH_AN_INDEX):
        made(store, number)
    pieces = runlist.batches(store)
    next(pieces), next(pieces)
    pieces.close()
    assert (store.root / INDEX).read_text().count('"made"') == FIRST


def test_a_small_or_missing_store_gets_no_index(store: Store) -> None:
    assert sealed(store) == [] and not store.root.exists()
    made(store, 1)
    assert len(sealed(store)) == 1 and not (store.root / INDEX).exists()
