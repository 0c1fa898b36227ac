"""Steps of a start-up as a person sees them: of the journal, and of a server's own log."""

from __future__ import annotations

from pathlib import Path

import pytest

from kit.cli.main import dispatch
from kit.core import jsonio
from kit.record import archive
from kit.show.documents import Step, steps_of
from tests import golden

TOLD = {"compile_s": "26.7", "load_s": "0.13", "configuration": "model='/weights'", "odd_s": "soon"}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A sealed run of which each launch's log told something."""
    made = golden.copied(tmp_path / "runs")
    for path in made.glob("launches/*/effective.json"):
        path.write_bytes(jsonio.canonical({**jsonio.read(path), "log": TOLD}))
    return golden.reseal(made)


def told(run: Path) -> list[Step]:
    with archive.open_source(run) as source:
        return list(steps_of(source))


def test_a_log_tells_seconds_by_name(run: Path) -> None:
    found = told(run)
    assert Step("compile (its log)", 26.7) in found and Step("load (its log)", 0.13) in found
    assert not any("configuration" in step.name for step in found)


def test_what_is_no_number_spoils_no_other_launch(run: Path, tmp_path: Path) -> None:
    (path, *_) = sorted(run.glob("launches/*/effective.json"))
    path.write_bytes(jsonio.canonical({"log": ["x"]}))
    sealed = golden.reseal(run)
    assert len(told(sealed)) == len(list(sealed.glob("launches/*"))) * 2 - 2


def test_show_has_a_line_a_step(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["show", str(run)]) == 0
    assert "compile (its log)" in capsys.readouterr().out


@pytest.mark.parametrize(
    "data",
    [
        {"name": "load"},
        {"name": "load", "seconds": "1"},
        {"name": "load", "seconds": None},
        {"name": ["load"], "seconds": 1},
        {},
    ],
)
def test_a_journal_of_another_form_is_shown_without_its_steps(
    run: Path, data: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    """`kit show` has checked a run's hashes alone, which a forger makes anew."""
    _add(run, data)
    assert dispatch(["show", str(golden.reseal(run))]) == 0
    assert "Traceback" not in capsys.readouterr().err


def test_a_steps_name_has_no_terminal_escapes(run: Path) -> None:
    _add(run, {"name": "\x1b[31mevil\x07" * 1000, "seconds": 1})
    path = run / "launches/000/effective.json"
    path.write_bytes(jsonio.canonical({"log": {"\x1b]0;x\x07_s": "1"}}))
    names = [step.name for step in told(golden.reseal(run))]
    assert all(name.isprintable() and len(name) < 100 for name in names), names
    assert any("evil" in name for name in names)


def _add(run: Path, data: dict[str, object]) -> None:
    step = {"kind": "startup.step", "data": data}
    golden.rechain(run / "events.jsonl", lambda events: events.insert(5, {**events[5], **step}))
