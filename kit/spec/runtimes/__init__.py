"""The runtimes that kit can run: its own, and those that other packages register.

Another package registers a runtime under the entry-point group ``kit.runtimes``: the entry's name
is the runtime's, its object a `kit.spec.runtimes.contract.Runtime`.
"""

from __future__ import annotations

from kit.core.registry import Registry
from kit.spec.runtimes.contract import Runtime

__all__ = ("GROUP", "Runtime", "get", "knows", "names")

GROUP = "kit.runtimes"
OWN = (
    "llama-server",
    "llama-cpp-python",
    "transformers",
    "vllm",
    "sglang",
    "mlx-lm",
    "exllamav3",
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


def get(name: str) -> Runtime:
    """The runtime called ``name``; raises `UsageError` if there is none."""
    runtime: Runtime = _REGISTRY.get(name)
    return runtime
