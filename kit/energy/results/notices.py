"""What a reader must know before believing a number; each notice has a stable code."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from kit.core.limits import STATES
from kit.core.model import EnergyValue
from kit.core.units import NS, QUANTITIES
from kit.energy import Doubt, Energy
from kit.energy.foreign import Foreign, Span, foreign_processes
from kit.energy.results.checks import gpus
from kit.energy.results.requests import measured
from kit.energy.results.windows import find
from kit.energy.sanity import wall_below_parts
from kit.energy.scopes import SCOPES
from kit.record.phases import INSIDE
from kit.record.records import RunRecords

_MAX_CPU_SHARE = 0.5
_MAX_LAG_S = 0.005
# Power that is read once a second and a register that is good to 2% agree less well.
_CROSS_CHECK, _REGISTER_CHECK = 0.02, 0.05
_DRIFT_SHARE = 0.01
_MOST_DOUBTS = 12
_RESTEADY = (
    "more warm-up requests or a longer phases.loaded_idle_s let it settle; phases.steady makes the "
    "run wait for it"
)

Document = dict[str, Any]
Note = Callable[[str, str], None]


def notices(records: RunRecords, energy: Energy, launches: list[Document]) -> list[Document]:
    """Every notice of a run; one that several launches share is told once, with their numbers."""
    found = [{"code": "SAMPLER_GAP", "message": gap} for gap in records.samples.gaps]
    found += _doubts(energy.doubts())
    found += [{"code": "CAP_CHANGED", "message": message} for message in _caps(records)]
    shared: dict[tuple[str, str], list[int]] = {}
    for launch in launches:

        def note(code: str, message: str, number: int = launch["launch"]) -> None:
            shared.setdefault((code, message), []).append(number)

        _of_work(records, launch, note)
        _of_energy(launch, note)
        _of_state(launch, note)
        for message in _foreign(records, launch["launch"]):
            note("FOREIGN_PROCESSES", message)
    for (code, message), numbers in shared.items():
        found.append({"code": code, "message": f"{_named(numbers, len(launches))}: {message}"})
    for event in records.losses:
        found.append({"code": "SAMPLER_LOST", "message": str(event.data.get("message"))})
    return found


def _doubts(doubts: Sequence[Doubt]) -> Iterator[Document]:
    """Readings that are not believed, each kind of them once for each device."""
    for doubt in (d for d in doubts if d.settled):
        yield {"code": "COVERAGE", "message": doubt.words()}
    told = [doubt.words() for doubt in doubts if not doubt.settled]
    for message in told[:_MOST_DOUBTS]:
        yield {"code": "READINGS_DOUBTED", "message": message}
    if len(told) > _MOST_DOUBTS:
        more = f"{len(told) - _MOST_DOUBTS} more doubts: see `doubts` in the results"
        yield {"code": "READINGS_DOUBTED", "message": more}


def _caps(records: RunRecords) -> Iterator[str]:
    """Power caps that were changed while the meters ran: before and after are not alike."""
    low, high = STATES["gpu_power_limit"]
    for (device, quantity), series in records.samples.series.items():
        if quantity != "gpu_power_limit":
            continue
        watts = np.round(series.raw * QUANTITIES[quantity].scale)
        values, times = np.unique(watts, return_counts=True)
        # A value that was read once is a glitch, or will be read again.
        kept = np.isin(watts, values[times > 1]) & (watts >= low) & (watts <= high)
        t, watts = series.t[kept], watts[kept]
        changed = np.flatnonzero(np.diff(watts))
        if len(changed) == 1:
            before, after = watts[changed[0]], watts[changed[0] + 1]
            at = t[changed[0] + 1] * NS
            yield f"{device}: its power cap was {before:g} W, and {after:g} W from {at:.1f} s on"
        elif len(changed):
            moved = f"{len(changed)} times, between {watts.min():g} W and {watts.max():g} W"
            yield f"{device}: its power cap was changed {moved}"


def _named(numbers: list[int], launches: int) -> str:
    """``launch 1``, ``launches 0, 2``, ``every launch``."""
    if len(numbers) == launches > 1:
        return "every launch"
    return f"launch{'es' * (len(numbers) > 1)} {', '.join(map(str, numbers))}"


# --- work -----------------------------------------------------------------------------------


def _of_work(records: RunRecords, launch: Document, note: Note) -> None:
    """Whether the same work was done, and the driver did not limit it."""
    index, counts = launch["launch"], launch["requests"]
    good = [r for r in measured(records, index) if r.status == "ok"]
    expected = {r.index: r.expect_tokens for r in records.schedule}
    if counts["failed"]:
        why = ", ".join(f"{code} {n}×" for code, n in counts["failures"].items())
        note("FAILED_REQUESTS", f"{counts['failed']} of {counts['issued']} requests failed: {why}")
    untimed = sum(r.first_token is None for r in good)
    if untimed:
        note(
            "UNTIMED_TOKENS",
            f"{untimed} of {len(good)} answers do not show when their tokens came; times to first "
            "token and per token are of the others",
        )
    if good and all(expected.get(r.index) is None for r in good):
        note("NOT_EQUAL_WORK", "the runtime decides how many tokens it generates")
    wrong = [r for r in good if expected.get(r.index) not in (None, r.output_tokens)]
    if wrong:
        note("TOKEN_MISMATCH", f"{len(wrong)} answers have not the tokens asked for")
    cached = [r for r in good if r.cached_tokens]
    if cached:
        note("CACHED_TOKENS", f"{len(cached)} prompts were served partly from a cache")
    driver = records.driver.get(index, {}).get("stages", {}).get("measured", {})
    for message in _driver_faults(driver, launch):
        note("DRIVER_LIMITED", message)


def _driver_faults(driver: Document, launch: Document) -> list[str]:
    """The load driver must not be what limits the run."""
    found = []
    if driver.get("cpu_share", 0) > _MAX_CPU_SHARE:
        found.append(f"the load driver used {driver['cpu_share']:.0%} of its CPU")
    ttft = launch["latency"]["sent"]["ttft"].get("p50", 0.0)
    limit = max(_MAX_LAG_S, 0.01 * ttft)
    lag = (driver.get("lag_p99_ns") or 0) * NS
    if lag > limit:
        found.append(f"requests left up to {lag * 1e3:.1f} ms late (limit {limit * 1e3:.1f} ms)")
    return found


# --- energy ---------------------------------------------------------------------------------


def _of_energy(launch: Document, note: Note) -> None:
    """Views that disagree, baselines that drift, phases that the readings cannot resolve."""
    for device, check in launch["cross_check"].items():
        limit = _REGISTER_CHECK if device.startswith("pdu:") else _CROSS_CHECK
        if check["status"] == "measured" and abs(check["ratio"] - 1) > limit:
            note(
                "CROSS_CHECK", f"{device}: power readings give {check['ratio']:.3f} of the counter"
            )
    for scope, nets in launch["net"].items():
        message = _drift(launch, scope, nets["above_loaded_idle"])
        if message:
            note("BASELINE_DRIFT", message)
    impossible = _below_parts(launch)
    if impossible:
        note("WALL_IMPOSSIBLE", impossible)
    unresolved = [
        phase["phase"]
        for phase in launch["phases"]
        if phase["phase"] in INSIDE
        and str(phase["energy"]["gpu"].get("reason", "")).startswith("not resolved")
    ]
    if unresolved:
        told = " and ".join(unresolved)
        note("PHASES_UNRESOLVED", f"{told}: too short for energies of their own; see `split`")


def _below_parts(launch: Document) -> str:
    """The wall cannot show less than what the GPUs and CPU packages behind it draw."""
    block = find(launch["phases"], "measured", None)
    if block is None:
        return ""
    energies = {scope: block["energy"][scope] for scope in SCOPES}
    return wall_below_parts([EnergyValue(scope=s, **energy) for s, energy in energies.items()])


def _drift(launch: Document, scope: str, net: Document) -> str:
    """The loaded idle power changed beyond its uncertainty and beyond 1% of the block's power."""
    block = find(launch["phases"], "measured", None)
    if SCOPES[scope].status == "estimated" or "drift_w" not in net:
        return ""
    if block is None or not block["duration_s"]:
        return ""
    power = block["energy"][scope]["joules"] / block["duration_s"]
    drift, u = net["drift_w"], net["u_drift_w"]
    if abs(drift) <= 2 * u or abs(drift) <= _DRIFT_SHARE * abs(power):
        return ""
    return (
        f"{scope}: loaded idle power moved by {drift:+.3g} W over the block; "
        "the net is interpolated between the two"
    )


# --- state ----------------------------------------------------------------------------------


def _of_state(launch: Document, note: Note) -> None:
    """GPUs that were not steady, or too briefly watched to say so."""
    for device, places in launch["steady"].items():
        for place, judged in places.items():
            where = "before the block" if place == "before" else "within the block"
            if judged["status"] == "not_steady":
                told = "; ".join(judged["reasons"])
                note("NOT_STEADY", f"{device} {where}: {told}; {_RESTEADY}")
        unknown = [judged for judged in places.values() if judged["status"] == "unknown"]
        if unknown:
            why = dict.fromkeys(_untold(str(r)) for judged in unknown for r in judged["reasons"])
            note(
                "STEADY_UNKNOWN",
                f"{device}: not known whether it was steady: {'; '.join(why)}; a minute of "
                "phases.loaded_idle_s and of measured work tells most",
            )


def _untold(reason: str) -> str:
    """Why a view does not tell, without its figures: these stand with the steady state."""
    what, moves, _ = reason.partition(" moves by ")
    return f"whether the {what} keeps within its limit is not sure" if moves else reason


def _foreign(records: RunRecords, index: int) -> Iterator[str]:
    """Strangers on a GPU: any without the container, more than its own control group with it."""
    own = [p for p in records.phases if p.launch == index]
    spans = [Span(p.t0, p.t1, 0 if p.name == "idle" else 1) for p in own if p.name not in INSIDE]
    for device in gpus(records):
        found = foreign_processes(records.samples, device, spans)
        if isinstance(found, Foreign) and found.most:
            yield (
                f"{device.device}: at least {found.most} programs of others on it, in "
                f"{found.readings} of {found.of} readings; their energy is in the run's"
            )
