"""The most that a device can draw: limits for every check of readings. Pure.

A reading above these is no energy but a fault: of a driver, a bus, a unit. Each limit has room for
what real devices do:

GPU     A card's cap holds for its mean over about a second; in between it overshoots. PCI-SIG's
        CEM 5.1 (section "power excursions") lets a card draw 3 times its rated power for 0.1 ms,
        falling with the logarithm of the time to 1 at 1 s: 1.85 times over 20 ms, 1.5 over
        100 ms. A tenth is added for the sensor's own error, and no limit is below 1.25. On a
        700 W H200 the highest mean of 20 ms was 836 W (1.19), of 25 ms 966 W (1.38), of 1 s
        701 W: all lie far below.
        The cap is the highest that the card can be set to, or the one in effect where the card
        does not say; both unknown, `GPU_W`, more than any card is built for.
Package `PACKAGE_W`, or four times what the kernel calls its most, where that is less: desktop
        parts may draw 2.5 times of it for half a minute. No less than 100 W: small parts of 4.5 W
        or 6 W are sold with limits five times as high.
Outlet  What a C19 and its breaker can carry, `OUTLET_W`; an inlet three phases of
        125 A, `INLET_W`; or the rating in the plan.

Beside these, some raw values are no readings on any device: all bits set, in one of the widths that
devices use.
"""

from __future__ import annotations

import math

from kit.core.facts import QuantityFacts
from kit.core.units import QUANTITIES, scale_of

GPU_W, PACKAGE_W = 2000.0, 1000.0
OUTLET_W, INLET_W = 20 * 264.0, 3 * 125 * 277.0
# How old a counter's value may be when it is read, s: that much more may come at once.
GPU_RENEWED_S, PACKAGE_RENEWED_S = 0.1, 0.002
_EXCURSION, _SHORTEST_S, _DECADE = 3.0, 1e-4, 0.2171
_SENSOR, _LEAST = 1.1, 1.25
_PACKAGE_SHARE, _PACKAGE_LEAST_W = 4.0, 100.0
_OUTLET_SHARE = 1.25
# Over what time each reading of a card's power is a mean, s. Of some cards the "average" is one of
# far less than a second: it gets the room of a tenth.
GPU_POWER_S = {"gpu_power_sample": 0.02, "gpu_power_instant": 0.025, "gpu_power_average": 0.1}
# All bits set, signed and unsigned, of 16, 32 and 64 bits: "no value" in SNMP, NVML, I2C.
SENTINELS = frozenset(
    {2**15 - 1, 2**16 - 1, 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**64 - 1, -1, -(2**15), -(2**31)}
)
# Lowest and highest of a state that a working sensor shows, in the registry's units.
STATES: dict[str, tuple[float, float]] = {
    "gpu_temperature": (-40.0, 150.0),
    "gpu_memory_temperature": (-40.0, 150.0),
    "gpu_sm_clock": (0.0, 10_000.0),
    "gpu_memory_clock": (0.0, 50_000.0),
    "gpu_power_limit": (1.0, 20_000.0),
    "gpu_utilisation": (0.0, 100.0),
    "gpu_memory_utilisation": (0.0, 100.0),
    "gpu_performance_state": (0.0, 32.0),
    "gpu_memory_used": (0.0, 2.0**45),
}
# A word of 16 bits is an honest number of milliwatts, and no honest answer of a PDU.
_SHORT = frozenset({2**15 - 1, 2**16 - 1})
WIDE_SENTINELS = SENTINELS - _SHORT
NO_VALUE = "all bits of the value are set: the device's word for no reading"
_SHORTEST_PERIOD_S = 1e-6  # as the plan's schema allows, beside 0
_RATED_W = (1e-3, 1e7)


def fault(quantity: str, facts: QuantityFacts, raw: int, device: str = "") -> str:
    """Why a single raw reading cannot be; empty where it can, or where kit knows no such quantity.

    Args:
        device: its alias, which distinguishes an outlet from an inlet.
    """
    if quantity not in QUANTITIES:
        return ""
    value = raw * scale_of(quantity, facts)
    if quantity in STATES:
        low, high = STATES[quantity]
        return "" if low <= value <= high else f"{value:g} is what no working sensor shows"
    if quantity in GPU_POWER_S:
        cap = gpu_cap_w(facts)
        highest, sentinels = gpu_highest_w(cap, GPU_POWER_S[quantity]), WIDE_SENTINELS
    elif quantity == "pdu_power":
        highest, sentinels = outlet_highest_w(device, facts), SENTINELS
    else:
        return ""
    if raw in sentinels:
        return NO_VALUE
    return f"{value:.4g} W is more than the {highest:.4g} W it can draw" if value > highest else ""


def most_j(quantity: str, facts: QuantityFacts, seconds: float) -> float:
    """The most that a counter can grow by in ``seconds``, J."""
    if quantity == "gpu_energy":
        period_s = seconds_or(facts.period_s, GPU_RENEWED_S)
        return gpu_highest_w(gpu_cap_w(facts), seconds) * (seconds + period_s)
    if quantity == "cpu_energy":
        return package_highest_w(facts) * (seconds + PACKAGE_RENEWED_S)
    return math.inf


def overshoot(seconds: float) -> float:
    """The mean power over ``seconds`` that a card may draw, as a multiple of its cap."""
    ratio = _EXCURSION - _DECADE * math.log(max(seconds, _SHORTEST_S) / _SHORTEST_S)
    return max(_LEAST, _SENSOR * ratio)


def gpu_cap_w(facts: QuantityFacts, enforced_w: float | None = None) -> float:
    """A card's cap, W: the highest that it can be set to, else the one in effect."""
    return _limit_w(facts) or enforced_w or GPU_W


def gpu_highest_w(cap_w: float, seconds: float) -> float:
    """The most that a card of this cap can draw in the mean over ``seconds``, W."""
    return cap_w * overshoot(seconds)


def package_highest_w(facts: QuantityFacts) -> float:
    """The most that a CPU package can draw, W."""
    stated = _limit_w(facts)
    return min(PACKAGE_W, max(_PACKAGE_LEAST_W, _PACKAGE_SHARE * stated)) if stated else PACKAGE_W


def outlet_highest_w(device: str, facts: QuantityFacts) -> float:
    """The most that an outlet, an inlet or a whole PDU can carry, W."""
    stated = _limit_w(facts)
    if stated:
        return _OUTLET_SHARE * stated
    point = device.rpartition(":")[2]
    return _OUTLET_SHARE * (OUTLET_W if point[:1].isdigit() else INLET_W)


def seconds_or(stated: float | None, default: float) -> float:
    """A pace or a period of a plan's facts, s; ``default`` for none, and for 0."""
    return stated if stated and stated >= _SHORTEST_PERIOD_S else default


def _limit_w(facts: QuantityFacts) -> float | None:
    """What the plan says that a device can draw, W; None where it says nothing that can be."""
    low, high = _RATED_W
    return facts.limit_w if facts.limit_w and low <= facts.limit_w <= high else None


# Ids of so many prompts are sealed, to see where two runs part; of the others their hash.
PROMPTS_KEPT = 32
MOST_TOKEN_IDS = 1 << 32  # far above any vocabulary
# Images of a request, and pixels of a side: what a spec may ask for, and an answer may hold.
MOST_IMAGES, LONGEST_SIDE = 64, 1 << 13
# Of all images of one answer: a pixel that does not shrink is four bytes in base64, and the load
# driver reads 64 MiB of an answer.
MOST_PIXELS = 15 << 20
