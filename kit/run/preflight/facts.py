"""The facts that preflight judges, as one mapping for `kit.run.preflight.check`.

The mapping::

    host        `kit.machine.host.fingerprint`
    weights     {container path: size in bytes | {"absent": reason}}
    unreadable  {container path: why the container's user cannot read the file; else empty}
    self_named  {container path: what a GGUF file calls itself; else empty}
    licensed    {container path: the licence that a GGUF file names; else empty}
    misnamed    findings on names that contradict hashes, see
                `kit.machine.weights.naming`
    shape       the model's `kit.machine.weights.own.Shape`, as a mapping
    disk_free   bytes free where the run is written
    port_free   whether the plan's port is free on this host; absent unless the host network is used
    gpu_energy  {alias: mJ that the energy counter grew by within half a second}
    other_runs  ids of runs that measure in the same store outside of this machine's queue
    queue       names of the runs that come first in this machine's queue
"""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kit.core.model import Finding, Plan
from kit.machine import containers, host, queue
from kit.machine import weights as models
from kit.machine.host import absent, gpus, is_absent
from kit.machine.weights import gguf, own
from kit.record import events
from kit.store.store import Store

INFLIGHT = ".inflight"
# Several update periods of every known NVML counter (100 ms on the H200).
_COUNTER_WATCH_S = 0.5


def gather(
    engine_facts: dict[str, Any] | None, plan: Plan, folder: Path, weights: Mapping[str, Path]
) -> dict[str, Any]:
    """Collect the facts that `check` judges; with GPUs it takes half a second longer.

    Args:
        engine_facts: `kit.machine.containers.Engine.facts()`, None when no engine answered.
        folder: where the run is written, ``runs/.inflight/<id>`` or a store's root.
        weights: container path → file on this host, as `kit.run.plan.HostFacts` has it.
    """
    return {
        "host": host.fingerprint(engine_facts),
        "weights": {target: _size(path) for target, path in weights.items()},
        "unreadable": {
            target: models.unreadable(path, shifted=containers.shifts_users(engine_facts or {}))
            for target, path in weights.items()
        },
        "self_named": {target: models.own_name(path) for target, path in weights.items()},
        "licensed": {target: gguf.licence(gguf.metadata(path)) for target, path in weights.items()},
        "misnamed": _misnamed(plan),
        "shape": own.shape_of(weights.values())._asdict(),
        "disk_free": disk_free(folder),
        "port_free": _port_free(plan),
        "gpu_energy": _gpu_energy() if plan.launch.gpus else absent("no GPU is planned for"),
        "other_runs": _other_runs(folder),
        "queue": _queue(folder),
    }


def disk_free(folder: Path) -> int:
    """Bytes free on the file system of ``folder``, which need not exist yet."""
    existing = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    return shutil.disk_usage(existing).free


def _misnamed(plan: Plan) -> list[Finding]:
    folders = host.HostConfig.load().weights_folders
    return [d.finding for d in models.doubts(plan.model, folders)] if plan.model else []


def _size(path: Path) -> Any:
    try:
        return path.stat().st_size
    except OSError as error:
        return absent(error.strerror or "cannot be read")


def _port_free(plan: Plan) -> Any:
    """Whether binding works: the one test that also sees ports held without listening.

    A closed connection, which stays on the port for a minute, does not count.
    """
    if plan.launch.network != "host":
        return absent("the port is inside the container's own network")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", plan.launch.port))
        except OSError:
            return False
    return True


def _gpu_energy() -> dict[str, Any]:
    first = gpus.energy_counters()
    if is_absent(first):
        return first
    time.sleep(_COUNTER_WATCH_S)
    second = gpus.energy_counters()
    return {alias: _growth(first[alias], second.get(alias)) for alias in first}


def _growth(first: Any, second: Any) -> Any:
    if isinstance(first, int) and isinstance(second, int):
        return second - first
    return first if is_absent(first) else absent("the GPU vanished")


def _other_runs(folder: Path) -> list[str]:
    """Runs that have begun without queueing, for instance those of another version of kit."""
    inside = folder.parent.name == INFLIGHT
    store = Store(folder.parent.parent if inside else folder)
    queued = {folder.name, *(place.run for place in queue.places())}
    begun = (p.parent.name for p in store.inflight.glob(f"*/{events.FILE}"))
    return [run for run in begun if run not in queued and store.is_alive(run)]


def _queue(folder: Path) -> list[str]:
    """The runs before a run that would begin now; none for a run in flight."""
    inside = folder.parent.name == INFLIGHT
    return [] if inside else [queue.label(place) for place in queue.places()]
