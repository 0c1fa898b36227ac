"""The meaning of results, as text: for the page, the plain text and ``kit show``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from kit.core.units import event_reasons
from kit.energy import names
from kit.energy.names import COMPARATORS, SCOPES
from kit.energy.reasons import notices, sentence
from kit.energy.results.document import (
    CrossCheck,
    Fitted,
    Launch,
    NetEnergy,
    Phase,
    Place,
    Results,
    Split,
)
from kit.energy.steady import Slope, Steady
from kit.energy.value import EnergyValue
from kit.record.phases import INSIDE
from kit.show.rounding import number, with_u

# Every term of an energy's uncertainty: its meaning, and whether repeated runs average it out.
TERMS: dict[str, tuple[str, bool]] = {
    "edge": ("the block's edges, between two readings", True),
    "ticks": ("steps of the energy counter", True),
    "sampling": ("power between samples", True),
    "lag": ("how late readings are renewed", False),
    "resolution": ("last digit of the readings", True),
    "gain": ("the sensor's gain", False),
    "offset": ("the sensor's offset", False),
    "delay": ("the sensor's delay", False),
    "model": ("the model of the estimate", False),
}
STATES = {"steady": "steady", "not_steady": "not steady", "unknown": "unknown"}
# The windows in which a GPU's steady state is judged.
PLACES: dict[Place, str] = {
    "before": names.phase("loaded_idle", "before"),
    "within": names.phase("measured"),
}


# Notices that say of a run that its requests were not the work that its spec asks for.
_UNEQUAL = ("NOT_EQUAL_WORK", "TOKEN_MISMATCH", "CACHED_TOKENS")


def unequal(results: Results) -> str:
    """Why a run's work is not the work asked for; empty if it is."""
    told = notices(results.notices, len(results.launches))
    return "; ".join(dict.fromkeys(n.message for n in told if n.code in _UNEQUAL))


# --- what stands in the measured block --------------------------------------------------------


def scopes(launches: Iterable[Launch]) -> list[str]:
    """Scopes, then comparators, that have an energy in any phase."""
    phases = [p for launch in launches for p in launch.phases]
    every = (*SCOPES, *COMPARATORS)
    return [s for s in every if any(p.of(s).joules is not None for p in phases)]


def budget(energy: EnergyValue) -> list[tuple[str, float, float | None, str]]:
    """The terms of an energy's uncertainty, largest first.

    Returns:
        (term in words, standard uncertainty in J, share of the variance, what repeating does).
    """
    terms = energy.terms
    total = math.fsum(u * u for u in terms.values())
    rows = []
    for name, u in sorted(terms.items(), key=lambda item: -abs(item[1])):
        words, averages = TERMS.get(name, (name, False))
        does = "averages out" if averages else "stays the same"
        rows.append((words, u, u * u / total if total else None, does))
    return rows


def baseline(net: NetEnergy) -> str:
    """``baseline 118.3 W, drift -0.028 ± 0.023 W`` of a net energy; empty without one."""
    if net.baseline_w is None:
        return ""
    text = f"baseline {number(net.baseline_w)} W"
    if net.drift_w is not None:
        text += f", drift {with_u(net.drift_w, net.u_drift_w or 0.0)} W"
    return text


# --- what speaks for or against it ------------------------------------------------------------


def temperature(judged: Steady) -> str:
    """``+0.2 ± 0.1 °C/min``, or unknown."""
    return _slope(judged.temperature_c_per_min, "°C/min")


def power(judged: Steady) -> str:
    """``+8.2 ± 6.2 %/min``, or unknown."""
    return _slope(judged.power_percent_per_min, "%/min")


def _slope(slope: Slope | None, unit: str) -> str:
    if slope is None:
        return "too few readings"
    text = with_u(slope.value, slope.u)
    return f"{'' if text.startswith('-') else '+'}{text} {unit}"


def unsteady(launch: Launch) -> list[str]:
    """Why GPUs were not steady, or why that is unknown; one line for each window."""
    return [
        f"{gpu}, launch {launch.index}, {PLACES[place]}: {'; '.join(_why(judged))}"
        for gpu, places in launch.steady.items()
        for place, judged in places.items()
        if judged.status != "steady"
    ]


def _why(judged: Steady) -> list[str]:
    """The reasons; for slopes, which are shown too, only their limits."""
    reasons = []
    for reason in judged.reasons:
        if reason.code != "slope":
            reasons.append(sentence(reason))
            continue
        values = reason.values
        sure = abs(values["slope"]) - 2 * values["u"] > values["limit"]
        how = "beyond" if sure else "not surely within"
        reasons.append(f"{values['what']} {how} its limit of {values['limit']:g} a minute")
    return reasons


def masks(judged: Steady) -> str:
    """The clock event reasons in a window, as text."""
    if not judged.event_reasons:
        return "not read"
    names = sorted({word for mask in judged.event_reasons for word in event_reasons(mask)})
    return ", ".join(names) or "none"


def cross_check(check: CrossCheck) -> str:
    """``1.003 of the counter``, or why there is no ratio."""
    if check.ratio is None:
        return f"unmeasured: {sentence(check.reason)}"
    return f"power readings give {check.ratio:.3f} of the energy counter"


def per_token(fitted: Fitted | None) -> str:
    """``2.42 ± 0.11 mJ``, and ``± 0.07 mJ (sensor)`` if the gain is known."""
    if fitted is None:
        return "–"
    value, u = fitted.value, fitted.u
    scale, unit = (1000, "mJ") if abs(value) < 0.1 else (1, "J")
    text = f"{with_u(value * scale, u * scale)} {unit}"
    sensor = fitted.u_sensor
    return text if sensor is None else f"{text} ± {number(sensor * scale, 2)} (sensor)"


def split_over(split: Split) -> str:
    """``24 requests in 3 launches``: the base of a split's error."""
    many = f"{split.windows} requests"
    if split.launches:
        return f"{many} in {split.launches} launches"
    return f"{many}; the scatter between launches is not in ±"


def unmeasured(results: Results) -> list[tuple[str, str]]:
    """Scopes without any metric: (scope, reason)."""
    return [
        (name.partition("_energy_")[0], sentence(metric.reason))
        for name, metric in results.metrics.items()
        if name.endswith("_energy_per_request") and metric.value is None
    ]


def gaps(launch: Launch, shown: Sequence[str]) -> list[tuple[str, str]]:
    """Phases without energy, if others of their scope have it: (phase, reason)."""
    return [
        (f"{phase_name(phase)}, {names.scope(scope)}", sentence(reason))
        for phase in launch.phases
        for scope in shown
        if (reason := phase.of(scope).reason)
    ]


def phase_name(phase: Phase) -> str:
    """The name of a phase of results.json: ``idle (before)``."""
    return names.phase(phase.name, phase.part)


def in_order(phases: Sequence[Phase]) -> list[Phase]:
    """The blocks in time order, with the phases inside the measured one below it."""
    inside = [p for p in phases if p.name in INSIDE]
    ordered: list[Phase] = []
    for phase in phases:
        if phase.name not in INSIDE:
            ordered.append(phase)
        if phase.name == "measured":
            ordered += inside
    return ordered
