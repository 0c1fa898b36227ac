"""Metered outlets over SNMP: what the whole host draws from the wall.

Address, credentials and outlets stand in host.toml under the alias that the spec names; what a
make of PDU can tell stands in its profile. Polled at 1 Hz in one GET: power, energy, uptime.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from kit.events import Clock
from kit.meters.base import MeterUnavailable, Reading, Tier, absent
from kit.meters.pdu.profiles import AMPS_ONLY, SYS_UPTIME, Point, load, points
from kit.meters.pdu.snmp import Answer, Snmp, explain, is_deaf
from kit.model import MeterDevice, MeterPlan

PERIOD_S = 1.0


class Pdu:
    name = "pdu"
    title = "Metered outlets (PDU over SNMP)"
    process: Literal["local", "own"] = "own"
    remedy = "check address, credentials, profile and outlets in host.toml"

    def probe(self, alias: str | None, config: dict[str, Any]) -> MeterPlan:
        """Ask for everything once; waits for the PDU's timeout when it does not answer."""
        try:
            asked = _points(alias, config)
            snmp = Snmp(config)
            try:
                answers = snmp.get([point.oid for point in asked])
            finally:
                snmp.close()
            return MeterPlan(name=self.name, alias=alias, devices=_found(asked, answers))
        except MeterUnavailable as reason:
            return absent(self.name, alias, _where(alias, str(reason)))

    def open(self, alias: str | None, config: dict[str, Any], clock: Clock) -> PduReader:
        return PduReader(alias, config, clock)


class PduReader:
    """Polls one PDU; a PDU that is silent at first is a code in every row, not an error."""

    def __init__(self, alias: str | None, config: dict[str, Any], clock: Clock) -> None:
        self._clock = clock
        self._points = _points(alias, config)
        self._oids = [point.oid for point in self._points]
        self._snmp = Snmp(config)
        self.devices = _devices(self._points)
        self.tiers = (Tier("snmp", PERIOD_S, self._read, slow=True),)

    def explain(self, rc: int) -> str:
        return explain(rc)

    def close(self) -> None:
        self._snmp.close()

    def _read(self) -> Sequence[Reading]:
        t0 = self._clock.now()
        answers = self._snmp.get(self._oids)
        t1 = self._clock.now()
        return [
            Reading(t0, t1, None, point.device, point.quantity, rc, raw)
            for point, (rc, raw) in zip(self._points, answers, strict=True)
        ]


def _points(alias: str | None, config: dict[str, Any]) -> tuple[Point, ...]:
    """What to ask this PDU for, its uptime last.

    Raises:
        MeterUnavailable: host.toml does not say enough, or says what its profile cannot do.
    """
    if not config.get("host"):
        raise MeterUnavailable(f"host.toml has no section [pdu.{alias}] with a host")
    name = alias or "pdu"
    profile = load(str(config.get("profile")))
    asked = points(profile, name, config.get("outlets", ()), config.get("inlets", ()))
    uptime = Point(f"pdu:{name}", "pdu_uptime", SYS_UPTIME, {"poll_s": PERIOD_S})
    return (*asked, uptime)


def _found(asked: Sequence[Point], answers: Sequence[Answer]) -> tuple[MeterDevice, ...]:
    """The devices, each quantity with its facts or the reason why it is not told.

    Raises:
        MeterUnavailable: the PDU does not answer, or tells no power.
    """
    deaf = [rc for rc, _ in answers if is_deaf(rc)]
    if deaf:
        raise MeterUnavailable(explain(deaf[0]))
    codes = [(point.quantity, rc) for point, (rc, _) in zip(asked, answers, strict=True)]
    if ("pdu_power", 0) not in codes:
        why = next(explain(rc) for quantity, rc in codes if quantity == "pdu_power")
        amps = f"; it tells amperes alone: {AMPS_ONLY}" if ("pdu_current", 0) in codes else ""
        raise MeterUnavailable(f"{why}{amps}")
    return _devices(
        [
            point if rc == 0 else point._replace(facts={**point.facts, "reason": explain(rc)})
            for point, (rc, _) in zip(asked, answers, strict=True)
        ]
    )


def _where(alias: str | None, reason: str) -> str:
    """The reason with the section of host.toml to look at; its address would be sealed."""
    section = f"[pdu.{alias}]"
    return reason if section in reason else f"{reason} (see {section} in host.toml)"


def _devices(found: Sequence[Point]) -> tuple[MeterDevice, ...]:
    quantities: dict[str, dict[str, dict[str, Any]]] = {}
    for point in found:
        quantities.setdefault(point.device, {})[point.quantity] = dict(point.facts)
    return tuple(
        MeterDevice(device=device, description=_description(told), quantities=told)
        for device, told in quantities.items()
    )


def _description(told: dict[str, dict[str, Any]]) -> str:
    sources = [str(facts["source"]) for facts in told.values() if "source" in facts]
    return "; ".join(sources) or "the PDU itself"


METER = Pdu()
