"""How many use a GPU, as numbers alone: process identity is deliberately not recorded.

A container's processes share one control group, and another person's program has another one. So
the number of control groups tells of strangers without a PID or a name: none before the run's
container starts, one while it runs. It is a lower bound, since two strangers may share a group.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from kit.measure.meters.contract import Reading, Tier
from kit.measure.meters.nvml.api import Api, Unseen
from kit.measure.meters.nvml.board import Board
from kit.record.events import Clock

COUNT, GROUPS = "gpu_processes", "gpu_process_groups"

_PROC = Path("/proc")
_HOST_NAMESPACE = 0xEFFFFFFC  # inode of the first PID namespace (PROC_PID_INIT_INO of Linux)

_USUAL_S, _LONGEST_S = 1.0, 10.0
_SHARE = 5e-4  # of one CPU, for each GPU


def pids(api: Api, handle: Any) -> frozenset[int]:
    """PIDs of compute and graphics processes; cards without graphics have the former alone."""
    pids = {process.pid for process in api.nvml.nvmlDeviceGetComputeRunningProcesses(handle)}
    rc, drawing = api.ask(lambda: api.nvml.nvmlDeviceGetGraphicsRunningProcesses(handle))
    return frozenset(pids | {process.pid for process in drawing} if rc == 0 else pids)


def control_groups(processes: Iterable[int], proc: Path = _PROC) -> int:
    """In how many control groups ``processes`` are; those that /proc hides count as one."""
    return len({_group(proc / str(pid) / "cgroup") for pid in processes})


def groups(api: Api, handle: Any) -> int:
    """In how many control groups a GPU's processes are.

    Raises:
        Unseen: kit is in a container, and NVML's PIDs are the host's.
    """
    if (_PROC / "self/ns/pid").stat().st_ino != _HOST_NAMESPACE:
        raise Unseen
    return control_groups(pids(api, handle))


class Census:
    """Counts the processes of several GPUs, less often the longer that takes.

    How long the driver takes to list processes depends on how many there are, so that a cost
    measured before the run says little.

    Args:
        wanted: alias, GPU, and which of the quantities it gives.
    """

    def __init__(self, wanted: Sequence[tuple[str, Board, Sequence[str]]], clock: Clock) -> None:
        self._wanted, self._clock = wanted, clock
        self._next = 0

    def tier(self) -> Tier:
        """Once a second, or as seldom as once in ten."""
        return Tier("processes", _USUAL_S, self.read, True, lambda: self._next)

    def read(self) -> list[Reading]:
        begin = self._clock.now()
        readings = [
            r for alias, board, names in self._wanted for r in self._of(alias, board, names)
        ]
        taken_s = (self._clock.now() - begin) * 1e-9
        pause_s = taken_s / (_SHARE * max(1, len(self._wanted)))
        self._next = begin + round(min(max(_USUAL_S, pause_s), _LONGEST_S) * 1e9)
        return readings

    def _of(self, alias: str, board: Board, names: Sequence[str]) -> Iterator[Reading]:
        t0 = self._clock.now()
        rc, listed = board.ask(pids)
        counts = {} if rc else {GROUPS: control_groups(listed), COUNT: len(listed)}
        t1 = self._clock.now()
        for name in names:
            yield Reading(t0, t1, None, alias, name, rc, counts.get(name))


def _group(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None
