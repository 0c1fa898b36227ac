"""Shared by meters over HTTP: exact integers from a JSON document, and polling.

A number's decimal text is kept as it came: ``12.34`` W with two digits is the raw integer 1234, and
the plan's ``scale`` 0.01. It never is a float. A number with more digits than its source is said to
give is a lost reading, or is rounded where the plan says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from msgspec.structs import replace

from kit.core.facts import Probe, QuantityFacts
from kit.core.model import MeterDevice
from kit.core.units import scale_of
from kit.measure.meters import web
from kit.measure.meters.contract import MeterUnavailable, Reading, Tier
from kit.record.events import Clock

Json = Any
MISSING, NO_NUMBER, TOO_FINE, TOO_LARGE, NEGATIVE, NOT_VALID = -20, -21, -22, -23, -24, -25
REASONS = {
    MISSING: "its answer does not hold this value: another profile, or a device without a meter?",
    NO_NUMBER: "its value is not a number",
    TOO_FINE: "its value has more decimal digits than its profile says: nothing is rounded away",
    TOO_LARGE: "its value is larger than any meter's",
    NEGATIVE: "its value is negative: is it wired the wrong way, or does it not meter this?",
    NOT_VALID: "the device itself says that its value is not valid",
}
_MOST_DIGITS = 15  # of a raw integer: a double in a plan's arithmetic holds them exactly


class Point(NamedTuple):
    """One value of a document.

    Attributes:
        pointer: where it is (RFC 6901).
        digits: decimal digits of the raw integer: the value times 10 to that power.
        facts: what the plan says of it.
        rounded: more digits are rounded, half to even; the facts say so.
    """

    quantity: str
    pointer: str
    digits: int
    facts: QuantityFacts
    rounded: bool = False


class Source(NamedTuple):
    """One device, the path of its document, and what is read of it.

    ``valid`` points to a word of the device's own: whether its values are any.
    """

    device: str
    description: str
    path: str
    points: tuple[Point, ...]
    valid: str = ""


def explain(rc: int) -> str:
    """A code in words, HTTP's and those of values."""
    return REASONS.get(rc) or web.explain(rc)


def at(document: Json, pointer: str) -> Json:
    """The value at a JSON pointer.

    Raises:
        LookupError: nothing does.
    """
    value = document
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, list):
            if not key.isdecimal() or not key.isascii() or (key != "0" and key[0] == "0"):
                raise LookupError(key)
            value = value[int(key)] if len(key) < 10 else []
        elif isinstance(value, dict):
            value = value[key]
        else:
            raise LookupError(key)
    return value


def raw(value: Json, digits: int, *, rounded: bool = False) -> tuple[int, int | None]:
    """A number as ``(code, integer)``: times 10 to the power of ``digits``, exactly.

    Args:
        rounded: round what has more digits, half to even.
    """
    if not isinstance(value, Decimal) or not value.is_finite():
        return NO_NUMBER, None  # true, "12" and null are none
    sign, figures, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    if not any(figures):
        return 0, 0
    if value.adjusted() + digits >= _MOST_DIGITS:
        return TOO_LARGE, None
    if sign:
        return NEGATIVE, None
    shift = exponent + digits
    if len(figures) > 4 * _MOST_DIGITS or shift < -4 * _MOST_DIGITS:
        return TOO_FINE, None
    mantissa = int("".join(map(str, figures)))
    if shift >= 0:
        return 0, int(mantissa * 10**shift)
    step = int(10**-shift)
    quotient, rest = divmod(mantissa, step)
    if rest and not rounded:
        return TOO_FINE, None
    return 0, quotient + (2 * rest > step or (2 * rest == step and quotient % 2))


def values(source: Source, answer: web.Answer) -> Iterator[tuple[int, int | None]]:
    """The code and raw integer of every point of a source, in order."""
    for point in source.points:
        yield (answer.rc, None) if answer.rc else _value(source, point, answer.document)


def _value(source: Source, point: Point, document: Json) -> tuple[int, int | None]:
    try:
        if source.valid and at(document, source.valid) is not True:
            return NOT_VALID, None
        return raw(at(document, point.pointer), point.digits, rounded=point.rounded)
    except LookupError:
        return MISSING, None


def scale(unit: int, digits: int) -> float:
    """Factor on a raw integer with so many decimal digits, whose number counts ``unit``\\ s."""
    return float(Decimal(unit).scaleb(-digits))


Ask = Callable[[str], web.Answer]


def probe(sources: Sequence[Source], ask: Ask) -> tuple[MeterDevice, ...]:
    """The devices, each quantity with its facts or the reason why it is not read.

    Raises:
        MeterUnavailable: a device does not answer, or reports no power.
    """
    devices = []
    for source in sources:
        answer = ask(source.path)
        answers = list(zip(source.points, values(source, answer), strict=True))
        for point, (rc, _) in answers:
            if point.quantity == "pdu_power" and rc:
                raise MeterUnavailable(explain(rc))
        devices.append(_device(source, answers))
    return tuple(devices)


def planned(sources: Iterable[Source]) -> tuple[MeterDevice, ...]:
    """The devices of a reader: what it reads if all answer."""
    return tuple(
        _device(source, [(point, (0, None)) for point in source.points]) for source in sources
    )


def _device(source: Source, values: Iterable[tuple[Point, tuple[int, int | None]]]) -> MeterDevice:
    quantities = {}
    for point, (rc, value) in values:
        facts = point.facts
        if rc:
            facts = replace(facts, reason=explain(rc))
        elif point.quantity == "pdu_power" and value is not None:
            watts = round(value * scale_of(point.quantity, facts), 6)
            facts = replace(facts, probe=Probe(watts=watts))
        quantities[point.quantity] = facts
    return MeterDevice(device=source.device, description=source.description, quantities=quantities)


class WebReader:
    """Polls the documents of one site; silence is a code in every row, never an error.

    Args:
        ask: gives the document under a path, or a code (`kit.measure.meters.web.Site.get`).
    """

    def __init__(
        self,
        name: str,
        sources: Sequence[Source],
        ask: Ask,
        close: Callable[[], None],
        poll_s: float,
        clock: Clock,
    ) -> None:
        self._sources, self._ask, self._close, self._clock = tuple(sources), ask, close, clock
        self.devices = planned(sources)
        self.tiers = (Tier(name, poll_s, self._read, slow=True),)

    def explain(self, rc: int) -> str:
        return explain(rc)

    def close(self) -> None:
        self._close()

    def _read(self) -> Sequence[Reading]:
        return [reading for source in self._sources for reading in self._of(source)]

    def _of(self, source: Source) -> Iterator[Reading]:
        t0 = self._clock.now()
        answer = self._ask(source.path)
        t1 = self._clock.now()
        answers = zip(source.points, values(source, answer), strict=True)
        for point, (rc, value) in answers:
            yield Reading(t0, t1, None, source.device, point.quantity, rc, value)
