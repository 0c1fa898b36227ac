"""Rules for the sections of host.toml: each violation is a sentence.

Numbers must be finite and of a possible size; names and paths must be valid for the system. A value
that passes wrongly would cause a traceback later, or joules that were never consumed.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from kit.machine.host import address

_SECRETS = ("community", "user", "auth_key", "priv_key")
_AUTH = ("MD5", "SHA", "SHA224", "SHA256", "SHA384", "SHA512")
_PRIV = ("DES", "3DES", "AES", "AES192", "AES256")
_LONGEST_PATH, _LONGEST_NAME = 4096, 255  # Linux's limits of a path, and of a part of one
_LONGEST_SECRET, _LONGEST_USER = 255, 32  # SNMP's limit of each
_LONGEST_HEADER = 4096
_HIGHEST_W = 100_000.0
_SNMP_PORT = 161
_URL = "write `url` as http://192.0.2.11 or https://bmc1:8443"
_POINTER = re.compile(r"(?:/(?:[^~/]|~[01])*)+")  # RFC 6901, but for the whole document
_PATH = re.compile(r"/[!-~]*")
_CHASSIS = re.compile(r"[A-Za-z0-9._~:-]{1,64}")
ENERGY_J = {"J": 1, "Wmin": 60, "Wh": 3600, "kWh": 3_600_000}
MOST_DIGITS = 6


def pdu(section: Any) -> list[str]:
    """A ``[pdu.*]`` section."""
    rules = {
        "`profile` must be the name of one, or a path": not _is_path(section.profile),
        "give `community` for SNMP v2c, or `user` for v3": not (section.community or section.user),
        "give `community` or `user`, not both": bool(section.community and section.user),
        "`port` must lie in 1…65535": not 1 <= section.port <= 65535,
        f"`auth_protocol` must be one of {', '.join(_AUTH)}": section.auth_protocol not in _AUTH,
        f"`priv_protocol` must be one of {', '.join(_PRIV)}": section.priv_protocol not in _PRIV,
        "a `priv_key` needs an `auth_key`": bool(section.priv_key and not section.auth_key),
        "`timeout_s` must lie in 0.01…60": not 0.01 <= section.timeout_s <= 60,
        "`retries` must lie in 0…10": not 0 <= section.retries <= 10,
        "`poll_s` must lie in 0.1…10": not 0.1 <= section.poll_s <= 10,
        "`version` must be 1, 2c or 3": section.snmp_version not in ("1", "2c", "3"),
        "SNMP v3 needs a `user`, not a community": section.snmp_version == "3" and not section.user,
        f"SNMP v{section.snmp_version} has no `user`": section.snmp_version != "3"
        and bool(section.user),
    } | {
        f"`{key}` must be Latin-1 text of {most} characters at most": not _is_latin(text, most)
        for key in _SECRETS
        if (text := getattr(section, key))
        for most in (_LONGEST_USER if key == "user" else _LONGEST_SECRET,)
    }
    return [*_host(section), *(problem for problem, broken in rules.items() if broken)]


def _host(section: Any) -> list[str]:
    """Problems of a PDU's address, which may include its port."""
    try:
        parsed = address.parse(section.host)
    except ValueError as error:
        return [f"`host` {section.host!r}: {error} ({address.FORMS})"]
    if parsed.port not in (None, section.port) and section.port != _SNMP_PORT:
        return [f"`host` has the port {parsed.port}, and `port` is {section.port}: give one"]
    return []


def plug(section: Any) -> list[str]:
    """A ``[plug.*]`` section."""
    own = section.profile == "generic"
    pointers = {key: text for key in ("power", "energy") if (text := getattr(section, key))}
    rules = {
        "`profile` must be the name of one, or a path": not _is_path(section.profile),
        "`channel` must lie in 0…63": not 0 <= section.channel <= 63,
        "the profile generic needs a `path` and the JSON pointer `power`": own
        and not (section.path and section.power),
        "`path`, `power` and `energy` are for the profile generic": not own
        and bool(section.path or pointers),
        "`path` must begin with / and hold neither spaces nor other letters than ASCII": bool(
            section.path and not _PATH.fullmatch(section.path)
        ),
        f"`energy_unit` must be one of {', '.join(ENERGY_J)}": section.energy_unit not in ENERGY_J,
        "a `gain` needs its `gain_source`": section.gain is not None
        and not section.gain_source.strip(),
        "`gain` must lie in 0…0.5": not 0 <= (section.gain or 0) <= 0.5,
        "`gain_source` must be a line of text": not _is_line(section.gain_source),
        "`squelch` must lie in 0…1000": not 0 <= (section.squelch or 0) <= 1000,
    } | {
        f"`{key}` must lie in 0…{MOST_DIGITS}": not 0 <= getattr(section, key) <= MOST_DIGITS
        for key in ("digits", "energy_digits")
    }
    rules |= {
        f"`{key}` must be a JSON pointer, such as /StatusSNS/ENERGY/Power": True
        for key, text in pointers.items()
        if not _POINTER.fullmatch(text)
    }
    return [*_web(section), *(problem for problem, broken in rules.items() if broken)]


def redfish(section: Any) -> list[str]:
    """A ``[redfish.*]`` section."""
    rules = {
        "`chassis` must be Ids of chassis, such as 1 or System.Embedded.1": not all(
            _CHASSIS.fullmatch(name) and name.strip(".") for name in section.chassis
        ),
        "`chassis` names one twice": len(set(section.chassis)) != len(section.chassis),
        "give `token`, or `user` and `password`, not both": bool(section.token and section.user),
        "`session` needs `user` and `password`": section.session and not section.user,
        "`token` must be printable ASCII": not _is_ascii(section.token or ""),
    }
    return [*_web(section), *(problem for problem, broken in rules.items() if broken)]


def _web(section: Any) -> list[str]:
    """What sections of devices over HTTP have in common."""
    period = section.period_s
    rules = {
        "give `user` and `password` together": bool(section.user) != bool(section.password),
        "`user` must be printable ASCII without a colon": not _is_ascii(section.user or "")
        or ":" in (section.user or ""),
        "`password` must be printable ASCII": not _is_ascii(section.password or ""),
        "`ca` is no path": section.ca is not None and not _is_path(section.ca),
        "`ca` is of no use with `verify = false`: give one": bool(
            section.ca and not section.verify
        ),
        "`timeout_s` must lie in 0.01…60": not 0.01 <= section.timeout_s <= 60,
        "`poll_s` must lie in 0.1…60": not 0.1 <= section.poll_s <= 60,
        "`period_s` must lie in 0.01…3600": period is not None and not 0.01 <= period <= 3600,
    }
    return [*_url(section.url), *(problem for problem, broken in rules.items() if broken)]


def _url(text: str) -> list[str]:
    """What is wrong with a device's URL. It may hold a password: it is not repeated."""
    try:
        parts = urlsplit(text)
        if "@" in parts.netloc:
            return ["`url` holds a user or a password: give `user` and `password` instead"]
        if parts.scheme not in ("http", "https") or parts.path not in ("", "/"):
            return [f"`url` must be a scheme, a host and perhaps a port: {_URL}"]
        if parts.query or parts.fragment or not text.isprintable():
            return [f"`url` must be a scheme, a host and perhaps a port: {_URL}"]
        address.parse(parts.netloc)
    except ValueError as error:
        return [f"`url`: {error} ({_URL})"]
    return []


def estimate(section: Any) -> list[str]:
    """The section ``[estimate]``."""
    rules = {
        "`idle_w` must lie in 0…`max_w`": not 0 <= section.idle_w < section.max_w,
        f"`max_w` must be {_HIGHEST_W:.0f} at most": not section.max_w <= _HIGHEST_W,
        "`source` must say where the watts come from": not section.source.strip(),
    }
    return [problem for problem, broken in rules.items() if broken]


def store(section: Any) -> list[str]:
    """The section ``[store]``."""
    return [] if section.runs is None or _is_path(section.runs) else ["`runs` is no path"]


def weights(section: Any) -> list[str]:
    """The section ``[weights]``."""
    return [] if all(map(_is_path, section.folders)) else ["`folders` holds what is no path"]


def calibration(section: Any) -> list[str]:
    """The section ``[calibration]``."""
    return [] if section.folder is None or _is_path(section.folder) else ["`folder` is no path"]


def codecarbon(section: Any) -> list[str]:
    """The section ``[codecarbon]``."""
    country = section.country
    sound = len(country) == 3 and country.isascii() and country.isupper()
    return [] if sound else ["`country` must be three capital letters, such as NLD"]


def _is_path(text: str) -> bool:
    """Whether the path is valid: not too long, and its ``~`` is somebody's home."""
    try:
        path = Path(text).expanduser()
    except RuntimeError:
        return False
    sizes = [len(os.fsencode(part)) for part in path.parts]
    short = sum(sizes) + len(sizes) < _LONGEST_PATH and max(sizes, default=0) <= _LONGEST_NAME
    return "\0" not in text and short


def _is_latin(text: str, most: int) -> bool:
    """Whether the SNMP library can send it."""
    return len(text) <= most and all(ord(letter) < 256 for letter in text)


def _is_ascii(text: str) -> bool:
    """Whether an HTTP header can hold it."""
    return len(text) <= _LONGEST_HEADER and text.isascii() and text.isprintable()


def _is_line(text: str) -> bool:
    return text.isprintable() and len(text) <= _LONGEST_NAME
