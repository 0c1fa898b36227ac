"""Smart plugs that answer HTTP with JSON: what the whole host draws from the wall.

Address, credentials and make are in host.toml under the alias that the spec names; what a make
reports is in its profile, a JSON file of ``plug_profiles/`` or one's own. Polled at 1 Hz.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode

from msgspec.structs import replace

from kit.core.facts import QuantityFacts
from kit.core.model import MeterPlan, Record
from kit.core.units import Scope
from kit.energy.scopes.wall import GAIN, GAIN_SOURCE
from kit.machine.host.limits import ENERGY_J, MOST_DIGITS
from kit.measure.meters import profilefile, webreader
from kit.measure.meters.contract import MeterUnavailable, absent
from kit.measure.meters.web import Site
from kit.measure.meters.webreader import Point, Source, WebReader
from kit.record.events import Clock

FOLDER = Path(__file__).with_name("plug_profiles")
GENERIC = "generic"
POLL_S = 1.0
_NO_PERIOD = "its maker states none"
_UNITS = {"pdu_power": {"W": 1, "kW": 1000}, "pdu_energy": ENERGY_J}
_LIMITS = {
    "period_s": (0.01, 3600.0),
    "gain": (0.0, 0.5),
    "offset": (0.0, 1e6),
    "squelch": (0.0, 1e6),
    "resolution": (1e-6, 1e9),
}


class Measurement(Record, frozen=True, kw_only=True):
    """One value of a plug's answer: what it is, where it is, and its ``unit``.

    ``digits`` are the most decimals that it is written with. ``resolution`` is its step in W or J,
    where that is not its last digit. What is not known is null: the update period ``period_s``,
    the accuracy (``gain``, relative, and ``offset``), and below what load it reads 0 (``squelch``).
    """

    quantity: Literal["pdu_power", "pdu_energy"]
    pointer: str
    unit: str
    digits: int
    source: str
    period_s: float | None
    gain: float | None
    offset: float | None
    squelch: float | None
    gain_source: str = ""
    resolution: float | None = None


class Profile(Record, frozen=True, kw_only=True):
    """What one make of plug reports.

    Attributes:
        path: what is asked for; ``{channel}`` in it is the socket's number.
        auth: how user and password are sent: HTTP's ``basic`` or ``digest``, or in the ``query``.
        valid: pointer to the make's own word whether its values are any; empty for none.
    """

    name: str
    title: str
    path: str
    source: str
    measurements: tuple[Measurement, ...]
    auth: Literal["basic", "digest", "query"] = "basic"
    valid: str = ""
    notes: str = ""


class Plug:
    name = "plug"
    title = "Smart plugs (JSON over HTTP)"
    scope: Scope = "wall"
    process: Literal["local", "own"] = "own"
    remedy = "check url, profile, channel and credentials in host.toml"

    def probe(self, alias: str | None, config: dict[str, Any]) -> MeterPlan:
        """Ask once; waits for the plug's timeout when it does not answer."""
        try:
            source, site = _of_config(alias, config)
            try:
                devices = webreader.probe([source], site.get)
            finally:
                site.close()
            return MeterPlan(name=self.name, alias=alias, devices=devices)
        except MeterUnavailable as reason:
            return absent(self.name, alias, f"{reason} (see [plug.{alias}] in host.toml)")

    def open(self, alias: str | None, config: dict[str, Any], clock: Clock) -> WebReader:
        source, site = _of_config(alias, config)
        poll_s = float(config.get("poll_s", POLL_S))
        return WebReader(self.name, [source], site.get, site.close, poll_s, clock)


def names() -> tuple[str, ...]:
    """Every profile that kit brings."""
    return profilefile.names(FOLDER)


def load(name: str) -> Profile:
    """The profile called ``name``, or the one in the file ``name`` where it ends in ``.json``.

    Raises:
        MeterUnavailable: there is none, or it contradicts itself.
    """
    return profilefile.load(name, FOLDER, Profile, problems, word="plug", names=(*names(), GENERIC))


def problems(profile: Profile) -> Iterator[str]:
    """What is wrong with a profile, such as a power in watt-hours."""
    quantities = [measurement.quantity for measurement in profile.measurements]
    if "pdu_power" not in quantities or len(set(quantities)) != len(quantities):
        yield "it must report one power, and one energy at the most"
    if not profile.path.startswith("/") or not profile.path.isascii() or " " in profile.path:
        yield "its path must begin with / and hold neither spaces nor other letters than ASCII"
    for measurement in profile.measurements:
        units = _UNITS[measurement.quantity]
        if measurement.unit not in units:
            offered = ", ".join(units)
            yield f"{measurement.quantity} is written in {offered}, not in {measurement.unit}"
        if not 0 <= measurement.digits <= MOST_DIGITS:
            yield f"{measurement.quantity}: digits must lie in 0…{MOST_DIGITS}"
        if not measurement.pointer.startswith("/"):
            yield f"{measurement.quantity}: its pointer must be a JSON pointer"
        for key, (low, high) in _LIMITS.items():
            value = getattr(measurement, key)
            if value is not None and not low <= value <= high:
                yield f"{measurement.quantity}: {key} must lie in {low:g}…{high:g}"


def _of_config(alias: str | None, config: dict[str, Any]) -> tuple[Source, Site]:
    """What to ask a plug for, and the plug.

    Raises:
        MeterUnavailable: host.toml does not say enough, or there is no such profile.
    """
    if not config.get("url"):
        raise MeterUnavailable(f"host.toml has no section [plug.{alias}] with a url")
    name = str(config.get("profile"))
    profile = _generic(config) if name == GENERIC else load(name)
    site = Site({**config, "auth": profile.auth})
    channel = int(config.get("channel", 0))
    path = profile.path.replace("{channel}", str(channel))
    if profile.auth == "query" and config.get("user"):
        credentials = urlencode({"user": config["user"], "password": config["password"]})
        path = f"{path}{'&' if '?' in path else '?'}{credentials}"
    points = tuple(
        _point(measurement, config, site.security) for measurement in profile.measurements
    )
    device = f"plug:{alias}:{channel}"
    return Source(device, f"{profile.title}; {site.security}", path, points, profile.valid), site


def _generic(config: dict[str, Any]) -> Profile:
    """The profile that host.toml itself spells out."""
    unknown: dict[str, Any] = dict.fromkeys(("period_s", "gain", "offset", "squelch"))
    power = Measurement(
        quantity="pdu_power",
        pointer=str(config.get("power")),
        unit="W",
        digits=int(config.get("digits", 3)),
        source="the power that host.toml points to, W",
        **unknown,
    )
    measurements = [power]
    if config.get("energy"):
        unit = str(config.get("energy_unit", "Wh"))
        measurements.append(
            Measurement(
                quantity="pdu_energy",
                pointer=str(config["energy"]),
                unit=unit,
                digits=int(config.get("energy_digits", 3)),
                source=f"the energy that host.toml points to, {unit}",
                **unknown,
            )
        )
    return Profile(
        name=GENERIC,
        title="a device that host.toml describes",
        path=str(config.get("path")),
        source="host.toml",
        measurements=tuple(measurements),
    )


def _point(measurement: Measurement, config: dict[str, Any], security: str) -> Point:
    """A value with the plan's facts about it; host.toml's word goes before the profile's."""
    scale = webreader.scale(_UNITS[measurement.quantity][measurement.unit], measurement.digits)
    period_s = float(config["period_s"]) if config.get("period_s") else measurement.period_s
    facts = QuantityFacts(
        poll_s=float(config.get("poll_s", POLL_S)),
        scale=scale,
        unit="W" if measurement.quantity == "pdu_power" else "J",
        resolution=measurement.resolution or scale,
        source=measurement.source,
        security=security,
        period_s=period_s,
        period_reason=_NO_PERIOD if period_s is None else None,
        gain=measurement.gain,
        gain_source=None if measurement.gain is None else measurement.gain_source,
        offset=measurement.offset,
        squelch=measurement.squelch,
    )
    if measurement.quantity == "pdu_power":
        facts = _of_power(facts, config)
    return Point(measurement.quantity, measurement.pointer, measurement.digits, facts)


def _of_power(facts: QuantityFacts, config: dict[str, Any]) -> QuantityFacts:
    """The facts of a power, with the accuracy that host.toml states, or the prior."""
    if config.get("gain") is not None:
        gain, source = float(config["gain"]), str(config["gain_source"])
        facts = replace(facts, gain=gain, gain_source=source)
    elif facts.gain is None:
        facts = replace(facts, gain=GAIN, gain_source=GAIN_SOURCE)
    if config.get("squelch") is not None:
        facts = replace(facts, squelch=float(config["squelch"]))
    return replace(facts, summed=True)


METER = Plug()
