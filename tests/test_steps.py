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
