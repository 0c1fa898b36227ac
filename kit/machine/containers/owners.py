"""Labels of kit's containers and networks, and whether the process that made one still lives.

``kit.run`` is the run's id, ``kit.run.launch`` the launch, ``kit.owner`` the process that made it,
so that another checkout's living run on the same machine is never reaped.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

RUN, LAUNCH, OWNER = "kit.run", "kit.run.launch", "kit.owner"
HOST_NETWORK = "kit.network=host"


def labels(run_id: str, launch: int) -> dict[str, str]:
    """kit's labels for something that belongs to a launch of a run of this process."""
    return {RUN: run_id, LAUNCH: str(launch), OWNER: owner(os.getpid())}


def owner(pid: int) -> str:
    """A unique name of a living process: namespace, pid, start time."""
    try:
        namespace = Path(f"/proc/{pid}/ns/pid").stat().st_ino
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return f"{namespace}:{pid}:{fields[19]}" if fields[0] != "Z" else ""


def is_dead(marks: Mapping[str, str], is_alive: Callable[[str], bool]) -> bool:
    """Whether the run in the labels ``marks`` is dead, and the process that made it gone."""
    if is_alive(marks[RUN]):
        return False
    namespace, _, rest = marks.get(OWNER, "").partition(":")
    ours = owner(os.getpid())
    if not rest or marks[OWNER] == ours:
        return True
    if namespace != ours.partition(":")[0]:
        return False  # its maker is in a namespace that we cannot see
    return owner(int(rest.partition(":")[0])) != marks[OWNER]
