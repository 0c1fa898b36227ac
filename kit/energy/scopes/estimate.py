"""The host's CPU, estimated: busy time between the published watts of idle and of full load."""

from __future__ import annotations

from kit.core.arrays import np
from kit.core.facts import QuantityFacts
from kit.core.limits import seconds_or
from kit.core.model import MeterDevice
from kit.core.units import NS, scale_of
from kit.energy.believable import Sifted
from kit.energy.curve import Curve, Sensor, gaps
from kit.energy.scopes.contract import Growth, Name, Scope, Ways
from kit.energy.trust import explained
from kit.record.samples import Samples, readings

QUANTITY = "cpu_busy"
# Relative standard error of the model: it reads no sensor, and may be wrong by half.
MODEL = 0.5
_PERIOD_S, _HOLE_PERIODS, _SHORTEST_HOLE_S = 0.1, 5, 0.5


def sensor(facts: QuantityFacts) -> Sensor:
    """The error of the model, which no plan can make smaller."""
    return Sensor(model=max(MODEL, facts.u_relative or 0.0))


def curve(device: MeterDevice, samples: Samples) -> Curve | None:
    """The watts of each stretch, by the share of the CPUs that were busy in it."""
    found = readings(device, samples, QUANTITY)
    if found is None:
        return None
    series, facts = found
    if facts.idle_w is None or facts.max_w is None or facts.cpus is None:
        return None
    t = series.t.astype(np.float64)
    seconds = np.maximum(np.diff(t), 1.0) * NS
    busy = np.diff(series.raw) * scale_of(QUANTITY, facts)
    share = np.clip(busy / (seconds * facts.cpus), 0.0, 1.0)
    watts = facts.idle_w + share * (facts.max_w - facts.idle_w)
    return Curve(
        t=t,
        joules=np.concatenate([[0.0], np.cumsum(watts * seconds)]),
        method="cpu-time",
        step_s=_period_s(facts),
        sensor=sensor(facts),
        holes=gaps(t, _hole_s(facts), "reading"),
    )


def _ways(device: MeterDevice, sifted: Sifted) -> Ways:
    energy = curve(device, sifted.samples)
    return Ways((explained(energy, sifted.dropped(device.device, QUANTITY)),) if energy else (), ())


def _period_s(facts: QuantityFacts) -> float:
    return seconds_or(facts.period_s, _PERIOD_S)


def _hole_s(facts: QuantityFacts) -> float:
    pace_s = max(_period_s(facts), seconds_or(facts.poll_s, 0.0))
    return max(_SHORTEST_HOLE_S, _HOLE_PERIODS * pace_s)


def _grown(facts: QuantityFacts, before: int, raw: int, seconds: float) -> float | None:
    if facts.idle_w is None or facts.max_w is None or facts.cpus is None:
        return None
    share = (raw - before) * scale_of(QUANTITY, facts) / (seconds * facts.cpus)
    return (facts.idle_w + min(max(share, 0.0), 1.0) * (facts.max_w - facts.idle_w)) * seconds


SCOPE = Scope(
    name="estimate",
    title=Name("host CPU (estimated)", "est. CPU", "host CPUs"),
    status="estimated",
    source=QUANTITY,
    main=frozenset({QUANTITY}),
    power=(),
    sensor=sensor,
    ways=_ways,
    growth={QUANTITY: Growth(_grown, "CPU time and published watts", _hole_s)},
)
