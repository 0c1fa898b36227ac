"""What runtimes have in common whose engine stands behind kit's thin server (`images/server`).

They run one request after another, on the CPU with as many threads as the container has CPUs, or
as the spec says; where kit has an image with GPU code, on one GPU. Prompts are never cached. The
server counts token ids, shows them on /tokenize, and never chooses a token that ends a text where
``ignore_eos`` is asked for, so that exactly ``max_tokens`` are generated.
"""

from __future__ import annotations

from typing import Any

from kit.core.model import Problem, RunSpec
from kit.core.prompt import Prompt
from kit.spec.runtimes.contract import (
    ANY_ADDRESS,
    MODEL_NAME,
    QUIET,
    WEIGHTS,
    PromptIds,
    Runtime,
    context_problems,
    flags,
    image_problems,
    openai_request,
    option,
    the_gguf,
)


class Thin(Runtime):
    """Facts and functions of such a runtime; it adds its name, options and what it loads."""

    gpu = False
    port = 8080
    ready_path = "/health"
    effective_paths = ("/props", "/v1/models")
    equal_work = True
    streams_usage = True
    recount = None
    real = True
    prompt_ids = PromptIds("/tokenize")

    def engine_flags(self, spec: RunSpec) -> dict[str, Any]:
        """The engine's own flags."""
        raise NotImplementedError

    def weight_problems(self, spec: RunSpec) -> list[Problem]:
        """Problems: the model's files are not of its kind."""
        raise NotImplementedError

    def argv(self, spec: RunSpec, listen: str = ANY_ADDRESS) -> tuple[str, ...]:
        gguf = the_gguf(spec)
        return flags(
            {
                "model": f"{WEIGHTS}/{gguf.path}" if gguf else WEIGHTS,
                "alias": MODEL_NAME,
                "max-context": spec.runtime.options["context"],
                **self.engine_flags(spec),
                "host": listen,
                "port": self.port,
            }
        )

    def env(self, spec: RunSpec) -> dict[str, str]:  # noqa: ARG002 the same for every spec
        """Variables that forbid downloads and telemetry."""
        return dict(QUIET)

    def request(self, spec: RunSpec, prompt: Prompt, index: int) -> tuple[str, dict[str, Any]]:
        extra = {
            "stream_options": {"include_usage": True},
            "top_k": spec.sampling.top_k,
            "ignore_eos": spec.sampling.ignore_eos,
        }
        return openai_request(spec, prompt, index, extra)

    def problems(self, spec: RunSpec) -> list[Problem]:
        return [
            *self.weight_problems(spec),
            *(self._gpu_problems(spec) or image_problems(self, spec)),
            *context_problems(spec, spec.runtime.options["context"]),
            *queue_problems(spec),
        ]

    def _gpu_problems(self, spec: RunSpec) -> list[Problem]:
        """Problem: GPUs that would be idle whatever the image."""
        gpus, most = spec.devices.gpus, 1 if self.gpu_recipe else 0
        if gpus <= most:
            return []
        where = "on one GPU" if most else "on the CPU here"
        message = f"{self.name} runs {where}; the spec asks for {gpus} GPU(s)"
        return [Problem("$.devices.gpus", message, f"set gpus to {most}, or use another runtime")]


def threads_option() -> dict[str, Any]:
    """The option ``threads``. More threads than CPUs wait for one another, and work for minutes."""
    return option(
        ["integer", "null"],
        None,
        "Threads that compute; null for as many as the container has CPUs.",
        minimum=1,
        maximum=1024,
    )


def queue_problems(spec: RunSpec) -> list[Problem]:
    """Problem: several requests at once."""
    if spec.arrivals.concurrency == 1:
        return []
    return [
        Problem(
            "$.arrivals.concurrency",
            f"{spec.runtime.name} serves one request at a time",
            "set concurrency to 1, or use a runtime that batches",
        )
    ]


def sampling_problems(spec: RunSpec) -> list[Problem]:
    """Problem: drawn tokens, where no seed can be given."""
    if spec.sampling.temperature == 0:
        return []
    return [
        Problem(
            "$.sampling.temperature",
            f"{spec.runtime.name} takes no seed: what it draws cannot be repeated",
            "set temperature to 0, or use another runtime",
        )
    ]


def converted_problems(spec: RunSpec, needed: tuple[str, ...], convert: str) -> list[Problem]:
    """Problem: the files are not those of a model converted to the runtime's own format."""
    files = spec.weights.files if spec.weights else ()
    lacking = [name for name in needed if name not in {file.path for file in files}]
    if not lacking:
        return []
    number = "none" if spec.weights is None else f"{len(files)} file(s) without {lacking[0]}"
    return [
        Problem(
            "$.weights",
            f"{spec.runtime.name} loads a converted model: {', '.join(needed)}; the spec gives "
            f"{number}",
            convert,
        )
    ]
