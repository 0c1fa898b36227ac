"""Commands about metered outlets: what a PDU is and tells, and how late and how true it is."""

from __future__ import annotations

import datetime
import getpass
import os
import re
import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from kit import host
from kit.cli.common import Json, print_json, say
from kit.errors import Blocked, UsageError
from kit.host import HostConfig, PduConfig, calibrations
from kit.meters.base import MeterUnavailable
from kit.units import QUANTITIES, significant

_SECRETS = {"community": "KIT_PDU_COMMUNITY", "auth_key": "KIT_PDU_AUTH_KEY"}
_SECRETS |= {"priv_key": "KIT_PDU_PRIV_KEY"}
_AMPERES = "amperes alone: no energy can be told from it"
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
    """Say what a PDU is, what its outlets draw, and what to write into host.toml.

    Passwords come from KIT_PDU_AUTH_KEY and KIT_PDU_PRIV_KEY, or are asked for; the community may
    also come from KIT_PDU_COMMUNITY.

    Args:
        address: the PDU's name or address.
        alias: a section of host.toml to use instead, and the name of the section printed.
        profile: take it for a PDU of this make instead of recognising it; a path for one's own.
        version: SNMP version 1, 2c or 3.
        community: for SNMP v1 and v2c; else the environment, else `public`.
        user: for SNMP v3.
        auth_protocol: MD5, SHA, SHA224, SHA256, SHA384, SHA512.
        priv_protocol: DES, 3DES, AES, AES192, AES256.
        no_auth: SNMP v3 without a password.
        no_priv: SNMP v3 without encryption.
        port: UDP port.
        timeout_s: how long to wait for an answer; each request is repeated once.
    """
    from kit.meters.pdu import profiles, recognise

    if address is None:
        config = _of_alias(alias)
    else:
        given = {"version": version, "community": community, "user": user}
        levels = {"auth_key": not no_auth, "priv_key": not (no_auth or no_priv)}
        config = _credentials(given, levels) | {"host": address, "port": port}
        config |= {"auth_protocol": auth_protocol, "priv_protocol": priv_protocol}
        config |= {"timeout_s": timeout_s}
        _check(config)
    chosen = profile or (config.get("profile") if address is None else None)
    try:
        seen = recognise.look(config, profiles.load(str(chosen)) if chosen else None)
    except MeterUnavailable as reason:
        raise Blocked(f"the PDU cannot be read: {reason}", _REMEDY) from reason
    if json:
        print_json(_document(seen))
    else:
        sys.stdout.write("\n".join(_lines(seen)) + "\n")
        section = _section(alias or "rack1", config, seen)
        sys.stdout.write("\n".join(["", *section]) + "\n" if section else "")
    return 0 if any("pdu_power" in place.values for place in seen.places) else Blocked.exit_code


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
) -> None:
    """Measure a PDU's lag by a step of load, and its gain where something truer is at hand.

    Takes idle, load, idle: leave the host alone meanwhile. Without a reference the gain is not
    told: NVML and RAPL bound the wall from below, but power supplies and fans are not in them.

    Args:
        alias: the PDU's section in host.toml.
        idle_s: seconds of idling before and after.
        load_s: seconds of load.
        load: a command that makes the load; else one busy process on each CPU.
        reference_watts: mean watts under load by a truer meter at the same plug.
        reference_error: the reference's relative error (half-width).
        ask: ask for the reference's watts at the end.
        dry_run: print only; keep nothing.
    """
    from kit.cli import calibrating
    from kit.energy.calibration import CannotCalibrate
    from kit.energy.calibration import calibrate as computed

    config = _of_alias(alias)
    section = {key: value for key, value in config.items() if key != "calibration"}
    try:
        recorded = calibrating.record(alias, section, (idle_s, load_s), load, say)
        poll_s = float(section["poll_s"])
        found = computed(recorded.wall, recorded.raw, recorded.edges, poll_s, recorded.edge_u_s)
    except CannotCalibrate as reason:
        raise Blocked(f"pdu {alias} cannot be calibrated: {reason}", "see --help") from reason
    truth = reference_watts or (_asked() if ask else None)
    entry = _entry(section, recorded, found, truth, reference_error)
    if not dry_run:
        calibrations.keep(_folder(), alias, entry)
    if json:
        print_json(entry)
    else:
        sys.stdout.write("\n".join(_told(alias, entry, not dry_run)) + "\n")


# --- configuration --------------------------------------------------------------------------


def _of_alias(alias: str | None) -> dict[str, Any]:
    config = HostConfig.load()
    if alias is None:
        raise UsageError("give the PDU's address, or --alias for a section of host.toml", "--help")
    if alias not in config.pdu:
        known = ", ".join(config.pdu) or "none"
        raise UsageError(f"host.toml has no section [pdu.{alias}] (it has: {known})", "add it")
    return config.meter("pdu", alias)


def _credentials(given: dict[str, str | None], levels: dict[str, bool]) -> dict[str, Any]:
    """Version, community or user and passwords; asks for a password that is nowhere else."""
    version = given["version"] or ("3" if given["user"] else "2c")
    if version != "3":
        community = given["community"] or os.environ.get(_SECRETS["community"]) or "public"
        return {"version": version, "community": community, "user": given["user"]}
    keys = {key: _secret(key) for key, wanted in levels.items() if wanted}
    return {"version": version, "user": given["user"], "community": given["community"], **keys}


def _secret(key: str) -> str:
    found = os.environ.get(_SECRETS[key])
    if found:
        return found
    if not sys.stdin.isatty():
        level = "--no-auth" if key == "auth_key" else "--no-priv"
        raise UsageError(f"SNMP v3 needs a password: {key}", f"set {_SECRETS[key]}, or {level}")
    return getpass.getpass(f"{key.replace('_', ' ')}: ")


def _check(config: dict[str, Any]) -> None:
    """The rules of host.toml, said of options.

    Raises:
        UsageError: an option that host.toml would not take.
    """
    host.config.check_pdu(PduConfig(profile="", **config))


def _folder() -> Path:
    return host.config_path().absolute().parent


# --- what a probe shows ---------------------------------------------------------------------


def _document(seen: Any) -> dict[str, Any]:
    profile = seen.profile
    return {
        "sys_object_id": seen.sys_object_id,
        "description": seen.description,
        "profile": profile.name if profile else None,
        "title": profile.title if profile else None,
        "places": [
            {
                "of": place.of,
                "number": place.number,
                "name": place.name,
                "values": {q: significant(v) for q, v in place.values.items()},
                "reason": place.reason,
            }
            for place in seen.places
        ],
    }


def _lines(seen: Any) -> list[str]:
    from kit.text import clean

    lines = [f"{clean(seen.description) or 'no description'}", f"sysObjectID {seen.sys_object_id}"]
    if seen.profile is None:
        return [*lines, "no profile of kit's fits: write one as in kit/meters/pdu_profiles/"]
    lines += [f"profile {seen.profile.name}: {seen.profile.title}", seen.profile.notes, ""]
    for place in seen.places:
        label = f"{place.of} {place.number}".strip()
        lines.append(f"  {label:<14}{_values(place):<34}{clean(place.name)}".rstrip())
    return [line for line in lines if line or line == ""]


def _values(place: Any) -> str:
    told = {q: place.values[q] for q in ("pdu_power", "pdu_current") if q in place.values}
    if "pdu_power" not in told:
        return f"{told['pdu_current']:.2f} A ({_AMPERES})"
    return ", ".join(f"{v:.4g} {QUANTITIES[q].unit}" for q, v in told.items())


def _section(alias: str, config: dict[str, Any], seen: Any) -> list[str]:
    """The section of host.toml, ready to paste; empty where nothing tells watts."""
    powers = [place for place in seen.places if "pdu_power" in place.values]
    if seen.profile is None or not powers:
        return []
    lines = [f"[pdu.{_bare(alias)}]", f"host = {_quoted(config['host'])}"]
    lines += [f"profile = {_quoted(config.get('profile') or seen.profile.name)}"]
    for of in ("outlet", "inlet"):
        numbers = [place.number for place in powers if place.of == of]
        if numbers and not (of == "inlet" and any(p.of == "outlet" for p in powers)):
            listed = ", ".join(n if n.isdigit() else _quoted(n) for n in numbers)
            lines.append(f"{of}s = [{listed}]  # keep those that feed this host")
    if int(config.get("port", 161)) != 161:
        lines.append(f"port = {config['port']}")
    if config["version"] != "3":
        lines += ['version = "1"'] if config["version"] == "1" else []
        hidden = config["community"] == os.environ.get(_SECRETS["community"])
        community = '"…"  # fill in' if hidden else _quoted(config["community"])
        return [*lines, f"community = {community}"]
    lines.append(f"user = {_quoted(config['user'])}")
    for key, protocol in (("auth_key", "auth_protocol"), ("priv_key", "priv_protocol")):
        if config.get(key):
            lines += [f'{key} = "…"  # fill in', f"{protocol} = {_quoted(config[protocol])}"]
    return lines


def _bare(alias: str) -> str:
    return alias if re.fullmatch(r"[A-Za-z0-9_-]+", alias) else _quoted(alias)


def _quoted(text: Any) -> str:
    escaped = str(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


# --- what a calibration shows ---------------------------------------------------------------


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
    section: dict[str, Any], recorded: Any, found: Any, truth: float | None, error: float
) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "lag_s": significant(max(found.lag_s, 0.0), 4),
        "lag_u_s": significant(max(found.lag_u_s, 1e-3), 3),
        "calibrated": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }
    if found.changes > 10:
        facts["period_s"] = significant(found.period_s, 4)
    if truth is not None:
        scatter = 2 * found.load.u_watts / found.load.watts
        facts |= {
            "correction": significant(truth / found.load.watts, 6),
            "gain": significant(error + scatter, 3),
            "gain_source": f"calibrated against a reference of ±{error:.2%}",
        }
    measured = {
        "idle_w": significant(found.idle.watts, 6),
        "load_w": significant(found.load.watts, 6),
        "lags_s": [significant(lag, 4) for lag in found.lags_s],
        "changes": found.changes,
        "discarded_s": significant(found.discarded_s, 4),
        **_bound(recorded, found),
    }
    return {"made_for": calibrations.made_for(section), "facts": facts, "measured": measured}


def _bound(recorded: Any, found: Any) -> dict[str, Any]:
    """The lower bound of NVML and RAPL: no gain, since supplies and fans are not in them."""
    if recorded.parts_w is None:
        return {}
    idle_w, load_w = recorded.parts_w
    step = load_w - idle_w
    ratio = (found.load.watts - found.idle.watts) / step if step > 0 else None
    return {
        "parts": list(recorded.parts),
        "parts_idle_w": significant(idle_w, 6),
        "parts_load_w": significant(load_w, 6),
        "step_ratio": significant(ratio, 4) if ratio is not None else None,
    }


def _told(alias: str, entry: dict[str, Any], kept: bool) -> list[str]:
    facts, measured = entry["facts"], entry["measured"]
    up, down = measured["lags_s"]
    lines = [
        f"pdu {alias}: {measured['idle_w']:.4g} W idle, {measured['load_w']:.4g} W under load",
        f"lag     {facts['lag_s']:.3g} s ± {facts['lag_u_s']:.2g} s (up {up:.3g}, down {down:.3g})",
        f"period  {facts['period_s']:.3g} s"
        if "period_s" in facts
        else f"period  not told: the value changed only {measured['changes']} times",
    ]
    if "correction" in facts:
        lines.append(f"gain    × {facts['correction']:.4f} ± {facts['gain']:.2%} by the reference")
    else:
        lines.append("gain    not told: give --reference-watts of a truer meter at the same plug")
    return [*lines, *_bound_told(measured), *(["kept beside host.toml"] if kept else [])]


def _bound_told(measured: dict[str, Any]) -> list[str]:
    if "parts" not in measured:
        return ["bound   none: neither NVML nor RAPL is readable here"]
    parts = " + ".join(measured["parts"]).upper()
    lines = []
    if measured["load_w"] < measured["parts_load_w"]:
        lines.append(
            f"IMPOSSIBLE: {parts} draw {measured['parts_load_w']:.4g} W, more than the wall: "
            "an outlet or a supply is missing, or the numbers are not watts"
        )
    ratio = measured["step_ratio"]
    if ratio is not None:
        low = " — below 1, so the PDU reads too little" if ratio < 1 else ""
        lines.append(f"bound   the wall's step is {ratio:.3g} × that of {parts} (≥ 1){low}")
    return lines
