"""Energy of a window that is still going on, from the running sums of live events. Pure.

It is for a person who watches: what counts is computed from the raw samples afterwards, and comes
out closer. The error is told honestly all the same: the sensor's gain and offset are those of the
final result, and each edge of the window may be off by half a live period at the window's power.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from kit.core.model import EnergyValue
from kit.energy.curve import SQRT3
from kit.energy.gpu import GAIN, OFFSET_W
from kit.energy.host import ESTIMATE_ERROR, PDU_GAIN, RAPL_GAIN

LIVE_S = 0.5
SOURCES = {"gpu": "gpu_energy", "cpu": "cpu_energy", "wall": "pdu_power", "estimate": "cpu_busy"}
_GAINS = {"gpu": GAIN, "cpu": RAPL_GAIN, "wall": PDU_GAIN, "estimate": 0.0}
METHOD = "running sum"
Facts = Mapping[str, Any]
Sums = Mapping[str, float]


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
        """The window ends at ``t1`` (ns); the next live event tells its energy."""
        self._closed_at = t1

    def of(self, scope: str, facts: Mapping[str, Facts]) -> EnergyValue:
        """The energy so far of the devices of ``facts`` (each with its source's facts)."""
        missing = [d for d in facts if d in self._broken or d not in self._begin]
        if missing or not facts or self.t1 <= self.t0:
            reason = f"no running sum of {', '.join(missing)}" if missing else "nothing read yet"
            return EnergyValue(scope=scope, status="unmeasured", reason=reason)
        grown = {d: self._end[d] - self._begin[d] for d in facts}
        return so_far(scope, facts, grown, (self.t1 - self.t0) / 1e9)


def so_far(
    scope: str, facts: Mapping[str, Facts], joules: Sums, seconds: float, live_s: float = LIVE_S
) -> EnergyValue:
    """What grew by ``joules`` (by device) within ``seconds``, corrected, with its uncertainty.

    Args:
        facts: each device's facts of the scope's source, as in ``plan.json``; an empty mapping
            stands for the priors.
        live_s: time between two live events, s.
    """
    found = {d: _corrected(scope, facts[d], joules[d], seconds) for d in facts}
    terms = {
        "edge": math.hypot(*(j / seconds * live_s / 2 / SQRT3 * SQRT2 for j in found.values()))
    }
    for device, energy in found.items():
        for name, error in _sensor(scope, facts[device], energy, seconds).items():
            terms[name] = terms.get(name, 0.0) + error  # one make's errors are shared
    return EnergyValue(
        scope=scope,
        status="estimated" if scope == "estimate" else "measured",
        joules=sum(found.values()),
        u_reading=terms["edge"],
        u_sensor=math.hypot(*(error for name, error in terms.items() if name != "edge")),
        terms={name: error for name, error in terms.items() if error > 0},
        method=METHOD,
        devices=found,
    )


SQRT2 = math.sqrt(2.0)


def _corrected(scope: str, facts: Facts, joules: float, seconds: float) -> float:
    if scope == "wall":
        return joules * float(facts.get("correction", 1.0))
    if scope == "gpu":
        watts = float(facts.get("offset_correction_w", 0.0))
        return joules * float(facts.get("gain_correction", 1.0)) + watts * seconds
    return joules


def _sensor(scope: str, facts: Facts, joules: float, seconds: float) -> dict[str, float]:
    """Standard uncertainties of the sensor itself, J: the limits of `kit.energy` over √3."""
    gain = float(facts.get("gain", _GAINS[scope])) / SQRT3
    prior_w = {"gpu": OFFSET_W, "wall": float(facts.get("scale", 1.0))}.get(scope, 0.0)
    offset_w = float(facts.get("offset", prior_w)) / SQRT3
    model = max(ESTIMATE_ERROR, float(facts.get("u_relative", 0.0)))
    return {
        "gain": abs(joules) * gain,
        "offset": offset_w * seconds,
        "model": abs(joules) * model if scope == "estimate" else 0.0,
    }


def _at(t: int, before: tuple[int, Sums], after: tuple[int, Sums]) -> dict[str, float]:
    """The sums at ``t``, on the straight line between two live events."""
    (t0, first), (t1, last) = before, after
    share = min(max((t - t0) / (t1 - t0), 0.0), 1.0) if t1 > t0 else 0.0
    return {d: first[d] + share * (last[d] - first[d]) for d in first if d in last}
