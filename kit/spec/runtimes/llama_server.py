"""llama.cpp's own HTTP server, ``llama-server``.

kit's image for CPUs starts the server that the xllamacpp wheel carries, the one with CUDA the
server that kit compiled. Both take llama-server's own flags, as an upstream image by digest does.

No setting depends on the machine by default: slots, layers and threads are given or follow from
the container's CPUs. Prompts are never cached, so that every request is full work.
"""

from __future__ import annotations

from typing import Any

from kit.core.model import Problem, Repeat, RunSpec
from kit.core.prompt import Prompt
from kit.spec.runtimes.contract import (
    ANY_ADDRESS,
    MODEL_NAME,
    WEIGHTS,
    PromptIds,
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

ALL_LAYERS = 999  # more than any model has; -1 would mean "as many as fit", which varies


class LlamaServer(Runtime):
    name = "llama-server"
    title = "llama.cpp server (GGUF models)"
    recipe = "llama-server"
    gpu_recipe = "llama-server-cuda"
    gpu = False
    port = 8080
    ready_path = "/health"
    effective_paths = ("/props", "/v1/models")
    equal_work = True
    streams_usage = True
    recount = None
    real = True
    loads = ("gguf",)
    prompt_ids = PromptIds(
        "/tokenize", "content", "/apply-template", {"add_special": True, "parse_special": True}
    )
    repeat = Repeat(
        kind="exact",
        why=(
            "Measured: two containers on a CPU and on an H100 gave the same texts; with 16 "
            "requests at once on the H100 3 % of the texts were the same."
        ),
    )
    options_schema = options_schema(
        api=api_option(),
        context=context_option("Context of each slot in tokens: prompt and answer together."),
        threads=option(
            ["integer", "null"],
            None,
            "Threads that decode; null for as many as the container has CPUs.",
            minimum=1,
            maximum=1024,
        ),
        threads_batch=option(
            ["integer", "null"],
            None,
            "Threads that prefill; null for as many as decode.",
            minimum=1,
            maximum=1024,
        ),
        batch=option("integer", 2048, "Logical batch in tokens.", minimum=1, maximum=1 << 20),
        ubatch=option("integer", 512, "Physical batch in tokens.", minimum=1, maximum=1 << 20),
        flash_attention=option(
            "string", "on", "Flash attention kernels.", enum=["on", "off", "auto"]
        ),
        gpu_layers=option(
            ["integer", "null"],
            None,
            "Layers kept on the GPU; null for all where the spec asks for GPUs, else none.",
            minimum=0,
            maximum=ALL_LAYERS,
        ),
    )

    def argv(self, spec: RunSpec, listen: str = ANY_ADDRESS) -> tuple[str, ...]:
        options, model = spec.runtime.options, the_gguf(spec)
        slots = spec.arrivals.concurrency
        layers = options["gpu_layers"]
        if layers is None:
            layers = ALL_LAYERS if spec.devices.gpus else 0
        values = {
            "model": f"{WEIGHTS}/{model.path}" if model else None,
            "alias": MODEL_NAME,
            "host": listen,
            "port": self.port,
            "ctx-size": options["context"] * slots,  # the slots share it
            "parallel": slots,
            "threads": options["threads"],
            "threads-batch": options["threads_batch"],
            "batch-size": options["batch"],
            "ubatch-size": options["ubatch"],
            "flash-attn": options["flash_attention"],
            "n-gpu-layers": layers,
            "seed": spec.sampling.seed,
        }
        upstream = () if spec.image.recipe else ("--cache-ram", "0", "--offline")
        return (*flags(values), "--no-cache-prompt", *upstream)

    def env(self, spec: RunSpec) -> dict[str, str]:  # noqa: ARG002 the same for every spec
        return {"HOME": "/tmp"}  # noqa: S108 the container's

    def request(self, spec: RunSpec, prompt: Prompt, index: int) -> tuple[str, dict[str, Any]]:
        extra = {
            "stream_options": {"include_usage": True},
            "top_k": spec.sampling.top_k,
            "min_p": 0.0,
            "repeat_penalty": 1.0,
            "ignore_eos": spec.sampling.ignore_eos,
            "cache_prompt": False,
        }
        return openai_request(spec, prompt, index, extra)

    def problems(self, spec: RunSpec) -> list[Problem]:
        context = spec.runtime.options["context"]
        return [
            *gguf_problems(spec),
            *image_problems(self, spec),
            *context_problems(spec, context),
        ]


RUNTIME = LlamaServer()
