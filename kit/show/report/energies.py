"""Energy on the page: of scopes, of the measured block with its budget, and of every phase."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from markupsafe import Markup

from kit.energy import names
from kit.energy.names import COMPARATORS, ENERGY_PER, NETS, SCOPES
from kit.energy.results.document import Launch, Metric, Phase, Results
from kit.energy.value import EnergyValue
from kit.record.phases import INSIDE
from kit.show import rounding
from kit.show.mean import interval, pieces
from kit.show.report import words
from kit.show.report.parts import absent, energy, join, section, table, tag, text

_READING = (
    "± (reading noise): what would scatter if the same stretch were read again, a small part of "
    "what scatters between launches. ± (sensor): what the sensor is wrong by every time, the same "
    "in two runs on one card; of an estimate, what its (model) may be wrong by. Standard "
    "uncertainties (68%)."
)


def scopes(results: Results) -> Markup:
    """Per scope joules by each kind of work, over launches; or why there are none."""
    kinds = [
        per for per in ENERGY_PER if f"{next(iter(SCOPES))}_energy_per_{per}" in results.metrics
    ]
    called = [ENERGY_PER[per].full for per in kinds]
    heads = ["scope", *called, f"95% interval, {called[0]}"]
    rows = [_scope_row(results.metrics, scope, kinds) for scope in SCOPES]
    caption = "Energy of each scope by kind of work: means over launches."
    return section("Energy by scope", table(heads, rows, caption))


def _scope_row(metrics: dict[str, Metric], scope: str, kinds: list[str]) -> list[object]:
    each = [metrics[f"{scope}_energy_per_{per}"] for per in kinds]
    if all(metric.value is None for metric in each):
        return [names.scope(scope), absent(each[0].reason)]
    return [names.scope(scope), *map(_mean, each), _interval(each[0])]


def _mean(metric: Metric) -> Markup:
    words = pieces(metric)
    if words is None:
        return absent(metric.reason)
    content = [text(f"{words.value} {words.unit}")]
    if metric.status == "estimated":
        content += [text(" "), tag("b", "estimated", class_="estimated")]
    return join([*content, tag("small", words.spread, class_="below")])


def _interval(metric: Metric) -> str:
    return interval(metric) if metric.ci95 else "none: one launch"


# --- the measured block -----------------------------------------------------------------------


def block(results: Results) -> Markup:
    """Gross and net energy of every launch's measured block, and the budget of the first."""
    launches = [(la, la.measured) for la in results.launches if la.measured]
    shown = [s for s in words.scopes(la for la, _ in launches) if s in SCOPES]
    if not shown:
        return Markup("")
    heads = ["scope", "launch", "gross", *NETS.values()]
    rows = [_block_row(*of, scope) for scope in shown for of in launches]
    return section(
        "The measured block",
        table(heads, rows, "Gross and net energy of each measured block.", numeric=2),
        *_budgets(*launches[0], shown),
        note="Net energies take off what the machine draws anyway: the loaded but idle server "
        "(between the baseline before and the one after; drift is their difference), or the host "
        f"before the container. {_READING}",
    )


def _block_row(launch: Launch, measured: Phase, scope: str) -> list[object]:
    nets = [launch.net[scope][key] for key in NETS]
    return [
        names.scope(scope),
        launch.index,
        _energy_or_reason(measured.energy[scope]),
        *(
            join([_energy_or_reason(n), tag("small", words.baseline(n), class_="below")])
            for n in nets
        ),
    ]


def _energy_or_reason(value: rounding.Energy) -> Markup:
    """Like `energy`, with the reason shown."""
    return absent(value.reason) if value.joules is None else energy(value)


def _budgets(launch: Launch, measured: Phase, shown: Sequence[str]) -> Iterator[Markup]:
    for scope in shown:
        of_scope = measured.of(scope)
        if not of_scope.terms:
            continue
        heads = [
            "where it comes from",
            "standard uncertainty",
            "share of variance",
            "over launches",
        ]
        caption = (
            f"Uncertainty budget: {names.scope(scope)}, measured block of launch {launch.index}."
        )
        yield table(heads, _budget_rows(of_scope), caption)


def _budget_rows(of_scope: EnergyValue) -> Iterator[list[object]]:
    for what, u, share, does in words.budget(of_scope):
        yield [what, f"{rounding.number(u, 2)} J", rounding.share(share), does]
    sums = {"reading noise": of_scope.u_reading, "sensor": of_scope.u_sensor}
    for what, together in sums.items():
        if together is not None:
            together_j = f"{rounding.number(together, 2)} J"
            yield [tag("b", f"together: {what}"), tag("b", together_j), "", ""]


# --- another tool's account -------------------------------------------------------------------


def comparators(results: Results) -> Markup:
    """Another tool's energy of the measured block, next to kit's scopes; nothing without one."""
    rows, methods = [], dict[str, None]()
    for launch in results.launches:
        for name in COMPARATORS:
            energy = launch.measured.energy.get(name) if launch.measured else None
            if energy:
                rows.append(_account(launch, names.scope(name), energy))
                methods |= {energy.method: None} if energy.method else {}
    if not rows:
        return Markup("")
    return section(
        "Another tool's account",
        table(
            ["tool", "launch", "measured block", "by component"],
            rows,
            "Energy of each measured block as another tool accounts for it.",
            numeric=2,
        ),
        tag("ul", *(tag("li", method) for method in methods), class_="note"),
        note="Measured or estimated, as the tool itself declares. It is shown next to kit's scopes "
        "and is part of none of them.",
    )


def _account(launch: Launch, title: str, energy: EnergyValue) -> list[object]:
    parts = [f"{name} {rounding.number(j)} J" for name, j in energy.devices.items()]
    return [title, launch.index, _energy_or_reason(energy), ", ".join(parts)]


# --- phases ---------- -------------------------------------------------------------------------


def phases(results: Results) -> Markup:
    """Every phase of every launch with its energy per scope."""
    shown = words.scopes(results.launches)
    note = "" if shown else "No energy was measured or estimated; the durations are valid."
    return section("Phases", *(_launch(la, shown) for la in results.launches), note=note)


def _launch(launch: Launch, shown: Sequence[str]) -> Markup:
    heads = ["phase", "seconds", *map(names.scope, shown)]
    caption = f"Phases of launch {launch.index}: length and gross energy."
    full_table = table(heads, _phase_rows(launch, shown), caption)
    lacking = words.gaps(launch, shown)
    reasons = tag("ul", *(tag("li", f"{what}: {why}") for what, why in lacking), class_="note")
    summary = tag("summary", f"Launch {launch.index}")
    first = {"open": ""} if launch.index == 0 else {}
    return tag("details", summary, full_table, reasons if lacking else "", **first)


def _phase_rows(launch: Launch, shown: Sequence[str]) -> Iterator[list[object]]:
    for phase in words.in_order(launch.phases):
        inner = phase.name in INSIDE
        pieces = f" ({phase.pieces} pieces)" if phase.pieces > 1 else ""
        yield [
            join(["↳ " if inner else "", words.phase_name(phase), tag("small", pieces)]),
            f"{phase.duration_s:.2f}",
            *(energy(phase.of(s)) for s in shown),
        ]
