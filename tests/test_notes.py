"""Notes, tags and deletion: beside what is sealed, and never outside of the store."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from kit.cli.main import dispatch
from kit.core.errors import UsageError
from kit.judge import admission
from kit.show import runlist
from kit.store import audit, notes, removal
from kit.store.store import Store
from tests import golden


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with one sound run and its ledger."""
    return Store(golden.build(tmp_path / "runs").parent)


def asked(store: Store, command: str, *words: str) -> int:
    return dispatch([command, *words, "--runs", str(store.root)])


def test_notes_are_listed_and_change_nothing_that_is_sealed(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    (run,) = store.runs()
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    assert asked(store, "note", run.name[:8], "after the  fan was\nchanged") == 0
    assert asked(store, "tag", run.name[:8], "+warm", "second", "+gone") == 0
    assert asked(store, "tag", run.name[:8], "-gone") == 0
    assert capsys.readouterr().out.splitlines()[-2:] == ["second", "warm"]
    (row,) = runlist.rows(store)
    assert row.words == "#second #warm after the fan was changed"
    assert asked(store, "ls", "--json") == 0
    (document,) = json.loads(capsys.readouterr().out)
    assert document["tags"] == ["second", "warm"]
    assert document["person_note"] == "after the fan was changed"
    assert before == {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    assert admission.verify(run).passed and audit.full(store).passed


def test_an_empty_text_and_the_last_tag_remove_the_note(store: Store) -> None:
    (run,) = store.runs()
    asked(store, "note", run.name, "x")
    asked(store, "tag", run.name, "+y")
    asked(store, "tag", run.name, "-y")
    asked(store, "note", run.name, "")
    assert notes.load(store) == {}


@pytest.mark.parametrize("tag", ["", "two words", "x" * 41, "-", "\x1b[2J", "a,b"])
def test_what_is_no_tag_is_refused(store: Store, tag: str) -> None:
    with pytest.raises(UsageError, match="is no tag"):
        notes.tag(store, store.runs()[0].name, [tag])
    assert not (store.root / notes.FILE).exists()


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b'{"schema": "kit.notes/2", "runs": {}}', b'{"schema": "kit.notes/1", "runs": 3}'],
)
def test_notes_that_kit_did_not_write_are_kept_as_they_are(
    store: Store, data: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (store.root / notes.FILE).write_bytes(data)
    (run,) = store.runs()
    assert asked(store, "note", run.name, "x") == 2 and asked(store, "ls") == 0
    assert "no notes are shown" in capsys.readouterr().err
    assert (store.root / notes.FILE).read_bytes() == data


def test_no_note_commands_the_terminal(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    (run,) = store.runs()
    assert asked(store, "note", run.name, "a\udcffb\x1b[2J\u202e") == 0
    assert notes.load(store)[run.name].text == "ab"
    note = {"tags": ["\x1b]0;x\x07a", "good"], "text": "\x1b[2Jx\ny"}
    document = {"schema": notes.SCHEMA, "runs": {run.name: note}}
    (store.root / notes.FILE).write_text(json.dumps(document))
    capsys.readouterr()
    assert asked(store, "note", run.name) == asked(store, "tag", run.name) == 0
    assert capsys.readouterr().out.splitlines() == ["x y", "good"]


# --- deletion -----------------------------------------------------------------------------------


def test_a_deleted_run_is_gone_and_the_ledger_keeps_it(store: Store) -> None:
    (run,) = store.runs()
    notes.write(store, run.name, "x")
    assert asked(store, "rm", run.name[:8], "--yes") == 0
    assert store.runs() == [] and notes.load(store) == {}
    assert not [path for path in store.root.iterdir() if path.name.startswith(".removed")]
    entry = store.ledger()[-1]
    assert (entry["kind"], entry["run_hash"]) == ("removed", run.name)
    assert audit.full(store).passed


def test_without_a_yes_nothing_is_deleted(store: Store) -> None:
    (run,) = store.runs()
    entries = store.ledger()
    assert asked(store, "rm", run.name) == 2
    assert run.is_dir() and store.ledger() == entries


def test_a_run_that_came_back_after_deletion_is_in_the_ledger(store: Store, tmp_path: Path) -> None:
    (run,) = store.runs()
    kept = shutil.copytree(run, tmp_path / "kept")
    removal.remove(store, run)
    shutil.copytree(kept, run)
    assert audit.full(store).passed and len(runlist.rows(store)) == 1


def test_nothing_outside_of_the_store_is_deleted(store: Store, tmp_path: Path) -> None:
    (run,) = store.runs()
    other = Path(shutil.copytree(run, tmp_path / "other" / run.name))
    link = store.root / ("e" * 64)
    link.symlink_to(other)
    for path in (other, store.root, store.root / "..", store.inflight, store.root / "no"):
        with pytest.raises(UsageError, match="no sealed run of the store"):
            removal.remove(store, path)
    for name in (str(other), "..", ".", "", f"../other/{run.name}"):
        assert asked(store, "rm", name, "--yes") == 2
    removal.remove(store, link)
    assert not link.is_symlink() and (other / "manifest.json").is_file() and run.is_dir()


def test_a_run_stays_where_the_ledger_cannot_be_written(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Store, "note", refuse)
    (run,) = store.runs()
    with pytest.raises(UsageError, match="No space left"):
        removal.remove(store, run)
    assert store.runs() == [run]


def test_the_rest_of_a_run_that_is_deleted_in_part_is_named(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    (run,) = store.runs()
    notes.write(store, run.name, "x")
    monkeypatch.setattr(shutil, "rmtree", refuse)
    with pytest.raises(UsageError, match="not all of it") as raised:
        removal.remove(store, run)
    (rest,) = store.root.glob(".removed-*")
    assert str(rest) in raised.value.remedy
    assert store.runs() == [] and notes.load(store) == {} and audit.full(store).passed
