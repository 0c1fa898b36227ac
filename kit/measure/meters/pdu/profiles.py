"""Profiles of makes of PDU: a JSON file each in ``kit/measure/meters/pdu_profiles/``.

A profile states of every measurement its OID, index, unit, scale, resolution, accuracy and source,
so that nothing about a make hides in code, and nobody can call tenths of amperes watts.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from kit.core import jsonio
from kit.core.model import Record
from kit.core.units import QUANTITIES
from kit.measure.meters import profilefile

FOLDER = Path(__file__).resolve().parent.parent / "pdu_profiles"
SYS_DESCR, SYS_OBJECT_ID = "1.3.6.1.2.1.1.1.0", "1.3.6.1.2.1.1.2.0"
SYS_UPTIME = "1.3.6.1.2.1.1.3.0"
AMPS_ONLY = "energy is unmeasured, because amperes are not watts"

# Between which limits a measurement's numbers lie, where it has them: beyond, someone slipped.
_LIMITS = {
    "scale": (1e-9, 1e9),
    "resolution": (1e-9, 1e9),
    "period_s": (0.01, 3600.0),
    "gain": (0.0, 0.5),
    "offset": (0.0, 1e6),
    "squelch": (0.0, 1e6),
}

Part = Literal["outlet", "inlet", "total"]


class Asked(Record, frozen=True, kw_only=True):
    """A fact about a value that must be read from the device itself, such as its unit.

    ``unit``: a code that must equal ``equals``; ``digits``: decimal digits of the value;
    ``prefix``: RFC 3433's scale, 9 for units, each step a thousand; ``gain``: relative accuracy and
    ``period``: update period in seconds, both after multiplying by ``scale``.
    """

    fact: Literal["unit", "digits", "prefix", "gain", "period"]
    oid: str
    index: str = "{i}"
    equals: int | None = None
    scale: float = 1.0


class Measurement(Record, frozen=True, kw_only=True):
    """One column of one PDU's MIB. ``scale`` turns the raw integer into ``unit``.

    What is not known is null, and said to be so: the update period ``period_s``, the accuracy
    (``gain``, relative, and ``offset``, in ``unit``), and below what load (``squelch``) it reads 0.
    ``index`` follows the OID; ``{i}`` in it is the outlet or inlet as the person names it.
    """

    of: Part
    quantity: Literal["pdu_power", "pdu_energy", "pdu_current", "pdu_voltage", "pdu_power_factor"]
    oid: str
    index: str
    unit: str
    scale: float
    resolution: float
    source: str
    period_s: float | None
    gain: float | None
    offset: float | None
    squelch: float | None
    gain_source: str = ""
    asked: tuple[Asked, ...] = ()


class Names(Record, frozen=True, kw_only=True):
    """The column where the PDU keeps the names that people gave its outlets or inlets."""

    of: Part
    oid: str
    index: str = "{i}"


class Profile(Record, frozen=True, kw_only=True):
    """What one make of PDU reports.

    Attributes:
        sys_object_ids: prefixes of sysObjectID by which the make is recognised; none for one that
            any make may speak.
        parts: what an index consists of, by outlet and inlet: ``("unit", "outlet")``.
        leading: by outlet and inlet, the parts in front that may be left out, as they nearly
            always are the same.
        inlets: which are read where the host names neither outlets nor inlets.
    """

    name: str
    title: str
    enterprise: str
    sys_object_ids: tuple[str, ...]
    source: str
    measurements: tuple[Measurement, ...]
    notes: str = ""
    parts: dict[str, tuple[str, ...]] = {}
    leading: dict[str, str] = {}
    inlets: tuple[str, ...] = ()
    names: tuple[Names, ...] = ()

    def powers(self) -> set[str]:
        """The parts that have watts: outlet, inlet, total."""
        return {m.of for m in self.measurements if m.quantity == "pdu_power"}


def names() -> tuple[str, ...]:
    """Every profile that kit brings."""
    return profilefile.names(FOLDER)


def load(name: str, folder: Path = FOLDER) -> Profile:
    """The profile called ``name``, or the one in the file ``name`` where it ends in ``.json``.

    Raises:
        MeterUnavailable: there is none, or it contradicts itself.
    """
    return profilefile.load(name, folder, Profile, problems, word="PDU", names=names())


def every() -> tuple[Profile, ...]:
    """All profiles that kit brings."""
    return tuple(load(name) for name in names())


def problems(profile: Profile) -> Iterator[str]:
    """What is wrong with a profile, such as amperes that are called watts."""
    for measurement in profile.measurements:
        expected = QUANTITIES[measurement.quantity].unit
        if measurement.unit != expected:
            yield (
                f"{measurement.oid} is {measurement.quantity}, whose unit is {expected}, "
                f"not {measurement.unit}"
            )
        for key, (low, high) in _LIMITS.items():
            value = getattr(measurement, key)
            if value is not None and not low <= value <= high:
                yield f"{measurement.oid}: {key} must lie in {low:g}…{high:g}"
        for asked in measurement.asked:
            if not _LIMITS["scale"][0] <= asked.scale <= _LIMITS["scale"][1]:
                yield f"{asked.oid}: the scale of the {asked.fact} must be positive and finite"
        yield from _misread(measurement)


class _Column(NamedTuple):
    """What a column is known to be: quantity and scale, whose, and what its makers call it."""

    quantity: str
    scale: float
    title: str
    name: str


# Columns in tenths of amperes that stand beside those in watts and have been misread as such.
_AMPERES = {
    "1.3.6.1.4.1.318.1.1.12.2.3.1.1.2": ("APC", "rPDULoadStatusLoad"),
    "1.3.6.1.4.1.318.1.1.12.3.5.1.1.7": ("APC", "rPDUOutletStatusLoad"),
    "1.3.6.1.4.1.318.1.1.26.6.3.1.5": ("APC", "rPDU2PhaseStatusCurrent"),
    "1.3.6.1.4.1.318.1.1.26.9.4.3.1.6": ("APC", "rPDU2OutletMeteredStatusCurrent"),
    "1.3.6.1.4.1.3808.1.1.3.2.3.1.1.2": ("CyberPower", "ePDULoadStatusLoad"),
    "1.3.6.1.4.1.3808.1.1.3.3.5.1.1.7": ("CyberPower", "ePDUOutletStatusLoad"),
    "1.3.6.1.4.1.3808.1.1.6.3.4.1.5": ("CyberPower", "ePDU2DeviceStatusCurrentLoad"),
    "1.3.6.1.4.1.3808.1.1.6.6.2.4.1.6": ("CyberPower", "ePDU2OutletMeteredStatusLoad"),
}


@cache
def _known_columns() -> dict[str, _Column]:
    """Columns whose meaning is certain: those of `_AMPERES` and of kit's own profiles.

    A column that holds several quantities, told apart by its last index, is in none of them.
    """
    points = {
        oid: _Column("pdu_current", 0.1, title, name) for oid, (title, name) in _AMPERES.items()
    }
    for name in names():
        profile = msgspec.convert(jsonio.read(FOLDER / f"{name}.json"), Profile)
        for m in profile.measurements:
            if not m.asked:
                word = m.source.partition(",")[0]
                points.setdefault(m.oid, _Column(m.quantity, m.scale, profile.title, word))
    return points


def _misread(measurement: Measurement) -> Iterator[str]:
    """A column taken for what it is not, also where its index is written into its OID."""
    instance = f"{measurement.oid}.{measurement.index}.".replace("..", ".")
    for oid, column in _known_columns().items():
        if not instance.startswith(f"{oid}."):
            continue
        if column.quantity == "pdu_current" != measurement.quantity:
            tenths = "tenths of amperes" if column.scale == 0.1 else "amperes"
            yield (
                f"{measurement.oid} is {column.title}'s {column.name}: {tenths}. It is no power; "
                "watts need the voltage and the power factor as well"
            )
        elif (column.quantity, column.scale) != (measurement.quantity, measurement.scale):
            unit = QUANTITIES[column.quantity].unit
            yield (
                f"{measurement.oid} is {column.title}'s {column.name}: {column.quantity} in steps "
                f"of {column.scale:g} {unit}, not {measurement.quantity} × {measurement.scale:g}"
            )
