"""Steps of start-up and shutdown: a run has those that its runtime gives, as it gives them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kit.core import jsonio
from kit.core.model import RunSpec
from kit.judge.verify import verify
from kit.spec import runtimes
from kit.spec.runtimes.contract import ServerRequest
from kit.spec.runtimes.loopback import Loopback
from tests import golden
from tests.verify.forging import edit_events, sealed_again


class Prepared(Loopback):
    """A runtime with two steps before and one after, under the name of the loopback runtime."""

    def preparing(self, spec: RunSpec) -> tuple[ServerRequest, ...]:
        made = ServerRequest("create", "POST", "/api/create", {"model": "model"})
        return (made, ServerRequest("load", "POST", "/api/load", {"keep_alive": -1}))

    def closing(self, spec: RunSpec) -> tuple[ServerRequest, ...]:
        return (ServerRequest("unload", "POST", "/api/load", {"keep_alive": 0}),)


@pytest.fixture(scope="module", autouse=True)
def _prepared() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(runtimes._REGISTRY._loaded, "loopback", Prepared())
        yield


@pytest.fixture(scope="module")
def sealed(_prepared: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return golden.build(tmp_path_factory.mktemp("steps") / "runs")


@pytest.fixture
def run(sealed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sealed, tmp_path / "runs" / sealed.name))


def test_a_run_with_steps_passes(run: Path) -> None:
    assert [c.message for c in verify(run).checks if c.status == "FAIL"] == []


Edit = Callable[[list[dict[str, Any]]], None]


def _first(events: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(e for e in events if e["data"].get("name") == name)


def _dropped(events: list[dict[str, Any]]) -> None:
    events.remove(_first(events, "load"))


def _swapped(events: list[dict[str, Any]]) -> None:
    create, load = _first(events, "create")["data"], _first(events, "load")["data"]
    create["name"], load["name"] = load["name"], create["name"]


def _twice(events: list[dict[str, Any]]) -> None:
    at = events.index(_first(events, "load"))
    events.insert(at, {**events[at], "data": dict(events[at]["data"])})


def _moved(events: list[dict[str, Any]]) -> None:
    """The load after the start-up's end: its energy would count nowhere."""
    at = events.index(_first(events, "load"))
    events[at], events[at + 1] = events[at + 1], events[at]
    events[at]["t"], events[at + 1]["t"] = sorted((events[at]["t"], events[at + 1]["t"]))


def _renamed(events: list[dict[str, Any]]) -> None:
    _first(events, "unload")["data"]["name"] = "rest"


def _other_body(events: list[dict[str, Any]]) -> None:
    _first(events, "create")["data"]["body"] = {"model": "smaller"}


def _other_path(events: list[dict[str, Any]]) -> None:
    _first(events, "unload")["data"]["path"] = "/api/nothing"


def _no_seconds(events: list[dict[str, Any]]) -> None:
    _first(events, "load")["data"].pop("seconds")


@pytest.mark.parametrize(
    ("edit", "code"),
    [
        (_dropped, "JOURNAL_ORDER"),
        (_swapped, "JOURNAL_ORDER"),
        (_twice, "JOURNAL_ORDER"),
        (_moved, "JOURNAL_ORDER"),
        (_renamed, "JOURNAL_ORDER"),
        (_other_body, "LAUNCH_DIFFERS"),
        (_other_path, "LAUNCH_DIFFERS"),
        (_no_seconds, "FILE_INVALID"),
    ],
)
def test_a_step_that_was_changed_is_found(run: Path, edit: Edit, code: str) -> None:
    assert code in sealed_again(run, lambda r: edit_events(r, edit))


def test_a_step_that_no_runtime_asks_for_is_found(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(runtimes._REGISTRY._loaded, "loopback", Loopback())
    assert "JOURNAL_ORDER" in {c.code for c in verify(run).checks if c.status == "FAIL"}


def test_of_a_runtime_that_kit_does_not_know_the_steps_are_believed(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reviewer lacks the package that brings it: where they are is checked all the same."""

    def get(name: str) -> Any:
        from kit.core.errors import UsageError

        raise UsageError(f"kit knows no runtime {name!r}", "")

    monkeypatch.setattr(runtimes, "get", get)
    order = [c.status for c in verify(run).checks if c.code == "JOURNAL_ORDER"]
    assert order == ["PASS"]
    assert jsonio.read(run / "manifest.json")
