"""The store: locks that say who is alive, runs by any name, and a ledger that cannot be cut."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kit.core import jsonio
from kit.core.errors import UsageError
from kit.store.store import LEDGER, Store

HOLD = """
import sys
from pathlib import Path
from kit.store.store import Store
folder = Path(sys.argv[1])
flight = Store(folder.parent.parent).adopt(folder)
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held_elsewhere(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that works on a run."""
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


def test_nothing_is_made_before_something_is_written(store: Store) -> None:
    assert not [*store.runs(), *store.ids(), *store.ledger()]
    assert not store.root.exists()


def test_a_run_in_flight_belongs_to_who_began_it(store: Store) -> None:
    flight = store.begin()
    assert store.inflight_ids() == [flight.id]
    assert store.pid_of(flight.id) == os.getpid()
    assert flight.path.is_dir()
    assert flight.scratch("x").parent != flight.path


def test_files_are_written_canonically(store: Store) -> None:
    flight = store.begin()
    assert flight.write("env/start.json", {"b": 1, "a": 2.0}) == b'{"a":2,"b":1}'
    assert (flight.path / "env" / "start.json").read_bytes() == b'{"a":2,"b":1}'


def test_a_runner_takes_over_the_lock_from_the_face(store: Store) -> None:
    """Between the face's release and the runner's adopt the run is not dead."""
    flight = store.begin()
    flight.scratch("order.json").write_text("{}")
    flight.release()
    assert store.is_alive(flight.id)
    assert store.leftovers() == []
    with held_elsewhere(flight.path) as runner:
        assert store.is_alive(flight.id)
        assert store.pid_of(flight.id) == runner.pid
        with pytest.raises(UsageError, match="being worked on"):
            store.adopt(flight.path)
    assert not store.is_alive(flight.id)
    assert store.leftovers() == [flight.id]
    assert store.pid_of(flight.id) is None


def test_an_order_that_nobody_took_is_dead_after_a_while(store: Store) -> None:
    flight = store.begin()
    order = flight.scratch("order.json")
    order.write_text("{}")
    flight.release()
    past = time.time() - 31
    os.utime(order, (past, past))
    assert store.leftovers() == [flight.id]


def test_asking_whether_a_run_lives_does_not_disturb_who_takes_it(store: Store) -> None:
    """The probe holds the lock for an instant; adopting waits that out."""
    import fcntl
    import threading

    flight = store.begin()
    flight.release()
    with (store.scratch_folder(flight.id) / "lock").open("rb+") as probe:
        fcntl.flock(probe, fcntl.LOCK_EX)
        threading.Timer(0.2, lambda: fcntl.flock(probe, fcntl.LOCK_UN)).start()
        again = store.adopt(flight.path)
    again.release()


def test_discard_leaves_nothing(store: Store) -> None:
    flight = store.begin()
    flight.scratch("x").write_text("x")
    flight.release()
    store.discard(flight.id)
    assert store.ids() == []
    assert not store.scratch_folder(flight.id).exists()


def test_orphaned_scratch_goes_and_a_live_one_stays(store: Store) -> None:
    live, dead = store.begin(), store.begin()
    dead.release()
    dead.path.rmdir()
    store.forget_orphans()
    assert store.scratch_folder(live.id).is_dir()
    assert not store.scratch_folder(dead.id).exists()


def test_a_store_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write"):
        Store(tmp_path / "file").begin()


# --- sealed runs --------------------------------------------------------------------------------


def sealed(store: Store, name: str) -> Path:
    folder = store.root / name
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    return folder


def test_a_run_is_found_by_hash_or_id(store: Store) -> None:
    one, two = sealed(store, "ab" + "0" * 62), sealed(store, "ac" + "0" * 62)
    store.note("sealed", id="beef", run_hash=two.name, status="failed")
    assert store.find("ab") == one
    assert store.find(one.name) == one
    assert store.find("beef") == two
    assert store.sealed_as("beef") == ("failed", two)
    assert store.sealed_as("dead") is None
    assert store.runs() == [one, two]
    with pytest.raises(UsageError, match=r"2 runs of .* begin with .a.: ab0{10}, ac0{10}"):
        store.find("a")
    for unknown in ("zz", "", "../ab"):
        with pytest.raises(UsageError, match="no sealed run"):
            store.find(unknown)


def test_a_unique_prefix_of_an_id_is_enough(store: Store) -> None:
    run = sealed(store, "ab" + "0" * 62)
    store.note("sealed", id="beef1234", run_hash=run.name, status="complete")
    assert store.find("beef") == run


# --- ledger -------------------------------------------------------------------------------------


def test_the_ledger_chains_every_attempt(store: Store) -> None:
    flight = store.begin()
    flight.register({"id": flight.id, "spec_hash": "s"})
    store.note("sealed", id=flight.id)
    entries = store.ledger()
    assert [(e["seq"], e["kind"]) for e in entries] == [(0, "registered"), (1, "sealed")]
    assert not store.ledger_read().faults


@pytest.mark.parametrize("forged", ["drop", "edit", "swap"])
def test_a_forged_ledger_has_faults(store: Store, forged: str) -> None:
    for n in range(4):
        store.note("registered", id=f"run{n}")
    lines = (store.root / LEDGER).read_bytes().splitlines(keepends=True)
    if forged == "drop":
        del lines[1]
    elif forged == "edit":
        lines[1] = lines[1].replace(b"run1", b"run9")
    else:
        lines[1], lines[2] = lines[2], lines[1]
    (store.root / LEDGER).write_bytes(b"".join(lines))
    assert store.ledger_read().faults[0][0] in (1, 2)


def test_a_torn_last_line_is_left_out_and_written_over(store: Store) -> None:
    store.note("registered", id="a")
    with (store.root / LEDGER).open("ab") as file:
        file.write(b'{"id":"to')
    assert [e["id"] for e in store.ledger()] == ["a"]
    store.note("registered", id="b")
    assert [e["id"] for e in store.ledger()] == ["a", "b"]
    assert not store.ledger_read().faults


def test_many_processes_write_one_ledger(store: Store) -> None:
    code = (
        "import sys; from pathlib import Path; from kit.store.store import Store\n"
        "for n in range(20): Store(Path(sys.argv[1])).note('registered', id=n)"
    )
    command = [sys.executable, "-c", code, str(store.root)]
    for process in [subprocess.Popen(command) for _ in range(3)]:
        assert process.wait() == 0
    assert len(store.ledger()) == 60
    assert not store.ledger_read().faults


def test_entries_are_canonical(store: Store) -> None:
    store.note("registered", id="a", parents=[])
    line = (store.root / LEDGER).read_bytes().splitlines()[0]
    assert jsonio.canonical(jsonio.parse(line)) == line
