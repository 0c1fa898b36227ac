"""SNMP v1, v2c and v3 by pysnmp: several OIDs in one GET, every outcome a return code.

Codes above 0 are SNMP's own error-status; those below are named here.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

Answer = tuple[int, int | None]

NO_ANSWER, NO_OBJECT, NO_INSTANCE, END_OF_MIB = -1, -2, -3, -4
REFUSED, UNSUPPORTED, NO_NUMBER, NO_ADDRESS, FAILED = -5, -6, -7, -8, -9
WRONG_KEY, NO_USER = -10, -11
_TOO_BIG = 1  # SNMP error-status: the answer does not fit into one datagram

REASONS = {
    NO_ANSWER: "no answer: is the PDU on, are address, port, SNMP version and community right?",
    NO_OBJECT: "the PDU does not know this OID (NoSuchObject): another profile?",
    NO_INSTANCE: "the PDU has no such outlet or inlet (NoSuchInstance)",
    END_OF_MIB: "the PDU's MIB ends before this OID",
    REFUSED: "the PDU refuses the SNMP v3 request: compare its security level and protocols",
    WRONG_KEY: "the PDU refuses the SNMP v3 key (WrongDigest): compare keys and protocols",
    NO_USER: "the PDU refuses the SNMP v3 user, whom it does not know (UnknownUserName)",
    UNSUPPORTED: "the PDU reads a negative value: it does not meter this",
    NO_NUMBER: "the PDU's answer is not a number",
    NO_ADDRESS: "the PDU's address cannot be resolved or reached",
    FAILED: "the SNMP request failed",
}
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
_REFUSALS = {
    "WrongDigest": WRONG_KEY,
    "AuthenticationFailure": WRONG_KEY,
    "AuthenticationError": WRONG_KEY,
    "DecryptionError": WRONG_KEY,
    "EncryptionError": WRONG_KEY,
    "UnknownUserName": NO_USER,
    "UnsupportedSecurityLevel": REFUSED,
    "UnsupportedAuthProtocol": REFUSED,
    "UnsupportedPrivProtocol": REFUSED,
    "NotInTimeWindow": REFUSED,
}
_MOST_AT_ONCE = 24


def is_deaf(rc: int) -> bool:
    """Whether a code speaks of the PDU as a whole, not of one of its values."""
    return rc in (NO_ANSWER, REFUSED, NO_ADDRESS, FAILED, WRONG_KEY, NO_USER)


def explain(rc: int) -> str:
    """A return code in words, without the PDU's address: it may be sealed."""
    return REASONS.get(rc, f"the PDU answers with SNMP error-status {rc}")


class Snmp:
    """One PDU. The first request costs 0.5–0.8 s: imports, and v3's discovery.

    Args:
        config: a ``[pdu.*]`` section of host.toml as a dictionary, with its ``version``.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self._config = config
        self._loop = asyncio.new_event_loop()
        self._lock = threading.Lock()
        self._session: tuple[Any, ...] | None = None

    def get(self, oids: Sequence[str]) -> list[Answer]:
        """``(0, integer)`` or ``(code, None)`` for each OID; waits for timeout and retries."""
        with self._lock:
            return self._loop.run_until_complete(self._get(oids))

    def close(self) -> None:
        """Close the socket; harmless when repeated."""
        if self._loop.is_closed():
            return
        if self._session:
            self._session[0].close_dispatcher()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _get(self, oids: Sequence[str]) -> list[Answer]:
        found: list[Answer] = []
        for first in range(0, len(oids), _MOST_AT_ONCE):
            found += await self._some(oids[first : first + _MOST_AT_ONCE])
        return found

    async def _some(self, oids: Sequence[str]) -> list[Answer]:
        from pysnmp.error import PySnmpError

        snmp = _pysnmp()
        try:
            session = self._session or await self._open()
            binds = [snmp.ObjectType(snmp.ObjectIdentity(oid)) for oid in oids]
            failure, status, index, values = await snmp.get_cmd(*session, *binds, lookupMib=False)
        except PySnmpError as error:
            return [(_failure_code(error), None)] * len(oids)
        except OSError:
            return [(NO_ADDRESS, None)] * len(oids)
        if failure:
            return [(_failure_code(failure), None)] * len(oids)
        if int(status) == _TOO_BIG and len(oids) > 1:
            half = len(oids) // 2
            return [*await self._some(oids[:half]), *await self._some(oids[half:])]
        if status:
            return await self._without(oids, int(index) - 1, int(status))
        return [answer_of(value) for _, value in values]

    async def _without(self, oids: Sequence[str], bad: int, status: int) -> list[Answer]:
        """SNMP v1 answers nothing when one OID is missing: ask again for the others."""
        if not 0 <= bad < len(oids):
            return [(status, None)] * len(oids)
        others = [*oids[:bad], *oids[bad + 1 :]]
        found = await self._some(others) if others else []
        return [*found[:bad], (status, None), *found[bad:]]

    async def _open(self) -> tuple[Any, ...]:
        snmp = _pysnmp()
        address = (self._config["host"], int(self._config.get("port", 161)))
        transport = snmp.Udp6TransportTarget if ":" in address[0] else snmp.UdpTransportTarget
        target = await transport.create(
            address,
            timeout=float(self._config.get("timeout_s", 2.0)),
            retries=int(self._config.get("retries", 1)),
        )
        session = (snmp.SnmpEngine(), self._credentials(snmp), target, snmp.ContextData())
        self._session = session
        return session

    def _credentials(self, snmp: Any) -> Any:
        config = self._config
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


def _pysnmp() -> Any:
    """pysnmp's asyncio face, imported late: it takes half a second."""
    from pysnmp.hlapi.v3arch import asyncio as snmp

    return snmp


def answer_of(value: Any) -> Answer:
    """An SNMP value as ``(code, integer)``: what is missing comes as a value, not as an error."""
    missing = {
        "NoSuchObject": NO_OBJECT,
        "NoSuchInstance": NO_INSTANCE,
        "EndOfMibView": END_OF_MIB,
    }
    code = missing.get(type(value).__name__)
    if code is not None:
        return code, None
    try:
        raw = int(value)
    except (TypeError, ValueError):
        return NO_NUMBER, None
    return (0, raw) if raw >= 0 else (UNSUPPORTED, None)


def _failure_code(failure: object) -> int:
    """The code of pysnmp's error: indications are told apart by their class, or their text."""
    name, text = type(failure).__name__, str(failure).lower()
    if name == "RequestTimedOut" or "timeout" in text or "no snmp response" in text:
        return NO_ANSWER
    words = text.replace(" ", "")
    refused = [code for word, code in _REFUSALS.items() if word == name or word.lower() in words]
    if refused:
        return refused[0]
    return NO_ADDRESS if "address" in text or "resolve" in text else FAILED
