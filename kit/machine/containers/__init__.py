"""The container engine, and the only room that imports docker-py.

`connect` finds the local engine or says what is missing. `Engine` answers what the engine is
(`facts`), what an image is (`image`), and makes containers and networks that carry kit's labels;
`reap` removes those whose run is dead. Every failure of docker-py leaves here as a `KitError`.
"""

from kit.machine.containers.container import (
    LOG_DRIVER,
    LOG_LIMITS,
    TMPFS,
    Container,
    ContainerConfig,
    Exit,
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
    "LOG_LIMITS",
    "TMPFS",
    "Container",
    "ContainerConfig",
    "Engine",
    "Exit",
    "KeptLog",
    "Missing",
    "connect",
    "facts_of",
    "gpu_device_ids",
    "gpu_request",
    "identity",
    "labels",
    "network_plan",
    "shifts_users",
)
