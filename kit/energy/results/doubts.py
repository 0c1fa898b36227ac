"""Readings that are not believed, for a reader and for whoever judges the run."""

from __future__ import annotations

from typing import Any

from kit.core.model import EnergyValue
from kit.core.reason import Reason
from kit.energy import Doubt, Energy
from kit.energy.results.windows import find
from kit.energy.sanity import wall_below_parts
from kit.energy.scopes import SCOPES
from kit.record.phases import BLOCKS
from kit.record.records import RunRecords

Document = dict[str, Any]
_SPANS = 20
_SURE_CHECK = 0.05


def of_run(records: RunRecords, energy: Energy) -> list[Document]:
    """Every doubt of the run, with the launches whose phases it is about."""
    return [_document(d, records) for d in energy.doubts()]


def _document(doubt: Doubt, records: RunRecords) -> Document:
    outer = {name for name, _ in BLOCKS}
    touched = {p.launch for p in records.phases if p.name in outer and doubt.touches(p.t0, p.t1)}
    return {
        "device": doubt.device,
        "quantity": doubt.quantity,
        "reason": doubt.reason,
        "dropped": doubt.dropped,
        "settled": doubt.settled,
        **({"instead": doubt.instead} if doubt.instead else {}),
        **({"readings": doubt.readings, "of": doubt.of} if doubt.of else {}),
        "spans": [list(span) for span in doubt.spans[:_SPANS]],
        "launches": sorted(touched),
    }


def add_wall(launches: list[Document]) -> None:
    """Where the wall shows less than the parts behind it, doubt it; and a part that nothing else
    confirms, since either of the two may be wrong."""
    for launch in launches:
        block = find(launch["phases"], "measured", None)
        if block is None:
            continue
        known = (*EnergyValue.__struct_fields__,)
        values = [
            EnergyValue(scope=s, **{k: v for k, v in block["energy"][s].items() if k in known})
            for s in SCOPES
        ]
        impossible = wall_below_parts(values)
        if impossible:
            _doubt(block["energy"]["wall"], impossible)
            if not _is_confirmed(launch):
                _doubt(block["energy"]["gpu"], impossible)


def _doubt(energy: Document, reason: Reason) -> None:
    if energy["status"] != "unmeasured":
        energy["doubts"] = [*energy.get("doubts", ()), reason]


def _is_confirmed(launch: Document) -> bool:
    """Whether every GPU's power readings say what its counter says."""
    checks = [c for d, c in launch["cross_check"].items() if not d.startswith("pdu:")]
    good = [c["status"] == "measured" and abs(c["ratio"] - 1) < _SURE_CHECK for c in checks]
    return bool(good) and all(good)
