"""The contract of a scope of energy: one record in one file, which results and views read.

A scope is what an energy is of: the GPUs, the CPU packages, the wall outlets. Which meter reads it
does not matter: a reading belongs to the scope of its quantity (`kit.core.units`), so that a meter
of another package counts as kit's own do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from kit.core.facts import QuantityFacts
from kit.core.model import MeterDevice
from kit.energy.believable import Sifted
from kit.energy.curve import Curve, Sensor
from kit.energy.doubts import Doubt
from kit.energy.reason import Reason
from kit.energy.value import EnergyValue


class Name(NamedTuple):
    """What a thing is called: in full, in few letters for a narrow column, and a scope's devices
    when there are several.
    """

    full: str
    short: str
    devices: str = ""


class Ways(NamedTuple):
    """Every way that a device's readings allow, best first, and what is in doubt of them."""

    curves: tuple[Curve, ...]
    doubts: tuple[Doubt, ...]


class Growth(NamedTuple):
    """How a running sum grows from one reading to the next (`kit.energy.running.RunningSum`).

    Attributes:
        joules: energy between two readings, of (facts, raw before, raw, seconds between), J, not
            yet corrected by a calibration. None: nothing is known of that stretch.
        words: how energy is found by it.
        hole_s: readings further apart (s) leave a hole, as in the scope's curve.
        rest_s: a counter that is renewed many times a second, at rest too: one that stands still
            for longer (s) leaves a hole. None for what may stand still.
    """

    joules: Callable[[QuantityFacts, int, int, float], float | None]
    words: str
    hole_s: Callable[[QuantityFacts], float]
    rest_s: float | None = None


class Scope(NamedTuple):
    """Everything about one scope.

    Attributes:
        name: the word in documents and in `kit.core.units.Quantity.scope`.
        title: what every face calls it.
        status: what its energies are; a scope of another tool's own account says ``stated``.
        source: the quantity whose reason is the scope's where it has no energy.
        main: the quantities that its energies are made of, besides the one named by the way.
        power: quantities that are its power now, best first.
        sensor: errors of the sensor by the facts of a quantity, its prior where they say nothing.
        ways: curves of a device's energy.
        growth: running sums by quantity, best first.
        corrected: energy (J) over seconds by a device's calibration: of (facts, joules, seconds).
        of_zero: what a power of 0 W means, by its facts, where it is no failed reading.
        is_own: whether the running sum is surely the device's own, by its latest raw readings.
        stated: what to make of an energy of another tool's account; None for kit's own scopes.
    """

    name: str
    title: Name
    status: Literal["measured", "estimated", "stated"]
    source: str
    main: frozenset[str]
    power: tuple[str, ...]
    sensor: Callable[[QuantityFacts], Sensor]
    ways: Callable[[MeterDevice, Sifted], Ways]
    growth: Mapping[str, Growth]
    corrected: Callable[[QuantityFacts, float, float], float] = lambda _facts, joules, _s: joules
    of_zero: Callable[[QuantityFacts], Reason | None] = lambda _facts: None
    is_own: Callable[[Mapping[str, int]], bool] = lambda _latest: True
    stated: Callable[[EnergyValue, Sequence[MeterDevice]], EnergyValue] | None = None
