"""Phases of a run, from the journal and the requests. Pure, so that verify can repeat it.

The blocks of a launch come from ``phase.begin`` and ``phase.end`` events. Inside the measured
block each instant belongs to ``prefill`` (one request, no token yet), ``decode`` (one request,
tokens coming), ``mixed`` (several requests at once: the two cannot be told apart) or to none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from kit.core.model import Event, Phase, Request

BLOCKS: tuple[tuple[str, str | None], ...] = (
    ("idle", "before"),
    ("startup", None),
    ("warmup", None),
    ("loaded_idle", "before"),
    ("measured", None),
    ("loaded_idle", "after"),
    ("shutdown", None),
    ("idle", "after"),
)

# The phases inside the measured block.
INSIDE = ("prefill", "decode", "mixed")
_END = 1 << 62

# What results before formulas 5 have as ``alias`` of a phase (docs/phases.md).
FORMER_ALIASES = {
    "idle": "baseline",
    "startup": "startup",
    "prefill": "inference",
    "decode": "response",
    "shutdown": "shutdown",
}


def blocks(events: Iterable[Event]) -> tuple[Phase, ...]:
    """The blocks of every launch in order; blocks without an end are left out."""
    begun: dict[tuple[int, str, str | None], int] = {}
    phases: list[Phase] = []
    for event in events:
        if event.kind not in ("phase.begin", "phase.end"):
            continue
        launch, name, part = event.data["launch"], event.data["phase"], event.data["part"]
        key = (launch, name, part)
        if event.kind == "phase.begin":
            begun[key] = event.t
        elif key in begun:
            phases.append(Phase(launch=launch, name=name, part=part, t0=begun.pop(key), t1=event.t))
    return tuple(phases)


def inside(launch: int, requests: Sequence[Request]) -> tuple[Phase, ...]:
    """Prefill, decode and mixed intervals of one launch's measured requests, in time order.

    An instant with exactly one active request belongs to that request's phase, one with several is
    mixed. Neighbouring mixed intervals are joined.
    """
    phases: list[Phase] = []
    under_way: dict[int, Request] = {}
    edges = sorted(_edges(requests), key=lambda edge: edge[0])
    for (t0, kind, request), (t1, _, _) in pairwise([*edges, (_END, "", None)]):
        if kind == "sent" and request is not None:
            under_way[request.index] = request
        elif kind == "last" and request is not None:
            under_way.pop(request.index, None)
        if not under_way or t1 <= t0 or t1 == _END:
            continue
        name = "mixed" if len(under_way) > 1 else _phase_of(next(iter(under_way.values())), t0)
        if not name:
            continue
        if name == "mixed" and phases and phases[-1].name == "mixed" and phases[-1].t1 == t0:
            t0 = phases.pop().t0
        phases.append(Phase(launch=launch, name=name, part=None, t0=t0, t1=t1))
    return tuple(phases)


def cut(events: Iterable[Event], requests: Mapping[int, Sequence[Request]]) -> tuple[Phase, ...]:
    """Every block of every launch, and the phases inside the measured blocks."""
    phases = list(blocks(events))
    for launch in sorted(requests):
        measured = [r for r in requests[launch] if r.stage == "measured" and r.status == "ok"]
        phases += inside(launch, measured)
    return tuple(phases)


def _edges(requests: Sequence[Request]) -> list[tuple[int, str, Request | None]]:
    """Begin, first token and end of each request; without tokens only begin and end."""
    edges: list[tuple[int, str, Request | None]] = []
    for r in requests:
        if r.sent is None:
            continue
        last = r.done if r.last_token is None else r.last_token
        edges += [(r.sent, "sent", r), (last, "last", r)]
        if r.first_token is not None:
            edges.append((r.first_token, "first", r))
    return edges


def _phase_of(request: Request, t: int) -> str:
    """The phase of the only active request; none if its first token is unknown."""
    if request.first_token is None:
        return ""
    return "prefill" if t < request.first_token else "decode"
