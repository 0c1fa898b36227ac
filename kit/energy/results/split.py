"""Joules per prefill and per decode token by difference of workloads, over all launches.

For phases too short to be measured by themselves: whole requests are long enough, and where their
prompts and answers differ in length, `kit.energy.regression` tells what a token of each adds above
the loaded idle server. The scatter between launches is in its error.
"""

from __future__ import annotations

import math
from typing import Any

from kit.core.model import Request
from kit.core.reason import Reason
from kit.energy import Energy
from kit.energy.regression import Estimate, Refused, Work, over_launches
from kit.energy.results.requests import measured
from kit.energy.results.windows import find, hypot, needed_s, seconds
from kit.record.records import RunRecords

SCOPES = ("gpu", "cpu")
Document = dict[str, Any]


def split(records: RunRecords, energy: Energy, launches: list[Document]) -> Document:
    """By scope: J per prompt token and per output token above loaded idle, or why not."""
    return {scope: _scope(records, energy, launches, scope) for scope in SCOPES}


def _unmeasured(reason: Reason) -> Document:
    return {"status": "unmeasured", "reason": reason}


def _scope(records: RunRecords, energy: Energy, launches: list[Document], scope: str) -> Document:
    if records.spec.arrivals.concurrency > 1 or records.spec.arrivals.kind != "closed":
        return _unmeasured(Reason("overlapping"))
    work: list[list[Work]] = []
    for launch in launches:
        found = [_work(energy, r, scope) for r in measured(records, launch["launch"])]
        missing = next((w for w in found if isinstance(w, Reason)), None)
        if missing:
            return _unmeasured(missing)
        work.append([w for w in found if isinstance(w, Work)])
    baseline = _baseline(launches, scope)
    if baseline is None:
        return _unmeasured(Reason("baseline_unmeasured"))
    fitted = over_launches([own for own in work if own], baseline)
    if isinstance(fitted, Refused):
        return _unmeasured(fitted.reason)
    gain = _gain(launches, scope)
    return {
        "status": "measured",
        "prefill_j_per_token": _estimate(fitted.prefill, gain),
        "decode_j_per_token": _estimate(fitted.decode, gain),
        "baseline_w": {"value": fitted.baseline_w.value, "u": fitted.baseline_w.u},
        "condition": fitted.condition,
        "windows": fitted.windows,
        "launches": fitted.launches,
        "df": fitted.prefill.df,
    }


def _estimate(estimate: Estimate, gain: float) -> Document:
    return {"value": estimate.value, "u": estimate.u, "u_sensor": abs(estimate.value) * gain}


def _gain(launches: list[Document], scope: str) -> float:
    """The sensor's relative error of gain; its offset is in the baseline too, and drops out."""
    blocks = [block for launch in launches if (block := find(launch["phases"], "measured", None))]
    energies = [b["energy"][scope] for b in blocks if b["energy"][scope].get("joules")]
    return max((e["terms"].get("gain", 0.0) / abs(e["joules"]) for e in energies), default=0.0)


def _work(energy: Energy, request: Request, scope: str) -> Work | Reason:
    """One request as a window of work, or why it cannot be one."""
    times = request.sent, request.first_token, request.last_token
    counts = request.prompt_tokens, request.output_tokens
    if request.status != "ok" or None in times or None in counts:
        return Reason("request_unusable")
    sent, first, last = (int(t or 0) for t in times)
    value = next((v for v in energy.of(sent, last) if v.scope == scope), None)
    if value is None:
        return Reason("no_meter")
    if value.joules is None:
        assert value.reason is not None
        return value.reason
    needed = needed_s(value)
    if seconds(sent, last) < needed:
        return Reason("request_short", seconds=seconds(sent, last), needed_s=needed)
    return Work(
        prompt_tokens=float(counts[0] or 0) - float(request.cached_tokens or 0),
        output_tokens=float(counts[1] or 0),
        prefill_s=seconds(sent, first),
        decode_s=seconds(first, last),
        seconds=seconds(sent, last),
        joules=value.joules,
        u_joules=value.u_reading or 0.0,
    )


def _baseline(launches: list[Document], scope: str) -> tuple[float, float] | None:
    """Mean power of all loaded idle blocks and its standard uncertainty, W."""
    blocks = [
        block
        for launch in launches
        for part in ("before", "after")
        if (block := find(launch["phases"], "loaded_idle", part)) and block["duration_s"] > 0
    ]
    if not blocks or any(b["energy"][scope]["status"] == "unmeasured" for b in blocks):
        return None
    watts = [b["energy"][scope]["joules"] / b["duration_s"] for b in blocks]
    scatter = hypot(b["energy"][scope]["u_reading"] / b["duration_s"] for b in blocks) / len(blocks)
    mean = math.fsum(watts) / len(watts)
    if len(watts) > 1:
        spread = math.fsum((w - mean) ** 2 for w in watts) / (len(watts) - 1) / len(watts)
        scatter = max(scatter, math.sqrt(spread))
    return mean, scatter
