"""Energy on the page: of scopes, of the measured block with its budget, and of every phase."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kit.energy import names
from kit.energy.names import COMPARATORS, ENERGY_PER, NETS, SCOPES
from kit.record.phases import INSIDE
from kit.record.records import RunRecords
from kit.show.report import chart, rounding, words
from kit.show.report.mean import interval, pieces
from kit.show.report.parts import Html, absent, energy, join, section, table, tag, text

Document = Mapping[str, Any]
_READING = (
    "± (reading noise): what would scatter if the same stretch were read again, a small part of "
    "what scatters between launches. ± (sensor): what the sensor is wrong by every time, the same "
    "in two runs on one card; of an estimate, what its (model) may be wrong by. Standard "
    "uncertainties (68%)."
)


def scopes(results: Document) -> Html:
    """Per scope joules by token and by request, over launches; or why there are none."""
    token, request = (ENERGY_PER[per].full for per in ("output_token", "request"))
    heads = ["scope", token, request, f"95% interval, {token}"]
    rows = [_scope_row(results["metrics"], scope) for scope in SCOPES]
    return section("Energy by scope", table(heads, rows))


def _scope_row(metrics: Document, scope: str) -> list[object]:
    token = metrics[f"{scope}_energy_per_output_token"]
    request = metrics[f"{scope}_energy_per_request"]
    if token["status"] == request["status"] == "unmeasured":
        return [names.scope(scope), absent(token["reason"])]
    return [names.scope(scope), _mean(token), _mean(request), _interval(token)]


def _mean(metric: Document) -> Html:
    if metric["status"] == "unmeasured":
        return absent(metric["reason"])
    said = pieces(metric)
    told = [text(f"{said.value} {said.unit}")]
    if metric["status"] == "estimated":
        told += [text(" "), tag("b", "estimated", class_="estimated")]
    return join([*told, tag("small", said.spread, class_="below")])


def _interval(metric: Document) -> str:
    return interval(metric) if metric.get("ci95") else "none: one launch"


# --- the measured block -----------------------------------------------------------------------


def block(results: Document) -> Html:
    """Gross and net energy of every launch's measured block, and the budget of the first."""
    launches = [la for la in results["launches"] if words.block(la)]
    shown = [s for s in words.scopes(launches) if s in SCOPES]
    if not shown:
        return Html("")
    heads = ["scope", "launch", "gross", *NETS.values()]
    rows = [_block_row(launch, scope) for scope in shown for launch in launches]
    return section(
        "The measured block",
        table(heads, rows, numeric=2),
        *_budgets(launches[0], shown),
        note="Net energies take off what the machine draws anyway: the loaded but idle server "
        "(between the baseline before and the one after; drift is their difference), or the host "
        f"before the container. {_READING}",
    )


def _block_row(launch: Document, scope: str) -> list[object]:
    measured = words.block(launch)
    gross = measured["energy"][scope] if measured else {"status": "unmeasured"}
    nets = [launch["net"][scope][key] for key in NETS]
    return [
        names.scope(scope),
        launch["launch"],
        _energy_or_reason(gross),
        *(
            join([_energy_or_reason(n), tag("small", words.baseline(n), class_="below")])
            for n in nets
        ),
    ]


def _energy_or_reason(value: Document) -> Html:
    """Like `energy`, with the reason shown."""
    if value["status"] == "unmeasured":
        return absent(value.get("reason", ""))
    return energy(value)


def _budgets(launch: Document, shown: Sequence[str]) -> Iterator[Html]:
    measured = words.block(launch) or {"energy": {}}
    for scope in shown:
        of_scope = measured["energy"].get(scope, {})
        if not of_scope.get("terms"):
            continue
        number = launch["launch"]
        yield tag("h3", f"Uncertainty budget: {names.scope(scope)}, launch {number}")
        heads = [
            "where it comes from",
            "standard uncertainty",
            "share of variance",
            "over launches",
        ]
        yield table(heads, _budget_rows(of_scope))


def _budget_rows(of_scope: Document) -> Iterator[list[object]]:
    for what, u, share, does in words.budget(of_scope):
        yield [what, f"{rounding.number(u, 2)} J", rounding.share(share), does]
    for key, what in (("u_reading", "together: reading noise"), ("u_sensor", "together: sensor")):
        if of_scope.get(key) is not None:
            yield [tag("b", what), tag("b", f"{rounding.number(of_scope[key], 2)} J"), "", ""]


# --- another tool's account -------------------------------------------------------------------


def comparators(results: Document) -> Html:
    """Another tool's energy of the measured block, next to kit's scopes; nothing without one."""
    rows, said = [], dict[str, None]()
    for launch in results["launches"]:
        measured = words.block(launch)
        for name in COMPARATORS:
            told = measured["energy"].get(name) if measured else None
            if told:
                rows.append(_account(launch, names.scope(name), told))
                said |= {told["method"]: None} if told.get("method") else {}
    if not rows:
        return Html("")
    return section(
        "Another tool's account",
        table(["tool", "launch", "measured block", "by component"], rows, numeric=2),
        tag("ul", *(tag("li", method) for method in said), class_="note"),
        note="Measured or estimated, as the tool itself declares. It is shown next to kit's scopes "
        "and is part of none of them.",
    )


def _account(launch: Document, title: str, told: Document) -> list[object]:
    devices = told.get("devices") or {}
    parts = [f"{name} {rounding.number(j)} J" for name, j in devices.items()]
    return [title, launch["launch"], _energy_or_reason(told), ", ".join(parts)]


# --- power and phases -------------------------------------------------------------------------


def power(records: RunRecords) -> Html:
    """Every device's watts over the run."""
    drawn = chart.power(records)
    if drawn is None:
        return section("Power over time", tag("p", "No meter reported power.", class_="absent"))
    estimated = any(m.name == "estimate" and m.devices for m in records.plan.meters)
    note = "Dashed: estimated from CPU time and published watts, not measured." if estimated else ""
    return section("Power over time", tag("figure", Html(drawn), class_="scroll"), note=note)


def phases(results: Document) -> Html:
    """Every phase of every launch with its energy per scope."""
    shown = words.scopes(results["launches"])
    note = "" if shown else "No energy was measured or estimated; the durations are valid."
    return section("Phases", *(_launch(la, shown) for la in results["launches"]), note=note)


def _launch(launch: Document, shown: Sequence[str]) -> Html:
    heads = ["phase", "seconds", *map(names.scope, shown)]
    whole = table(heads, _phase_rows(launch, shown), numeric=1)
    lacking = words.gaps(launch, shown)
    reasons = tag("ul", *(tag("li", f"{what}: {why}") for what, why in lacking), class_="note")
    summary = tag("summary", f"Launch {launch['launch']}")
    first = {"open": ""} if launch["launch"] == 0 else {}
    return tag("details", summary, whole, reasons if lacking else "", **first)


def _phase_rows(launch: Document, shown: Sequence[str]) -> Iterator[list[object]]:
    for phase in words.in_order(launch["phases"]):
        inner = phase["phase"] in INSIDE
        pieces = f" ({phase['pieces']} pieces)" if phase["pieces"] > 1 else ""
        yield [
            join(["↳ " if inner else "", words.phase_name(phase), tag("small", pieces)]),
            f"{phase['duration_s']:.2f}",
            *(energy(phase["energy"].get(s, {"status": "unmeasured"})) for s in shown),
        ]
