"""The queue of a machine, with real processes: one at a time, in order, dead ones passed over."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from kit.core.errors import Blocked, Interrupted, RunFailed
from kit.machine import queue, tickets
from kit.machine.queue import MachineBusy

RUNNER = """
import sys, time
from pathlib import Path
from kit.machine import queue
name, log, seconds = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
with queue.ticket(name) as ticket:
    print("joined", flush=True)
    ticket.wait(lambda: False)
    if sys.argv[4:]:
        time.sleep(float(sys.argv[4]))  # the time of planning and preflight
    ticket.begin(lambda: False)
    with log.open("a") as file:
        file.write(f"{name} begins\\n"); file.flush()
        print("begun", flush=True)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            ticket.keep()
            time.sleep(0.05)
        file.write(f"{name} ends\\n")
"""


@pytest.fixture(autouse=True)
def _a_queue_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(tickets.FOLDER_VARIABLE, str(tmp_path / "queue"))


class Runners:
    """Processes that queue, and a log of who began and ended when."""

    def __init__(self, held: ExitStack, folder: Path) -> None:
        self._held, self.log = held, folder / "log"

    def start(self, name: str, seconds: float = 0.3, *more: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", RUNNER, name, str(self.log), str(seconds), *more]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._held.callback(process.kill)
        return process

    def joined(self, name: str, seconds: float = 0.3, *more: str) -> subprocess.Popen[str]:
        process = self.start(name, seconds, *more)
        assert next_line(process) == "joined"
        return process

    def lines(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture
def runners(tmp_path: Path) -> Iterator[Runners]:
    with ExitStack() as held:
        yield Runners(held, tmp_path)


def next_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def until(test: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not test():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


def one_after_another(lines: list[str]) -> bool:
    """Whether each begins after the one before has ended."""
    return all(
        begins.split() == [ends.split()[0], "begins"] and ends.endswith(" ends")
        for begins, ends in zip(lines[::2], lines[1::2], strict=True)
    )


@pytest.mark.parametrize("count", [2, 4])
def test_all_that_start_at_once_run_one_after_another(runners: Runners, count: int) -> None:
    processes = [runners.start(f"e{n}") for n in range(count)]
    assert [p.wait(60) for p in processes] == [0] * count
    assert len(runners.lines()) == 2 * count
    assert one_after_another(runners.lines())


@pytest.mark.slow
def test_they_run_in_the_order_in_which_they_came(runners: Runners) -> None:
    processes = [runners.joined(f"e{n}", 0.1) for n in (3, 1, 2, 0)]
    assert [p.wait(60) for p in processes] == [0] * 4
    assert [line.split()[0] for line in runners.lines()[::2]] == ["e3", "e1", "e2", "e0"]
    assert queue.places() == []


def test_a_killed_holder_lets_the_next_one_in(runners: Runners) -> None:
    first = runners.joined("e1", 60)
    second = runners.joined("e2")
    until(lambda: runners.lines() == ["e1 begins"])
    os.kill(first.pid, signal.SIGKILL)
    assert second.wait(30) == 0
    assert runners.lines()[1:] == ["e2 begins", "e2 ends"]


@pytest.mark.slow
def test_a_killed_waiter_holds_nobody_up(runners: Runners) -> None:
    first, second, third = runners.joined("e1", 1), runners.joined("e2"), runners.joined("e3")
    assert [p.run for p in queue.places()] == ["e1", "e2", "e3"]
    os.kill(second.pid, signal.SIGKILL)
    second.wait()
    assert [first.wait(30), third.wait(30)] == [0, 0]
    assert runners.lines()[2:] == ["e3 begins", "e3 ends"]


@pytest.mark.slow
def test_a_stopped_runner_still_holds_its_place(runners: Runners) -> None:
    first, second = runners.joined("e1", 0.5), runners.joined("e2")
    assert next_line(first) == "begun"
    first.send_signal(signal.SIGSTOP)
    time.sleep(1.5)
    assert queue.waiting("e2") is not None
    first.send_signal(signal.SIGCONT)
    assert [first.wait(30), second.wait(30)] == [0, 0]
    assert one_after_another(runners.lines())


def test_a_waiting_run_knows_what_it_waits_for(runners: Runners) -> None:
    runners.joined("e1", 60)
    with queue.ticket("e2"), queue.ticket("e3"):
        wait = queue.waiting("e3")
        assert wait and (wait.position, wait.going_on.run) == (2, "e1")
        assert str(wait).startswith("waiting for run e1 (started 20")
        assert str(wait).endswith("UTC), position 2")
        assert queue.waiting("e1") is None and queue.waiting("nobody") is None


def test_an_interrupted_wait_leaves_the_queue() -> None:
    interrupted = pytest.raises(Interrupted, match="waited for another run")
    with queue.ticket("a"), queue.ticket("b") as second, interrupted:
        second.wait(lambda: True)
    assert queue.places() == []


@pytest.mark.parametrize(("limit_s", "words"), [(0.0, "run a "), (0.2, "waited 0.2 s for it")])
def test_not_waiting_or_not_for_long(limit_s: float, words: str) -> None:
    with queue.ticket("a"), queue.ticket("b") as second:
        with pytest.raises(MachineBusy, match=words) as caught:
            second.wait(lambda: False, limit_s)
        assert caught.value.exit_code == 3 and "--no-wait" in caught.value.remedy


def test_nobody_ahead_is_no_wait_at_all() -> None:
    with queue.ticket("a") as first:
        assert first.wait(lambda: False, 0) is None


def test_a_wait_is_told_with_its_length() -> None:
    with ExitStack() as held:
        held.enter_context(queue.ticket("a"))
        with queue.ticket("b") as second:
            looks = iter([False])

            def cancelled() -> bool:
                if not next(looks, True):
                    return False
                held.close()
                return False

            waited = second.wait(cancelled)
    assert waited and waited.runs == ("a",) and waited.seconds > 0


# --- what others may have put there ---------------------------------------------------------


def folder() -> Path:
    with queue.ticket("x"):
        pass
    return Path(os.environ[tickets.FOLDER_VARIABLE])


def test_every_user_may_queue_and_nobody_remove_anothers_ticket() -> None:
    mode = folder().stat().st_mode
    assert stat.S_IMODE(mode) == 0o1777
    with queue.ticket("a"):
        (ticket,) = folder().glob("0*")
        assert stat.S_IMODE(ticket.stat().st_mode) == 0o644


def test_odd_things_in_the_folder_hold_nobody_up() -> None:
    place = folder()
    os.mkfifo(place / "00000001")
    (place / "00000002").mkdir()
    (place / "00000003").symlink_to("/dev/zero")
    (place / "00000004").write_bytes(b"\xff\x00 no JSON")
    (place / "mine.txt").write_text("of somebody")
    with queue.ticket("a") as first:
        assert first.wait(lambda: False, 0) is None
        assert [p.run for p in queue.places()] == ["a"]
    assert (place / "mine.txt").exists() and not (place / "00000004").exists()


def test_a_ticket_with_odd_words_is_shown_without_them(runners: Runners) -> None:
    runners.joined("\x1b[31mred\x07" + "x" * 100, 60)
    (place,) = queue.places()
    assert place.run == "redxxxxxxxxxxxxx"


@pytest.mark.parametrize("content", [b"", b"5", b"[1]", b"{}", b'{"run":null}', b"\xff"])
def test_a_held_ticket_without_a_run_counts_all_the_same(content: bytes) -> None:
    with (folder() / "00000001").open("wb") as file:
        file.write(content)
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        with queue.ticket("a") as mine, pytest.raises(MachineBusy):
            mine.wait(lambda: False, 0)


def test_a_folder_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(tickets.FOLDER_VARIABLE, str(tmp_path / "file"))
    with pytest.raises(Blocked, match="cannot be joined") as caught, queue.ticket("a"):
        pass
    assert tickets.FOLDER_VARIABLE in caught.value.remedy
    assert queue.places() == []


def test_all_users_of_a_machine_come_to_one_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that not everybody can write is passed over, or root would queue there alone."""
    closed, shared = tmp_path / "closed", tmp_path / "shared"
    closed.mkdir(mode=0o755)
    shared.mkdir()
    shared.chmod(0o1777)
    monkeypatch.delenv(tickets.FOLDER_VARIABLE)
    monkeypatch.setattr(tickets, "_SHARED", (closed, shared))
    with queue.ticket("a"):
        assert [p.name for p in (shared / "kit-queue").iterdir()] == ["00000001"]
    monkeypatch.setattr(tickets, "_SHARED", (closed,))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    with queue.ticket("a"):
        assert (tmp_path / f"kit-queue-{os.getuid()}" / "00000001").exists()


# --- tickets that others delete ---------------------------------------------------------------


def delete(place: Path) -> None:
    for path in place.glob("0*"):
        path.unlink()


def another_there(place: Path) -> None:
    """What a restored backup or a copying tool leaves: the same words, in another file."""
    for path in place.glob("0*"):
        words = path.read_bytes()
        path.unlink()
        path.write_bytes(words)


def delete_folder(place: Path) -> None:
    shutil.rmtree(place)


GONE = pytest.mark.parametrize("remove", [delete, another_there, delete_folder])


@GONE
def test_a_place_that_is_deleted_is_taken_again(remove: Callable[[Path], None]) -> None:
    place = folder()
    with queue.ticket("a") as first, queue.ticket("b") as second:
        first.begin(lambda: False)
        remove(place)
        assert queue.places() == []
        second.keep()
        first.keep()
        assert [(p.run, p.measuring) for p in queue.places()] == [("a", True), ("b", False)]
        with pytest.raises(MachineBusy, match="run a "):
            second.wait(lambda: False, 0)
    assert queue.places() == []


@pytest.mark.slow
@GONE
def test_no_run_begins_beside_one_whose_ticket_was_deleted(
    runners: Runners, remove: Callable[[Path], None]
) -> None:
    """The next run sees nobody before it and plans; it begins when the first one has ended."""
    place = folder()
    first = runners.joined("e1", 2)
    assert next_line(first) == "begun"
    second = runners.joined("e2", 0.1, "1")
    remove(place)
    third = runners.joined("e3", 0.1, "0.3")
    assert [p.wait(60) for p in (first, second, third)] == [0, 0, 0]
    assert len(runners.lines()) == 6 and one_after_another(runners.lines())


def test_a_run_that_was_measured_beside_another_one_fails() -> None:
    """It had been stopped, for instance, and could not put its ticket back in time."""
    with queue.ticket("a") as first, queue.ticket("b") as second:
        first.begin(lambda: False)
        delete(folder())
        second.begin(lambda: False)
        with pytest.raises(RunFailed, match=r"run b .* measured at once") as caught:
            first.keep()
        assert tickets.FOLDER_VARIABLE in caught.value.remedy
        second.keep()


def test_who_begins_meanwhile_is_waited_for_with_the_lower_number_too() -> None:
    with queue.ticket("a") as first, queue.ticket("b") as second:
        delete(folder())
        second.begin(lambda: False)
        with pytest.raises(MachineBusy, match="run b "):
            first.begin(lambda: False, 0)
        assert [p.run for p in queue.places()] == ["b", "a"]
        assert str(queue.waiting("a")).startswith("waiting for run b ")


def test_waits_before_and_after_planning_add_up() -> None:
    def ends(run: ExitStack) -> bool:
        run.close()
        return False

    with ExitStack() as other:
        other.enter_context(queue.ticket("x"))
        with queue.ticket("c") as mine:
            mine.wait(lambda: ends(other))
            between = other.enter_context(queue.ticket("y"))
            delete(folder())
            between.begin(lambda: False)
            mine.begin(lambda: ends(other))
    assert mine.waited and mine.waited.runs == ("x", "y")


@pytest.mark.parametrize("measured", [True, False])
def test_a_place_that_cannot_be_taken_again(tmp_path: Path, measured: bool) -> None:
    place = folder()
    with queue.ticket("a") as mine:
        if measured:
            mine.begin(lambda: False)
        shutil.rmtree(place)
        place.write_text("")
        with pytest.raises(RunFailed if measured else Blocked, match="cannot be joined"):
            mine.keep()


def test_leaving_takes_no_other_runs_ticket_away() -> None:
    with queue.ticket("a"):
        delete(folder())
        other = queue.ticket("b")
        other.__enter__()
    assert [p.run for p in queue.places()] == ["b"]
    other.__exit__(None, None, None)
    assert queue.places() == []


def test_a_ticket_is_never_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cleaners go by a file's times, and some of them ask for no lock."""
    place = folder()
    with queue.ticket("a") as mine:
        mine.begin(lambda: False)
        (path,) = place.glob("0*")
        began, words = queue.places()[0].since, path.read_bytes()
        os.utime(path, (0, 0))
        mine.keep()
        assert path.stat().st_mtime == 0  # a touch a second would be work for the disk
        monkeypatch.setattr(queue, "_TOUCH_S", 0.0)
        mine.keep()
        facts = path.stat()
        assert min(facts.st_mtime, facts.st_atime) > began - 60
        assert path.read_bytes() == words and queue.places()[0].since == began


@pytest.mark.parametrize("since", ["null", "-5", "1e300", "10000000000000000", '"now"', "true"])
def test_a_ticket_with_odd_times_can_be_named(since: str) -> None:
    with (folder() / "00000001").open("w") as file:
        file.write(f'{{"run":"ab","since":{since}}}')
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        os.utime(file.fileno(), (0, 2**34))
        (place,) = queue.places()
        assert queue.label(place).startswith("run ab (started ")


@pytest.mark.parametrize("name", ["99999999", "00000007", "\u0660" * 7 + "\u0669", "100000000"])
@pytest.mark.parametrize("kind", ["file", "folder", "link", "pipe"])
def test_what_lies_in_the_queue_and_is_not_held_lets_no_two_runs_begin(
    name: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As of another user, who alone may remove it.
    monkeypatch.setattr(tickets, "clear", lambda _: None)
    there = tickets.queue_folder() / name
    made: dict[str, Callable[[], object]] = {
        "file": there.touch, "folder": there.mkdir,
        "link": lambda: there.symlink_to("nowhere"), "pipe": lambda: os.mkfifo(there),
    }  # fmt: skip
    made[kind]()
    with queue.ticket("a1") as first, queue.ticket("b2") as second:
        first.begin(lambda: False)
        assert [place.run for place in queue.places()] == ["a1", "b2"]
        with pytest.raises(MachineBusy):
            second.begin(lambda: False, 0)
    assert os.path.lexists(there)


def test_a_queue_whose_last_number_is_held_is_refused() -> None:
    with (tickets.queue_folder() / "99999999").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(Blocked, match="last number") as refused, queue.ticket("a1"):
            pass
    assert tickets.FOLDER_VARIABLE in refused.value.remedy


@pytest.mark.parametrize("place", ["a" * 300, "file", "link", "nowhere/queue"])
def test_a_queue_that_cannot_be_made_is_refused_with_its_remedy(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nothing")
    monkeypatch.setenv(tickets.FOLDER_VARIABLE, str(tmp_path / place))
    assert queue.places() == []
    with pytest.raises(Blocked) as refused, queue.ticket("a1"):
        pass
    assert tickets.FOLDER_VARIABLE in refused.value.remedy
