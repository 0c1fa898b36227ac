"""One answer, parsed event by event to an outcome: success, or a reason code. Pure.

The states of an answer::

    WAITING ──chunk──▶ ANSWERING ──finish reason──▶ FINISHED ──end mark──▶ ENDED
       └───────────────────┴── an error, a broken chunk ──┴───────────────────┴──▶ FAILED

It succeeded if all of this holds: HTTP says that it is complete; the server gave a finish reason
that is an end (`kit.measure.drive.dialects.ENDS`); it sent its end mark, if its dialect has one;
and nothing in it reports an error. Everything else is a failure with a code and its evidence.
Counts, extra fields and texts decide nothing: they may be null, absent or unknown. One count does:
an answer with other images than its server counted is not whole.
"""

from __future__ import annotations

import base64
import enum
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from kit.core import png
from kit.core.limits import MOST_IMAGES
from kit.core.model import Makes
from kit.measure.drive import dialects
from kit.measure.drive.body import Answer, Reads, one_line, quoted
from kit.measure.drive.pieces import Piece
from kit.measure.drive.sse import BOM, COMMENT, STRAY, events

_ERROR_CHARS = 300
_EVIDENCE_CHARS = 80
_NO_DOCUMENT = object()
_REPORTED = "the server reported an error in the stream: "


class State(enum.IntEnum):
    """The state of an answer."""

    WAITING = enum.auto()
    ANSWERING = enum.auto()
    FINISHED = enum.auto()
    ENDED = enum.auto()
    FAILED = enum.auto()


class Outcome(NamedTuple):
    """The outcome of an answer: ``code`` and ``error`` are empty if it succeeded."""

    code: str = ""
    error: str = ""


class Reading:
    """Reads the answer to one request, keeping what the records need.

    Args:
        end_mark: whether the server's dialect ends every stream with ``[DONE]``.
        makes: what was asked for: a text, or images, which come whole.

    Attributes:
        pieces: the pieces of the chunks, in order; without times if the answer came whole.
        images: PNG files, in order.
    """

    def __init__(self, *, end_mark: bool = True, makes: Makes = "text") -> None:
        self.state = State.WAITING
        self.pieces: list[Piece] = []
        self.usage: dict[str, Any] = {}
        self.timings: dict[str, Any] = {}
        self.finish_reason: str | None = None
        self.images: list[bytes] = []
        self.streamed = True
        self._end_mark, self._makes = end_mark, makes
        self._marked = False
        self._begun: set[int] = set()
        self._outcome = Outcome()
        self._odd = b""  # the first item that was no part of an answer

    def read(self, answer: Answer | None) -> Outcome:
        """Read ``answer`` to its end; its pieces stay readable whatever the outcome."""
        if answer is None:
            return Outcome("no_answer", "the server closed the connection without an answer")
        if not 200 <= answer.status < 300:
            body = b"".join(data for _, data in answer.body)
            return Outcome("http_status", f"HTTP {answer.status}: {one_line(body, _ERROR_CHARS)}")
        self._read_body(answer)
        return self._end(answer)

    # --- events -------------------------------------------------------------------------------

    def _read_body(self, answer: Answer) -> None:
        document = _whole_document(answer.body)
        if document is not _NO_DOCUMENT:
            self.streamed = False
            self._take_document(answer.body[-1][0], document)
            return
        between = b"\n" if _is_document(answer.body) else b"\n\n"
        self.read_events(answer.body, answer.complete, between)

    def read_events(self, body: Reads, complete: bool = True, between: bytes = b"\n\n") -> None:
        """Read events, up to the first failure; arguments as of `kit.measure.drive.sse.events`."""
        for time_ns, name, data in events(body, complete, between):
            self._take(time_ns, name, data)
            if self.state is State.FAILED:
                return

    def _take(self, time_ns: int, name: bytes, data: bytes) -> None:
        if not name and data.startswith(b"{"):
            self._take_data(time_ns, name, data)
        elif name == COMMENT:
            self._take_comment(data)
        elif name == STRAY:
            self._odd = self._odd or data
        elif name.lower().endswith((b"error", b"failed")):
            self._fail("error_event", _REPORTED + repr(_error_message(data)))
        elif data == dialects.END_MARK:
            self._marked = True
            self._goes_to(State.ENDED)
        elif not dialects.is_idle(data):
            self._take_data(time_ns, name, data)

    def _take_comment(self, comment: bytes) -> None:
        """Take a comment: they mean nothing, but some gateways report an error in one."""
        document = _document(comment) if comment.startswith(b"{") else None
        if dialects.is_fault_comment(comment) or (
            isinstance(document, Mapping) and dialects.fault_of(document) is not None
        ):
            self._fail("error_event", _REPORTED + repr(_error_message(comment)))

    def _take_data(self, time_ns: int, name: bytes, data: bytes) -> None:
        document = _document(data)
        if document is not _NO_DOCUMENT:
            self._take_document(time_ns, document)
        elif b"\n" in data:  # two events with a single newline between them
            for line in data.split(b"\n"):
                self._take(time_ns, name, line)
        elif name in (b"", b"message") or data.startswith(b"{"):
            self._fail(
                "not_a_chunk", f"the server sent what is not an OpenAI chunk: {_quoted(data)}"
            )
        # An event with the server's own name may hold anything.

    def _take_document(self, time_ns: int, document: Any) -> None:
        """Take chunks; other data (``null``, a number, ``"ping"``) only keep the connection open,
        but any other text is a failure."""
        if isinstance(document, Mapping):
            self._take_chunk(time_ns, document)
        elif isinstance(document, list):
            for part in document:
                self._take_document(time_ns, part)
        elif isinstance(document, str) and not dialects.is_idle(
            document.encode("utf-8", "replace")
        ):
            self._fail(
                "not_a_chunk", f"the server sent what is not an OpenAI chunk: {_quoted(document)}"
            )

    def _take_chunk(self, time_ns: int, chunk: Mapping[str, Any]) -> None:
        text = dialects.plain_text(chunk) if self._makes == "text" else None
        if text is not None:
            if self.state is State.WAITING:
                self._goes_to(State.ANSWERING)
            self._begun.add(0)
            self.pieces.append(Piece(time_ns, 0, text))
            return
        fault = dialects.fault_of(chunk)
        if fault is not None:
            self._fail("error_reported", _REPORTED + repr(fault))
            return
        self.usage |= {k: v for k, v in dialects.usage_of(chunk).items() if v is not None}
        if isinstance(timings := chunk.get("timings"), Mapping):
            self.timings |= timings
        if self._makes == "image":
            self._take_images(chunk)
        else:
            for index, choice in dialects.choices_of(chunk):
                self._goes_to(State.ANSWERING)
                self._take_choice(time_ns, index, choice)
        if self.state is State.WAITING:
            self._odd = self._odd or json.dumps(chunk, default=str).encode()

    def _take_images(self, document: Mapping[str, Any]) -> None:
        """Take a whole answer's images; one that is no sound PNG file fails the answer."""
        for number, text in enumerate(dialects.images_of(document), 1):
            try:
                image = base64.b64decode(text, validate=True)
                png.sides(image)
            except ValueError as problem:
                self._fail("not_an_image", f"image {number} of the answer is no PNG: {problem}")
                return
            if len(self.images) == MOST_IMAGES:
                self._fail("not_an_image", f"the answer has more than {MOST_IMAGES} images")
                return
            self.images.append(image)
            self._goes_to(State.FINISHED)

    def _take_choice(self, time_ns: int, index: int, choice: Mapping[str, Any]) -> None:
        reason, text = dialects.reason_of(choice), dialects.text_of(choice)
        first = index not in self._begun
        self._begun.add(index)
        # An empty text at the head (only the role) or with the finish reason is no token.
        is_empty = text == "" and not reason and not (first and "role" in dialects.part_of(choice))
        if text or is_empty:
            self.pieces.append(Piece(time_ns, index, text or ""))
        if reason:
            self.finish_reason = reason
            if dialects.is_end(reason):
                self._goes_to(State.FINISHED)
            else:
                message = f"the server ended the answer for the reason {reason!r}, which is no end"
                self._fail("finish_reason", message)

    # --- states -------------------------------------------------------------------------------

    def _goes_to(self, state: State) -> None:
        """Advance the state, never back: a late chunk or an early end mark changes nothing."""
        if state is State.ENDED and self.state is not State.FINISHED:
            return
        if state is State.FINISHED and self._marked:
            state = State.ENDED
        self.state = max(self.state, state)

    def _fail(self, code: str, error: str) -> None:
        """Record a failure; only the first one counts."""
        if self.state is not State.FAILED:
            self.state, self._outcome = State.FAILED, Outcome(code, error)

    def _end(self, answer: Answer) -> Outcome:
        """The outcome, once all was read."""
        if self.state is State.FAILED:
            return self._outcome
        if answer.fault:
            return Outcome("bad_framing", answer.fault)
        if not answer.complete:
            message = "the connection ended before the answer was finished: HTTP's end is missing"
            return Outcome("cut", message)
        if self.state is State.WAITING and self._marked and not self._odd:
            return Outcome("no_finish", "the server ended the stream without an answer in it")
        if self.state is State.WAITING:
            odd = _quoted(self._odd or b"".join(data for _, data in answer.body))
            return Outcome("not_an_answer", f"the server sent what is not an event stream: {odd}")
        if self.state is State.ANSWERING:
            message = "the server ended the stream before the answer was finished: no finish reason"
            return Outcome("no_finish", message)
        if not self._shows_its_end(answer):
            return _UNMARKED
        counted, sent = dialects.count_of(self.usage.get("images")), len(self.images)
        if self._makes == "image" and counted not in (None, sent):
            return Outcome("image_count", f"the server counted {counted} images and sent {sent}")
        return Outcome()

    def _shows_its_end(self, answer: Answer) -> bool:
        """Whether the end shows: a document is closed; a stream has its mark, or HTTP's framing."""
        if not self.streamed or self.state is State.ENDED:
            return True
        return not self._end_mark and answer.framed


_UNMARKED = Outcome("no_end_mark", "the server ended the stream without its end mark [DONE]")


# --- documents --------------------------------------------------------------------------------


def _is_document(body: Reads) -> bool:
    """Whether the body begins as JSON, and not as an event stream."""
    begin = next((d for _, data in body if (d := data.removeprefix(BOM).lstrip())), b"")
    return begin.startswith((b"{", b"["))


def _whole_document(body: Reads) -> Any:
    if not _is_document(body):
        return _NO_DOCUMENT
    return _document(b"".join(data for _, data in body).removeprefix(BOM))


def _document(data: bytes) -> Any:
    """Parse JSON leniently: with NaN, halves of letters, broken UTF-8; `_NO_DOCUMENT` for none."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return json.loads(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return _NO_DOCUMENT


def _error_message(data: bytes) -> str:
    """The message of an error event, in JSON or as a sentence."""
    document = _document(data)
    if isinstance(document, Mapping):
        return dialects.fault_of(document) or dialects.message_of(document)
    return one_line(data, _EVIDENCE_CHARS * 2)


def _quoted(odd: bytes | str) -> str:
    return quoted(odd if isinstance(odd, bytes) else odd.encode("utf-8", "replace"))
