"""Every metric that a spec may name as primary, over launches: the unit of repetition."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from kit.core import stats
from kit.core.model import Makes
from kit.energy.names import OF_IMAGES, OF_TEXTS
from kit.energy.reason import Reason
from kit.energy.results.document import (
    Launch,
    Metric,
    Outputs,
    Percentiles,
    RequestCounts,
    Status,
    Throughput,
)
from kit.energy.results.requests import LATENCIES, NONE_COMPLETED, uncounted
from kit.energy.results.windows import hypot
from kit.energy.scopes import SCOPES

# What the energy of a measured block is divided by; `kit.energy.names.ENERGY_PER` names each.
_WORK: dict[str, Callable[[RequestCounts], int | None]] = {
    "output_token": lambda counts: counts.output_tokens,
    "image": lambda counts: counts.images,
    "step": lambda counts: counts.steps,
    "request": lambda counts: counts.completed,
}


class _Share(NamedTuple):
    """Energy of one launch by the work done in it, with its standard uncertainties (J)."""

    joules: float
    u_reading: float
    u_sensor: float


def metrics(launches: Sequence[Launch], makes: Makes = "text") -> dict[str, Metric]:
    """Every number of a run of texts or of images, with its launch values and their summary."""
    others = OF_IMAGES if makes == "text" else OF_TEXTS
    return {name: value for name, value in _all(launches).items() if name not in others}


def _all(launches: Sequence[Launch]) -> dict[str, Metric]:
    result = {}
    for scope, facts in SCOPES.items():
        status: Status = "estimated" if facts.status == "estimated" else "measured"
        for per in _WORK:
            shares = [_energy_per(launch, scope, per) for launch in launches]
            values = [e.joules if isinstance(e, _Share) else e for e in shares]
            metric = _metric(values, "J", status)
            if metric.value is not None:
                measured_shares = [e for e in shares if isinstance(e, _Share)]
                metric = _with_sensor(metric, measured_shares, _doubts(launches, scope))
            result[f"{scope}_energy_per_{per}"] = metric
    for name in LATENCIES:
        of = [getattr(launch.latency.sent, name) for launch in launches]
        result[f"{name}_p50"] = _metric([_median_or_reason(p) for p in of], "s", "measured")
    done = [launch.throughput for launch in launches]
    tokens = [_or_reason(t, t.output_tokens_per_s) for t in done]
    result["output_throughput"] = _metric(tokens, "tokens/s", "measured")
    images = [_or_reason(t, t.images_per_s) for t in done]
    result["image_throughput"] = _metric(images, "images/s", "measured")
    return result


def outputs(launches: Sequence[Launch]) -> Outputs:
    """Whether launches agree on the texts: a run's own self-agreement."""
    hashes = tuple(launch.outputs_sha256 for launch in launches)
    if not hashes or None in hashes:
        reason = Reason("answers_missing")
        return Outputs(status="unmeasured", unit="sha256", reason=reason, launches=hashes)
    agree = len(set(hashes)) == 1
    return Outputs(status="measured", unit="sha256", agree=agree, launches=hashes)


def _median_or_reason(percentiles: Percentiles) -> float | Reason:
    return percentiles.p50 or (percentiles.absent or {})["p50"]


def _or_reason(throughput: Throughput, rate: float | None) -> float | Reason:
    return rate or throughput.reason or NONE_COMPLETED


def _energy_per(launch: Launch, scope: str, per: str) -> _Share | Reason:
    """Gross joules of the measured block over the work done in it, or why there is none."""
    if launch.measured is None:
        return Reason("no_block")
    counts, energy = launch.counts, launch.measured.energy[scope]
    if energy.joules is None:
        assert energy.reason is not None
        return energy.reason
    work = _WORK[per](counts)
    if not work:
        return _uncounted(per, work) if counts.completed else NONE_COMPLETED
    u_reading, u_sensor = energy.u_reading or 0.0, energy.u_sensor or 0.0
    return _Share(energy.joules / work, u_reading / work, u_sensor / work)


def _uncounted(per: str, work: int | None) -> Reason:
    """Why there is no work to divide by, though requests were completed."""
    of_images = {"image": Reason("no_image"), "step": Reason("steps_not_counted")}
    return of_images.get(per) or uncounted(work)


def _doubts(launches: Sequence[Launch], scope: str) -> tuple[Reason, ...]:
    """What is in doubt of the energies that a metric is made of."""
    blocks = [launch.measured for launch in launches]
    return tuple(dict.fromkeys(why for b in blocks if b for why in b.energy[scope].doubts))


def _with_sensor(metric: Metric, shares: list[_Share], doubts: tuple[Reason, ...]) -> Metric:
    """The mean with its uncertainty from each launch's own: reading noise averages out, the
    sensor's error does not.

    Reading noise is part of what scatters between launches, and mostly a small one: the standard
    error over launches holds it together with whatever the machine did otherwise.
    """
    return msgspec.structs.replace(
        metric,
        u_reading=hypot(e.u_reading for e in shares) / len(shares),
        u_sensor=math.fsum(e.u_sensor for e in shares) / len(shares),
        doubts=doubts,
    )


def _metric(values: list[float | Reason], unit: str, status: Status) -> Metric:
    per_launch = tuple(v if isinstance(v, float) else None for v in values)
    numbers = [v for v in per_launch if v is not None]
    summed = stats.summary(numbers)
    if summed is None or len(numbers) < len(values):
        reasons = [v for v in values if isinstance(v, Reason)] or [Reason("no_launch")]
        return Metric(status="unmeasured", unit=unit, reason=reasons[0], launches=per_launch)
    return Metric(
        status=status,
        unit=unit,
        value=summed.mean,
        n=summed.n,
        interval=summed.method,
        launches=per_launch,
        se=None if summed.sd is None else summed.sd / math.sqrt(summed.n),
        sd=summed.sd,
        ci95=summed.ci95,
    )
