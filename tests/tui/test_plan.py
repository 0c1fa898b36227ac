"""The Plan screen: findings with remedies, the exact command, what Enter asks, and the launch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from kit.core import resources
from kit.core.errors import UsageError
from kit.core.model import Finding, MeterPlan
from kit.run import rehearsal
from kit.run.rehearsal import Rehearsal
from kit.run.runner import Order
from kit.spec import spec as specs
from kit.store.store import Store
from kit.tui.app import KitApp
from kit.tui.dialogs import YesNo
from kit.tui.screens import plan as plan_module
from kit.tui.screens.plan import PlanScreen
from kit.tui.screens.spec import SpecScreen
from tests.committed import H200
from tests.tui.conftest import SIZES, ScreenText, drawn
from tests.tui.waiting import notifications, press
from tests.tui.waiting import settled as all_done

SPEC = specs.load(resources.specs_dir() / "quickstart.json")
OK = Finding(code="DISK", level="ok", message="18 GB free in runs/")
WARN = Finding(
    code="CPUS_FEW", level="warn", message="driver and sampler share a CPU", remedy="give it three"
)
FAIL = Finding(
    code="ENGINE_MISSING",
    level="fail",
    message="no container engine answers",
    remedy="sudo apt-get install docker.io",
)
SILENT = Finding(
    code="METER_ABSENT", level="warn", message="rapl measures nothing", remedy="leave it out"
)


def rehearsal_of(*findings: Finding, **changes: object) -> Rehearsal:
    rehearsal = Rehearsal(
        SPEC, None, findings, 36.0, None, None, ("docker", "run", "--name=kit-ID-0")
    )
    return replace(rehearsal, **changes)  # type: ignore[arg-type]


@pytest.fixture
def shown(store: Store, monkeypatch: pytest.MonkeyPatch) -> Callable[..., KitApp]:
    """The app with a Plan screen whose rehearsal finds what is given."""

    def make(result: Rehearsal, original: Path | None = None, ascii_only: bool = False) -> KitApp:
        monkeypatch.setattr(plan_module, "rehearse", lambda spec, store: result)
        screen = PlanScreen(Order(spec=SPEC), Path("my.json"), original)
        return KitApp(store, first=screen, ascii_only=ascii_only)

    return make


async def settled(app: KitApp, pilot: object) -> None:
    await app.workers.wait_for_complete()
    await pilot.pause()  # type: ignore[attr-defined]


@pytest.mark.parametrize("size", [*SIZES, (60, 15)])
@pytest.mark.parametrize("case", ["warned", "blocked"])
async def test_the_screen(
    shown: Callable[..., KitApp],
    screen_text: ScreenText,
    size: tuple[int, int],
    case: str,
) -> None:
    app = shown(
        rehearsal_of(OK, WARN) if case == "warned" else rehearsal_of(OK, WARN, FAIL, took_s=51.0)
    )
    async with app.run_test(size=size) as pilot:
        await settled(app, pilot)
        await screen_text(app)


async def test_in_ascii(shown: Callable[..., KitApp], screen_text: ScreenText) -> None:
    app = shown(rehearsal_of(OK, WARN), ascii_only=True)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(app, pilot)
        assert drawn(app).isascii()
        await screen_text(app)


async def test_the_command_is_one_that_a_shell_takes(store: Store) -> None:
    screen = PlanScreen(Order(spec=SPEC), Path("my run.json"), None)
    assert screen.command == "kit plan 'my run.json' && kit run 'my run.json'"


async def test_all_parts_are_reached_where_there_is_little_room(
    shown: Callable[..., KitApp],
) -> None:
    app = shown(rehearsal_of(OK, WARN))
    async with app.run_test(size=(60, 15)) as pilot:
        await settled(app, pilot)
        assert "CPUS_FEW" in drawn(app)
        text = drawn(app)
        for _ in range(4):
            await pilot.press("pagedown")
            await pilot.pause()
            text += drawn(app)
        assert "What will run" in text and "Steps" in text and "docker run --name=kit-ID-0" in text


async def test_without_a_plan_y_copies_what_helps(shown: Callable[..., KitApp]) -> None:
    build = Finding(
        code="IMAGE_MISSING",
        level="fail",
        message="the image is not here",
        remedy="`kit images build x`",
    )
    for findings, copied in (
        ((OK, FAIL, build), "kit images build x"),
        ((OK,), "kit plan my.json && kit run my.json"),
    ):
        app = shown(rehearsal_of(*findings, command=()))
        async with app.run_test(size=(100, 30)) as pilot:
            await settled(app, pilot)
            await pilot.press("y")
            await pilot.pause()
            assert app.clipboard == copied


async def test_enter_on_a_blocked_plan_says_what_blocks_it_and_what_to_do(
    shown: Callable[..., KitApp],
) -> None:
    second = msgspec.structs.replace(FAIL, message="the disk is full", remedy="")
    app = shown(rehearsal_of(OK, WARN, FAIL, second))
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(app, pilot)
        await press(pilot, "enter")
        said = notifications(app)
        assert isinstance(app.screen, PlanScreen)
        assert FAIL.message in said and FAIL.remedy in said and "the disk is full" in said
        assert WARN.message not in said and "R checks again" in said
        assert "launch" in drawn(app).lower(), "the key stays in the footer, greyed"


async def test_enter_says_why_there_is_no_plan(
    shown: Callable[..., KitApp], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> Rehearsal:
        raise UsageError("host.toml:3:1 is not TOML", "correct it there")

    app = shown(rehearsal_of())
    monkeypatch.setattr(plan_module, "rehearse", fails)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(app, pilot)
        before = notifications(app).count("is not TOML")
        await press(pilot, "enter")
        assert notifications(app).count("is not TOML") == before + 1


async def test_ctrl_z_stays_where_no_shell_could_bring_it_back(
    shown: Callable[..., KitApp], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kit.tui.jobcontrol.stop", lambda: pytest.fail("it would never return"))
    app = shown(rehearsal_of(OK))
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(app, pilot)
        await press(pilot, "ctrl+z")
        assert "q leaves the UI" in notifications(app)


async def test_a_blocked_plan_cannot_be_launched(shown: Callable[..., KitApp]) -> None:
    app = shown(rehearsal_of(FAIL))
    async with app.run_test() as pilot:
        await settled(app, pilot)
        await pilot.press("enter")
        assert isinstance(app.screen, PlanScreen)
        assert "1 blocking" in app.screen.state.plain


async def test_warnings_are_asked_about_and_no_is_the_default(shown: Callable[..., KitApp]) -> None:
    app = shown(rehearsal_of(OK, WARN))
    async with app.run_test() as pilot:
        await settled(app, pilot)
        await pilot.press("enter")
        await pilot.pause()
        assert isinstance(app.screen, YesNo)
        await pilot.press("enter")
        await pilot.pause()
        assert isinstance(app.screen, PlanScreen)
        assert app.store.ids() == []


@pytest.mark.parametrize("keys", [("w", "enter"), ("enter", "y")])
async def test_a_launch_starts_a_runner_and_shows_the_run(
    shown: Callable[..., KitApp], monkeypatch: pytest.MonkeyPatch, keys: tuple[str, ...]
) -> None:
    begun: list[str] = []

    class Started:
        id = "abcd1234"

        @classmethod
        def start(cls, order: Order, store: Store) -> Started:
            begun.append(order.spec.name)
            return cls()

    monkeypatch.setattr(plan_module, "Session", Started)
    monkeypatch.setattr(KitApp, "show_live", lambda self, run_id: begun.append(run_id))
    app = shown(rehearsal_of(OK, WARN))
    async with app.run_test() as pilot:
        await settled(app, pilot)
        for key in keys:
            await pilot.press(key)
            await pilot.pause()
        await settled(app, pilot)
        assert begun == ["quickstart", "abcd1234"]


async def test_a_replay_names_its_command_and_is_not_asked_about_twice(
    shown: Callable[..., KitApp], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[Order] = []
    monkeypatch.setattr(PlanScreen, "_launch", lambda self: begun.append(self._order))
    app = shown(rehearsal_of(OK), original=H200)
    async with app.run_test(size=(100, 30)) as pilot:
        await settled(app, pilot)
        assert f"kit replay {H200.name[:12]}" in drawn(app)
        await pilot.press("enter")
        await pilot.pause()
        assert len(begun) == 1


async def test_a_warning_that_is_new_is_asked_about_though_others_were_accepted(
    shown: Callable[..., KitApp], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = shown(rehearsal_of(OK, WARN))
    async with app.run_test(size=(100, 30)) as pilot:
        await settled(app, pilot)
        await pilot.press("w")
        monkeypatch.setattr(plan_module, "rehearse", lambda spec, store: rehearsal_of(WARN, SILENT))
        await pilot.press("R")
        await settled(app, pilot)
        await pilot.press("enter")
        await pilot.pause()
        assert "1 warning will go into the archive" in drawn(app)


async def test_a_silent_meter_is_dropped_with_a_key(shown: Callable[..., KitApp]) -> None:
    plans = tuple(
        MeterPlan(name=m.name, alias=m.alias, devices=(), reason="no") for m in SPEC.meters
    )
    app = shown(rehearsal_of(SILENT, plan=_planned(plans)))
    async with app.run_test() as pilot:
        await settled(app, pilot)
        await pilot.press("m")
        await settled(app, pilot)
        assert app.screen._order.spec.meters == SPEC.meters[1:]


async def test_what_the_plan_left_out_is_an_edit_of_the_form(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans = tuple(
        MeterPlan(name=m.name, alias=m.alias, devices=(), reason="no") for m in SPEC.meters
    )
    result = rehearsal_of(SILENT, plan=_planned(plans))
    monkeypatch.setattr(plan_module, "rehearse", lambda spec, store: result)
    form = SpecScreen(resources.specs_dir() / "quickstart.json")
    app = KitApp(store, first=form, ascii_only=False)
    async with app.run_test(size=(100, 30)) as pilot:
        await all_done(pilot)
        before = form._draft.document
        await press(pilot, "f5")
        assert isinstance(app.screen, PlanScreen)
        await press(pilot, "m", "e")
        assert app.screen is form and "(modified)" in form.crumbs
        meters = form._draft.document["meters"]
        assert meters == before["meters"][1:]
        assert {**form._draft.document, "meters": 0} == {**before, "meters": 0}
        await press(pilot, "ctrl+z")
        assert form._draft.document == before


def _planned(meters: tuple[MeterPlan, ...]) -> object:
    import msgspec

    from kit.core.model import Plan

    sealed = msgspec.json.decode((H200 / "plan.json").read_bytes(), type=Plan)
    return msgspec.structs.replace(sealed, meters=meters)


async def test_a_bug_in_the_rehearsal_is_told_and_the_screen_stays(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(spec: object, store: object) -> Rehearsal:
        raise ValueError("a bug")

    monkeypatch.setattr(plan_module, "rehearse", broken)
    app = KitApp(store, first=PlanScreen(Order(spec=SPEC), None, None))
    async with app.run_test() as pilot:
        await settled(app, pilot)
        assert "ValueError: a bug" in drawn(app)


@pytest.mark.docker
async def test_the_real_machine_is_rehearsed(store: Store) -> None:
    app = KitApp(store, first=PlanScreen(Order(spec=SPEC), None, None), ascii_only=False)
    async with app.run_test(size=(140, 60)) as pilot:
        await settled(app, pilot)
        text = drawn(app)
        assert "docker run --detach" in text
        assert rehearsal.planning.duration_s(SPEC) == 36.0
        assert "at least 36 s" in text
