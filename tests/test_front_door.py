"""`make engine` acts on what scripts/engine_state.py exits with; each state must be told apart."""

from __future__ import annotations

import runpy
import socket
from pathlib import Path

import pytest

from kit.core.errors import EngineUnavailable
from kit.machine import containers
from kit.machine.containers import endpoint

SCRIPT = Path(__file__).parents[1] / "scripts" / "engine_state.py"


@pytest.fixture
def default_socket(tmp_path, monkeypatch) -> Path:
    """A default socket of the test's own; nothing that a person named."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "docker.sock"
    monkeypatch.setattr(endpoint, "DEFAULT_SOCKET", str(path))
    return path


def state() -> int:
    with pytest.raises(SystemExit) as exit_:
        runpy.run_path(str(SCRIPT))
    code = exit_.value.code
    assert isinstance(code, int)
    return code


def test_no_socket_is_an_engine_to_install(default_socket):
    assert state() == 10


def test_a_socket_that_nobody_serves_is_an_engine_to_start(default_socket, capsys):
    with socket.socket(socket.AF_UNIX) as stopped:
        stopped.bind(str(default_socket))
    assert state() == 10
    assert "it is stopped" in capsys.readouterr().err


def test_an_engine_that_this_user_may_not_use_is_to_be_granted(default_socket, monkeypatch):
    def refuse():
        raise EngineUnavailable("may not speak", "sudo") from PermissionError()

    monkeypatch.setattr(containers, "connect", refuse)
    assert state() == 11


@pytest.mark.parametrize("address", ["unix:///nowhere/at/all.sock", "tcp://elsewhere:2375", "no"])
def test_what_the_person_named_is_left_to_the_person(default_socket, monkeypatch, capsys, address):
    monkeypatch.setenv("DOCKER_HOST", address)
    assert state() == 12
    assert "DOCKER_HOST" in capsys.readouterr().err


def test_a_context_that_names_no_engine_is_left_to_the_person(default_socket, monkeypatch):
    monkeypatch.setenv("DOCKER_CONTEXT", "gone")
    assert state() == 12


@pytest.mark.docker
def test_an_engine_that_answers():
    assert state() == 0
