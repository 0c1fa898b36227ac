"""The materialised schedule: every request of a launch, decided before anything runs. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, repeat
from typing import Any, Literal

from msgspec import UNSET

from kit.core.model import ArrivalsSpec, ScheduledRequest
from kit.core.prompt import Prompt
from kit.spec.workloads.arrivals import times_ns

RequestOf = Callable[[Prompt, int], tuple[str, dict[str, Any]]]
Stage = Literal["warmup", "measured"]


def requests(
    warmups: Sequence[Prompt],
    measured: Sequence[Prompt],
    arrivals: ArrivalsSpec,
    request_of: RequestOf,
    *,
    equal_work: bool,
    unique_prefix: bool,
) -> Iterator[ScheduledRequest]:
    """Warm-up requests, then measured ones; indices run through both.

    They are made one at a time: a hostile spec may describe gigabytes of them.

    Args:
        request_of: a runtime's translation of a prompt into path and body.
        equal_work: whether the runtime generates exactly the tokens asked for.
        unique_prefix: begin each text with its own number, so that no cache can serve it. The
            text of an image stays as it is: its seed differs.
    """
    stages: list[tuple[Stage, Prompt]] = [("warmup", prompt) for prompt in warmups]
    stages += [("measured", prompt) for prompt in measured]
    # The warm-up is always a closed loop: it only has to use every slot once.
    times = chain(repeat(None, len(warmups)), times_ns(arrivals, len(measured)))
    for index, ((stage, prompt), at_ns) in enumerate(zip(stages, times, strict=False)):
        yield _scheduled(index, stage, prompt, at_ns, request_of, equal_work, unique_prefix)


def _scheduled(
    index: int,
    stage: Stage,
    prompt: Prompt,
    at_ns: int | None,
    request_of: RequestOf,
    equal_work: bool,
    unique_prefix: bool,
) -> ScheduledRequest:
    picture = prompt.picture
    is_marked = unique_prefix and picture is None
    text = f"[{index:05d}] {prompt.text}" if is_marked else prompt.text
    path, body = request_of(prompt._replace(text=text), index)
    return ScheduledRequest(
        index=index,
        stage=stage,
        item=prompt.item,
        path=path,
        body=body,
        at_ns=at_ns,
        expect_tokens=prompt.max_tokens if equal_work and picture is None else None,
        expect_images=picture.images if picture else UNSET,
        expect_steps=picture.images * picture.steps if picture else UNSET,
    )
