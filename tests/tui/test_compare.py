"""The Compare screen: what differs, ratios with verdicts, power, and the baseline that moves."""

from __future__ import annotations

import functools
import math
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from textual.widgets import DataTable, OptionList

from kit.judge import replay
from kit.judge.compare import Comparison, judge
from kit.judge.contrast import contrast, differences, side_of
from kit.store.store import Store
from kit.tui.app import KitApp
from kit.tui.comparison import GAP, MetricRow, cell, columns, metrics
from kit.tui.screens.compare import CompareScreen
from kit.tui.widgets.curves import Curves
from tests.committed import H200, QUICKSTART, REPLAY, RUNS
from tests.tui.conftest import SIZES, ScreenText, drawn


def showing(*runs: Path, ascii_only: bool = False) -> KitApp:
    return KitApp(Store(RUNS), first=CompareScreen(runs), ascii_only=ascii_only)


async def settled(app: KitApp, pilot: Any) -> None:
    for _ in range(2):
        await app.workers.wait_for_complete()
        await pilot.pause()


async def pressed(app: KitApp, pilot: Any, *keys: str) -> None:
    for key in keys:
        await pilot.press(key)
        await settled(app, pilot)


def column(app: KitApp, heading: str) -> list[str]:
    table = app.screen.query_one("#metrics", DataTable)
    key = next(k for k, c in table.columns.items() if c.label.plain == heading)
    return [str(cell) for cell in table.get_column(key)]


@pytest.mark.parametrize("size", [*SIZES, (60, 15)])
@pytest.mark.parametrize(
    "runs", [(H200, QUICKSTART), (QUICKSTART, REPLAY, H200)], ids=["two", "three"]
)
async def test_the_screen(
    screen_text: ScreenText, size: tuple[int, int], runs: Sequence[Path]
) -> None:
    app = showing(*runs)
    async with app.run_test(size=size) as pilot:
        await settled(app, pilot)
        await screen_text(app)


async def test_in_ascii_a_curve_is_drawn_with_its_letter(screen_text: ScreenText) -> None:
    app = showing(H200, QUICKSTART, ascii_only=True)
    async with app.run_test(size=(100, 30)) as pilot:
        await settled(app, pilot)
        assert drawn(app).isascii()
        assert "AAA" in drawn(app)
        await screen_text(app)


async def test_small_screens_zoom_the_focused_panel(screen_text: ScreenText) -> None:
    app = showing(QUICKSTART, REPLAY)
    async with app.run_test(size=(60, 15)) as pilot:
        await settled(app, pilot)
        await pressed(app, pilot, "z")
        await screen_text(app)


async def test_a_replay_reproduces_its_texts_and_nothing_differs() -> None:
    app = showing(QUICKSTART, REPLAY)
    async with app.run_test(size=(140, 40)) as pilot:
        await settled(app, pilot)
        assert app.screen.command == f"kit compare {QUICKSTART.name[:12]} {REPLAY.name[:12]}"
        assert app.screen.state.plain == f"✔ baseline: A {QUICKSTART.name[:12]}"
        assert "nothing that was recorded differs" in drawn(app)
        assert column(app, "verdict")[0] == "✔ reproduced"
        shown = {re.sub(r"^\W+", "", c).replace(" ", "-") for c in column(app, "verdict")}
        verdicts = {axis.verdict.lower() for axis in replay.judge(QUICKSTART, REPLAY).axes}
        assert shown == verdicts


async def test_other_machines_are_confounders_and_not_comparable() -> None:
    app = showing(H200, QUICKSTART)
    async with app.run_test(size=(140, 40)) as pilot:
        await settled(app, pilot)
        text = drawn(app)
        assert "confounder" in text
        assert set(column(app, "verdict")) == {"– not comparable"}
        assert "no NVIDIA driver" in text


async def test_b_moves_the_baseline_round() -> None:
    app = showing(QUICKSTART, REPLAY, H200)
    async with app.run_test(size=(140, 40)) as pilot:
        await settled(app, pilot)
        await pressed(app, pilot, "b")
        assert app.screen.state.plain == f"✔ baseline: B {REPLAY.name[:12]}"
        names = " ".join(run.name[:12] for run in (REPLAY, QUICKSTART, H200))
        assert app.screen.command == f"kit compare {names}"
        assert {ratio.split()[0] for ratio in column(app, "ratio")} == {"A/B", "C/B"}
        await pressed(app, pilot, "b", "b")
        assert app.screen.state.plain == f"✔ baseline: A {QUICKSTART.name[:12]}"


async def test_d_shows_all_differences_and_ten_again() -> None:
    app = showing(H200, QUICKSTART)
    async with app.run_test(size=(140, 60)) as pilot:
        await settled(app, pilot)
        before = drawn(app)
        await pressed(app, pilot, "d")
        assert "(d: first ten)" in drawn(app)
        await pressed(app, pilot, "d")
        assert drawn(app) == before


async def test_o_sorts_by_ratio_then_by_name() -> None:
    app = showing(H200, QUICKSTART)
    async with app.run_test(size=(140, 40)) as pilot:
        await settled(app, pilot)
        await pressed(app, pilot, "o")
        ratios = [float(cell) for cell in column(app, "ratio") if cell[:1].isdigit()]
        assert ratios == sorted(ratios, key=lambda ratio: -abs(math.log(ratio)))
        await pressed(app, pilot, "o")
        shown = column(app, "metric")
        assert shown == sorted(shown, key=str.casefold)
        await pressed(app, pilot, "o")
        assert column(app, "metric")[0] == "GPU energy per output token"


async def test_x_removes_the_run_under_the_cursor_and_then_says_how_to_mark() -> None:
    app = showing(QUICKSTART, REPLAY, H200)
    async with app.run_test(size=(140, 40)) as pilot:
        await settled(app, pilot)
        await pressed(app, pilot, "x")  # the first line is of the replay
        assert app.screen.crumbs == "Compare 2 runs"
        assert {ratio.split()[0] for ratio in column(app, "ratio")} == {"C/A"}
        await pressed(app, pilot, "x")
        assert "On Home, mark runs with space" in drawn(app)
        assert app.screen.command == "" and "kit compare" not in drawn(app)
        await pressed(app, pilot, "x", "b", "d", "o", "h", "v", "y")
        assert isinstance(app.screen, CompareScreen)


async def test_the_command_names_every_run_that_is_shown() -> None:
    app = showing(QUICKSTART, REPLAY, H200)
    a, b, c = (run.name[:12] for run in (QUICKSTART, REPLAY, H200))
    async with app.run_test(size=(140, 40)) as pilot:
        await settled(app, pilot)
        assert app.screen.command == f"kit compare {a} {b} {c}"
        await pressed(app, pilot, "down")
        assert app.screen.command in drawn(app)
        await pressed(app, pilot, "x")
        assert app.screen.command == f"kit compare {a} {b}"


async def test_keys_mean_the_run_under_the_cursor_whatever_has_the_focus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Path] = []
    monkeypatch.setattr(KitApp, "show_verify", lambda self, run: shown.append(run))
    gone = tmp_path / "gone"
    app = showing(QUICKSTART, REPLAY, gone)
    async with app.run_test() as pilot:
        await settled(app, pilot)
        await pressed(app, pilot, "tab", "v")
        assert not app.screen.query_one("#metrics").has_focus
        await pressed(app, pilot, "shift+tab", "down", "tab", "v")
        assert shown == [gone, REPLAY]
        await pressed(app, pilot, "shift+tab", "up", "x")
        assert app.screen.crumbs == "Compare 2 runs"
        assert app.screen.state.plain == f"✔ baseline: A {QUICKSTART.name[:12]}"


async def test_x_without_a_line_keeps_the_baseline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kit.tui.screens.compare.metrics", lambda *_: [])
    app = showing(QUICKSTART, REPLAY, H200)
    async with app.run_test() as pilot:
        await settled(app, pilot)
        await pressed(app, pilot, "b", "b", "x")
        assert app.screen.state.plain == f"✔ baseline: C {H200.name[:12]}"
        assert app.screen.crumbs == "Compare 2 runs"


@pytest.mark.parametrize("runs", [(), (QUICKSTART,)], ids=["none", "one"])
async def test_fewer_than_two_runs(runs: Sequence[Path], screen_text: ScreenText) -> None:
    app = showing(*runs)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(app, pilot)
        await screen_text(app)


async def test_a_run_that_cannot_be_read_leaves_the_others_compared(
    tmp_path: Path, screen_text: ScreenText
) -> None:
    bad = tmp_path / ("[red]" + "b" * 20)
    bad.mkdir()
    (bad / "manifest.json").write_text("{\x1b[31m")
    app = showing(QUICKSTART, REPLAY, bad)
    async with app.run_test(size=(100, 30)) as pilot:
        await settled(app, pilot)
        assert app.screen.state.plain == "✘ 1 run left out"
        assert [ratio.split()[0] for ratio in column(app, "ratio")] == ["–", *["B/A"] * 7]
        await screen_text(app)


async def test_an_unreadable_baseline_compares_nothing(tmp_path: Path) -> None:
    app = showing(tmp_path / "gone", QUICKSTART, REPLAY)
    async with app.run_test(size=(100, 30)) as pilot:
        await settled(app, pilot)
        assert "nothing is compared" in drawn(app)
        await pressed(app, pilot, "b")
        assert "✔ reproduced" in column(app, "verdict")


async def test_v_verifies_what_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Path] = []
    monkeypatch.setattr(KitApp, "show_verify", lambda self, run: shown.append(run))
    app = showing(QUICKSTART, tmp_path / "gone")
    async with app.run_test() as pilot:
        await settled(app, pilot)
        await pressed(app, pilot, "v")
        assert shown == [tmp_path / "gone"]


async def test_h_writes_the_second_runs_report_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    app = showing(QUICKSTART, REPLAY)
    async with app.run_test() as pilot:
        await settled(app, pilot)
        await pressed(app, pilot, "h")
        page = (tmp_path / f"report-{REPLAY.name[:12]}.html").read_text()
        assert "REPRODUCED" in page


async def test_y_copies_both_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    copied: list[str] = []
    monkeypatch.setattr(KitApp, "copy", lambda self, text: copied.append(text))
    app = showing(H200, QUICKSTART)
    async with app.run_test() as pilot:
        await settled(app, pilot)
        await pressed(app, pilot, "y")
        for cell in (*column(app, "ratio"), *column(app, "90% interval")):
            assert cell in copied[0]
        assert "gpus.gpu0.name" in copied[0]


async def test_columns_follow_the_width() -> None:
    app = showing(QUICKSTART, REPLAY)
    async with app.run_test(size=(140, 40)) as pilot:
        await settled(app, pilot)
        await pilot.resize_terminal(80, 24)
        await settled(app, pilot)
        table = app.screen.query_one("#metrics", DataTable)
        shown = [c.label.plain for c in table.ordered_columns]
        assert shown == ["metric", "ratio", "90% interval", "verdict"]


@pytest.mark.parametrize("width", range(24, 200, 7))
def test_no_number_is_cut_at_any_width(width: int) -> None:
    lines = every_line()
    shown = columns(lines, width)
    assert sum(shown.values()) + GAP * (len(shown) - 1) <= width
    for line in lines:
        for heading in set(shown) - {"metric", "reason"}:
            full = line.cells[heading].plain
            text = cell(line, heading, shown[heading]).plain
            means = {"baseline": full.partition(" ±")[0], "run": full.partition(" ±")[0]}
            assert text in (full, means.get(heading, full))
    assert ("run" in shown) == ("unit" in shown) == ("baseline" in shown)
    names = {cell(line, "metric", shown["metric"]).plain for line in lines}
    assert width < 53 or names.isdisjoint(name for name in names if "…" in name)
    assert width < 53 or {"ratio", "verdict"} <= set(shown)


@functools.cache
def every_line() -> tuple[MetricRow, ...]:
    sides = [
        side_of(run, letter) for run, letter in ((QUICKSTART, "A"), (REPLAY, "B"), (H200, "C"))
    ]
    return tuple(metrics(contrast(sides, sides[0])))


def test_a_changed_run_gives_no_number(tmp_path: Path) -> None:
    copy = tmp_path / QUICKSTART.name
    shutil.copytree(QUICKSTART, copy)
    (copy / "spec.json").chmod(0o644)
    (copy / "spec.json").write_bytes(b"{}")
    side = side_of(copy, "A")
    assert "does not verify" in side.fault
    assert side.results is None


def test_differences_put_confounders_first_and_merge_runs() -> None:
    sides = [
        side_of(run, letter) for run, letter in ((QUICKSTART, "A"), (REPLAY, "B"), (H200, "C"))
    ]
    compared = contrast(sides, sides[0])
    every = differences(compared)
    assert [d.fact for d in every[:2]] == ["image", "machine"]
    assert len({d.fact for d in every}) == len(every)
    assert set(every[-1].values) == {"A", "C"}
    paths = [d.fact for d in every]
    rest = ["spec: runtime.name", "cpu.microcode", "gpus.gpu0.power_limit_w", "spec: name"]
    assert paths[2:6] == ["gpus", "gpus.gpu0.name", "nvidia", "nvidia.driver"]
    assert [p for p in paths if p in (*rest, "docker.version")] == [*rest, "docker.version"]
    meanings = {d.fact: d.meaning for d in every}
    assert meanings["nvidia.driver"] == "confounder" and meanings["cpu.microcode"] == "may matter"
    assert {line.side.letter for line in metrics(compared)} == {"B", "C"}


async def test_curves_survive_having_nothing_to_draw() -> None:
    app = showing(QUICKSTART, REPLAY)
    async with app.run_test() as pilot:
        await settled(app, pilot)
        app.screen.query_one(Curves).show([])
        await pilot.pause()


async def test_a_stranger_in_names_and_reasons_stays_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile = tmp_path / "[/ [1] \\[b]"
    shutil.copytree(QUICKSTART, hostile)

    def judged(*sides: Any, **how: Any) -> Comparison:
        comparison = judge(*sides, **how)
        axes = [
            msgspec.structs.replace(a, reason="[/] [@click=app.quit]q") for a in comparison.axes
        ]
        facts = (("[bold]a.b[/]", "\x1b[31m", "[/]"),)
        return msgspec.structs.replace(comparison, axes=tuple(axes), differences=facts)

    monkeypatch.setattr("kit.judge.contrast.judge", judged)
    app = showing(hostile, REPLAY)
    async with app.run_test(size=(200, 40)) as pilot:
        await settled(app, pilot)
        text = drawn(app)
        assert "[/ [1] \\[b]" in text
        assert text.count("[/] [@click=app.quit]q") > 2
        assert "[bold]a.b[/]" in text


async def test_t_marks_a_difference_as_by_design_and_takes_the_mark_away() -> None:
    app = showing(H200, QUICKSTART)
    async with app.run_test(size=(140, 50)) as pilot:
        await settled(app, pilot)
        await pressed(app, pilot, "d")
        assert "by design" not in column_of_differences(app)
        for state in (True, False):
            await pressed(app, pilot, "t")
            options = app.screen.query_one(OptionList)
            place = options.get_option_index("spec: runtime.name")
            await pressed(app, pilot, *["down"] * place, "enter")
            assert ("* by design" in column_of_differences(app)) == state
            assert ("--by runtime.name" in drawn(app)) == state


def column_of_differences(app: KitApp) -> str:
    """The table of differences as text."""
    screen = app.screen
    assert isinstance(screen, CompareScreen)
    return screen.copy_text()
