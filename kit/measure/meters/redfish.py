"""A machine's own power, as its BMC reports it over Redfish: what it draws from the wall.

Address and credentials are in host.toml under the alias that the spec names. Of a chassis,
``EnvironmentMetrics`` is read where it reports power, else ``Power``. Chassis add up only where
host.toml names them. Over which time a BMC averages, and how late it is, no maker states and no
schema holds: the plan carries a wide prior, so that short phases get a wide uncertainty.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Literal

from msgspec.structs import replace

from kit.core.facts import QuantityFacts
from kit.core.model import MeterPlan
from kit.core.units import Scope
from kit.measure.meters import webreader
from kit.measure.meters.contract import MeterUnavailable, absent
from kit.measure.meters.web import Answer, Site, explain
from kit.measure.meters.webreader import Point, Source, WebReader
from kit.record.events import Clock

POLL_S = 1.0
ROOT = "/redfish/v1"
PRIOR_GAIN = 0.1
# Up to a minute: BMCs renew their power every second to every half minute, from a mean of as long.
LONGEST_LAG_S = 60.0
_PRIOR = "prior: ±10%, no BMC states its accuracy"
_LAG = f"prior: lag and averaging of BMCs are not stated, taken to be up to {LONGEST_LAG_S:.0f} s"
_NO_PERIOD = "Redfish does not report it"
_ROUNDED = "a value with more digits is rounded to the last one, half to even"
_JOULES_A_KWH = 3_600_000
_W_DIGITS, _KWH_DIGITS = 3, 6
_ID = re.compile(r"[A-Za-z0-9._~:-]{1,64}")
_MOST_CHASSIS = 16
_UNAUTHORISED = 401
# What a chassis without a power of its own answers; one of another code may report it later.
_NONE_TOLD = frozenset({404, webreader.MISSING, webreader.NO_NUMBER})
_NAME_THEM = (
    f'name those that add up to the machine as chassis = ["…"], by their Ids under {ROOT}/Chassis'
)
_TRIES, _AGAIN_S = 3, 0.5


class Redfish:
    name = "redfish"
    title = "The machine's own power (BMC over Redfish)"
    scope: Scope = "wall"
    process: Literal["local", "own"] = "own"
    remedy = "check url, credentials and chassis in host.toml"

    def probe(self, alias: str | None, config: dict[str, Any]) -> MeterPlan:
        """Ask once for each chassis; waits for the BMC's timeout when it does not answer."""
        try:
            bmc = Bmc(alias, config)
            try:
                devices = webreader.probe(bmc.sources(), bmc.get)
            finally:
                bmc.close()
            return MeterPlan(name=self.name, alias=alias, devices=devices)
        except MeterUnavailable as reason:
            return absent(self.name, alias, f"{reason} (see [redfish.{alias}] in host.toml)")

    def open(self, alias: str | None, config: dict[str, Any], clock: Clock) -> WebReader:
        bmc = Bmc(alias, config)
        sources = _patiently(bmc)
        poll_s = float(config.get("poll_s", POLL_S))
        return WebReader(self.name, sources, bmc.get, bmc.close, poll_s, clock)


class Bmc:
    """One BMC: its session, and which of its documents report power.

    Raises:
        MeterUnavailable: host.toml does not say where it is.
    """

    def __init__(self, alias: str | None, config: dict[str, Any]) -> None:
        if not config.get("url"):
            raise MeterUnavailable(f"host.toml has no section [redfish.{alias}] with a url")
        self._alias, self._config = alias, config
        self._site = Site({**config, "auth": "session" if config.get("session") else "basic"})
        self._session = ""

    def get(self, path: str) -> Answer:
        """A document; where a session is wanted, one is begun first, and again when it ended."""
        if self._config.get("session") and not self._session:
            rc = self._begin()
            if rc:
                return Answer(rc)
        answer = self._site.get(path)
        if answer.rc == _UNAUTHORISED and self._session:
            self._session = ""
            rc = self._begin()
            return Answer(rc) if rc else self._site.get(path)
        return answer

    def close(self) -> None:
        """End the session: a BMC has few of them."""
        if self._session.startswith(f"{ROOT}/"):
            self._site.ask("DELETE", self._session)
        self._session = ""
        self._site.close()

    def sources(self) -> tuple[Source, ...]:
        """What is read of each chassis.

        Raises:
            MeterUnavailable: none reports power, or several do and host.toml names none.
        """
        named = tuple(self._config.get("chassis") or ())
        answers = [self._source(index, name) for index, name in enumerate(named or self._members())]
        telling = [source for source in answers if isinstance(source, Source)]
        silent = [rc for rc in answers if not isinstance(rc, Source)]
        if silent and (named or not telling):
            raise MeterUnavailable(f"a chassis reports no power: {webreader.explain(silent[0])}")
        if unknown := [rc for rc in silent if rc not in _NONE_TOLD]:
            raise MeterUnavailable(
                f"of a chassis it is not known whether it reports power: {explain(unknown[0])}; "
                f"{_NAME_THEM}"
            )
        if not named and len(telling) > 1:
            raise MeterUnavailable(
                f"{len(telling)} chassis report power, and one may hold another: {_NAME_THEM}"
            )
        return tuple(telling)

    def _begin(self) -> int:
        """Begin a session; a code, 0 once there is one."""
        words = {"UserName": self._config["user"], "Password": self._config["password"]}
        answer = self._site.ask("POST", f"{ROOT}/SessionService/Sessions", words)
        token = (answer.headers or {}).get("X-Auth-Token")
        if answer.rc or not token:
            return answer.rc or _UNAUTHORISED
        self._site.use("X-Auth-Token", str(token))
        location = str(answer.headers.get("Location", ""))
        self._session = location[max(0, location.find(f"{ROOT}/")) :] or "unknown"
        return 0

    def _members(self) -> tuple[str, ...]:
        """The Ids of all chassis.

        Raises:
            MeterUnavailable: the BMC does not list them.
        """
        answer = self.get(f"{ROOT}/Chassis")
        if answer.rc:
            raise MeterUnavailable(explain(answer.rc))
        names = []
        with suppress(LookupError, TypeError, AttributeError):
            listed = answer.document["Members"]
            if len(listed) > _MOST_CHASSIS or "Members@odata.nextLink" in answer.document:
                raise MeterUnavailable(f"the BMC lists too many chassis: {_NAME_THEM}")
            for member in listed:
                names.append(member["@odata.id"].rstrip("/").rpartition("/")[2])
        members = tuple(dict.fromkeys(name for name in names if _ID.fullmatch(name)))
        if not members:
            raise MeterUnavailable("the BMC lists no chassis")
        return members

    def _source(self, index: int, name: str) -> Source | int:
        """Where a chassis reports power, else the code why it does not.

        Its Id may be a serial number: the plan calls it by its place in host.toml.
        """
        code = 0
        for way in ("EnvironmentMetrics", "Power"):
            path = f"{ROOT}/Chassis/{name}/{way}"
            answer = self.get(path)
            points = tuple(_points(way, self._config, self._site.security))
            source = Source(f"redfish:{self._alias}:chassis{index}", "", path, points)
            codes = [rc for rc, _ in webreader.values(source, answer)]
            if codes[0] == 0:
                about = f"Redfish, {way}; {self._site.security}"
                return source._replace(
                    description=about,
                    points=tuple(p for p, rc in zip(points, codes, strict=True) if rc == 0),
                )
            code = codes[0] if code in (0, 404) else code
        return code


def _patiently(bmc: Bmc) -> tuple[Source, ...]:
    """`Bmc.sources`, asked again where a busy BMC gives none: a run would be without its wall.

    Raises:
        MeterUnavailable: it gives none each time.
    """
    for _ in range(_TRIES - 1):
        with suppress(MeterUnavailable):
            return bmc.sources()
        time.sleep(_AGAIN_S)
    try:
        return bmc.sources()
    except MeterUnavailable:
        bmc.close()
        raise


def _points(way: str, config: dict[str, Any], security: str) -> Iterator[Point]:
    """The power that a document reports, and the energy where it can."""
    stated_s = float(config["period_s"]) if config.get("period_s") else None
    common = QuantityFacts(
        poll_s=float(config.get("poll_s", POLL_S)),
        security=security,
        rounding=_ROUNDED,
        period_s=stated_s,
        period_reason=None if stated_s else _NO_PERIOD,
    )
    is_power = way == "Power"
    pointer = "/PowerControl/0/PowerConsumedWatts" if is_power else "/PowerWatts/Reading"
    word = "PowerControl[0].PowerConsumedWatts" if is_power else "PowerWatts.Reading"
    power = replace(
        common,
        scale=webreader.scale(1, _W_DIGITS),
        unit="W",
        resolution=1.0,
        offset=1.0,
        source=f"{way} {word}, W",
        gain=PRIOR_GAIN,
        gain_source=_PRIOR,
        lag_u_s=round(LONGEST_LAG_S / math.sqrt(3), 3),
        lag_source=_LAG,
        summed=not config.get("inside", False),
    )
    yield Point("pdu_power", pointer, _W_DIGITS, power, rounded=True)
    if not is_power:
        scale = webreader.scale(_JOULES_A_KWH, _KWH_DIGITS)
        source = "EnvironmentMetrics EnergykWh.Reading, kWh since it was last reset"
        energy = replace(common, scale=scale, unit="J", resolution=scale, source=source)
        yield Point("pdu_energy", "/EnergykWh/Reading", _KWH_DIGITS, energy, rounded=True)


METER = Redfish()
