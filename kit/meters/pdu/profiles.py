"""Profiles of metered PDUs: which OID gives which quantity in which unit. Data, one file each.

A profile states everything that turns an integer into watts, so that nobody has to enter an OID.
The one that an amount of published work read as watts, APC's ``rPDULoadStatusLoad``, gives tenths
of *amperes*; a profile that says otherwise is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from kit import jsonio
from kit.meters.base import MeterUnavailable
from kit.model import Record
from kit.units import QUANTITIES

FOLDER = Path(__file__).resolve().parent.parent / "pdu_profiles"
SYS_UPTIME = "1.3.6.1.2.1.1.3.0"
AMPS_ONLY = "energy is unmeasured, because amperes are not watts"
# Columns in tenths of amperes, next to those in watts and misread as such: prefix → name.
_AMPERES = {
    "1.3.6.1.4.1.318.1.1.12.2.3.1.1.2": "rPDULoadStatusLoad",
    "1.3.6.1.4.1.318.1.1.12.3.5.1.1.7": "rPDUOutletStatusLoad",
    "1.3.6.1.4.1.318.1.1.26.6.3.1.5": "rPDU2PhaseStatusCurrent",
    "1.3.6.1.4.1.318.1.1.26.9.4.3.1.6": "rPDU2OutletMeteredStatusCurrent",
}


class Measurement(Record, frozen=True, kw_only=True):
    """One column of one PDU's MIB. ``scale`` turns the raw integer into ``unit``.

    What is not known is null, and said to be so: the update period ``period_s``, the accuracy
    (``gain``, relative, and ``offset``, in ``unit``), and below what load (``squelch``) it reads 0.
    """

    of: Literal["outlet", "inlet", "phase"]
    quantity: Literal["pdu_power", "pdu_energy", "pdu_current"]
    oid: str
    index: str
    unit: Literal["W", "J", "A"]
    scale: float
    resolution: float
    source: str
    period_s: float | None
    gain: float | None
    offset: float | None
    squelch: float | None
    gain_source: str = ""
    indices: tuple[str, ...] = ()


class Profile(Record, frozen=True, kw_only=True):
    """What one make of PDU tells. ``inlets`` are read where the host names none."""

    name: str
    title: str
    enterprise: str
    source: str
    measurements: tuple[Measurement, ...]
    notes: str = ""
    inlets: tuple[str, ...] = ()


class Point(NamedTuple):
    """One value to ask for: whose it is, what it is, and the plan's facts about it."""

    device: str
    quantity: str
    oid: str
    facts: dict[str, Any]


def names() -> tuple[str, ...]:
    """Every profile that kit brings."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.json")))


def load(name: str, folder: Path = FOLDER) -> Profile:
    """The profile called ``name``.

    Raises:
        MeterUnavailable: there is none, or it contradicts itself.
    """
    path = folder / f"{name}.json"
    if not path.is_file():
        known = ", ".join(names())
        raise MeterUnavailable(f"kit knows no PDU profile {name!r} (it knows: {known})")
    try:
        profile = msgspec.convert(jsonio.read(path), Profile)
    except (msgspec.ValidationError, jsonio.JsonRefused) as error:
        raise MeterUnavailable(f"the PDU profile {name} is malformed: {error}") from error
    for problem in problems(profile):
        raise MeterUnavailable(f"the PDU profile {name}: {problem}")
    return profile


def problems(profile: Profile) -> Iterator[str]:
    """What is wrong with a profile, such as amperes that are called watts."""
    for each in profile.measurements:
        expected = QUANTITIES[each.quantity].unit
        if each.unit != expected:
            yield f"{each.oid} is {each.quantity}, whose unit is {expected}, not {each.unit}"
        trap = next((n for oid, n in _AMPERES.items() if f"{each.oid}.".startswith(f"{oid}.")), "")
        if trap and (each.quantity, each.scale) != ("pdu_current", 0.1):
            yield (
                f"{each.oid} is APC's {trap}: tenths of amperes. It is no power; "
                "watts need the voltage and the power factor as well"
            )


def points(
    profile: Profile, alias: str, outlets: Sequence[Any], inlets: Sequence[Any]
) -> tuple[Point, ...]:
    """What to ask for on one host: its outlets, and the inlets named or, with neither, the usual.

    Outlets add up to the host; inlets do so only where no outlet is given, since they hold them.

    Raises:
        MeterUnavailable: this make tells no power, or none of the outlets that are named.
    """
    powers = {m.of for m in profile.measurements if m.quantity == "pdu_power"}
    if not powers:
        raise MeterUnavailable(f"the PDU profile {profile.name} tells no power: {AMPS_ONLY}")
    if outlets and "outlet" not in powers:
        raise MeterUnavailable(f"{profile.title} meters no outlets: name inlets instead")
    chosen = {  # each once, whatever host.toml repeats
        "outlet": dict.fromkeys(str(o) for o in outlets),
        "inlet": dict.fromkeys(str(i) for i in inlets or (() if outlets else profile.inlets)),
    }
    found = []
    for each in profile.measurements:
        for index in each.indices or chosen.get(each.of, ()):
            summed = each.of == "outlet" or (each.of == "inlet" and not outlets)
            found.append(_point(each, alias, index, summed))
    return tuple(found)


def _point(measurement: Measurement, alias: str, index: str, summed: bool) -> Point:
    prefix = "" if measurement.of == "outlet" else measurement.of
    optional = {
        key: value
        for key in ("gain", "gain_source", "offset", "squelch", "period_s")
        if (value := getattr(measurement, key)) not in (None, "")
    }
    facts = {
        "poll_s": 1.0,
        "scale": measurement.scale,
        "unit": measurement.unit,
        "resolution": measurement.resolution,
        "oid": f"{measurement.oid}.{measurement.index.format(i=index)}",
        "source": measurement.source,
        **optional,
    }
    if measurement.quantity == "pdu_power":
        facts["summed"] = summed
    device = f"pdu:{alias}:{prefix}{index}"
    return Point(device, measurement.quantity, facts["oid"], facts)
