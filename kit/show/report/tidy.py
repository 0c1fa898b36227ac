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
from kit.energy.reasons import sentence

Document = Mapping[str, Any]
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


def phases(results: Document) -> str:
    """Every phase of every launch, a row for each scope."""
    return _csv(PHASES, (row for launch in results["launches"] for row in _phases(launch)))


def metrics(results: Document) -> str:
    """Every metric over launches and of each, then nets, cross-checks and the split."""
    numbers = [launch["launch"] for launch in results["launches"]]
    named = results["metrics"].items()
    rows = [row for name, found in named for row in _metric(name, found, numbers)]
    for launch in results["launches"]:
        rows += [*_nets(launch), *_crossed(launch)]
    rows += [row for scope, found in results["split"].items() for row in _split(scope, found)]
    return _csv(METRICS, rows)


def _phases(launch: Document) -> Iterator[Document]:
    for phase in launch["phases"]:
        for scope, energy in phase["energy"].items():
            yield {
                **_energy(energy),
                "launch": launch["launch"],
                "phase": phase["phase"],
                "part": phase["part"],
                "scope": scope,
                "duration_s": phase["duration_s"],
            }


def _energy(energy: Document) -> dict[str, Any]:
    return {
        "status": energy["status"],
        "joules": energy.get("joules"),
        "u_reading_j": energy.get("u_reading"),
        "u_sensor_j": energy.get("u_sensor"),
        "method": energy.get("method"),
        "reason": _why(energy),
    }


def _metric(name: str, found: Document, numbers: Sequence[int]) -> Iterator[Document]:
    """The summary first, then the value of each launch."""
    low, high = found.get("ci95") or (None, None)
    names = ("status", "unit", "se", "u_reading", "u_sensor", "n")
    kept = {name: found.get(name) for name in names} | {"reason": _why(found)}
    value = str(found["agree"]).lower() if "agree" in found else found.get("value")
    yield {"metric": name, **kept, "value": value, "ci95_low": low, "ci95_high": high}
    told = "measured" if found["status"] == "unmeasured" else found["status"]
    if name.startswith("estimate_"):
        told = "estimated"
    for launch, each in zip(numbers, found["launches"], strict=True):
        own = {"metric": name, "launch": launch, "unit": found["unit"], "value": each}
        if each is None:
            reason = _why(found) or "no value of this launch"
            yield own | {"status": "unmeasured", "reason": reason}
        else:
            yield own | {"status": told}


def _nets(launch: Document) -> Iterator[Document]:
    for scope in SCOPES:
        for key in NETS:
            net = launch["net"][scope][key]
            own = {"launch": launch["launch"], "status": net["status"]}
            yield own | {
                "metric": f"{scope}_energy_{key}",
                "value": net.get("joules"),
                "unit": "J",
                "u_reading": net.get("u_reading"),
                "u_sensor": net.get("u_sensor"),
                "reason": _why(net),
            }
            for name, u in (("baseline_w", None), ("drift_w", "u_drift_w")):
                if name in net:
                    power = {"value": net[name], "unit": "W", "u_reading": u and net.get(u)}
                    yield own | {"metric": f"{scope}_{key}_{name}"} | power


def _crossed(launch: Document) -> Iterator[Document]:
    for gpu, check in launch["cross_check"].items():
        yield {
            "metric": f"cross_check_{gpu}",
            "launch": launch["launch"],
            "status": check["status"],
            "value": check.get("ratio"),
            "unit": "1",
            "reason": _why(check),
        }


def _split(scope: str, found: Document) -> Iterator[Document]:
    for name in ("prefill_j_per_token", "decode_j_per_token"):
        told = found.get(name, {})
        yield {
            "metric": f"{scope}_{name}",
            "status": found["status"],
            "value": told.get("value"),
            "unit": "J",
            "se": told.get("u"),
            "u_sensor": told.get("u_sensor"),
            "n": found.get("windows"),
            "reason": _why(found),
        }


def _why(found: Document) -> str | None:
    """Why there is no number; None where there is one."""
    return sentence(found["reason"]) if "reason" in found else None


def _csv(columns: Sequence[str], rows: Iterable[Document]) -> str:
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
    told = clean(str(value)).replace("\n", " ")
    return f"'{told}" if told.startswith(_FORMULA) else told
