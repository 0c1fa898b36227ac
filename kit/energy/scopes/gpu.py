"""GPU boards: an energy counter, and power by 20 ms samples, at the instant, or averaged.

The ways from these readings to a curve are in `kit.energy.ways`. Sensors' errors without a
calibration are priors, the same in all readings of a card:

- gain ±5%: external meters against some 70 cards (Yang, Adamek, Armour, SC24, arXiv 2312.02741);
- offset ±5 W: NVIDIA's own figure (``nvidia-smi --help-query-gpu``, ``power.draw``). It matters
  at idle, where a gain says little;
- delay ±15 ms: the counter of an H200 sees a load end 8 to 15 ms after the host does. That its
  energy is published late, or is filtered on its way: nothing shows which, so that kit corrects
  neither.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from kit.core.facts import QuantityFacts, known
from kit.core.limits import most_j, seconds_or
from kit.core.model import MeterDevice
from kit.core.units import scale_of
from kit.energy.believable import Sifted
from kit.energy.curve import SQRT3, Sensor
from kit.energy.gpu import temperatures
from kit.energy.scopes.contract import Growth, Name, Scope, Ways
from kit.energy.ways import ways

GAIN, OFFSET_W, DELAY_S = 0.05, 5.0, 0.015
GAIN_SOURCE = "prior: ±5% per card (Yang, Adamek, Armour, SC24), not calibrated"
# What a calibration did not meet has the prior's errors on top of its own.
_PRIOR = Sensor(gain=GAIN / SQRT3, offset_w=OFFSET_W / SQRT3)
# A counter counts on while nobody reads it; after so long it may be another's, of a driver that was
# loaded again.
_COUNTER_HOLE_S = 5.0
_SAMPLE_HOLE_S, _GAUGE_HOLE_S, _POLL_S = 0.25, 0.5, 0.1
# A module draws more than the GPU on it by that much, at least.
_MODULE_SHARE = 1.1


def sensor(facts: QuantityFacts, degc: tuple[float, float] | None = None) -> Sensor:
    """What is known of the card's sensor, where its temperature (lowest, highest) was ``degc``.

    Outside the powers or temperatures that a calibration compared, the prior's errors come on top.
    """
    gain, offset = known(facts.gain, GAIN), known(facts.offset, OFFSET_W)
    delay = known(facts.delay_s, DELAY_S)
    errors = Sensor(gain=gain / SQRT3, offset_w=offset / SQRT3, delay_s=delay / SQRT3)
    if facts.valid_w is None:
        return errors
    met = facts.valid_w if _within(degc, facts.valid_degc) else (math.inf, -math.inf)
    return replace(errors, valid_w=met, outside=_PRIOR)


def _within(degc: tuple[float, float] | None, valid: Sequence[float] | None) -> bool:
    """Whether all temperatures lie in the range; of none that was read nothing is known."""
    if valid is None:
        return True
    return degc is not None and valid[0] <= degc[0] and degc[1] <= valid[1]


def _ways(device: MeterDevice, sifted: Sifted) -> Ways:
    degc = temperatures(device, sifted.samples)
    curves, doubts = ways(device, sifted, lambda facts: sensor(facts, degc))
    return Ways(curves, doubts)


def _corrected(facts: QuantityFacts, joules: float, seconds: float) -> float:
    watts = facts.offset_correction_w or 0.0
    return joules * known(facts.gain_correction, 1.0) + watts * seconds


def _is_own(latest: Mapping[str, int]) -> bool:
    """Whether a GPU's counter surely counts no module that it is part of.

    What it counts is judged from the whole run (`kit.energy.module`); until then nobody knows.
    """
    own = latest.get("gpu_power_average") or latest.get("gpu_power_instant")
    module = latest.get("gpu_module_power")
    return not (own and module and module > _MODULE_SHARE * own)


def _counted(facts: QuantityFacts, before: int, raw: int, seconds: float) -> float | None:
    """A counter that went backwards belongs to a driver that was reloaded; one that grew by more
    than the card can draw is none."""
    joules = (raw - before) * scale_of("gpu_energy", facts)
    return joules if 0 <= joules <= most_j("gpu_energy", facts, seconds) else None


def _of_window(facts: QuantityFacts, _before: int, raw: int, seconds: float) -> float | None:
    """A window's mean is of the time before it."""
    return raw * scale_of("gpu_power_sample", facts) * seconds if raw > 0 else None


def _instant(facts: QuantityFacts, before: int, raw: int, seconds: float) -> float | None:
    joules = before * scale_of("gpu_power_instant", facts) * seconds
    return joules if min(before, raw) > 0 else None


def _average(facts: QuantityFacts, before: int, raw: int, seconds: float) -> float | None:
    joules = before * scale_of("gpu_power_average", facts) * seconds
    return joules if min(before, raw) > 0 else None


def _gauge_hole_s(facts: QuantityFacts) -> float:
    return max(_GAUGE_HOLE_S, 5 * seconds_or(facts.poll_s, _POLL_S))


SCOPE = Scope(
    name="gpu",
    title=Name("GPU boards", "GPU", "GPUs"),
    status="measured",
    source="gpu_energy",
    main=frozenset({"gpu_energy", "gpu_power_sample"}),
    power=("gpu_power_instant", "gpu_power_sample", "gpu_power_average"),
    sensor=sensor,
    ways=_ways,
    growth={
        "gpu_energy": Growth(_counted, "counter", lambda _facts: _COUNTER_HOLE_S, _COUNTER_HOLE_S),
        "gpu_power_sample": Growth(_of_window, "20 ms samples", lambda _facts: _SAMPLE_HOLE_S),
        "gpu_power_instant": Growth(_instant, "instant power, held", _gauge_hole_s),
        "gpu_power_average": Growth(_average, "1 s average, held", _gauge_hole_s),
    },
    corrected=_corrected,
    is_own=_is_own,
)
