"""The output of `kit pdu`: a PDU's outlets, a section for host.toml, a calibration."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import Any

from kit.core.text import clean
from kit.core.units import QUANTITIES, significant
from kit.measure.meters.pdu.recognise import PduIdentity, Place

_AMPERES = "amperes alone: no energy follows from them"
_LONGEST_S, _RAREST_S = 60, 10  # what host.toml accepts
COMMUNITY = "KIT_PDU_COMMUNITY"


def document(pdu: PduIdentity) -> dict[str, Any]:
    """A probe as JSON."""
    profile = pdu.profile
    return {
        "sys_object_id": pdu.sys_object_id,
        "description": pdu.description,
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
            for place in pdu.places
        ],
        "slow_s": significant(pdu.slow_s, 3),
        "notes": list(pdu.notes),
    }


def lines(pdu: PduIdentity) -> list[str]:
    """A probe as text."""
    head = [clean(pdu.description) or "no description", f"sysObjectID {pdu.sys_object_id}"]
    head += [f"note: {clean(note)}" for note in pdu.notes]
    if pdu.slow_s:
        head.append(f"it answers slowly: {pdu.slow_s:.1f} s a request")
    if pdu.profile is None:
        return [*head, "no profile of kit's fits: write one as in kit/meters/pdu_profiles/"]
    head += [f"profile {pdu.profile.name}: {pdu.profile.title}"]
    head += [pdu.profile.notes] if pdu.profile.notes else []
    rows = [(f"{p.of} {p.number}".strip(), _values(p), clean(p.name)) for p in pdu.places]
    return [*head, "", *(f"  {a:<14}{b:<34}{c}".rstrip() for a, b, c in rows)]


def _values(place: Place) -> str:
    values = {q: place.values[q] for q in ("pdu_power", "pdu_current") if q in place.values}
    if "pdu_power" not in values:
        return f"{values['pdu_current']:.2f} A ({_AMPERES})"
    return ", ".join(f"{v:.4g} {QUANTITIES[q].unit}" for q, v in values.items())


def section(alias: str, config: dict[str, Any], pdu: PduIdentity) -> list[str]:
    """The section of host.toml, ready to paste; empty if no outlet reports watts."""
    powers = [place for place in pdu.places if "pdu_power" in place.values]
    if pdu.profile is None or not powers:
        return []
    text = [f"[pdu.{_key(alias)}]", f"host = {_quoted(config['host'])}"]
    text.append(f"profile = {_quoted(_profile(config, pdu.profile.name))}")
    of = "outlet" if any(place.of == "outlet" for place in powers) else "inlet"
    places = [place for place in powers if place.of == of]
    drawing = [place for place in places if place.values["pdu_power"] > 0] or places
    numbers = [place.number for place in drawing]
    if numbers:
        listed = ", ".join(n if n.isdigit() else _quoted(n) for n in numbers)
        keep = "  # KEEP ONLY those that feed this host" if len(numbers) > 1 else ""
        text.append(f"{of}s = [{listed}]{keep}")
    if int(config.get("port", 161)) != 161:
        text.append(f"port = {config['port']}")
    if pdu.slow_s:
        text.append(f"timeout_s = {min(math.ceil(2 * pdu.slow_s), _LONGEST_S)}  # it is slow")
        text.append(f"poll_s = {min(math.ceil(1.5 * pdu.slow_s), _RAREST_S)}")
    if config["version"] != "3":
        text += ['version = "1"'] if config["version"] == "1" else []
        hidden = config["community"] == os.environ.get(COMMUNITY)
        community = '"…"  # fill in' if hidden else _quoted(config["community"])
        return [*text, f"community = {community}"]
    text.append(f"user = {_quoted(config['user'])}")
    for key, protocol in (("auth_key", "auth_protocol"), ("priv_key", "priv_protocol")):
        if config.get(key):
            text += [f'{key} = "…"  # fill in', f"{protocol} = {_quoted(config[protocol])}"]
    return text


def _profile(config: dict[str, Any], recognised: str) -> str:
    """The name of a profile, or the whole path of your own: host.toml may be elsewhere."""
    name = str(config.get("profile") or recognised)
    return str(Path(name).absolute()) if name.endswith(".json") else name


def _key(alias: str) -> str:
    return alias if re.fullmatch(r"[A-Za-z0-9_-]+", alias) else _quoted(alias)


def _quoted(text: Any) -> str:
    escaped = str(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def calibration(alias: str, entry: dict[str, Any], is_kept: bool) -> list[str]:
    """A calibration as text."""
    facts, measured = entry["facts"], entry["measured"]
    up, down = measured["lags_s"]
    lines = [
        f"pdu {alias}: {measured['idle_w']:.4g} W idle, {measured['load_w']:.4g} W under load",
        f"lag     {facts['lag_s']:.3g} s ± {facts['lag_u_s']:.2g} s (up {up:.3g}, down {down:.3g})",
        f"period  {facts['period_s']:.3g} s"
        if "period_s" in facts
        else f"period  unknown: the value changed only {measured['changes']} times",
    ]
    if "correction" in facts:
        lines.append(f"gain    × {facts['correction']:.4f} ± {facts['gain']:.2%} by the reference")
    else:
        lines.append("gain    unknown: give --reference-watts of a better meter at the same plug")
    return [*lines, *_bound_lines(measured), *(["kept next to host.toml"] if is_kept else [])]


def _bound_lines(measured: dict[str, Any]) -> list[str]:
    if "parts" not in measured:
        return ["bound   none: neither NVML nor RAPL is readable here"]
    parts = " + ".join(measured["parts"]).upper()
    lines = []
    if measured["impossible"]:
        lines.append(
            f"IMPOSSIBLE: {parts} draw {measured['parts_load_w']:.4g} W, more than the wall: "
            "an outlet or a supply is missing, or the numbers are not watts"
        )
    ratio = measured["step_ratio"]
    if ratio is not None:
        low = " — below 1, so the PDU reads too little" if ratio < 1 else ""
        lines.append(f"bound   the wall's step is {ratio:.3g} × that of {parts} (≥ 1){low}")
    return lines
