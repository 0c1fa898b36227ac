"""A first run spec for a model of one's own: the template, with all that follows from the model.

It passes `kit check` as it is. What is estimated only decides where kit gives up.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from kit.core import jsonio, resources
from kit.core.errors import UsageError
from kit.machine import images
from kit.machine.weights import room
from kit.machine.weights.own import OwnModel
from kit.machine.weights.room import Room
from kit.spec import runtimes
from kit.spec.runtimes import Runtime

TEMPLATE = "quickstart"
# Memory and requests suffice for as many answers at once, so that one file serves several levels.
SLOTS = 16
_CONTEXT, _OUTPUT, _LEAST_CONTEXT = 1024, 48, 16
_IMAGES = 4  # of a first run
_LONGEST_NAME = 56  # leaves room for a level's suffix
_MIB, _STEP_MIB, _MOST_MIB = 1 << 20, 256, 8_388_608
_SLOW_DISK, _SLOW_MEMORY = 1e8, 2e9  # bytes/s: a slow machine is given up late
_LONGEST_S, _LONGEST_RUN_S = 86_400, 604_800
_PLAIN = "transformers"  # one request at a time but for batches


def runtime_for(model: OwnModel) -> Runtime:
    """The first runtime that loads the model's kind."""
    known = (runtimes.get(name) for name in runtimes.names())
    for runtime in known:
        if model.kind in runtime.loads:
            return runtime
    raise UsageError(f"no runtime loads {model.kind}", "see `kit schema runtimes`")


def spec_for(model: OwnModel, here: Room) -> dict[str, Any]:
    """The document of a ``kit.run-spec/1``: template, weights, image and limits filled in.

    A GPU is asked for where there is one and the runtime can use it.
    """
    runtime = runtime_for(model)
    gpus = 1 if here.gpus and (runtime.gpu or runtime.gpu_recipe) else 0
    document: dict[str, Any] = jsonio.read(resources.specs_dir() / f"{TEMPLATE}.json")
    work = _images(document, runtime) if runtime.makes == "image" else _texts(model, runtime)
    slots = 1 if runtime.name == _PLAIN or runtime.makes == "image" else SLOTS
    document |= {
        "name": slug(model.files[0].path if model.kind == "gguf" else model.name),
        "description": f"{model.name} in {runtime.name}, begun from the model's own files.",
        "image": _image(runtime, gpus),
        "weights": model.weights,
        # Texts may differ where answers are batched: a replay is held to the run's own agreement.
        "determinism": "sampled",
        "limits": _limits(model, _context(model), slots, document["launches"]),
        **work,
    }
    return document | ({"devices": {"gpus": gpus}} if gpus else {})


def _texts(model: OwnModel, runtime: Runtime) -> dict[str, Any]:
    """Settings of a run of texts."""
    context = _context(model)
    options = {"requests": SLOTS, "max_output_tokens": min(_OUTPUT, context // 2)}
    return {
        "runtime": {"name": runtime.name, "options": {"context": context}},
        "workload": {"name": "prompts", "options": options},
    }


def _images(document: Mapping[str, Any], runtime: Runtime) -> dict[str, Any]:
    """Settings of a run of images; the seed is all that their sampling has."""
    return {
        "runtime": {"name": runtime.name},
        "workload": {"name": "images", "options": {"requests": _IMAGES}},
        "sampling": {"seed": document["sampling"]["seed"]},
        "primary_metric": "outputs",
    }


def warnings(model: OwnModel, document: dict[str, Any], here: Room) -> list[str]:
    """What will not fit on this machine."""
    gpus = document.get("devices", {}).get("gpus", 0)
    context = document["runtime"].get("options", {}).get("context", 0)
    return list(room.warnings(model, context, 1, gpus, here))


def slug(name: str) -> str:
    """A name as specs have it: lower-case letters, digits and hyphens."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.rpartition("/")[2].lower().removesuffix(".gguf"))
    return plain.strip("-")[:_LONGEST_NAME].strip("-") or "model"


def _context(model: OwnModel) -> int:
    return max(_LEAST_CONTEXT, min(_CONTEXT, model.shape.context or _CONTEXT))


def _image(runtime: Runtime, gpus: int) -> dict[str, str]:
    """kit's own image for a runtime, the one with GPU code if GPUs are asked for."""
    recipe = runtime.gpu_recipe if gpus and runtime.gpu_recipe else runtime.recipe
    digest = images.recipe(recipe).image_id if recipe else ""
    if not recipe or not digest:
        raise UsageError(f"the image {recipe} is not locked", f"`kit images lock {recipe}`")
    return {"recipe": recipe, "digest": digest}


def _limits(model: OwnModel, context: int, slots: int, launches: int) -> dict[str, int]:
    """Where kit gives up: memory as estimated, times as a slow machine would need."""
    bytes_ = max(room.needed(model, context, slots), int(model.size * room.FACTOR))
    ready_s = min(_LONGEST_S, 60 + math.ceil(model.size / _SLOW_DISK))
    request_s = min(_LONGEST_S, 60 + math.ceil(slots * _OUTPUT * model.size / _SLOW_MEMORY))
    return {
        "ready_s": ready_s,
        "request_s": request_s,
        "run_s": min(_LONGEST_RUN_S, 900 + launches * (ready_s + SLOTS * request_s)),
        "memory_mib": min(_MOST_MIB, _rounded(bytes_)),
    }


def _rounded(size: int) -> int:
    return max(1024, _STEP_MIB * math.ceil(size / _MIB / _STEP_MIB))
