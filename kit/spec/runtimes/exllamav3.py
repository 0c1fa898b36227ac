"""exllamav3 behind kit's thin server (`images/exllamav3`); GPUs only.

kit locks no image for it: it is compiled against the CUDA and the PyTorch of an image, so that a
spec names your own image by digest, made from the files of `images/exllamav3`; its entry point is
``serve.py``. Where the image holds no compiled extension, it is compiled at start, which takes a
compiler and minutes: such an image is better made with the extension in it.

It decodes ``concurrency`` requests together, once they are all there.
"""

from __future__ import annotations

from typing import Any

from kit.core.model import Problem, Repeat, RunSpec
from kit.core.prompt import Prompt
from kit.spec.runtimes.contract import (
    ANY_ADDRESS,
    MODEL_NAME,
    QUIET,
    WEIGHTS,
    PromptIds,
    Runtime,
    api_option,
    context_option,
    context_problems,
    flags,
    folder_problems,
    image_problems,
    openai_request,
    option,
    options_schema,
)


class Exllamav3(Runtime):
    name = "exllamav3"
    title = "exllamav3 (EXL3 or unquantised safetensors; GPUs only)"
    recipe = None
    gpu = True
    port = 8080
    ready_path = "/health"
    effective_paths = ("/props", "/v1/models")
    equal_work = True
    streams_usage = True
    recount = None
    real = True
    loads = ("safetensors",)
    scratch_bytes = 2 << 30
    prompt_ids = PromptIds("/tokenize")
    repeat = Repeat(
        kind="sampled",
        why="Nobody measured it: each of the runs that kit's makers kept is of other work.",
    )
    options_schema = options_schema(
        api=api_option(),
        context=context_option("Longest prompt and answer together, in tokens; more is refused."),
        cache_bits=option(
            ["integer", "null"],
            None,
            "Bits of a quantised key or value; null for 16, not quantised.",
            enum=[2, 3, 4, 5, 6, 7, 8, None],
        ),
    )

    def argv(self, spec: RunSpec, listen: str = ANY_ADDRESS) -> tuple[str, ...]:
        options = spec.runtime.options
        return flags(
            {
                "model": WEIGHTS,
                "alias": MODEL_NAME,
                "max-context": options["context"],
                "batch": spec.arrivals.concurrency,
                "cache-bits": options["cache_bits"],
                "host": listen,
                "port": self.port,
            }
        )

    def env(self, spec: RunSpec) -> dict[str, str]:  # noqa: ARG002 the same for every spec
        """Variables that put caches where they can run."""
        return {
            **QUIET,
            "TOKENIZERS_PARALLELISM": "false",
            "TORCH_EXTENSIONS_DIR": "/tmp/extensions",  # noqa: S108 the container's
            "TRITON_CACHE_DIR": "/tmp/triton",  # noqa: S108 the container's
        }

    def request(self, spec: RunSpec, prompt: Prompt, index: int) -> tuple[str, dict[str, Any]]:
        extra = {
            "stream_options": {"include_usage": True},
            "top_k": spec.sampling.top_k,
            "ignore_eos": spec.sampling.ignore_eos,
        }
        return openai_request(spec, prompt, index, extra)

    def problems(self, spec: RunSpec) -> list[Problem]:
        return [
            *folder_problems(spec),
            *image_problems(self, spec),
            *context_problems(spec, spec.runtime.options["context"]),
            *_gpu_problems(spec),
        ]


def _gpu_problems(spec: RunSpec) -> list[Problem]:
    gpus = spec.devices.gpus
    if gpus == 1:
        return []
    asked = "the spec asks for none" if not gpus else f"the spec asks for {gpus}"
    return [Problem("$.devices.gpus", f"exllamav3 runs on one GPU; {asked}", "set gpus to 1")]


RUNTIME = Exllamav3()
