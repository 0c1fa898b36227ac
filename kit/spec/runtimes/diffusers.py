"""Hugging Face Diffusers on PyTorch, behind kit's thin server (`images/server`): images of texts.

Its weights are a pipeline's folder: model_index.json, and a folder for each part with its
safetensors (Stable Diffusion 1.5, 2.1, XL, 3.5, …). The scheduler is the one that the folder names,
and no safety checker is loaded. A request's images are made as one batch, one request after
another; the first noise is drawn on the CPU from the request's seed, the same for every device.

kit has an image for CPUs and one with CUDA. Where the driver is too old for that one, a spec names
your own by digest, made from the files of `images/diffusers`; its entry point is ``serve.py``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from kit.core.limits import MOST_PIXELS
from kit.core.model import Makes, Problem, Repeat, RunSpec
from kit.core.prompt import Prompt
from kit.spec.runtimes.contract import (
    ANY_ADDRESS,
    MODEL_NAME,
    WEIGHTS,
    PromptIds,
    Runtime,
    flags,
    image_problems,
    option,
    options_schema,
)
from kit.spec.runtimes.pytorch import ENVIRONMENT, device, device_option, device_problems
from kit.spec.runtimes.thin import converted_problems, queue_problems

_INDEX = "model_index.json"
_MULTIPLE = 8  # a latent is so many pixels wide; some pipelines want more, and say so themselves
_SAMPLING = {"temperature": 0.0, "top_p": 1.0, "top_k": 0, "ignore_eos": True}


class Diffusers(Runtime):
    name = "diffusers"
    title = "Hugging Face Diffusers on PyTorch (images; one request at a time)"
    recipe = "diffusers"
    gpu_recipe = "diffusers-cuda"
    gpu = False
    port = 8080
    ready_path = "/health"
    effective_paths = ("/props", "/v1/models")
    makes: Makes = "image"
    equal_work = True
    streams_usage = True
    recount = None
    real = True
    loads = ("pipeline",)
    repeat = Repeat(
        kind="exact",
        why=(
            "Measured: two launches on a CPU, two on an H100 and a replay on a CPU gave the same "
            "image files; PyTorch's deterministic algorithms are on."
        ),
    )
    prompt_ids = PromptIds("/tokenize")
    options_schema = options_schema(
        dtype=option(
            "string",
            "auto",
            "What is computed in; auto is bfloat16 on a GPU, float32 on a CPU.",
            enum=["auto", "bfloat16", "float16", "float32"],
        ),
        device=device_option(),
    )

    def argv(self, spec: RunSpec, listen: str = ANY_ADDRESS) -> tuple[str, ...]:
        return flags(
            {
                "model": WEIGHTS,
                "alias": MODEL_NAME,
                "device": device(spec),
                "dtype": spec.runtime.options["dtype"],
                "host": listen,
                "port": self.port,
            }
        )

    def env(self, spec: RunSpec) -> dict[str, str]:  # noqa: ARG002 the same for every spec
        """Variables that forbid downloads and telemetry, and make the arithmetic deterministic."""
        return dict(ENVIRONMENT)

    def request(self, spec: RunSpec, prompt: Prompt, index: int) -> tuple[str, dict[str, Any]]:
        """OpenAI's images API; each image of a request has a seed of its own, from this one on."""
        wanted = prompt.picture
        assert wanted is not None, "a spec's workload asks for what its runtime makes"
        return "/v1/images/generations", {
            "model": MODEL_NAME,
            "prompt": prompt.text,
            "n": wanted.images,
            "size": f"{wanted.width}x{wanted.height}",
            "response_format": "b64_json",
            "num_inference_steps": wanted.steps,
            "guidance_scale": wanted.guidance,
            "seed": spec.sampling.seed + index * wanted.images,
        }

    def problems(self, spec: RunSpec) -> list[Problem]:
        return [
            *converted_problems(
                spec, (_INDEX,), "name every file of the pipeline's folder, by its path in it"
            ),
            *image_problems(self, spec),
            *device_problems(spec),
            *_sampling_problems(spec),
            *_size_problems(spec),
            *queue_problems(spec),
        ]


def _sampling_problems(spec: RunSpec) -> list[Problem]:
    """Problem: a setting that chooses among tokens, which images have none of."""
    given = [name for name, usual in _SAMPLING.items() if getattr(spec.sampling, name) != usual]
    return [
        Problem(
            f"$.sampling.{name}",
            f"{name} chooses among tokens, and images have none: it would do nothing",
            f"remove {name}; the seed alone is used",
        )
        for name in given
    ]


def _size_problems(spec: RunSpec) -> Iterator[Problem]:
    """Problems: sides that no pipeline makes, and more pixels than one answer can hold."""
    options = spec.workload.options
    where = "$.workload.options"
    sides = {side: options[side] for side in ("width", "height") if side in options}
    for side, pixels in sides.items():
        if pixels % _MULTIPLE:
            message = f"a {side} of {pixels} pixels is no multiple of {_MULTIPLE}"
            yield Problem(f"{where}.{side}", message, f"take {pixels - pixels % _MULTIPLE or 8}")
    pixels = math.prod((*sides.values(), options.get("images", 1)))
    if pixels > MOST_PIXELS:
        yield Problem(
            f"{where}.images",
            f"the images of one request have {pixels:,} pixels, more than an answer can hold "
            f"({MOST_PIXELS:,})",
            "ask for fewer images in one request, and for more requests",
        )


RUNTIME = Diffusers()
