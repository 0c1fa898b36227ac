"""What a meter is to kit: probe says what it can read here, a reader reads it, raw.

A meter returns integers exactly as the device gave them, with the device's return code. What they
mean stands in `kit.units`; joules are computed later, in `kit.energy`, so that verify can do it
again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, Protocol

from kit.events import Clock
from kit.model import MeterPlan


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


class Tier(NamedTuple):
    """Readings that are taken together.

    Attributes:
        name: for the sampler's report of punctuality.
        period_s: seconds between reads, on absolute deadlines.
        read: takes the readings; it may take long only where ``slow`` is true.
        slow: read in a thread of its own, so that it delays no other tier.
    """

    name: str
    period_s: float
    read: Callable[[], Sequence[Reading]]
    slow: bool = False


class Reader(Protocol):
    """An opened meter."""

    tiers: tuple[Tier, ...]

    def close(self) -> None:
        """Let go of the devices."""
        ...


class Meter(Protocol):
    """The contract of a meter; third parties register theirs under ``kit.meters``.

    Attributes:
        name: the word in a spec's ``meters[].name``.
        title: one line for a list or a form.
        process: ``local`` meters share one sampler process; ``own`` asks for one of its own,
            because its reads wait for a network.
        remedy: what a person can do when it has no devices.
    """

    name: str
    title: str
    process: Literal["local", "own"]
    remedy: str

    def probe(self, alias: str | None, config: dict[str, Any]) -> MeterPlan:
        """Which devices it can read here, or the reason why none; never raises."""
        ...

    def open(self, alias: str | None, config: dict[str, Any], clock: Clock) -> Reader:
        """A reader of what `probe` found."""
        ...


def label(name: str, alias: str | None) -> str:
    """How a meter is called in file names and events: ``nvml``, ``pdu-rack1``."""
    return f"{name}-{alias}" if alias else name
