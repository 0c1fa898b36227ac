"""What runs were meant to differ in: fields that a person names, such as ``runtime``. Pure.

A field is a path in the spec (``arrivals.concurrency``, ``weights``) or in the fingerprint of the
machine (``nvidia.driver``), or the last words of one (``concurrency``); it holds all below it.
``machine`` is every fact of the machine, and ``image`` the image as a whole. What differs by
design does not keep two runs from being compared.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence

from kit.core.errors import UsageError

MACHINE, IMAGE = "machine", "image"
_RUNTIME = "runtime"  # another one comes in another image
SPEC = "spec: "  # before a spec's path, where it stands beside facts of the machine
# The facts that make another model of a machine (`kit.judge.compare.likeness`).
_MODEL = re.compile(r"gpus(\.[^.]+(\.(name|power_limit_w))?)?")
_CPU_MODEL = "cpu.model"


def covers(by: Collection[str], fact: str) -> bool:
    """Whether one of the fields ``by`` is ``fact``, or holds it."""
    if _RUNTIME in by:
        by = (*by, IMAGE)
    return any(_holds(field.removeprefix(SPEC), fact) for field in by)


def covers_machine(by: Sequence[str], fact: str) -> bool:
    """`covers` for a fact of the machine."""
    return MACHINE in by or covers(by, fact)


def covers_model(by: Sequence[str], differing: Iterable[str]) -> bool:
    """Whether all that makes the two machines other models differs by design.

    Args:
        differing: the facts in which the machines differ.
    """
    facts = list(differing)
    models = [fact for fact in facts if _MODEL.fullmatch(fact)] or [_CPU_MODEL]
    return MACHINE in by or all(covers(by, fact) for fact in models)


def named(by: Iterable[str], fields: Iterable[str]) -> tuple[str, ...]:
    """Each field of ``by`` as its whole path; the last words of a path do: ``concurrency``.

    Args:
        fields: every path of these runs' specs and machines.

    Raises:
        UsageError: naming the first that no path, or more than one, ends with.
    """
    every = frozenset(fields) | {MACHINE, IMAGE}
    return tuple(_whole(field, every) for field in by)


def _whole(field: str, every: frozenset[str]) -> str:
    if field.removeprefix(SPEC).startswith("*"):
        raise UsageError(
            f"the field {field[:80]!a} would cover everything that differs",
            "name what you varied, such as arrivals.concurrency",
        )
    if any(covers([field], one) for one in every):
        return field
    ends = sorted({node for path in every for node in _nodes(path) if node.endswith(f".{field}")})
    if not field or not ends:
        raise UsageError(
            f"neither the specs nor the machines of these runs have the field {field[:80]!a}",
            "name a path of the spec, such as arrivals.concurrency, runtime or weights",
        )
    if len(ends) > 1:
        raise UsageError(
            f"several fields are called {field[:80]!a}", f"name one: {', '.join(ends)}"
        )
    return ends[0]


def _nodes(path: str) -> Iterator[str]:
    """The path, and each path that holds it."""
    words = path.split(".")
    return (".".join(words[: n + 1]) for n in range(len(words)))


def _holds(field: str, fact: str) -> bool:
    wanted, given = field.split("."), fact.split(".")
    return len(wanted) <= len(given) and all(
        w in ("*", g) for w, g in zip(wanted, given, strict=False)
    )
