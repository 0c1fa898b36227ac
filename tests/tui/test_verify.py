"""The Verify screen: the verdict by level, what fails and why, and the verdict on a replay."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from kit.core.errors import ImageUnavailable
from kit.judge import replay
from kit.judge.replay import Undertaking, parent_in
from kit.judge.verify.integrity import altered
from kit.run.runner import Order
from kit.store.store import Store
from kit.tui import replay as tui_replay
from kit.tui.app import KitApp
from kit.tui.screens.verify import VerifyScreen
from tests.committed import H200, QUICKSTART, REPLAY, RUNS
from tests.strangers import undertaking
from tests.tui.conftest import SIZES, ScreenText, drawn


def showing(run: Path, original: Path | None = None, *, ascii_only: bool = False) -> KitApp:
    return KitApp(Store(RUNS), first=VerifyScreen(run, original), ascii_only=ascii_only)


async def settled(app: KitApp, pilot: Any) -> None:
    # A verdict asks for the next piece of work, so that one wait is not enough.
    for _ in range(3):
        await app.workers.wait_for_complete()
        await pilot.pause()


def changed(run: Path, into: Path) -> Path:
    """A copy of ``run`` with one byte of its samples changed."""
    copy = into / run.name
    shutil.copytree(run, copy)
    sample = next(p for p in sorted(copy.glob("samples/*")) if p.stat().st_size)
    data = bytearray(sample.read_bytes())
    data[-1] ^= 1
    sample.chmod(0o644)
    sample.write_bytes(data)
    return copy


@pytest.mark.parametrize("size", [*SIZES, (60, 15)])
@pytest.mark.parametrize("run", [H200, REPLAY], ids=["alone", "replay"])
async def test_the_screen(screen_text: ScreenText, size: tuple[int, int], run: Path) -> None:
    app = showing(run)
    async with app.run_test(size=size) as pilot:
        await settled(app, pilot)
        await screen_text(app)


async def test_in_ascii(screen_text: ScreenText) -> None:
    app = showing(REPLAY, ascii_only=True)
    async with app.run_test(size=(100, 30)) as pilot:
        await settled(app, pilot)
        assert drawn(app).isascii()
        await screen_text(app)


async def test_the_verdict_and_the_exit_code() -> None:
    app = showing(QUICKSTART)
    async with app.run_test(size=(100, 30)) as pilot:
        await settled(app, pilot)
        assert app.screen.state.plain == "✔ VERIFIED"
        assert app.screen.command == f"kit verify {QUICKSTART.name[:12]}"
        text = drawn(app)
        assert "consistent; no signature checked" in text
        assert "Replay of" not in text


@pytest.mark.parametrize("size", [(100, 30), (60, 15)])
async def test_a_changed_byte_fails_with_file_and_both_hashes(
    tmp_path: Path, size: tuple[int, int], screen_text: ScreenText
) -> None:
    app = showing(changed(QUICKSTART, tmp_path))
    async with app.run_test(size=size) as pilot:
        await settled(app, pilot)
        assert app.screen.state.plain == "✘ NOT VERIFIED"
        text = "".join(drawn(app).split())
        assert "samples/" in text
        if size == (100, 30):
            path, sealed, actual = altered(app.screen._run)[0]
            assert sealed != actual
            assert f"file{path}" in text.replace("│", "")
            assert sealed in text
            assert actual in text
        await screen_text(app)


async def test_a_changed_replay_is_not_judged(tmp_path: Path) -> None:
    app = showing(changed(REPLAY, tmp_path), QUICKSTART)
    async with app.run_test(size=(140, 40)) as pilot:
        await settled(app, pilot)
        assert "a run that does not verify proves nothing" in drawn(app)


async def test_an_original_that_fails_judges_nothing(tmp_path: Path) -> None:
    app = showing(REPLAY, changed(QUICKSTART, tmp_path))
    async with app.run_test(size=(140, 40)) as pilot:
        await settled(app, pilot)
        assert "cannot be judged: the original does not verify" in drawn(app)
        assert app.screen.state.plain == "✔ VERIFIED"


async def test_a_replay_finds_its_original_and_shows_every_axis() -> None:
    app = showing(REPLAY)
    async with app.run_test(size=(140, 60)) as pilot:
        await settled(app, pilot)
        text = drawn(app)
        assert f"Replay of {QUICKSTART.name[:12]}" in text
        verdicts = {axis.verdict for axis in replay.judge(QUICKSTART, REPLAY).axes}
        for word in ("REPRODUCED", "NOT-COMPARABLE", "margin ±10%", "IDENTICAL", *verdicts):
            assert word in text


async def test_levels_unfold_and_fold() -> None:
    app = showing(QUICKSTART)
    async with app.run_test(size=(140, 40)) as pilot:
        await settled(app, pilot)
        folded = drawn(app)
        assert "HASH_MISMATCH" not in folded
        await pilot.press("down", "enter")
        await pilot.pause()
        assert "HASH_MISMATCH" in drawn(app)
        await pilot.press("enter")
        await pilot.pause()
        assert drawn(app) == folded


async def test_d_unfolds_everything_and_folds_it_again() -> None:
    app = showing(QUICKSTART)
    async with app.run_test(size=(140, 60)) as pilot:
        await settled(app, pilot)
        folded = drawn(app)
        await pilot.press("d")
        await pilot.pause()
        assert {"HASH_NAME", "JOURNAL_CHAIN", "ENVIRONMENT"} <= set(drawn(app).split())
        await pilot.press("d")
        await pilot.pause()
        assert drawn(app) == folded


async def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    app = showing(tmp_path / "[bold]nothing")
    async with app.run_test(size=(100, 30)) as pilot:
        await settled(app, pilot)
        assert "✘" in app.screen.state.plain
        assert "nothing" in drawn(app)
        await pilot.press("enter", "d", "h", "r", "c", "y")
        await settled(app, pilot)
        assert isinstance(app.screen, VerifyScreen)


async def test_c_compares_with_the_original(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[object] = []
    monkeypatch.setattr(KitApp, "show_compare", lambda self, runs: shown.append(runs))
    app = showing(REPLAY)
    async with app.run_test() as pilot:
        await settled(app, pilot)
        await pilot.press("c")
        assert shown == [[RUNS / QUICKSTART.name, REPLAY]]


async def test_r_leads_to_the_plan_of_a_replay(monkeypatch: pytest.MonkeyPatch) -> None:

    shown: list[tuple[Order, Path | None]] = []
    monkeypatch.setattr(replay, "undertake", lambda run, *_, **__: undertaking(run))
    monkeypatch.setattr(replay, "provide", lambda *args, **kwargs: None)
    monkeypatch.setattr(
        KitApp,
        "show_plan",
        lambda self, order, path=None, original=None: shown.append((order, original)),
    )
    app = showing(QUICKSTART)
    async with app.run_test() as pilot:
        await settled(app, pilot)
        await pilot.press("r")
        await settled(app, pilot)
        assert not shown
        await pilot.press("y")
        await settled(app, pilot)
        ((order, original),) = shown
        assert original == QUICKSTART
        assert order.parents == ({"run_hash": QUICKSTART.name, "relation": "replay-of"},)


async def test_a_missing_image_is_told_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(run: Path, store: object) -> Undertaking:
        raise ImageUnavailable("the image is not here", "kit image build")

    monkeypatch.setattr(tui_replay, "looked_at", missing)
    app = showing(QUICKSTART)
    async with app.run_test(size=(100, 30)) as pilot:
        await settled(app, pilot)
        await pilot.press("r")
        await settled(app, pilot)
        assert "kit image build" in "".join(n.message for n in app._notifications)


async def test_h_writes_the_report_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    app = showing(QUICKSTART)
    async with app.run_test(size=(140, 40)) as pilot:
        await settled(app, pilot)
        await pilot.press("h")
        await settled(app, pilot)
        assert (tmp_path / f"report-{QUICKSTART.name[:12]}.html").is_file()


async def test_y_copies_both_verdicts(monkeypatch: pytest.MonkeyPatch) -> None:
    copied: list[str] = []
    monkeypatch.setattr(KitApp, "copy", lambda self, text: copied.append(text))
    app = showing(REPLAY)
    async with app.run_test() as pilot:
        await settled(app, pilot)
        await pilot.press("y")
        assert "✔ VERIFIED  complete run" in copied[0]
        assert "✔ REPRODUCED  outputs" in copied[0]


def test_only_a_parent_that_is_in_the_store_is_found(tmp_path: Path) -> None:
    assert parent_in(Store(RUNS), REPLAY) == RUNS / QUICKSTART.name
    assert parent_in(Store(RUNS), QUICKSTART) is None
    assert parent_in(Store(tmp_path), REPLAY) is None


async def test_a_stranger_in_the_names_stays_text(tmp_path: Path) -> None:
    copy = changed(QUICKSTART, tmp_path)
    hostile = copy.rename(tmp_path / "[red]a[1] [@click=quit]b")
    app = showing(hostile)
    async with app.run_test(size=(140, 40)) as pilot:
        await settled(app, pilot)
        assert "[red]a[1] [@" in drawn(app)
        assert app.screen.state.plain == "✘ NOT VERIFIED"
