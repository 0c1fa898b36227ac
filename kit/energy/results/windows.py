"""Energy of a launch's blocks, and of prefill, decode and mixed stretches inside them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from statistics import median
from typing import Any

import msgspec

from kit.core import model
from kit.core.units import NS
from kit.energy import SENSOR_TERMS, Energy, scopes
from kit.energy.reason import Reason
from kit.energy.results.document import Phase
from kit.energy.value import EnergyValue
from kit.record.phases import INSIDE
from kit.record.records import RunRecords

RESOLVED_PERIODS = 10  # a phase shorter than ten updates of its meter has no energy of its own
_ALIKE = (*SENSOR_TERMS, "edge")
_MOST_SAID = 2


def of_launch(records: RunRecords, energy: Energy, index: int) -> tuple[Phase, ...]:
    """Every block of a launch, then all pieces of prefill, of decode and of mixed together."""
    own = [p for p in records.phases if p.launch == index]
    phases = [_phase(records, energy, [block]) for block in own if block.name not in INSIDE]
    for name in INSIDE:
        pieces = [p for p in own if p.name == name]
        if pieces:
            phases.append(_phase(records, energy, pieces))
    return tuple(phases)


def seconds(t0: int, t1: int) -> float:
    """Length of a window of the run's clock, s."""
    return (t1 - t0) * NS


def hypot(values: Iterable[float]) -> float:
    """Root of the sum of squares."""
    return math.hypot(*values)


def needed_s(energy: EnergyValue) -> float:
    """How long a window must at least be for its energy to be resolved, s."""
    return RESOLVED_PERIODS * (energy.period_s or 0.0)


def _phase(records: RunRecords, energy: Energy, pieces: Sequence[model.Phase]) -> Phase:
    first = pieces[0]
    values = [energy.of(p.t0, p.t1) for p in pieces]
    energies = [together(list(of_scope)) for of_scope in zip(*values, strict=True)]
    energies = [_explained(value, records) for value in energies]
    if first.name in INSIDE:
        usual = median(seconds(p.t0, p.t1) for p in pieces)
        energies = [_if_resolved(value, usual) for value in energies]
    return Phase(
        name=first.name,
        part=first.part,
        pieces=len(pieces),
        t0=first.t0,
        t1=pieces[-1].t1,
        duration_s=math.fsum(seconds(p.t0, p.t1) for p in pieces),
        energy={e.scope: e for e in [*energies, *_unasked(energies)]},
    )


def _explained(energy: EnergyValue, records: RunRecords) -> EnergyValue:
    """An energy that is unmeasured, with what the sampler said of its meter."""
    if energy.joules is not None or energy.reason is None:
        return energy
    names = {m.label for m in records.plan.meters if scopes.of_meter(m) == energy.scope}
    messages = dict.fromkeys(
        str(event.data.get("message"))
        for event in records.losses
        if event.data.get("meter") in names
    )
    quoted = "\n".join(_quoted(energy.reason))
    words = [word for word in messages if word not in quoted][:_MOST_SAID]
    if not words:
        return energy
    reason = Reason("with_sampler", reason=energy.reason, said=words)
    return msgspec.structs.replace(energy, reason=reason)


def _quoted(value: Any) -> Iterator[str]:
    """Every text inside a reason that somebody else said of the meter."""
    if isinstance(value, Reason):
        yield from _quoted(list(value.values.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _quoted(item)
    elif isinstance(value, str):
        yield value


def _if_resolved(energy: EnergyValue, piece_s: float) -> EnergyValue:
    """``energy``, unless its pieces are too short for the readings: then the reason why not.

    A sum over many short pieces is no cure: their edges all err the same way.
    """
    needed = needed_s(energy)
    if energy.joules is None or piece_s >= needed:
        return energy
    reason = Reason("not_resolved", piece_s=piece_s, needed_s=needed)
    return EnergyValue(scope=energy.scope, status="unmeasured", reason=reason)


def together(values: list[EnergyValue]) -> EnergyValue:
    """Energies of disjoint windows added.

    The sensor errs alike in all of them. So may their edges: pieces of one kind begin and end with
    the same step of power, and what cuts its corner cuts it each time.
    """
    if len(values) == 1:
        return values[0]
    missing = [v for v in values if v.joules is None]
    if missing:
        reason = Reason(
            "of_pieces", missing=len(missing), pieces=len(values), reason=missing[0].reason
        )
        return msgspec.structs.replace(missing[0], reason=reason)
    names = sorted({name for v in values for name in v.terms})
    terms = {
        name: (math.fsum if name in _ALIKE else hypot)([v.terms.get(name, 0.0) for v in values])
        for name in names
    }
    devices = {d: math.fsum(v.devices[d] for v in values) for d in values[0].devices}
    return msgspec.structs.replace(
        values[0],
        joules=math.fsum(v.joules or 0.0 for v in values),
        u_reading=hypot([terms[n] for n in names if n not in SENSOR_TERMS]),
        # Another tool's account states none.
        u_sensor=None
        if values[0].u_sensor is None
        else hypot([terms[n] for n in names if n in SENSOR_TERMS]),
        terms=terms,
        devices=devices,
        doubts=tuple(dict.fromkeys(word for v in values for word in v.doubts)),
        period_s=max(v.period_s or 0.0 for v in values),
    )


def _unasked(values: Sequence[EnergyValue]) -> list[EnergyValue]:
    """Scopes that the spec asked no meter for, so that no scope is silently absent."""
    asked = {v.scope for v in values}
    return [
        EnergyValue(scope=scope, status="unmeasured", reason=Reason("no_meter"))
        for scope in scopes.SCOPES
        if scope not in asked
    ]
