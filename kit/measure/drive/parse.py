"""A finished request: raw reads → its two records. Pure, but for images, which are kept as files.

The hot path of the driver only appends ``(monotonic ns, bytes)``. Parsing happens after a stage, or
after a crash from the spool.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any, Literal

from msgspec import UNSET, UnsetType

from kit.core import png
from kit.core.model import ImageFile, Makes, Record, Request, Response
from kit.measure.drive import dialects
from kit.measure.drive.answer import Outcome, Reading
from kit.measure.drive.body import Answer, MalformedAnswerError, answer_of
from kit.measure.drive.pieces import Piece, storable, text_of, tokens_of

Status = Literal["ok", "error", "timeout", "aborted"]
Keep = Callable[[str, bytes], None]
IMAGES = "images"  # the folder of a launch's images


class Raw(Record, frozen=True, kw_only=True):
    """One request from the hot path; times are absolute monotonic ns.

    ``reads`` holds every read from the socket with its time, with HTTP's framing. ``status``,
    ``code`` and ``error`` are about the connection only. ``end_mark``: the server's dialect ends
    each stream with ``[DONE]``. ``makes``: whether a text or images were asked for.
    """

    index: int
    stage: str
    item: str
    intended: int
    sent: int | None
    done: int
    status: Status
    error: str | None
    reads: list[tuple[int, bytes]]
    code: str | None = None
    end_mark: bool = True
    makes: Makes = "text"


class _Content(Record, frozen=True, kw_only=True):
    """The content of an answer for the records."""

    http_status: int | None
    pieces: list[Piece]
    usage: dict[str, Any] | None
    timings: dict[str, Any] | None
    finish_reason: str | None
    streamed: bool
    images: tuple[ImageFile, ...] | UnsetType


def finished(raw: Raw, origin: int, keep: Keep = lambda *_: None) -> tuple[Request, Response]:
    """The two records of one request; a failed answer becomes an error.

    Args:
        keep: is given name and bytes of each image of a good answer.
    """
    answer: Answer | None = None
    reading = Reading(end_mark=raw.end_mark, makes=raw.makes)
    try:
        answer = answer_of(raw.reads)
        outcome = reading.read(answer)
    except MalformedAnswerError as malformed:
        outcome = Outcome("not_http", str(malformed))
    status: Status = "error" if outcome.code else "ok"
    if raw.status != "ok":  # an error of the connection comes first
        status, outcome = raw.status, Outcome(raw.code or raw.status, raw.error or raw.status)
    if status != "ok":
        reading.images.clear()
    content = _content(answer, reading, raw, keep)
    return _request(raw, origin, content, status, outcome), _response(raw, origin, content)


def _content(answer: Answer | None, reading: Reading, raw: Raw, keep: Keep) -> _Content:
    usage = dialects.counted(storable(reading.usage))
    return _Content(
        http_status=answer.status if answer else None,
        pieces=tokens_of(reading.pieces, usage.get("completion_tokens")),
        usage=usage or None,
        timings=storable(reading.timings) or None,
        finish_reason=reading.finish_reason,
        streamed=reading.streamed,
        images=UNSET if raw.makes == "text" else tuple(_images(reading.images, raw.index, keep)),
    )


def _images(images: list[bytes], index: int, keep: Keep) -> Iterator[ImageFile]:
    """Each image as a record, its file kept beside the records."""
    for number, data in enumerate(images):
        name = f"{IMAGES}/{index:05d}-{number}.png"
        keep(name, data)
        width, height = png.sides(data)
        sha256 = hashlib.sha256(data).hexdigest()
        yield ImageFile(file=name, sha256=sha256, width=width, height=height)


def _times(content: _Content, origin: int) -> tuple[int, ...]:
    """When each chunk with a token came; empty for an answer that came whole."""
    return tuple(p.time_ns - origin for p in content.pieces) if content.streamed else ()


def _request(raw: Raw, origin: int, content: _Content, status: Status, outcome: Outcome) -> Request:
    usage, times = content.usage or {}, _times(content, origin)
    return Request(
        index=raw.index,
        stage=raw.stage,
        item=raw.item,
        intended=raw.intended - origin,
        sent=None if raw.sent is None else raw.sent - origin,
        first_byte=raw.reads[0][0] - origin if raw.reads else None,
        first_token=times[0] if times else None,
        last_token=times[-1] if times else None,
        done=raw.done - origin,
        status=status,
        http_status=content.http_status,
        error=outcome.error or None,
        code=outcome.code or None,
        prompt_tokens=dialects.count_of(usage.get("prompt_tokens")),
        output_tokens=dialects.count_of(usage.get("completion_tokens")),
        cached_tokens=dialects.cached_of(usage, content.timings or {}),
        finish_reason=content.finish_reason,
        images=UNSET if content.images is UNSET else len(content.images),
        steps=UNSET if content.images is UNSET else dialects.count_of(usage.get("steps")),
    )


def _response(raw: Raw, origin: int, content: _Content) -> Response:
    text = text_of(content.pieces)
    return Response(
        index=raw.index,
        stage=raw.stage,
        text=text,
        text_sha256=hashlib.sha256(text.encode()).hexdigest(),
        chunk_times=_times(content, origin),
        usage=content.usage,
        timings=content.timings,
        images=content.images,
    )
