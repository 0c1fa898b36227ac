"""`kit verify`'s answer as it is drawn."""

from __future__ import annotations

import pytest

from kit.judge.verify import LEVELS, Check, Verdict
from kit.judge.verify.codes import level_of
from kit.judge.verify.verdict import Status
from kit.show import render
from tests.cli.test_render import HOSTILE, on_terminal, without_colour


def check(code: str, status: Status, message: str) -> Check:
    return Check(level=level_of(code), code=code, status=status, message=message)


SOUND = (
    check("NAME_UNSAFE", "PASS", "the folder is safe to read"),
    check("HASH_MISMATCH", "PASS", "21 of 21 files match"),
    check("IDENTITY", "WITHHELD", "host name and device UUIDs are withheld"),
    check("SIGNATURE", "WARN", "nobody vouches for the run"),
    check("FILE_INVALID", "PASS", "every file has its form"),
)
WRONG = check("RESULTS_DIFFER", "FAIL", "the records give 0.192, the results say 0.120")


def verdict(*more: Check) -> Verdict:
    return Verdict(run_hash="9f" * 32, status="complete", checks=(*SOUND, *more))


def test_a_verified_run_says_so_first_and_what_it_claims_last(
    capsys: pytest.CaptureFixture[str],
) -> None:
    judged = verdict(check("RESULTS_DIFFER", "PASS", "142 numbers follow"))
    render.verdict(judged)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "✔ VERIFIED  complete run, 2 notes"
    assert lines[-2].startswith("claim  consistent") and lines[-1].endswith("9f" * 32)
    assert all(any(line.startswith(level) for line in lines) for level in LEVELS)
    withheld = next(line for line in lines if "IDENTITY" in line)
    assert "○ withheld" in withheld and "142 numbers" not in "".join(lines)
    assert next(line for line in lines if line.startswith("L1")).startswith("L1  ✔ pass")


def test_details_list_what_passed(capsys: pytest.CaptureFixture[str]) -> None:
    render.verdict(verdict(), details=True)
    assert "21 of 21 files match  HASH_MISMATCH" in capsys.readouterr().out


def test_a_failure_names_its_code_and_what_was_not_reached(
    capsys: pytest.CaptureFixture[str],
) -> None:
    render.verdict(verdict(WRONG))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "✘ NOT VERIFIED  complete run, 1 failure, 2 notes"
    assert any("the results say 0.120  RESULTS_DIFFER" in line for line in lines)
    assert next(line for line in lines if line.startswith("L4")).startswith("L4  ✘ fail")
    assert next(line for line in lines if line.startswith("L6")).endswith("not reached")


def test_a_refused_archive_has_no_hash(capsys: pytest.CaptureFixture[str]) -> None:
    bad = check("NAME_UNSAFE", "FAIL", "'../x' leads out of the archive")
    render.verdict(Verdict(run_hash=None, status=None, checks=(bad,)))
    out = capsys.readouterr().out
    assert "a run that cannot be read, 1 failure" in out and "None" not in out


def test_messages_from_an_archive_are_inert(monkeypatch: pytest.MonkeyPatch) -> None:
    hostile = Check(level="L3", code="FILE_INVALID", status="FAIL", message=HOSTILE)
    out = on_terminal(lambda: render.verdict(verdict(hostile)), 80, monkeypatch)
    assert "\x1b[2J" not in out and "\x07" not in out and "\u202e" not in out
    assert "[bold green]VERIFIED[/]" in out


@pytest.mark.parametrize("width", [80, 120])
def test_the_verdict_fits(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    out = on_terminal(lambda: render.verdict(verdict(WRONG), details=True), width, monkeypatch)
    assert max(len(without_colour(line)) for line in out.splitlines()) <= width
