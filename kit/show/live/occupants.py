"""Who uses each GPU now, for whoever watches a run: nothing of it is recorded or sealed.

A run's record has numbers alone (`kit.measure.meters.nvml.processes`). On the screen a name tells
what has to end: a process that is not the run's own disturbs the measurement.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.core.errors import KitError
from kit.measure.meters.contract import MeterUnavailable
from kit.measure.meters.nvml.api import Api

__all__ = ("MeterUnavailable", "Occupants", "Process", "Seen", "why_not")

_PROC = Path("/proc")
_NAME = 32


@dataclass(frozen=True)
class Process:
    """A process on a GPU: its memory there (B), and whether it is the run's own; None: unknown."""

    pid: int
    name: str
    memory: int | None = None
    own: bool | None = None


@dataclass(frozen=True)
class Seen:
    """A GPU at one moment; None for what it does not say."""

    utilisation: int | None = None  # percent
    memory_used: int | None = None  # B
    memory_total: int | None = None  # B
    processes: tuple[Process, ...] = ()


class Occupants:
    """Asks the driver of this machine for its GPUs, as often as it is called.

    Raises:
        MeterUnavailable: there is no driver.
    """

    def __init__(self, proc: Path = _PROC) -> None:
        self._api, self._proc = Api(), proc
        self._groups: dict[str, str | None] = {}  # container's name → its id

    def close(self) -> None:
        """Release the driver."""
        self._api.close()

    def read(self, container: str = "") -> dict[str, Seen]:
        """Each GPU by its alias; ``container`` is the name of the run's, if one runs."""
        rc, there = self._api.ask(self._api.nvml.nvmlDeviceGetCount)
        return {f"gpu{n}": self._of(n, container) for n in range(there if rc == 0 else 0)}

    def _of(self, index: int, container: str) -> Seen:
        nvml, ask = self._api.nvml, self._api.ask
        rc, handle = ask(lambda: nvml.nvmlDeviceGetHandleByIndex(index))
        if rc:
            return Seen()
        _, rates = ask(lambda: nvml.nvmlDeviceGetUtilizationRates(handle))
        rc, memory = ask(lambda: nvml.nvmlDeviceGetMemoryInfo(handle, nvml.nvmlMemory_v2))
        if rc:  # an older driver, whose "used" has the driver's own reserve in it
            _, memory = ask(lambda: nvml.nvmlDeviceGetMemoryInfo(handle))
        return Seen(
            None if rates is None else int(rates.gpu),
            None if memory is None else int(memory.used),
            None if memory is None else int(memory.total),
            tuple(self._processes(handle, container)),
        )

    def _processes(self, handle: Any, container: str) -> Iterable[Process]:
        nvml, ask = self._api.nvml, self._api.ask
        found: dict[int, int | None] = {}
        _, computing = ask(lambda: nvml.nvmlDeviceGetComputeRunningProcesses(handle))
        _, drawing = ask(lambda: nvml.nvmlDeviceGetGraphicsRunningProcesses(handle))
        for listed in (computing, drawing):
            for process in listed or ():
                memory = process.usedGpuMemory
                found[process.pid] = memory if isinstance(memory, int) and memory else None
        own = self._id(container) if found and container else ""
        for pid in sorted(found, key=lambda pid: -(found[pid] or 0)):
            yield Process(pid, self._name(pid), found[pid], self._is_own(pid, own))

    def _name(self, pid: int) -> str:
        with contextlib.suppress(OSError):
            return (self._proc / str(pid) / "comm").read_text(errors="replace").strip()[:_NAME]
        return "?"

    def _is_own(self, pid: int, own: str | None) -> bool | None:
        """Whether it is in the run's container: ``own`` is that one's id, None where unknown."""
        if own == "":
            return False
        with contextlib.suppress(OSError):
            group = (self._proc / str(pid) / "cgroup").read_text(errors="replace")
            return None if own is None else own in group
        return None

    def _id(self, container: str) -> str | None:
        """The id of the run's container; asked of the engine until it has one."""
        if container not in self._groups:
            from kit.machine import containers

            with contextlib.suppress(KitError, OSError), containers.connect() as engine:
                self._groups[container] = engine.container_id(container)
        return self._groups.get(container)


def why_not(error: MeterUnavailable) -> str:
    """Why no process is listed."""
    return f"processes are not listed: {error}"
