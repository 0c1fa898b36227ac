"""CTranslate2 on the CPU, behind kit's thin server (`images/ctranslate2`).

A folder that kit's form ``ctranslate2`` made of a GGUF file (`images/convert`): the dequantised
weights in bfloat16, and Transformers' tokenizer and chat template. Its ids are llama.cpp's for
every prompt tried (digits, UTF-8, spaces, code, special tokens in a text). The tokens that end a
text are suppressed for ``ignore_eos``. Its random numbers are seeded once for each thread, so that
nothing is drawn. Which kernels it chose, its log tells.
"""

from __future__ import annotations

from typing import Any

from kit.core.model import Problem, Repeat, RunSpec
from kit.spec.runtimes.contract import api_option, context_option, option, options_schema
from kit.spec.runtimes.thin import Thin, converted_problems, sampling_problems, threads_option

NEEDED = ("model.bin", "config.json", "vocabulary.json", "tokenizer.json", "transformers.json")


class CTranslate2(Thin):
    name = "ctranslate2"
    title = "CTranslate2 on the CPU (converted models; one request at a time)"
    recipe = "ctranslate2"
    loads = ("ctranslate2",)
    log_facts = {
        "isa": r"Selected ISA: (\S+)",
        "gemm_float": r"SGEMM backend: (\S+)",
        "gemm_int8": r"GEMM_S8 backend: (\S+)",
        "compute": r"Selected compute type: (\S+)",
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
        compute=option(
            "string",
            "float32",
            "What is computed in. int8 rounds the weights of each row when they are loaded, and "
            "activations as they come.",
            enum=["float32", "bfloat16", "int8"],
        ),
        mkl=option(
            "boolean",
            False,
            "Intel's MKL instead of oneDNN. Left alone, CTranslate2 takes it on Intel's CPUs.",
        ),
    )

    def engine_flags(self, spec: RunSpec) -> dict[str, Any]:
        options = spec.runtime.options
        return {
            "threads": options["threads"],
            "compute": options["compute"],
            "mkl": int(options["mkl"]),
        }

    def weight_problems(self, spec: RunSpec) -> list[Problem]:
        return converted_problems(
            spec, NEEDED, "derive them from a .gguf file: kit weights derive, --to ctranslate2"
        )

    def problems(self, spec: RunSpec) -> list[Problem]:
        return [*super().problems(spec), *sampling_problems(spec)]


RUNTIME = CTranslate2()
