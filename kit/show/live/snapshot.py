"""A run at one instant: the immutable record that faces draw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from kit.energy.value import EnergyValue
from kit.show.live.eventwords import LogLine
from kit.show.live.trace import Point

SECOND_NS = 1e9
SILENT_NS = 3_000_000_000
StepKey = tuple[str, str | None]


class Step(NamedTuple):
    """A block of a launch; ``t1`` is None until it ends."""

    launch: int
    phase: str
    part: str | None
    t0: int
    t1: int | None = None

    @property
    def key(self) -> StepKey:
        return self.phase, self.part


@dataclass(frozen=True)
class Device:
    """The latest of one device: watts, ``state`` as in live events, and when (ns)."""

    name: str
    scope: str
    watts: float | None = None
    heard: int | None = None
    state: Mapping[str, float] = field(default_factory=dict)

    def silent_s(self, now: int) -> float:
        """For how long it has been silent at ``now`` (ns), s; 0 below three seconds."""
        if self.heard is None or now - self.heard < SILENT_NS:
            return 0.0
        return (now - self.heard) / SECOND_NS


@dataclass(frozen=True)
class Progress:
    """The requests of the present or last stage; rates are since the block began.

    ``failed`` is known when the stage has ended, None before. ``images`` is None in a run of texts.
    """

    stage: str = ""
    done: int = 0
    failed: int | None = None
    total: int = 0
    tokens: int | None = None
    images: int | None = None
    requests_s: float | None = None
    tokens_s: float | None = None
    images_s: float | None = None
    joules_token: float | None = None
    joules_image: float | None = None
    joules_scope: str = ""


@dataclass(frozen=True)
class RunSnapshot:
    """A run at one instant ``t`` (ns): immutable, made once for each drawing."""

    t: int = 0
    events: int = 0
    id: str = ""
    utc: str = ""
    launches: int = 0
    launch: int = 0
    step: Step | None = None
    steps: tuple[Step, ...] = ()
    progress: Progress = Progress()
    devices: tuple[Device, ...] = ()
    power: Mapping[str, tuple[Point, ...]] = field(default_factory=dict)
    temperature: Mapping[str, tuple[Point, ...]] = field(default_factory=dict)
    clock: Mapping[str, tuple[Point, ...]] = field(default_factory=dict)
    energy: tuple[EnergyValue, ...] = ()
    device_energy: Mapping[str, EnergyValue] = field(default_factory=dict)
    energy_s: float = 0.0
    log: tuple[LogLine, ...] = ()
    marks: tuple[LogLine, ...] = ()
    faults: tuple[dict[str, str], ...] = ()
    lost: tuple[str, ...] = ()
    status: str = ""
    reason: str = ""

    def where(self) -> str:
        """``2nd of 3 launches``: how far the run is; the record counts its launches from 0."""
        if not self.launches:
            return "run"
        return (
            "the launch"
            if self.launches == 1
            else f"{nth(self.launch)} of {self.launches} launches"
        )

    def done(self) -> dict[StepKey, float]:
        """How long each finished step of the present launch took, s."""
        ended = (s for s in self.steps if s.launch == self.launch and s.t1 is not None)
        return {s.key: (s.t1 - s.t0) / SECOND_NS for s in ended if s.t1 is not None}

    def expected_s(self) -> float | None:
        """The expected duration of the run, s, from its first launches; None before."""
        firsts: dict[int, int] = {}
        for step in self.steps:
            firsts.setdefault(step.launch, step.t0)
        begins = [firsts[n] for n in sorted(firsts)]
        if self.launches < 2 or len(begins) < 2:
            return None
        one = (begins[-1] - begins[0]) / (len(begins) - 1)
        return (begins[0] + one * self.launches) / SECOND_NS


def nth(index: int) -> str:
    """``1st`` for 0, ``2nd``, ``11th``: a place in an order that is counted from 0."""
    place = index + 1
    last = 0 if place % 100 in (11, 12, 13) else place % 10
    return f"{place}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(last, 'th') }"


def scope_of(device: str) -> str:
    """A device's scope by its alias, without a plan."""
    for prefix, scope in (
        ("gpu", "gpu"),
        ("cpu", "cpu"),
        ("pdu:", "wall"),
        ("codecarbon", "codecarbon"),
    ):
        if device.startswith(prefix):
            return scope
    return "estimate" if device == "host" else "none"
