"""Checks of a run's energy: steady state, cross-check, joules per token."""

from __future__ import annotations

from collections.abc import Iterator

from markupsafe import Markup

from kit.energy import names
from kit.energy.results.document import Launch, Results, Split
from kit.energy.steady import Rule
from kit.show import rounding
from kit.show.report import words
from kit.show.report.parts import absent, section, table, tag


def split(results: Results) -> Markup:
    """Joules of a prefill and of a decode token by difference of workloads, or why not; empty for
    a run of images, which decode none."""
    if not results.metrics.keys() & names.OF_TEXTS:
        return Markup()
    loaded = names.phase("loaded_idle")
    heads = ["scope", "per prefill token", "per decode token", loaded, "by difference of"]
    rows = [_split_row(scope, split) for scope, split in results.split.items()]
    return section(
        "Joules per prefill and decode token",
        table(heads, rows, "Energy of a prefill and of a decode token."),
        note="By difference of workloads: least squares over whole requests of different lengths, "
        "above the loaded idle server. It separates the two phases where they are too short to "
        "be measured by themselves. ± is the standard uncertainty of the fit: how far the "
        "launches differ, then what the sensor's gain adds.",
    )


def _split_row(scope: str, split: Split) -> list[object]:
    base = split.baseline_w
    if base is None:
        return [names.scope(scope), absent(split.reason)]
    return [
        names.scope(scope),
        words.per_token(split.prefill_j_per_token),
        words.per_token(split.decode_j_per_token),
        f"{rounding.with_u(base.value, base.u)} W",
        words.split_over(split),
    ]


def checks(results: Results, rule: Rule) -> Markup:
    """Steady state of each GPU with its slopes, and the cross-check of its two views."""
    launches = results.launches
    steady = [row for launch in launches for row in _steady_rows(launch)]
    if not steady:
        return section(
            "Steady state and cross-check", tag("p", absent("no GPU was read"), class_="note")
        )
    heads = ["GPU", "launch", "where", "state", "temperature", "power", "clocks held by"]
    crossed = [
        [gpu, launch.index, words.cross_check(check)]
        for launch in launches
        for gpu, check in launch.cross_check.items()
    ]
    why = [tag("li", line) for launch in launches for line in words.unsteady(launch)]
    return section(
        "Steady state and cross-check",
        table(
            heads, steady, "Steady state of each GPU, in and before the measured blocks.", numeric=9
        ),
        tag("ul", *why, class_="note") if why else "",
        table(
            ["device", "launch", "measured block"],
            crossed,
            "Two views of one energy: the energy counter and the power readings.",
            numeric=9,
        ),
        note="A card that still warms up draws more for the same work. Steady: over "
        f"{rule.window_s:g} s the temperature moves by at most {rule.temperature_c_per_min:g} "
        f"°C/min and the power by {rule.power_percent_per_min:g} %/min. Slopes with their "
        "standard error, by least squares through means of a second.",
    )


def _steady_rows(launch: Launch) -> Iterator[list[object]]:
    for gpu, places in launch.steady.items():
        for place, judged in places.items():
            yield [
                gpu,
                launch.index,
                words.PLACES[place],
                tag("b", words.STATES[judged.status]),
                words.temperature(judged),
                words.power(judged),
                words.masks(judged),
            ]
