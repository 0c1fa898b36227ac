"""What runs were meant to differ in: fields that a person names, such as ``runtime``. Pure.

A field is a path in the spec (``arrivals.concurrency``, ``weights``) or in the fingerprint of the
machine (``nvidia.driver``); it holds all below it. ``machine`` is every fact of the machine, and
``image`` the image as a whole. What differs by design does not keep two runs from being compared.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from kit.core.errors import UsageError

MACHINE, IMAGE = "machine", "image"
SPEC = "spec: "  # before a spec's path, where it stands beside facts of the machine
# The facts that make another model of a machine (`kit.judge.compare.likeness`).
_MODEL = re.compile(r"gpus(\.[^.]+(\.(name|power_limit_w))?)?")
_CPU_MODEL = "cpu.model"


def covers(by: Iterable[str], fact: str) -> bool:
    """Whether one of the fields ``by`` is ``fact``, or holds it."""
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


def require(by: Iterable[str], fields: Iterable[str]) -> None:
    """Check that every field of ``by`` is one of these runs' fields, or holds one.

    Raises:
        UsageError: naming the first that is not.
    """
    every = frozenset(fields) | {MACHINE, IMAGE}
    for field in by:
        if field.removeprefix(SPEC).startswith("*"):
            raise UsageError(
                f"the field {field[:80]!a} would cover everything that differs",
                "name what you varied, such as arrivals.concurrency",
            )
        if not any(covers([field], one) for one in every):
            raise UsageError(
                f"neither the specs nor the machines of these runs have the field {field[:80]!a}",
                "name a path of the spec, such as arrivals.concurrency, runtime or weights",
            )


def _holds(field: str, fact: str) -> bool:
    wanted, given = field.split("."), fact.split(".")
    return len(wanted) <= len(given) and all(
        w in ("*", g) for w, g in zip(wanted, given, strict=False)
    )
