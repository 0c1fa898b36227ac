"""The container engine; the only package that imports docker-py.

`connect` finds the local engine or reports what is missing. `Engine` gives the engine's facts and
an image's identity, and makes containers and networks with kit's labels; `reap` removes those of
dead runs. Every error of docker-py becomes a `KitError` here.
"""

from kit.machine.containers.container import (
    LOG_DRIVER,
    LOG_FILE_MIB,
    Container,
    ContainerConfig,
    Exit,
    environment,
    log_limits,
    tmpfs,
)
from kit.machine.containers.engine import Engine, connect
from kit.machine.containers.enginefacts import (
    EGRESS,
    facts_of,
    gpu_device_ids,
    gpu_request,
    identity,
    network_plan,
    shifts_users,
)
from kit.machine.containers.faults import Missing
from kit.machine.containers.logs import KeptLog
from kit.machine.containers.owners import labels

__all__ = (
    "EGRESS",
    "LOG_DRIVER",
    "LOG_FILE_MIB",
    "Container",
    "ContainerConfig",
    "Engine",
    "Exit",
    "KeptLog",
    "Missing",
    "connect",
    "environment",
    "facts_of",
    "gpu_device_ids",
    "gpu_request",
    "identity",
    "labels",
    "log_limits",
    "network_plan",
    "shifts_users",
    "tmpfs",
)
