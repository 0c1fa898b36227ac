"""What a workload makes: prompts, and what is wanted of each. Nothing of it is stored."""

from __future__ import annotations

from typing import NamedTuple


class Picture(NamedTuple):
    """Images wanted of a prompt: how many, their sides (pixels), denoising steps, guidance."""

    images: int
    width: int
    height: int
    steps: int
    guidance: float


class Prompt(NamedTuple):
    """One piece of work: an id that may be published, the text, and what is wanted of it: a text
    of ``max_tokens``, or images."""

    item: str
    text: str
    max_tokens: int
    picture: Picture | None = None
