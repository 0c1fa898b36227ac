"""A session with one PDU: credentials, and the transport to one of its addresses."""

from __future__ import annotations

import socket
from typing import Any

from kit.machine.host.address import Target, parse, resolve

SNMP_PORT = 161
_AUTH = {
    "MD5": "usmHMACMD5AuthProtocol",
    "SHA": "usmHMACSHAAuthProtocol",
    "SHA224": "usmHMAC128SHA224AuthProtocol",
    "SHA256": "usmHMAC192SHA256AuthProtocol",
    "SHA384": "usmHMAC256SHA384AuthProtocol",
    "SHA512": "usmHMAC384SHA512AuthProtocol",
}
_PRIV = {
    "DES": "usmDESPrivProtocol",
    "3DES": "usm3DESEDEPrivProtocol",
    "AES": "usmAesCfb128Protocol",
    "AES192": "usmAesCfb192Protocol",
    "AES256": "usmAesCfb256Protocol",
}


def pysnmp() -> Any:
    """pysnmp's asyncio API, imported late: it takes half a second."""
    from pysnmp.hlapi.v3arch import asyncio as snmp

    return snmp


def targets(config: dict[str, Any]) -> list[Target]:
    """Where the PDU of a ``[pdu.*]`` section may answer.

    Raises:
        OSError: its name has no address.
        ValueError: it is no address.
    """
    address = parse(str(config["host"]))
    return resolve(address.host, address.port or int(config.get("port", SNMP_PORT)))


async def begin(
    config: dict[str, Any], target: Target, timeout_s: float, retries: int
) -> tuple[Any, ...]:
    """What pysnmp's commands take first: engine, credentials, transport, context."""
    snmp = pysnmp()
    own = _transport(snmp, target)
    to = await own.create(target.sockaddr[:2], timeout=timeout_s, retries=retries)
    return snmp.SnmpEngine(), _credentials(snmp, config), to, snmp.ContextData()


def _transport(snmp: Any, target: Target) -> Any:
    """The transport to one address: pysnmp would look it up again, and lose an IPv6 scope."""
    is_ipv6 = target.family == socket.AF_INET6
    base = snmp.Udp6TransportTarget if is_ipv6 else snmp.UdpTransportTarget

    def normalize_address(own: Any, _: Any) -> Any:
        return own.ADDRESS_TYPE(target.sockaddr)

    async def resolve_address(_: Any, address: Any) -> Any:
        return address

    protocol = type("Socket", (base.PROTO_TRANSPORT,), {"normalize_address": normalize_address})
    members = {"PROTO_TRANSPORT": protocol, "_resolve_address": resolve_address}
    return type("Transport", (base,), members)


def _credentials(snmp: Any, config: dict[str, Any]) -> Any:
    if str(config.get("version", "2c")) != "3":
        model = 0 if str(config.get("version")) == "1" else 1
        return snmp.CommunityData(config["community"], mpModel=model)
    keys: dict[str, Any] = {}
    if config.get("auth_key"):
        protocol = _AUTH[config.get("auth_protocol", "SHA")]
        keys |= {"authKey": config["auth_key"], "authProtocol": getattr(snmp, protocol)}
    if config.get("priv_key"):
        protocol = _PRIV[config.get("priv_protocol", "AES")]
        keys |= {"privKey": config["priv_key"], "privProtocol": getattr(snmp, protocol)}
    return snmp.UsmUserData(config["user"], **keys)
