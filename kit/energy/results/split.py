"""Joules per prefill and per decode token by difference of workloads, over all launches.

For phases too short to be measured by themselves: whole requests are long enough, and where their
prompts and answers differ in length, `kit.energy.regression` tells what a token of each adds above
the loaded idle server. The scatter between launches is in its error.
"""

from __future__ import annotations

import math

from kit.core.model import Request
from kit.energy import Energy
from kit.energy.reason import Reason
from kit.energy.regression import Estimate, Refused, Work, over_launches
from kit.energy.results.document import Fitted, Launch, Split, find
from kit.energy.results.requests import measured
from kit.energy.results.windows import hypot, needed_s, seconds
from kit.record.records import RunRecords

SCOPES = ("gpu", "cpu")


def split(records: RunRecords, energy: Energy, launches: list[Launch]) -> dict[str, Split]:
    """By scope: J per prompt token and per output token above loaded idle, or why not."""
    return {scope: _scope(records, energy, launches, scope) for scope in SCOPES}


def _unmeasured(reason: Reason) -> Split:
    return Split(status="unmeasured", reason=reason)


def _scope(records: RunRecords, energy: Energy, launches: list[Launch], scope: str) -> Split:
    if records.spec.arrivals.concurrency > 1 or records.spec.arrivals.kind != "closed":
        return _unmeasured(Reason("overlapping"))
    work: list[list[Work]] = []
    for launch in launches:
        of_requests = [_work(energy, r, scope) for r in measured(records, launch.index)]
        missing = next((w for w in of_requests if isinstance(w, Reason)), None)
        if missing:
            return _unmeasured(missing)
        work.append([w for w in of_requests if isinstance(w, Work)])
    baseline = _baseline(launches, scope)
    if baseline is None:
        return _unmeasured(Reason("baseline_unmeasured"))
    fitted = over_launches([own for own in work if own], baseline)
    if isinstance(fitted, Refused):
        return _unmeasured(fitted.reason)
    gain = _gain(launches, scope)
    return Split(
        status="measured",
        prefill_j_per_token=_estimate(fitted.prefill, gain),
        decode_j_per_token=_estimate(fitted.decode, gain),
        baseline_w=Fitted(value=fitted.baseline_w.value, u=fitted.baseline_w.u),
        condition=fitted.condition,
        windows=fitted.windows,
        launches=fitted.launches,
        df=fitted.prefill.df,
    )


def _estimate(estimate: Estimate, gain: float) -> Fitted:
    return Fitted(value=estimate.value, u=estimate.u, u_sensor=abs(estimate.value) * gain)


def _gain(launches: list[Launch], scope: str) -> float:
    """The sensor's relative error of gain; its offset is in the baseline too, and drops out."""
    energies = [launch.measured.energy[scope] for launch in launches if launch.measured]
    gains = (e.terms.get("gain", 0.0) / abs(e.joules) for e in energies if e.joules)
    return max(gains, default=0.0)


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


def _baseline(launches: list[Launch], scope: str) -> tuple[float, float] | None:
    """Mean power of all loaded idle blocks and its standard uncertainty, W."""
    blocks = [
        block
        for launch in launches
        for part in ("before", "after")
        if (block := find(launch.phases, "loaded_idle", part)) and block.duration_s > 0
    ]
    energies = [block.energy[scope] for block in blocks]
    if not blocks or any(e.joules is None for e in energies):
        return None
    lasted = [block.duration_s for block in blocks]
    watts = [(e.joules or 0.0) / s for e, s in zip(energies, lasted, strict=True)]
    noises = ((e.u_reading or 0.0) / s for e, s in zip(energies, lasted, strict=True))
    scatter = hypot(noises) / len(blocks)
    mean = math.fsum(watts) / len(watts)
    if len(watts) > 1:
        spread = math.fsum((w - mean) ** 2 for w in watts) / (len(watts) - 1) / len(watts)
        scatter = max(scatter, math.sqrt(spread))
    return mean, scatter
