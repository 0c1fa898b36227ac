"""Hugging Face Transformers on PyTorch, behind kit's thin server (`images/server`).

The plain way to run a model, without a serving engine: one token after another, one request after
another or a static batch of them. Its weights are a folder's worth of files (config.json,
safetensors, tokenizer) or one GGUF file, which is dequantised when it is loaded; either can be
quantised again by torchao, or be shared by several GPUs.

kit has an image for CPUs and one with CUDA. Where the driver is too old for that one, a spec names
your own by digest, made from the files of `images/transformers`; its entry point is ``serve.py``.
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
    image_problems,
    openai_request,
    option,
    options_schema,
    the_gguf,
)
from kit.spec.runtimes.pytorch import ENVIRONMENT, device, device_option, device_problems

_NEEDED = "config.json"


class Transformers(Runtime):
    name = "transformers"
    title = "Hugging Face Transformers on PyTorch (safetensors or GGUF; static batches)"
    recipe = "transformers"
    gpu_recipe = "transformers-cuda"
    gpu = False
    port = 8080
    ready_path = "/health"
    effective_paths = ("/props", "/v1/models")
    equal_work = True
    streams_usage = True
    recount = None
    real = True
    loads = ("safetensors", "gguf")
    copies_key_heads = False
    prompt_ids = PromptIds("/tokenize")
    repeat = Repeat(
        kind="exact",
        why=(
            "Measured: containers on a CPU and on an H200 gave the same texts; PyTorch's "
            "deterministic algorithms are on. A batch of another size may give other texts. "
            "Processes that share a model repeated theirs on a CPU; on GPUs they were not run."
        ),
    )
    options_schema = options_schema(
        api=api_option(),
        context=context_option("Longest prompt and answer together, in tokens; more is refused."),
        dtype=option(
            "string",
            "auto",
            "What is computed in; auto is what the model's config.json says, and for a GGUF file "
            "bfloat16 on a GPU, float32 on a CPU.",
            enum=["auto", "bfloat16", "float16", "float32"],
        ),
        device=device_option(),
        attention=option(
            "string",
            "sdpa",
            "Attention: PyTorch's scaled_dot_product_attention, or plain matrix products.",
            enum=["sdpa", "eager"],
        ),
        batch=option(
            ["integer", "null"],
            None,
            "Requests that run together, padded and in lockstep, until the last of them has ended; "
            "a batch that does not fill begins a quarter of a second after its first request. "
            "null is one request after another.",
            minimum=1,
            maximum=1024,
        ),
        quantisation=option(
            ["string", "null"],
            None,
            "Weights of the linear layers rounded when they are loaded, by torchao: int8 with a "
            "scale for each row, int4 for each group of 32. null keeps the dtype.",
            enum=["int8", "int4", None],
        ),
        tensor_parallel=option(
            ["integer", "null"],
            None,
            "Processes that share each layer, by Transformers' plan for the model's kind; their "
            "number divides the attention heads. null is one for each GPU, and one on a CPU.",
            minimum=1,
            maximum=1024,
        ),
    )

    def argv(self, spec: RunSpec, listen: str = ANY_ADDRESS) -> tuple[str, ...]:
        options, gguf = spec.runtime.options, the_gguf(spec)
        ranks = self.ranks(spec)
        return flags(
            {
                "model": f"{WEIGHTS}/{gguf.path}" if gguf else WEIGHTS,
                "alias": MODEL_NAME,
                "device": device(spec),
                "dtype": options["dtype"],
                "attn": options["attention"],
                "batch": options["batch"],
                "quantise": options["quantisation"],
                "tensor-parallel": ranks if ranks > 1 else None,
                "max-context": options["context"],
                "host": listen,
                "port": self.port,
            }
        )

    def env(self, spec: RunSpec) -> dict[str, str]:
        """Variables that forbid downloads and telemetry, and make the arithmetic deterministic.

        Of several processes each would start a thread for every CPU, twice: together more than a
        container may have (`limits.pids`). On a CPU the server divides PyTorch's own by itself.
        """
        if self.ranks(spec) == 1:
            return dict(ENVIRONMENT)
        one = {"OPENBLAS_NUM_THREADS": "1"}
        return {**ENVIRONMENT, **one, **({"OMP_NUM_THREADS": "1"} if spec.devices.gpus else {})}

    def request(self, spec: RunSpec, prompt: Prompt, index: int) -> tuple[str, dict[str, Any]]:
        extra = {
            "stream_options": {"include_usage": True},
            "top_k": spec.sampling.top_k,
            "ignore_eos": spec.sampling.ignore_eos,
        }
        return openai_request(spec, prompt, index, extra)

    def ranks(self, spec: RunSpec) -> int:
        """Specs of older versions have no option for it."""
        return spec.runtime.options.get("tensor_parallel") or max(1, spec.devices.gpus)

    def problems(self, spec: RunSpec) -> list[Problem]:
        return [
            *_weight_problems(spec),
            *image_problems(self, spec),
            *context_problems(spec, spec.runtime.options["context"]),
            *_device_problems(spec),
            *_rank_problems(spec, self.ranks(spec)),
            *_queue_problems(spec),
        ]


def _weight_problems(spec: RunSpec) -> list[Problem]:
    """Problem: neither one GGUF file nor a folder that Transformers can read."""
    files = spec.weights.files if spec.weights else ()
    names = {file.path for file in files}
    if the_gguf(spec) or _NEEDED in names:
        return []
    number = "none" if spec.weights is None else f"{len(files)} file(s) without {_NEEDED}"
    return [
        Problem(
            "$.weights",
            "transformers loads one .gguf file, or config.json with the safetensors and "
            f"tokenizer files beside it; the spec gives {number}",
            "name one file whose path ends in .gguf, or every file of the model's folder",
        )
    ]


def _device_problems(spec: RunSpec) -> list[Problem]:
    int4 = spec.runtime.options["quantisation"] == "int4"
    if int4 and device(spec) == "cuda" and spec.runtime.options["dtype"] in ("float16", "float32"):
        return [
            Problem(
                "$.runtime.options.dtype",
                "int4 on a GPU is computed in bfloat16 alone",
                "choose bfloat16, or another quantisation",
            )
        ]
    return device_problems(spec, several=True)


def _rank_problems(spec: RunSpec, ranks: int) -> list[Problem]:
    gpus = spec.devices.gpus
    found = []
    if gpus and ranks != gpus:
        found.append(
            Problem(
                "$.runtime.options.tensor_parallel",
                f"{ranks} process(es) would share the model, and the spec asks for {gpus} GPU(s): "
                "each process has one GPU",
                f"set tensor_parallel to null or {gpus}, or gpus to {ranks}",
            )
        )
    if ranks > 1 and spec.runtime.options["quantisation"]:
        found.append(
            Problem(
                "$.runtime.options.quantisation",
                "torchao cannot quantise layers that several processes share",
                f"set quantisation to null, or {'gpus' if gpus else 'tensor_parallel'} to 1",
            )
        )
    return found


def _queue_problems(spec: RunSpec) -> list[Problem]:
    batch, wanted = spec.runtime.options["batch"] or 1, spec.arrivals.concurrency
    if wanted <= batch:
        return []
    return [
        Problem(
            "$.arrivals.concurrency",
            f"{wanted} requests at once, and transformers runs {batch} together: the others would "
            "wait for the end of a batch",
            f"set the option batch to {wanted}, or concurrency to {batch}",
        )
    ]


RUNTIME = Transformers()
