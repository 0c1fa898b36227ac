"""CPU packages: RAPL's energy counters, and others that count microjoules."""

from __future__ import annotations

from kit.core.arrays import np
from kit.core.facts import QuantityFacts, known
from kit.core.limits import most_j, package_highest_w, seconds_or
from kit.core.model import MeterDevice
from kit.core.units import NS, scale_of
from kit.energy.believable import Sifted
from kit.energy.curve import (
    MEAN_EDGE,
    SQRT3,
    Curve,
    Floats,
    Hole,
    Sensor,
    gaps,
    holes_at,
    sharpened,
)
from kit.energy.reason import Reason
from kit.energy.scopes.contract import Growth, Name, Scope, Ways
from kit.energy.trust import explained
from kit.record.samples import Samples, readings

QUANTITY = "cpu_energy"
GAIN = 0.05
GAIN_SOURCE = "prior: ±5%, the deviations published for RAPL against external meters"
# The period of plans that name none; what is read today: `kit.measure.meters.rapl_zones.PERIOD_S`.
_POLL_S, HOLE_POLLS, SHORTEST_HOLE_S = 0.05, 5, 0.5
# A counter is renewed each millisecond: two reads that lie closer may hold a whole one between.
_RENEWED_S = 0.002
# A package at rest draws watts: a counter that stands still for longer is not renewed.
_LONGEST_REST_S = 1.0


def sensor(facts: QuantityFacts) -> Sensor:
    """A package's gain; the prior where the plan names none."""
    return Sensor(gain=known(facts.gain, GAIN) / SQRT3)


def curve(device: MeterDevice, samples: Samples) -> Curve | None:
    """Differences of the counter modulo its range."""
    found = readings(device, samples, QUANTITY)
    if found is None:
        return None
    series, facts = found
    scale = scale_of(QUANTITY, facts)
    t = series.t.astype(np.float64)
    steps = np.diff(series.raw).astype(np.float64)
    steps = np.where(steps < 0, steps + (facts.wrap or 0), steps)
    joules = steps * scale
    # A larger step is a counter that was reset, not one that wrapped.
    reset = (joules < 0) | (joules > package_highest_w(facts) * (np.diff(t) * NS + _RENEWED_S))
    drawn = np.concatenate([[0.0], np.cumsum(np.where(reset, 0.0, joules))])
    corners, energies = sharpened(t, drawn)
    return Curve(
        t=corners,
        joules=energies,
        method="counter",
        step_s=_poll_s(facts),
        edge=MEAN_EDGE,
        sensor=sensor(facts),
        resolution_j=scale / np.sqrt(6),
        holes=(
            *holes_at(t, reset, Reason("counter_reset")),
            *_unfollowed(t, facts),
            *_rests(t, steps == 0),
            *gaps(t, max(hole_s(facts), facts.bridge_s or 0.0), "reading"),
        ),
    )


def _ways(device: MeterDevice, sifted: Sifted) -> Ways:
    energy = curve(device, sifted.samples)
    return Ways((explained(energy, sifted.dropped(device.device, QUANTITY)),) if energy else (), ())


def _poll_s(facts: QuantityFacts) -> float:
    return seconds_or(facts.poll_s, _POLL_S)


def hole_s(facts: QuantityFacts) -> float:
    """Readings further apart than this leave a hole, s."""
    return max(SHORTEST_HOLE_S, HOLE_POLLS * _poll_s(facts))


def _unfollowed(t: Floats, facts: QuantityFacts) -> tuple[Hole, ...]:
    """A counter that may begin again more than once between two reads says nothing at all."""
    joules, poll_s = (facts.wrap or 0) * scale_of(QUANTITY, facts), _poll_s(facts)
    if not 0 < joules < package_highest_w(facts) * poll_s:
        return ()
    reason = Reason("counter_wraps", wrap_j=joules, poll_s=poll_s)
    return (Hole(float(t[0]), float(t[-1]), reason),)


def _rests(t: Floats, still: np.typing.NDArray[np.bool_]) -> tuple[Hole, ...]:
    """Holes where the counter did not grow for longer than a package can be at rest."""
    return tuple(
        hole._replace(reason=Reason("stood_still", seconds=seconds))
        for hole in holes_at(t, still, Reason("stood_still"))
        if (seconds := (hole.t1 - hole.t0) * NS) > _LONGEST_REST_S
    )


def _grown(facts: QuantityFacts, before: int, raw: int, seconds: float) -> float | None:
    counted = raw - before + ((facts.wrap or 0) if raw < before else 0)
    joules = counted * scale_of(QUANTITY, facts)
    return joules if 0 <= joules <= most_j(QUANTITY, facts, seconds) else None


SCOPE = Scope(
    name="cpu",
    title=Name("CPU packages", "CPU", "CPUs"),
    status="measured",
    source=QUANTITY,
    main=frozenset({QUANTITY}),
    power=(),
    sensor=sensor,
    ways=_ways,
    growth={QUANTITY: Growth(_grown, "counter", hole_s, _LONGEST_REST_S)},
)
