"""Ollama's server. **Written from its documentation; the real one was not run by kit's makers.**

A spec names the maker's image by digest; its entry point is ``ollama``. The server starts without
a model. kit then uploads the spec's GGUF file as a blob, has a model made of that blob with every
parameter given, and loads it: three steps of start-up, each with its seconds, so that the server's
start and the model's load are told apart. Before the server is stopped, the model is unloaded.

The store of blobs lies in the container's memory, so that the model counts twice there without a
GPU, and `limits.memory_mib` must hold both. It never leaves memory by itself (keep-alive -1), no
second model is loaded, nothing of the maker's cloud is used.

What it cannot do: it knows no ``ignore_eos``, so that answers end where the model ends them. It
always reuses the beginning of an earlier prompt, so that each prompt must begin with words of its
own; what a chat template puts before them is reused even then. It chooses a chat template by the
model, with a bare prompt for those it does not know. Its default context depends on the GPU's
memory: here it is always given.
"""

from __future__ import annotations

from typing import Any

from kit.core.model import Problem, Repeat, RunSpec
from kit.core.prompt import Prompt
from kit.spec.runtimes.contract import (
    MODEL_NAME,
    Runtime,
    ServerRequest,
    api_option,
    context_option,
    context_problems,
    gguf_problems,
    image_problems,
    openai_request,
    option,
    options_schema,
    the_gguf,
)

ALL_LAYERS = 999  # more than any model has; Ollama's own choice is "as many as fit", which varies
BARE = "{{ .Prompt }}"
_MEMORY_FACTOR = 1.2
_FLASH = {"on": {"OLLAMA_FLASH_ATTENTION": "1"}, "off": {"OLLAMA_FLASH_ATTENTION": "0"}}


class Ollama(Runtime):
    name = "ollama"
    title = "Ollama server (GGUF models; not run by kit's makers)"
    recipe = None
    gpu = True
    port = 11434
    ready_path = "/api/version"
    effective_paths = ("/api/version", "/api/ps", "/api/tags")
    equal_work = False
    streams_usage = True
    recount = None
    real = True
    loads = ("gguf",)
    scratch_bytes = 1 << 30  # its own runners and manifests, beside the model
    copies_weights = True
    listen_variable = "OLLAMA_HOST"
    log_facts = {
        "version": r'Listening on [^"]*\(version ([^)"]+)\)',
        "settings": r'server config" env="map\[(.*)\]"',
        "device": r'msg="inference compute".*? (library=.*)',  # what is before it names the GPU
        "layers": r"offloaded (\d+/\d+) layers to GPU",
        "runner_s": r"llama runner started in ([\d.]+) seconds",
    }
    repeat = Repeat(
        kind="sampled",
        why=(
            "Nobody measured it: kit's makers did not run it. Its documentation promises it for a "
            "seed at temperature 0."
        ),
    )
    options_schema = options_schema(
        api=api_option(),
        context=context_option("Context of each slot in tokens: prompt and answer together."),
        threads=option(
            ["integer", "null"],
            None,
            "Threads that compute; null for Ollama's own choice by the machine's cores.",
            minimum=1,
            maximum=1024,
        ),
        batch=option("integer", 512, "Batch of a prompt in tokens.", minimum=1, maximum=1 << 20),
        flash_attention=option(
            "string",
            "on",
            "Flash attention kernels; auto for where Ollama thinks that they can be used.",
            enum=["on", "off", "auto"],
        ),
        kv_cache=option(
            "string",
            "f16",
            "Numbers of the KV cache; less than f16 needs flash attention.",
            enum=["f16", "q8_0", "q4_0"],
        ),
        gpu_layers=option(
            ["integer", "null"],
            None,
            "Layers kept on the GPU; null for all where the spec asks for GPUs, else none.",
            minimum=0,
            maximum=ALL_LAYERS,
        ),
    )

    def argv(self, spec: RunSpec, listen: str = "") -> tuple[str, ...]:  # noqa: ARG002 by variable
        return ("serve",)

    def env(self, spec: RunSpec) -> dict[str, str]:
        options = spec.runtime.options
        return {
            "HOME": "/tmp",  # noqa: S108 the container's, where it keeps a key of its own
            "OLLAMA_MODELS": "/tmp/models",  # noqa: S108
            "OLLAMA_CONTEXT_LENGTH": str(options["context"]),
            "OLLAMA_NUM_PARALLEL": str(spec.arrivals.concurrency),
            "OLLAMA_MAX_LOADED_MODELS": "1",
            "OLLAMA_KEEP_ALIVE": "-1",
            "OLLAMA_LOAD_TIMEOUT": f"{spec.limits.ready_s}s",
            "OLLAMA_KV_CACHE_TYPE": options["kv_cache"],
            "OLLAMA_NO_CLOUD": "1",
            "OLLAMA_NOPRUNE": "1",
            **_FLASH.get(options["flash_attention"], {}),
            **({"OLLAMA_SCHED_SPREAD": "1"} if spec.devices.gpus > 1 else {}),
        }

    def preparing(self, spec: RunSpec) -> tuple[ServerRequest, ...]:
        model = the_gguf(spec)
        if model is None:
            return ()
        blob = f"sha256:{model.sha256}"
        create = {
            "model": MODEL_NAME,
            "files": {model.path: blob},
            "parameters": self._parameters(spec),
            "stream": False,
            **({"template": BARE} if spec.runtime.options["api"] == "completion" else {}),
        }
        load = {"model": MODEL_NAME, "keep_alive": -1, "stream": False}
        return (
            ServerRequest("upload", "POST", f"/api/blobs/{blob}", upload=model.sha256),
            ServerRequest("create", "POST", "/api/create", create),
            ServerRequest("load", "POST", "/api/generate", load),
        )

    def closing(self, spec: RunSpec) -> tuple[ServerRequest, ...]:  # noqa: ARG002 always the same
        unload = {"model": MODEL_NAME, "keep_alive": 0, "stream": False}
        return (ServerRequest("unload", "POST", "/api/generate", unload),)

    def request(self, spec: RunSpec, prompt: Prompt, index: int) -> tuple[str, dict[str, Any]]:
        return openai_request(spec, prompt, index, {"stream_options": {"include_usage": True}})

    def problems(self, spec: RunSpec) -> list[Problem]:
        return [
            *gguf_problems(spec),
            *image_problems(self, spec),
            *context_problems(spec, spec.runtime.options["context"]),
            *_cache_problems(spec),
            *_memory_problems(spec),
        ]

    def _parameters(self, spec: RunSpec) -> dict[str, Any]:
        """What OpenAI's API has no words for is a property of the model that is made."""
        options, layers = spec.runtime.options, spec.runtime.options["gpu_layers"]
        if layers is None:
            layers = ALL_LAYERS if spec.devices.gpus else 0
        threads = options["threads"]
        return {
            "num_ctx": options["context"],
            "num_batch": options["batch"],
            "num_gpu": layers,
            "top_k": spec.sampling.top_k,
            "min_p": 0,
            "repeat_penalty": 1,
            **({"num_thread": threads} if threads is not None else {}),
        }


def _cache_problems(spec: RunSpec) -> list[Problem]:
    """Its cache of prompts cannot be switched off, and a quantised KV cache needs its kernels."""
    options, found = spec.runtime.options, []
    if not spec.workload.options.get("unique_prefix", True):
        found.append(
            Problem(
                "$.workload.options.unique_prefix",
                "ollama always takes the beginning of an earlier prompt from its cache",
                "set unique_prefix to true, or use llama-server, whose cache can be switched off",
            )
        )
    if options["kv_cache"] != "f16" and options["flash_attention"] == "off":
        found.append(
            Problem(
                "$.runtime.options.kv_cache",
                f"ollama keeps a KV cache of {options['kv_cache']} only with flash attention",
                "set flash_attention to on, or kv_cache to f16",
            )
        )
    return found


def _memory_problems(spec: RunSpec) -> list[Problem]:
    """Its store lies in the container's memory, and without a GPU so does the loaded model."""
    model, copies = the_gguf(spec), 1 if spec.devices.gpus else 2
    needed = int((model.size if model else 0) * copies * _MEMORY_FACTOR) >> 20
    if needed <= spec.limits.memory_mib:
        return []
    twice = "" if spec.devices.gpus else " twice: in its store, and loaded"
    return [
        Problem(
            "$.limits.memory_mib",
            f"ollama keeps the model in the container's memory{twice}; "
            f"{spec.limits.memory_mib} MiB are too little for it",
            f"set limits.memory_mib to {needed} or more",
        )
    ]


RUNTIME = Ollama()
