"""Draw every screen and page as a picture, to be looked at: `make pictures`.

    python scripts/pictures.py FOLDER            every screen, and the report of every run
    python scripts/pictures.py FOLDER RUNS       of another store
    python scripts/pictures.py docs RUNS docs    those of README and docs; RUNS has several levels

Screens are drawn by the app itself over a copy of the store, at each size that kit is made for;
pages by Chromium, on a wide and a narrow screen and on paper. Needs `make tools`.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from textual.app import App
from textual.pilot import Pilot

from kit.show.report.written import written
from kit.store.store import Store
from kit.tui.app import KitApp

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.browser import Browser  # noqa: E402 - the tests are beside, not installed

SIZES = ((140, 40), (100, 30), (80, 24), (60, 15))
WIDE, NARROW = 1200, 400
# Each screen by the keys that lead to it from the list of runs.
SCREENS: dict[str, Sequence[str]] = {
    "home": (),
    "home-filter": ("slash", *"quick"),
    "palette": ("colon",),
    "help": ("question_mark",),
    "run": ("enter",),
    **{f"run-tab-{n}": ("enter", str(n)) for n in range(2, 8)},
    "compare": ("space", "down", "space", "c"),
    "verify": ("v",),
    "replay": ("r",),
    "new": ("n",),
    "spec": ("e",),
    "plan": ("e", "f5"),
}


@asynccontextmanager
async def shown(
    store: Store, size: tuple[int, int], keys: Sequence[str]
) -> AsyncIterator[App[None]]:
    """The app after ``keys``, once nothing moves any more."""
    app = KitApp(store, ascii_only=False)
    async with app.run_test(size=size) as pilot:
        await at_rest(pilot)
        for key in keys:
            await pilot.press(key)
            await at_rest(pilot)
        yield app


async def at_rest(pilot: Pilot[None]) -> None:
    """Wait until the threads are done and the screen stays as it is."""
    before, alike = "", 0
    for _ in range(200):
        await pilot.pause(0.02)
        now = pilot.app.export_screenshot()
        busy = any(not worker.is_finished for worker in pilot.app.workers)
        alike = alike + 1 if now == before and not busy else 0
        before = now
        if alike == 3:
            return


async def screens(folder: Path, store: Store, browser: Browser) -> None:
    """Draw every screen at every size."""
    for columns, rows in SIZES:
        for name, keys in SCREENS.items():
            async with shown(store, (columns, rows), keys) as app:
                svg = app.export_screenshot()
            put(folder / f"{name}-{columns}x{rows}.png", browser.picture_of_svg(svg))


def pages(folder: Path, store: Store, browser: Browser) -> None:
    """Draw the report of every run on a wide and a narrow screen, and its first sheet on A4."""
    for run in store.runs():
        browser.show(page_of(run))
        for width in (WIDE, NARROW):
            put(folder / f"report-{run.name[:12]}-{width}.png", browser.picture(width))
        put(folder / f"report-{run.name[:12]}-A4.pdf", browser.printed("A4"))


def page_of(run: Path) -> str:
    """The report of a run."""
    return written(run).text


async def of_documents(folder: Path, store: Store, browser: Browser) -> None:
    """Draw the list of runs, a comparison of all of them, and the first of a report's page."""
    (run,) = (ROOT / "runs").glob("639521454908*")
    browser.show(page_of(run))
    put(folder / "report.png", browser.picture(WIDE, 1000))
    marks = [key for _ in store.runs() for key in ("space", "down")]
    by_concurrency = ("t", "down", "enter")
    for name, keys in {"home": (), "compare": (*marks, "c", *by_concurrency)}.items():
        async with shown(store, SIZES[0], keys) as app:
            put(folder / f"{name}.png", browser.picture_of_svg(app.export_screenshot()))


def put(path: Path, data: bytes) -> None:
    """Write a picture and name it."""
    path.write_bytes(data)
    print(path)


def main() -> None:
    """Draw into the folder that the command line names."""
    folder = Path(sys.argv[1]).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        runs = Path(scratch) / "runs"
        shutil.copytree(sys.argv[2] if len(sys.argv) > 2 else ROOT / "runs", runs)
        (Path(scratch) / "host.toml").touch()
        os.environ["KIT_HOST_CONFIG"] = f"{scratch}/host.toml"
        os.chdir(scratch)
        with Browser(Path(scratch) / "browser") as browser:
            if sys.argv[3:] == ["docs"]:
                asyncio.run(of_documents(folder, Store(runs), browser))
                return
            asyncio.run(screens(folder, Store(runs), browser))
            pages(folder, Store(runs), browser)


if __name__ == "__main__":
    main()
