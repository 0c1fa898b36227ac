"""Names that people ask for and that are no runtime: one error with the reason and what to do."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from kit.core import resources
from kit.core.errors import UsageError
from kit.spec import runtimes
from kit.spec import spec as specs
from kit.spec.runtimes import refused
from kit.tui.form import problems as form

# By kind: names as people write them, words of the reason, words of the remedy.
KINDS: dict[str, tuple[tuple[str, ...], str, str]] = {
    "OpenAI": (
        ("ChatGPT", "chat-gpt", "GPT-4", "gpt-4o", "gpt 4.1 mini", "GPT-3.5-turbo", "GPT‑5"),
        "a service of OpenAI: nothing of it can be measured, pinned or replayed here",
        "weights",
    ),
    "pictures of OpenAI": (("DALL·E", "dall-e-3", "DALLE 2"), "a service of OpenAI", "weights"),
    "Google": (("Gemini", "gemini-2.5-pro", "Imagen 4", "imagen"), "of Google", "weights"),
    "Anthropic": (("Claude", "claude-3-opus", "Claude Sonnet"), "of Anthropic", "weights"),
    "Midjourney": (("Midjourney", "mid-journey v7"), "of Midjourney", "weights"),
    "Copilot": (("Copilot", "microsoft copilot"), "of Microsoft", "weights"),
    "GitHub": (("GitHub Copilot",), "of GitHub", "weights"),
    "a Mac": (("mlx", "MLX", "mlx-metal"), "no container can reach", "use mlx-lm"),
    "the older exllama": (("exllamav2", "ExLlamaV2", "exllama"), "0.3.2", "use exllamav3"),
    "engines": (
        ("TGI", "text-generation-inference", "TensorRT-LLM", "LMDeploy", "MLC-LLM", "gpt4all"),
        "kit has no runtime for",
        "register your own",
    ),
    "llama.cpp": (("llama.cpp", "llama-cpp", "LlamaCpp"), "two servers", "use llama-server"),
    "Hugging Face": (("HuggingFace", "hugging-face", "HF"), "libraries", "use transformers"),
    "more engines": (("KTransformers", "ktransformers"), "for KTransformers", "adding-a-runtime"),
}
ALL = [(kind, name) for kind, (names, _, _) in KINDS.items() for name in names]


def _document(name: Any) -> dict[str, Any]:
    document = json.loads((resources.specs_dir() / "quickstart.json").read_text())
    return {**document, "runtime": {"name": name, "options": {}}}


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_it_is_refused_with_the_reason(kind: str, name: str) -> None:
    _, reason, remedy = KINDS[kind]
    with pytest.raises(UsageError) as caught:
        runtimes.get(name)
    assert reason in caught.value.message and remedy in caught.value.remedy


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_check_and_form_give_one_error(kind: str, name: str) -> None:
    _, reason, remedy = KINDS[kind]
    for found in (specs.problems(_document(name)), form.problems(_document(name))):
        (problem,) = found
        assert problem.path == "$.runtime.name"
        assert reason in problem.message and remedy in problem.remedy


@pytest.mark.parametrize("name", ["gpt-oss", "gpt2", "gptq", "llama-servr", "vllm9", "x" * 500, ""])
def test_other_names_are_only_unknown(name: str) -> None:
    assert refused.refusal(name) is None
    with pytest.raises(UsageError, match="kit knows no runtime"):
        runtimes.get(name)


@pytest.mark.parametrize(
    ("name", "meant"), [("vLLM", "vllm"), ("SGLang", "sglang"), ("MISTRAL.RS", "mistralrs")]
)
def test_a_name_in_other_letters_is_known_again(name: str, meant: str) -> None:
    (problem,) = specs.problems(_document(name))
    assert problem.remedy.startswith(f"did you mean {meant}?")


@pytest.mark.parametrize("name", runtimes.names())
def test_no_runtime_of_kit_is_refused(name: str) -> None:
    assert refused.refusal(name) is None


def test_a_package_may_bring_what_kit_has_not(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("lmdeploy", "kit.spec.runtimes.loopback:RUNTIME", runtimes.GROUP)
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [entry])
    monkeypatch.setattr(runtimes._REGISTRY, "_loaded", {})
    assert runtimes.refusal("lmdeploy") is None
    assert runtimes.get("lmdeploy").name == "loopback"


def test_every_name_is_written_as_it_is_compared() -> None:
    names = [
        n for table in (refused._SERVICES, refused._ENGINES) for ns in table.values() for n in ns
    ]
    names += [n for ns in refused._OTHERS for n in ns]
    assert all(n == "".join(c for c in n.casefold() if c.isalnum()) for n in names)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", [None, 3, ["vllm"], {}, object()])
def test_what_is_no_word_is_no_name_of_the_table(name: object) -> None:
    assert refused.refusal(name) is None
