"""What a finished request left behind: raw reads → chunks, text, usage, times. Pure.

The hot path of the driver only appends ``(monotonic ns, bytes)``; everything here happens after
a stage, or after a crash from the spool.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from kit import jsonio
from kit.drive.body import Answer, MalformedAnswerError, Reads, answer_of, one_line, shown
from kit.errors import KitError
from kit.model import Record, Request, Response

Status = Literal["ok", "error", "timeout", "aborted"]
_ERROR_SHOWN = 300
_FIELDS = (b":", b"event:", b"id:", b"retry:")


class Raw(Record, frozen=True, kw_only=True):
    """One request as the hot path leaves it; times are absolute monotonic ns.

    ``reads`` holds every read from the socket with its time, HTTP's framing included. ``status``
    and ``error`` tell of the connection; what the answer says is found here.
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


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None


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


_DECODER = msgspec.json.Decoder(_Chunk)


def finished(raw: Raw, origin: int) -> tuple[Request, Response]:
    """The two records of one request; an answer that cannot be understood becomes an error."""
    story = _Story()
    http_status: int | None = None
    error: str | None
    try:
        answer = answer_of(raw.reads)
        http_status = answer.status if answer else None
        error = _tell(answer, story)
    except MalformedAnswerError as malformed:
        error = str(malformed)
    status: Status = "error" if error else "ok"
    if raw.status != "ok":
        status, error = raw.status, raw.error
    return _request(raw, origin, story, status, error, http_status), _response(raw, origin, story)


def _tell(answer: Answer | None, story: _Story) -> str | None:
    """Read ``answer`` into ``story``; returns what is wrong with it, or raises it."""
    if answer is None:
        return "the server closed the connection without an answer"
    if answer.status != 200:
        said = b"".join(data for _, data in answer.body)
        return f"HTTP {answer.status}: {one_line(said, _ERROR_SHOWN)}"
    story.read(answer.body, answer.complete)
    if story.finish_reason is not None and (story.done or answer.complete):
        return None
    if story.done and story.texts:  # some servers never say why they finished
        return None
    return "the server ended the stream before the answer was finished"


class _Story:
    """Reads a stream event by event, keeping what the records need."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.times: list[int] = []
        self.usage: dict[str, Any] | None = None
        self.timings: dict[str, Any] | None = None
        self.finish_reason: str | None = None
        self.done = False

    def read(self, body: Reads, complete: bool) -> None:
        for time_ns, data in events(body, complete):
            if data == b"[DONE]":
                self.done = True
            elif data:
                self._take(time_ns, data)

    def _take(self, time_ns: int, data: bytes) -> None:
        try:
            chunk = _DECODER.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise MalformedAnswerError(
                f"the server sent what is not an OpenAI chunk: {shown(data)}"
            ) from error
        if chunk.error is not None:
            raise MalformedAnswerError(
                f"the server reported an error in the stream: {shown(str(chunk.error).encode())}"
            )
        if chunk.usage or chunk.timings:
            self.usage = _storable(chunk.usage) or self.usage
            self.timings = _storable(chunk.timings) or self.timings
        for choice in chunk.choices:
            self.finish_reason = choice.finish_reason or self.finish_reason
            text = _text_of(choice)
            if text:
                self.texts.append(text)
                self.times.append(time_ns)


def _storable(said: dict[str, Any] | None) -> dict[str, Any] | None:
    """``said`` if an archive can hold it: no integer beyond 2⁵³, no depth that verify refuses."""
    if said is None:
        return None
    try:
        jsonio.parse(jsonio.canonical({"in": {"a": said}}))
    except (KitError, ValueError, RecursionError) as error:
        raise MalformedAnswerError(f"the server's usage cannot be stored: {error}") from error
    return said


def events(body: Reads, complete: bool = True) -> Iterator[tuple[int, bytes]]:
    """The data of every server-sent event, with the time of the read that brought its last byte.

    Args:
        complete: whether the body is whole; if not, an event that was cut short is left out.

    Raises:
        MalformedAnswerError: bytes that are neither fields nor comments of server-sent events.
    """
    if any(b"\r" in data for _, data in body):
        body = _newlines(body)
    whole = b"".join(data for _, data in body)
    at, arrived, end = -1, 0, 0
    blocks = whole.split(b"\n\n")
    for block in blocks if complete else blocks[:-1]:
        end = min(end + len(block) + 2, len(whole))
        while arrived < end:
            at += 1
            arrived += len(body[at][1])
        data = _data_of(block)
        if data is not None:
            yield body[at][0], data


def _newlines(body: Reads) -> list[tuple[int, bytes]]:
    """The body with plain newlines; a CR that ends a read waits for the LF of the next."""
    found: list[tuple[int, bytes]] = []
    held = b""
    for time_ns, data in body:
        data = held + data
        held = b"\r" if data.endswith(b"\r") else b""
        found.append((time_ns, data.removesuffix(b"\r").replace(b"\r\n", b"\n")))
    return found


def _data_of(block: bytes) -> bytes | None:
    """The data of one event; None where it has none (a comment, a bare field, the end)."""
    if block.startswith(b"data:") and b"\n" not in block:
        return block[5:].strip()
    lines = []
    for line in block.split(b"\n"):
        if line.startswith(b"data:"):
            lines.append(line[5:].strip())
        elif line and not line.startswith(_FIELDS):
            raise MalformedAnswerError(
                f"the server sent what is not an event stream: {shown(line)}"
            )
    return b"\n".join(lines) if lines else None


def _text_of(choice: _Choice) -> str:
    """The text that a chunk adds; what a reasoning model thinks is output like any other."""
    delta = choice.delta
    if delta is None:
        return choice.text or ""
    return (delta.reasoning_content or delta.reasoning or "") + (delta.content or "")


def _request(
    raw: Raw,
    origin: int,
    story: _Story,
    status: Status,
    error: str | None,
    http_status: int | None,
) -> Request:
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
        http_status=http_status,
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
