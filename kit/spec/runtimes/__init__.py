"""The runtimes that kit can run: its own, and those that other packages register.

Another package registers a runtime under the entry-point group ``kit.runtimes``: the entry's name
is the runtime's, its object a `kit.spec.runtimes.contract.Runtime`.
"""

from __future__ import annotations

from kit.core.errors import UsageError
from kit.core.registry import Registry
from kit.spec.runtimes import refused
from kit.spec.runtimes.contract import Runtime
from kit.spec.runtimes.refused import Refusal

__all__ = ("GROUP", "Runtime", "get", "knows", "names", "refusal")

GROUP = "kit.runtimes"
OWN = (
    "llama-server",
    "llama-cpp-python",
    "transformers",
    "vllm",
    "sglang",
    "mlx-lm",
    "exllamav3",
    "mistralrs",
    "openvino-genai",
    "onnxruntime-genai",
    "ctranslate2",
    "diffusers",
    "ollama",
    "loopback",
)
_REGISTRY = Registry("runtime", GROUP, "kit.spec.runtimes", OWN, "RUNTIME")


def names() -> tuple[str, ...]:
    """Every runtime's name; kit's own first."""
    return _REGISTRY.names()


def knows(name: str) -> bool:
    """Whether there is a runtime of that name."""
    return _REGISTRY.knows(name)


def refusal(name: str) -> Refusal | None:
    """Why kit has no runtime of this name; None if it has one, or knows nothing of the name."""
    return None if knows(name) else refused.refusal(name)


def get(name: str) -> Runtime:
    """The runtime called ``name``; raises `UsageError` if there is none."""
    try:
        runtime: Runtime = _REGISTRY.get(name)
    except UsageError as error:
        if why := refusal(name):
            raise UsageError(why.message, why.remedy) from error
        raise
    return runtime
