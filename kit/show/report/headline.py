"""The top of the page: the primary number, a replay's verdicts, and the notices."""

from __future__ import annotations

from markupsafe import Markup

from kit.energy import names, reasons
from kit.energy.reasons import sentence
from kit.energy.results.document import Metric, Outputs, Results
from kit.judge.compare import GOOD, Axis, Comparison
from kit.show.mean import LEGEND, interval, mean, pieces
from kit.show.report.parts import join, section, slug, table, tag, text
from kit.show.report.words import unequal


def work(results: Results) -> Markup:
    """That the run is no equal work, before any number; empty if it is."""
    why = unequal(results)
    return tag("p", f"Not equal work: {why}", class_="lead") if why else Markup()


def tiles(results: Results) -> Markup:
    metrics = results.all_metrics
    chosen = [k for k in metrics if k.endswith(("_energy_per_output_token", "_energy_per_image"))]
    chosen = [k for k in chosen if metrics[k].status != "unmeasured"] or chosen[:1]
    of_texts, of_images = ("output_throughput", "ttft_p50"), ("image_throughput", "e2e_p50")
    rest = of_texts if of_texts[0] in metrics else of_images
    primary = results.primary
    wanted = [primary, *(k for k in ("outputs", *chosen, *rest) if k != primary)]
    return join(
        [
            tag("div", *(_tile(k, metrics[k], k == primary) for k in wanted), class_="tiles"),
            tag("p", LEGEND, class_="note"),
        ]
    )


def _tile(name: str, metric: Metric | Outputs, primary: bool) -> Markup:
    return tag(
        "div",
        tag("p", names.metric(name), class_="label"),
        tag("p", _value(metric), class_="value"),
        tag("p", _spread(metric), class_="note"),
        tag("p", "primary metric", class_="tagline") if primary else "",
        class_="tile primary" if primary else "tile",
    )


def _value(metric: Metric | Outputs) -> Markup:
    if isinstance(metric, Outputs) and metric.agree is not None:
        if len(metric.launches) == 1:
            return text("not compared")
        return text("all launches agree" if metric.agree else "launches differ")
    words = pieces(metric) if isinstance(metric, Metric) else None
    if words is None:
        return tag("span", "unmeasured", class_="absent")
    shown = [text(words.value), tag("small", f" {words.unit}")]
    if metric.status == "estimated":
        shown.append(tag("b", " estimated", class_="estimated"))
    return join(shown)


def _spread(metric: Metric | Outputs) -> str:
    if metric.status == "unmeasured":
        return sentence(metric.reason)
    if isinstance(metric, Outputs):
        several = len(metric.launches) > 1
        return (
            f"{len(metric.launches)} launches, text by text"
            if several
            else "one launch: nothing to compare it with"
        )
    words = pieces(metric)
    spread = words.spread if words else ""
    return f"{spread}; {interval(metric)}" if metric.ci95 else spread


def verdicts(judged: Comparison) -> Markup:
    axes = [a for a in judged.axes if a.ratio is not None or a.verdict != "NOT-COMPARABLE"]
    silent = [names.metric(a.metric) for a in judged.axes if a not in axes]
    rows = [
        (names.metric(a.metric), *_sides(a), _ratio(a), _badge(a.verdict), a.reason) for a in axes
    ]
    machines = _LIKENESS[judged.likeness]
    return section(
        "Replay",
        tag("p", judged.primary.line(), class_="lead"),
        table(
            ["axis", "original", "replay", "ratio, 90% interval, margin", "verdict", "why"],
            rows,
            "Verdicts of the replay on each axis.",
            numeric=9,
        ),
        tag("p", f"Not compared, because a side has no number: {', '.join(silent)}.", class_="note")
        if silent
        else "",
        tag("p", f"Image: {judged.image.lower()}. Machines: {machines}.", class_="note"),
        table(
            ["differs", "original", "replay"],
            judged.differences,
            "What differs between the two runs.",
            numeric=9,
        )
        if judged.differences
        else "",
    )


def _sides(axis: Axis) -> tuple[str, str]:
    """The two means of an axis; outputs have none."""
    there, here = (mean(side) if side else "" for side in (axis.original, axis.new))
    return there, here


def _ratio(axis: Axis) -> str:
    """The number of an axis without its name and verdict."""
    return axis.number().removeprefix("×")


_LIKENESS = {
    "same_card": "the very same",
    "same_model": "the same models and settings",
    "elsewhere": "the same models, other settings",
    "other_model": "other models",
}


def _badge(verdict: str) -> Markup:
    kind = "complete" if verdict in GOOD else "failed" if verdict in ("DIFFERENT", "FAILED") else ""
    return tag("span", verdict, class_=f"badge {kind}")


_FEW = 5  # notices in the summary: more of them would not leave it on one page


def believe(results: Results) -> Markup:
    """What to know before believing a number, for the summary."""
    every = _notices(results)
    if not every:
        return Markup("")
    shown = every if len(every) <= _FEW else every[: _FEW - 1]
    left = len(every) - len(shown)
    more = [tag("li", tag("a", f"{left} more notices", href=f"#{slug(NOTICES)}"))] if left else []
    return join(
        [tag("h2", "Before you believe a number"), tag("ul", *shown, *more, class_="notices")]
    )


def notices(results: Results) -> Markup:
    """Every notice, where the summary has no room for them."""
    every = _notices(results)
    return section(NOTICES, tag("ul", *every, class_="notices")) if len(every) > _FEW else join([])


NOTICES = "All notices"


def _notices(results: Results) -> list[Markup]:
    sentences = reasons.notices(results.notices, len(results.launches))
    return [tag("li", tag("code", n.code), " ", n.message) for n in sentences]
