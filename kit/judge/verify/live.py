"""L4: the live readings in the journal must follow from the samples.

Twice a second the runner journals the power of each device and the energy since its first
reading, as `kit.measure.meters.live` and `kit.energy.running` compute them. Raw rows that were
changed afterwards no longer give the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from kit.core import limits
from kit.core.arrays import np
from kit.core.facts import QuantityFacts
from kit.core.model import Event, MeterDevice
from kit.core.units import NS, scale_of
from kit.energy import scopes
from kit.energy.running import RunningSum, Source, source_of
from kit.energy.scopes.contract import Growth, Scope
from kit.judge.verify.verdict import Check, check, judged
from kit.record.records import RunRecords

# The oldest reading that Live shows: it drops older ones, but the runner may be busy.
_OLDEST_NS = 8_000_000_000
# A device that is read at all has a reading of this age.
_YOUNG_NS = 4_000_000_000
# Shown to a tenth, by arithmetic of floating point.
_HALF = 0.051
_FEW, _SHARE = 3, 0.05
_USUAL_S = 2.0
_LOOKED = 64
_SPACED = 2.0


class Shown(NamedTuple):
    """A number that Live showed: when it was journalled, since when it may have waited for that
    (ns), and its value."""

    t: int
    since: int
    value: float


def checks(records: RunRecords, *, is_complete: bool) -> list[Check]:
    """Compare each device's live power and energy with its rows."""
    events = [e for e in records.events if e.kind == "live"]
    try:
        problems = list(_differences(records, _waiting(records.events)))
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        return [
            check("LIVE_DIFFERS", "FAIL", f"live readings are malformed ({type(error).__name__})")
        ]
    if problems and not is_complete:
        return [check("LIVE_DIFFERS", "WARN", "; ".join(problems[:3]))]
    fine = f"{len(events)} live readings are those of the samples"
    return [judged("LIVE_DIFFERS", problems, fine)]


def _waiting(events: Sequence[Event]) -> list[tuple[Event, int]]:
    """Live events, each with the time (ns) before which it cannot have been prepared.

    The runner takes the samplers' lines, writes an anchor that is due, and then writes the lines:
    each step may take long.
    """
    times = [0, 0, *(e.t for e in events)]
    return [(e, times[n]) for n, e in enumerate(events) if e.kind == "live"]


def _differences(records: RunRecords, events: list[tuple[Event, int]]) -> Iterator[str]:
    for meter in records.plan.meters:
        for device in meter.devices:
            yield from _of_power(records, device, _shown_readings(events, "power", device.device))
            yield from _of_energy(records, device, _shown_readings(events, "joules", device.device))
    planned = {d.device for m in records.plan.meters for d in m.devices}
    for key in ("power", "joules"):
        strangers = {d for e, _ in events for d in e.data.get(key, {})} - planned
        if strangers:
            yield f"Live showed {key} of {min(strangers)[:20]!a}, which the plan does not name"


def _shown_readings(events: list[tuple[Event, int]], key: str, device: str) -> list[Shown]:
    """Every number that Live showed of a device, under ``key``: power (W) or joules."""
    return [
        Shown(e.t, since, float(e.data[key][device]))
        for e, since in events
        if device in e.data.get(key, {})
    ]


def _of_power(records: RunRecords, device: MeterDevice, shown: list[Shown]) -> Iterator[str]:
    """Compare power that was shown with power that was read.

    Power that Live derives from a counter is not compared.
    """
    readable = {q: f for q, f in device.quantities.items() if f.is_read}
    scope = scopes.of_device(device)
    quantities = [q for q in scope.power if q in readable] if scope else []
    if scope is None or not quantities or not shown:
        if shown and not readable:
            yield f"Live showed the power of {device.device}, and the plan says why it is not read"
        return
    values = [_watts(records, device.device, scope, q, readable[q]) for q in quantities]
    wrong = [reading.t for reading in shown if not _is_shown(values, reading)]
    yield from _misfits(device.device, "power", wrong, shown)


def _is_shown(values: list[tuple[Any, Any]], reading: Shown) -> bool:
    """Whether the shown number is a reading of one of the quantities, the preferred one first.

    A later quantity counts only while the ones before it are silent, zero, or had an impossible
    reading: Live then shows the next one.

    Args:
        values: of each quantity, (when read, ns; watts).
    """
    for times, watts in values:
        if _holds(times, watts, reading):
            return True
        low, high = np.searchsorted(times, (reading.since - _YOUNG_NS, reading.since + 1))
        if (watts[low:high] > 0).any() and not np.isnan(watts[low:high]).any():
            return False
    return False


def _watts(
    records: RunRecords, device: str, scope: Scope, quantity: str, facts: QuantityFacts
) -> tuple[Any, Any]:
    """(when read, ns; watts as Live shows them) of a stream, in the order of reading.

    NaN stands where Live refused the reading.
    """
    series = records.samples.get(device, quantity)
    if series is None or not len(series.raw):
        return np.zeros(0, np.int64), np.zeros(0)
    order = np.argsort(series.t1, kind="stable")
    raw = series.raw[order]
    first, second = (scope.corrected(facts, watts, 1.0) for watts in (0.0, 1.0))
    watts = first + raw * scale_of(quantity, facts) * (second - first)
    watts[_refused(raw, quantity, facts, device)] = np.nan
    return series.t1[order], watts


def _refused(raw: Any, quantity: str, facts: QuantityFacts, device: str) -> Any:
    """Which readings Live left out as impossible. Shape as ``raw``."""
    distinct, place = np.unique(raw, return_inverse=True)
    impossible = [bool(limits.fault(quantity, facts, r, device)) for r in distinct.tolist()]
    return np.array(impossible)[place]


def _of_energy(records: RunRecords, device: MeterDevice, shown: list[Shown]) -> Iterator[str]:
    """A running sum, as Live adds it up today or as kit 0.1 did."""
    if not shown:
        return
    source = source_of(device)
    if source is None:
        yield f"Live showed the energy of {device.device}, and the plan says why it is not read"
        return
    growth = source.scope.growth[source.quantity]
    read = _believable(records, device.device, source)
    sums = _sums(read, source, growth)
    wrong = _unheld(sums, shown)
    if wrong:
        older = _sums([r._replace(t=r.t1) for r in read], source, _older(source.quantity, growth))
        unheld = _unheld(older, shown)
        sums, wrong = (older, unheld) if len(unheld) < len(wrong) else (sums, wrong)
    yield from _misfits(device.device, "energy", wrong, shown)
    yield from _of_age(device.device, sums, frozenset(wrong), shown)


def _unheld(sums: tuple[Any, Any], shown: list[Shown]) -> list[int]:
    """When an energy was shown that is none of the sums shortly before (ns)."""
    return [reading.t for reading in shown if not _holds(*sums, reading, lasting=True)]


def _of_age(
    device: str, sums: tuple[Any, Any], unheld: frozenset[int], shown: list[Shown]
) -> Iterator[str]:
    """Check that Live did not usually show energies long after they were read."""
    times, values = sums
    ages = [
        _age_s(times, values, reading)
        for reading in shown
        if reading.t not in unheld and reading.t - _latest(times, reading.t) < _YOUNG_NS
    ]
    age_s = float(np.median(ages)) if ages else 0.0
    # A slow disk delays the writing, showing and journalling of readings.
    shown_at = [reading.t for reading in shown]
    apart_s = float(np.median(np.diff(shown_at))) * NS if len(shown) > 1 else 0.0
    if age_s > max(_USUAL_S, _SPACED * apart_s):
        yield f"{device}: the energy that Live showed lies {age_s:.1f} s back in its samples"


class _Read(NamedTuple):
    """A reading: when it was at hand, when its value was (ns), and the raw value."""

    t1: int
    t: int
    raw: int


def _believable(records: RunRecords, device: str, source: Source) -> list[_Read]:
    """The readings that Live accepted, in the order of reading."""
    series = records.samples.get(device, source.quantity)
    if series is None or not len(series.raw):
        return []
    order = np.argsort(series.t1, kind="stable")
    order = order[~_refused(series.raw[order], source.quantity, source.facts, device)]
    columns = (series.t1[order], series.t[order], series.raw[order])
    return [_Read(*row) for row in zip(*(c.tolist() for c in columns), strict=True)]


def _sums(read: list[_Read], source: Source, growth: Growth) -> tuple[Any, Any]:
    """(when read, energy until then, J) by Live's own adding up."""
    adding = RunningSum(source.quantity, source.facts, growth)
    values = []
    for reading in read:
        adding.add(reading.t, reading.raw)
        values.append(adding.since_hole.joules)
    return np.array([r.t1 for r in read], np.int64), np.array(values, np.float64)


def _older(quantity: str, growth: Growth) -> Growth:
    """How kit 0.1 added up: counters across any silence, an outlet by trapezoids.

    It took each value as of the end of its reading; the caller sets those times.
    """
    if quantity != "pdu_power":
        rest_s = None if growth.rest_s is None else math.inf
        return growth._replace(hole_s=lambda _facts: math.inf, rest_s=rest_s)

    def trapezoid(facts: QuantityFacts, before: int, raw: int, seconds: float) -> float | None:
        mean_w = (before + raw) / 2 * scale_of(quantity, facts)
        return mean_w * seconds if min(before, raw) > 0 else None

    def hole_s(facts: QuantityFacts) -> float:
        return max(0.5, 5 * limits.seconds_or(facts.poll_s, 1.0))

    return Growth(trapezoid, "", hole_s)


def _latest(times: Any, t: int) -> int:
    """When the last reading before ``t`` was made."""
    high = int(np.searchsorted(times, t + 1))
    return int(times[high - 1]) if high else 0


def _holds(times: Any, values: Any, reading: Shown, *, lasting: bool = False) -> bool:
    """Whether a reading from shortly before has the value that was shown.

    Args:
        lasting: the last reading counts however old it is: a sum stays when a device falls silent.
    """
    low, high = np.searchsorted(times, (reading.since - _OLDEST_NS, reading.t + 1))
    low = max(0, min(low, np.searchsorted(times, reading.since + 1) - 1)) if lasting else low
    return bool((np.abs(values[low:high] - reading.value) <= _HALF).any())


def _age_s(times: Any, values: Any, reading: Shown) -> float:
    """How much older than the last reading by then the shown value was, s."""
    high = end = int(np.searchsorted(times, reading.t + 1))
    while True:  # it lies near the end: searching all of them each time would take quadratic time
        low = max(0, 2 * high - end - _LOOKED)
        same = np.flatnonzero(np.abs(values[low:high] - reading.value) <= _HALF)
        if len(same) or not low:
            return float(times[end - 1] - times[low + same[-1]]) * 1e-9
        high = low


def _misfits(device: str, kind: str, wrong: list[int], shown: list[Shown]) -> Iterator[str]:
    if len(wrong) > max(_FEW, _SHARE * len(shown)):
        at = wrong[0] * NS
        yield (
            f"{device}: {len(wrong)} of {len(shown)} live readings of its {kind} are not in its "
            f"samples (first at {at:.1f} s)"
        )
