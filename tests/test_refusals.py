"""Runs that could not begin: the reason is kept, shown to who comes later, and bounded."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from kit.core.errors import Blocked, PreflightFailed, UsageError
from kit.core.model import Finding
from kit.run import runner
from kit.run.session import Session
from kit.show import runlist
from kit.store import refusals
from kit.store.refusals import Refusal
from kit.store.store import Store
from tests.golden import run_spec

FINDINGS = (
    Finding(code="DISK", level="ok", message="much is free"),
    Finding(code="MEMORY_LIMIT", level="fail", message="too little", remedy="raise it"),
)


def refusal(id_: str = "ab12cd34", **changes: object) -> Refusal:
    refusal = Refusal(
        id=id_,
        utc="2026-11-26T16:28:00+00:00",
        name="quickstart",
        spec_hash="5" * 64,
        code="WeightsUnavailable",
        message="m.gguf is not in /home/someone/models",
        remedy="`kit weights add`",
    )
    return msgspec.structs.replace(refusal, **changes)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "runs")
    store.inflight.mkdir(parents=True)
    return store


def test_the_reason_is_kept_for_attach_ls_and_ledger(store: Store) -> None:
    refusals.keep(store, refusal(message="m.gguf is missing", findings=FINDINGS))
    with pytest.raises(PreflightFailed, match="too little") as caught:
        Session.attach(store, "ab12")
    assert caught.value.findings == FINDINGS and caught.value.exit_code == 3
    (row,) = runlist.rows(store)
    assert (row.status, row.run, row.name) == ("refused", "ab12cd34", "quickstart")
    assert row.note == "m.gguf is missing" and row.started == "2026-11-26 16:28"
    (entry,) = store.ledger()
    assert entry["kind"] == "refused" and entry["findings"] == ["MEMORY_LIMIT"]
    assert store.ids() == [] and store.leftovers() == []


def test_the_ledger_names_no_folder_of_this_machine(store: Store) -> None:
    refusals.keep(store, refusal(message="m.gguf is not in /home/someone/models, see http://x/y/z"))
    (entry,) = store.ledger()
    assert entry["reason"] == "m.gguf is not in models, see http://x/y/z"
    assert refusals.refusals(store)[0].message.endswith("/home/someone/models, see http://x/y/z")


@pytest.mark.parametrize("code", [1, 3, 130])
def test_the_exit_code_is_kept(store: Store, code: int) -> None:
    refusals.keep(store, refusal(exit_code=code))
    with pytest.raises(Blocked, match="not in") as caught:
        Session.attach(store, "ab12cd34")
    assert caught.value.exit_code == code
    assert bool(runlist.rows(store)) == (code != 130)  # whoever stopped it knows


def test_only_the_newest_ten_are_kept(store: Store) -> None:
    for number in range(13):
        refusals.keep(store, refusal(f"{number:08x}"))
        path = store.inflight / f"{number:08x}{refusals.SUFFIX}"
        os.utime(path, ns=(number, number))
    ids = [record.id for record in refusals.refusals(store)]
    assert ids == [f"{n:08x}" for n in range(12, 2, -1)]
    assert len(store.ledger()) == 13


def test_a_spec_that_begins_has_overcome_its_refusals(store: Store) -> None:
    refusals.keep(store, refusal("00000001"))
    refusals.keep(store, refusal("00000002", spec_hash="6" * 64))
    refusals.overcome(store, "5" * 64)
    assert [record.id for record in refusals.refusals(store)] == ["00000002"]


def test_an_ambiguous_name_is_nobodys(store: Store) -> None:
    refusals.keep(store, refusal("aa000001"))
    refusals.keep(store, refusal("aa000002"))
    assert refusals.recall(store, "aa") is None and refusals.recall(store, "") is None
    with pytest.raises(UsageError, match="in progress"):
        Session.attach(store, "aa")


def test_odd_files_are_passed_over(store: Store) -> None:
    for number, data in enumerate((b"", b"5", b"{}", b'{"id":5}', b"\xff", b"[" * 99)):
        (store.inflight / f"{number}{refusals.SUFFIX}").write_bytes(data)
    os.mkfifo(store.inflight / f"fifo{refusals.SUFFIX}")
    (store.inflight / f"folder{refusals.SUFFIX}").mkdir()
    (store.inflight / f"link{refusals.SUFFIX}").symlink_to("/dev/zero")
    assert refusals.refusals(store) == []
    assert [row.status for row in runlist.rows(store)] in ([], ["unsealed"])


# --- what the runner makes of a fault -------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (Blocked("no", "do"), 3, "no"),
        (OSError(28, "No space left on device"), 1, "no space is left"),
        (KeyError("what"), 1, "kit itself failed: KeyError: 'what'"),
    ],
)
def test_whatever_keeps_a_run_from_beginning_is_kept(
    store: Store, error: Exception, code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    flight = store.begin()
    assert runner.record_failure(error, runner.Order(spec=run_spec()), flight) == code
    (refusal,) = refusals.refusals(store)
    assert refusal.id == flight.id and refusal.exit_code == code and words in refusal.message
    assert not flight.path.exists() and store.ids() == []


def test_a_run_that_had_begun_stays_for_recovery(store: Store) -> None:
    from kit.record.events import Clock, Journal

    flight = store.begin()
    journal = Journal(flight.path / "events.jsonl", Clock())
    journal.add("run.registered", id=flight.id)
    full = OSError(28, "No space left on device")
    assert runner.record_failure(full, runner.Order(spec=run_spec()), flight) == 1
    flight.release()
    assert flight.path.exists() and refusals.refusals(store) == []
    with pytest.raises(Exception, match="no space is left") as caught:
        Session(store, flight.id, flight.path).result()
    assert "kit recover" in caught.value.remedy  # type: ignore[attr-defined]
