"""L4: the journal's own grammar. The engine writes its events in one order and at one pace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kit.energy import SCOPE_METERS
from kit.measure import LIVE_EVERY_S
from kit.model import Event, Finding, Manifest
from kit.phases import BLOCKS
from kit.records import RunRecords
from kit.verify import clocks
from kit.verify.verdict import Check, judged

# A loaded host delays the engine; a tenth of the usual number is no delay.
_SLOWEST, _SHARE = 20, 0.1
# Nothing lies between two launches; a sampler that stops waits for its slowest device.
_PAUSE_S, _STOP_S = 10.0, 60.0
_SHOWN = (
    *("gpu_power_instant", "gpu_power_sample", "gpu_power_average"),
    *("gpu_energy", "cpu_energy", "cpu_busy"),
)
_AROUND: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "startup": (("container.created", "container.started", "container.ready"), ()),
    "warmup": ((), ("stage.done warmup",)),
    "measured": ((), ("stage.done measured",)),
    "shutdown": (("container.stopped",), ("container.removed",)),
}
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


def checks(records: RunRecords, listed: Manifest) -> list[Check]:
    """Order, findings and heartbeat of a run that was completed."""
    if listed.status != "complete":
        return []
    return [
        judged("JOURNAL_ORDER", _order(records), "events stand in the engine's order"),
        judged("TIME_OUTSIDE", _outside(records.events), "the meters ran for the launches alone"),
        judged("FINDINGS_DIFFER", _findings(records), "preflight's findings follow from the plan"),
        judged("LIVE_MISSING", _heartbeat(records), "live readings came at their pace"),
    ]


# --- order ------------------------------------------------------------------------------------


def _order(records: RunRecords) -> Iterator[str]:
    """The events that every run has, in the one order in which they come about."""
    expected = [word for n in range(records.spec.launches) for word in _launch(n)]
    known = {*expected, *(w.partition(" ")[0] for w in expected)}
    found = [word for e in records.events if (word := _word(e)).partition(" ")[0] in known]
    if found == _former(expected):
        expected = found
    for own, meant in zip(found, expected, strict=False):
        if own != meant:
            yield f"{own[:60]!a} stands where {meant!a} must"
            return
    if len(found) != len(expected):
        yield f"{len(found)} events of launches, a run like this has {len(expected)}"
    yield from _edges(records.events)


def _launch(index: int) -> Iterator[str]:
    yield f"launch.begin {index}"
    for name, part in BLOCKS:
        inside, after = _AROUND.get(name, ((), ()))
        yield f"phase.begin {index} {name} {part}"
        yield from (f"{kind} {index}" for kind in inside)
        yield f"phase.end {index} {name} {part}"
        for word in after:
            kind, _, stage = word.partition(" ")
            yield f"{kind} {index}{stage and ' ' + stage}"
    yield f"launch.end {index}"


def _former(expected: list[str]) -> list[str]:
    """The same as kit wrote it under formulas 1: a stage was done before its phase ended."""
    found = list(expected)
    for n in range(1, len(found)):
        if found[n].startswith("stage.done"):
            found[n - 1 : n + 1] = found[n], found[n - 1]
    return found


def _word(event: Event) -> str:
    data = event.data
    if event.kind.startswith("phase."):
        return f"{event.kind} {data['launch']} {data['phase']} {data['part']}"
    if event.kind == "stage.done":
        return f"{event.kind} {data['launch']} {data['stage']}"
    return f"{event.kind} {data['launch']}" if "launch" in data else event.kind


def _edges(events: tuple[Event, ...]) -> Iterator[str]:
    """What must lie before the first launch, and what after the last one."""
    kinds = [e.kind for e in events]
    if "launch.begin" not in kinds:
        return
    first = kinds.index("launch.begin")
    last = len(kinds) - 1 - kinds[::-1].index("launch.end") if "launch.end" in kinds else first
    for kind in ("finding", *_BEFORE):
        if kind in kinds[first:]:
            yield f"{kind} stands after the first launch began"
    for kind in _AFTER:
        if kind in kinds[:last]:
            yield f"{kind} stands before the last launch ended"


def _outside(events: tuple[Event, ...]) -> Iterator[str]:
    """Launches follow one another at once, and the meters begin and end with them.

    A launch that was taken out leaves the time that it took.
    """
    ends = [e.t for e in events if e.kind == "launch.end"]
    begins = [e.t for e in events if e.kind == "launch.begin"]
    started = [e.t for e in events if e.kind == "sampler.started"]
    stopped = [e.t for e in events if e.kind == "sampler.stopped"]
    if not begins or not ends or not started or not stopped:
        return
    stretches = [
        ("before the first launch", max(started), begins[0], _PAUSE_S),
        *(("between two launches", a, b, _PAUSE_S) for a, b in zip(ends, begins[1:], strict=False)),
        ("after the last launch", ends[-1], min(stopped), _STOP_S),
    ]
    for where, a, b, longest_s in stretches:
        if (b - a) * 1e-9 > longest_s:
            yield f"{(b - a) * 1e-9:.1f} s {where} belong to none"


# --- findings ---------------------------------------------------------------------------------


def _findings(records: RunRecords) -> Iterator[str]:
    told = {
        (e.data.get("code"), e.data.get("level")) for e in records.events if e.kind == "finding"
    }
    if not told:
        yield "preflight found nothing, which it never does"
        return
    try:
        meant = [f for f in _derived(records) if f.code in _DERIVED]
    except _PROBLEMS as error:
        yield f"they cannot be derived from plan and fingerprint ({type(error).__name__})"
        return
    for finding in meant:
        if (finding.code, finding.level) not in told:
            yield f"{finding.code} ({finding.level}) follows from the plan and is not there"
    if any(level == "fail" for _, level in told):
        yield "preflight forbade the run, and it ran"


def _derived(records: RunRecords) -> list[Finding]:
    """Preflight's rules, with what they would have gathered as far as it is sealed."""
    from kit import plan, preflight

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


def _heartbeat(records: RunRecords) -> Iterator[str]:
    """Twice a second the engine tells what the meters show, where they show anything."""
    if not _is_shown(records):
        return
    times = [
        e.t for e in records.events if e.kind == "live" and e.data.keys() & {"power", "joules"}
    ]
    for a, b in clocks.gaps(records.phases, times, _SLOWEST * LIVE_EVERY_S):
        yield f"no live reading between {a * 1e-9:.1f} s and {b * 1e-9:.1f} s"
        break
    seconds = sum(p.t1 - p.t0 for p in records.phases if p.name in clocks.WATCHED) * 1e-9
    usual = seconds / LIVE_EVERY_S
    if len(times) < _SHARE * usual:
        yield f"{len(times)} live readings in {seconds:.0f} s, {usual:.0f} are usual"


def _is_shown(records: RunRecords) -> bool:
    """Whether a meter that is read all the time gives what Live shows."""
    meters = {SCOPE_METERS[scope] for scope in ("gpu", "cpu", "estimate")}
    for meter in records.plan.meters:
        for device in meter.devices if meter.name in meters else ():
            for quantity in _SHOWN:
                series = records.samples.get(device.device, quantity)
                if series is not None and len(series.t) and not series.errors:
                    return True
    return False
