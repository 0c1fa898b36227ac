"""OpenAI's images API: what a request asks for, and the document that answers it.

Beside OpenAI's own fields a request has ``num_inference_steps``, ``guidance_scale`` and ``seed``,
by the names that servers of open models use. An answer comes whole, its images as PNG in base64.
"""

from __future__ import annotations

import base64
import json
import re
import time
from typing import Any, NamedTuple

from adapter import Api, BadRequest, Row

GENERATE = "/v1/images/generations"
_SIZE = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})")
_NUMBERS = {  # name: kind, default, least, most
    "n": (int, 1, 1, 64),
    "num_inference_steps": (int, None, 1, 10_000),
    "guidance_scale": (float, None, 0, 1000),
    "seed": (int, 0, 0, (1 << 63) - 65),
}
_TEXTS = {"size", "model", "prompt", "response_format", "output_format"}


class Asked(NamedTuple):
    """Images as asked for; ``steps`` and ``guidance`` None are the pipeline's own."""

    prompt: str
    n: int
    width: int
    height: int
    steps: int | None
    guidance: float | None
    seed: int
    stream: bool = False


class Picture(NamedTuple):
    """One image: a PNG file, and by how many denoising steps it was made."""

    png: bytes
    steps: int


def read_request(path: str, body: bytes) -> Asked:  # noqa: ARG001 one path, and /tokenize alike
    """The images that ``body`` asks for.

    Raises:
        BadRequest: it is no such request, or asks for what this server does not do.
    """
    try:
        asked = json.loads(body)
    except ValueError as problem:
        raise BadRequest(f"not JSON: {problem}") from problem
    if not isinstance(asked, dict):
        raise BadRequest("not a JSON object")
    unknown = sorted(set(asked) - {*_NUMBERS, *_TEXTS})
    if unknown:
        raise BadRequest(f"not supported: {', '.join(unknown)}")
    if not isinstance(asked.get("prompt"), str) or not asked["prompt"]:
        raise BadRequest("prompt is not a text")
    for name, only in (("response_format", "b64_json"), ("output_format", "png")):
        if asked.get(name, only) != only:
            raise BadRequest(f"{name} is {only} and nothing else")
    size = _SIZE.fullmatch(str(asked.get("size")))
    if size is None:
        raise BadRequest("size is not WIDTHxHEIGHT, in pixels")
    numbers = {name: _number(asked, name) for name in _NUMBERS}
    return Asked(
        prompt=asked["prompt"],
        n=numbers["n"],
        width=int(size[1]),
        height=int(size[2]),
        steps=numbers["num_inference_steps"],
        guidance=numbers["guidance_scale"],
        seed=numbers["seed"],
    )


def _number(asked: dict[str, Any], name: str) -> Any:
    kind, default, least, most = _NUMBERS[name]
    value = asked.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, (int, kind)):
        raise BadRequest(f"{name} is not of type {kind.__name__}")
    if not least <= value <= most:
        raise BadRequest(f"{name} is not between {least} and {most}")
    return kind(value)


class PictureForm:
    """The JSON document of one answer."""

    def __init__(self, asked: Asked, model: str, number: int) -> None:  # noqa: ARG002 as adapter.Form
        self._frame = {"created": int(time.time()), "model": model}

    def chunk(self, piece: Picture) -> dict[str, Any]:
        raise NotImplementedError("images are not streamed")

    def last(self, row: Row, count: int, batch: int) -> dict[str, Any] | None:
        raise NotImplementedError("images are not streamed")

    def whole(self, row: Row, pieces: list[Picture], batch: int) -> dict[str, Any]:
        """The images, and what they took: steps over all of them, and the prompt's tokens."""
        images = [{"b64_json": base64.b64encode(piece.png).decode()} for piece in pieces]
        usage = {
            "images": len(pieces),
            "steps": sum(piece.steps for piece in pieces),
            "prompt_tokens": len(row.ids),
            "prompt_tokens_details": {"cached_tokens": 0, "dropped_tokens": row.dropped},
        }
        return {**self._frame, "data": images, "usage": usage, "batch": batch}


PICTURES = Api((GENERATE,), read_request, PictureForm)
