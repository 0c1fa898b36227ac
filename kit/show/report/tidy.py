"""A run as tidy CSV: one row per launch, phase and scope; and one per metric and launch.

A cell without a number is empty, and ``reason`` says why. Columns of phases:

    launch        number of the launch, from 0
    phase, part   kit's names (`kit.record.phases`); part is before, after or empty
    scope         gpu, cpu, wall, estimate, or another tool's account (codecarbon)
    status        measured, estimated (also by the tool's own word) or unmeasured
    joules        gross energy (J); u_reading_j and u_sensor_j its standard uncertainties (J)
    duration_s    length of the phase (s)
    method        how the energy was computed

Columns of metrics:

    metric        as in results.json, then nets, baselines, cross-checks and the split
    launch        empty: the mean over all launches
    value, unit   the number; of ``outputs``, whether launches agree, or a launch's hash
    se            standard error of the mean over launches; of the split, that of its fit
    u_reading     standard uncertainty by reading noise, a part of what scatters between launches
    u_sensor      standard uncertainty by the sensor, which every launch shares
    ci95_low/high interval of the mean over launches; n: launches, or requests of the split
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from kit.core.text import clean
from kit.energy.names import NETS, SCOPES
from kit.energy.reason import Reason
from kit.energy.reasons import sentence
from kit.energy.results.document import Launch, Metric, Outputs, Results, Split
from kit.energy.value import EnergyValue

Row = Mapping[str, Any]
PHASES = (
    "launch",
    "phase",
    "part",
    "scope",
    "status",
    "joules",
    "u_reading_j",
    "u_sensor_j",
    "duration_s",
    "method",
    "reason",
)
METRICS = (
    "metric",
    "launch",
    "status",
    "value",
    "unit",
    "se",
    "u_reading",
    "u_sensor",
    "ci95_low",
    "ci95_high",
    "n",
    "reason",
)
_FORMULA = ("=", "+", "-", "@")  # beginnings of a text that a spreadsheet would take for a formula


def phases(results: Results) -> str:
    """Every phase of every launch, a row for each scope."""
    return as_csv(PHASES, (row for launch in results.launches for row in _phases(launch)))


def metrics(results: Results) -> str:
    """Every metric over launches and of each, then nets, cross-checks and the split."""
    numbers = [launch.index for launch in results.launches]
    named = results.all_metrics.items()
    rows = [row for name, metric in named for row in _metric(name, metric, numbers)]
    for launch in results.launches:
        rows += [*_nets(launch), *_crossed(launch)]
    rows += [row for scope, metric in results.split.items() for row in _split(scope, metric)]
    return as_csv(METRICS, rows)


def _phases(launch: Launch) -> Iterator[Row]:
    for phase in launch.phases:
        for scope, energy in phase.energy.items():
            yield {
                **_energy(energy),
                "launch": launch.index,
                "phase": phase.name,
                "part": phase.part,
                "scope": scope,
                "duration_s": phase.duration_s,
            }


def _energy(energy: EnergyValue) -> Row:
    return {
        "status": energy.status,
        "joules": energy.joules,
        "u_reading_j": energy.u_reading,
        "u_sensor_j": energy.u_sensor,
        "method": energy.method,
        "reason": _why(energy.reason),
    }


def _metric(name: str, metric: Metric | Outputs, numbers: Sequence[int]) -> Iterator[Row]:
    """The summary first, then the value of each launch."""
    why = _why(metric.reason)
    mean = _summed(metric) if isinstance(metric, Metric) else {"value": _agreed(metric)}
    yield {"metric": name, "status": metric.status, "unit": metric.unit, "reason": why, **mean}
    status = "measured" if metric.status == "unmeasured" else metric.status
    if name.startswith("estimate_"):
        status = "estimated"
    for launch, value in zip(numbers, metric.launches, strict=True):
        own = {"metric": name, "launch": launch, "unit": metric.unit, "value": value}
        if value is None:
            yield own | {"status": "unmeasured", "reason": why or "no value of this launch"}
        else:
            yield own | {"status": status}


def _agreed(outputs: Outputs) -> str | None:
    return None if outputs.agree is None else str(outputs.agree).lower()


def _summed(metric: Metric) -> Row:
    low, high = metric.ci95 or (None, None)
    names = ("value", "se", "u_reading", "u_sensor", "n")
    return {name: getattr(metric, name) for name in names} | {"ci95_low": low, "ci95_high": high}


def _nets(launch: Launch) -> Iterator[Row]:
    for scope in SCOPES:
        for key in NETS:
            net = launch.net[scope][key]
            own = {"launch": launch.index, "status": net.status}
            yield own | {
                "metric": f"{scope}_energy_{key}",
                "value": net.joules,
                "unit": "J",
                "u_reading": net.u_reading,
                "u_sensor": net.u_sensor,
                "reason": _why(net.reason),
            }
            powers = {"baseline_w": (net.baseline_w, None), "drift_w": (net.drift_w, net.u_drift_w)}
            for name, (value, u) in powers.items():
                if value is not None:
                    power = {"value": value, "unit": "W", "u_reading": u}
                    yield own | {"metric": f"{scope}_{key}_{name}"} | power


def _crossed(launch: Launch) -> Iterator[Row]:
    for gpu, check in launch.cross_check.items():
        yield {
            "metric": f"cross_check_{gpu}",
            "launch": launch.index,
            "status": check.status,
            "value": check.ratio,
            "unit": "1",
            "reason": _why(check.reason),
        }


def _split(scope: str, split: Split) -> Iterator[Row]:
    named = {"prefill": split.prefill_j_per_token, "decode": split.decode_j_per_token}
    for name, number in named.items():
        row = {
            "metric": f"{scope}_{name}_j_per_token",
            "status": split.status,
            "unit": "J",
            "n": split.windows,
            "reason": _why(split.reason),
        }
        cells = (
            {"value": number.value, "se": number.u, "u_sensor": number.u_sensor} if number else {}
        )
        yield row | cells


def _why(reason: Reason | None) -> str | None:
    """Why there is no number; None where there is one."""
    return None if reason is None else sentence(reason)


def as_csv(columns: Sequence[str], rows: Iterable[Row]) -> str:
    """Rows under ``columns``; a cell without a value is empty, and no text is a formula."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(row.get(column)) for column in columns])
    return out.getvalue()


def _cell(value: object) -> object:
    """A cell: a number as it is; text without control characters, never a formula."""
    if value is None or isinstance(value, int | float):
        return "" if value is None else value
    text = clean(str(value)).replace("\n", " ")
    return f"'{text}" if text.startswith(_FORMULA) else text
