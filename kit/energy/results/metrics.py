"""Every metric that a spec may name as primary, over launches: the unit of repetition."""

from __future__ import annotations

import math
from typing import Any

from kit.core import stats
from kit.core.reason import Reason
from kit.energy.results.requests import LATENCIES, NONE_COMPLETED, uncounted
from kit.energy.results.windows import find, hypot
from kit.energy.scopes import SCOPES

Document = dict[str, Any]


def metrics(launches: list[Document]) -> Document:
    """Every metric with its launch values and their summary."""
    found: Document = {"outputs": _outputs(launches)}
    for scope, facts in SCOPES.items():
        for per, key in (("output_token", "output_tokens"), ("request", "completed")):
            each = [_energy_per(launch, scope, key) for launch in launches]
            values = [e["joules"] if isinstance(e, dict) else e for e in each]
            metric = _metric(values, "J", facts.status)
            known = [e for e in each if isinstance(e, dict)]
            if "value" in metric:
                metric |= _propagated(known) | _doubted(launches, scope)
            found[f"{scope}_energy_per_{per}"] = metric
    for name in LATENCIES:
        values = [_median_or_reason(launch["latency"]["sent"][name]) for launch in launches]
        found[f"{name}_p50"] = _metric(values, "s", "measured")
    rates = [_rate_or_reason(launch["throughput"]) for launch in launches]
    found["output_throughput"] = _metric(rates, "tokens/s", "measured")
    return found


def _median_or_reason(percentiles: Document) -> float | Reason:
    found: float | Reason = percentiles.get("p50") or percentiles["absent"]["p50"]
    return found


def _rate_or_reason(throughput: Document) -> float | Reason:
    found: float | Reason = throughput.get("output_tokens_per_s") or throughput["reason"]
    return found


def _energy_per(launch: Document, scope: str, key: str) -> dict[str, float] | Reason:
    """Gross joules of the measured block over the work done in it, or why there is none."""
    block = find(launch["phases"], "measured", None)
    if block is None:
        return Reason("no_block")
    energy, work = block["energy"][scope], launch["requests"][key]
    if energy["status"] == "unmeasured":
        reason: Reason = energy["reason"]
        return reason
    if not work:
        return uncounted(work) if launch["requests"]["completed"] else NONE_COMPLETED
    return {name: float(energy[name] / work) for name in ("joules", "u_reading", "u_sensor")}


def _doubted(launches: list[Document], scope: str) -> Document:
    """What is in doubt of the energies that a metric is made of."""
    blocks = [find(launch["phases"], "measured", None) for launch in launches]
    told = [why for b in blocks if b for why in b["energy"][scope].get("doubts", ())]
    return {"doubts": list(dict.fromkeys(told))} if told else {}


def _propagated(each: list[dict[str, float]]) -> dict[str, float]:
    """The mean's uncertainty from each launch's own: reading noise averages out, the sensor's error
    does not.

    Reading noise is part of what scatters between launches, and mostly a small one: the standard
    error over launches holds it together with whatever the machine did otherwise.
    """
    return {
        "u_reading": hypot(e["u_reading"] for e in each) / len(each),
        "u_sensor": math.fsum(e["u_sensor"] for e in each) / len(each),
    }


def _metric(values: list[float | Reason], unit: str, status: str) -> Document:
    known = [v for v in values if isinstance(v, float)]
    per_launch = [v if isinstance(v, float) else None for v in values]
    summed = stats.summary(known)
    if summed is None or len(known) < len(values):
        reasons = [v for v in values if isinstance(v, Reason)] or [Reason("no_launch")]
        return {"status": "unmeasured", "unit": unit, "reason": reasons[0], "launches": per_launch}
    found = {
        "status": status,
        "unit": unit,
        "value": summed.mean,
        "n": summed.n,
        "interval": summed.method,
        "launches": per_launch,
    }
    if summed.sd is not None and summed.ci95 is not None:
        se = summed.sd / math.sqrt(summed.n)
        found |= {"se": se, "sd": summed.sd, "ci95": list(summed.ci95)}
    return found


def _outputs(launches: list[Document]) -> Document:
    """Whether launches agree on the texts: a run's own self-agreement."""
    hashes = [launch["outputs_sha256"] for launch in launches]
    if not hashes or None in hashes:
        reason = Reason("answers_missing")
        return {"status": "unmeasured", "unit": "sha256", "reason": reason, "launches": hashes}
    agree = len(set(hashes)) == 1
    return {"status": "measured", "unit": "sha256", "agree": agree, "launches": hashes}
