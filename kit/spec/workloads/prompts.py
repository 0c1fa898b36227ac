"""The workload ``prompts``: fixed texts, one request each, in a fixed order.

The shipped texts are in ``texts.json`` with their source; a spec may bring its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from kit.core import jsonio
from kit.core.prompt import Prompt

_TEXTS = Path(__file__).with_name("texts.json")


@cache
def shipped() -> dict[str, str]:
    """The texts that kit ships, by id."""
    return {name: entry["text"] for name, entry in jsonio.read(_TEXTS).items()}


def texts_options(default: str) -> dict[str, Any]:
    """The options that say which texts are sent, and how many requests are made of them."""
    return {
        "items": {
            "type": "array",
            "minItems": 1,
            "maxItems": 1000,
            "items": {"enum": sorted(shipped())},
            "default": [default],
            "description": "Shipped prompts to use, by id. Ignored where `texts` is given.",
            "examples": [["healthcare", "nizza-sunset"]],
        },
        "texts": {
            "type": "array",
            "maxItems": 1000,
            "default": [],
            "description": "Own prompts instead of shipped ones.",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["id", "text"],
                "properties": {
                    "id": {
                        "type": "string",
                        "pattern": "^[a-z0-9][a-z0-9._-]{0,62}$",
                        "description": "A name that may be published.",
                    },
                    "text": {
                        "type": "string",
                        "minLength": 1,
                        "maxLength": 200000,
                        "description": "The prompt itself; it is sealed with the run.",
                    },
                },
            },
            "examples": [[{"id": "greeting", "text": "Say hello."}]],
        },
        "requests": {
            "type": "integer",
            "minimum": 1,
            "maximum": 100000,
            "default": 8,
            "description": "Measured requests of one launch; the prompts are cycled through.",
        },
    }


def texts(options: dict[str, Any], count: int | None) -> Iterator[tuple[str, str]]:
    """Id and text of each measured request, or of the first ``count`` of an endless series."""
    own = [(entry["id"], entry["text"]) for entry in options["texts"]]
    chosen = own or [(item, shipped()[item]) for item in options["items"]]
    return islice(cycle(chosen), options["requests"] if count is None else count)


class Prompts:
    """Sends texts as they are, cycling through them, each with a unique first block."""

    name = "prompts"
    title = "Fixed prompts, cycled"
    options_schema: dict[str, Any] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            **texts_options("healthcare"),
            "max_output_tokens": {
                "type": "integer",
                "minimum": 1,
                "maximum": 1000000,
                "default": 64,
                "description": "Tokens to generate for each request.",
            },
            "unique_prefix": {
                "type": "boolean",
                "default": True,
                "description": "Begin every request differently, so that no prefix cache can "
                "serve one request with the work of another.",
            },
        },
    }

    def prompts(self, options: dict[str, Any], count: int | None = None) -> tuple[Prompt, ...]:
        """The measured requests in order, or the first ``count`` of an endless series."""
        wanted = options["max_output_tokens"]
        return tuple(Prompt(item, text, wanted) for item, text in texts(options, count))


WORKLOAD = Prompts()
