"""Every number that kit reports, computed from raw records. Pure: verify computes them again.

The engine stores what `compute` returns; ``kit verify`` calls the same function on the sealed
files and compares. Floats are kept to 12 significant digits.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from kit import stats
from kit.energy import SCOPE_METERS, energy_of
from kit.model import EnergyValue, Phase, Request
from kit.phases import ALIASES
from kit.records import RunRecords
from kit.units import significant

SCHEMA = "kit.results/1"
FORMULAS = "1"
SEED = 20260101
INNER = ("prefill", "decode", "mixed")
LATENCIES = ("ttft", "tpot", "e2e")
_NS = 1e-9
_MAX_CPU_SHARE = 0.5
_MAX_LAG_S = 0.005


def compute(records: RunRecords) -> dict[str, Any]:
    """Everything derived from a run, as the document ``results.json``."""
    launches = [_launch(records, index) for index in _launch_numbers(records)]
    metrics = _metrics(launches)
    found = {
        "schema": SCHEMA,
        "formulas": FORMULAS,
        "bootstrap": {
            "generator": stats.GENERATOR,
            "seed": SEED,
            "resamples": stats.RESAMPLES,
        },
        "primary": {"metric": records.spec.primary_metric, **metrics[records.spec.primary_metric]},
        "launches": launches,
        "metrics": metrics,
        "notices": _notices(records, launches),
    }
    rounded: dict[str, Any] = _rounded(found)
    return rounded


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return significant(value)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value


def _launch_numbers(records: RunRecords) -> list[int]:
    return sorted({p.launch for p in records.phases})


# --- one launch -----------------------------------------------------------------------------


def _launch(records: RunRecords, index: int) -> dict[str, Any]:
    measured = [r for r in records.requests.get(index, ()) if r.stage == "measured"]
    good = [r for r in measured if r.status == "ok"]
    blocks = [p for p in records.phases if p.launch == index and p.name not in INNER]
    inner = [p for p in records.phases if p.launch == index and p.name in INNER]
    phases = [_phase(records, [block]) for block in blocks]
    phases += [_phase(records, own) for own in _by_name(inner)]
    block = next((p for p in blocks if p.name == "measured"), None)
    return {
        "launch": index,
        "phases": phases,
        "net": _net(phases),
        "requests": _request_counts(measured, good),
        "latency": _latency(records, index, good),
        "throughput": _throughput(block, good),
        "outputs_sha256": _outputs(records, index),
    }


def _by_name(phases: Sequence[Phase]) -> list[list[Phase]]:
    return [own for name in INNER if (own := [p for p in phases if p.name == name])]


def _phase(records: RunRecords, pieces: Sequence[Phase]) -> dict[str, Any]:
    """One block, or all pieces of prefill (decode, mixed) of a launch together."""
    first = pieces[0]
    values = [energy_of(records.samples, records.plan.meters, p.t0, p.t1) for p in pieces]
    energies = [_together(list(of_scope)) for of_scope in zip(*values, strict=True)]
    return {
        "phase": first.name,
        "part": first.part,
        "alias": ALIASES.get(first.name),
        "pieces": len(pieces),
        "t0": first.t0,
        "t1": pieces[-1].t1,
        "duration_s": math.fsum((p.t1 - p.t0) * _NS for p in pieces),
        "energy": {e.scope: _energy_dict(e) for e in [*energies, *_unasked(energies)]},
    }


def _together(values: list[EnergyValue]) -> EnergyValue:
    """Energies of disjoint windows added: edges scatter apart, the sensor errs alike."""
    if len(values) == 1:
        return values[0]
    missing = [v for v in values if v.joules is None]
    if missing:
        return msgspec.structs.replace(missing[0], reason=_of_pieces(missing, values))
    names = sorted({name for v in values for name in v.terms})
    sensor = {"gain", "offset", "model"}
    terms = {
        name: (math.fsum if name in sensor else _hypot)([v.terms.get(name, 0.0) for v in values])
        for name in names
    }
    devices = {d: math.fsum(v.devices[d] for v in values) for d in values[0].devices}
    return msgspec.structs.replace(
        values[0],
        joules=math.fsum(v.joules or 0.0 for v in values),
        u_repeat=_hypot([terms[n] for n in names if n not in sensor]),
        # Another tool's account states none.
        u_sensor=None
        if values[0].u_sensor is None
        else _hypot([terms[n] for n in names if n in sensor]),
        terms=terms,
        devices=devices,
    )


def _of_pieces(missing: list[EnergyValue], values: list[EnergyValue]) -> str:
    return f"{len(missing)} of {len(values)} pieces: {missing[0].reason}"


def _hypot(values: Iterable[float]) -> float:
    return math.hypot(*values)


def _unasked(values: Sequence[EnergyValue]) -> list[EnergyValue]:
    """Scopes that the spec asked no meter for, so that no scope is silently absent."""
    asked = {v.scope for v in values}
    return [
        EnergyValue(scope=scope, status="unmeasured", reason="the spec asks for no meter of it")
        for scope in SCOPE_METERS
        if scope not in asked
    ]


def _energy_dict(value: EnergyValue) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(value)
    if value.joules is None:
        return {"status": value.status, "reason": value.reason}
    found.pop("scope")
    found.pop("reason")
    return found


# --- net energy -----------------------------------------------------------------------------


def _net(phases: list[dict[str, Any]]) -> dict[str, Any]:
    """The measured block's energy above each baseline, by scope; negative stays negative."""
    measured = _find(phases, "measured", None)
    found: dict[str, Any] = {}
    for scope in SCOPE_METERS:
        found[scope] = {
            "above_idle": _above(measured, [_find(phases, "idle", "before")], scope),
            "above_loaded_idle": _above(
                measured,
                [_find(phases, "loaded_idle", "before"), _find(phases, "loaded_idle", "after")],
                scope,
            ),
        }
    return found


def _find(phases: list[dict[str, Any]], name: str, part: str | None) -> dict[str, Any] | None:
    return next((p for p in phases if (p["phase"], p["part"]) == (name, part)), None)


def _above(
    measured: dict[str, Any] | None, baselines: list[dict[str, Any] | None], scope: str
) -> dict[str, Any]:
    """Gross minus the baseline's power times the block's duration, with propagated scatter.

    With a baseline before and one after, a linear drift between them has their mean over the
    block. The sensor's gain acts on the difference, not on each alone.
    """
    if measured is None:
        return {"status": "unmeasured", "reason": "there was no measured block"}
    gross = measured["energy"][scope]
    parts = [b for b in baselines if b is not None and b["duration_s"] > 0]
    if gross["status"] == "unmeasured":
        return {"status": "unmeasured", "reason": gross["reason"]}
    bad = [b for b in parts if b["energy"][scope]["status"] == "unmeasured"]
    if not parts or bad:
        reason = bad[0]["energy"][scope]["reason"] if bad else "there was no baseline block"
        return {"status": "unmeasured", "reason": f"baseline: {reason}"}
    duration = measured["duration_s"]
    powers = [b["energy"][scope]["joules"] / b["duration_s"] for b in parts]
    scatter = [b["energy"][scope]["u_repeat"] / b["duration_s"] for b in parts]
    baseline = math.fsum(powers) / len(powers)
    joules = gross["joules"] - baseline * duration
    relative = gross["u_sensor"] / abs(gross["joules"]) if gross["joules"] else 0.0
    return {
        "status": gross["status"],
        "joules": joules,
        "baseline_w": baseline,
        "drift_w": powers[-1] - powers[0],
        "u_repeat": _hypot([gross["u_repeat"], duration * _hypot(scatter) / len(scatter)]),
        "u_sensor": relative * abs(joules),
    }


# --- requests, latency, throughput, outputs ---------------------------------------------------


def _request_counts(measured: Sequence[Request], good: Sequence[Request]) -> dict[str, Any]:
    return {
        "issued": len(measured),
        "completed": len(good),
        "failed": len(measured) - len(good),
        "prompt_tokens": _token_sum([r.prompt_tokens for r in good]),
        "output_tokens": _token_sum([r.output_tokens for r in good]),
    }


def _token_sum(counts: Sequence[int | None]) -> int | None:
    """Tokens of all; None where one was not counted, because a partial sum would mislead."""
    known = [c for c in counts if c is not None]
    return sum(known) if known and len(known) == len(counts) else None


def _latency(records: RunRecords, index: int, good: Sequence[Request]) -> dict[str, Any]:
    """TTFT, TPOT and end-to-end from the intended and from the actual sending, ITL by chunk."""
    found: dict[str, Any] = {}
    for since in ("sent", "intended"):
        values = {name: [_one_latency(name, r, since) for r in good] for name in LATENCIES}
        known = {name: [v for v in of if v is not None] for name, of in values.items()}
        found[since] = {name: _percentiles(known[name]) for name in LATENCIES}
    times = {r.index: r.chunk_times for r in records.responses.get(index, ())}
    gaps = [
        (b - a) * _NS
        for r in good
        for a, b in zip(times.get(r.index, ())[:-1], times.get(r.index, ())[1:], strict=True)
    ]
    found["itl"] = _percentiles(gaps)
    return found


def _one_latency(name: str, r: Request, since: str) -> float | None:
    start = r.sent if since == "sent" else r.intended
    if start is None or r.first_token is None or r.last_token is None:
        return None
    if name == "ttft":
        return (r.first_token - start) * _NS
    if name == "e2e":
        return (r.last_token - start) * _NS
    if r.output_tokens is None or r.output_tokens < 2:
        return None
    return (r.last_token - r.first_token) * _NS / (r.output_tokens - 1)


def _percentiles(values: Sequence[float]) -> dict[str, Any]:
    """Percentiles in seconds; one that too few requests support is absent, with the number."""
    found: dict[str, Any] = {"n": len(values), "unit": "s"}
    for p, needed in stats.PERCENTILE_NEEDS.items():
        value = stats.percentile(values, p) if values else None
        if value is None:
            found.setdefault("absent", {})[f"p{p}"] = f"needs {needed} requests"
        else:
            found[f"p{p}"] = value
    return found


def _throughput(block: Phase | None, good: Sequence[Request]) -> dict[str, Any]:
    """Output tokens per second from the first sending to the last token."""
    tokens = _token_sum([r.output_tokens for r in good])
    ends = [r.last_token for r in good if r.last_token is not None]
    begins = [r.sent for r in good if r.sent is not None]
    if block is None or tokens is None or not ends or not begins:
        return {"reason": "no counted tokens"}
    seconds = (max(ends) - min(begins)) * _NS
    return {"output_tokens_per_s": tokens / seconds, "seconds": seconds}


def _outputs(records: RunRecords, index: int) -> str | None:
    """SHA-256 over index and text of the measured answers, in order; None without answers."""
    texts = [r for r in records.responses.get(index, ()) if r.stage == "measured"]
    if not texts:
        return None
    lines = (f"{r.index}:{r.text_sha256}\n" for r in sorted(texts, key=lambda r: r.index))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


# --- metrics over launches ------------------------------------------------------------------


def _metrics(launches: list[dict[str, Any]]) -> dict[str, Any]:
    """Every metric that a spec may name as primary, with its launch values and their summary."""
    found: dict[str, Any] = {"outputs": _outputs_metric(launches)}
    for scope in SCOPE_METERS:
        for per, key in (("output_token", "output_tokens"), ("request", "completed")):
            values = [_energy_per(launch, scope, key) for launch in launches]
            status = "estimated" if scope == "estimate" else "measured"
            found[f"{scope}_energy_per_{per}"] = _metric(values, "J", status)
    for name in LATENCIES:
        values = [_or_reason(launch["latency"]["sent"][name].get("p50")) for launch in launches]
        found[f"{name}_p50"] = _metric(values, "s", "measured")
    rates = [_or_reason(launch["throughput"].get("output_tokens_per_s")) for launch in launches]
    found["output_throughput"] = _metric(rates, "tokens/s", "measured")
    return found


def _or_reason(value: float | None) -> float | str:
    return "no request was completed and counted" if value is None else value


def _energy_per(launch: dict[str, Any], scope: str, key: str) -> float | str:
    """Gross joules of the measured block over the work done in it, or why there is none."""
    block = _find(launch["phases"], "measured", None)
    if block is None:
        return "there was no measured block"
    energy = block["energy"][scope]
    work = launch["requests"][key]
    if energy["status"] == "unmeasured":
        return str(energy["reason"])
    if not work:
        return "no work was completed and counted"
    return float(energy["joules"] / work)


def _metric(values: list[float | str], unit: str, status: str) -> dict[str, Any]:
    known = [v for v in values if isinstance(v, float)]
    per_launch = [v if isinstance(v, float) else None for v in values]
    summed = stats.summary(known, SEED)
    if summed is None or len(known) < len(values):
        reasons = [v for v in values if isinstance(v, str)] or ["no launch"]
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
        found |= {"sd": summed.sd, "ci95": list(summed.ci95)}
    return found


def _outputs_metric(launches: list[dict[str, Any]]) -> dict[str, Any]:
    """Whether launches agree on the texts: a run's own self-agreement."""
    hashes = [launch["outputs_sha256"] for launch in launches]
    if not hashes or None in hashes:
        reason = "a launch has no answers"
        return {"status": "unmeasured", "unit": "sha256", "reason": reason, "launches": hashes}
    agree = len(set(hashes)) == 1
    return {"status": "measured", "unit": "sha256", "agree": agree, "launches": hashes}


# --- notices --------------------------------------------------------------------------------


def _notices(records: RunRecords, launches: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a reader must know before believing a number; each with a stable code."""
    found = [{"code": "SAMPLER_GAP", "message": gap} for gap in records.samples.gaps]
    for launch in launches:
        found += _launch_notices(records, launch)
    for event in records.events:
        if event.kind == "sampler.lost":
            found.append({"code": "SAMPLER_LOST", "message": str(event.data.get("message"))})
    return found


def _launch_notices(records: RunRecords, launch: dict[str, Any]) -> list[dict[str, Any]]:
    index = launch["launch"]
    good = [
        r for r in records.requests.get(index, ()) if r.stage == "measured" and r.status == "ok"
    ]
    expected = {r.index: r.expect_tokens for r in records.schedule}
    counts = launch["requests"]
    found = []

    def note(code: str, message: str) -> None:
        found.append({"code": code, "message": f"launch {index}: {message}"})

    if counts["failed"]:
        note("FAILED_REQUESTS", f"{counts['failed']} of {counts['issued']} requests failed")
    if good and all(expected.get(r.index) is None for r in good):
        note("NOT_EQUAL_WORK", "the runtime decides how many tokens it generates")
    wrong = [r for r in good if expected.get(r.index) not in (None, r.output_tokens)]
    if wrong:
        note("TOKEN_MISMATCH", f"{len(wrong)} answers have not the tokens asked for")
    cached = [r for r in good if r.cached_tokens]
    if cached:
        note("CACHED_TOKENS", f"{len(cached)} prompts were served partly from a cache")
    driver = records.driver.get(index, {}).get("stages", {}).get("measured", {})
    for message in _driver_faults(driver, launch):
        note("DRIVER_LIMITED", message)
    return found


def _driver_faults(driver: dict[str, Any], launch: dict[str, Any]) -> list[str]:
    """The load driver must not be what limits the run."""
    found = []
    if driver.get("cpu_share", 0) > _MAX_CPU_SHARE:
        found.append(f"the load driver used {driver['cpu_share']:.0%} of its CPU")
    ttft = launch["latency"]["sent"]["ttft"].get("p50", 0.0)
    limit = max(_MAX_LAG_S, 0.01 * ttft)
    lag = (driver.get("lag_p99_ns") or 0) * _NS
    if lag > limit:
        found.append(f"requests left up to {lag * 1e3:.1f} ms late (limit {limit * 1e3:.1f} ms)")
    return found
