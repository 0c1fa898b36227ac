"""The batch of a run: the most measured requests that were in flight at once.

A closed loop has as many as it has clients, or requests if those are fewer. Of any other kind of
arrivals the times of every request say it: from ``sent`` to ``done`` of ``requests.jsonl``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from kit.core import regular
from kit.core.errors import KitError

_MOST_BYTES = 16 << 20


class _Timed(msgspec.Struct):
    stage: str
    sent: int | None = None
    done: int | None = None


def of_closed_loop(spec: Mapping[str, Any], results: Mapping[str, Any]) -> int | None:
    """The batch of a closed loop; None for other arrivals, and for a run without launches."""
    arrivals = spec.get("arrivals")
    if not isinstance(arrivals, dict) or arrivals.get("kind") != "closed":
        return None
    issued = [launch["requests"]["issued"] for launch in results.get("launches", ())]
    return min(int(arrivals["concurrency"]), max(issued)) if issued and max(issued) else None


def files(run: Path) -> list[Path]:
    """The files of the requests of a run's launches."""
    return sorted((run / "launches").glob("*/requests.jsonl"))


def counted(run: Path) -> int | None:
    """The batch of the run in the folder ``run`` from its requests; None if they cannot be read."""
    try:
        launches = (_most(_steps(regular.content(file, _MOST_BYTES))) for file in files(run))
        return max(launches, default=0) or None
    except (OSError, KitError, msgspec.MsgspecError, ValueError, RecursionError):
        return None


def _steps(data: bytes) -> Iterator[tuple[int, int]]:
    """(time, +1 or -1) of each measured request that was sent and ended."""
    for one in msgspec.json.Decoder(_Timed).decode_lines(data):
        if one.stage == "measured" and one.sent is not None and one.done is not None:
            yield one.sent, 1
            yield one.done, -1


def _most(steps: Iterator[tuple[int, int]]) -> int:
    """The most at once; a request that ends as another is sent is no longer in flight."""
    most = now = 0
    for _, step in sorted(steps):
        now += step
        most = max(most, now)
    return most
