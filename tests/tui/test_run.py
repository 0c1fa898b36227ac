"""A sealed run in its tabs, and what the keys do with it."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console, Group
from textual.widgets import TabbedContent

from kit.core import jsonio
from kit.energy.results import from_document
from kit.show.mean import mean
from kit.show.render.console import THEME
from kit.show.render.show import run_parts
from kit.show.rounding import number
from kit.store.store import Store
from kit.tui.app import KitApp
from kit.tui.power import PowerPlot
from kit.tui.screens.run import TABS, RunScreen
from tests.committed import H200, QUICKSTART, REPLAY
from tests.tui.conftest import SIZES, ScreenText, drawn
from tests.tui.test_home import shown, three
from tests.tui.waiting import notifications, press, settled

__all__ = ("shown", "three")

DOCUMENTS = ("manifest", "spec", "results")


def on(store: Store, run: Path, *, ascii_only: bool = False) -> KitApp:
    return KitApp(store, first=RunScreen(run), ascii_only=ascii_only)


@pytest.mark.parametrize("size", [(60, 15), *SIZES])
async def test_the_summary_leads_with_what_was_found(
    store: Store, size: tuple[int, int], screen_text: ScreenText
) -> None:
    app = on(store, H200)
    async with app.run_test(size=size) as pilot:
        await settled(pilot)
        await screen_text(app)


@pytest.mark.parametrize("tab", range(2, 8))
async def test_each_tab(store: Store, tab: int, screen_text: ScreenText) -> None:
    app = on(store, H200)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await press(pilot, str(tab))
        assert app.screen.query_one(TabbedContent).active == TABS[tab - 1]
        await screen_text(app)


@pytest.mark.parametrize("size", [(60, 15), (140, 40)])
async def test_power_fits(store: Store, size: tuple[int, int], screen_text: ScreenText) -> None:
    app = on(store, H200)
    async with app.run_test(size=size) as pilot:
        await settled(pilot)
        await press(pilot, "2")
        await screen_text(app)


async def test_ascii(store: Store, screen_text: ScreenText) -> None:
    app = on(store, H200, ascii_only=True)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await press(pilot, "2")
        assert drawn(app).isascii()
        await screen_text(app)


@pytest.mark.parametrize("ascii_only", [True, False])
async def test_power_is_told_apart_without_colour(
    store: Store, ascii_only: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not ascii_only:
        monkeypatch.setenv("NO_COLOR", "1")
    app = on(store, H200, ascii_only=ascii_only)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await press(pilot, "2")
        text = drawn(app)
        assert "** gpu0" in text and "oo host" in text
        assert text.count("*") > 50 and text.count("o") > 50


async def test_a_cursor_reads_time_and_watts_and_zoom_looks_closer(store: Store) -> None:
    app = on(store, H200)
    async with app.run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        await press(pilot, "left", "plus")
        assert "gpu0: mean" not in drawn(app), "the keys are those of the plot alone"
        await press(pilot, "2")
        plot = app.screen.query_one(PowerPlot)
        assert "left/right Cursor" in drawn(app) and "gpu0: mean 106 W" in drawn(app)
        await press(pilot, "right")
        assert plot.cursor == plot.picture.zero
        assert " 0 s   ━━ gpu0 " in drawn(app)
        whole = plot.window
        await press(pilot, "right", "right", "shift+right", "left")
        at, columns = plot.cursor, plot.size.width - 6
        assert at is not None and plot.picture.zero is not None
        assert at - plot.picture.zero == pytest.approx(
            11 * (whole[1] - whole[0]) / columns, rel=0.02
        )
        watts = plot.picture.at(at)
        assert f"gpu0 {number(watts['gpu0'], 4)} W" in drawn(app)
        await press(pilot, "plus", "plus")
        begin, end = plot.window
        assert end - begin == pytest.approx((whole[1] - whole[0]) / 4) and begin <= at <= end
        await press(pilot, *["shift+right"] * 12)
        assert plot.cursor and plot.cursor <= plot.window[1] + 1e-9, "the part moves along"
        await press(pilot, *["plus"] * 20)
        assert plot.window[1] - plot.window[0] >= 0.2
        await press(pilot, "minus")
        assert plot.window[1] - plot.window[0] >= 0.4
        await press(pilot, "0")
        assert plot.window == whole
        await press(pilot, "1")
        assert "left/right Cursor" not in drawn(app)


async def test_a_single_file_is_read_as_it_is(store: Store, tmp_path: Path) -> None:
    from kit.store import seal

    packed = seal.export(QUICKSTART, tmp_path)
    async with on(store, packed).run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        assert "quickstart" in drawn(pilot.app) and "✔ complete" in drawn(pilot.app)
        await press(pilot, "2")
        assert "host (estimated): mean" in drawn(pilot.app)
        await press(pilot, "e")
        assert "a single file already" in notifications(pilot.app)


async def test_the_log_is_filtered_and_esc_clears(store: Store) -> None:
    async with on(store, H200).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await press(pilot, "slash", *"warning")
        assert "0 of 79" not in drawn(pilot.app)
        await press(pilot, "enter", "escape")
        assert "79 of 79 lines" in drawn(pilot.app)
        assert isinstance(pilot.app.screen, RunScreen)


async def test_reports_and_files_are_written_where_the_person_is(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with on(store, QUICKSTART).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await press(pilot, "h", "e")
    names = {path.name for path in tmp_path.iterdir() if path.is_file()} - {"host.toml"}
    assert names == {f"report-{QUICKSTART.name[:12]}.html", f"{QUICKSTART.name}.kit.zip"}


async def test_a_report_that_cannot_be_written_is_told(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / f"report-{QUICKSTART.name[:12]}.html").mkdir()
    async with on(store, QUICKSTART).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await press(pilot, "h")
        assert "cannot write report-" in notifications(pilot.app)


async def test_keys_lead_to_screens(
    three: Store, shown: list[tuple[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KitApp, "show_recording", lambda _, run: shown.append(("play", run)))
    replay, original = three.root / REPLAY.name, three.root / QUICKSTART.name
    async with on(three, replay).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await press(pilot, "c", "v", "p", "E", "y")
        began = jsonio.read(REPLAY / "manifest.json")["clock"]["utc"][:10]
        assert pilot.app.clipboard == f"quickstart, run sha256:{REPLAY.name} (kit 0.1.0, {began})"
    assert shown[:3] == [
        ("compare", ([original, replay],)),
        ("verify", (replay, original)),
        ("play", replay),
    ]
    assert shown[3][1][0]["name"] == "quickstart"


async def test_a_run_without_an_original_says_how_to_compare(
    store: Store, shown: list[tuple[str, Any]]
) -> None:
    async with on(store, H200).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await press(pilot, "c")
        assert "mark runs with space" in notifications(pilot.app) and not shown


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A run to do harm to."""
    return Path(shutil.copytree(QUICKSTART, tmp_path / QUICKSTART.name))


@pytest.mark.parametrize(
    ("file", "data", "tab", "says"),
    [
        ("manifest.json", b"{", "1", "manifest.json is not JSON"),
        ("results.json", b"[]", "1", "results.json is not an object"),
        ("results.json", b'{"metrics": {"a": 1}}', "1", "do not have the form"),
        ("events.jsonl", b"{}\n", "2", "✘"),
        ("samples/estimate.csv", b"x", "2", "✘"),
        ("env/start.json", b"nope", "4", "env/start.json is not JSON"),
        ("launches/000/requests.jsonl", b"{", "3", "requests.jsonl"),
    ],
)
async def test_what_cannot_be_read_says_why(
    store: Store, copy: Path, file: str, data: bytes, tab: str, says: str
) -> None:
    (copy / file).write_bytes(data)
    async with on(store, copy).run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        await press(pilot, tab)
        assert says in drawn(pilot.app)


@pytest.mark.parametrize("name", ["launches/000/container.log", "samples/x.csv"])
async def test_a_run_that_is_not_what_was_sealed_says_so_on_top(
    store: Store, copy: Path, name: str
) -> None:
    """Its numbers look as good as before."""
    (copy / name).write_bytes(b"nothing happened")
    async with on(store, copy).run_test(size=(120, 30)) as pilot:
        await settled(pilot)
        text = drawn(pilot.app)
        assert "✘ not what was sealed" in text.splitlines()[0]
        assert "is not to be believed" in text and QUICKSTART.name[:12] in text
        await press(pilot, "h")
        await settled(pilot)
        assert "nothing of it is shown" in notifications(pilot.app)


async def test_a_sound_run_says_nothing_of_it(store: Store, copy: Path) -> None:
    (copy / ".DS_Store").write_bytes(b"")
    async with on(store, copy).run_test(size=(120, 30)) as pilot:
        await settled(pilot)
        assert "not what was sealed" not in drawn(pilot.app)


async def test_a_container_that_breaks_a_rule_is_refused_in_place(store: Store, copy: Path) -> None:
    (copy / "link").symlink_to("/etc/passwd")
    async with on(store, copy).run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        assert "✘ not readable" in drawn(pilot.app).splitlines()[0]
        assert "link" in drawn(pilot.app)


async def test_files_that_differ_from_the_list_come_first(store: Store, copy: Path) -> None:
    (copy / "env" / "end.json").unlink()
    (copy / "plan.json").write_text("{}")
    (copy / "extra").write_text("x")
    async with on(store, copy).run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        await press(pilot, "5")
        text = drawn(pilot.app)
    order = [text.index(w) for w in ("✘ missing", "✘ size differs", "! not listed", "✔ there")]
    assert order == sorted(order)


async def test_a_parent_that_is_no_hash_is_no_path(three: Store, copy: Path) -> None:
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["parents"] = [{"relation": "replay-of", "run_hash": "/etc"}]
    (copy / "manifest.json").write_text(json.dumps(manifest))
    async with on(three, copy).run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        screen = pilot.app.screen
        assert isinstance(screen, RunScreen) and screen.original is None


async def test_hostile_words_are_inert(store: Store, copy: Path) -> None:
    spec = json.loads((copy / "spec.json").read_text())
    spec["name"] = "[bold]x[/] \x1b[2J\u202e"
    (copy / "spec.json").write_text(json.dumps(spec))
    async with on(store, copy).run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        text = drawn(pilot.app)
        assert "[bold]x[/]" in text and "\x1b" not in text and "\u202e" not in text


@pytest.mark.parametrize("width", [40, 58, 60, 78, 80, 100, 4096])
def test_no_metric_loses_its_name_or_its_number(width: int) -> None:
    documents = [json.loads((H200 / f"{name}.json").read_text()) for name in DOCUMENTS]
    console = Console(width=width, file=io.StringIO(), theme=THEME)
    with console.capture() as captured:
        console.print(Group(*run_parts(H200.name, *documents, width).results[1:3]))
    words = captured.get().split()
    assert "…" not in captured.get()
    assert {"2.416", "[2.267,", "2.565]", "[0.2501,", "0.2839]"} <= set(words)
    for metric in from_document(documents[-1]).metrics.values():
        if metric.value is not None:
            assert mean(metric) in " ".join(words)
    assert words.count("estimated") == words.count("est.") == words.count("GPU") == 2
    first = next(line for line in captured.get().splitlines() if "GPU" in line)
    assert first.startswith("*  GPU energy")
