"""Phases, metrics and scopes have one name each, and every face shows that one."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest

import kit
from kit.cli.runview import RunProgressView
from kit.core import jsonio, units
from kit.energy import names
from kit.energy.picture import curve_of, picture
from kit.energy.results import Results, from_document
from kit.energy.results.metrics import metrics
from kit.judge import compare
from kit.judge.compare import Comparison
from kit.record import archive, phases, records
from kit.record.records import RunRecords
from kit.show import render, report, runlist
from kit.show.live import eventwords
from kit.show.live.runstate import RunState
from kit.show.render.show import run_parts
from kit.show.render.verdicts import comparison_view
from kit.spec import meters
from kit.tui import comparison, power
from kit.tui.live.tiles import tiles
from kit.tui.live.words import View, path
from kit.tui.output import as_text
from kit.tui.screens.plan import steps
from tests.committed import H200

BLOCKS = {name for name, _ in phases.BLOCKS}
# What the committed run on an H200 measured or estimated, and what its meters told.
SCOPES = ("gpu", "estimate")


# --- every identifier has its entry -------------------------------------------------------------


def test_every_phase_metric_and_scope_that_kit_makes_has_a_name() -> None:
    assert set(names.PHASES) == BLOCKS | set(phases.INSIDE)
    of_texts, of_images = metrics([]), metrics([], "image")
    assert {*of_texts} == {*names.METRICS} - names.OF_IMAGES - {"outputs"}
    assert {*of_images} == {*names.METRICS} - names.OF_TEXTS - {"outputs"}
    assert {*names.SCOPES, *names.COMPARATORS, "none"} == set(get_args(units.Scope))


def test_there_is_one_order_of_scopes() -> None:
    order = [*names.SCOPES, *names.COMPARATORS, "none"]
    assert [names.rank(scope) for scope in order] == list(range(len(order)))


@pytest.mark.parametrize(
    ("table", "most"),
    [
        (names.PHASES, 7),
        (names.METRICS, 23),
        (names.SCOPES | names.COMPARATORS, 10),
        (names.ENERGY_PER, 14),
    ],
)
def test_no_two_are_called_alike_and_short_names_are_short(
    table: dict[str, names.Name], most: int
) -> None:
    for form in ("full", "short"):
        assert len({getattr(name, form) for name in table.values()}) == len(table)
    for name in table.values():
        assert 0 < len(name.short) <= min(most, len(name.full))


def test_an_identifier_that_is_not_known_is_shown_as_it_stands() -> None:
    assert names.phase("nap_time", "after") == "nap_time (after)"
    assert (names.metric("x_p50"), names.scope("moon", short=True)) == ("x_p50", "moon")


# --- every face shows them ----------------------------------------------------------------------


@cache
def run() -> tuple[RunRecords, dict[str, Any]]:
    return records.load(archive.open_source(H200)), jsonio.read(H200 / "results.json")


def read() -> tuple[RunRecords, Results]:
    loaded, stored = run()
    return loaded, from_document(stored)


@cache
def compared() -> Comparison:
    loaded, document = read()
    return compare.judge(loaded, document, loaded, document)


def known_metrics() -> list[str]:
    metrics = run()[1]["metrics"]
    return [name for name, metric in metrics.items() if metric["status"] != "unmeasured"]


def parts() -> list[tuple[str, str | None]]:
    return [(p["phase"], p["part"]) for p in run()[1]["launches"][0]["phases"]]


def show_text() -> str:
    manifest, spec = (jsonio.read(H200 / f"{n}.json") for n in ("manifest", "spec"))
    shown = run_parts(H200.name, manifest, spec, run()[1], 160)
    return as_text(*shown.results)


def plain_html() -> str:
    return re.sub(r"<[^>]*>", " ", report.html(H200.name, *read(), compared()))


def story() -> Iterator[tuple[RunProgressView, View]]:
    """The command line's and the UI's picture of the run, at each begin of a phase."""
    drawn, state = RunProgressView(), RunState(run()[0].plan.meters)
    for event in run()[0].events:
        drawn.take(event)
        state.take(event)
        if event.kind == "phase.begin":
            yield drawn, View(state.snapshot(), event.t)


def all_metrics(text: str) -> None:
    for name in known_metrics():
        assert names.metric(name) in text


def all_phases(text: str) -> None:
    for name, part in parts():
        assert names.phase(name, part) in text


def test_kit_show() -> None:
    text = show_text()
    all_metrics(text)
    all_phases(text)
    for scope in SCOPES:
        assert f"{names.scope(scope, short=True)}, J" in text
        for net in names.NETS.values():
            assert f"{names.scope(scope, short=True)} {net}" in text
    assert f"{names.scope('wall', short=True)} energy" in text
    assert names.phase("measured") + ":" in text
    no_identifier(text)


def test_kit_compare() -> None:
    text = as_text(comparison_view(compared()))
    all_metrics(text)
    no_identifier(text)
    for axis in compared().axes:
        assert axis.line().startswith(names.metric(axis.metric))


@pytest.mark.parametrize("face", ["text", "html"])
def test_reports(face: str) -> None:
    loaded, results = read()
    text = report.text(H200.name, loaded, results, compared()) if face == "text" else plain_html()
    text = " ".join(text.split())
    for name in (run()[1]["primary"]["metric"], "output_throughput", "ttft_p50", "outputs"):
        assert names.metric(name) in text
    all_phases(text)
    for scope in results.launches[0].net:  # those that there were when the run was sealed
        assert names.scope(scope) in text
    for net in names.NETS.values():
        assert net in text
    assert "thesis" not in text
    no_identifier(text)


def test_the_log() -> None:
    text = "\n".join(line.text for line in eventwords.lines(run()[0].events))
    for phase in phases.BLOCKS:
        assert f"{names.phase(*phase)} began" in text
    done = {e.data["stage"] for e in run()[0].events if e.kind == "stage.done"}
    for stage in done:
        assert f": {names.phase(stage)}: " in text
    no_identifier(text)


@pytest.mark.parametrize("short", [False, True])
def test_a_run_that_goes_on(short: bool) -> None:
    for drawn, view in story():
        ui = path(view, 78 if short else 400, ascii_only=False).plain
        for text in (ui, "" if short else as_text(drawn)):
            for name in BLOCKS if text else ():
                assert names.phase(name, short=short) in text
            no_identifier(text)


def test_tiles() -> None:
    *_, (_, view) = story()
    shown = tiles(view)
    assert f"power, {names.scope('gpu', short=True)}" == shown[0].title
    assert names.scope("estimate", short=True) in shown[0].sub
    assert names.ENERGY_PER["output_token"].short == shown[-1].title


def test_the_plan() -> None:
    text = steps(run()[0].spec).plain
    labels = [line[2:14].rstrip() for line in text.splitlines()[1:-1]]
    assert labels == [names.phase(name) for name, _ in phases.BLOCKS]


def test_plots() -> None:
    loaded, _ = run()
    drawn = picture(loaded.samples, loaded.plan.meters, loaded.phases)
    labels = [name for _, name in power.blocks(drawn.bands, drawn.span, 400)]
    both = {form for name in BLOCKS for form in names.PHASES[name][:2]}
    assert set(labels) <= both and names.phase("loaded_idle") in labels
    curve = curve_of("A", loaded)
    assert curve and curve.scope == names.scope("gpu", short=True)


def test_the_ui_compares_in_full_and_in_short() -> None:
    a, b = (comparison.Side(H200, letter, *read()) for letter in "AB")
    lines = comparison.metrics(comparison.Contrast((a, b), a, {"B": compared()}))
    assert {line.axis.metric for line in lines if line.axis} == set(known_metrics())
    for line in lines:
        assert line.axis
        for width, short in ((60, False), (23, True)):
            shown = comparison.cell(line, "metric", width).plain
            assert shown == names.metric(line.axis.metric, short=short)


def test_the_list_of_runs() -> None:
    row = runlist.read(H200)
    assert row.energy.endswith(f" {names.scope('gpu', short=True)}")
    assert row.stated.startswith(f"{names.scope('gpu', short=True)} ")
    assert render.Row is runlist.Row


def no_identifier(text: str) -> None:
    """No identifier is shown that is not also the name."""
    own = {name.full for name in (names.PHASES | names.METRICS).values()}
    for name in {*names.PHASES, *names.METRICS, *names.NETS} - own - {"outputs"}:
        assert not re.search(rf"\b{name}\b", text), name


# --- and nothing else names them ----------------------------------------------------------------

IDENTIFIERS = {*names.PHASES, *names.METRICS, *names.SCOPES, *names.COMPARATORS, *names.NETS}
# Of what energy is divided by, images and steps are ordinary words, too.
IDENTIFIERS |= {"output_token", "request", "ttft", "tpot", "e2e"}
# Values that are identifiers themselves, and no words: meters, quantities, parts of a block.
NO_WORDS = {*IDENTIFIERS, *units.QUANTITIES, *meters.names(), "before", "after"}
# Tables of words by such a key that are no names of it: where, and what they say instead.
OTHER_TABLES = {
    ("record/phases.py", "idle"): "what results.json held as alias",
    ("record/phases.py", "prefill"): "the same",
    ("record/phases.py", "decode"): "the same",
    ("judge/replay/undertaking.py", "estimate"): "where a replay's meter reads, by meter",
    ("judge/replay/undertaking.py", "codecarbon"): "where a replay's meter reads, by meter",
    ("judge/verify/journal.py", "startup"): "which events a block must hold",
    ("judge/verify/journal.py", "warmup"): "which events a block must hold",
    ("judge/verify/journal.py", "measured"): "which events a block must hold",
    ("judge/verify/journal.py", "shutdown"): "which events a block must hold",
    ("show/report/chart.py", "*"): "colours",
    ("cli/machine.py", "estimate"): "the status of an energy: estimated",
    ("energy/module.py", "gpu"): "which of two boards a reading is of, for a notice",
}


def tables() -> Iterator[tuple[str, str, int]]:
    """Literals in kit/ that give words by an identifier: (file, identifier, line)."""
    root = Path(kit.__file__).parent
    for file in sorted(root.rglob("*.py")):
        where = file.relative_to(root).as_posix()
        for node in ast.walk(ast.parse(file.read_text())):
            yield from ((where, key, line) for key, line in _worded(node))


def _worded(node: ast.AST) -> Iterator[tuple[str, int]]:
    """The identifiers to which a dictionary, a row of a table or a choice gives words."""
    if isinstance(node, ast.Dict):
        pairs = [(k, v) for k, v in zip(node.keys, node.values, strict=True) if k]
    elif isinstance(node, ast.Tuple) and len(node.elts) > 1:
        # Also a tuple of identifiers alone has one first: what is written as such is no words.
        rest = [v for v in node.elts[1:] if not re.fullmatch("'[a-z_0-9]+'", ast.unparse(v))]
        pairs = [(node.elts[0], argument) for argument in rest]
    elif isinstance(node, ast.IfExp) and isinstance(node.test, ast.Compare):
        pairs = [(key, node.body) for key in node.test.comparators]
    else:
        return
    for key, value in pairs:
        if isinstance(key, ast.Constant) and key.value in IDENTIFIERS and _has_words(value):
            yield str(key.value), key.lineno


def _has_words(value: ast.AST) -> bool:
    if isinstance(value, ast.Tuple | ast.List):
        return any(map(_has_words, value.elts))
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        return value.value not in NO_WORDS
    return isinstance(value, ast.JoinedStr)


@pytest.mark.slow
def test_no_other_module_names_a_phase_a_metric_or_a_scope() -> None:
    elsewhere = {(where, key) for where, key, _ in tables() if where != "energy/names.py"}
    allowed = {(where, key) for where, key in elsewhere if (where, "*") in OTHER_TABLES}
    assert sorted(elsewhere - allowed - set(OTHER_TABLES)) == []
    used = elsewhere | {(where, "*") for where, _ in allowed}
    assert set(OTHER_TABLES) <= used, "an exception that nothing needs"


@pytest.mark.parametrize(
    "code",
    [
        "N = {'loaded_idle': 'loaded idle, before'}",
        "N = {'warmup': ('warm up', 'warm')}",
        "N = [('e2e_p50', 'request, median')]",
        "w = 'estimated' if scope == 'estimate' else scope",
        "N = {'gpu': f'{many} GPUs'}",
    ],
)
def test_a_table_of_names_is_found(code: str) -> None:
    assert [key for node in ast.walk(ast.parse(code)) for key, _ in _worded(node)]


def test_no_face_makes_a_name_of_an_identifier() -> None:
    """``phase.replace("_", " ")`` is a name that the glossary does not know."""
    root = Path(kit.__file__).parent
    made = re.compile(r"""(phase|name|metric|stage|scope)\)?\.replace\(["']_""")
    assert not [str(file) for file in root.rglob("*.py") if made.search(file.read_text())]
