"""`kit show`: one run in full, from the parsed documents of its archive."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from kit.core.errors import ArchiveRefused
from kit.core.model import ArrivalsSpec
from kit.energy import names
from kit.energy.names import SCOPES
from kit.energy.reasons import notices, sentence
from kit.energy.results import from_document
from kit.energy.results.document import Metric, Outputs, Phase, Results
from kit.energy.results.form import MALFORMED
from kit.show.documents import Step
from kit.show.mean import HEADING, LEGEND, interval, mean
from kit.show.render import evidence
from kit.show.render.console import (
    Badge,
    count,
    facts,
    listing,
    plain,
    put,
    short_revision,
    short_time,
    stdout,
    title,
    with_badge,
)
from kit.show.render.numbers import measured, number, watts
from kit.show.render.rows import BADGES, SHORT
from kit.show.report import words
from kit.spec.workloads import arrivals

Document = Mapping[str, Any]

_NAME_LEAST = 20  # least columns of a metric's name; with less the interval goes below the mean


class RunParts(NamedTuple):
    """One run in full, to be drawn one below the other: its description, then its results."""

    about: list[RenderableType]
    results: list[RenderableType]


def run(
    name: str,
    manifest: Document,
    spec: Document,
    results: Document,
    steps: Sequence[Step] = (),
    asked: str = "",
) -> None:
    """Print one run in full; arguments and errors as of `run_parts`.

    Args:
        asked: what the person called it, for the commands named at the end; else its hash.
    """
    console, short = stdout(), shlex.quote(asked or name[:SHORT])
    parts = run_parts(name, manifest, spec, results, console.width, steps)
    ways = plain(f"kit verify {short} · kit replay {short} · kit report {short}", "quiet")
    put(console, *parts.about, *parts.results, Text(), ways)


def run_parts(
    name: str,
    manifest: Document,
    spec: Document,
    results: Document,
    width: int,
    steps: Sequence[Step] = (),
) -> RunParts:
    """One run in full, for ``width`` columns.

    Args:
        name: the run's hash, or another name.
        steps: the steps of start-up and shutdown, launch by launch.

    Raises:
        ArchiveRefused: the documents do not have kit's form.
    """
    try:
        return RunParts(
            _about(name, manifest, spec), _result_parts(from_document(results), width, steps)
        )
    except (*MALFORMED, ArithmeticError) as error:
        raise ArchiveRefused(
            "DOCUMENT_MALFORMED",
            "this run's documents do not have the form that kit writes",
            f"`kit verify {name[:SHORT]}` shows what is wrong with it",
        ) from error


def _about(name: str, manifest: Document, spec: Document) -> list[RenderableType]:
    return [
        title(str(spec.get("name", name))),
        plain(spec.get("description", ""), "quiet"),
        _state(manifest),
        facts(_identity(name, manifest, spec)),
    ]


def _result_parts(results: Results, width: int, steps: Sequence[Step]) -> list[RenderableType]:
    return [
        *_unequal(results),
        *_section("results", _metrics(results, width)),
        *_section("", _missing(results)),
        *_section(*_phases(results, width)),
        *_section("steps of start-up and shutdown", evidence.steps(steps)),
        *_section(*evidence.nets(results)),
        *_section("checks", evidence.checks(results)),
        *_section("notices", _notices(results)),
    ]


def _unequal(results: Results) -> list[RenderableType]:
    """What is to be known before any number: that the run is no equal work."""
    if not words.unequal(results):
        return []
    return [Text(), with_badge("warn", plain(words.unequal(results)), "not equal work")]


def _section(heading: str, body: RenderableType | None) -> list[RenderableType]:
    """A blank line, a heading and ``body``; nothing without a body."""
    if body is None:
        return []
    return [Text(), title(heading), body] if heading else [body]


def _state(manifest: Document) -> Table:
    status = str(manifest.get("status", "broken"))
    reason = str(manifest.get("reason", ""))
    return with_badge(BADGES.get(status, "fail"), plain(reason), str(plain(status)))


def _identity(name: str, manifest: Document, spec: Document) -> list[tuple[str, str | None]]:
    image, model = manifest.get("image") or {}, manifest.get("model") or {}
    parents = [f"{p.get('relation')} {str(p.get('run_hash'))[:SHORT]}" for p in _parents(manifest)]
    revision = short_revision(str(model.get("revision", "")))
    return [
        ("run", name),
        ("started", f"{manifest.get('clock', {}).get('utc', 'unknown')}"),
        ("kit", str(manifest.get("kit", {}).get("version", "unknown"))),
        ("runtime", str(spec.get("runtime", {}).get("name", "unknown"))),
        ("image", _image(image) if image else None),
        ("model", f"{model.get('repo')}@{revision}" if model else None),
        ("licence", str(model.get("licence") or "the spec names none") if model else None),
        ("work", _work(spec)),
        ("spec", str(manifest.get("spec_hash", ""))[:SHORT]),
        ("parent", ", ".join(parents) or None),
    ]


def _work(spec: Document) -> str | None:
    """How many requests, and when they are sent; older documents may not say it."""
    requests = spec.get("workload", {}).get("options", {}).get("requests")
    if requests is None or "arrivals" not in spec:
        return None
    asked = msgspec.convert(spec["arrivals"], ArrivalsSpec)
    return f"{count(requests, 'request')} in each launch, {arrivals.words(asked)}"


def _image(image: Document) -> str:
    """Reference and id; only the reference if it ends in the id."""
    reference, id_ = str(image.get("reference")), str(image.get("image_id"))
    return reference if reference.endswith(id_) else f"{reference} {id_}"


def _parents(manifest: Document) -> list[Document]:
    return [p for p in manifest.get("parents") or () if isinstance(p, dict)]


def _metrics(results: Results, width: int) -> RenderableType | None:
    """Every metric with a value, a star for the primary one; no name and no number is cut."""
    primary = results.primary
    measured_metrics = {
        k: m for k, m in sorted(results.all_metrics.items()) if m.status != "unmeasured"
    }
    if not measured_metrics:
        return None
    head = (Text(HEADING), Text("95% interval"))
    rows = {
        name: _found_of(measured_metrics[name])
        for name in sorted(measured_metrics, key=lambda n: n != primary)
    }
    widest = [max(pair[n].cell_len for pair in (head, *rows.values())) for n in (0, 1)]
    form = _shape(width, widest)
    right: dict[str, Any] = {"justify": "right", "no_wrap": True}
    heads = ((text.plain, right) for text in _beside(head, form))
    table = listing(("", {}), ("metric (* primary)", {"overflow": "fold"}), *heads)
    for name, cells in rows.items():
        mark = plain("*" if name == primary else "", "quiet")
        cell = plain(names.metric(name))
        if form == "one column":
            cell = Text("\n").join([cell, *(Text(" ").append_text(text) for text in cells)])
        table.add_row(mark, cell, *_beside(cells, form))
    return Group(table, plain(LEGEND, "quiet"))


def _shape(width: int, widest: Sequence[int]) -> str:
    """The form that fits: a column each, the interval below the mean, or all below the name."""
    mean, interval = (columns + 2 for columns in widest)
    if width - 3 - mean - interval >= _NAME_LEAST:
        return "columns"
    return "two columns" if width - 3 - mean >= _NAME_LEAST else "one column"


def _beside(cells: tuple[Text, Text], form: str) -> tuple[Text, ...]:
    """The cells of mean and interval next to the name."""
    return {"columns": cells, "two columns": (Text("\n").join(cells),)}.get(form, ())


def _found_of(metric: Metric | Outputs) -> tuple[Text, Text]:
    if isinstance(metric, Outputs):
        return _agreement(metric)
    return plain(mean(metric)), plain(interval(metric).removeprefix("95% "))


def _agreement(outputs: Outputs) -> tuple[Text, Text]:
    hashes = [str(h) for h in outputs.launches]
    if len(hashes) == 1:
        return Text("one launch"), plain(hashes[0][:SHORT])
    if not outputs.agree:
        return plain("differ", "doubt"), Text("–")
    return plain("identical", "good"), plain(hashes[0][:SHORT] if hashes else "–")


def _missing(results: Results) -> RenderableType | None:
    """Metrics without a value, grouped by reason, so that no scope is silently absent."""
    reasons: dict[str, list[str]] = {}
    for name, metric in sorted(results.all_metrics.items()):
        if metric.status == "unmeasured":
            scope, energy, _ = name.partition("_energy_")
            what = f"{names.scope(scope, short=True)} energy" if energy else names.metric(name)
            lacking = reasons.setdefault(sentence(metric.reason or ""), [])
            lacking += [] if what in lacking else [what]
    if not reasons:
        return None
    table = facts([])
    for reason, lacking in reasons.items():
        table.add_row("unmeasured", plain(f"{', '.join(lacking)}: {reason}"))
    return table


def _phases(results: Results, width: int) -> tuple[str, RenderableType | None]:
    """Phases of the first launch, with time, energy and mean power of every known scope."""
    launches = results.launches
    if not launches:
        return "", None
    phases = launches[0].phases
    scopes = [s for s in SCOPES if any(p.of(s).joules is not None for p in phases)]
    right = {"justify": "right", "no_wrap": True}
    form = _form(len(scopes), width)
    of_scopes = [
        (text, right)
        for s in scopes
        for text in (f"{names.scope(s, short=True)}, J", *(["W"] if form == "full" else []))
    ]
    table = listing(("phase", {"no_wrap": True}), ("time", right), *of_scopes)
    for phase in phases:
        cells = [plain(_phase_name(phase)), plain(short_time(phase.duration_s))]
        for scope in scopes:
            energy = phase.of(scope)
            is_bare = form == "bare" and energy.joules is not None
            cells.append(plain(number(energy.joules or 0.0) if is_bare else measured(energy)))
            if form == "full":
                cells.append(plain(watts(energy, phase.duration_s)))
        table.add_row(*cells)
    more = f" (of {len(launches)} launches)" if len(launches) > 1 else ""
    heading = f"phases of launch {launches[0].index}{more}"
    heading += "" if form == "bare" or not scopes else ", ± reading noise ± sensor"
    return heading, Group(table, _gaps(phases, scopes))


def _form(scopes: int, width: int) -> str:
    """The form that fits: energies with uncertainty and watts, without watts, or alone."""
    forms = (("full", 28), ("no watts", 20), ("bare", 0))
    return next(form for form, widths in forms if 34 + scopes * widths <= width or not widths)


def _gaps(phases: Sequence[Phase], scopes: Sequence[str]) -> Table:
    """Why a phase has no energy, if other phases of its scope have."""
    table = facts([])
    reasons: dict[str, list[str]] = {}
    for phase in phases:
        for scope in scopes:
            energy = phase.of(scope)
            if energy.joules is None:
                why = sentence(energy.reason or "not recorded")
                where = f"{names.scope(scope, short=True)} in {_phase_name(phase)}"
                reasons.setdefault(why, []).append(where)
    for why, places in reasons.items():
        table.add_row("unmeasured", plain(f"{', '.join(places)}: {why}"))
    return table


def _notices(results: Results) -> RenderableType | None:
    messages = notices(results.notices, len(results.launches))
    if not messages:
        return None
    table = facts([])
    for notice in messages:
        text = plain(notice.message).append(f"  {plain(notice.code)}", "quiet")
        table.add_row(Badge("warn", ""), text)
    return table


def _phase_name(phase: Phase) -> str:
    """``idle (before)``, ``decode ×8``: its name, and its number of pieces."""
    return words.phase_name(phase) + (f" ×{phase.pieces}" if phase.pieces > 1 else "")
