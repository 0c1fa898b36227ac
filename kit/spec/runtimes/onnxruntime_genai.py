"""ONNX Runtime GenAI behind kit's thin server (`images/onnxruntime-genai`), on the CPU or one GPU.

A folder that kit made of a GGUF file (`images/convert`): in the form ``onnx`` the dequantised
weights in float32, in the form ``onnx-int4`` rounded again to 4 bits, which are other weights than
the file's; in the form ``onnx-cuda`` in bfloat16, with a graph that runs on GPUs alone. Tokenizer
and chat template are Transformers'; the ids are llama.cpp's for every prompt tried (digits, UTF-8,
spaces, code, special tokens in a text). The tokens that end a text have no probability before the
answer is as long as is asked for with ``ignore_eos``.
"""

from __future__ import annotations

from typing import Any

from kit.core.model import Problem, Repeat, RunSpec
from kit.spec.runtimes.contract import api_option, context_option, option, options_schema
from kit.spec.runtimes.thin import Thin, converted_problems, threads_option

NEEDED = ("genai_config.json", "model.onnx", "model.onnx.data", "tokenizer.json")


class OnnxRuntimeGenAi(Thin):
    name = "onnxruntime-genai"
    title = "ONNX Runtime GenAI (converted models; one request at a time)"
    recipe = "onnxruntime-genai"
    gpu_recipe = "onnxruntime-genai-cuda"
    loads = ("onnx-genai",)
    repeat = Repeat(
        kind="exact",
        why=(
            "Measured: two containers on a CPU gave the same texts; it serves one request at a "
            "time."
        ),
    )
    options_schema = options_schema(
        api=api_option(),
        context=context_option("Longest prompt and answer together, in tokens; more is refused."),
        threads=threads_option(),
        spinning=option(
            "boolean",
            True,
            "Threads that wait for work keep a CPU busy for a while: faster, and more energy.",
        ),
    )

    def engine_flags(self, spec: RunSpec) -> dict[str, Any]:
        options = spec.runtime.options
        return {
            "device": "cuda" if spec.devices.gpus else "cpu",
            "threads": options["threads"],
            "spinning": int(options["spinning"]),
        }

    def env(self, spec: RunSpec) -> dict[str, str]:
        """As all of them; without telemetry, and without cuDNN's attention, which ONNX Runtime 1.31
        prefers on Hopper and could not build for SmolLM2's shapes."""
        off = {"ORT_DISABLE_TELEMETRY": "1", "ORT_ENABLE_CUDNN_FLASH_ATTENTION": "0"}
        return super().env(spec) | off

    def weight_problems(self, spec: RunSpec) -> list[Problem]:
        return converted_problems(spec, NEEDED, _derive(spec))

    def problems(self, spec: RunSpec) -> list[Problem]:
        return super().problems(spec) or _form_problems(spec)


def _form_problems(spec: RunSpec) -> list[Problem]:
    """Problem: a graph that kit made for GPUs without one, or one made for the CPU on a GPU."""
    derived = spec.weights.derived if spec.weights else None
    if not derived or (derived.form == "onnx-cuda") == bool(spec.devices.gpus):
        return []
    where = "a GPU" if derived.form == "onnx-cuda" else "the CPU"
    message = f"the form {derived.form} runs on {where}, and the spec asks for {spec.devices.gpus}"
    return [Problem("$.weights.derived.form", f"{message} GPU(s)", _derive(spec))]


def _derive(spec: RunSpec) -> str:
    form = "onnx-cuda" if spec.devices.gpus else "onnx"
    return f"derive them from a .gguf file: kit weights derive, --to {form}"


RUNTIME = OnnxRuntimeGenAi()
