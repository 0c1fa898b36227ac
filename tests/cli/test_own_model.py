"""From a model's file to runs of it: init --model, weights add, run --concurrency."""

from __future__ import annotations

import io
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from kit.cli import main
from kit.cli import run as running
from kit.core.errors import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_USAGE,
    ContainerDied,
)
from kit.core.resources import cache_dir
from kit.machine import weights
from kit.run.runner import Order
from kit.spec import spec as specs
from kit.store.store import Store
from tests.runtimes.specs import SMOLLM2
from tests.test_own_model import LLAMA, gguf_of


class Terminal(io.StringIO):
    """A person who types these lines."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model, no host.toml, and nobody at a terminal."""
    monkeypatch.setenv("KIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("KIT_HOST_CONFIG", str(tmp_path / "host.toml"))
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    place = tmp_path / "models"
    place.mkdir()
    (place / "m.gguf").write_bytes(gguf_of(LLAMA))
    monkeypatch.chdir(place)
    return place


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Order]:
    """The orders of runs that were started; none runs."""
    orders: list[Order] = []

    class Started:
        def __init__(self, order: Order) -> None:
            self.id = f"id-{order.spec.name}"

        @classmethod
        def start(cls, order: Order, store: Store) -> Started:
            orders.append(order)
            return cls(order)

        def verdict(self) -> None:
            return None

    monkeypatch.setattr(running, "Session", Started)
    monkeypatch.setattr(running, "watch", lambda session: Path("runs") / session.id)
    return orders


def test_three_commands_lead_from_nothing_to_runs_at_three_levels(
    here: Path, started: list[Order], capsys: pytest.CaptureFixture[str]
) -> None:
    commands = ["init --model m.gguf --yes", "run run-spec.json --concurrency 1,4,16"]
    assert [main.dispatch(command.split()) for command in commands] == [EXIT_OK, EXIT_OK]
    assert [order.spec.name for order in started] == ["m-c1", "m-c4", "m-c16"]
    said = capsys.readouterr()
    assert said.out.split() == ["runs/id-m-c1", "runs/id-m-c4", "runs/id-m-c16"]
    assert "`kit compare id-m-c1 id-m-c4 id-m-c16 --by concurrency`" in said.err
    # What is started is found and hashed as any run finds it; the third command compares.
    (file,) = started[0].spec.weights.files  # type: ignore[union-attr]
    assert weights.require(file, [here]) == here / "m.gguf"
    assert main.dispatch(["check", "run-spec.json"]) == EXIT_OK


def test_detached_levels_are_queued_in_order(
    here: Path, started: list[Order], capsys: pytest.CaptureFixture[str]
) -> None:
    main.dispatch(["init", "--model", "m.gguf", "--yes"])
    run = ["run", "run-spec.json", "--concurrency", "4,1", "--detach"]
    assert main.dispatch(run) == EXIT_OK
    assert capsys.readouterr().out.split() == ["id-m-c4", "id-m-c1"]
    assert main.dispatch([*run, "--no-wait"]) == EXIT_USAGE


def test_a_level_that_fails_ends_them_and_says_what_was_not_started(
    here: Path,
    started: list[Order],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def failed(session: Any) -> Path:
        if session.id == "id-m-c4":
            raise ContainerDied("the server ended", "see its log")
        return Path("runs") / session.id

    monkeypatch.setattr(running, "watch", failed)
    main.dispatch(["init", "--model", "m.gguf", "--yes"])
    assert main.dispatch(["run", "run-spec.json", "--concurrency", "1,4,16"]) == EXIT_FAILED
    said = capsys.readouterr()
    assert said.out.split() == ["runs/id-m-c1"] and "not started: m-c16" in said.err
    assert len(started) == 2


@pytest.mark.parametrize("levels", ["", "1,,4", "many", "0", "1,1", "64"])
def test_a_bad_list_starts_nothing(
    here: Path, started: list[Order], levels: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main.dispatch(["init", "--model", "m.gguf", "--yes"])
    capsys.readouterr()
    assert main.dispatch(["run", "run-spec.json", f"--concurrency={levels}"]) == EXIT_USAGE
    said = capsys.readouterr().err
    assert said.count("error:") == 1 and "fix:" in said and not started


@pytest.mark.parametrize("command", ["init --model m.gguf", "weights add m.gguf"])
def test_without_a_terminal_a_yes_is_needed_before_anything(
    here: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.dispatch(command.split()) == EXIT_USAGE
    assert "--yes" in capsys.readouterr().err
    assert [path.name for path in here.iterdir()] == ["m.gguf"]
    assert not (here.parent / "host.toml").exists() and not cache_dir().exists()


@pytest.mark.parametrize("answer", ["y\n", "n\n", "\n", ""])
def test_the_folder_is_registered_after_a_yes_alone(
    here: Path, answer: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("weights add m.gguf", "init --model m.gguf s.json"):
        monkeypatch.setattr(sys, "stdin", Terminal(answer))
        code = main.dispatch(command.split())
        said = capsys.readouterr().err
        assert (here.parent / "host.toml").exists() == (answer == "y\n")
        assert ("not registered" in said) == (answer != "y\n")
        assert code == (EXIT_OK if answer == "y\n" or "init" in command else EXIT_INTERRUPTED)
    assert (here / "s.json").exists()


def test_a_spec_is_still_fetched_for(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main.dispatch(["init", "--model", "m.gguf", "--yes"])
    capsys.readouterr()
    assert main.dispatch(["weights", "add", "run-spec.json"]) == EXIT_OK
    assert capsys.readouterr().out.strip() == str(here / "m.gguf")


def test_what_is_there_is_not_overwritten_and_not_hashed(here: Path) -> None:
    (here / "run-spec.json").write_text("mine")
    assert main.dispatch(["init", "--model", "m.gguf", "--yes"]) == EXIT_USAGE
    assert (here / "run-spec.json").read_text() == "mine"
    assert not (here.parent / "host.toml").exists()


def test_template_and_model_exclude_one_another(here: Path) -> None:
    command = ["init", "--model", "m.gguf", "--template", "quickstart", "--yes"]
    assert main.dispatch(command) == EXIT_USAGE


@pytest.mark.runtimes
@pytest.mark.timeout(1800)
def test_three_commands_seal_and_compare_three_levels_for_real(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from kit.machine import images

    images.build("llama-server")
    monkeypatch.setenv("KIT_HOST_CONFIG", str(tmp_path / "host.toml"))
    monkeypatch.chdir(tmp_path)
    shutil.copy(weights.ensure(SMOLLM2, ()), tmp_path / "my-model.gguf")
    assert main.dispatch(["init", "--model", "my-model.gguf", "--yes"]) == EXIT_OK
    capsys.readouterr()
    assert main.dispatch(["run", "run-spec.json", "--concurrency", "1,4,16"]) == EXIT_OK
    said = capsys.readouterr()
    folders = list(map(Path, said.out.split()))
    sealed: list[Any] = [json.loads((folder / "spec.json").read_text()) for folder in folders]
    assert [spec["arrivals"]["concurrency"] for spec in sealed] == [1, 4, 16]
    assert all(specs.problems(spec) == [] for spec in sealed)
    assert [main.dispatch(["verify", str(folder)]) for folder in folders] == [EXIT_OK] * 3
    third = re.search("`kit (compare .*)`", said.err)
    assert third and main.dispatch(third[1].split()) == EXIT_OK
    table = capsys.readouterr().out
    assert "my-model-c16" in table and "by design" in table and "other work" not in table
