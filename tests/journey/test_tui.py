"""The terminal UI as its user has it: over a real SSH server, a slow link, and a link that breaks.

The link adds 150 ms in each direction. A spec is built by typing, run on the real llama.cpp
container, the link is cut in the middle, the run is found again, and its tmux server killed under
the UI; it is seen sealed, verified and replayed all the same.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.record import events
from kit.store.store import Store
from tests import link
from tests.journey.conftest import Workplace, loopback_spec
from tests.terminal import Terminal

DELAY_S = 0.15
RUN_S = 240.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[link.Server]:
    with link.server(tmp_path / "ssh") as found:
        yield found


def kit(folder: Path, *args: str) -> str:
    """A shell command line that calls kit in ``folder``, for the far side of an SSH link."""
    host = folder / "host.toml"
    host.touch()
    env = f"LANG=C.UTF-8 TERM=xterm-256color KIT_HOST_CONFIG={host}"
    words = shlex.join([sys.executable, "-m", "kit.cli.main", *args])
    return f"cd {folder} && env -u TMUX {env} {words}"


def in_tmux(folder: Path, command: str) -> str:
    """``command`` inside a tmux server of the far side, which can be killed."""
    return f"tmux -u -S {folder}/far.sock -f /dev/null new-session {shlex.quote(command)}"


@pytest.mark.heavy
@pytest.mark.real
@pytest.mark.timeout(900)
def test_a_run_outlives_its_link_and_its_tmux_and_reproduces(
    tmp_path: Path, server: link.Server
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    store = Store(place / "runs")
    run_id = _built_and_launched(place, server)
    assert store.is_alive(run_id)  # the link is gone, the runner is not

    _watched_in_a_tmux_that_dies(place, server, run_id)
    assert store.is_alive(run_id)

    with link.relay(server.port, DELAY_S) as relay:
        words = server.words(relay.port, kit(place, "attach", run_id))
        with Terminal(tmp_path, words) as terminal:
            terminal.wait(f"kit attach {run_id}", 60)
            with Terminal(place, ["sh", "-c", kit(place, "attach")]) as another:
                another.wait(f"kit attach {run_id}", 60)  # two may watch
                another.press("m")
                another.wait("A word for this moment", 30)
                another.type("fan on")
                another.press("Enter")
                terminal.wait("fan on", 30)  # the runner journals it, and both see it
            terminal.wait(r"3rd of 3 launches", RUN_S)
            terminal.wait("complete", RUN_S)
            status, run = _sealed(store, run_id)  # the journal ends before the seal
            assert status == "complete"
            terminal.press("v")
            terminal.wait("VERIFIED", 60)
            terminal.press("r")
            terminal.wait("Do exactly this", 60)
            terminal.press("y")
            terminal.wait("kit replay", 60)
            terminal.wait("✔ ready", 60)
            terminal.press("w")  # what preflight doubts here is not what is tested
            terminal.wait("they go into the archive", 30)
            terminal.press("Enter")
            terminal.wait(r"1st of 3 launches", 60)
            terminal.wait("complete", RUN_S)
            terminal.press("v")
            terminal.wait("REPRODUCED", 60)
    replayed = [p for p in store.runs() if p != run]
    assert len(replayed) == 1
    marks = [e for e in events.decode((run / events.FILE).read_bytes()) if e.kind == "mark"]
    assert [mark.data["text"] for mark in marks] == ["fan on"]


def _sealed(store: Store, run_id: str) -> tuple[str, Path]:
    end = time.monotonic() + 60
    while not (sealed := store.sealed_as(run_id)):
        assert time.monotonic() < end, "it was never sealed"
        time.sleep(0.1)
    return sealed


def _built_and_launched(place: Path, server: link.Server) -> str:
    """Type a spec, launch it, and lose the link in the middle; returns the run's id."""
    with (
        link.relay(server.port, DELAY_S) as relay,
        Terminal(place.parent, server.words(relay.port, kit(place))) as terminal,
    ):
        terminal.wait("no runs yet|make demo", 30)
        terminal.press("n")
        terminal.wait("begin with", 30)
        terminal.press("Enter")
        terminal.wait("✔ valid", 30)
        terminal.wait("llama-server")
        terminal.press("C-u")  # the form's first field is the name
        terminal.type("Typed Over SSH")
        terminal.wait("✘ 1 problem", 30)
        terminal.press("C-u")
        terminal.type("typed-over-ssh")
        terminal.wait("✔ valid", 30)
        terminal.press("C-s")
        terminal.wait("[Ff]ile", 30)
        terminal.press("Enter")
        terminal.wait(r"typed-over-ssh\.json|run-spec\.json", 30)
        terminal.press("F5")
        terminal.wait("✔ ready", 60)
        terminal.press("Enter")
        terminal.wait("Launch\\?", 30)
        terminal.press("y")
        shown = terminal.wait(r"1st of 3 launches", 60)
        found = re.search(r"kit attach ([0-9a-f]{8})", shown)
        assert found, shown
        relay.cut()
        assert terminal.wait_end(60) != 0
    (file,) = place.glob("*.json")
    assert json.loads(file.read_text())["name"] == "typed-over-ssh"
    return found[1]


def _watched_in_a_tmux_that_dies(place: Path, server: link.Server, run_id: str) -> None:
    with link.relay(server.port, DELAY_S) as relay:
        command = in_tmux(place, kit(place, "attach"))
        with Terminal(place.parent, server.words(relay.port, command)) as terminal:
            terminal.wait(f"kit attach {run_id}", 60)
            subprocess.run(["tmux", "-S", str(place / "far.sock"), "kill-server"], check=True)
            terminal.wait_end(60)


def test_a_run_is_stopped_from_the_screen_and_sealed_as_aborted(tmp_path: Path) -> None:
    place = Workplace(tmp_path)
    spec = loopback_spec(phases={"idle_s": 30, "loaded_idle_s": 0.3, "warmup_requests": 1})
    run_id = place.kit("run", place.spec(spec), "--runs", place.runs, "--detach").stdout.strip()
    with Terminal(tmp_path, ["sh", "-c", kit(tmp_path, "attach", run_id)], 80, 24) as terminal:
        terminal.wait("idle ▶", 60)
        terminal.press("x")
        terminal.wait("The launch is cut off", 30)
        terminal.press("Enter")  # the safe answer has the focus
        terminal.wait_gone("The launch is cut off")
        terminal.press("x")
        terminal.wait("The launch is cut off", 30)
        terminal.press("y")
        terminal.wait("✘ aborted run", 60)
        terminal.press("Enter")
        terminal.wait("Provenance", 30)
    assert (Store(place.runs).sealed_as(run_id) or ("",))[0] == "aborted"


def test_a_lost_link_loses_no_draft(tmp_path: Path, server: link.Server) -> None:
    place = tmp_path / "place"
    place.mkdir()
    with (
        link.relay(server.port, DELAY_S) as relay,
        Terminal(tmp_path, server.words(relay.port, kit(place))) as terminal,
    ):
        terminal.wait("no runs yet|make demo", 30)
        terminal.press("n")
        terminal.wait("begin with", 30)
        terminal.press("Enter")
        terminal.wait("✔ valid", 30)
        terminal.type("-of-mine")
        terminal.wait("quickstart-of-mine", 30)
        relay.cut()
        assert terminal.wait_end(60) != 0
    end = time.monotonic() + 20
    while not (kept := list(place.glob("*.draft-*.json"))):
        assert time.monotonic() < end
        time.sleep(0.1)
    assert json.loads(kept[0].read_text())["name"] == "quickstart-of-mine"


@pytest.mark.parametrize("allowed", ["on", "off"])
def test_copying_inside_tmux(tmp_path: Path, allowed: str) -> None:
    place = tmp_path / "place"
    place.mkdir()
    inside = kit(place).replace("env -u TMUX ", "env ")
    command = (
        f"tmux -u -S {place}/far.sock -f /dev/null new-session {shlex.quote(inside)} "
        f"\\; set -g set-clipboard {allowed}"
    )
    with Terminal(tmp_path, ["sh", "-c", f"unset TMUX; {command}"]) as terminal:
        terminal.wait("no runs yet|make demo", 30)
        terminal.press("y")
        terminal.wait("copied", 20)
        shown = subprocess.run(
            ["tmux", "-S", str(place / "far.sock"), "show-buffer"],
            check=True,
            capture_output=True,
            text=True,
        )
        terminal.press("q")  # the far tmux ends with the UI in it
        terminal.wait_end()
    assert shown.stdout.strip() == "kit ls"


def test_resizing_down_to_almost_nothing_and_back(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    with Terminal(tmp_path, ["sh", "-c", kit(place)]) as terminal:
        terminal.wait("no runs yet|make demo", 30)
        for columns, rows in ((60, 15), (20, 5), (5, 2), (200, 60), (80, 24)):
            terminal.resize(columns, rows)
        terminal.wait("no runs yet|make demo", 30)
        terminal.press("q")
        assert terminal.wait_end() in (0, -1)  # tmux does not always learn how it ended
