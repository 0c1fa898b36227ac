"""What runtimes on PyTorch have in common: their device, and an environment for exact repeats."""

from __future__ import annotations

from typing import Any

from kit.core.model import Problem, RunSpec
from kit.spec.runtimes.contract import QUIET, option

ENVIRONMENT = {
    **QUIET,
    "TOKENIZERS_PARALLELISM": "false",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # cuBLAS's fixed order of summation
}


def device_option() -> dict[str, Any]:
    """The option ``device``."""
    return option(
        "string",
        "auto",
        "Where it runs; auto is the GPU where the spec asks for one, else the CPU.",
        enum=["auto", "cpu", "cuda"],
    )


def device(spec: RunSpec) -> str:
    """``cpu`` or ``cuda``, as the server's arguments say: it does not choose by itself."""
    chosen = str(spec.runtime.options["device"])
    return chosen if chosen != "auto" else "cuda" if spec.devices.gpus else "cpu"


def device_problems(spec: RunSpec, several: bool = False) -> list[Problem]:
    """Problem: the device and the GPUs that are asked for do not belong together; without
    ``several``, more than one of them."""
    chosen, gpus = spec.runtime.options["device"], spec.devices.gpus
    if chosen == "cuda" and not gpus:
        message, remedy = "the device cuda needs a GPU, and the spec asks for none", "1"
    elif chosen == "cpu" and gpus:
        message, remedy = f"the device cpu leaves {gpus} GPU(s) asked for idle", "0"
    elif gpus > 1 and not several:
        message, remedy = f"{spec.runtime.name} runs on one GPU; the spec asks for {gpus}", "1"
    else:
        return []
    return [Problem("$.devices.gpus", message, f"set gpus to {remedy}, or choose another device")]
