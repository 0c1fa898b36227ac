"""A pipeline of Diffusers: its index names the parts, each in a folder of its own.

Names and index may be anyone's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from kit.core.errors import UsageError
from kit.machine.weights import shards

INDEX = "model_index.json"
_PART_TENSORS = re.compile(r"(diffusion_pytorch_)?model(-\d+-of-\d+)?\.safetensors")


def files_of(sizes: Mapping[str, int], index: Mapping[str, Any], where: str) -> list[str]:
    """Names of a pipeline's index, and of each part's configuration and weights, index first.

    Without a safety checker, and without weights of another precision that lie beside the usual
    ones. Arguments as of
    `kit.machine.weights.own.model_files`; a name has the part's folder before it.

    Raises:
        UsageError: a part that the index names is not there, or in another precision alone; or it
            names none.
    """
    chosen = [INDEX]
    for part in parts(index):
        inside = sorted(name for name in sizes if name.rpartition("/")[0] == part)
        tensors = [n for n in inside if _PART_TENSORS.fullmatch(n.rpartition("/")[2])]
        kept = [name for name in inside if name.endswith(shards.BESIDE) and sizes[name]]
        weighs = any(name.endswith((".safetensors", ".bin")) for name in inside)
        if not kept or (weighs and not tensors):
            raise UsageError(
                f"{where} lacks {part}, which {INDEX} names, or has it in another precision or "
                "format alone",
                "take one with plain safetensors (no `fp16` in their names) in every part",
            )
        if missing := shards.lacking(name.rpartition("/")[2] for name in tensors):
            raise UsageError(f"{where} lacks {part}/{missing}", "fetch the pipeline's files again")
        chosen += [*kept, *tensors]
    if not any(name.endswith(".safetensors") for name in chosen):
        raise UsageError(
            f"{INDEX} of {where} names no part that has safetensors",
            "fetch the pipeline's files again, as safetensors",
        )
    return chosen


def parts(index: Mapping[str, Any]) -> list[str]:
    """The parts of a pipeline that are used: those with a library and a class, which have a folder
    of their own."""
    return sorted(
        part
        for part, made_of in index.items()
        if isinstance(made_of, list)
        and all(isinstance(word, str) for word in made_of)
        and part != "safety_checker"
        and shards.is_plain(part)
    )
