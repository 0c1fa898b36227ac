"""From Home to runs of one's own model: picked, hashed, registered, planned, started at levels."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from kit.core.errors import Blocked
from kit.core.model import Finding
from kit.machine.host import register
from kit.run.rehearsal import Rehearsal
from kit.run.runner import Order
from kit.spec import levels, models
from kit.store.store import Store
from kit.tui.app import KitApp
from kit.tui.dialogs import YesNo
from kit.tui.form.picker import Hashing, ModelPicker
from kit.tui.screens import plan as plan_module
from kit.tui.screens.plan import PlanScreen
from kit.tui.screens.spec import SpecScreen
from kit.tui.screens.verify import VerifyScreen
from tests import golden
from tests.test_own_model import LLAMA, gguf_of
from tests.tui.conftest import SIZES, ScreenText, drawn
from tests.tui.waiting import notifications, press, settled

WARN = Finding(code="CPUS_FEW", level="warn", message="they share a CPU", remedy="give it three")
COMMIT = "a" * 40
MOST_KEYS = 40


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, with a model among other files, below a short path."""
    monkeypatch.setenv("KIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    place = tmp_path / "work"
    (place / "models" / "deeper").mkdir(parents=True)
    (place / "notes.txt").write_text("notes")
    (place / "models" / "my-model.gguf").write_bytes(gguf_of(LLAMA))
    monkeypatch.chdir(place)
    yield place


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the runs that were started; none runs."""
    begun: list[str] = []

    class Started:
        def __init__(self, name: str) -> None:
            self.id = f"id-{name}"

        @classmethod
        def start(cls, order: Order, store: Store) -> Started:
            begun.append(order.spec.name)
            return cls(order.spec.name)

        def verdict(self) -> None:
            begun.append(f"{self.id} queued")

    def found(spec: Any, store: Store) -> Rehearsal:
        return Rehearsal(spec, None, (WARN,), 36.0, None, None, ("docker", "run"))

    monkeypatch.setattr(plan_module, "Session", Started)
    monkeypatch.setattr(plan_module, "rehearse", found)
    monkeypatch.setattr(KitApp, "show_live", lambda self, run_id: begun.append(run_id))
    return begun


async def test_from_home_to_three_runs_in_few_keys(
    store: Store, here: Path, started: list[str]
) -> None:
    app = KitApp(store, ascii_only=False)
    keys = ["n", "down", "enter", *"models", "enter", *"my-m", "enter"]
    register_, plan, launch = ["y"], ["f5"], ["c", "enter", "y"]
    async with app.run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        await press(pilot, *keys)
        assert isinstance(app.screen, YesNo) and "Register" in drawn(app)
        await press(pilot, *register_)
        assert isinstance(app.screen, SpecScreen)
        assert app.screen._draft.document["name"] == "my-model"
        await press(pilot, *plan)
        assert isinstance(app.screen, PlanScreen)
        await press(pilot, *launch)
    assert register.is_registered(here / "models")
    names = [name for name in started if name.startswith("my-model")]
    assert names == ["my-model-c1", "my-model-c4", "my-model-c16"]
    assert started[-1] == "id-my-model-c1", "the first is shown"
    assert started.index("id-my-model-c1 queued") < started.index("my-model-c4")
    assert len([*keys, *register_, *plan, *launch]) <= MOST_KEYS


def sealed_at(store: Store, name: str, clients: tuple[int, ...], patch: pytest.MonkeyPatch) -> None:
    """Sealed runs at levels of concurrency, as the runner would leave them."""
    options = {**golden.run_spec().workload.options, "requests": max(clients)}
    workload = structs.replace(golden.run_spec().workload, options=options)
    begun = structs.replace(golden.run_spec(), name=name, workload=workload)
    for spec in levels.at(begun, clients):
        patch.setattr(golden, "run_spec", lambda spec=spec: spec)
        golden.build(store.root)


async def test_the_first_half_hour_in_few_keys(
    store: Store, here: Path, started: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """My GGUF, three levels, compare, verify, export."""
    app = KitApp(store, ascii_only=False)
    launch = ["n", "down", "enter", *"models", "enter", *"my-m", "enter", "y"]
    launch += ["f5", "c", "enter", "y"]
    home, compare = ["escape", "escape"], ["space", "down", "space", "down", "space", "c"]
    by_design, verify, export = ["t", "down", "enter"], ["v"], ["q", "q", "enter", "e"]
    async with app.run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        await press(pilot, *launch)
        sealed_at(store, "my-model", (1, 4, 16), monkeypatch)
        await press(pilot, *home)
        assert "my-model-c16" in drawn(app)
        await press(pilot, *compare)
        assert "Compare 3 runs" in drawn(app)
        await press(pilot, *by_design)
        assert "by design" in drawn(app) and "other work" not in drawn(app)
        await press(pilot, *verify)
        assert isinstance(app.screen, VerifyScreen) and "VERIFIED" in drawn(app)
        await press(pilot, *export)
    (packed,) = here.glob("*.kit.zip")
    sealed = {run.name[:12] for run in store.runs()}
    assert len(sealed) == 3 and any(packed.name.startswith(run) for run in sealed)
    keys = [*launch, *home, *compare, *by_design, *verify, *export]
    assert len(keys) <= 2 * MOST_KEYS, f"{len(keys)} keys"


@pytest.mark.parametrize("size", [*SIZES, (60, 15)])
async def test_the_picker(
    store: Store,
    here: Path,
    screen_text: ScreenText,
    size: tuple[int, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    snapshot = here.parent / "hub" / "models--org--tiny" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "tiny.gguf").write_bytes(gguf_of(LLAMA))
    listed = models.listed
    monkeypatch.setattr(
        models,
        "listed",
        lambda folder: listed(here / "models" if folder == Path("/srv/models") else folder),
    )
    app = KitApp(store, ascii_only=False)
    async with app.run_test(size=size) as pilot:
        await settled(pilot)
        app.push_screen(ModelPicker(Path("/srv/models")))
        await settled(pilot)
        await screen_text(app)


async def test_letters_filter_and_a_whole_path_can_be_typed(store: Store, here: Path) -> None:
    app = KitApp(store, ascii_only=False)
    answers: list[str | None] = []
    async with app.run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        for keys in (
            ["up", "down", "up", *"MOD", "enter", "down", "up", "enter"],
            [*str(here / "models"), "enter", *"gguf", "enter"],
            [*"hf:org/tiny", "enter"],
            [*"none-such.gguf", "enter"],
            ["escape"],
        ):
            app.push_screen(ModelPicker(here), answers.append)
            await settled(pilot)
            await press(pilot, *keys)
    path = str(here / "models" / "my-model.gguf")
    assert answers == [path, path, "hf:org/tiny", str(here / "none-such.gguf"), None]


def test_known_models_come_from_weights_folders_and_the_hub(here: Path) -> None:
    assert models.known() == []
    register.add_folder(here / "models")
    snapshot = here.parent / "hub" / "models--org--tiny" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (snapshot / "model.safetensors").write_text("tensors")
    assert [(e.name, e.size, e.where) for e in models.known()] == [
        ("my-model.gguf", len(gguf_of(LLAMA)), "in a weights folder"),
        ("org/tiny", 7, "in the hub's cache"),
    ]
    assert models.listed(here / "none") == []
    assert [entry.name for entry in models.listed(here)] == ["models/"]


async def test_hashing_is_cancelled(
    store: Store, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended, goes_on = threading.Event(), threading.Event()

    def slow(name: str, progress: models.Progress) -> models.Begun:
        try:
            for done in range(1000):
                progress("my-model.gguf", done * 1e6, 1e9)
                goes_on.set()
                ended.wait(0.01)
        finally:
            ended.set()
        raise AssertionError("it was not cancelled")

    monkeypatch.setattr(models, "begun", slow)
    app = KitApp(store, ascii_only=False)
    answers: list[str | None] = []
    async with app.run_test(size=(100, 30)) as pilot:
        app.push_screen(Hashing("my-model.gguf"), answers.append)
        await pilot.pause()
        assert goes_on.wait(10)
        await pilot.pause(0.3)
        assert "my-model.gguf" in drawn(app) and "of 1 GB" in drawn(app)
        await pilot.press("escape")
        await settled(pilot)
        assert ended.wait(10) and answers == [None]
        assert not notifications(app)


async def test_what_is_no_model_says_why_and_asks_again(store: Store, here: Path) -> None:
    (here / "bad.gguf").write_bytes(b"<html>")
    app = KitApp(store, ascii_only=False)
    async with app.run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        await press(pilot, "n", "down", "enter", *"bad", "enter")
        assert isinstance(app.screen, ModelPicker)
        assert "does not begin with GGUF" in notifications(app)
        await press(pilot, "escape")
        assert "begin with" in drawn(app)


async def test_without_a_yes_the_form_opens_and_says_what_is_missing(
    store: Store, here: Path
) -> None:
    app = KitApp(store, ascii_only=False)
    async with app.run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        await press(pilot, "n", "down", "enter", *"models", "enter", *"my-m", "enter", "n")
        assert isinstance(app.screen, SpecScreen)
        assert "not registered" in notifications(app)
    assert not register.is_registered(here / "models")


async def test_a_level_that_cannot_be_is_asked_for_again(
    store: Store, here: Path, started: list[str]
) -> None:
    app = KitApp(store, ascii_only=False)
    async with app.run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        await press(pilot, "n", "enter", "f5", "c", "enter")
        assert "as many requests" in notifications(app), "quickstart has four requests"
        await press(pilot, "ctrl+u", *"1,x", "enter")
        assert "no list" in notifications(app)
        await press(pilot, "ctrl+u", *"1,4", "enter")
        assert "2 runs in turn: quickstart-c1, quickstart-c4" in drawn(app)
        await press(pilot, "n", "enter", "y")
    assert started == ["quickstart", "id-quickstart"], "a launch after a no is of the spec itself"


async def test_a_level_that_is_refused_ends_them(
    store: Store, here: Path, started: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: object) -> None:
        raise Blocked("the disk is full", "make room")

    monkeypatch.setattr(plan_module.Session, "verdict", refused)
    app = KitApp(store, ascii_only=False)
    async with app.run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        await press(pilot, "n", "enter", "f5", "c", "ctrl+u", *"1,4", "enter", "y")
        assert "the disk is full" in notifications(app)
        assert isinstance(app.screen, PlanScreen) and len(app.sessions) == 1
    assert started == ["quickstart-c1"]


async def test_a_blocked_plan_has_no_levels(
    store: Store, here: Path, started: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = plan_module.rehearse
    fail = replace_level(WARN)
    monkeypatch.setattr(
        plan_module, "rehearse", lambda spec, store: replace(found(spec, store), findings=(fail,))
    )
    app = KitApp(store, ascii_only=False)
    async with app.run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        await press(pilot, "n", "enter", "f5", "c")
        assert isinstance(app.screen, PlanScreen)


def replace_level(finding: Finding) -> Finding:
    return Finding(code=finding.code, level="fail", message=finding.message, remedy="fix it")


@pytest.mark.parametrize(
    "where", [("determinism",), ("weights", "files", 0, "source"), ("launches",)]
)
async def test_the_help_of_a_field_is_whole_where_there_is_room(
    store: Store, here: Path, where: tuple[str | int, ...]
) -> None:
    app = KitApp(store, ascii_only=False)
    async with app.run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        await press(pilot, "n", "enter")
        screen = app.screen
        assert isinstance(screen, SpecScreen)
        screen._sheet.jump(where)
        await settled(pilot)
        about = screen.query_one("#about")
        x, y, width, height = about.region
        lines = drawn(app).splitlines()[y : y + height]
        shown = " ".join(line[x : x + width].strip() for line in lines)
        whole = str(about.render())
        assert len(whole) > 100 and " ".join(whole.split()) == shown.strip()
