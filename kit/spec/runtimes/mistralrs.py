"""mistral.rs on the CPU, behind kit's thin server (`images/mistralrs`).

One GGUF file, which mistral.rs reads itself, tokenizer included: its ids are llama.cpp's for every
prompt tried (digits, UTF-8, spaces, code, special tokens in a text). The chat template is the
file's, rendered as Transformers does. The tokens that end a text are biased away for
``ignore_eos``; left to mistral.rs, it would go on behind them. It gives texts and no ids: a
character that is spread over several tokens is one event, the rest of its tokens are empty events
at the answer's end. It cannot be seeded on a CPU, so that nothing is drawn.
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
from kit.spec.runtimes.thin import Thin, sampling_problems, threads_option


class MistralRs(Thin):
    name = "mistralrs"
    title = "mistral.rs on the CPU (GGUF; one request at a time)"
    recipe = "mistralrs"
    loads = ("gguf",)
    log_facts = {
        "dtype": r"DType selected is (\w+)",
        "kv_cache": r"Using (\w+) KV cache on CPU",
    }
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
        dtype=option(
            "string",
            "float32",
            "What is computed in; the weights stay quantised.",
            enum=["float32", "bfloat16", "float16"],
        ),
        kv_cache=option(
            "string", "float16", "Type of keys and values.", enum=["float16", "float32"]
        ),
    )

    def engine_flags(self, spec: RunSpec) -> dict[str, Any]:
        options = spec.runtime.options
        return {
            "threads": options["threads"],
            "dtype": options["dtype"],
            "kv-cache": options["kv_cache"],
        }

    def weight_problems(self, spec: RunSpec) -> list[Problem]:
        return gguf_problems(spec)

    def problems(self, spec: RunSpec) -> list[Problem]:
        return [*super().problems(spec), *sampling_problems(spec)]


RUNTIME = MistralRs()
