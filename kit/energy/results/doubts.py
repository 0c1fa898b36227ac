"""The doubts about a run's readings, as results.json lists them."""

from __future__ import annotations

import msgspec

from kit.energy import Doubt as EnergyDoubt
from kit.energy import Energy
from kit.energy.reason import Reason
from kit.energy.results.document import Doubt, Launch
from kit.energy.sanity import wall_below_parts
from kit.energy.scopes import SCOPES
from kit.energy.value import EnergyValue
from kit.record.phases import BLOCKS
from kit.record.records import RunRecords

_SPANS = 20
_SURE_CHECK = 0.05


def of_run(records: RunRecords, energy: Energy) -> tuple[Doubt, ...]:
    """Every doubt of the run, with the launches whose phases it is about."""
    return tuple(_doubt(d, records) for d in energy.doubts())


def _doubt(doubt: EnergyDoubt, records: RunRecords) -> Doubt:
    outer = {name for name, _ in BLOCKS}
    touched = {p.launch for p in records.phases if p.name in outer and doubt.touches(p.t0, p.t1)}
    return Doubt(
        device=doubt.device,
        quantity=doubt.quantity,
        reason=doubt.reason,
        dropped=doubt.dropped,
        settled=doubt.settled,
        instead=doubt.instead,
        readings=doubt.readings if doubt.of else None,
        of=doubt.of or None,
        spans=doubt.spans[:_SPANS],
        launches=tuple(sorted(touched)),
    )


def of_wall(launch: Launch) -> Launch:
    """The launch, with a doubt of the wall where it shows less than the parts behind it; and of a
    part that nothing else confirms, since either of the two may be wrong."""
    block = launch.measured
    impossible = wall_below_parts([block.energy[s] for s in SCOPES]) if block else None
    if block is None or impossible is None:
        return launch
    doubted = {"wall"} if _is_confirmed(launch) else {"wall", "gpu"}
    energy = {
        scope: _doubted(value, impossible) if scope in doubted else value
        for scope, value in block.energy.items()
    }
    changed = msgspec.structs.replace(block, energy=energy)
    phases = tuple(changed if phase is block else phase for phase in launch.phases)
    return msgspec.structs.replace(launch, phases=phases)


def _doubted(energy: EnergyValue, reason: Reason) -> EnergyValue:
    if energy.joules is None:
        return energy
    return msgspec.structs.replace(energy, doubts=(*energy.doubts, reason))


def _is_confirmed(launch: Launch) -> bool:
    """Whether every GPU's power readings say what its counter says."""
    checks = [c for d, c in launch.cross_check.items() if not d.startswith("pdu:")]
    good = [c.ratio is not None and abs(c.ratio - 1) < _SURE_CHECK for c in checks]
    return bool(good) and all(good)
