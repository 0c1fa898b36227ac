"""Each set of the distribution installed alone, from the wheel and PyPI, does what it promises.

pip installs without compiling, as uv does: byte code comes with use, of what is used. The size that
is asserted holds that byte code.
"""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from kit.core import extras
from kit.store import seal
from tests import golden
from tests.elsewhere import ROOT, Elsewhere, wheel

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(1200)]
MOST_MB_OF_THE_CORE = 90
SETS = ("core", "run", "tui", "report", "study", "all")
LIBRARIES: dict[str, set[str]] = {
    "core": set(),
    **{extra: {lib for lib, by in extras.BROUGHT_BY.items() if by == extra} for extra in SETS[1:5]},
    "all": set(extras.BROUGHT_BY),
}
LIBRARIES["study"] |= LIBRARIES["run"] | LIBRARIES["report"]
Installed = Callable[[str], Elsewhere]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A golden run in one file, as somebody would send it."""
    folder = tmp_path_factory.mktemp("golden")
    return seal.export(golden.copied(folder / "runs"), folder)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, run: Path) -> Installed:
    """A set by name, installed once with the versions of the lock; its store holds the run."""
    made: dict[str, Elsewhere] = {}
    pins = re.findall(r"(?m)^([a-z0-9.-]+==[^ ]+)", (ROOT / "requirements.lock").read_text())
    constraints = tmp_path_factory.mktemp("pins") / "constraints.txt"
    constraints.write_text("\n".join(pins) + "\n")

    def of(name: str) -> Elsewhere:
        if name not in made:
            there = Elsewhere(tmp_path_factory.mktemp(name))
            what = wheel() if name == "core" else f"{wheel()}[{name}]"
            there.install("--no-compile", "--constraint", constraints, what)
            there.kit("import", run)
            made[name] = there
        return made[name]

    return of


@pytest.mark.parametrize("name", SETS)
def test_a_set_brings_its_libraries_and_no_others(installed: Installed, name: str) -> None:
    code = (
        "from importlib.util import find_spec\nfrom kit.core import extras\n"
        "print(*(name for name in extras.BROUGHT_BY if find_spec(name)))"
    )
    here = set(installed(name).python(code).split())
    strangers = {"requests", "urllib3"}  # which other libraries bring, too
    assert here - strangers == LIBRARIES[name] - strangers
    assert LIBRARIES[name] <= here
    assert not list(installed(name).site.glob("scipy*"))


@pytest.mark.parametrize("name", SETS)
def test_every_set_does_what_a_reviewer_needs(installed: Installed, name: str, run: Path) -> None:
    there = installed(name)
    verdict = json.loads(there.kit("verify", run, "--json"))
    assert not [check for check in verdict["checks"] if check["status"] == "FAIL"]
    assert "VERIFIED" in there.kit("verify", run).upper()
    shown = there.kit("show", run)
    text = there.kit("report", run, "--format", "text")
    for number in ("23.89",):  # joules a token, see tests/test_results.py
        assert number in shown and number in text
    assert len(there.kit("report", run, "--format", "csv").splitlines()) > 10
    assert "golden" in there.kit("ls")
    assert ",1.0,1.0,1.0," in there.kit("compare", run, run, "--format", "csv")
    assert json.loads(there.kit("schema", "run-spec"))["$schema"]
    there.kit("init", "mine.json", "--force")
    assert "valid" in there.run("kit", "check", "mine.json").stderr
    code = (
        f"import kit\nrun = kit.load({str(run)!r})\n"
        f"print(kit.verify({str(run)!r}).passed, len(run.launches))"
    )
    assert there.python(code).split() == ["True", "2"]


def test_the_core_is_small_even_after_use(installed: Installed, run: Path) -> None:
    there = installed("core")
    for command in (["verify"], ["show"], ["report", "--format", "text"]):
        there.kit(command[0], run, *command[1:])
    assert there.megabytes() <= MOST_MB_OF_THE_CORE


WITHOUT = {
    "docker": ["doctor"],
    "matplotlib": ["report", "RUN"],
    "pysnmp": ["pdu", "probe", "127.0.0.1"],
    "prometheus_client": ["monitor", "--prometheus"],
}


@pytest.mark.parametrize("library", WITHOUT)
@pytest.mark.parametrize("name", ["core", "tui"])
def test_a_command_of_another_set_says_what_installs_it(
    installed: Installed, run: Path, name: str, library: str
) -> None:
    arguments = [str(run) if word == "RUN" else word for word in WITHOUT[library]]
    said = installed(name).kit(*arguments, code=3)
    assert extras.install(extras.BROUGHT_BY[library]) in said
    assert len(said.splitlines()) == 2, said


def test_a_run_is_refused_before_it_is_started(installed: Installed) -> None:
    there = installed("core")
    there.kit("init", "blocked.json", "--force")
    said = there.kit("run", "blocked.json", code=3)
    assert extras.install("run") in said
    assert "being prepared" not in said


def on_a_terminal(there: Elsewhere, *arguments: str) -> tuple[int, str]:
    """Exit code and words of a command of kit on a terminal."""
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        command = [str(there.bin / "kit"), *arguments]
        streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
        with subprocess.Popen(command, cwd=there.folder, env=there.env, **streams) as process:
            os.close(theirs)
            said = b""
            while piece := _read(terminal.fileno()):
                said += piece
    return process.returncode, said.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # the other side is closed
        return b""


def test_the_core_has_no_terminal_ui_and_says_so(installed: Installed) -> None:
    code, said = on_a_terminal(installed("core"))
    assert code == 3, said
    assert extras.install("tui") in said
    assert "Traceback" not in said


def test_run_finds_no_engine_here_but_its_libraries(installed: Installed) -> None:
    there = installed("run")
    there.kit("init", "blocked.json", "--force")
    assert "engine" in there.kit("run", "blocked.json", code=3)
    done = there.run("kit", "doctor")
    assert "engine" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert "ModuleNotFoundError" not in there.kit("monitor", "--once")
    assert "pip install" not in there.kit("pdu", "probe", "127.0.0.1", code=3)
    code = (
        "from kit.machine.images import wheels\nfrom installer.sources import WheelFile\n"
        "from kit.show import prometheus\n"
        "with prometheus.serving(prometheus.Exporter(), 0) as url: print(url)"
    )
    assert there.python(code).startswith("http://127.0.0.1:")


DRAWN = """
import asyncio
from pathlib import Path
from kit.store.store import Store
from kit.tui.app import KitApp
async def main():
    app = KitApp(Store(Path("runs")))
    async with app.run_test(size=(100, 30)) as pilot:
        for _ in range(100):
            await pilot.pause(0.1)
            if "golden" in words(app): break
        print(words(app))
        await pilot.press("enter")
        await pilot.pause(1)
        print(type(app.screen).__name__)
def words(app):
    strips = app.screen._compositor.render_strips()
    return "\\n".join("".join(segment.text for segment in strip) for strip in strips)
asyncio.run(main())
"""


def test_tui_shows_the_runs(installed: Installed) -> None:
    said = installed("tui").python(DRAWN)
    assert "golden" in said
    assert said.splitlines()[-1] == "RunScreen"


@pytest.mark.parametrize("name", ["report", "study", "all"])
def test_report_draws_page_and_figures(installed: Installed, name: str, run: Path) -> None:
    there = installed(name)
    page = there.folder / there.kit("report", run).strip()
    assert "<svg" in page.read_text("utf-8")
    figures = there.kit("report", run, "--figures", "figures", "--force").split()
    assert {Path(f).suffix for f in figures} == {".svg", ".png", ".pdf", ".csv"}


def test_study_has_the_comparator(installed: Installed) -> None:
    code = "from kit.measure import meters; print(meters.probe('codecarbon', None, {}).devices)"
    assert "codecarbon:cpu" in installed("study").python(code, timeout_s=240)


def test_all_has_every_library(installed: Installed) -> None:
    lines = "\n".join(f"import {library}" for library in LIBRARIES["all"])
    assert installed("all").python(f"{lines}\nprint('here')", timeout_s=240) == "here\n"
