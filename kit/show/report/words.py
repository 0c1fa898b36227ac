"""The meaning of results, as text: for the page, the plain text and ``kit show``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kit.core.units import event_reasons
from kit.energy import names
from kit.energy.names import COMPARATORS, SCOPES
from kit.energy.reasons import sentence
from kit.record.phases import INSIDE
from kit.show.report.rounding import number, with_u

Document = Mapping[str, Any]

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
PLACES = {"before": names.phase("loaded_idle", "before"), "within": names.phase("measured")}


# --- what stands in the measured block --------------------------------------------------------


def block(launch: Document) -> Document | None:
    """The measured block, if the launch has one."""
    return next((p for p in launch["phases"] if p["phase"] == "measured"), None)


def scopes(launches: Iterable[Document]) -> list[str]:
    """Scopes, then comparators, that have an energy in any phase."""
    phases = [p for launch in launches for p in launch["phases"]]
    return [
        s
        for s in (*SCOPES, *COMPARATORS)
        if any(p["energy"].get(s, {}).get("status", "unmeasured") != "unmeasured" for p in phases)
    ]


def budget(energy: Document) -> list[tuple[str, float, float | None, str]]:
    """The terms of an energy's uncertainty, largest first.

    Returns:
        (term in words, standard uncertainty in J, share of the variance, what repeating does).
    """
    terms = energy.get("terms") or {}
    total = math.fsum(u * u for u in terms.values())
    rows = []
    for name, u in sorted(terms.items(), key=lambda item: -abs(item[1])):
        words, averages = TERMS.get(name, (name, False))
        does = "averages out" if averages else "stays the same"
        rows.append((words, u, u * u / total if total else None, does))
    return rows


def baseline(net: Document) -> str:
    """``baseline 118.3 W, drift -0.028 ± 0.023 W`` of a net energy."""
    if "baseline_w" not in net:
        return ""
    told = f"baseline {number(net['baseline_w'])} W"
    if "drift_w" in net:
        told += f", drift {with_u(net['drift_w'], net['u_drift_w'])} W"
    return told


# --- what speaks for or against it ------------------------------------------------------------


def slope(judged: Document, key: str, unit: str) -> str:
    """``+8.2 ± 6.2 %/min``, or unknown."""
    if key not in judged:
        return "too few readings"
    told = with_u(judged[key]["value"], judged[key]["u"])
    return f"{'' if told.startswith('-') else '+'}{told} {unit}"


def unsteady(launch: Document) -> list[str]:
    """Why GPUs were not steady, or why that is unknown; one line for each window."""
    return [
        f"{gpu}, launch {launch['launch']}, {PLACES[place]}: {'; '.join(_why(judged))}"
        for gpu, places in launch["steady"].items()
        for place, judged in places.items()
        if judged["status"] != "steady"
    ]


def _why(judged: Document) -> list[str]:
    """The reasons; for slopes, which are shown too, only their limits."""
    found = []
    for reason in judged["reasons"]:
        if not isinstance(reason, Mapping) or reason.get("code") != "slope":
            found.append(sentence(reason))
            continue
        sure = abs(reason["slope"]) - 2 * reason["u"] > reason["limit"]
        how = "beyond" if sure else "not surely within"
        found.append(f"{reason['what']} {how} its limit of {reason['limit']:g} a minute")
    return found


def masks(judged: Document) -> str:
    """The clock event reasons in a window, as text."""
    if "event_reasons" not in judged:
        return "not read"
    seen = sorted({word for mask in judged["event_reasons"] for word in event_reasons(mask)})
    return ", ".join(seen) or "none"


def cross_check(check: Document) -> str:
    """``1.003 of the counter``, or why there is no ratio."""
    if check["status"] == "unmeasured":
        return f"unmeasured: {sentence(check['reason'])}"
    return f"power readings give {check['ratio']:.3f} of the energy counter"


def per_token(fitted: Document) -> str:
    """``2.42 ± 0.11 mJ``, and ``± 0.07 mJ (sensor)`` if the gain is known."""
    value, u = fitted["value"], fitted["u"]
    scale, unit = (1000, "mJ") if abs(value) < 0.1 else (1, "J")
    told = f"{with_u(value * scale, u * scale)} {unit}"
    sensor = fitted.get("u_sensor")
    return told if sensor is None else f"{told} ± {number(sensor * scale, 2)} (sensor)"


def split_over(found: Document) -> str:
    """``24 requests in 3 launches``: the base of a split's error."""
    many = f"{found['windows']} requests"
    if found.get("launches"):
        return f"{many} in {found['launches']} launches"
    return f"{many}; the scatter between launches is not in ±"


def unmeasured(results: Document) -> list[tuple[str, str]]:
    """Scopes without any metric: (scope, reason)."""
    return [
        (name.partition("_energy_")[0], sentence(metric["reason"]))
        for name, metric in results["metrics"].items()
        if name.endswith("_energy_per_request") and metric["status"] == "unmeasured"
    ]


def gaps(launch: Document, shown: Sequence[str]) -> list[tuple[str, str]]:
    """Phases without energy, if others of their scope have it: (phase, reason)."""
    return [
        (f"{phase_name(phase)}, {names.scope(scope)}", sentence(phase["energy"][scope]["reason"]))
        for phase in launch["phases"]
        for scope in shown
        if phase["energy"].get(scope, {}).get("status") == "unmeasured"
    ]


def phase_name(phase: Document) -> str:
    """The name of a phase of results.json: ``idle (before)``."""
    return names.phase(phase["phase"], phase["part"])


def in_order(phases: Sequence[Document]) -> list[Document]:
    """The blocks in time order, with the phases inside the measured one below it."""
    inside = [p for p in phases if p["phase"] in INSIDE]
    found: list[Document] = []
    for phase in phases:
        if phase["phase"] not in INSIDE:
            found.append(phase)
        if phase["phase"] == "measured":
            found += inside
    return found
