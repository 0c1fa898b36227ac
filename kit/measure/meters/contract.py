"""The contract of a meter: ``probe`` lists what it can read here, a reader reads it as integers.

A meter returns integers exactly as the device gave them, with the device's return code. What they
mean stands in `kit.core.units` and in the plan's facts about each quantity
(`kit.core.facts.QuantityFacts`); joules are computed later, in `kit.energy`, so that verify can do
it again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, Protocol

from msgspec import UNSET, UnsetType

from kit.core.model import Cause, MeterDevice, MeterPlan
from kit.core.units import Scope
from kit.record.events import Clock


class Reading(NamedTuple):
    """One value of one quantity of one device, read between ``t0`` and ``t1`` (ns, run's clock).

    ``rc`` is the device's return code, 0 when ``raw`` holds a value, otherwise ``raw`` is None.
    ``t_dev`` is the device's own time of the value on the run's clock, where it gives one.
    """

    t0: int
    t1: int
    t_dev: int | None
    device: str
    quantity: str
    rc: int
    raw: int | None

    @property
    def t(self) -> int:
        """The time of its value, ns: the device's own time, else the middle of the reading."""
        return self.t0 + (self.t1 - self.t0) // 2 if self.t_dev is None else self.t_dev


class Tier(NamedTuple):
    """Readings that are taken together.

    Attributes:
        name: for the sampler's report of punctuality.
        period_s: seconds between reads, on absolute deadlines.
        read: takes the readings; it may take long only where ``slow`` is true. A device that
            does not answer is a return code in the readings, never an exception.
        slow: read in a thread of its own, so that it delays no other tier.
        due: when the next read should begin (ns on the run's clock), for a tier that sets its own
            pace; ``period_s`` is then only its usual one.
        last: takes the closing readings, once the sampler was stopped at the time given (ns);
            it waits, briefly, until they reach that time. None: `read` does.
    """

    name: str
    period_s: float
    read: Callable[[], Sequence[Reading]]
    slow: bool = False
    due: Callable[[], int] | None = None
    last: Callable[[int], Sequence[Reading]] | None = None


class Reader(Protocol):
    """An opened meter.

    Attributes:
        tiers: what is to be read how often.
        devices: what is read, as in the plan.
    """

    tiers: tuple[Tier, ...]
    devices: tuple[MeterDevice, ...]

    def explain(self, rc: int) -> str:
        """A return code in words."""
        ...

    def close(self) -> None:
        """Release the devices."""
        ...


class Meter(Protocol):
    """The contract of a meter; third parties register theirs under ``kit.meters``.

    Attributes:
        name: the word in a spec's ``meters[].name``.
        title: one line for a list or a form.
        scope: the energy scope that its readings feed, also where it has no device.
        process: ``local`` meters share one sampler process; ``own`` asks for one of its own,
            because its reads wait for a network.
        remedy: what a person can do when it has no devices.
    """

    name: str
    title: str
    scope: Scope
    process: Literal["local", "own"]
    remedy: str

    def probe(self, alias: str | None, config: dict[str, Any]) -> MeterPlan:
        """Which devices it can read here, or the reason why none; never raises."""
        ...

    def open(self, alias: str | None, config: dict[str, Any], clock: Clock) -> Reader:
        """A reader of what `probe` found.

        Raises:
            MeterUnavailable: nothing can be read (any more).
        """
        ...


class MeterUnavailable(Exception):
    """A meter that cannot read anything here; the message is the reason, ``cause`` its code."""

    def __init__(self, message: str, cause: Cause | UnsetType = UNSET) -> None:
        super().__init__(message)
        self.cause = cause


def absent(name: str, alias: str | None, reason: MeterUnavailable | str) -> MeterPlan:
    """The plan of a meter without devices."""
    cause = reason.cause if isinstance(reason, MeterUnavailable) else UNSET
    return MeterPlan(name=name, alias=alias, devices=(), reason=str(reason), cause=cause)
