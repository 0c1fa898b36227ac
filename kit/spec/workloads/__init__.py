"""The workloads that kit can drive: its own, and those that other packages register."""

from __future__ import annotations

from typing import Any, Protocol

from kit.core.model import Makes
from kit.core.prompt import Prompt
from kit.core.registry import Registry

GROUP = "kit.workloads"
OWN = ("prompts", "images")


class Workload(Protocol):
    """The contract of a workload; third parties register theirs under ``kit.workloads``.

    Attributes:
        name: the word in a spec's ``workload.name``.
        title: one line for a list or a form.
        options_schema: JSON Schema of ``workload.options``, every option with its default.

    One whose prompts ask for images, with a `kit.core.prompt.Picture`, has ``makes = "image"``
    also: a runtime must make what is asked for.
    """

    name: str
    title: str
    options_schema: dict[str, Any]

    def prompts(self, options: dict[str, Any], count: int | None = None) -> tuple[Prompt, ...]:
        """The measured work in order, or its first ``count`` pieces (for a warm-up)."""
        ...


_REGISTRY = Registry("workload", GROUP, "kit.spec.workloads", OWN, "WORKLOAD")


def names() -> tuple[str, ...]:
    """Every workload's name; kit's own first."""
    return _REGISTRY.names()


def knows(name: str) -> bool:
    """Whether there is a workload of that name."""
    return _REGISTRY.knows(name)


def get(name: str) -> Workload:
    """The workload called ``name``; raises `UsageError` if there is none."""
    workload: Workload = _REGISTRY.get(name)
    return workload


def makes(name: str) -> Makes:
    """What the workload called ``name`` asks for; raises `UsageError` if there is none."""
    wanted: Makes = getattr(get(name), "makes", "text")
    return wanted
