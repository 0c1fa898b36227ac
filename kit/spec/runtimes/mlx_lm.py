"""mlx-lm's OpenAI-compatible server, on CUDA or on a CPU.

kit's image runs on the CPU. For a GPU a spec names your own by digest, with MLX's CUDA build; its
entry point is ``mlx_lm.server``. Metal cannot be reached from a container.

What it cannot do, seen in its source (0.32.2): it ignores ``ignore_eos``, so that answers may end
early; it has no limit of context, so that ``context`` only holds the answer's length against the
spec; a request with a seed is never batched, so that only a run with one request at a time sends
one. Its prompt cache is given no room, and answers say how many tokens were cached.

On CUDA it compiles kernels as they are needed, and keeps them in a /tmp from which they may run.
"""

from __future__ import annotations

from typing import Any

from kit.core.model import Problem, Repeat, RunSpec
from kit.core.prompt import Prompt
from kit.spec.runtimes.contract import (
    ANY_ADDRESS,
    QUIET,
    WEIGHTS,
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

_MODEL = "default_model"  # the one that --model names; any other name would be looked for on a hub


class MlxLm(Runtime):
    name = "mlx-lm"
    title = "mlx-lm server (safetensors models; answers end where the model ends them)"
    recipe = "mlx-lm"
    gpu = False
    port = 8080
    ready_path = "/health"
    effective_paths = ("/v1/models",)
    equal_work = False
    streams_usage = True
    recount = None
    real = True
    loads = ("safetensors",)
    scratch_bytes = 1 << 30
    repeat = Repeat(
        kind="sampled",
        why=(
            "Measured: containers on a CPU gave the same texts, two of them on an H100 five of six."
        ),
    )
    options_schema = options_schema(
        api=api_option(),
        context=context_option("Longest prompt and answer together, in tokens; kept by the spec."),
        prefill_step=option(
            "integer",
            2048,
            "Most tokens of a prompt in one step.",
            minimum=16,
            maximum=1 << 20,
        ),
        kv_bits=option(
            ["integer", "null"],
            None,
            "Bits of a quantised key or value, one request at a time; null for not quantised.",
            enum=[2, 3, 4, 6, 8, None],
        ),
    )

    def argv(self, spec: RunSpec, listen: str = ANY_ADDRESS) -> tuple[str, ...]:
        options, slots = spec.runtime.options, spec.arrivals.concurrency
        return flags(
            {
                "model": WEIGHTS,
                "host": listen,
                "port": self.port,
                "decode-concurrency": slots,
                "prompt-concurrency": slots,
                "prefill-step-size": options["prefill_step"],
                "kv-bits": options["kv_bits"],
                "prompt-cache-size": 0,
                "log-level": "WARNING",
            }
        )

    def env(self, spec: RunSpec) -> dict[str, str]:  # noqa: ARG002 the same for every spec
        """Variables that forbid downloads and telemetry, and put caches where they can run."""
        return {
            **QUIET,
            "HF_HUB_CACHE": "/tmp",  # noqa: S108 /v1/models fails where this folder is not there
            "TOKENIZERS_PARALLELISM": "false",
            "MLX_MPI_LIBNAME": "none",  # an image's Open MPI would look for ssh, and end the server
            "MLX_PTX_CACHE_DIR": "/tmp/mlx",  # noqa: S108
            "XDG_CACHE_HOME": "/tmp/cache",  # noqa: S108
        }

    def request(self, spec: RunSpec, prompt: Prompt, index: int) -> tuple[str, dict[str, Any]]:
        extra = {
            "model": _MODEL,
            "stream_options": {"include_usage": True},
            "top_k": spec.sampling.top_k,
            "min_p": 0.0,
            "repetition_penalty": 0.0,
        }
        path, body = openai_request(spec, prompt, index, extra)
        if spec.arrivals.concurrency > 1:
            del body["seed"]
        return path, body

    def problems(self, spec: RunSpec) -> list[Problem]:
        return [
            *folder_problems(spec),
            *image_problems(self, spec),
            *context_problems(spec, spec.runtime.options["context"]),
            *_batch_problems(spec),
        ]


def _batch_problems(spec: RunSpec) -> list[Problem]:
    """Problems: what mlx-lm does for one request at a time alone, and more GPUs than one."""
    problems = []
    if spec.arrivals.concurrency > 1 and spec.sampling.temperature:
        message = "mlx-lm cannot batch requests that have a seed"
        remedy = "set temperature to 0, or concurrency to 1"
        problems.append(Problem("$.sampling.temperature", message, remedy))
    if spec.arrivals.concurrency > 1 and spec.runtime.options["kv_bits"]:
        message = "mlx-lm does not batch with quantised keys and values"
        remedy = "set kv_bits to null, or concurrency to 1"
        problems.append(Problem("$.runtime.options.kv_bits", message, remedy))
    if spec.devices.gpus > 1:
        message = f"mlx-lm runs on one GPU; the spec asks for {spec.devices.gpus}"
        problems.append(Problem("$.devices.gpus", message, "set gpus to 1"))
    return problems


RUNTIME = MlxLm()
