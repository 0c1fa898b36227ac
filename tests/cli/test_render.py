"""What the command line prints: into a pipe, on a terminal, and from a hostile archive."""

from __future__ import annotations

import ast
import io
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import kit
from kit.core.errors import EngineUnavailable, PreflightFailed, SpecInvalid
from kit.core.model import Finding, Problem
from kit.show import render
from kit.show.render import console as consoles

ROOM = Path(kit.__file__).parent
HOSTILE = "[bold green]VERIFIED[/] \x1b[2J\x1b]0;owned\x07\u202egnp.exe\u200b\r\nnext"
FINDINGS = (
    Finding(code="ENGINE", level="ok", message="Docker 28.0.1 (API 1.48)"),
    Finding(
        code="CPUS_FEW", level="warn", message="driver and sampler share a CPU", remedy="three"
    ),
    Finding(code="DISK_FULL", level="fail", message="no room" + " at all" * 20, remedy="free some"),
)


def on_terminal(draw: Callable[[], None], width: int, monkeypatch: pytest.MonkeyPatch) -> str:
    """What ``draw`` puts on a colour terminal of ``width`` columns."""
    file = io.StringIO()

    def fake(_: Any) -> Console:
        return Console(
            file=file,
            width=width,
            force_terminal=True,
            color_system="standard",
            theme=consoles.THEME,
            markup=False,
            highlight=False,
            emoji=False,
        )

    monkeypatch.setattr(consoles, "_console", fake)
    draw()
    return file.getvalue()


def test_findings_in_a_pipe_are_whole_lines(capsys: pytest.CaptureFixture[str]) -> None:
    render.findings(FINDINGS, "preflight")
    out, err = capsys.readouterr()
    assert err == ""
    assert out.splitlines() == [
        "preflight",
        "✔ ok    Docker 28.0.1 (API 1.48)",
        "! warn  driver and sampler share a CPU  CPUS_FEW",
        "        fix: three",
        f"✘ fail  no room{' at all' * 20}  DISK_FULL",
        "        fix: free some",
        "1 ok · 1 warning · 1 failure",
    ]


def test_doubts_alone(capsys: pytest.CaptureFixture[str]) -> None:
    render.findings(FINDINGS, doubts_only=True)
    out = capsys.readouterr().out
    assert "Docker" not in out and out.endswith("1 ok · 1 warning · 1 failure\n")


def test_findings_fit_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    out = on_terminal(lambda: render.findings(FINDINGS), 60, monkeypatch)
    lines = [without_colour(line) for line in out.splitlines()]
    assert max(map(len, lines)) <= 60
    assert "\x1b[" in out
    wrapped = [line for line in lines if line.startswith("        at all")]
    assert wrapped, "a long message goes on below itself, not below its mark"


def test_no_color_is_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    out = on_terminal(lambda: render.findings(FINDINGS), 80, monkeypatch)
    assert not any(f"\x1b[{colour}" in out for colour in ("31", "32", "33", "36", "1;31"))


def test_an_error_is_its_sentence_and_its_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    render.error(EngineUnavailable("no engine answers", "start one"))
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "error:  no engine answers\nfix:    start one\n"


def test_an_invalid_spec_lists_every_problem(capsys: pytest.CaptureFixture[str]) -> None:
    bad = [
        Problem("$.image.digest", '"latest" is not pinned', "use sha256:…"),
        Problem("$.weights", "it is missing", "add it"),
    ]
    render.error(SpecInvalid(bad, "bad.json"))
    err = capsys.readouterr().err
    assert err.splitlines()[0] == "error:  bad.json has 2 problems"
    for problem in bad:
        assert problem.path in err and f"fix: {problem.remedy}" in err


def test_a_blocked_run_shows_its_doubts_not_its_blessings(
    capsys: pytest.CaptureFixture[str],
) -> None:
    render.error(PreflightFailed(FINDINGS))
    err = capsys.readouterr().err
    assert err.startswith("error:  preflight forbids this run\n")
    assert "DISK_FULL" in err and "CPUS_FEW" in err and "Docker" not in err


def test_hostile_strings_are_inert(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    finding = Finding(code=HOSTILE, level="fail", message=HOSTILE, remedy=HOSTILE)
    render.findings([finding], HOSTILE)
    render.problems([Problem(HOSTILE, HOSTILE, HOSTILE)])
    out = capsys.readouterr().out
    assert "[bold green]VERIFIED[/]" in out, "markup is text"
    assert not any(c in out for c in "\x1b\x07\r\u202e\u200b")
    terminal = on_terminal(lambda: render.findings([finding], HOSTILE), 80, monkeypatch)
    assert "\x1b[2J" not in terminal and "\x1b]0" not in terminal and "\u202e" not in terminal


def test_an_ascii_terminal_gets_ascii_marks() -> None:
    table = consoles.with_badge("fail", consoles.plain("gone"))
    console = Console(file=io.TextIOWrapper(io.BytesIO(), encoding="ascii"), width=80)
    with console.capture() as captured:
        console.print(table)
    assert captured.get().strip() == "x fail  gone"


def test_another_encoding_gets_question_marks_not_a_traceback() -> None:
    raw = io.BytesIO()
    console = Console(file=io.TextIOWrapper(raw, encoding="latin-1"), width=80)
    consoles.put(console, consoles.plain("ratio ×1.02 → EQUIVALENT"))
    assert raw.getvalue() == "ratio ×1.02 ? EQUIVALENT\n".encode("latin-1")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (59.4, "59 s"), (185, "3 m 05 s"), (3720, "1 h 02 m")],
)
def test_times_are_short(seconds: float, text: str) -> None:
    assert consoles.short_time(seconds) == text


def test_sizes_are_short() -> None:
    assert consoles.short_bytes(98_362_432) == "98.4 MB"
    assert consoles.short_bytes(12) == "12 B"
    assert consoles.short_memory(4 << 30) == "4 GiB"
    assert consoles.count(1, "launch", "es") == "1 launch"
    assert consoles.count(1200, "launch", "es") == "1,200 launches"


@pytest.mark.slow
def test_a_real_terminal_gets_its_width(tmp_path: Path) -> None:
    """Through a real pseudo-terminal, in a process of its own."""
    script = tmp_path / "draw.py"
    script.write_text(
        "from kit.show import render\nfrom kit.core.model import Finding\n"
        "render.findings([Finding(code='C', level='fail', message='word ' * 60)])\n"
    )
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": "72", "TERM": "xterm-256color"}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    environment.pop("NO_COLOR", None)
    with subprocess.Popen([sys.executable, script], stdout=theirs, env=environment) as process:
        os.close(theirs)
        output = b""
        while chunk := _read(ours):
            output += chunk
    os.close(ours)
    assert process.returncode == 0
    lines = [without_colour(line) for line in output.decode().splitlines()]
    assert len(lines) > 4 and max(map(len, lines)) <= 72
    assert b"\x1b[1;31m" in output


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 4096)
    except OSError:  # the other side is closed
        return b""


def without_colour(line: str) -> str:
    """``line`` without colour."""
    import re

    return re.sub(r"\x1b\[[0-9;]*m", "", line)


def test_no_text_has_a_style_of_its_own() -> None:
    """It would spread to what is appended: `plain` styles its own words alone."""
    spread = [
        f"{path.relative_to(ROOM)}:{node.lineno}"
        for path in sorted(ROOM.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "Text"
        and (len(node.args) > 1 or any(keyword.arg == "style" for keyword in node.keywords))
    ]
    assert spread == []


def test_a_style_does_not_spread_to_what_is_appended() -> None:
    text = consoles.plain("name", "name").append_text(consoles.plain("note")).append("s")
    styled = [(text.plain[span.start : span.end], span.style) for span in text.spans]
    assert styled == [("name", "name")] and not text.style
