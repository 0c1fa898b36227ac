"""What a finished request left behind: raw reads → chunks, text, usage, times. Pure.

The hot path of the driver only appends ``(monotonic ns, bytes)``; everything here happens after
a stage, or after a crash from the spool.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from kit.model import Record, Request, Response

Status = Literal["ok", "error", "timeout", "aborted"]


class Raw(Record, frozen=True, kw_only=True):
    """One request as the hot path leaves it; times are absolute monotonic ns.

    ``reads`` holds every read from the socket with the time it returned.
    """

    index: int
    stage: str
    item: str
    intended: int
    sent: int | None
    done: int
    status: Status
    http_status: int | None
    error: str | None
    reads: list[tuple[int, bytes]]


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    text: str | None = None
    finish_reason: str | None = None


class _Chunk(msgspec.Struct):
    """The part of an OpenAI stream chunk that kit reads; runtimes add fields of their own."""

    choices: list[_Choice] = []
    usage: dict[str, Any] | None = None
    timings: dict[str, Any] | None = None
    error: Any = None


class MalformedStreamError(ValueError):
    """A stream that is not server-sent events of OpenAI chunks."""


_DECODER = msgspec.json.Decoder(_Chunk)


def finished(raw: Raw, origin: int) -> tuple[Request, Response]:
    """The two records of one request; a stream that cannot be understood becomes an error."""
    story = _Story()
    status, error = raw.status, raw.error
    try:
        story.read(raw.reads)
        if status == "ok" and not story.done and story.finish_reason is None:
            status, error = "error", "the stream ended before the answer was finished"
    except MalformedStreamError as malformed:
        if status == "ok":
            status, error = "error", str(malformed)
    return _request(raw, origin, story, status, error), _response(raw, origin, story)


class _Story:
    """Reads a stream event by event, keeping what the records need."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.times: list[int] = []
        self.usage: dict[str, Any] | None = None
        self.timings: dict[str, Any] | None = None
        self.finish_reason: str | None = None
        self.done = False

    def read(self, reads: list[tuple[int, bytes]]) -> None:
        for time_ns, data in events(reads):
            if data == b"[DONE]":
                self.done = True
                continue
            self._take(time_ns, data)

    def _take(self, time_ns: int, data: bytes) -> None:
        try:
            chunk = _DECODER.decode(data)
        except msgspec.MsgspecError as error:
            shown = data[:80].decode("utf-8", "replace")
            raise MalformedStreamError(
                f"the server sent what is not an OpenAI chunk: {shown!r}"
            ) from error
        if chunk.error is not None:
            raise MalformedStreamError(
                f"the server reported an error in the stream: {str(chunk.error)[:200]}"
            )
        self.usage = chunk.usage or self.usage
        self.timings = chunk.timings or self.timings
        for choice in chunk.choices:
            self.finish_reason = choice.finish_reason or self.finish_reason
            text = _text_of(choice)
            if text:
                self.texts.append(text)
                self.times.append(time_ns)


def events(reads: list[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    """Every server-sent event's data, with the time of the read that completed it.

    Raises:
        MalformedStreamError: bytes that are neither fields nor comments of server-sent events.
    """
    rest = b""
    for time_ns, data in reads:
        rest = (rest + data).replace(b"\r\n", b"\n")
        *blocks, rest = rest.split(b"\n\n")
        for block in blocks:
            yield from _data_of(time_ns, block)
    if rest.strip():
        yield from _data_of(reads[-1][0], rest)


def _data_of(time_ns: int, block: bytes) -> Iterator[tuple[int, bytes]]:
    lines = []
    for line in block.split(b"\n"):
        if line.startswith(b"data:"):
            lines.append(line[5:].strip())
        elif line and not line.startswith((b":", b"event:", b"id:", b"retry:")):
            shown = line[:80].decode("utf-8", "replace")
            raise MalformedStreamError(f"the server sent what is not an event stream: {shown!r}")
    if lines:
        yield time_ns, b"\n".join(lines)


def _text_of(choice: _Choice) -> str:
    if choice.delta is not None:
        return (choice.delta.reasoning_content or "") + (choice.delta.content or "")
    return choice.text or ""


def _request(raw: Raw, origin: int, story: _Story, status: Status, error: str | None) -> Request:
    usage = story.usage or {}
    return Request(
        index=raw.index,
        stage=raw.stage,
        item=raw.item,
        intended=raw.intended - origin,
        sent=None if raw.sent is None else raw.sent - origin,
        first_byte=raw.reads[0][0] - origin if raw.reads else None,
        first_token=story.times[0] - origin if story.times else None,
        last_token=story.times[-1] - origin if story.times else None,
        done=raw.done - origin,
        status=status,
        http_status=raw.http_status,
        error=error,
        prompt_tokens=_count(usage.get("prompt_tokens")),
        output_tokens=_count(usage.get("completion_tokens")),
        cached_tokens=_cached(usage, story.timings or {}),
        finish_reason=story.finish_reason,
    )


def _response(raw: Raw, origin: int, story: _Story) -> Response:
    text = "".join(story.texts)
    return Response(
        index=raw.index,
        stage=raw.stage,
        text=text,
        text_sha256=hashlib.sha256(text.encode()).hexdigest(),
        chunk_times=tuple(t - origin for t in story.times),
        usage=story.usage,
        timings=story.timings,
    )


def _cached(usage: dict[str, Any], timings: dict[str, Any]) -> int | None:
    """Prompt tokens served from a cache, where the server says; llama.cpp says ``cache_n``."""
    details = usage.get("prompt_tokens_details")
    said = details.get("cached_tokens") if isinstance(details, dict) else None
    return _count(said if said is not None else timings.get("cache_n"))


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
