"""Every run is a row, whatever state it is in, and a large store opens at once."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kit.show import runlist
from kit.show.runlist import BATCH, FIRST, INDEX, WORTH_AN_INDEX, Row
from kit.show.runlist.batch import counted
from kit.show.runlist.reading import DOCUMENTS, is_unchanged, taken
from kit.store.store import Store
from tests import golden
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


@pytest.mark.heavy
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
    read: list[str] = []
    monkeypatch.setattr(runlist, "taken", lambda path, _: read.append(path))
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


# --- order and columns --------------------------------------------------------------------------


def test_the_order_is_that_of_the_sealed_starts_and_not_of_files(store: Store) -> None:
    starts = {1: "12:00:02", 2: "12:00:03", 3: "12:00:01"}
    for number, time in starts.items():
        made(store, number, manifest={**MANIFEST, "clock": {"utc": f"2026-11-21T{time}+00:00"}})
    made(store, 4, manifest=b"{")
    assert [int(row.run, 16) for row in sealed(store)] == [2, 1, 3, 4]
    for number in starts:  # a copy or a clone has other times
        os.utime(store.root / f"{number:064x}" / "manifest.json", (99 - number, 99 - number))
    assert [int(row.run, 16) for row in sealed(store)] == [2, 1, 3, 4]


ROWS = [
    Row("complete", "a", name="b", joules=2.0, tokens_per_s=5.0, concurrency=8, begun="2026-02"),
    Row("complete", "b", name="A", joules=1.0, concurrency=1, batch=1, begun="2026-03"),
    Row("failed", "c", tokens_per_s=9.0, se_percent=1.5, runtime="vllm", begun="2026-01"),
    Row("running", "d", name="b", begun="2025-12"),
]


@pytest.mark.parametrize(
    ("column", "order", "reverse"),
    [
        ("started", "dbac", "cabd"),
        ("name", "bdac", "dabc"),
        ("energy", "badc", "abdc"),
        ("throughput", "cadb", "acdb"),
        ("concurrency", "abdc", "badc"),
        ("batch", "bdac", "bdac"),
        ("error", "cdba", "cdba"),
        ("status", "dcba", "bacd"),
        ("runtime", "cdba", "cdba"),
        ("run", "abcd", "dcba"),
    ],
)
def test_any_column_sorts_and_what_has_no_value_comes_last(
    column: runlist.Column, order: str, reverse: str
) -> None:
    assert "".join(row.run for row in runlist.ordered(ROWS, column)) == order
    assert "".join(row.run for row in runlist.ordered(ROWS, column, reverse=True)) == reverse


@pytest.mark.parametrize(
    ("name", "says"),
    [("f" * 64, "manifest.json is missing"), ("backup", "no run: it holds no manifest.json")],
)
def test_a_folder_without_a_manifest_is_a_row_with_its_reason(
    store: Store, name: str, says: str
) -> None:
    made(store, 1)
    (store.root / name).mkdir()
    (store.root / ".hidden").mkdir()
    (store.root / "a file").write_text("")
    row = sealed(store)[-1]
    assert (row.status, row.run) == ("broken", name) and says in row.note
    assert len(sealed(store)) == 2


@pytest.mark.parametrize(
    ("arrivals", "issued", "batch"),
    [
        ({"kind": "closed", "concurrency": 8}, [20, 20], 8),
        ({"kind": "closed", "concurrency": 8}, [3, 2], 3),
        ({"kind": "closed", "concurrency": 8}, [], None),
        ({"kind": "constant", "concurrency": 4, "rate": 2.0}, [4], 3),
    ],
)
def test_the_batch_is_the_most_requests_in_flight(
    store: Store, arrivals: dict[str, Any], issued: list[int], batch: int | None
) -> None:
    launches = [{"requests": {"issued": number}} for number in issued]
    spec = {**SPEC, "arrivals": arrivals}
    path = made(store, 1, spec=spec, results={**RESULTS, "launches": launches})
    times = [(0, 9, "warmup"), (10, 20, "measured"), (12, 30, "measured"), (15, 16, "measured")]
    times.append((30, 40, "measured"))  # as another one ends: not at once
    lines = [json.dumps({"stage": s, "sent": a, "done": b}) for a, b, s in times]
    if arrivals["kind"] == "constant":
        (path / "launches" / "000").mkdir(parents=True)
        (path / "launches" / "000" / "requests.jsonl").write_text("\n".join(lines) + "\n")
    (row,) = sealed(store)
    assert (row.concurrency, row.batch) == (arrivals["concurrency"], batch)


@pytest.mark.parametrize("run", [H200, QUICKSTART])
def test_the_batch_of_a_closed_loop_is_what_its_requests_say(run: Path) -> None:
    assert runlist.read(run).batch == counted(run) == 1


def test_in_json_numbers_are_numbers_with_their_unit_in_the_key() -> None:
    (document,) = runlist.as_list([runlist.read(H200)])
    numbers = {k: v for k, v in document.items() if isinstance(v, int | float)}
    assert numbers.keys() == {
        "energy_j_per_output_token",
        "energy_standard_error_percent",
        "throughput_tokens_per_s",
        "concurrency_requests",
        "batch_requests",
    }
    assert document["energy_scope"] == "gpu"
    assert document["started_utc"].startswith("2026-11-21T10:33:2")


# --- the index is never stale -------------------------------------------------------------------


def _later(path: Path, data: bytes) -> None:
    """Other bytes of the same length in ``path``, with its old time of modification."""
    before = path.stat()
    path.write_bytes(data.ljust(before.st_size))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("document", ["manifest", "spec", "results", "env/start"])
def test_a_change_of_any_document_is_seen_even_with_its_size_and_time_kept(
    store: Store, document: str
) -> None:
    paths = [made(store, number) for number in range(WORTH_AN_INDEX)]
    for path in paths:
        (path / "env").mkdir()
        (path / "env/start.json").write_text(json.dumps({"gpus": {"gpu0": {"name": "A" * 40}}}))
    before = {row.run: row for row in sealed(store)}
    other: dict[str, Any] = {
        "manifest": {**MANIFEST, "status": "failed"},
        "spec": {**SPEC, "name": "edit"},
        "results": {"metrics": {"output_throughput": RATE}},
        "env/start": {"gpus": {"gpu0": {"name": "B"}}},
    }
    file = paths[0] / f"{document}.json"
    _later(file, json.dumps(other[document]).encode())
    after = {row.run: row for row in sealed(store)}
    changed = [run for run, row in after.items() if row != before[run]]
    assert changed == [paths[0].name]


def test_an_index_that_came_with_a_copy_is_not_believed(store: Store, tmp_path: Path) -> None:
    _many(store)
    forged = (store.root / INDEX).read_text().replace('"made"', '"forged"')
    (store.root / INDEX).write_text(forged)
    copy = Store(Path(shutil.copytree(store.root, tmp_path / "copy")))
    assert {row.name for row in sealed(copy)} == {"made"}


@pytest.mark.parametrize("forgery", ["of no file", "of absent files", "of another run"])
def test_an_entry_of_the_index_that_would_fit_any_run_is_not_believed(
    store: Store, forgery: str
) -> None:
    _many(store)
    document = json.loads((store.root / INDEX).read_text())
    names = list(document["rows"])
    for name, (files, row) in document["rows"].items():
        if forgery == "of another run":
            row["run"] = names[0] if name != names[0] else names[1]
        else:
            row["name"] = "forged"
            files.clear()
        if forgery == "of absent files":
            files |= {"absent": None}
    (store.root / INDEX).write_text(json.dumps(document))
    rows = sealed(store)
    assert {row.name for row in rows} == {"made"}
    assert sorted(row.run for row in rows) == sorted(names)


def test_a_run_that_kit_wrote_is_read_alike_quickly_and_in_full(tmp_path: Path) -> None:
    runs = [H200, QUICKSTART, REPLAY, golden.copied(tmp_path)]
    for run in runs:
        files, row = taken(str(run), run.name)
        assert row == replace(runlist.read(run), checked="unchecked")
        assert files.keys() == {*DOCUMENTS} and is_unchanged(
            str(run), files, files["manifest.json"]
        )
