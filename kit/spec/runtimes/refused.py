"""Names that are no runtime of kit, and why: the one table of them.

Names are compared without case, spaces, hyphens and dots: ``GPT-4o``, ``gpt 4o`` and ``gpt4o`` are
one. Another package may register any of them all the same: it is asked first.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Refusal(NamedTuple):
    """Why a name is no runtime, as one sentence, and what to do instead."""

    message: str
    remedy: str


# Services by the beginning of their names: a version or a size follows. Nothing of them is here.
_SERVICES = {
    "OpenAI": ("chatgpt", "gpt3", "gpt4", "gpt5", "openai", "dalle", "sora"),
    "Google": ("gemini", "imagen", "bard", "vertexai", "veo2", "veo3"),
    "Anthropic": ("claude", "anthropic"),
    "Midjourney": ("midjourney",),
    "Microsoft": ("copilot", "microsoftcopilot", "bingchat", "azureopenai"),
    "GitHub": ("githubcopilot",),
    "Adobe": ("firefly", "adobefirefly"),
    "xAI": ("grok",),
    "Perplexity": ("perplexity",),
    "Amazon": ("bedrock", "amazonbedrock"),
    "Mistral": ("lechat", "mistralapi"),
    "Groq": ("groq",),
    "others": ("openrouter", "togetherai", "replicate", "huggingchat"),
}
# Engines by their whole names. One that kit could run has no file here because nobody wrote it.
_ENGINES = {
    "TGI": ("tgi", "textgenerationinference", "huggingfacetgi"),
    "TensorRT-LLM": ("tensorrtllm", "tensorrt", "trtllm", "trtllmserve"),
    "LMDeploy": ("lmdeploy", "turbomind"),
    "MLC LLM": ("mlc", "mlcllm"),
    "KTransformers": ("ktransformers",),
    "LM Studio": ("lmstudio",),
    "GPT4All": ("gpt4all",),
    "KoboldCpp": ("koboldcpp",),
    "LocalAI": ("localai",),
}
_OTHERS = {
    ("mlx", "mlxmetal", "mlxswift", "applemlx"): Refusal(
        "MLX on a Mac computes on Apple's GPU, which no container can reach, and kit measures "
        "containers alone",
        "use mlx-lm, which runs MLX on Linux, on a CPU or with CUDA",
    ),
    ("exllama", "exllamav2", "exl2"): Refusal(
        "the last release of exllamav2 is 0.3.2, and its makers go on with exllamav3",
        "use exllamav3",
    ),
    ("llamacpp",): Refusal(
        "llama.cpp has two servers, a runtime each",
        "use llama-server, or llama-cpp-python for its server in Python",
    ),
    ("huggingface", "hf"): Refusal(
        "Hugging Face's libraries are the runtimes transformers (texts) and diffusers (images)",
        "use transformers or diffusers",
    ),
}


def refusal(name: object) -> Refusal | None:
    """Why ``name`` is no runtime; None of a name that this table does not know.

    A form hands over whatever stands in a spec that is still being written.
    """
    if not isinstance(name, str):
        return None
    word = re.sub(r"[\W_]+", "", name.casefold())
    for names, why in _OTHERS.items():
        if word in names:
            return why
    for engine, names in _ENGINES.items():
        if word in names:
            return Refusal(
                f"kit has no runtime for {engine}",
                "register your own (docs/adding-a-runtime.md), or use one that "
                "`kit schema runtimes` lists",
            )
    for owner, names in _SERVICES.items():
        if word.startswith(names):
            return Refusal(
                f"{name[:60]!r} is a service of {owner}: nothing of it can be measured, pinned or "
                "replayed here",
                "measure a model whose weights you have, in a runtime that `kit schema runtimes` "
                "lists",
            )
    return None
