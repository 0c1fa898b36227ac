"""L4: the journal's grammar. The runner writes its events in one order and at one pace."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from kit import __version__
from kit.core.arrays import np
from kit.core.model import Event, Finding, Manifest
from kit.energy import scopes
from kit.judge.verify import clocks
from kit.judge.verify.verdict import Check, check, judged
from kit.judge.verify.versions import ruled_by
from kit.record.phases import BLOCKS
from kit.record.records import RunRecords
from kit.record.samples import Ints, Series
from kit.run.watch import ANCHOR_EVERY_S, LIVE_EVERY_S

# A busy host delays the runner, but not down to a tenth of the usual number.
_SLOWEST, _SHARE = 20, 0.1
# Nothing happens between two launches; a stopping sampler waits for its slowest device.
_PAUSE_S, _STOP_S = 10.0, 60.0
# The heartbeat's events. With two anchors at the usual distance and no live reading between
# them, the runner was not standing still. After a few seconds without events, it may have been.
_BEATS = frozenset({"live", "clock.anchor"})
_PACE_SHARE, _STILL_S = 0.9, 2.0
# An outlet is read by a process that waits for a network, and shown when it answers.
_ALWAYS_SHOWN = ("gpu", "cpu", "estimate")
_SHOWN_QUANTITIES = (
    *("gpu_power_instant", "gpu_power_sample", "gpu_power_average"),
    *("gpu_energy", "cpu_energy", "cpu_busy"),
)
_AROUND: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "startup": (("container.created", "container.started", "container.ready"), ()),
    "warmup": ((), ("stage.done warmup",)),
    "measured": ((), ("stage.done measured",)),
    "shutdown": (("container.stopped",), ("container.removed",)),
}
_STEPS = ("startup.step", "shutdown.step")
_BEFORE, _AFTER = ("run.registered", "sampler.started"), ("sampler.stopped", "run.end")
# Rules of preflight that follow from spec, plan and the fingerprint alone, by their codes.
_DERIVED = frozenset(
    {
        *("IMAGE", "IMAGE_DIFFERENT", "SHM", "CPUS", "CPUS_SHARED", "CPUS_FEW"),
        *("FREQUENCY", "FREQUENCY_GOVERNOR", "METER", "METER_ABSENT", "METER_SILENT"),
        *("RAPL_UNREADABLE", "ENERGY", "ENERGY_ESTIMATED", "ENERGY_UNMEASURED"),
        *("PRIMARY_UNMEASURED", "PRIMARY_ESTIMATED"),
    }
)
_PROBLEMS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


def checks(records: RunRecords, manifest: Manifest) -> list[Check]:
    """Check order, findings and heartbeat of a complete run."""
    if manifest.status != "complete":
        return []
    return [
        judged("JOURNAL_ORDER", _order(records), "events are in the runner's order"),
        _outside(records),
        _findings(records),
        _heartbeat(records),
    ]


# --- order ------------------------------------------------------------------------------------


def _order(records: RunRecords) -> Iterator[str]:
    """The events of every run, in their one possible order."""
    expected = [
        label for n in range(records.spec.launches) for label in _launch(n, _steps(records, n))
    ]
    kinds = {*_STEPS, *expected, *(entry.partition(" ")[0] for entry in expected)}
    labels = [label for e in records.events if (label := _label(e)).partition(" ")[0] in kinds]
    if labels == _former(expected):
        expected = labels
    for label, due in zip(labels, expected, strict=False):
        if label != due:
            yield f"{label[:60]!a} is in the place of {due!a}"
            return
    if len(labels) != len(expected):
        yield f"{len(labels)} events of launches, a run like this has {len(expected)}"
    yield from _edges(records.events)


def _launch(index: int, steps: Mapping[str, list[str]]) -> Iterator[str]:
    yield f"launch.begin {index}"
    for name, part in BLOCKS:
        inside, after = _AROUND.get(name, ((), ()))
        own = [f"{name}.step {step}" for step in steps.get(f"{name}.step", ())]
        inside = (*own, *inside) if name == "shutdown" else (*inside, *own)
        yield f"phase.begin {index} {name} {part}"
        yield from (_numbered(entry, index) for entry in inside)
        yield f"phase.end {index} {name} {part}"
        yield from (_numbered(entry, index) for entry in after)
    yield f"launch.end {index}"


def _numbered(entry: str, index: int) -> str:
    """A kind, or a kind with a stage or a step, with the launch's number."""
    kind, _, rest = entry.partition(" ")
    return f"{kind} {index}{rest and ' ' + rest}"


def _steps(records: RunRecords, index: int) -> dict[str, list[str]]:
    """The steps of a launch by kind: as its runtime gives them, or as journalled where another
    version of kit, or a runtime that this kit does not know, gave them.
    """
    from kit.core.errors import UsageError
    from kit.spec import runtimes

    try:
        runtime = runtimes.get(records.spec.runtime.name)
        if records.plan.kit_version == __version__:
            due = (runtime.preparing(records.spec), runtime.closing(records.spec))
            return {k: [r.name for r in own] for k, own in zip(_STEPS, due, strict=True)}
    except (UsageError, *_PROBLEMS):
        pass
    own = [e for e in records.events if e.kind in _STEPS and e.data["launch"] == index]
    return {kind: [e.data["name"] for e in own if e.kind == kind] for kind in _STEPS}


def _former(expected: list[str]) -> list[str]:
    """The order under formulas 1: a stage was done before its phase ended."""
    order = list(expected)
    for n in range(1, len(order)):
        if order[n].startswith("stage.done"):
            order[n - 1 : n + 1] = order[n], order[n - 1]
    return order


def _label(event: Event) -> str:
    """An event's kind with its launch and its phase or stage, in one line to compare."""
    data = event.data
    if event.kind.startswith("phase."):
        return f"{event.kind} {data['launch']} {data['phase']} {data['part']}"
    if event.kind == "stage.done":
        return f"{event.kind} {data['launch']} {data['stage']}"
    if event.kind in _STEPS:
        return f"{event.kind} {data['launch']} {data['name']}"
    return f"{event.kind} {data['launch']}" if "launch" in data else event.kind


def _edges(events: tuple[Event, ...]) -> Iterator[str]:
    """Events that must come before the first launch, and after the last one."""
    kinds = [e.kind for e in events]
    if "launch.begin" not in kinds:
        return
    first = kinds.index("launch.begin")
    last = len(kinds) - 1 - kinds[::-1].index("launch.end") if "launch.end" in kinds else first
    for kind in ("finding", *_BEFORE):
        if kind in kinds[first:]:
            yield f"{kind} comes after the first launch began"
    for kind in _AFTER:
        if kind in kinds[:last]:
            yield f"{kind} comes before the last launch ended"


def _outside(records: RunRecords) -> Check:
    """Check that no time lies outside launches: each follows the one before at once.

    A launch that was removed leaves a gap with heartbeats, or with readings, as long as a launch
    takes. A standstill of the machine leaves neither.
    """
    problems: list[str] = []
    doubts: list[str] = []
    beats = [e.t for e in records.events if e.kind in _BEATS]
    spans = list(_launches(records.events))
    shortest = min((b - a for a, b in spans), default=0)
    for where, a, b, longest_s in _between(records.events, spans):
        if (b - a) * 1e-9 <= longest_s:
            continue
        went_on = b - a >= shortest and _is_read(records, a + (b - a) // 4, b - (b - a) // 4)
        beat = bisect_right(beats, a) < bisect_left(beats, b)
        findings = problems if went_on or beat else doubts
        findings.append(f"{(b - a) * 1e-9:.1f} s {where} belong to none")
    return judged("TIME_OUTSIDE", problems, "the meters ran for the launches alone", doubts)


def _launches(events: tuple[Event, ...]) -> Iterator[tuple[int, int]]:
    """Begin and end of each launch, ns."""
    ends = [e.t for e in events if e.kind == "launch.end"]
    begins = [e.t for e in events if e.kind == "launch.begin"]
    return zip(begins, ends, strict=False)


def _between(
    events: tuple[Event, ...], spans: list[tuple[int, int]]
) -> Iterator[tuple[str, int, int, float]]:
    """Intervals outside of launches: where, begin and end (ns), and their usual length."""
    started = [e.t for e in events if e.kind == "sampler.started"]
    stopped = [e.t for e in events if e.kind == "sampler.stopped"]
    if not spans or not started or not stopped:
        return
    yield "before the first launch", max(started), spans[0][0], _PAUSE_S
    for (_, end), (begin, _) in pairwise(spans):
        yield "between two launches", end, begin, _PAUSE_S
    yield "after the last launch", spans[-1][1], min(stopped), _STOP_S


def _is_read(records: RunRecords, a: int, b: int) -> bool:
    """Whether any meter was read between two times (ns)."""
    return any(
        bool(((s.t0 > a) & (s.t0 < b)).any()) for s in records.samples.series.values() if len(s.t0)
    )


# --- findings ---------------------------------------------------------------------------------


def _findings(records: RunRecords) -> Check:
    """Check that preflight passed with findings, and has those that follow from the plan."""
    journalled = {
        (e.data.get("code"), e.data.get("level")) for e in records.events if e.kind == "finding"
    }
    code, fine = "FINDINGS_DIFFER", "preflight's findings follow from the plan"
    if not journalled:
        return check(code, "FAIL", "preflight found nothing, which it never does")
    if any(level == "fail" for _, level in journalled):
        return check(code, "FAIL", "preflight forbade the run, and it ran")
    return ruled_by(records.plan, code, _missing_findings(records, journalled), fine)


def _missing_findings(records: RunRecords, journalled: set[tuple[Any, Any]]) -> Iterator[str]:
    try:
        derived = [f for f in _derived(records) if f.code in _DERIVED]
    except _PROBLEMS as error:
        yield f"they cannot be derived from plan and fingerprint ({type(error).__name__})"
        return
    for finding in derived:
        if (finding.code, finding.level) not in journalled:
            yield f"{finding.code} ({finding.level}) follows from the plan and is not there"


def _derived(records: RunRecords) -> list[Finding]:
    """The findings of preflight's rules, applied to the facts that are sealed."""
    from kit.run import plan, preflight

    files = records.plan.model.files if records.plan.model else ()
    gathered: dict[str, Any] = {
        "host": records.env_start,
        "weights": {f"{plan.WEIGHTS_DIR}/{f.path}": f.size for f in files},
        "disk_free": 1 << 60,
        "port_free": {"absent": "not sealed"},
        "gpu_energy": {"absent": "not sealed"},
        "other_runs": [],
    }
    return preflight.check(records.plan, records.spec, gathered)


# --- heartbeat --------------------------------------------------------------------------------


def _heartbeat(records: RunRecords) -> Check:
    """Check for missing live readings: twice a second while meters are read.

    A runner or a sampler that stands still writes none. But a runner that wrote anchors while its
    meters were read must also have written live readings.
    """
    streams = _shown_streams(records)
    times = [
        e.t for e in records.events if e.kind == "live" and e.data.keys() & {"power", "joules"}
    ]
    problems: list[str] = []
    doubts: list[str] = []
    if streams:
        anchors = [e.t for e in records.events if e.kind == "clock.anchor"]
        read = np.sort(np.concatenate([s.t0 for s in streams]))
        for a, b in clocks.gaps(records.phases, times, _SLOWEST * LIVE_EVERY_S):
            findings = problems if _beat_meanwhile(anchors, read, a, b) else doubts
            findings.append(f"no live reading between {a * 1e-9:.1f} s and {b * 1e-9:.1f} s")
        usual = _usual(records, streams)
        if len(times) < _SHARE * usual:
            problems.append(f"{len(times)} live readings, {usual} are usual")
    return judged("LIVE_MISSING", problems, "live readings came at their pace", doubts)


def _beat_meanwhile(anchors: list[int], read: Ints, a: int, b: int) -> bool:
    """Whether the runner wrote anchors from ``a`` to ``b`` (ns), and meters were read meanwhile."""
    beats = anchors[bisect_right(anchors, a) : bisect_left(anchors, b)]
    if not beats or beats[-1] - beats[0] < _PACE_SHARE * ANCHOR_EVERY_S * 1e9:
        return False
    first, last = np.searchsorted(read, beats[0], "right"), np.searchsorted(read, beats[-1])
    return bool(first < last)


def _usual(records: RunRecords, streams: list[Series]) -> int:
    """The usual number of live readings: one each half second of watched phases in which
    meters were read and the runner did not stand still."""
    bins = np.unique(np.concatenate([s.t0 for s in streams]) // round(LIVE_EVERY_S * 1e9))
    at = (bins * LIVE_EVERY_S * 1e9).astype(np.int64)
    inside = np.zeros(len(at), bool)
    for phase in records.phases:
        if phase.name in clocks.WATCHED:
            inside |= (at >= phase.t0) & (at < phase.t1)
    written = np.array([e.t for e in records.events], np.int64)
    after = np.searchsorted(written, at)
    within = (after > 0) & (after < len(written))
    ends, begins = written[after[within]], written[after[within] - 1]
    inside[within] &= ~((ends - begins > _STILL_S * 1e9) & (at[within] < ends))
    return int(np.count_nonzero(inside))


def _shown_streams(records: RunRecords) -> list[Series]:
    """Quantities that are read all the time and that Live shows."""
    streams = [
        records.samples.get(device.device, quantity)
        for meter in records.plan.meters
        if scopes.of_meter(meter) in _ALWAYS_SHOWN
        for device in meter.devices
        for quantity in _SHOWN_QUANTITIES
    ]
    return [s for s in streams if s is not None and len(s.t) and not s.errors]
