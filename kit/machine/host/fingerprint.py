"""The environment as sealed: anonymous `fingerprint`, and the `identity` that is withheld.

The fingerprint's form (every leaf may be ``{"absent": reason}``)::

    kernel   release version architecture
    os       id name version
    machine  vendor product firmware
    cpu      model vendor microcode sockets cores threads usable isa[] virtual numa_nodes smt
             frequency{governors[] driver minimum_khz maximum_khz boost}
    memory   total_bytes available_bytes swap_total_bytes swap_free_bytes
    load     one_minute five_minutes fifteen_minutes
    cgroup   1 | 2
    clock    synchronised maximum_error_us source
    docker   the engine's facts, without its endpoint's address
    nvidia   driver cuda_driver nvml
    gpus     gpu0: see `kit.machine.host.gpus`
    kit      version python
"""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

from kit import __version__
from kit.machine.host import gpus, system
from kit.machine.host.kernelfiles import absent, is_absent

# The publishable facts of an engine. Names and paths (its host, its socket, a profile)
# and CDI device names, which can be UUIDs, stay out because they are not listed.
_PUBLIC_ENGINE_FACTS = (
    "engine",
    "version",
    "api_version",
    "endpoint_source",
    "ncpu",
    "memory_bytes",
    "storage_driver",
    "image_store",
    "cgroup_driver",
    "cgroup_version",
    "default_runtime",
    "rootless",
    "bridges",
    "gpu",
)


def fingerprint(engine_facts: dict[str, Any] | None, root: Path = system.ROOT) -> dict[str, Any]:
    """The publishable facts of this machine now; see the module's docstring for the form.

    Args:
        engine_facts: `kit.machine.containers.Engine.facts()`, or None when no engine answered.
        root: the file system's root (a test hands a tree of files).
    """
    nvidia, boards = gpus.facts()
    return {
        "kernel": system.kernel(),
        "os": system.distribution(),
        "machine": system.machine(root),
        "cpu": system.cpu(root),
        "memory": system.memory(root),
        "load": system.load(root),
        "cgroup": system.cgroup(root),
        "clock": system.clock(root),
        "docker": _engine(engine_facts),
        "nvidia": nvidia,
        "gpus": boards,
        "kit": {"version": __version__, "python": platform.python_version()},
    }


def identity() -> dict[str, Any]:
    """The identity of this machine: host name, and each GPU's UUID and bus address by alias."""
    return {"host": os.uname().nodename, "gpus": gpus.identities()}


def _engine(facts: dict[str, Any] | None) -> dict[str, Any]:
    if facts is None:
        return absent("no container engine answered")
    if is_absent(facts):
        return facts
    public = {key: facts[key] for key in _PUBLIC_ENGINE_FACTS if key in facts}
    options = (str(option).partition(",")[0] for option in facts.get("security_options", ()))
    return {**public, "security_options": sorted(set(options))}
