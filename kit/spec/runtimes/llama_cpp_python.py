"""llama-cpp-python's OpenAI-compatible server.

Differences from llama-server, seen in its source (0.3.36) and in use: it serves one
request at a time; ``ignore_eos`` is not honoured, so answers may end early; its streams carry no
token counts (they are asked for afterwards); by default a second request would cut the first one
short, which is switched off; it reuses the prefix of the request before, so that a repeated
prompt may change its text (give each prompt a unique beginning). The count asked for afterwards is
of the text tokenised again, with a leading BOS where the model adds one.
"""

from __future__ import annotations

from typing import Any

from kit.core.model import Problem, Repeat, RunSpec
from kit.core.prompt import Prompt
from kit.spec.runtimes.contract import (
    ANY_ADDRESS,
    MODEL_NAME,
    WEIGHTS,
    Runtime,
    api_option,
    context_option,
    context_problems,
    flags,
    gguf_problems,
    image_problems,
    openai_request,
    option,
    options_schema,
    the_gguf,
)


class LlamaCppPython(Runtime):
    name = "llama-cpp-python"
    title = "llama-cpp-python server (GGUF models, one request at a time)"
    recipe = "llama-cpp-python"
    gpu = False
    port = 8000
    ready_path = "/v1/models"
    effective_paths = ("/v1/models",)
    equal_work = False
    streams_usage = False
    recount = {"path": "/extras/tokenize/count", "text_key": "input", "count_key": "count"}
    real = True
    loads = ("gguf",)
    repeat = Repeat(
        kind="exact",
        why=(
            "Measured: two containers on a CPU gave the same texts, where each prompt begins with "
            "words of its own."
        ),
    )
    options_schema = options_schema(
        api=api_option(),
        context=context_option("Context in tokens: prompt and answer together."),
        threads=option(
            "integer",
            2,
            "Threads that decode and prefill. Always said: left alone, the server takes half of "
            "the machine's CPUs, whatever the container may use.",
            minimum=1,
            maximum=1024,
        ),
        batch=option("integer", 512, "Logical batch in tokens.", minimum=1, maximum=1 << 20),
        flash_attention=option("boolean", False, "Flash attention kernels."),
        gpu_layers=option(
            ["integer", "null"],
            None,
            "Layers kept on the GPU; null for all where the spec asks for GPUs, else none.",
            minimum=0,
            maximum=999,
        ),
    )

    def argv(self, spec: RunSpec, listen: str = ANY_ADDRESS) -> tuple[str, ...]:
        options, model = spec.runtime.options, the_gguf(spec)
        layers = options["gpu_layers"]
        if layers is None:
            layers = -1 if spec.devices.gpus else 0
        return flags(
            {
                "model": f"{WEIGHTS}/{model.path}" if model else None,
                "model_alias": MODEL_NAME,
                "host": listen,
                "port": self.port,
                "n_ctx": options["context"],
                "n_threads": options["threads"],
                "n_threads_batch": options["threads"],
                "n_batch": options["batch"],
                "flash_attn": str(options["flash_attention"]).lower(),
                "n_gpu_layers": layers,
                "seed": spec.sampling.seed,
                "interrupt_requests": "false",
                "disable_ping_events": "true",
            }
        )

    def env(self, spec: RunSpec) -> dict[str, str]:  # noqa: ARG002 the same for every spec
        return {"HOME": "/tmp"}  # noqa: S108 the container's

    def request(self, spec: RunSpec, prompt: Prompt, index: int) -> tuple[str, dict[str, Any]]:
        extra = {"top_k": spec.sampling.top_k, "min_p": 0.0, "repeat_penalty": 1.0}
        return openai_request(spec, prompt, index, extra)

    def problems(self, spec: RunSpec) -> list[Problem]:
        problems = [
            *gguf_problems(spec),
            *image_problems(self, spec),
            *context_problems(spec, spec.runtime.options["context"]),
        ]
        if spec.arrivals.concurrency > 1:
            problems.append(
                Problem(
                    "$.arrivals.concurrency",
                    "llama-cpp-python serves one request at a time",
                    "set concurrency to 1, or use llama-server",
                )
            )
        return problems


RUNTIME = LlamaCppPython()
