"""What a reader sees first: the primary number, a replay's verdicts, and the notices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kit.compare import GOOD, Axis, Comparison
from kit.report.parts import Html, join, section, table, tag, text
from kit.report.rounding import digits_for, number, spread
from kit.report.words import metric_name


def tiles(results: Mapping[str, Any]) -> Html:
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


def _value(metric: Mapping[str, Any]) -> Html:
    if metric["status"] == "unmeasured":
        return tag("span", "unmeasured", class_="absent")
    if "agree" in metric:
        if len(metric["launches"]) == 1:
            return text("not compared")
        return text("all launches agree" if metric["agree"] else "launches differ")
    shown = [*_scaled(metric)]
    if metric["status"] == "estimated":
        shown.append(tag("b", " estimated", class_="estimated"))
    return join(shown)


def _scaled(metric: Mapping[str, Any]) -> tuple[str, Html]:
    """Milliseconds and millijoules where the base unit would begin with zeros."""
    value, unit = metric["value"], metric["unit"]
    digits = digits_for(metric, "value")
    if unit in ("s", "J") and abs(value) < 0.1:
        value, unit = value * 1000, f"m{unit}"
    return number(value, digits), tag("small", f" {unit}")


def _spread(metric: Mapping[str, Any]) -> str:
    if metric["status"] == "unmeasured":
        return str(metric["reason"])
    if "agree" in metric:
        several = len(metric["launches"]) > 1
        return (
            f"{len(metric['launches'])} launches, text by text"
            if several
            else "one launch: nothing to compare it with"
        )
    scale = 1000 if metric["unit"] in ("s", "J") and abs(metric["value"]) < 0.1 else 1
    own = [" ".join(spread(metric, scale))] if "u_reading" in metric else []
    if "ci95" not in metric:
        return "; ".join([*own, "one launch: no interval"])
    low, high = (number(end * scale) for end in metric["ci95"])
    return "; ".join([*own, f"95% [{low}, {high}], {metric['n']} launches"])


def verdicts(judged: Comparison) -> Html:
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


def notices(results: Mapping[str, Any]) -> Html:
    notices = results["notices"]
    if not notices:
        return Html("")
    rows = [tag("li", tag("code", n["code"]), " ", n["message"]) for n in notices]
    return section("Before you believe a number", tag("ul", *rows, class_="notices"))
