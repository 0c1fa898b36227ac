"""The values to ask a PDU for, each with its facts, from its profile and host.toml.

Some makes tell unit, digits or accuracy themselves: these are asked for once, at probe, and go into
the facts that the plan keeps.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from msgspec.structs import replace

from kit.core.facts import QuantityFacts, known
from kit.energy.scopes.wall import GAIN, GAIN_SOURCE
from kit.measure.meters.contract import MeterUnavailable
from kit.measure.meters.pdu.profiles import AMPS_ONLY, SYS_UPTIME, Asked, Measurement, Profile, load
from kit.measure.meters.pdu.snmp import Answer, Snmp, affects_whole_pdu, explain

SAMPLED = ("pdu_power", "pdu_energy", "pdu_uptime")
POLL_S = 1.0
# A part of an OID is a number below 2³²; an outlet's has fewer digits.
_INDEX = re.compile(r"[0-9]{1,9}")
# What a device may tell of itself: decimal digits, RFC 3433's prefixes, accuracy, update period.
_DIGITS, _PREFIXES, _LARGEST_ERROR, _LONGEST_S = range(10), range(1, 18), 0.5, 3600.0
_UNITS = 9  # RFC 3433's EntitySensorDataScale: units(9), milli(8), kilo(10)


class Point(NamedTuple):
    """One value to ask for: its device, its quantity, and the plan's facts about it."""

    device: str
    quantity: str
    oid: str
    facts: QuantityFacts
    asked: tuple[tuple[Asked, str], ...] = ()


def of_config(alias: str | None, config: dict[str, Any]) -> tuple[Point, ...]:
    """What to ask this PDU for, its uptime last.

    Raises:
        MeterUnavailable: host.toml does not say enough, or says what its profile cannot do.
    """
    if not config.get("host"):
        raise MeterUnavailable(f"host.toml has no section [pdu.{alias}] with a host")
    if str(config.get("version")) == "3" and not config.get("user"):
        raise MeterUnavailable(f"[pdu.{alias}] in host.toml asks for SNMP v3 without a user")
    if str(config.get("version")) != "3" and not config.get("community"):
        raise MeterUnavailable(f"[pdu.{alias}] in host.toml has neither a community nor a user")
    profile = load(str(config.get("profile")))
    chosen = select(profile, config.get("outlets") or (), config.get("inlets") or ())
    selected = points(profile, str(alias), chosen, config.get("calibration") or {})
    uptime = QuantityFacts(oid=SYS_UPTIME, source="sysUpTime, hundredths of a second")
    poll_s = float(config.get("poll_s", POLL_S))
    return tuple(
        point._replace(facts=replace(point.facts, poll_s=poll_s))
        for point in (*selected, Point(f"pdu:{alias}", "pdu_uptime", SYS_UPTIME, uptime))
    )


def select(
    profile: Profile, outlets: Sequence[Any], inlets: Sequence[Any]
) -> dict[str, dict[str, bool]]:
    """Which outlets and inlets are read, each with whether it is summed.

    Outlets add up to the host; inlets do so only where no outlet is given, since they hold them.
    Without either it is the whole PDU: its total, or the usual inlets of the make.

    Raises:
        MeterUnavailable: this make tells no power, or not of what is named.
    """
    powers = profile.powers()
    if not powers:
        raise MeterUnavailable(f"the PDU profile {profile.name} tells no power: {AMPS_ONLY}")
    for kind, wanted in (("outlet", outlets), ("inlet", inlets)):
        if wanted and kind not in powers:
            other = " or ".join(f"{p}s" for p in sorted(powers - {"total"})) or "neither"
            raise MeterUnavailable(f"{profile.title} meters no {kind}s: name {other} instead")
    indices = {
        "outlet": {_index(profile, "outlet", o): True for o in outlets},
        "inlet": {_index(profile, "inlet", i): not outlets for i in inlets},
    }
    if not outlets and not inlets:
        if "total" in powers:
            indices["total"] = {"": True}
        else:
            indices["inlet"] = {_index(profile, "inlet", i): True for i in profile.inlets}
    if not any(indices.values()):
        raise MeterUnavailable(f"{profile.title} needs outlets or inlets to read: name them")
    return indices


def _index(profile: Profile, kind: str, name: Any) -> str:
    """An outlet's whole index; parts in front that a person left out are the usual ones."""
    parts = profile.parts.get(kind, (kind,))
    index = str(name).split(".")
    usual = [part for part in profile.leading.get(kind, "").split(".") if part]
    missing = len(parts) - len(index)
    if 0 < missing <= len(usual):
        index = [*usual[:missing], *index]
    if len(index) != len(parts) or not all(_INDEX.fullmatch(part) for part in index):
        form = ".".join(part.upper() for part in parts)
        raise MeterUnavailable(f"{kind} {name!s} of {profile.title} must be written {form}")
    return ".".join(str(int(part)) for part in index)


def points(
    profile: Profile, alias: str, chosen: dict[str, dict[str, bool]], calibration: dict[str, Any]
) -> Iterator[Point]:
    """Every value of the chosen outlets and inlets, also those that only a check needs."""
    for measurement in profile.measurements:
        for index, summed in chosen.get(measurement.of, {}).items():
            oid = _oid(measurement.oid, measurement.index, index)
            facts = replace(_facts(measurement), oid=oid)
            if measurement.quantity == "pdu_power":
                facts = replace(facts, summed=summed, **calibration)
            if measurement.quantity == "pdu_energy":  # a second view: it may stand at 0 all along
                facts = replace(facts, summed=False)
            kind = "" if measurement.of == "outlet" else measurement.of
            yield Point(
                f"pdu:{alias}:{kind}{index}",
                measurement.quantity,
                oid,
                facts,
                tuple((a, _oid(a.oid, a.index, index)) for a in measurement.asked),
            )


def _facts(measurement: Measurement) -> QuantityFacts:
    facts = QuantityFacts(
        scale=measurement.scale,
        unit=measurement.unit,
        resolution=measurement.resolution,
        source=measurement.source,
        gain=measurement.gain,
        gain_source=measurement.gain_source or None,
        offset=measurement.offset,
        squelch=measurement.squelch,
        period_s=measurement.period_s,
    )
    if measurement.quantity == "pdu_power" and measurement.gain is None:
        return replace(facts, gain=GAIN, gain_source=GAIN_SOURCE)
    return facts


def _oid(oid: str, template: str, index: str) -> str:
    return f"{oid}.{template.format(i=index)}"


def complete(points: Iterable[Point], snmp: Snmp) -> tuple[Point, ...]:
    """The points with what only the device knows about them: unit, digits, accuracy, period.

    A point whose unit or digits cannot be read gets the reason: its number means nothing.

    Raises:
        MeterUnavailable: the PDU does not answer.
    """
    points = tuple(points)
    oids = [oid for point in points for _, oid in point.asked]
    answers = snmp.get(oids) if oids else []
    deaf = next((rc for rc, _ in answers if affects_whole_pdu(rc)), None)
    if deaf is not None:
        raise MeterUnavailable(explain(deaf))
    answer_of = dict(zip(oids, answers, strict=True))
    return tuple(
        point._replace(
            facts=_with_answers(point.facts, [(a, answer_of[oid]) for a, oid in point.asked])
        )
        for point in points
    )


def _with_answers(facts: QuantityFacts, answers: Iterable[tuple[Asked, Answer]]) -> QuantityFacts:
    result = facts
    for asked, (rc, raw) in answers:
        if rc or raw is None:
            if asked.fact not in ("gain", "period"):
                why = f"the PDU does not tell the {asked.fact} of it: {explain(rc)}"
                result = replace(result, reason=why)
        elif asked.fact == "unit" and raw != asked.equals:
            why = f"the PDU gives this in unit {raw}, not in {facts.unit}"
            result = replace(result, reason=why)
        elif asked.fact in ("digits", "prefix"):
            if raw not in (_DIGITS if asked.fact == "digits" else _PREFIXES):
                why = f"the PDU tells {raw} as the {asked.fact} of it: no number has it"
                result = replace(result, reason=why)
                continue
            result = _shifted(result, -raw if asked.fact == "digits" else 3 * (raw - _UNITS))
        elif (
            asked.fact == "gain"
            and 0 < raw * asked.scale <= _LARGEST_ERROR
            and facts.correction is None
        ):
            gain = raw * asked.scale
            result = replace(result, gain=gain, gain_source="vendor: read from the PDU")
        elif asked.fact == "period" and 0 < raw * asked.scale <= _LONGEST_S:
            result = replace(result, period_s=known(result.period_s, raw * asked.scale))
    return result


def _shifted(facts: QuantityFacts, digits: int) -> QuantityFacts:
    """The facts of a number whose point lies so many decimal digits further to the right."""
    factor = 10.0**digits
    scale, resolution = (known(n, 1.0) * factor for n in (facts.scale, facts.resolution))
    return replace(facts, scale=scale, resolution=resolution)
