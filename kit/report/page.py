"""The report's page: what a run was, what it measured, and how to check it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kit import __version__
from kit.compare import GOOD, Axis, Comparison
from kit.model import ImageIdentity
from kit.records import RunRecords
from kit.report import chart
from kit.report.parts import Html, energy, facts, join, number, section, table, tag, text
from kit.units import SCOPES

_STYLE = Path(__file__).with_name("style.css")
_INSIDE = ("prefill", "decode", "mixed")
_NAMES = {
    "outputs": "outputs",
    "ttft_p50": "time to first token, median",
    "tpot_p50": "time per output token, median",
    "e2e_p50": "request, median",
    "output_throughput": "output throughput",
}
_PER = {"output_token": "per output token", "request": "per request"}


def html(
    name: str, records: RunRecords, results: Mapping[str, Any], judged: Comparison | None = None
) -> str:
    """The whole page, in one file that needs nothing else.

    Args:
        name: the run's hash.
        results: as computed from ``records`` (never as stored, which may be forged).
        judged: the verdicts, where the run is a replay.
    """
    body = join(
        [
            _header(name, records),
            _tiles(results),
            _verdicts(judged) if judged else "",
            _notices(results),
            _power(records),
            _phases(results),
            _latency(results),
            _launches(results),
            _unmeasured(results),
            _what_ran(records),
            _environment(records),
            _how_to_check(name),
            _footer(results),
        ]
    )
    title = f"{text(records.spec.name)} · kit"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">"
        f"<title>{title}</title><style>{_STYLE.read_text('utf-8')}</style></head>"
        f"<body><main>{body}</main></body></html>\n"
    )


def _header(name: str, records: RunRecords) -> Html:
    first = records.events[0].data if records.events else {}
    last = records.events[-1].data if records.events else {}
    status = str(last.get("status", "unfinished"))
    reason = str(last.get("reason", ""))
    return tag(
        "header",
        tag("p", "kit · sealed run ", tag("code", name[:12]), class_="kicker"),
        tag("h1", records.spec.name, " ", tag("span", status, class_=f"badge {status}")),
        tag("p", records.spec.description, class_="lead") if records.spec.description else "",
        tag("p", reason, class_="fault") if reason else "",
        tag(
            "p",
            f"{records.spec.runtime.name} · {_model(records)} · "
            f"{records.spec.launches} launches · {first.get('utc', '')}",
            class_="note",
        ),
    )


def _model(records: RunRecords) -> str:
    return records.spec.weights.repo if records.spec.weights else "no model"


# --- headline -------------------------------------------------------------------------------


def _tiles(results: Mapping[str, Any]) -> Html:
    metrics = results["metrics"]
    chosen = [k for k in metrics if k.endswith("_energy_per_output_token")]
    chosen = [k for k in chosen if metrics[k]["status"] != "unmeasured"] or chosen[:1]
    wanted = ["outputs", *chosen, "output_throughput", "ttft_p50"]
    primary = results["primary"]["metric"]
    wanted = [primary, *(k for k in wanted if k != primary)]
    return tag("div", *(_tile(k, metrics[k], k == primary) for k in wanted), class_="tiles")


def _tile(name: str, metric: Mapping[str, Any], primary: bool) -> Html:
    return tag(
        "div",
        tag("p", metric_name(name), class_="label"),
        tag("p", _value(metric), class_="value"),
        tag("p", _spread(metric), class_="note"),
        tag("p", "primary metric", class_="tagline") if primary else "",
        class_="tile primary" if primary else "tile",
    )


def metric_name(name: str) -> str:
    """A metric's name in words."""
    scope, _, per = name.partition("_energy_per_")
    if per:
        return f"energy {_PER[per]}, {SCOPES[scope]}"
    return _NAMES.get(name, name)


def _value(metric: Mapping[str, Any]) -> Html:
    if metric["status"] == "unmeasured":
        return tag("span", "unmeasured", class_="absent")
    if "agree" in metric:
        return text("all launches agree" if metric["agree"] else "launches differ")
    shown = [*_scaled(metric["value"], metric["unit"])]
    if metric["status"] == "estimated":
        shown.append(tag("b", " estimated", class_="estimated"))
    return join(shown)


def _scaled(value: float, unit: str) -> tuple[str, Html]:
    """Milliseconds and millijoules where the base unit would begin with zeros."""
    if unit in ("s", "J") and abs(value) < 0.1:
        value, unit = value * 1000, f"m{unit}"
    return number(value), tag("small", f" {unit}")


def _spread(metric: Mapping[str, Any]) -> str:
    if metric["status"] == "unmeasured":
        return str(metric["reason"])
    if "agree" in metric:
        return f"{len(metric['launches'])} launches, text by text"
    if "ci95" not in metric:
        return "one launch: no interval"
    scale = 1000 if metric["unit"] in ("s", "J") and abs(metric["value"]) < 0.1 else 1
    low, high = (number(end * scale) for end in metric["ci95"])
    return f"95% [{low}, {high}], {metric['n']} launches"


# --- verdicts and notices ---------------------------------------------------------------------


def _verdicts(judged: Comparison) -> Html:
    told = [a for a in judged.axes if a.ratio is not None or a.verdict != "NOT-COMPARABLE"]
    silent = [metric_name(a.metric) for a in judged.axes if a not in told]
    rows = [(metric_name(a.metric), _ratio(a), _badge(a.verdict), a.reason) for a in told]
    machines = _LIKENESS[judged.likeness]
    return section(
        "Replay",
        tag("p", judged.primary.line(), class_="lead"),
        table(["axis", "ratio, 90% interval, margin", "verdict", "why"], rows, numeric=9),
        tag("p", f"Not compared, because a side has no number: {', '.join(silent)}.", class_="note")
        if silent
        else "",
        tag("p", f"Image: {judged.image.lower()}. Machines: {machines}.", class_="note"),
        table(["differs", "original", "replay"], judged.differences, numeric=9)
        if judged.differences
        else "",
    )


def _ratio(axis: Axis) -> str:
    """The number of an axis without its name and verdict."""
    return axis.line().partition(" → ")[0].partition("×")[2].strip()


_LIKENESS = {
    "same_card": "the very same",
    "same_model": "the same models and settings",
    "elsewhere": "the same models, other settings",
    "other_model": "other models",
}


def _badge(verdict: str) -> Html:
    kind = "complete" if verdict in GOOD else "failed" if verdict in ("DIFFERENT", "FAILED") else ""
    return tag("span", verdict, class_=f"badge {kind}")


def _notices(results: Mapping[str, Any]) -> Html:
    notices = results["notices"]
    if not notices:
        return Html("")
    rows = [tag("li", tag("code", n["code"]), " ", n["message"]) for n in notices]
    return section("Before you believe a number", tag("ul", *rows, class_="notices"))


# --- power and phases -------------------------------------------------------------------------


def _power(records: RunRecords) -> Html:
    drawn = chart.power(records)
    if drawn is None:
        return section("Power over time", tag("p", "No meter told power.", class_="absent"))
    estimated = any(m.name == "estimate" and m.devices for m in records.plan.meters)
    note = "Dashed: estimated from CPU time and published watts, not measured." if estimated else ""
    return section("Power over time", tag("figure", Html(drawn), class_="scroll"), note=note)


def _phases(results: Mapping[str, Any]) -> Html:
    scopes = _measured_scopes(results)
    tables = []
    for launch in results["launches"]:
        whole = table(
            ["phase", "thesis' name", "seconds", *(SCOPES[s] for s in scopes)],
            [*_phase_rows(launch, scopes), *_net_rows(launch, scopes)],
            numeric=2,
        )
        summary = tag("summary", f"Launch {launch['launch']}")
        first = {"open": ""} if launch["launch"] == 0 else {}
        tables.append(tag("details", summary, whole, **first))
    note = (
        "Energy with its uncertainty: what would scatter if repeated, and what the sensor (or the "
        "model of an estimate) may be wrong by. The thesis defines its response phase twice; here "
        "it is decode alone."
    )
    if not scopes:
        note = "No energy was measured or estimated; the durations stand."
    return section("Phases", *tables, note=note)


def _measured_scopes(results: Mapping[str, Any]) -> list[str]:
    phases = [p for launch in results["launches"] for p in launch["phases"]]
    return [s for s in SCOPES if any(p["energy"][s]["status"] != "unmeasured" for p in phases)]


def _phase_rows(launch: Mapping[str, Any], scopes: Sequence[str]) -> Iterator[list[object]]:
    for phase in _in_order(launch["phases"]):
        name = phase["phase"].replace("_", " ")
        part = f", {phase['part']}" if phase["part"] else ""
        inner = phase["phase"] in _INSIDE
        pieces = f" ({phase['pieces']} pieces)" if phase["pieces"] > 1 else ""
        yield [
            join(["↳ " if inner else "", name, part, tag("small", pieces)]),
            phase["alias"] or "",
            f"{phase['duration_s']:.2f}",
            *(energy(phase["energy"][s]) for s in scopes),
        ]


def _in_order(phases: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """The blocks as they followed one another, what lies inside the measured one below it."""
    inside = [p for p in phases if p["phase"] in _INSIDE]
    for phase in phases:
        if phase["phase"] not in _INSIDE:
            yield phase
        if phase["phase"] == "measured":
            yield from inside


def _net_rows(launch: Mapping[str, Any], scopes: Sequence[str]) -> Iterator[list[object]]:
    for key, words in (
        ("above_idle", "measured, above idle"),
        ("above_loaded_idle", "measured, above loaded idle"),
    ):
        cells = [energy(launch["net"][s][key]) for s in scopes]
        yield [tag("i", words), "", "", *cells]


# --- latency, launches, what is missing -------------------------------------------------------


def _latency(results: Mapping[str, Any]) -> Html:
    rows = []
    for launch in results["launches"]:
        for since in ("sent", "intended"):
            for name, of in launch["latency"][since].items():
                rows.append(_percentile_row(f"{name.upper()} from {since}", launch, of))
        rows.append(_percentile_row("ITL (by chunk)", launch, launch["latency"]["itl"]))
    return section(
        "Latency",
        tag(
            "details",
            tag("summary", "Percentiles of every launch"),
            table(["", "launch", "n", "p50", "p90", "p95", "p99"], rows),
        ),
        note="In milliseconds. A percentile is told only when enough requests support it.",
    )


def _percentile_row(name: str, launch: Mapping[str, Any], of: Mapping[str, Any]) -> list[object]:
    values = [of.get(f"p{p}") for p in (50, 90, 95, 99)]
    shown = [tag("span", "–", class_="absent") if v is None else f"{v * 1e3:.2f}" for v in values]
    return [name, launch["launch"], of["n"], *shown]


def _launches(results: Mapping[str, Any]) -> Html:
    rows = []
    for launch in results["launches"]:
        counts, rate = launch["requests"], launch["throughput"].get("output_tokens_per_s")
        rows.append(
            [
                f"launch {launch['launch']}",
                f"{counts['completed']} of {counts['issued']}",
                _known(counts["prompt_tokens"]),
                _known(counts["output_tokens"]),
                _known(None if rate is None else number(rate)),
                tag("code", (launch["outputs_sha256"] or "none")[:12]),
            ]
        )
    heads = [
        "",
        "requests answered",
        "prompt tokens",
        "output tokens",
        "tokens/s",
        "texts (sha256)",
    ]
    return section("Launches", table(heads, rows))


def _known(value: object) -> object:
    return tag("span", "not counted", class_="absent") if value is None else value


def _unmeasured(results: Mapping[str, Any]) -> Html:
    rows = [
        (SCOPES[name.partition("_energy_")[0]], metric["reason"])
        for name, metric in results["metrics"].items()
        if name.endswith("_energy_per_request") and metric["status"] == "unmeasured"
    ]
    if not rows:
        return Html("")
    return section("Not measured", table(["what", "why"], rows, numeric=9))


# --- what ran, and how to check ---------------------------------------------------------------


def _what_ran(records: RunRecords) -> Html:
    spec, plan = records.spec, records.plan
    files = spec.weights.files if spec.weights else ()
    arrivals = spec.arrivals
    clients = "one client" if arrivals.concurrency == 1 else f"{arrivals.concurrency} clients"
    how = f"{arrivals.rate:g} requests/s" if arrivals.rate else clients
    return section(
        "What ran",
        facts(
            [
                ("runtime", spec.runtime.name),
                ("arguments", tag("code", " ".join(plan.launch.argv))),
                *_image(plan.image, plan.image_match),
                *((f.path, tag("code", f"sha256:{f.sha256}")) for f in files),
                ("work", f"{plan.requests} requests a launch, {arrivals.kind}, {how}"),
                ("network", f"{plan.launch.network}; egress: {plan.launch.egress}"),
                (
                    "CPUs",
                    f"runtime {plan.launch.runtime_cpus}, driver {plan.launch.driver_cpus}, "
                    f"sampler {plan.launch.sampler_cpus}",
                ),
            ]
        ),
    )


def _image(image: ImageIdentity, match: str) -> list[tuple[str, object]]:
    return [
        ("image", f"{image.reference} ({match} to what the spec pins)"),
        ("image id", tag("code", image.image_id)),
    ]


def _environment(records: RunRecords) -> Html:
    return section(
        "Environment",
        tag(
            "details",
            tag("summary", "At the start of the run"),
            facts(_flat(records.env_start)),
        ),
        note="Devices go by aliases; host name and UUIDs are withheld.",
    )


def _flat(value: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, object]]:
    for key, child in value.items():
        name = f"{path}.{key}" if path else str(key)
        if isinstance(child, Mapping) and set(child) == {"absent"}:
            yield name, tag("span", f"absent: {child['absent']}", class_="absent")
        elif isinstance(child, Mapping):
            yield from _flat(child, name)
        else:
            yield name, ", ".join(map(str, child)) if isinstance(child, list) else child


def _how_to_check(name: str) -> Html:
    commands = f"kit verify {name[:12]}\nkit replay {name[:12]}\nkit show {name[:12]}"
    return section(
        "Check it yourself",
        tag("pre", commands),
        tag("p", "The run's hash: ", tag("code", name)),
        note="verify needs neither Docker nor GPU: it hashes every file and computes every number "
        "again. replay runs the same spec and judges the two with statistics.",
    )


def _footer(results: Mapping[str, Any]) -> Html:
    return tag(
        "footer",
        f"kit {__version__} · formulas {results['formulas']} · every number on this page was "
        "computed from the raw records when the page was made",
    )
