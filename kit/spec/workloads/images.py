"""The workload ``images``: images of fixed texts, one request each, in a fixed order.

A request asks for ``images`` of one text, of one size, in a number of denoising steps. Its seed is
the spec's plus its own number, so that no two requests begin with the same noise.
"""

from __future__ import annotations

from typing import Any

from kit.core.limits import LONGEST_SIDE, MOST_IMAGES
from kit.core.model import Makes
from kit.core.prompt import Picture, Prompt
from kit.spec.workloads.prompts import texts, texts_options


def _pixels(side: str) -> dict[str, Any]:
    return {
        "type": "integer",
        "minimum": 8,
        "maximum": LONGEST_SIDE,
        "default": 512,
        "description": f"Pixels of an image's {side}; most models want a multiple of 8 or 16.",
    }


class Images:
    """Asks for images of texts, cycling through them."""

    name = "images"
    title = "Images of fixed prompts, cycled"
    makes: Makes = "image"
    options_schema: dict[str, Any] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            **texts_options("nizza-sunset"),
            "images": {
                "type": "integer",
                "minimum": 1,
                "maximum": MOST_IMAGES,
                "default": 1,
                "description": "Images of each request, made together as one batch.",
            },
            "width": _pixels("width"),
            "height": _pixels("height"),
            "steps": {
                "type": "integer",
                "minimum": 1,
                "maximum": 10000,
                "default": 30,
                "description": "Denoising steps of each image. Some schedulers take one more.",
            },
            "guidance": {
                "type": "number",
                "minimum": 0,
                "maximum": 1000,
                "default": 7.5,
                "description": "How strictly the text is followed. Above 1 most models compute "
                "each step twice, with the text and without.",
            },
        },
    }

    def prompts(self, options: dict[str, Any], count: int | None = None) -> tuple[Prompt, ...]:
        """The measured requests in order, or the first ``count`` of an endless series."""
        named = ("images", "width", "height", "steps", "guidance")
        picture = Picture(*(options[name] for name in named))
        return tuple(Prompt(item, text, 0, picture) for item, text in texts(options, count))


WORKLOAD = Images()
