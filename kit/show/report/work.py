"""The work that was done: latency, launches and their texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kit.show.report.parts import Html, section, table, tag
from kit.show.report.rounding import number


def latency(results: Mapping[str, Any]) -> Html:
    rows = []
    for launch in results["launches"]:
        for since in ("sent", "intended"):
            for name, of in launch["latency"][since].items():
                rows.append(_percentile_row(f"{name.upper()} from {since}", launch, of))
        rows.append(_percentile_row("ITL (by chunk)", launch, launch["latency"]["itl"]))
    return section(
        "Latency",
        table(["", "launch", "n", "p50", "p90", "p95", "p99"], rows),
        note="In milliseconds, over the requests of one launch, which are not independent: no "
        "interval is given, and a percentile only if enough requests support it. The scatter "
        "between launches is given with the means of the medians above.",
    )


def _percentile_row(name: str, launch: Mapping[str, Any], of: Mapping[str, Any]) -> list[object]:
    values = [of.get(f"p{p}") for p in (50, 90, 95, 99)]
    shown = [tag("span", "–", class_="absent") if v is None else f"{v * 1e3:.2f}" for v in values]
    return [name, launch["launch"], of["n"], *shown]


def launches(results: Mapping[str, Any]) -> Html:
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
