"""The work that was done: latency, launches and their texts."""

from __future__ import annotations

from markupsafe import Markup

from kit.energy.results.document import Launch, Percentiles, Results
from kit.energy.results.requests import LATENCIES
from kit.show.report.parts import section, table, tag
from kit.show.rounding import number


def latency(results: Results) -> Markup:
    rows = []
    for launch in results.launches:
        latencies = launch.latency
        for since, of in (("sent", latencies.sent), ("intended", latencies.intended)):
            for name in LATENCIES:
                title = f"{name.upper()} from {since}"
                rows.append(_percentile_row(title, launch, getattr(of, name)))
        rows.append(_percentile_row("ITL (by chunk)", launch, latencies.itl))
    return section(
        "Latency",
        table(
            ["latency", "launch", "n", "p50", "p90", "p95", "p99"],
            rows,
            "Latency of the requests of each launch, in milliseconds.",
        ),
        note="In milliseconds, over the requests of one launch, which are not independent: no "
        "interval is given, and a percentile only if enough requests support it. The scatter "
        "between launches is given with the means of the medians above.",
    )


def _percentile_row(name: str, launch: Launch, of: Percentiles) -> list[object]:
    values = (of.p50, of.p90, of.p95, of.p99)
    shown = [tag("span", "–", class_="absent") if v is None else f"{v * 1e3:.2f}" for v in values]
    return [name, launch.index, of.n, *shown]


def launches(results: Results) -> Markup:
    rows = []
    for launch in results.launches:
        counts, rate = launch.counts, launch.throughput.output_tokens_per_s
        rows.append(
            [
                f"launch {launch.index}",
                f"{counts.completed} of {counts.issued}",
                _counted(counts.prompt_tokens),
                _counted(counts.output_tokens),
                _counted(None if rate is None else number(rate)),
                tag("code", (launch.outputs_sha256 or "none")[:12]),
            ]
        )
    heads = [
        "launch",
        "requests answered",
        "prompt tokens",
        "output tokens",
        "tokens/s",
        "texts (sha256)",
    ]
    return section("Launches", table(heads, rows, "Requests and tokens of each launch."))


def _counted(value: object) -> object:
    return tag("span", "not counted", class_="absent") if value is None else value
