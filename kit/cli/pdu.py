"""Commands for metered outlets: identify a PDU, and measure its lag and gain."""

from __future__ import annotations

import datetime
import getpass
import os
import sys
from typing import Annotated, Any

from cyclopts import Parameter

from kit.cli.common import Json, print_json, say
from kit.core.errors import EXIT_FAILED, Blocked, UsageError
from kit.core.units import significant
from kit.energy import sanity
from kit.energy.scopes import wall
from kit.machine import host
from kit.machine.host import HostConfig, PduConfig, pdu_calibration
from kit.measure.meters.contract import MeterUnavailable
from kit.measure.meters.pdu import profiles, recognise
from kit.show.render import outlets

_SECRETS = {"community": outlets.COMMUNITY, "auth_key": "KIT_PDU_AUTH_KEY"}
_SECRETS |= {"priv_key": "KIT_PDU_PRIV_KEY"}
_PROFILE = "leave --profile out: kit recognises the PDU by itself; or correct your own profile"
_CANNOT = "leave the host alone meanwhile, and try a longer --idle-s and --load-s"
_REMEDY = "check address, SNMP version, community or user, and that the PDU answers SNMP at all"


def probe(
    address: Annotated[str | None, Parameter(name="HOST")] = None,
    *,
    alias: str | None = None,
    profile: str | None = None,
    version: str | None = None,
    community: str | None = None,
    user: str | None = None,
    auth_protocol: str = "SHA",
    priv_protocol: str = "AES",
    no_auth: Annotated[bool, Parameter(negative="")] = False,
    no_priv: Annotated[bool, Parameter(negative="")] = False,
    port: int = 161,
    timeout_s: float = 2.0,
    json: Json = False,
) -> int:
    """Identify a PDU, list the power of its outlets, and print its section for host.toml.

    Passwords come from KIT_PDU_AUTH_KEY and KIT_PDU_PRIV_KEY, or are asked for; the community may
    also come from KIT_PDU_COMMUNITY.

    Args:
        address: the PDU's name or address, as in pdu1, 192.0.2.10:1161 or [2001:db8::7]:161.
        alias: a section of host.toml to use instead, and the name of the section printed.
        profile: the PDU's make, instead of recognising it; or the path of your own profile.
        version: SNMP version 1, 2c or 3.
        community: for SNMP v1 and v2c; else the environment, else `public`.
        user: for SNMP v3.
        auth_protocol: MD5, SHA, SHA224, SHA256, SHA384, SHA512.
        priv_protocol: DES, 3DES, AES, AES192, AES256.
        no_auth: SNMP v3 without a password.
        no_priv: SNMP v3 without encryption.
        port: UDP port.
        timeout_s: how long to wait for an answer; each request is repeated once. A PDU that does
            not answer is asked once more with at least ten seconds.
    """
    if address is None:
        config = _of_alias(alias)
    else:
        credentials = {"version": version, "community": community, "user": user}
        levels = {"auth_key": not no_auth, "priv_key": not (no_auth or no_priv)}
        config = _credentials(credentials, levels) | {"host": address, "port": port}
        config |= {"auth_protocol": auth_protocol, "priv_protocol": priv_protocol}
        config |= {"timeout_s": timeout_s}
        _check(config)
    _look_up(config)
    chosen = profile or (config.get("profile") if address is None else None)
    try:
        profile_of = profiles.load(str(chosen)) if chosen else None
    except MeterUnavailable as reason:
        raise Blocked(str(reason), _PROFILE) from reason
    try:
        pdu = recognise.identify(config, profile_of)
    except MeterUnavailable as reason:
        raise Blocked(f"the PDU cannot be read: {reason}", _REMEDY) from reason
    if json:
        print_json(outlets.document(pdu))
    else:
        shown = {**config, "profile": chosen}
        sys.stdout.write("\n".join(outlets.lines(pdu)) + "\n")
        section = outlets.section(alias or "rack1", shown, pdu)
        sys.stdout.write("\n".join(["", *section]) + "\n" if section else "")
    return 0 if any("pdu_power" in place.values for place in pdu.places) else Blocked.exit_code


def calibrate(
    alias: str,
    *,
    idle_s: float = 60.0,
    load_s: float = 60.0,
    load: str | None = None,
    reference_watts: float | None = None,
    reference_error: float = 0.01,
    ask: Annotated[bool, Parameter(negative="")] = False,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    json: Json = False,
) -> int:
    """Measure a PDU's lag with a step of load, and its gain where there is a better meter.

    The host idles, works and idles again: do not use it meanwhile. Without a reference no gain is
    given: NVML and RAPL bound the wall from below, but miss power supplies and fans.

    Args:
        alias: the PDU's section in host.toml.
        idle_s: seconds of idling before and after.
        load_s: seconds of load.
        load: a command that makes the load; else one busy process on each CPU.
        reference_watts: mean watts under load by a more accurate meter at the same plug.
        reference_error: the reference's relative error (half-width).
        ask: ask for the reference's watts at the end.
        dry_run: print only; keep nothing.
    """
    from kit.cli import load_step
    from kit.energy.calibration import CannotCalibrate
    from kit.energy.calibration import calibrate as computed

    config = _of_alias(alias)
    section = {key: value for key, value in config.items() if key != "calibration"}
    try:
        recorded = load_step.record(alias, section, (idle_s, load_s), load, say)
        poll_s = float(section["poll_s"])
        result = computed(recorded.wall, recorded.raw, recorded.edges, poll_s, recorded.edge_u_s)
    except CannotCalibrate as reason:
        raise Blocked(f"pdu {alias} cannot be calibrated: {reason}", _CANNOT) from reason
    truth = reference_watts or (_asked() if ask else None)
    entry = _entry(section, recorded, result, truth, reference_error)
    possible = not entry["measured"].get("impossible")
    if possible and not dry_run:
        pdu_calibration.keep(host.config_path().absolute().parent, alias, entry)
    if json:
        print_json(entry)
    else:
        lines = outlets.calibration(alias, entry, possible and not dry_run)
        sys.stdout.write("\n".join(lines) + "\n")
    return 0 if possible else EXIT_FAILED


# --- configuration --------------------------------------------------------------------------


def _of_alias(alias: str | None) -> dict[str, Any]:
    config = HostConfig.load()
    if alias is None:
        raise UsageError(
            "`kit pdu probe` needs HOST, the PDU's name or address, or --alias",
            "write `kit pdu probe HOST`, or name a section of host.toml with --alias",
        )
    if config.section("pdu", alias) is None:
        sections = ", ".join(config.devices.get("pdu", {})) or "none"
        raise UsageError(
            f"{host.config_path()} has no section [pdu.{alias}] (its PDUs: {sections})",
            f"`kit pdu probe HOST --alias {alias}` prints such a section to put there",
        )
    return config.meter("pdu", alias)


def _credentials(options: dict[str, str | None], levels: dict[str, bool]) -> dict[str, Any]:
    """Version, community or user and passwords; asks for a password that is given nowhere."""
    version = options["version"] or ("3" if options["user"] else "2c")
    if version != "3":
        community = options["community"] or os.environ.get(_SECRETS["community"]) or "public"
        return {"version": version, "community": community, "user": options["user"]}
    keys = {key: _secret(key) for key, wanted in levels.items() if wanted}
    return {"version": version, "user": options["user"], "community": options["community"], **keys}


def _secret(key: str) -> str:
    secret = os.environ.get(_SECRETS[key])
    if secret:
        return secret
    if not sys.stdin.isatty():
        level = "--no-auth" if key == "auth_key" else "--no-priv"
        raise UsageError(f"SNMP v3 needs a password: {key}", f"set {_SECRETS[key]}, or add {level}")
    return getpass.getpass(f"{key.replace('_', ' ')}: ")


def _check(config: dict[str, Any]) -> None:
    """Check options by the rules of host.toml.

    Raises:
        UsageError: host.toml would not accept an option.
    """
    host.config.check_pdu(PduConfig(profile="", **config))


def _look_up(config: dict[str, Any]) -> None:
    """Check that a name has an address, before any query.

    Raises:
        Blocked: it has none.
    """
    name = host.address.parse(str(config["host"])).host
    try:
        host.address.resolve(name, int(config["port"]))
    except OSError as error:
        raise Blocked(
            f"{name} cannot be resolved: {error.strerror or error}",
            "check the spelling and the name server, or give the address",
        ) from error


# --- what a calibration keeps ---------------------------------------------------------------


def _asked() -> float:
    """The reference's watts, from the terminal.

    Raises:
        UsageError: what was typed is no power.
    """
    sys.stderr.write("mean watts that the reference showed under load: ")
    sys.stderr.flush()
    typed = sys.stdin.readline().strip()
    try:
        watts = float(typed)
    except ValueError:
        watts = 0.0
    if watts <= 0:
        raise UsageError(f"{typed!r} is no power in watts", "type a number, such as 312.4")
    return watts


def _entry(
    section: dict[str, Any], recorded: Any, result: Any, truth: float | None, error: float
) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "lag_s": significant(max(result.lag_s, 0.0), 4),
        "lag_u_s": significant(max(result.lag_u_s, 1e-3), 3),
        "calibrated": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }
    if result.changes > 10:
        facts["period_s"] = significant(result.period_s, 4)
    if truth is not None:
        scatter = 2 * result.load.u_watts / result.load.watts
        facts |= {
            "correction": significant(truth / result.load.watts, 6),
            "gain": significant(error + scatter, 3),
            "gain_source": f"calibrated against a reference of ±{error:.2%}",
        }
    measured = {
        "idle_w": significant(result.idle.watts, 6),
        "load_w": significant(result.load.watts, 6),
        "lags_s": [significant(lag, 4) for lag in result.lags_s],
        "changes": result.changes,
        "discarded_s": significant(result.discarded_s, 4),
        **_bound(recorded, result),
    }
    return {"made_for": pdu_calibration.made_for(section), "facts": facts, "measured": measured}


def _bound(recorded: Any, result: Any) -> dict[str, Any]:
    """The lower bound by NVML and RAPL. It is no gain: they miss supplies and fans."""
    if recorded.parts_w is None:
        return {}
    idle_w, load_w = recorded.parts_w
    step = load_w - idle_w
    ratio = (result.load.watts - result.idle.watts) / step if step > 0 else None
    return {
        "parts": list(recorded.parts),
        "parts_idle_w": significant(idle_w, 6),
        "parts_load_w": significant(load_w, 6),
        "step_ratio": significant(ratio, 4) if ratio is not None else None,
        "impossible": bool(sanity.power_below_parts(result.load.watts, wall.GAIN, load_w)),
    }
