"""SNMP v1, v2c and v3 by pysnmp: several OIDs in one GET, every outcome a return code.

Codes above 0 are SNMP's own error-status; those below are named here. Version 1 knows no missing
value: one OID that is not there fails the whole GET, which is then asked again without it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NamedTuple, TypeVar

from kit.machine.host.address import Target
from kit.measure.meters.pdu import session

Answer = tuple[int, int | None]
Text = tuple[int, str | None]
Kind = TypeVar("Kind")

NO_ANSWER, NO_OBJECT, NO_INSTANCE, END_OF_MIB = -1, -2, -3, -4
REFUSED, UNSUPPORTED, NO_NUMBER, NO_ADDRESS, FAILED = -5, -6, -7, -8, -9
WRONG_KEY, NO_USER = -10, -11
ENDLESS, IN_CIRCLES, TOO_LONG = -12, -13, -14
# SNMP's error-status: the answer does not fit into one datagram; v1 has no such object.
_TOO_BIG, NO_NAME = 1, 2

REASONS = {
    NO_ANSWER: "no answer: is the PDU on, are address, port, SNMP version and community right? "
    "Is it slow? Then raise timeout_s",
    NO_OBJECT: "the PDU does not know this OID (NoSuchObject): another profile?",
    NO_INSTANCE: "the PDU has no such outlet or inlet (NoSuchInstance)",
    END_OF_MIB: "the PDU's MIB ends before this OID",
    REFUSED: "the PDU refuses the SNMP v3 request: compare its security level and protocols",
    WRONG_KEY: "the PDU refuses the SNMP v3 key (WrongDigest): compare keys and protocols",
    NO_USER: "the PDU refuses the SNMP v3 user, whom it does not know (UnknownUserName)",
    UNSUPPORTED: "the PDU reads a negative value, or the largest there is: it does not meter this",
    NO_NUMBER: "the PDU's answer is not a number",
    NO_ADDRESS: "the PDU's address cannot be resolved or reached",
    FAILED: "the SNMP request failed",
    NO_NAME: "the PDU has no such object, outlet or inlet (noSuchName)",
    IN_CIRCLES: "its answers go in circles: the next object has no higher number",
    ENDLESS: "it has more rows than any PDU has outlets: it is no PDU, or out of order",
    TOO_LONG: "the PDU answers so slowly that its tables cannot be read in the time there is",
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
_MOST_ROWS = 512  # four chained PDUs of 54 outlets have 216
_TIMEOUT_S, _PATIENT_S, _PATIENT_TIMES = 2.0, 10.0, 5
# −1 read as unsigned, and the largest of signed ones: what says "unsupported" where no value can be
# negative. Counters and clocks alone may come by.
_NOTHING = (2**32 - 1, 2**31 - 1)
_PASSING = ("Counter32", "Counter64", "TimeTicks")
_MISSING = {
    "NoSuchObject": NO_OBJECT,
    "NoSuchInstance": NO_INSTANCE,
    "EndOfMibView": END_OF_MIB,
}


class _Value(NamedTuple):
    """An SNMP value, told apart from a code."""

    value: Any


class _Reply(NamedTuple):
    """What a request brought: our code of a failure (0: none); SNMP's status and index; values."""

    failure: int
    status: int = 0
    bad: int = 0
    values: Sequence[Any] = ()


def affects_whole_pdu(rc: int) -> bool:
    """Whether a return code affects the PDU as a whole, not one of its values."""
    return rc in (NO_ANSWER, REFUSED, NO_ADDRESS, FAILED, WRONG_KEY, NO_USER, TOO_LONG)


def explain(rc: int) -> str:
    """A return code in words, without the PDU's address: it may be sealed."""
    return REASONS.get(rc, f"the PDU answers with SNMP error-status {rc}")


class Snmp:
    """One PDU. The first request costs 0.5–0.8 s: imports, and v3's discovery.

    Args:
        config: a ``[pdu.*]`` section of host.toml as a dictionary, with its ``version``.
        budget_s: for a PDU that nobody knows: a request without an answer is asked once more with
            five times the time, and all requests together may take so long, s.

    Attributes:
        slow_s: how long an answer took that came after the timeout alone, s; 0 where none did.
    """

    def __init__(self, config: dict[str, Any], budget_s: float | None = None) -> None:
        self._config = config
        self._timeout_s = float(config.get("timeout_s", _TIMEOUT_S))
        self._retries = int(config.get("retries", 1))
        self._is_patient = budget_s is not None
        self._deadline = None if budget_s is None else time.monotonic() + budget_s
        self._target: Target | None = None
        self.slow_s = 0.0
        self._loop = asyncio.new_event_loop()
        self._lock = threading.Lock()
        self._session: tuple[Any, ...] | None = None

    def get(self, oids: Sequence[str]) -> list[Answer]:
        """``(0, integer)`` or ``(code, None)`` for each OID; waits for timeout and retries."""
        return self._do(lambda: self._get(oids, answer_of))

    def texts(self, oids: Sequence[str]) -> list[Text]:
        """`get` for names and object identifiers: ``(0, text)`` or ``(code, None)``."""
        return self._do(lambda: self._get(oids, text_of))

    def walk(self, column: str, most: int = _MOST_ROWS) -> tuple[dict[str, Answer], int]:
        """The integers below ``column``, by what follows it in the OID; empty where none are.

        And why the walk ended before the column did: `IN_CIRCLES`, `ENDLESS`, or what kept the PDU
        from answering; 0 where it did not.
        """
        return self._do(lambda: self._walk(column, most))

    def close(self) -> None:
        """Close the socket; harmless when repeated."""
        if self._loop.is_closed():
            return
        self._forget()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    def _forget(self) -> None:
        """End the session: the next request begins another, with a new discovery."""
        if self._session:
            self._session[0].close_dispatcher()
            self._session = None

    def _do(self, what: Callable[[], Coroutine[Any, Any, Kind]]) -> Kind:
        with self._lock:
            return self._loop.run_until_complete(what())

    async def _get(
        self, oids: Sequence[str], of: Callable[[Any], tuple[int, Kind | None]]
    ) -> list[tuple[int, Kind | None]]:
        answers: list[tuple[int, Kind | None]] = []
        for first in range(0, len(oids), _MOST_AT_ONCE):
            values = await self._some(oids[first : first + _MOST_AT_ONCE])
            answers += [(v, None) if isinstance(v, int) else of(v.value) for v in values]
        return answers

    async def _some(self, oids: Sequence[str]) -> list[_Value | int]:
        """The value of each OID, or the code that says why there is none."""
        failure, status, index, values = await self._ask("get_cmd", oids)
        if failure:
            return [failure] * len(oids)
        if status == _TOO_BIG and len(oids) > 1:
            half = len(oids) // 2
            return [*await self._some(oids[:half]), *await self._some(oids[half:])]
        if status:
            return await self._without(oids, index - 1, status)
        return [_Value(value) for _, value in values]

    async def _without(self, oids: Sequence[str], bad: int, status: int) -> list[_Value | int]:
        """SNMP v1 answers nothing when one OID is missing: ask again for the others.

        Agents that do not say which one is missing (error-index 0) are asked for each alone.
        """
        if len(oids) == 1:
            return [status]
        if not 0 <= bad < len(oids):
            return [value for oid in oids for value in await self._some([oid])]
        rest = await self._some([*oids[:bad], *oids[bad + 1 :]])
        return [*rest[:bad], status, *rest[bad:]]

    async def _walk(self, column: str, most: int) -> tuple[dict[str, Answer], int]:
        rows: dict[str, Answer] = {}
        last, inside = column, f"{column}."
        while len(rows) < most:
            failure, status, _, values = await self._ask("next_cmd", [last])
            if failure or status or not values:
                return rows, failure
            oid, value = str(values[0][0]), values[0][1]
            if type(value).__name__ in _MISSING:
                return rows, 0
            if not oid.startswith(inside):  # an agent may begin again after its last object
                return rows, IN_CIRCLES if oid == last else 0
            if _parts(oid) <= _parts(last):
                return rows, IN_CIRCLES
            rows[oid.removeprefix(inside)], last = answer_of(value), oid
        return rows, ENDLESS

    async def _ask(self, command: str, oids: Sequence[str]) -> _Reply:
        """One request to the address that answers; where none has yet, to one after the other."""
        if self._deadline is not None and time.monotonic() > self._deadline:
            return _Reply(TOO_LONG)
        if self._target:
            reply = await self._once(command, oids)
        else:
            reply = await self._first(command, oids)
        if reply.failure != NO_ANSWER or not self._is_patient:
            return reply
        return await self._patiently(command, oids)

    async def _first(self, command: str, oids: Sequence[str]) -> _Reply:
        try:
            targets = session.targets(self._config)
        except (OSError, ValueError):
            return _Reply(NO_ADDRESS)
        reply = _Reply(NO_ADDRESS)
        for self._target in targets:
            reply = await self._once(command, oids)
            if reply.failure not in (NO_ANSWER, NO_ADDRESS):
                return reply
            self._forget()
        self._target = None
        return reply

    async def _patiently(self, command: str, oids: Sequence[str]) -> _Reply:
        """Once more with more time. Where that helps, it stays so; else it is not tried again."""
        usual = self._timeout_s, self._retries
        self._timeout_s, self._retries = max(_PATIENT_S, _PATIENT_TIMES * self._timeout_s), 0
        self._is_patient = False
        self._forget()
        begun = time.monotonic()
        reply = await (self._once if self._target else self._first)(command, oids)
        if reply.failure == NO_ANSWER:
            self._timeout_s, self._retries = usual
            self._forget()
        else:
            self.slow_s = time.monotonic() - begun
        return reply

    async def _once(self, command: str, oids: Sequence[str]) -> _Reply:
        from pysnmp.error import PySnmpError

        snmp = session.pysnmp()
        try:
            if self._session is None:
                assert self._target is not None
                wait = self._timeout_s, self._retries
                self._session = await session.begin(self._config, self._target, *wait)
            binds = [snmp.ObjectType(snmp.ObjectIdentity(oid)) for oid in oids]
            failure, status, index, values = await getattr(snmp, command)(
                *self._session, *binds, lookupMib=False
            )
        except PySnmpError as error:
            return _Reply(_failure_code(error))
        except OSError:
            return _Reply(NO_ADDRESS)
        if failure and str(self._config.get("version")) == "3":
            self._forget()  # a PDU that restarted counts its boots and time from 0
        return _Reply(_failure_code(failure) if failure else 0, int(status), int(index), values)


def _parts(oid: str) -> list[int]:
    return [int(part) for part in oid.split(".") if part]


def answer_of(value: Any) -> Answer:
    """An SNMP value as ``(code, integer)``: what is missing comes as a value, not as an error."""
    code = _MISSING.get(type(value).__name__)
    if code is not None:
        return code, None
    try:
        raw = int(value)
    except (TypeError, ValueError):
        return NO_NUMBER, None
    nothing = raw < 0 or (raw in _NOTHING and type(value).__name__ not in _PASSING)
    return (UNSUPPORTED, None) if nothing else (0, raw)


def text_of(value: Any) -> Text:
    """An SNMP value as ``(code, text)``; bytes that are no text keep what can be read of them."""
    code = _MISSING.get(type(value).__name__)
    if code is not None:
        return code, None
    octets = getattr(value, "asOctets", None)
    text = octets().decode("utf-8", "replace") if octets else str(value)
    return 0, "".join(c for c in text if c.isprintable()).strip()


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
