"""vLLM's OpenAI-compatible server.

kit's image holds vLLM built for CPUs. On GPUs a spec names an image with CUDA: kit's own recipe, or
the maker's image by digest; both take the same arguments.

No setting depends on the machine by default: sequences decoded side by side, context and data type
are given. Prefix caching is off and answers say how many tokens were cached, so that every request
is full work; sampling defaults of the model's maker are not applied.

vLLM compiles kernels when it starts (torch.compile, Triton) and runs them from its cache, so that
its /tmp is executable. Without a compiler in the image (kit's for CPUs), ``eager`` must be true.
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

# Its processes' queue: ten pieces of 16 MiB. On one GPU there is one process, and no queue.
_QUEUE_MIB = 160
_CACHES = {
    "VLLM_CACHE_ROOT": "/tmp/vllm",  # noqa: S108 the container's, as are those below
    "TRITON_CACHE_DIR": "/tmp/triton",  # noqa: S108
    "TORCHINDUCTOR_CACHE_DIR": "/tmp/inductor",  # noqa: S108
    "XDG_CACHE_HOME": "/tmp/cache",  # noqa: S108
    "FLASHINFER_WORKSPACE_BASE": "/tmp/flashinfer",  # noqa: S108
}


class Vllm(Runtime):
    name = "vllm"
    title = "vLLM server (safetensors models, continuous batches)"
    recipe = "vllm"
    gpu_recipe = "vllm-cuda"
    gpu = False
    port = 8000
    ready_path = "/health"
    effective_paths = ("/version", "/v1/models")
    equal_work = True
    streams_usage = True
    recount = None
    real = True
    loads = ("safetensors",)
    scratch_bytes = 4 << 30
    prompt_ids = PromptIds("/tokenize")
    log_facts = {
        "configuration": r"Initializing a V1 LLM engine \([^)]*\) with config: (.*)",
        "arguments": r"non-default args: (\{.*\})",
        "attention": r"Using (\S+(?: attention)?) backend",
        "kv_cache_tokens": r"KV cache size: ([\d,]+) tokens",
        "threads": r"(OMP threads binding|core ids=\[[\d, ]*\])",
        "load_s": r"Loading weights took ([\d.]+) seconds",
        "compile_s": r"torch\.compile took ([\d.]+) s",
        "graphs_s": r"Graph capturing finished in ([\d.]+) sec",
        "engine_s": r"init engine \(.*?\) took ([\d.]+) s",
    }
    repeat = Repeat(
        kind="exact",
        why=(
            "Measured: containers on a CPU and on an H100 gave the same texts. Its makers promise "
            "nothing of batches unless batch invariance is switched on, which kit does not."
        ),
    )
    options_schema = options_schema(
        api=api_option(),
        context=context_option("Longest prompt and answer together, in tokens; more is refused."),
        dtype=option(
            "string",
            "auto",
            "What is computed in; auto is what the model's config.json says.",
            enum=["auto", "bfloat16", "float16", "float32"],
        ),
        eager=option(
            "boolean",
            True,
            "Run the model as it is. False compiles it and captures graphs at start: faster "
            "afterwards, and the image needs a compiler.",
        ),
        quantisation=option(
            ["string", "null"],
            None,
            "How weights are quantised when they are loaded; null for as they are.",
            enum=["fp8", None],
        ),
        kv_cache_mib=option(
            "integer",
            1024,
            "Memory for keys and values of all sequences (MiB); it decides how many fit.",
            minimum=64,
            maximum=1 << 20,
        ),
        batch_tokens=option(
            ["integer", "null"],
            None,
            "Most tokens of one step, prompts included; null for vLLM's own choice.",
            minimum=16,
            maximum=1 << 20,
        ),
    )

    def argv(self, spec: RunSpec, listen: str = ANY_ADDRESS) -> tuple[str, ...]:
        options = spec.runtime.options
        values = {
            "model": WEIGHTS,
            "served-model-name": MODEL_NAME,
            "host": listen,
            "port": self.port,
            "dtype": options["dtype"],
            "quantization": options["quantisation"],
            "max-model-len": options["context"],
            "max-num-seqs": spec.arrivals.concurrency,
            "max-num-batched-tokens": options["batch_tokens"],
            "kv-cache-memory-bytes": options["kv_cache_mib"] << 20,
            "seed": spec.sampling.seed,
            "generation-config": "vllm",
            "tensor-parallel-size": self.ranks(spec),
        }
        switches = (
            "--no-enable-prefix-caching",
            "--enable-prompt-tokens-details",
            "--disable-uvicorn-access-log",
        )
        return (*flags(values), *switches, *(("--enforce-eager",) if options["eager"] else ()))

    def env(self, spec: RunSpec) -> dict[str, str]:
        """Variables that forbid downloads and telemetry, and put caches where they can run."""
        here = {} if spec.devices.gpus else {"VLLM_CPU_OMP_THREADS_BIND": "nobind"}
        return {
            **QUIET,
            "VLLM_NO_USAGE_STATS": "1",
            "VLLM_USE_FLASHINFER_SAMPLER": "0",
            **_CACHES,
            **here,
        }

    def request(self, spec: RunSpec, prompt: Prompt, index: int) -> tuple[str, dict[str, Any]]:
        extra = {
            "stream_options": {"include_usage": True},
            "top_k": spec.sampling.top_k,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "ignore_eos": spec.sampling.ignore_eos,
        }
        return openai_request(spec, prompt, index, extra)

    def ranks(self, spec: RunSpec) -> int:
        return max(1, spec.devices.gpus)

    def problems(self, spec: RunSpec) -> list[Problem]:
        options = spec.runtime.options
        return [
            *folder_problems(spec),
            *image_problems(self, spec),
            *context_problems(spec, options["context"]),
            *_eager_problems(self, spec),
            *_shm_problems(spec),
        ]


def _eager_problems(runtime: Runtime, spec: RunSpec) -> list[Problem]:
    """Problem: compiling, in an image without a compiler."""
    if spec.runtime.options["eager"] or spec.image.recipe != runtime.recipe:
        return []
    return [
        Problem(
            "$.runtime.options.eager",
            f"kit's image {runtime.recipe} has no compiler, and eager is false",
            "set eager to true, or name an image with a compiler",
        )
    ]


def _shm_problems(spec: RunSpec) -> list[Problem]:
    """Problem: too little shared memory for the processes' queue, without which vLLM ends."""
    if spec.devices.gpus == 1 or spec.limits.shm_mib > _QUEUE_MIB:
        return []
    return [
        Problem(
            "$.limits.shm_mib",
            f"vllm's processes need more than {_QUEUE_MIB} MiB of shared memory, and "
            f"limits.shm_mib is {spec.limits.shm_mib}",
            "set limits.shm_mib to 1024",
        )
    ]


RUNTIME = Vllm()
