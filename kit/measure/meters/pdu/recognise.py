"""Which make a PDU is, and what its outlets and inlets report: what ``kit pdu probe`` runs.

A make is recognised by sysObjectID, the longest prefix first, and is believed only where one of
its columns answers: makers give one sysObjectID to several generations.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from kit.core.units import scale_of
from kit.measure.meters.contract import MeterUnavailable
from kit.measure.meters.pdu.points import Point, complete, points
from kit.measure.meters.pdu.profiles import (
    SYS_DESCR,
    SYS_OBJECT_ID,
    Measurement,
    Part,
    Profile,
    every,
)
from kit.measure.meters.pdu.snmp import ENDLESS, Snmp, affects_whole_pdu, explain

_BUDGET_S = 300.0  # for all that is asked; a sound PDU takes some seconds
_TELLING = ("pdu_power", "pdu_current")


class Place(NamedTuple):
    """An outlet, an inlet or the whole PDU, with its present values.

    Attributes:
        of: outlet, inlet or total.
        number: how host.toml names it; empty for the total.
        name: as people named it on the PDU, or empty.
        values: quantity → value in the registry's unit (`kit.core.units`).
        reason: why it tells no watts; empty where it does.
    """

    of: Part
    number: str
    name: str
    values: dict[str, float]
    reason: str


class PduIdentity(NamedTuple):
    """What a PDU says of itself; ``profile`` is None for a make that kit does not know.

    Attributes:
        slow_s: how long an answer takes, s, where that is longer than it was waited for; else 0.
        notes: what is odd about its answers.
    """

    sys_object_id: str
    description: str
    profile: Profile | None
    places: tuple[Place, ...]
    slow_s: float = 0.0
    notes: tuple[str, ...] = ()


def identify(config: dict[str, Any], profile: Profile | None = None) -> PduIdentity:
    """Ask a PDU what it is; with ``profile``, take it for one of that make.

    Raises:
        MeterUnavailable: it does not answer, or its tables have no end.
    """
    snmp = Snmp(config, budget_s=_BUDGET_S)
    try:
        (rc, sys_object_id), (_, description) = snmp.texts([SYS_OBJECT_ID, SYS_DESCR])
        if affects_whole_pdu(rc):
            raise MeterUnavailable(explain(rc))
        name = (sys_object_id or "").lstrip(".")
        ends: dict[str, int] = {}
        best = _best(snmp, [profile] if profile else candidates(name), ends)
        deaf = next((rc for rc in ends.values() if affects_whole_pdu(rc)), None)
        if best[0] is None and deaf is not None:
            raise MeterUnavailable(f"it names itself, but gives no table: {explain(deaf)}")
        notes = tuple(f"table {oid}: {explain(rc)}" for oid, rc in ends.items())
        return PduIdentity(name, description or "", *best, snmp.slow_s, notes)
    finally:
        snmp.close()


def candidates(sys_object_id: str) -> list[Profile]:
    """Profiles that a PDU may be of, the likeliest first; last those that any make may speak."""
    matches = [
        (len(prefix), profile)
        for profile in every()
        for prefix in profile.sys_object_ids
        if f"{sys_object_id}.".startswith(f"{prefix}.")
    ]
    matches.sort(key=lambda match: -match[0])
    ordered = dict.fromkeys(profile.name for _, profile in matches)
    anyone = [profile.name for profile in every() if not profile.sys_object_ids]
    by_name = {profile.name: profile for profile in every()}
    return [by_name[name] for name in dict.fromkeys([*ordered, *anyone])]


def _best(
    snmp: Snmp, likely: Sequence[Profile], ends: dict[str, int]
) -> tuple[Profile | None, tuple[Place, ...]]:
    """The first profile by which the PDU tells watts, else the first by which it tells amperes.

    Args:
        ends: gets why a table could not be read to its end, by its OID.
    """
    amperes: tuple[Profile | None, tuple[Place, ...]] = (None, ())
    for profile in likely:
        places = tuple(_places(snmp, profile, ends))
        if any("pdu_power" in place.values for place in places):
            return profile, places
        if places and amperes[0] is None:
            amperes = profile, places
    return amperes


def _places(snmp: Snmp, profile: Profile, ends: dict[str, int]) -> Iterator[Place]:
    for of in ("total", "inlet", "outlet") if profile.sys_object_ids else ("outlet",):
        measured = [m for m in profile.measurements if m.of == of]
        indices = _indices(snmp, measured, ends)
        chosen: dict[str, dict[str, bool]] = {of: dict.fromkeys(indices, True)}
        asked = complete(points(profile, "pdu", chosen, {}), snmp)
        names = _names(snmp, profile, of, indices)
        yield from _read(snmp, asked, of, names)


def _indices(snmp: Snmp, measured: Iterable[Measurement], ends: dict[str, int]) -> list[str]:
    """Every index that tells watts or amperes, in the order of their numbers."""
    indices: set[str] = set()
    for measurement in measured:
        if measurement.quantity not in _TELLING:
            continue
        if "{i}" not in measurement.index:
            indices |= (
                {""} if snmp.get([f"{measurement.oid}.{measurement.index}"])[0][0] == 0 else set()
            )
            continue
        pattern = re.compile(re.escape(measurement.index).replace(r"\{i\}", r"(\d+(?:\.\d+)*)"))
        rows, end = snmp.walk(measurement.oid)
        if end == ENDLESS:
            raise MeterUnavailable(f"table {measurement.oid}: {explain(end)}")
        if end:
            ends[measurement.oid] = end
        indices |= {
            m[1] for row, (rc, _) in rows.items() if not rc and (m := pattern.fullmatch(row))
        }
    return sorted(indices, key=lambda index: [int(part) for part in index.split(".") if part])


def _names(snmp: Snmp, profile: Profile, of: str, indices: Sequence[str]) -> dict[str, str]:
    column = next((names for names in profile.names if names.of == of), None)
    if column is None or not indices:
        return dict.fromkeys(indices, "")
    oids = [f"{column.oid}.{column.index.format(i=index)}" for index in indices]
    return {index: text or "" for index, (_, text) in zip(indices, snmp.texts(oids), strict=True)}


def _read(snmp: Snmp, asked: Sequence[Point], of: Part, names: dict[str, str]) -> Iterator[Place]:
    answers = snmp.get([point.oid for point in asked])
    values: dict[str, dict[str, float]] = {index: {} for index in names}
    reasons: dict[str, str] = {}
    kind = "" if of == "outlet" else of
    for point, (rc, raw) in zip(asked, answers, strict=True):
        index = point.device.rpartition(":")[2].removeprefix(kind)
        reason = point.facts.reason or (explain(rc) if rc else "")
        if raw is not None and not reason:
            values[index][point.quantity] = raw * scale_of(point.quantity, point.facts)
        elif point.quantity == "pdu_power":
            reasons[index] = str(reason)
    for index, name in names.items():
        if any(quantity in values[index] for quantity in _TELLING):
            yield Place(of, index, name, values[index], reasons.get(index, ""))
