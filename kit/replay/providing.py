"""Bring image and weights to this machine: exactly what an `Undertaking` lists, after the yes."""

from __future__ import annotations

from collections.abc import Callable

from kit import images, weights
from kit.replay.undertaking import Undertaking

Say = Callable[[str], None]
Progress = Callable[[str, float, float | None], None]


def _nothing(*_: object) -> None:
    """A ``progress`` that nobody looks at."""


def provide(agreed: Undertaking, say: Say, progress: Progress = _nothing) -> None:
    """Do what ``agreed`` lists: rebuild the image, fetch the model files.

    The recipe and the sources are those that were shown: the archive is not read again.

    Raises:
        Blocked: what is missing, and nothing that was listed would bring it.
        ImageUnavailable, WeightsUnavailable: a part cannot be had, or is not what was pinned.
    """
    if agreed.obstacle:
        raise agreed.obstacle
    if agreed.image.recipe:
        images.build_recipe(agreed.image.recipe, say, progress)
    for part in agreed.files:
        if part.state == "fetch":
            weights.ensure(part.file, (), say, progress)
