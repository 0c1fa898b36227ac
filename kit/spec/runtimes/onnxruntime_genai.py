"""ONNX Runtime GenAI on the CPU, behind kit's thin server (`images/onnxruntime-genai`).

A folder that kit made of a GGUF file (`images/convert`): in the form ``onnx`` the dequantised
weights in float32, in the form ``onnx-int4`` rounded again to 4 bits, which are other weights than
the file's. Tokenizer and chat template are Transformers'; the ids are llama.cpp's for every prompt
tried (digits, UTF-8, spaces, code, special tokens in a text). The tokens that end a text have no
probability before the answer is as long as is asked for with ``ignore_eos``.
"""

from __future__ import annotations

from typing import Any

from kit.core.model import Problem, Repeat, RunSpec
from kit.spec.runtimes.contract import api_option, context_option, option, options_schema
from kit.spec.runtimes.thin import Thin, converted_problems, threads_option

NEEDED = ("genai_config.json", "model.onnx", "model.onnx.data", "tokenizer.json")


class OnnxRuntimeGenAi(Thin):
    name = "onnxruntime-genai"
    title = "ONNX Runtime GenAI on the CPU (converted models; one request at a time)"
    recipe = "onnxruntime-genai"
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
        return {"threads": options["threads"], "spinning": int(options["spinning"])}

    def weight_problems(self, spec: RunSpec) -> list[Problem]:
        return converted_problems(
            spec, NEEDED, "derive them from a .gguf file: kit weights derive, --to onnx"
        )


RUNTIME = OnnxRuntimeGenAi()
