"""What a reader must know before believing a number; each notice has a stable code."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from kit.core.arrays import np
from kit.core.limits import STATES
from kit.core.model import Request
from kit.core.units import NS, QUANTITIES
from kit.energy import Doubt, Energy
from kit.energy.foreign import Foreign, Span, foreign_processes
from kit.energy.reason import Reason
from kit.energy.results.checks import gpus
from kit.energy.results.document import Launch, NetEnergy, NoticeRecord
from kit.energy.results.requests import measured
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

Note = Callable[[Reason], None]


def notices(
    records: RunRecords, energy: Energy, launches: list[Launch]
) -> tuple[NoticeRecord, ...]:
    """Every notice of a run; one that several launches share is listed once, with their numbers."""
    reasons = [Reason("SAMPLER_GAP", said=gap) for gap in records.samples.gaps]
    reasons += _doubts(energy.doubts())
    reasons += _caps(records)
    shared: dict[Reason, list[int]] = {}
    for launch in launches:

        def note(notice: Reason, number: int = launch.index) -> None:
            shared.setdefault(notice, []).append(number)

        _of_work(records, launch, note)
        _of_energy(launch, note)
        _of_state(launch, note)
        for notice in _foreign(records, launch.index):
            note(notice)
    lost = [Reason("SAMPLER_LOST", said=str(e.data.get("message"))) for e in records.losses]
    of_launches = [
        NoticeRecord(n.code, **n.values, launches=numbers) for n, numbers in shared.items()
    ]
    before, after = ([NoticeRecord(n.code, **n.values) for n in of] for of in (reasons, lost))
    return (*before, *of_launches, *after)


def _doubts(doubts: Sequence[Doubt]) -> Iterator[Reason]:
    """Readings that are not believed, each kind of them once for each device."""
    for doubt in (d for d in doubts if d.settled):
        yield Reason("COVERAGE", reason=doubt.as_reason())
    shown = [doubt.as_reason() for doubt in doubts if not doubt.settled]
    for reason in shown[:_MOST_DOUBTS]:
        yield Reason("READINGS_DOUBTED", reason=reason)
    if len(shown) > _MOST_DOUBTS:
        more = Reason("more_doubts", doubts=len(shown) - _MOST_DOUBTS)
        yield Reason("READINGS_DOUBTED", reason=more)


def _caps(records: RunRecords) -> Iterator[Reason]:
    """Power caps that were changed while the meters ran: before and after are not alike."""
    low, high = STATES["gpu_power_limit"]
    for (device, quantity), series in records.samples.series.items():
        if quantity != "gpu_power_limit":
            continue
        watts = np.round(series.raw * QUANTITIES[quantity].scale)
        values, times = np.unique(watts, return_counts=True)
        # A value that was read once is a glitch, or will be read again.
        is_cap = np.isin(watts, values[times > 1]) & (watts >= low) & (watts <= high)
        t, watts = series.t[is_cap], watts[is_cap]
        changed = np.flatnonzero(np.diff(watts))
        if len(changed) == 1:
            before, after = watts[changed[0]], watts[changed[0] + 1]
            at_s = float(t[changed[0] + 1] * NS)
            moved = Reason("cap_moved", before_w=float(before), after_w=float(after), at_s=at_s)
            yield Reason("CAP_CHANGED", device=device, reason=moved)
        elif len(changed):
            low, high = float(watts.min()), float(watts.max())
            moved = Reason("cap_moved_often", times=len(changed), low_w=low, high_w=high)
            yield Reason("CAP_CHANGED", device=device, reason=moved)


# --- work -----------------------------------------------------------------------------------


def _of_texts(records: RunRecords, _: int, good: list[Request]) -> Iterator[Reason]:
    """Whether the same tokens were generated, and when they came is known."""
    expected = {r.index: r.expect_tokens for r in records.schedule}
    untimed = sum(r.first_token is None for r in good)
    if untimed:
        yield Reason("UNTIMED_TOKENS", untimed=untimed, completed=len(good))
    if good and all(expected.get(r.index) is None for r in good):
        yield Reason("NOT_EQUAL_WORK")
    wrong = [r for r in good if expected.get(r.index) not in (None, r.output_tokens)]
    if wrong:
        yield Reason("TOKEN_MISMATCH", answers=len(wrong))


def _of_images(records: RunRecords, index: int, good: list[Request]) -> Iterator[Reason]:
    """Whether the same images were made, of the sides and in the steps that were asked for."""
    due = {r.index: (r.expect_images, r.body.get("size")) for r in records.schedule}
    steps = {r.index: r.expect_steps or 0 for r in records.schedule}
    sides = {
        answer.index: {f"{image.width}x{image.height}" for image in answer.images or ()}
        for answer in records.responses.get(index, ())
    }
    made = {r.index: (r.images, *sides.get(r.index, ())) for r in good}
    wrong = [index for index, images in made.items() if images != due.get(index)]
    if wrong:
        yield Reason("IMAGE_MISMATCH", answers=len(wrong))
    answers = records.responses.get(index, ())
    details = [
        (a.usage or {}).get("prompt_tokens_details") for a in answers if a.stage == "measured"
    ]
    dropped = [of.get("dropped_tokens") for of in details if isinstance(of, Mapping)]
    cut = sum(isinstance(tokens, int) and tokens > 0 for tokens in dropped)
    if cut:
        yield Reason("PROMPT_CUT", prompts=cut)
    taken = sum(r.steps or 0 for r in good)
    asked = sum(steps.get(r.index, 0) for r in good)
    if all(r.steps for r in good) and taken != asked:
        yield Reason("STEP_MISMATCH", steps=taken, asked=asked)


def _of_work(records: RunRecords, launch: Launch, note: Note) -> None:
    """Whether the same work was done, and the driver did not limit it."""
    index, counts = launch.index, launch.counts
    good = [r for r in measured(records, index) if r.status == "ok"]
    if counts.failed:
        failed, issued, failures = counts.failed, counts.issued, counts.failures
        note(Reason("FAILED_REQUESTS", failed=failed, issued=issued, failures=failures))
    of_work = _of_images if records.makes == "image" else _of_texts
    for notice in of_work(records, index, good):
        note(notice)
    cached = [r for r in good if r.cached_tokens]
    if cached:
        note(Reason("CACHED_TOKENS", prompts=len(cached)))
    driver = records.driver.get(index, {}).get("stages", {}).get("measured", {})
    for reason in _driver_faults(driver, launch):
        note(Reason("DRIVER_LIMITED", reason=reason))


def _driver_faults(driver: dict[str, Any], launch: Launch) -> list[Reason]:
    """The load driver must not be what limits the run."""
    faults = []
    if driver.get("cpu_share", 0) > _MAX_CPU_SHARE:
        faults.append(Reason("driver_busy", cpu_share=driver["cpu_share"]))
    limit = max(_MAX_LAG_S, 0.01 * (launch.latency.sent.ttft.p50 or 0.0))
    lag = (driver.get("lag_p99_ns") or 0) * NS
    if lag > limit:
        faults.append(Reason("driver_late", late_s=lag, limit_s=limit))
    return faults


# --- energy ---------------------------------------------------------------------------------


def _of_energy(launch: Launch, note: Note) -> None:
    """Views that disagree, baselines that drift, phases that the readings cannot resolve."""
    for device, check in launch.cross_check.items():
        limit = _REGISTER_CHECK if device.startswith("pdu:") else _CROSS_CHECK
        if check.ratio is not None and abs(check.ratio - 1) > limit:
            note(Reason("CROSS_CHECK", device=device, ratio=check.ratio))
    for scope, nets in launch.net.items():
        drift_w = _drift_w(launch, scope, nets["above_loaded_idle"])
        if drift_w is not None:
            note(Reason("BASELINE_DRIFT", scope=scope, drift_w=drift_w))
    block = launch.measured
    # What is behind the outlets cannot draw more than these show.
    if impossible := wall_below_parts([block.energy[s] for s in SCOPES]) if block else None:
        note(Reason("WALL_IMPOSSIBLE", reason=impossible))
    unresolved = [
        phase.name
        for phase in launch.phases
        if phase.name in INSIDE and _is_unresolved(phase.energy["gpu"].reason)
    ]
    if unresolved:
        note(Reason("PHASES_UNRESOLVED", phases=unresolved))


def _is_unresolved(reason: Reason | None) -> bool:
    return reason is not None and reason.code == "not_resolved"


def _drift_w(launch: Launch, scope: str, net: NetEnergy) -> float | None:
    """By how much the loaded idle power changed (W), where that is beyond its uncertainty and
    beyond 1% of the block's power."""
    block, drift_w = launch.measured, net.drift_w
    if SCOPES[scope].status == "estimated" or drift_w is None:
        return None
    if block is None or not block.duration_s:
        return None
    power = (block.energy[scope].joules or 0.0) / block.duration_s
    least = max(2 * (net.u_drift_w or 0.0), _DRIFT_SHARE * abs(power))
    return drift_w if abs(drift_w) > least else None


# --- state ----------------------------------------------------------------------------------


def _of_state(launch: Launch, note: Note) -> None:
    """GPUs that were not steady, or too briefly watched to say so."""
    for device, places in launch.steady.items():
        for place, judged in places.items():
            if judged.status == "not_steady":
                note(Reason("NOT_STEADY", device=device, place=place, reasons=judged.reasons))
        unknown = [judged for judged in places.values() if judged.status == "unknown"]
        if unknown:
            why = dict.fromkeys(_untold(r) for judged in unknown for r in judged.reasons)
            note(Reason("STEADY_UNKNOWN", device=device, reasons=tuple(why)))


def _untold(reason: Reason) -> Reason:
    """Why a view does not tell, without its figures: these stand with the steady state."""
    if reason.code != "slope":
        return reason
    return Reason("slope_unsure", what=reason.values["what"])


def _foreign(records: RunRecords, index: int) -> Iterator[Reason]:
    """Strangers on a GPU: any without the container, more than its own control group with it."""
    own = [p for p in records.phases if p.launch == index]
    spans = [Span(p.t0, p.t1, 0 if p.name == "idle" else 1) for p in own if p.name not in INSIDE]
    for device in gpus(records):
        processes = foreign_processes(records.samples, device, spans)
        if isinstance(processes, Foreign) and processes.most:
            yield Reason(
                "FOREIGN_PROCESSES",
                device=device.device,
                programs=processes.most,
                readings=processes.readings,
                of=processes.of,
            )
