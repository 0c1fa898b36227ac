"""Man page, completions and the page of commands: current, sound, and what a shell offers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cyclopts import App

from kit.cli.main import build, dispatch
from scripts import manual
from tests.committed import RUNS

ROOT = Path(__file__).resolve().parent.parent
MAN, BASH = ROOT / manual.MAN, ROOT / manual.COMPLETIONS["bash"]


def commands(app: App, *before: str) -> Iterator[tuple[str, ...]]:
    """Every command with the words that lead to it."""
    for name in app:
        if not name.startswith("-"):
            yield (*before, name)
            yield from commands(app[name], *before, name)


COMMANDS = [" ".join(words) for words in commands(build())]


@pytest.fixture(scope="module")
def derived() -> dict[str, str]:
    return manual.derived()


@pytest.mark.parametrize("name", [manual.COMMANDS, manual.MAN, *manual.COMPLETIONS.values()])
def test_it_says_what_help_says(name: str, derived: dict[str, str]) -> None:
    assert (ROOT / name).read_text() == derived[name], "`make derived` writes it anew"


def test_every_command_is_in_page_and_manual() -> None:
    assert len(COMMANDS) > 30
    page, man = (ROOT / manual.COMMANDS).read_text(), MAN.read_text()
    for words in COMMANDS:
        assert f"## kit {words}\n" in page
        assert f'.SS "kit {words}"\n' in man


@pytest.mark.parametrize("words", [words for words in COMMANDS if words not in ("images", "pdu")])
def test_the_manual_has_every_option(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each option that `--help` of a command names is in the command's section."""
    assert dispatch([*words.split(), "--help"]) == 0
    shown = capsys.readouterr().out.split()
    options = {word.strip(",") for word in shown if word.startswith("--")} - {"--help", "--version"}
    section = MAN.read_text().partition(f'.SS "kit {words}"\n')[2].partition(".SS ")[0]
    said = section.replace("\\-", "-")
    assert {option for option in options if option not in said} == set()


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not here")
def test_groff_warns_of_nothing() -> None:
    command = ["groff", "-man", "-ww", "-Tutf8", "-P-cbou", str(MAN)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert not done.stderr
    assert "**" not in done.stdout and "`" not in done.stdout
    for heading in ("NAME", "SYNOPSIS", "DESCRIPTION", "COMMANDS", "EXIT CODES"):
        assert f"\n{heading}\n" in done.stdout
    assert "Seal a run again with this kit's formulas." in done.stdout


@pytest.mark.parametrize("shell", manual.COMPLETIONS)
def test_a_shell_accepts_its_script(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not here")
    script = ROOT / manual.COMPLETIONS[shell]
    done = subprocess.run([shell, "-n", str(script)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


TYPED = {
    "kit ver": {"verify"},
    "kit images ": {"ls", "build", "lock", "context", "verify"},
    "kit report 8177eb3e46ab --form": {"--format"},
    "kit report 8177eb3e46ab --format ": {"html", "text", "csv", "csv-metrics"},
    "kit show 8177": {"8177eb3e46ab"},
    "kit compare 8177eb3e46ab 6395": {"639521454908"},
    "kit report 8177eb3e46ab --against 6395": {"639521454908"},
    "kit check run-sp": {"run-spec.json"},
    "kit verify some": {"some.kit.zip", "somewhere/"},
}


@pytest.mark.parametrize("line", TYPED)
def test_bash_offers(line: str, tmp_path: Path) -> None:
    """What bash offers after TAB, in a folder with a store, a spec and a run in one file."""
    (tmp_path / "runs").symlink_to(RUNS)
    (tmp_path / "somewhere").mkdir()
    for name in ("run-spec.json", "some.kit.zip", "something-else.txt"):
        (tmp_path / name).touch()
    script = (
        f'source {BASH}; read -ra COMP_WORDS <<<"$1"; [[ $1 == *" " ]] && COMP_WORDS+=("")\n'
        "COMP_LINE=$1 COMP_POINT=${#1} COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _kit\n"
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    (tmp_path / "host.toml").touch()
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "KIT_HOST_CONFIG": str(tmp_path / "host.toml")}
    done = subprocess.run(
        ["bash", "-c", script, "bash", line], capture_output=True, text=True, cwd=tmp_path, env=env
    )
    assert not done.stderr
    assert set(done.stdout.split()) == TYPED[line]
