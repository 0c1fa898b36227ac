"""SGLang's OpenAI-compatible server; GPUs only.

kit locks no image for it: a spec names the makers' image, or your own, by digest. The entry point
of your own is ``python3 -m sglang.launch_server``; the makers' runs what it is given, so that the
option ``start`` puts that in front.

The radix cache (prefixes of earlier prompts) is off and answers say how many tokens were cached, so
that every request is full work; sampling defaults of the model's maker are not applied. By default
SGLang answers ``/health`` by generating a token; that is switched off. What SGLang chooses by the
GPU it finds (attention kernels, graphs, the size of a step) is told by ``/server_info``.

Kernels are compiled when it starts (Triton, TVM's FFI), so that its /tmp is executable.
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

_CACHES = {
    "TRITON_CACHE_DIR": "/tmp/triton",  # noqa: S108 the container's, as are those below
    "TORCHINDUCTOR_CACHE_DIR": "/tmp/inductor",  # noqa: S108
    "TVM_FFI_CACHE_DIR": "/tmp/tvm-ffi",  # noqa: S108
    "FLASHINFER_WORKSPACE_BASE": "/tmp/flashinfer",  # noqa: S108
    "SGLANG_CACHE_DIR": "/tmp/sglang",  # noqa: S108
    "XDG_CACHE_HOME": "/tmp/cache",  # noqa: S108
}

_MODULE = ("python3", "-m", "sglang.launch_server")


class Sglang(Runtime):
    name = "sglang"
    title = "SGLang server (safetensors models, continuous batches, GPUs only)"
    recipe = None
    gpu = True
    port = 30000
    ready_path = "/health"
    effective_paths = ("/server_info", "/model_info", "/v1/models")
    equal_work = True
    streams_usage = True
    recount = None
    real = True
    loads = ("safetensors",)
    scratch_bytes = 4 << 30
    prompt_ids = PromptIds("/tokenize")
    log_facts = {
        "arguments": r"server_args=(.*)",
        "limits": r"(max_total_num_tokens=.*), available_gpu_mem",
        "load_s": r"Load weight end\. elapsed=([\d.]+) s",
        "graphs_s": r"Capture \w+ decode CUDA graph end\. elapsed=([\d.]+) s",
    }
    repeat = Repeat(
        kind="sampled",
        why=(
            "Its makers promise it with a deterministic mode alone, which kit does not switch on; "
            "no repeat was measured."
        ),
    )
    options_schema = options_schema(
        api=api_option(),
        start=option(
            "string",
            "image",
            "What starts the server: the image's entry point, or (module) python3 -m "
            "sglang.launch_server, for the makers' image.",
            enum=["image", "module"],
        ),
        context=context_option("Longest prompt and answer together, in tokens; more is refused."),
        dtype=option(
            "string",
            "auto",
            "What is computed in; auto is what the model's config.json says.",
            enum=["auto", "bfloat16", "float16", "float32"],
        ),
        eager=option(
            "boolean",
            False,
            "Run the model as it is. False captures CUDA graphs at start: faster afterwards.",
        ),
        quantisation=option(
            ["string", "null"],
            None,
            "How weights are quantised when they are loaded; null for as they are.",
            enum=["fp8", None],
        ),
        attention=option(
            ["string", "null"],
            None,
            "Attention kernels; null for SGLang's own choice for the GPU.",
            enum=["fa3", "flashinfer", "triton", "torch_native", None],
        ),
        sampling=option(
            "string",
            "pytorch",
            "What chooses the tokens; flashinfer compiles its kernels when it starts.",
            enum=["pytorch", "flashinfer"],
        ),
        kv_cache_tokens=option(
            ["integer", "null"],
            None,
            "Tokens whose keys and values fit into memory; null for as many as concurrency times "
            "context.",
            minimum=64,
            maximum=1 << 30,
        ),
        prefill_tokens=option(
            ["integer", "null"],
            None,
            "Most tokens of a prompt in one step; null for SGLang's own choice.",
            minimum=16,
            maximum=1 << 20,
        ),
    )

    def argv(self, spec: RunSpec, listen: str = ANY_ADDRESS) -> tuple[str, ...]:
        options, slots = spec.runtime.options, spec.arrivals.concurrency
        values = {
            "model-path": WEIGHTS,
            "served-model-name": MODEL_NAME,
            "host": listen,
            "port": self.port,
            "dtype": options["dtype"],
            "quantization": options["quantisation"],
            "context-length": options["context"],
            "max-running-requests": slots,
            "max-total-tokens": options["kv_cache_tokens"] or options["context"] * slots,
            "chunked-prefill-size": options["prefill_tokens"],
            "cuda-graph-max-bs-decode": None if options["eager"] else slots,
            "attention-backend": options["attention"],
            "sampling-backend": options["sampling"],
            "grammar-backend": "none",
            "random-seed": spec.sampling.seed,
            "sampling-defaults": "openai",
            "tp-size": self.ranks(spec),
            "log-level-http": "warning",
        }
        graphs = ("--disable-decode-cuda-graph", "--disable-prefill-cuda-graph")
        return (
            *(_MODULE if options["start"] == "module" else ()),
            *flags(values),
            "--disable-radix-cache",
            "--enable-cache-report",
            *(graphs if options["eager"] else ()),
        )

    def env(self, spec: RunSpec) -> dict[str, str]:  # noqa: ARG002 the same for every spec
        """Variables that forbid downloads and telemetry, and put caches where they can run."""
        return {
            **QUIET,
            "SGLANG_ENABLE_HEALTH_ENDPOINT_GENERATION": "0",
            **_CACHES,
        }

    def request(self, spec: RunSpec, prompt: Prompt, index: int) -> tuple[str, dict[str, Any]]:
        extra = {
            "stream_options": {"include_usage": True},
            "top_k": spec.sampling.top_k or -1,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "ignore_eos": spec.sampling.ignore_eos,
        }
        return openai_request(spec, prompt, index, extra)

    def ranks(self, spec: RunSpec) -> int:
        return max(1, spec.devices.gpus)

    def problems(self, spec: RunSpec) -> list[Problem]:
        return [
            *folder_problems(spec),
            *image_problems(self, spec),
            *context_problems(spec, spec.runtime.options["context"]),
            *_gpu_problems(spec),
        ]


def _gpu_problems(spec: RunSpec) -> list[Problem]:
    if spec.devices.gpus:
        return []
    message = "sglang needs a GPU, and the spec asks for none"
    return [Problem("$.devices.gpus", message, "set gpus to 1, or use another runtime")]


RUNTIME = Sglang()
