"""Man page, completions and the page of commands: current, sound, and what a shell offers."""

from __future__ import annotations

import contextlib
import os
import pty
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


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with a store, a spec, a run in one file and a host.toml."""
    (tmp_path / "runs").symlink_to(RUNS)
    (tmp_path / "somewhere").mkdir()
    for name in ("run-spec.json", "some.kit.zip", "something-else.txt", "host.toml"):
        (tmp_path / name).touch()
    return tmp_path


def said(here: Path, *command: str) -> str:
    """What a shell prints, with this environment's kit on its path."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    own = {"PATH": path, "HOME": str(here), "KIT_HOST_CONFIG": str(here / "host.toml")}
    env = {**os.environ, **own, "LC_ALL": "C.UTF-8", "TERM": "dumb"}
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=here, env=env, timeout=100, check=True
    )
    return done.stdout


BASH_TAB = """source $1; read -ra COMP_WORDS <<<"$2"; [[ $2 == *" " ]] && COMP_WORDS+=("")
COMP_LINE=$2 COMP_POINT=${#2} COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _kit
printf "%s\\n" "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize("line", TYPED)
def test_bash_offers(line: str, here: Path) -> None:
    offered = said(here, "bash", "-c", BASH_TAB, "bash", str(BASH), line)
    assert set(offered.split()) == TYPED[line]


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not here")
@pytest.mark.parametrize("line", TYPED)
def test_fish_offers(line: str, here: Path) -> None:
    script = f"source {ROOT / manual.COMPLETIONS['fish']}; complete -C '{line}'"
    offered = {each.partition("\t")[0] for each in said(here, "fish", "-c", script).splitlines()}
    assert offered >= TYPED[line]


# A zsh on a terminal of its own, in which a line is typed, then TAB; its screen is printed.
ZSH_TAB = """zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z "fpath=($1 \\$fpath); PS1=; autoload -U compinit; compinit -u -D; print read''y"
zpty -r z out '*ready*'
zpty -w -n z "$2"$'\\t'
zpty -r z out "*$3*" && print -r -- "$out"
zpty -d z
"""


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not here")
@pytest.mark.parametrize("line", [line for line, offered in TYPED.items() if len(offered) == 1])
def test_zsh_completes(line: str, here: Path) -> None:
    """It finds the function by the file's name, as `compinit` does."""
    folder = (ROOT / manual.COMPLETIONS["zsh"]).parent
    (wanted,) = TYPED[line]
    shown = said(here, "zsh", "-f", "-c", ZSH_TAB, "zsh", str(folder), line, wanted)
    assert wanted in shown


def test_zsh_would_load_the_function_that_the_file_defines() -> None:
    script = ROOT / manual.COMPLETIONS["zsh"]
    assert script.read_text().startswith("#compdef kit\n")
    assert f"\n{script.name}() {{\n" in script.read_text()


def test_bash_quotes_the_name_of_a_strangers_file(tmp_path: Path) -> None:
    """Else TAB and Enter would run what a file's name says; and a blank would cut a name."""
    (tmp_path / "zz$(touch PWNED).kit.zip").touch()
    (tmp_path / "zy my.kit.zip").touch()
    tab = f"""bind 'set enable-bracketed-paste off' 2>/dev/null; source {BASH}; set +o history
    complete -p kit"""
    assert "compopt -o filenames" in BASH.read_text() and "$(compgen -f" not in BASH.read_text()
    assert "complete" in said(tmp_path, "bash", "-c", tab)
    ours, theirs = pty.openpty()
    shell = subprocess.Popen(
        ["bash", "--norc", "--noprofile", "-i"],
        cwd=tmp_path,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    lines = f"PS1='$ '; kit() {{ printf 'got<%s>' \"$@\"; }}; source {BASH}\n"
    os.write(ours, lines.encode())
    os.write(ours, b"kit import zz\t\nkit import zy\t\nexit\n")
    shown = b""
    with contextlib.suppress(OSError):
        while more := os.read(ours, 1 << 16):
            shown += more
    shell.wait(20)
    os.close(ours)
    assert b"got<zz$(touch PWNED).kit.zip>" in shown, shown
    assert b"got<zy my.kit.zip>" in shown, shown
    assert not (tmp_path / "PWNED").exists()
