"""Metered outlets over SNMP: what the whole host draws from the wall.

Address, credentials and outlets stand in host.toml under the alias that the spec names; what a
make of PDU can tell stands in its profile. Polled at 1 Hz in one GET: power, energy, uptime.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from msgspec.structs import replace

from kit.core.facts import Probe, QuantityFacts
from kit.core.model import MeterDevice, MeterPlan
from kit.core.units import Scope, scale_of, significant
from kit.measure.meters.contract import MeterUnavailable, Reading, Tier, absent
from kit.measure.meters.pdu.points import POLL_S, SAMPLED, Point, complete, of_config
from kit.measure.meters.pdu.profiles import AMPS_ONLY
from kit.measure.meters.pdu.snmp import FAILED, Answer, Snmp, affects_whole_pdu, explain
from kit.record.events import Clock

# What a probe reads beside the power, to check it: the word in the facts under ``probe``.
_CHECKS = {
    "pdu_power": "watts",
    "pdu_voltage": "volts",
    "pdu_current": "amperes",
    "pdu_power_factor": "power_factor",
}


class Pdu:
    name = "pdu"
    title = "Metered outlets (PDU over SNMP)"
    scope: Scope = "wall"
    process: Literal["local", "own"] = "own"
    remedy = "check address, credentials, profile and outlets in host.toml"

    def probe(self, alias: str | None, config: dict[str, Any]) -> MeterPlan:
        """Ask for everything once; waits for the PDU's timeout when it does not answer."""
        try:
            asked = of_config(alias, config)
            snmp = Snmp(config)
            try:
                asked = complete(asked, snmp)
                answers = snmp.get([point.oid for point in asked])
            finally:
                snmp.close()
            return MeterPlan(name=self.name, alias=alias, devices=_devices_of(asked, answers))
        except MeterUnavailable as reason:
            return absent(self.name, alias, _where(alias, str(reason)))

    def open(self, alias: str | None, config: dict[str, Any], clock: Clock) -> PduReader:
        return PduReader(alias, config, clock)


class PduReader:
    """Polls one PDU; a PDU that is silent at first is a code in every row, not an error."""

    def __init__(self, alias: str | None, config: dict[str, Any], clock: Clock) -> None:
        self._clock = clock
        asked = [p for p in of_config(alias, config) if p.quantity in SAMPLED]
        self._snmp = Snmp(config)
        self._points, understood = _understood(asked, self._snmp)
        self._oids = [point.oid for point in self._points]
        self.devices = _devices(understood)
        self.tiers = (Tier("snmp", float(config.get("poll_s", POLL_S)), self._read, slow=True),)

    def explain(self, rc: int) -> str:
        return explain(rc)

    def close(self) -> None:
        self._snmp.close()

    def _read(self) -> Sequence[Reading]:
        t0 = self._clock.now()
        try:
            answers = self._snmp.get(self._oids)
        except Exception:  # whatever the library makes of an answer is a code, not the end
            answers = [(FAILED, None)] * len(self._oids)
        t1 = self._clock.now()
        return [
            Reading(t0, t1, None, point.device, point.quantity, rc, raw)
            for point, (rc, raw) in zip(self._points, answers, strict=True)
        ]


def _understood(asked: Sequence[Point], snmp: Snmp) -> tuple[Sequence[Point], Sequence[Point]]:
    """What to sample, and what of it can be shown live.

    Values in a unit that is not theirs are not sampled: the plan says why. A PDU that is silent
    now may answer later; until its digits are known, its numbers are kept, but not shown.
    """
    try:
        readable = [point for point in complete(asked, snmp) if point.facts.is_read]
    except MeterUnavailable:
        return asked, [point for point in asked if not point.asked]
    return readable, readable


def _devices_of(asked: Sequence[Point], answers: Sequence[Answer]) -> tuple[MeterDevice, ...]:
    """The devices, each quantity with its facts or the reason why it is not told.

    Raises:
        MeterUnavailable: the PDU does not answer, or tells no power.
    """
    deaf = [rc for rc, _ in answers if affects_whole_pdu(rc)]
    if deaf:
        raise MeterUnavailable(explain(deaf[0]))
    codes = {p.quantity: rc for p, (rc, _) in zip(asked, answers, strict=True) if rc == 0}
    points = [_judged(p, rc) for p, (rc, _) in zip(asked, answers, strict=True)]
    powers = [point for point in points if point.quantity == "pdu_power"]
    if all(not point.facts.is_read for point in powers):
        amps = f"; it tells amperes alone: {AMPS_ONLY}" if "pdu_current" in codes else ""
        raise MeterUnavailable(f"{powers[0].facts.reason}{amps}")
    return _devices(_checked(points, answers))


def _judged(point: Point, rc: int) -> Point:
    if rc == 0 or not point.facts.is_read:
        return point
    return point._replace(facts=replace(point.facts, reason=explain(rc)))


def _checked(points: Sequence[Point], answers: Sequence[Answer]) -> list[Point]:
    """The points that are sampled; powers with what the probe read, to be checked against."""
    values: dict[str, dict[str, float]] = {}
    for point, (_, raw) in zip(points, answers, strict=True):
        if point.quantity in _CHECKS and point.facts.is_read and raw is not None:
            value = significant(raw * scale_of(point.quantity, point.facts))
            values.setdefault(point.device, {})[_CHECKS[point.quantity]] = value
    return [
        point._replace(facts=replace(point.facts, probe=Probe(**values[point.device])))
        if point.quantity == "pdu_power" and point.device in values
        else point
        for point in points
        if point.quantity in SAMPLED
    ]


def _where(alias: str | None, reason: str) -> str:
    """The reason with the section of host.toml to look at; its address would be sealed."""
    section = f"[pdu.{alias}]"
    return reason if section in reason else f"{reason} (see {section} in host.toml)"


def _devices(points: Sequence[Point]) -> tuple[MeterDevice, ...]:
    quantities: dict[str, dict[str, QuantityFacts]] = {}
    for point in points:
        quantities.setdefault(point.device, {})[point.quantity] = point.facts
    return tuple(
        MeterDevice(device=device, description=_description(facts), quantities=facts)
        for device, facts in quantities.items()
    )


def _description(quantities: dict[str, QuantityFacts]) -> str:
    sources = [facts.source for facts in quantities.values() if facts.source is not None]
    return "; ".join(sources) or "the PDU itself"


METER = Pdu()
