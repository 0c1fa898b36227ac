"""CodeCarbon's own energy, cut into kit's windows so that the two can be compared.

Nothing of it is kit's measurement: no sensor error is known, so that none is given, and the word
*measured* is only what the tool says of itself. What kit can tell is how well the readings can be
cut (``edge``), since they come once a second.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from kit.core.arrays import np
from kit.core.facts import QuantityFacts
from kit.core.limits import seconds_or
from kit.core.model import MeterDevice
from kit.core.units import scale_of
from kit.energy.believable import Sifted
from kit.energy.curve import Curve, Hole, Sensor, gaps
from kit.energy.reason import Reason
from kit.energy.scopes.contract import Name, Scope, Ways
from kit.energy.trust import explained
from kit.energy.value import EnergyValue
from kit.record.samples import Samples

QUANTITY = "codecarbon_energy"
_HOLE_PERIODS = 5


def curve(device: MeterDevice, samples: Samples) -> Curve | None:
    """Differences of the total that CodeCarbon reports."""
    facts, series = device.quantities.get(QUANTITY), samples.get(device.device, QUANTITY)
    if facts is None or series is None or len(series.t) < 2:
        return None
    t = series.t.astype(np.float64)
    joules = np.diff(series.raw).astype(np.float64) * scale_of(QUANTITY, facts)
    poll_s = seconds_or(facts.poll_s, 1.0)
    back = (Hole(t[i], t[i + 1], Reason("total_backwards")) for i in np.flatnonzero(joules < 0))
    return Curve(
        t=t,
        joules=np.concatenate([[0.0], np.cumsum(np.maximum(joules, 0.0))]),
        method="codecarbon",
        step_s=poll_s,
        resolution_j=scale_of(QUANTITY, facts) / np.sqrt(6),
        holes=(
            *back,
            *gaps(t, _HOLE_PERIODS * poll_s, "account"),
        ),
    )


def stated(value: EnergyValue, devices: Sequence[MeterDevice]) -> EnergyValue:
    """``value`` with what CodeCarbon says of itself: ways, versions, and no uncertainty.

    The status is ``measured`` only where it says so of every component.
    """
    if value.joules is None:
        return value
    all_measured = all(device.facts(QUANTITY).source == "measured" for device in devices)
    descriptions = "; ".join(sorted(device.description for device in devices))
    return msgspec.structs.replace(
        value,
        status="measured" if all_measured else "estimated",
        u_sensor=None,
        method=f"{descriptions}; uncertainty not stated",
    )


def _ways(device: MeterDevice, sifted: Sifted) -> Ways:
    total = curve(device, sifted.samples)
    return Ways((explained(total, sifted.dropped(device.device, QUANTITY)),) if total else (), ())


def _sensor(_facts: QuantityFacts) -> Sensor:
    return Sensor()


SCOPE = Scope(
    name="codecarbon",
    title=Name("CodeCarbon's own account", "CodeCarbon"),
    status="stated",
    source=QUANTITY,
    main=frozenset({QUANTITY}),
    power=(),
    sensor=_sensor,
    ways=_ways,
    growth={},
    stated=stated,
)
