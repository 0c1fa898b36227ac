"""Levels of concurrency: one spec as several, which differ in clients and name alone."""

from __future__ import annotations

import re

import msgspec

from kit.core import jsonio
from kit.core.errors import UsageError
from kit.core.model import RunSpec
from kit.spec import spec as specs

_MOST, _HIGHEST = 16, 4096
_LONGEST_NAME = 63
REMEDY = "write them as 1,4,16"


def parse(text: str) -> tuple[int, ...]:
    """The levels in ``1,4,16``, in that order.

    Raises:
        UsageError: it is no such list.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(re.fullmatch("[0-9]{1,4}", part) for part in parts):
        raise UsageError(f"{text[:40]!a} is no list of concurrency levels", REMEDY)
    levels = tuple(map(int, parts))
    if not all(1 <= level <= _HIGHEST for level in levels):
        raise UsageError(f"a level of concurrency lies in 1…{_HIGHEST}", REMEDY)
    if len(set(levels)) != len(levels):
        raise UsageError(f"{text[:40]} names one level twice", "name each level once")
    if len(levels) > _MOST:
        raise UsageError(f"{len(levels)} levels are too many", f"name {_MOST} at most")
    return levels


def at(spec: RunSpec, levels: tuple[int, ...]) -> list[RunSpec]:
    """``spec`` once for each level, in order; each is checked as any spec is.

    Raises:
        UsageError: it has no clients whose number could change, or too few requests for a level.
        SpecInvalid: its runtime cannot serve a level.
    """
    if spec.arrivals.kind != "closed":
        raise UsageError(
            f"levels of concurrency are for closed arrivals; this spec has {spec.arrivals.kind}",
            'write "arrivals": {"kind": "closed"}',
        )
    requests = spec.workload.options.get("requests")
    if isinstance(requests, int) and requests < max(levels):
        raise UsageError(
            f"{max(levels)} answers at once need as many requests, and the spec has {requests}",
            f"set workload.options.requests to {max(levels)} or more",
        )
    return [_at(spec, level) for level in levels]


def _at(spec: RunSpec, level: int) -> RunSpec:
    suffix = f"-c{level}"
    name = spec.name[: _LONGEST_NAME - len(suffix)].rstrip("-") + suffix
    arrivals = msgspec.structs.replace(spec.arrivals, concurrency=level)
    made = msgspec.structs.replace(spec, name=name, arrivals=arrivals)
    return specs.parse(jsonio.canonical(specs.document(made)), name)
