"""Templates: specs that name a model by its repository and pin nothing of it yet.

Their mark is what they lack: ``weights`` has a ``repo`` and neither a ``revision`` nor a hash. They
are no run specs, and have one problem that says so; `kit weights pin` makes run specs of them.
"""

from __future__ import annotations

import json
from typing import Any

from kit.core import jsonplace
from kit.core.model import Problem

_REMEDY = "`kit weights pin SPEC`, on a machine that reaches the hub, completes it"
UNPINNED = Problem(
    "$.weights",
    "this is a template: revision and hashes of its weights are not pinned",
    _REMEDY,
    key="revision",
    missing=True,
)


def is_template(document: Any) -> bool:
    """Whether a parsed document is marked as a template."""
    weights = document.get("weights") if isinstance(document, dict) else None
    if not isinstance(weights, dict) or "repo" not in weights:
        return False
    files = weights.get("files", [])
    named = isinstance(files, list) and all(
        isinstance(f, dict) and f.keys() <= {"path"} for f in files
    )
    return named and not weights.keys() & {"revision", "derived"}


def schema_of(rules: dict[str, Any]) -> dict[str, Any]:
    """The run spec's schema for a template: of the weights ``repo``, of their files the ``path``.

    Changes and returns ``rules``.
    """
    weights = next(one for one in rules["properties"]["weights"]["oneOf"] if "required" in one)
    weights["required"] = ["repo"]
    rules["$defs"]["weightFile"]["required"] = ["path"]
    return rules


def with_weights(text: str, weights: dict[str, Any]) -> str:
    """The text of a spec with other ``weights``; all else stays as it was written."""
    value = next(v for v in jsonplace.values(text) if v.where == ["weights"])
    _, end = json.JSONDecoder().raw_decode(text, value.at)
    line = text[text.rfind("\n", 0, value.at) + 1 : value.at]
    margin = line[: len(line) - len(line.lstrip(" \t"))]
    newline = "\r\n" if "\r\n" in text else "\n"
    indent = "\t" if "\t" in margin else 2
    fresh = json.dumps(weights, indent=indent, ensure_ascii=False).replace("\n", newline + margin)
    return text[: value.at] + fresh + text[end:]
