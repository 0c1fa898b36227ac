"""An SNMP v2c agent on UDP that misbehaves as it is told: circles, no end, silence, slowness."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

Value = tuple[str, Any]
Next = Callable[[str], str | None]


def parts(oid: str) -> tuple[int, ...]:
    return tuple(int(part) for part in oid.split("."))


class OddAgent:
    """Answers GET and GETNEXT until it is left.

    Args:
        values: OID → (``gauge`` | ``string`` | ``oid``, value).
        after: the OID that follows one, in place of the order of ``values``; None ends the MIB.
        value: what stands at an OID that ``values`` does not have.
        delay_s: how late each answer comes.
        is_silent: whether a request of this kind (``get``, ``next``) and OID gets no answer.
    """

    def __init__(
        self,
        values: dict[str, Value],
        *,
        after: Next | None = None,
        value: Value | None = None,
        delay_s: float = 0.0,
        is_silent: Callable[[str, str], bool] = lambda kind, oid: False,
        bind: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self._values, self._after, self._value = values, after or self._later, value
        self._delay_s, self._is_silent = delay_s, is_silent
        family = socket.AF_INET6 if ":" in bind else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.bind((bind, port))
        self._socket.settimeout(0.05)
        self.port = int(self._socket.getsockname()[1])
        self.requests = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> OddAgent:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._socket.close()

    def _later(self, oid: str) -> str | None:
        later = [oids for oids in self._values if parts(oids) > parts(oid)]
        return min(later, key=parts, default=None)

    def _serve(self) -> None:
        while not self._stop.is_set():
            try:
                data, peer = self._socket.recvfrom(65535)
            except TimeoutError:
                continue
            self.requests += 1
            answer = self._answer(data)
            if answer is not None:
                time.sleep(self._delay_s)
                self._socket.sendto(answer, peer)

    def _answer(self, data: bytes) -> bytes | None:
        from pyasn1.codec.ber import decoder, encoder
        from pysnmp.proto import api

        snmp = api.PROTOCOL_MODULES[api.decodeMessageVersion(data)]
        request, _ = decoder.decode(data, asn1Spec=snmp.Message())
        response = snmp.apiMessage.get_response(request)
        asked = snmp.apiMessage.get_pdu(request)
        kind = "next" if asked.isSameTypeWith(snmp.GetNextRequestPDU()) else "get"
        oids = [str(oid) for oid, _ in snmp.apiPDU.get_varbinds(asked)]
        if any(self._is_silent(kind, oid) for oid in oids):
            return None
        values = [self._value_at(snmp, kind, oid) for oid in oids]
        snmp.apiPDU.set_varbinds(snmp.apiMessage.get_pdu(response), values)
        return bytes(encoder.encode(response))

    def _value_at(self, snmp: Any, kind: str, oid: str) -> tuple[Any, Any]:
        at = self._after(oid) if kind == "next" else oid
        if at is None:
            return snmp.ObjectIdentifier(oid), snmp.EndOfMibView("")
        value = self._values.get(at, self._value)
        if value is None:
            return snmp.ObjectIdentifier(at), snmp.NoSuchInstance("")
        from pysnmp.proto import rfc1902

        kinds = {"gauge": rfc1902.Gauge32, "string": rfc1902.OctetString}
        return snmp.ObjectIdentifier(at), kinds.get(value[0], snmp.ObjectIdentifier)(value[1])
