"""Energy while it is measured: running sums, and windows that are still going on. Pure.

It is for a person who watches: what counts is computed from the raw samples afterwards, and comes
out closer. Both add up the same way, and leave the same holes. The error is shown all the same:
the sensor's gain and offset are those of the final result, and each edge of the window may be off
by half a live period at the window's power.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from kit.core.facts import QuantityFacts
from kit.core.model import MeterDevice
from kit.core.units import NS
from kit.energy import scopes
from kit.energy.curve import SQRT3, Sensor
from kit.energy.reason import Reason
from kit.energy.scopes.contract import Growth, Scope
from kit.energy.value import EnergyValue

LIVE_S = 0.5
# A counter that is renewed many times a second and stands still for longer counts nothing, s.
STILL_S = 1.0
_HOLE_PERIODS = 5
METHOD = "running sum"
Sums = Mapping[str, float]


class Stretch(NamedTuple):
    """Energy (J, not yet corrected by a calibration) over so many seconds."""

    joules: float = 0.0
    seconds: float = 0.0

    def plus(self, joules: float, seconds: float) -> Stretch:
        return Stretch(self.joules + joules, self.seconds + seconds)


class RunningSum:
    """The energy of one device, reading by reading.

    Where the scope's curve has a hole, nobody knows what was drawn: such a stretch adds nothing,
    and the sum begins again after it.

    Attributes:
        latest: the last reading that can be believed: (when, ns; raw).
        since_hole: energy since the first reading, or since the last hole.
        known: energy of all stretches of which something is known.
        holes: how often the sum began again.
    """

    def __init__(
        self, quantity: str, facts: QuantityFacts, growth: Growth, reader_s: float = 0.0
    ) -> None:
        """``reader_s`` is the pace of a reader that keeps its own, and not the plan's, s."""
        self.quantity, self._facts, self._growth = quantity, facts, growth
        self._hole_s = max(growth.hole_s(facts), _HOLE_PERIODS * reader_s)
        self.latest: tuple[int, int] | None = None
        self.since_hole, self.known = Stretch(), Stretch()
        self.holes = 0
        self._from: tuple[int, int] | None = None  # since when what came is not yet in the sum
        self._asked = Stretch()
        self._watts: float | None = None

    def add(self, t: int, raw: int) -> None:
        """Take in a reading made at ``t`` (ns) that its device can have given."""
        if self.latest and t <= self.latest[0]:
            return
        before, self.latest = self.latest, (t, raw)
        if before is None or self._from is None:
            self._from = self.latest
        elif (t - before[0]) * NS > self._hole_s:
            self._begin_again()
        elif self._growth.rest_s is None or raw != self._from[1]:
            self._grow((t - self._from[0]) * NS, raw)

    def interrupt(self) -> None:
        """Count nothing up to the next reading: what lies between is unknown."""
        self.latest = self._from = None
        self.since_hole = Stretch()
        self.holes += 1

    def still_s(self) -> float:
        """For how long a counter that must grow has stood still, s; 0 as long as it may."""
        if self._growth.rest_s is None or not self.latest or not self._from:
            return 0.0
        seconds = (self.latest[0] - self._from[0]) * NS
        return seconds if seconds > STILL_S else 0.0

    def watts(self) -> float | None:
        """Mean power since the call before, W; what it was then where nothing came in between."""
        came = self.known.joules - self._asked.joules
        seconds, self._asked = self.known.seconds - self._asked.seconds, self.known
        if seconds > 0:
            self._watts = came / seconds
        return None if self.still_s() else self._watts

    def _grow(self, seconds: float, raw: int) -> None:
        assert self._from is not None
        rests = self._growth.rest_s is not None and seconds > self._growth.rest_s
        joules = self._growth.joules(self._facts, self._from[1], raw, seconds)
        if joules is None or rests:
            self._begin_again()
            return
        self._from = self.latest
        self.since_hole = self.since_hole.plus(joules, seconds)
        self.known = self.known.plus(joules, seconds)

    def _begin_again(self) -> None:
        self._from, self.since_hole = self.latest, Stretch()
        self.holes += 1
        self._asked, self._watts = self.known, None


class Source(NamedTuple):
    """What a device's running sum is made of: the best quantity of its scope that is read."""

    scope: Scope
    quantity: str
    facts: QuantityFacts


def source_of(device: MeterDevice) -> Source | None:
    """What a device's running sum is made of; None where nothing of it is energy or power."""
    scope = scopes.of_device(device)
    for quantity in scope.growth if scope else ():
        facts = device.quantities.get(quantity)
        if scope and facts is not None and facts.is_read:
            return Source(scope, quantity, facts)
    return None


def sum_of(device: MeterDevice) -> RunningSum | None:
    """A running sum of a device; None where it has none."""
    source = source_of(device)
    if source is None:
        return None
    return RunningSum(source.quantity, source.facts, source.scope.growth[source.quantity])


class Window:
    """Energy between two instants by device: fed with live events' sums as they come.

    An edge lies between two live events: the sums are interpolated there.
    """

    def __init__(self, t0: int, before: tuple[int, Sums] | None) -> None:
        """Begin at ``t0`` (ns); ``before`` is the last live event before it, if there was one."""
        self.t0, self.t1 = t0, t0
        self._before, self._ended = before, False
        self._begin: dict[str, float] = {}
        self._end: Sums = {}
        self._closed_at: int | None = None
        self._broken: set[str] = set()

    def live(self, t: int, sums: Sums) -> None:
        """Take in the sums (J) of the live event at ``t`` (ns)."""
        if self._ended:
            return
        if not self._begin:
            self._begin = _at(self.t0, self._before or (t, sums), (t, sums))
        last = (self.t1, self._end or self._begin)
        self._broken |= {d for d in last[1] if sums.get(d, -math.inf) < last[1][d]}
        if self._closed_at is None:
            self.t1, self._end = t, dict(sums)
        else:
            self.t1, self._end, self._ended = (
                self._closed_at,
                _at(self._closed_at, last, (t, sums)),
                True,
            )

    def close(self, t1: int) -> None:
        """The window ends at ``t1`` (ns); the next live event completes its energy."""
        self._closed_at = t1

    def of(self, scope: str, facts: Mapping[str, QuantityFacts]) -> EnergyValue:
        """The energy so far of the devices of ``facts`` (each with its source's facts)."""
        missing = [d for d in facts if d in self._broken or d not in self._begin]
        if missing or not facts or self.t1 <= self.t0:
            reason = Reason("no_sum", devices=missing) if missing else Reason("nothing_read")
            return EnergyValue(scope=scope, status="unmeasured", reason=reason)
        grown = {d: self._end[d] - self._begin[d] for d in facts}
        return so_far(scope, facts, grown, (self.t1 - self.t0) / 1e9)


def so_far(
    scope: str,
    facts: Mapping[str, QuantityFacts],
    joules: Sums,
    seconds: float,
    live_s: float = LIVE_S,
) -> EnergyValue:
    """What grew by ``joules`` (by device) within ``seconds``, corrected, with its uncertainty.

    Args:
        facts: each device's facts of the scope's source, as in ``plan.json``; `NO_FACTS` stands
            for the priors.
        live_s: time between two live events, s.
    """
    of = scopes.SCOPES[scope]
    corrected = {d: of.corrected(facts[d], joules[d], seconds) for d in facts}
    terms = {
        "edge": math.hypot(*(j / seconds * live_s / 2 / SQRT3 * SQRT2 for j in corrected.values()))
    }
    for device, energy in corrected.items():
        for name, error in _errors(of.sensor(facts[device]), energy, seconds).items():
            terms[name] = terms.get(name, 0.0) + error  # one make's errors are shared
    return EnergyValue(
        scope=scope,
        status="estimated" if of.status == "estimated" else "measured",
        joules=sum(corrected.values()),
        u_reading=terms["edge"],
        u_sensor=math.hypot(*(error for name, error in terms.items() if name != "edge")),
        terms={name: error for name, error in terms.items() if error > 0},
        method=METHOD,
        devices=corrected,
    )


SQRT2 = math.sqrt(2.0)


def _errors(sensor: Sensor, joules: float, seconds: float) -> dict[str, float]:
    """Standard uncertainties of the sensor itself, J."""
    return {
        "gain": abs(joules) * sensor.gain,
        "offset": sensor.offset_w * seconds,
        "model": abs(joules) * sensor.model,
    }


def _at(t: int, before: tuple[int, Sums], after: tuple[int, Sums]) -> dict[str, float]:
    """The sums at ``t``, on the straight line between two live events."""
    (t0, first), (t1, last) = before, after
    share = min(max((t - t0) / (t1 - t0), 0.0), 1.0) if t1 > t0 else 0.0
    return {d: first[d] + share * (last[d] - first[d]) for d in first if d in last}
