"""Poor terminals: a C locale, old or unknown kinds, tiny windows; and tables for no terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import committed
from tests.terminal import Terminal

KIT = [sys.executable, "-m", "kit.cli.main"]
UTF8 = {"LC_ALL": "C.UTF-8"}


def environment(folder: Path, env: dict[str, str]) -> dict[str, str]:
    host = folder / "host.toml"
    host.write_text(f'[store]\nruns = "{committed.RUNS}"\n')
    return {"KIT_HOST_CONFIG": str(host), **env}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("env", "columns", "rows", "shown"),
    [
        (UTF8 | {"TERM": "tmux-256color"}, 120, 35, "╭─ Runs ─"),
        ({"LC_ALL": "C", "LANG": "C", "TERM": "screen"}, 120, 35, "Runs"),
        (
            {"LC_ALL": "POSIX", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "TERM": "screen"},
            120,
            35,
            "-- Runs --",
        ),
        ({"LC_ALL": "xx_YY.UTF-8", "TERM": "screen-256color"}, 120, 35, "Runs"),
        (UTF8 | {"TERM": "vt100"}, 80, 24, "Runs"),
        (UTF8 | {"TERM": "xterm-ghostty"}, 80, 24, "Runs"),
        (UTF8 | {"TERM": ""}, 80, 24, "Runs"),
        (UTF8 | {"TERM": "screen"}, 20, 6, "complete"),
        (UTF8 | {"TERM": "screen", "COLUMNS": "80", "LINES": "24"}, 20, 6, "complete"),
    ],
    ids=["utf-8", "C", "ascii", "no locale", "vt100", "unknown", "empty", "20x6", "other size"],
)
def test_home_opens_and_ends(
    env: dict[str, str], columns: int, rows: int, shown: str, tmp_path: Path
) -> None:
    with Terminal(tmp_path, [*KIT, "tui"], columns, rows, environment(tmp_path, env)) as terminal:
        text = terminal.wait(shown, 60)
        assert "Traceback" not in text
        terminal.wait("complete", 60)
        terminal.press("q")
        assert terminal.wait_end(60) in (0, -1)


@pytest.mark.parametrize(
    "env",
    [
        {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"TZ": "Asia/Kathmandu"},
        {"TZ": "Nowhere/Else"},
        {"COLUMNS": "20"},
        {"COLUMNS": "0"},
        {"COLUMNS": "many"},
        {"PYTHONIOENCODING": "latin-1"},
        {"TERM": "dumb"},
        {"TERM": ""},
    ],
    ids=lambda env: " ".join(f"{key}={value}" for key, value in env.items()),
)
@pytest.mark.slow
def test_tables_are_printed(env: dict[str, str], tmp_path: Path) -> None:
    done = subprocess.run(
        [*KIT, "ls"],
        env={**os.environ, **environment(tmp_path, env)},
        capture_output=True,
    )
    errors = done.stderr.decode("latin-1")
    assert done.returncode == 0, errors
    assert "Traceback" not in errors
    assert b"quickstart" in done.stdout.replace(b"\n", b"") or env.get("COLUMNS")
    if env.get("PYTHONIOENCODING") == "ascii":
        done.stdout.decode("ascii")
