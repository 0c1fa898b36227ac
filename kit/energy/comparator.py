"""Another tool's own account of energy, cut into kit's windows so that it stands beside kit's.

Nothing of it is kit's measurement: no sensor error is known, so that none is given, and the word
*measured* is only what the tool says of itself. What kit can tell is how well the readings can be
cut (``edge``), since they come once a second.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from kit.core.limits import seconds_of
from kit.core.model import EnergyValue, MeterDevice
from kit.core.units import QUANTITIES
from kit.energy.curve import Curve, Hole, gaps
from kit.record.samples import Samples

_QUANTITY = "codecarbon_energy"
_HOLE_PERIODS = 5


def codecarbon_curve(device: MeterDevice, samples: Samples) -> Curve | None:
    """Differences of the total that CodeCarbon tells."""
    facts, series = device.quantities.get(_QUANTITY), samples.get(device.device, _QUANTITY)
    if facts is None or series is None or len(series.t) < 2:
        return None
    t = series.t.astype(np.float64)
    joules = np.diff(series.raw).astype(np.float64) * QUANTITIES[_QUANTITY].scale
    poll_s = seconds_of(facts, "poll_s", 1.0)
    back = (Hole(t[i], t[i + 1], "its total went backwards") for i in np.flatnonzero(joules < 0))
    return Curve(
        t=t,
        joules=np.concatenate([[0.0], np.cumsum(np.maximum(joules, 0.0))]),
        method="codecarbon",
        step_s=poll_s,
        resolution_j=QUANTITIES[_QUANTITY].scale / np.sqrt(6),
        holes=(
            *back,
            *gaps(t, _HOLE_PERIODS * poll_s, "answer of CodeCarbon"),
        ),
    )


def stated(value: EnergyValue, devices: Sequence[MeterDevice]) -> EnergyValue:
    """``value`` with what CodeCarbon says of itself: ways, versions, and no uncertainty.

    The status is ``measured`` only where it says so of every component.
    """
    if value.joules is None:
        return value
    facts = [device.quantities.get(_QUANTITY, {}) for device in devices]
    all_measured = all(fact.get("source") == "measured" for fact in facts)
    said = "; ".join(sorted(device.description for device in devices))
    return msgspec.structs.replace(
        value,
        status="measured" if all_measured else "estimated",
        u_sensor=None,
        method=f"{said}; uncertainty not stated",
    )
