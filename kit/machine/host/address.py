"""Network addresses of devices: the forms in which people write them, and name resolution.

Forms: ``pdu1``, ``192.0.2.10``, ``192.0.2.10:1161``, ``2001:db8::7``, ``[2001:db8::7]:161``,
``fe80::7%eth0``, and ``udp:192.0.2.10:161`` or ``udp6:[::1]:161``, as Net-SNMP writes them.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import NamedTuple, cast

FORMS = "write it as 192.0.2.10, pdu1:1161, 2001:db8::7 or [2001:db8::7]:161"
_TRANSPORT = re.compile(r"(udp6?|udpv6|udpipv6):(?!//)", re.IGNORECASE)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|(?:tcp|tcp6|tls|dtls|ssh|unix|tlstcp|dtlsudp):")
_BRACKETS = re.compile(r"\[([^][]*)\](?::(.*))?")
SockAddr = tuple[str, int] | tuple[str, int, int, int]
_MOST = 4  # at most so many addresses of one name are tried


class Address(NamedTuple):
    """A name or address, and the port that was written with it."""

    host: str
    port: int | None


class Target(NamedTuple):
    """One address of a name: the family, and the argument of `socket.sendto`."""

    family: socket.AddressFamily
    sockaddr: SockAddr


def parse(text: str) -> Address:
    """The address in ``text``.

    Raises:
        ValueError: it is none of the forms; the message says what is wrong.
    """
    plain = text.strip()
    if _SCHEME.match(plain):
        raise ValueError("SNMP is asked over UDP: it takes a name or an address, not a URL")
    if transport := _TRANSPORT.match(plain):
        plain = plain[transport.end() :]
    host, port = _split(plain)
    if ":" in host and not _is_ipv6(host):
        raise ValueError(f"{host!r} is no IPv6 address")
    if not _is_name(host):
        raise ValueError("it must be a name or an address")
    return Address(host, None if port is None else _port(port))


def resolve(host: str, port: int) -> list[Target]:
    """The addresses of a name, in the order in which the system would try them.

    Raises:
        OSError: it has none (`socket.gaierror`).
    """
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM, proto=socket.IPPROTO_UDP)
    except UnicodeError as error:
        raise socket.gaierror(socket.EAI_NONAME, str(error)) from error
    targets = [Target(family, cast("SockAddr", address)) for family, _, _, _, address in infos]
    if host.rstrip(".").lower() == "localhost":  # is both loopbacks by RFC 6761
        families = {target.family for target in targets}
        loopbacks = (
            Target(socket.AF_INET6, ("::1", port, 0, 0)),
            Target(socket.AF_INET, ("127.0.0.1", port)),
        )
        targets += [target for target in loopbacks if target.family not in families]
    return list(dict.fromkeys(targets))[:_MOST]


def _split(text: str) -> tuple[str, str | None]:
    """Host and port as text."""
    if match := _BRACKETS.fullmatch(text):
        return match[1], match[2]
    if text.count(":") == 1:
        host, _, port = text.partition(":")
        return host, port
    return text, None


def _port(text: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
        raise ValueError(f"the port {text!r} must lie in 1…65535")
    return int(text)


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _is_name(text: str) -> bool:
    """Whether it can be looked up: idna decides which characters names may have."""
    try:
        text.partition("%")[0].encode("idna")
    except UnicodeError:
        return False
    return bool(text) and text.isprintable() and not re.search(r"[\s/@\[\]]", text)
