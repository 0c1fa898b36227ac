"""Rules for the sections of host.toml: each violation is a sentence.

Numbers must be finite and of a possible size; names and paths must be valid for the system. A value
that passes wrongly would cause a traceback later, or joules that were never consumed.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from kit.machine.host import address

_SECRETS = ("community", "user", "auth_key", "priv_key")
_AUTH = ("MD5", "SHA", "SHA224", "SHA256", "SHA384", "SHA512")
_PRIV = ("DES", "3DES", "AES", "AES192", "AES256")
_LONGEST_PATH, _LONGEST_NAME = 4096, 255  # Linux's limits of a path, and of a part of one
_LONGEST_SECRET, _LONGEST_USER = 255, 32  # SNMP's limit of each
_HIGHEST_W = 100_000.0
_SNMP_PORT = 161


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
        found = address.parse(section.host)
    except ValueError as error:
        return [f"`host` {section.host!r}: {error} ({address.FORMS})"]
    if found.port not in (None, section.port) and section.port != _SNMP_PORT:
        return [f"`host` has the port {found.port}, and `port` is {section.port}: give one"]
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
