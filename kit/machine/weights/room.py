"""Whether a model fits on this machine: memory, GPU memory and disk. Sizes are *estimated*."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from kit.machine.host import gpus, system
from kit.machine.weights.own import OwnModel

# A server's own memory beside weights and KV cache: buffers, and for PyTorch its libraries; for a
# pipeline, what an image takes on its way.
_OWN = {"gguf": 512 << 20, "safetensors": 2 << 30, "pipeline": 3 << 30}
_UNKNOWN_KV = 0.25  # of the weights, where a file does not say its shape
_LEAST_DISK = 1 << 30  # for an image and the records of some runs
FACTOR = 1.25  # preflight wants the limit at least 1.2 times the weights


class Room(NamedTuple):
    """What this machine has, bytes; None where it cannot be read."""

    memory: int | None
    gpus: tuple[int, ...]
    disk: int


def of_this_machine(folder: Path) -> Room:
    """Available memory, the memory of each GPU, and what is free on the disk of ``folder``."""
    available = system.memory().get("available_bytes")
    _, cards = gpus.facts()
    sizes = (c.get("memory_total_bytes") for c in cards.values() if isinstance(c, dict))
    place = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    return Room(
        available if isinstance(available, int) else None,
        tuple(size for size in sizes if isinstance(size, int)),
        shutil.disk_usage(place).free,
    )


def needed(model: OwnModel, context: int, slots: int) -> int:
    """Estimated memory of the model's server, bytes.

    weights · 1 + KV cache of every slot + the server's own. An upper estimate for models that do
    not attend to everything in every layer.
    """
    kv = model.shape.kv_bytes
    cache = int(model.size * _UNKNOWN_KV) if kv is None else kv * context * slots
    return model.size + cache + _OWN[model.kind]


def warnings(model: OwnModel, context: int, slots: int, gpus: int, room: Room) -> Iterator[str]:
    """What will not fit, each a sentence with its numbers and a remedy."""
    need = needed(model, context, slots)
    what = f"an estimated {_gb(need)} with {slots} answer{'s' if slots > 1 else ''} at once"
    if gpus and room.gpus and need > max(room.gpus):
        yield (
            f"the model needs {what}, and the largest GPU has {_gb(max(room.gpus))}: "
            "take a smaller quantisation or context"
        )
    if not gpus and room.memory is not None and need > room.memory:
        yield (
            f"the model needs {what}, and {_gb(room.memory)} of memory are available: "
            "end other programs, or take a smaller quantisation or context"
        )
    if room.disk < _LEAST_DISK:
        yield (
            f"only {_gb(room.disk)} are free on the disk of runs, and an image and records need "
            f"an estimated {_gb(_LEAST_DISK)}: free some space"
        )


def _gb(size: Any) -> str:
    return f"{size / 1e9:.3g} GB"
