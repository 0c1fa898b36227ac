"""OpenVINO GenAI on the CPU, behind kit's thin server (`images/openvino-genai`).

One GGUF file, which OpenVINO reads itself, with its tokenizer and its chat template: both give
llama.cpp's ids for every prompt tried (digits, UTF-8, spaces, code, special tokens in a text). The
weights stay quantised. Left alone, OpenVINO computes in bfloat16 where the CPU has it, with keys
and values in 8 bits; here both are said. It opens the file for writing, too, so that it is given a
copy in memory while it loads: the container needs memory for the file and the model.
"""

from __future__ import annotations

from typing import Any

from kit.core.model import Problem, Repeat, RunSpec
from kit.spec.runtimes.contract import (
    api_option,
    context_option,
    gguf_problems,
    option,
    options_schema,
)
from kit.spec.runtimes.thin import Thin, threads_option


class OpenVinoGenAi(Thin):
    name = "openvino-genai"
    title = "OpenVINO GenAI on the CPU (GGUF; one request at a time)"
    recipe = "openvino-genai"
    loads = ("gguf",)
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
        dtype=option("string", "f32", "What is computed in.", enum=["f32", "bf16", "f16"]),
        kv_cache=option(
            "string", "f16", "Type of keys and values.", enum=["f32", "bf16", "f16", "u8"]
        ),
        quantise_activations=option(
            "integer",
            32,
            "Activations are quantised to 8 bits in groups of so many; 0 for not at all.",
            minimum=0,
            maximum=1 << 16,
        ),
    )

    def engine_flags(self, spec: RunSpec) -> dict[str, Any]:
        options = spec.runtime.options
        return {
            "threads": options["threads"],
            "dtype": options["dtype"],
            "kv-cache": options["kv_cache"],
            "quantise-activations": options["quantise_activations"],
        }

    def weight_problems(self, spec: RunSpec) -> list[Problem]:
        return gguf_problems(spec)


RUNTIME = OpenVinoGenAi()
