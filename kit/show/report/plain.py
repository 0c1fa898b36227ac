"""A run as plain text of 80 columns, for a terminal, a log or a mail."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator

from kit import __version__
from kit.core.text import clean
from kit.energy import names, reasons
from kit.energy.names import COMPARATORS, NETS, SCOPES
from kit.energy.reasons import sentence
from kit.energy.results.document import Metric, Outputs, Results
from kit.judge.compare import Comparison
from kit.record.phases import INSIDE
from kit.record.records import RunRecords
from kit.show import rounding
from kit.show.mean import LEGEND, interval, mean
from kit.show.report import words

WIDTH = 80


def text(name: str, records: RunRecords, results: Results, judged: Comparison | None = None) -> str:
    """The whole report; arguments as of `kit.show.report.html`."""
    parts = [
        _head(name, records),
        _part("REPLAY", _verdicts(judged) if judged else ()),
        _part("NUMBERS", _numbers(results)),
        _part("BEFORE YOU BELIEVE A NUMBER", _notices(results)),
        _part("MEASURED BLOCK", _blocks(results)),
        _part("UNCERTAINTY BUDGET (standard, share of variance, over launches)", _budgets(results)),
        _part("JOULES PER PREFILL AND DECODE TOKEN", _split(results)),
        _part("STEADY STATE AND CROSS-CHECK", _checks(results)),
        _part("PHASES", _phases(results)),
        _part("CHECK IT YOURSELF", [f"kit verify {name[:12]}", f"kit replay {name[:12]}"]),
        f"kit {__version__}, formulas {results.formulas}: every number was computed from the\n"
        "raw records when this report was made.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _wrapped(line: str, indent: str = "  ") -> str:
    """A line within the width; the only place where text of a run is made safe."""
    text = clean(line)
    lead = text[: len(text) - len(text.lstrip())]
    return textwrap.fill(text.strip(), WIDTH, initial_indent=lead, subsequent_indent=lead + indent)


def _part(title: str, lines: Iterable[str]) -> str:
    wrapped = [_wrapped(line) for line in lines]
    return "\n".join([title, *wrapped]) if wrapped else ""


def _head(name: str, records: RunRecords) -> str:
    first = records.events[0].data if records.events else {}
    last = records.events[-1].data if records.events else {}
    spec = records.spec
    lines = [
        f"{spec.name}: {last.get('status', 'unfinished')} {last.get('reason', '')}",
        spec.description,
        f"run {name}",
        f"{spec.runtime.name}, {spec.weights.repo if spec.weights else 'no model'}, "
        f"launches: {spec.launches}, {first.get('utc', '')}",
    ]
    return "\n".join(_wrapped(line) for line in lines if line)


def _verdicts(judged: Comparison) -> Iterator[str]:
    yield judged.primary.line()
    for axis in judged.axes:
        if axis.metric != judged.primary.metric and axis.verdict != "NOT-COMPARABLE":
            yield axis.line()


# --- numbers ----------------------------------------------------------------------------------


def _numbers(results: Results) -> Iterator[str]:
    """Energy by scope first, then every other metric; missing ones with a reason."""
    lacking = dict(words.unmeasured(results))
    for name, metric in results.all_metrics.items():
        scope = name.partition("_energy_")[0]
        if scope not in lacking:
            mark = " (primary)" if name == results.primary else ""
            yield f"{names.metric(name)}{mark}:"
            yield f"    {_value(metric)}"
    for scope, reason in lacking.items():
        yield f"energy, {names.scope(scope)}:"
        yield f"    unmeasured: {reason}"
    yield LEGEND


def _value(metric: Metric | Outputs) -> str:
    if metric.status == "unmeasured":
        return f"unmeasured: {sentence(metric.reason)}"
    if isinstance(metric, Outputs):
        if len(metric.launches) == 1:
            return "not compared: one launch"
        return "all launches agree" if metric.agree else "launches differ"
    text = mean(metric)
    return f"{text}; {interval(metric)}" if metric.ci95 else text


def _notices(results: Results) -> list[str]:
    sentences = reasons.notices(results.notices, len(results.launches))
    return [f"{notice.code}: {notice.message}" for notice in sentences]


def _blocks(results: Results) -> Iterator[str]:
    """Gross and net energy of every launch's measured block, and that of another tool."""
    shown = words.scopes(results.launches)
    for launch in results.launches:
        measured = launch.measured
        if measured is None:
            yield f"launch {launch.index}: there was no measured block"
            continue
        yield f"launch {launch.index}, {measured.duration_s:.2f} s"
        for scope in shown:
            gross = measured.of(scope)
            yield f"  {names.scope(scope)}"
            yield f"    gross: {rounding.in_line(gross)}"
            if scope in COMPARATORS:
                yield f"    as it says: {gross.method}"
                continue
            for key, label in NETS.items():
                net = launch.net[scope][key]
                behind = f" ({words.baseline(net)})" if net.baseline_w is not None else ""
                yield f"    {label}: {rounding.in_line(net)}{behind}"


def _budgets(results: Results) -> Iterator[str]:
    """Uncertainty budgets of the first launch with a measured block."""
    blocks = ((la.index, la.measured) for la in results.launches if la.measured)
    index, measured = next(blocks, (0, None))
    for scope in SCOPES if measured else ():
        energy = measured.of(scope) if measured else None
        if energy is None or not energy.terms:
            continue
        yield f"{names.scope(scope)}, launch {index}"
        for what, u, share, does in words.budget(energy):
            left = f"  {what:<42}{rounding.number(u, 2) + ' J':>10}"
            yield f"{left}{rounding.share(share):>9}  {does}"


# --- what speaks for or against them ----------------------------------------------------------


def _split(results: Results) -> Iterator[str]:
    if not results.metrics.keys() & names.OF_TEXTS:
        return
    for scope, split in results.split.items():
        if split.status == "unmeasured":
            yield f"{names.scope(scope)}: unmeasured: {sentence(split.reason)}"
            continue
        yield (
            f"{names.scope(scope)}: prefill {words.per_token(split.prefill_j_per_token)}, "
            f"decode {words.per_token(split.decode_j_per_token)}, by difference of "
            f"{words.split_over(split)}, {NETS['above_loaded_idle']}"
        )


def _checks(results: Results) -> Iterator[str]:
    for launch in results.launches:
        for gpu, places in launch.steady.items():
            for place, judged in places.items():
                yield (
                    f"{gpu}, launch {launch.index}, {words.PLACES[place]}: "
                    f"{words.STATES[judged.status]}; "
                    f"temperature {words.temperature(judged)}, "
                    f"power {words.power(judged)}, "
                    f"clocks held by: {words.masks(judged)}"
                )
        for gpu, check in launch.cross_check.items():
            yield f"{gpu}, launch {launch.index}, two views: {words.cross_check(check)}"


def _phases(results: Results) -> Iterator[str]:
    shown = [s for s in words.scopes(results.launches) if s in SCOPES]
    for launch in results.launches:
        yield f"launch {launch.index}"
        for phase in words.in_order(launch.phases):
            inner = "    " if phase.name in INSIDE else "  "
            yield f"{inner}{words.phase_name(phase)}, {phase.duration_s:.2f} s"
            for scope in shown:
                yield f"{inner}  {names.scope(scope)}: {rounding.in_line(phase.of(scope))}"
