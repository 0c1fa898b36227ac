"""What servers and gateways really send: which answers were well, which were not, and why."""

from __future__ import annotations

import gzip
import json
import zlib
from itertools import pairwise
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import UNSET

from kit.core import jsonio
from kit.core.model import Request, Response
from kit.measure.drive import dialects
from kit.measure.drive.answer import Reading, State
from kit.measure.drive.body import answer_of
from tests.drive.conftest import Bench
from tests.drive.server import HEAD, LAST, event, frame, stream
from tests.drive.test_parse import answer, records
from tests.drive.test_process import run
from tests.properties import examples

USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
DONE = event("[DONE]")
PLAIN_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


def delta(finish: Any = None, **fields: Any) -> bytes:
    return event({"choices": [{"index": 0, "delta": fields, "finish_reason": finish}]})


def choice(**fields: Any) -> bytes:
    return event({"choices": [fields]})


def usage(kind: Any) -> bytes:
    """The usage chunk with its counts as of ``kind``, or null."""
    return event({"usage": {key: kind and kind(count) for key, count in USAGE.items()}})


W = [delta(content="red"), delta(content=" green"), delta(content=" blue")]
FIN = delta("stop")
COUNTS = event({"choices": [], "usage": USAGE})
TAIL = [FIN, COUNTS, DONE]
TEXT = "red green blue"
PLAIN = [*W, *TAIL]


def after(*first: bytes) -> bytes:
    """A good stream with ``first`` between its first two words."""
    return stream([W[0], *first, *W[1:], *TAIL])


def named(name: str, data: str) -> bytes:
    return f"event: {name}\ndata: {data}\n\n".encode()


def body(
    data: bytes, kind: str = "text/event-stream", code: str = "200 OK", more: str = ""
) -> bytes:
    return f"HTTP/1.1 {code}\r\nContent-Type: {kind}\r\n{more}\r\n".encode() + data


def packed(data: bytes, name: str) -> bytes:
    return body(data, more=f"Content-Encoding: {name}\r\nContent-Length: {len(data)}\r\n")


WHOLE = {"choices": [{"message": {"content": TEXT}, "finish_reason": "stop"}], "usage": USAGE}
ALL = b"".join(PLAIN)

GOOD = {
    "plain": stream(PLAIN),
    "choices null": stream([*W, FIN, event({"choices": None, "usage": USAGE}), DONE]),
    "choices absent": stream([*W, FIN, event({"usage": USAGE}), DONE]),
    "choices with null": after(event({"choices": [None]})),
    "data null": after(event("null")),
    "data empty": after(b"data:\n\n", b"data: \n\n"),
    "data empty object": after(event("{}")),
    "data empty list": after(event("[]")),
    "data a number": after(event("1"), event("true")),
    "pings as data": after(event("ping"), event("[PING]"), event('"keep-alive"')),
    "pings as documents": after(event({"type": "ping"}), event({"object": "heartbeat"})),
    "named ping": after(named("ping", "1700000000"), named("heartbeat", "still here")),
    "named chunks": stream([b"event: message\n" + W[0], b"event: chunk\n" + W[1], W[2], *TAIL]),
    "content null": after(delta(content=None)),
    "delta null": stream([*W, choice(delta=None, finish_reason="stop"), *TAIL]),
    "delta absent": after(event({"choices": [{"index": 0}]})),
    "error null": after(event({"error": None, "choices": []}), event({"error": ""})),
    "error of nulls": after(event({"error": {"code": None, "message": ""}, "choices": []})),
    "usage null": stream([*W, event({"choices": [], "usage": None}), *TAIL]),
    "usage of nulls last": stream([*W, *TAIL[:2], usage(None), DONE]),
    "usage floats": stream([*W, FIN, usage(float), DONE]),
    "usage strings": stream([*W, FIN, usage(str), DONE]),
    "usage after the end mark": stream([*W, FIN, DONE, COUNTS]),
    "usage of a choice": stream([*W, choice(finish_reason="stop", usage=USAGE), DONE]),
    "usage by a gateway": stream([*W, FIN, event({"x_groq": {"usage": USAGE}}), DONE]),
    "early end mark": stream([W[0], DONE, *W[1:], *TAIL]),
    "finish reason empty until the end": stream([*(e.replace(b"null", b'""') for e in W), *TAIL]),
    "finish reason with a text": stream([*W[:2], delta("stop", content=" blue"), COUNTS, DONE]),
    "finish reason in capitals": stream([*W, delta("STOP"), COUNTS, DONE]),
    "finish reason as an object": stream([*W, delta({"type": "stop"}), COUNTS, DONE]),
    "logprobs": after(event({"choices": [{"delta": {}, "logprobs": {"content": []}}]})),
    "logprobs NaN": after(event('{"choices": [{"delta": {}, "logprobs": {"v": NaN}}]}')),
    "unknown fields": after(event({"choices": [], "prompt_progress": {"total": 3}, "ids": [1]})),
    "byte order mark": stream([b"\xef\xbb\xbf" + W[0], *PLAIN[1:]]),
    "CR LF": stream([e.replace(b"\n", b"\r\n") for e in PLAIN]),
    "CR alone": stream([e.replace(b"\n", b"\r") for e in PLAIN]),
    "comments": after(b":\n\n", b": OPENROUTER PROCESSING\n\n", b": keep-alive\n\n"),
    "a harmless comment": after(b": errors=0\n\n"),
    "unknown SSE field": stream([b"x-request: 12\n" + W[0], *PLAIN[1:]]),
    "field without colon": stream([b"data\n\n", *PLAIN]),
    "fields in capitals": stream([e.replace(b"data:", b"DATA:") for e in PLAIN]),
    "no blank after the colon": stream([e.replace(b"data: ", b"data:") for e in PLAIN]),
    "ids and retries": stream([b"id: 1\nretry: 3000\n" + e for e in PLAIN]),
    "data on several lines": stream([e.replace(b'"choices"', b'\ndata: "choices"') for e in PLAIN]),
    "one newline between two": stream([W[0][:-1] + W[1], W[2], *TAIL]),
    "no blank line at the end": stream([*PLAIN[:-1], b"data: [DONE]"]),
    "no newline at the end of documents": body(b"\n".join(e[6:-2] for e in PLAIN)),
    "several events in one HTTP chunk": HEAD + frame(ALL) + LAST,
    "trailers": HEAD + frame(ALL) + b"0\r\nServer-Timing: total;dur=12\r\n\r\n",
    "last chunk in zeros": HEAD + frame(ALL) + b"000;end\r\n\r\n",
    "until the connection ends": PLAIN_HEAD + ALL,
    "a length": body(ALL, more=f"Content-Length: {len(ALL)}\r\n"),
    "HTTP 201": body(ALL, code="201 Created"),
    "gzip": packed(gzip.compress(ALL), "gzip"),
    "gzip in pieces": packed(b"".join(map(gzip.compress, PLAIN)), "x-gzip"),
    "deflate": packed(zlib.compress(ALL), "deflate"),
    "identity": packed(ALL, "identity"),
    "not streamed": body(json.dumps(WHOLE).encode(), "application/json"),
    "not streamed, indented": body(json.dumps(WHOLE, indent=1).encode(), "application/json"),
    "a message for a delta": stream([event(WHOLE), DONE]),
    "thoughts": stream(
        [delta(content=None, reasoning_content="red"), delta(reasoning=" green"), W[2], *TAIL]
    ),
    "thoughts said twice": stream([delta(reasoning="red", reasoning_content="red"), *W[1:], *TAIL]),
    "thoughts as an object": stream([delta(reasoning={"text": "red"}), *W[1:], *TAIL]),
    "thoughts in detail": stream(
        [delta(reasoning_details=[{"type": "reasoning.text", "text": "red"}]), *W[1:], *TAIL]
    ),
    "content in parts": stream(
        [delta(content=[{"type": "thinking", "thinking": [{"text": "red"}]}]),
         delta(content=[{"type": "text", "text": " green"}]), W[2], *TAIL]
    ),
    "tool calls": stream(
        [delta(tool_calls=[{"function": {"name": "red", "arguments": ""}}]),
         delta(tool_calls=[{"index": 0, "function": {"name": None, "arguments": " green"}}]),
         delta(function_call={"arguments": " blue"}), delta("tool_calls"), COUNTS, DONE]
    ),
    "completions": stream(
        [*(choice(text=t, finish_reason=None) for t in ("red", " green", " blue")),
         choice(text="", finish_reason="length"), COUNTS, DONE]
    ),
    "several choices mixed": stream(
        [choice(index=1, delta={"content": " blue"}),
         event({"choices": [{"delta": {"content": "red green"}, "index": 0}, {"index": 2}]}), *TAIL]
    ),
}  # fmt: skip

MESSAGE = "the request exceeds the context"
OBJECT = {"code": 500, "message": MESSAGE, "type": "server_error"}
BARE = json.dumps({"error": OBJECT}).encode()
# Each as one event in the middle of an otherwise good stream, and as the whole of an answer.
REPORTED = {
    "OpenAI": {"error": OBJECT},
    "vLLM": {"error": {**OBJECT, "param": None, "type": "InternalServerError"}},
    "vLLM, older": {"object": "error", **OBJECT, "param": None},
    "llama.cpp": {"error": {"code": 400, "message": MESSAGE, "type": "exceed_context_size_error"}},
    "Ollama": {"error": MESSAGE},
    "TGI": {"error": MESSAGE, "error_type": "generation"},
    "FastAPI": {"detail": MESSAGE},
    "FastAPI, validation": {"detail": [{"loc": ["body"], "msg": MESSAGE, "type": "missing"}]},
    "Kong": {"message": MESSAGE, "request_id": "1"},
    "cloud gateway": {"errors": [{"code": 1101, "message": MESSAGE}], "success": False},
    "problem document": {"type": "about:blank", "title": MESSAGE, "status": 503},
    "Spring": {"timestamp": 1, "status": 500, "error": MESSAGE, "path": "/v1"},
    "Nest": {"statusCode": 502, "message": MESSAGE},
    "named code": {"code": "rate_limit_exceeded", "message": MESSAGE, "param": None},
    "code as text": {"code": "500", "message": MESSAGE, "choices": None},
    "responses API": {"type": "response.failed", "response": {"error": OBJECT}},
    "messages API": {"type": "error", "error": {"type": "overloaded_error", "message": MESSAGE}},
    "no success": {"success": False, "message": MESSAGE},
    "status in words": {"status": "failed", "message": MESSAGE},
    "of a choice": {"choices": [{"error": OBJECT, "delta": {}, "finish_reason": "error"}]},
    "in a delta": {"choices": [{"delta": {"error": OBJECT}, "finish_reason": "stop"}]},
    "beside good choices": {"error": OBJECT, "choices": [{"delta": {}, "finish_reason": "stop"}]},
    "true": {"error": True, "message": MESSAGE},
    "a list": {"error": [MESSAGE]},
    "beside a gateway's counts": {"x_groq": {"error": MESSAGE}, "choices": [{"delta": {}}]},
    "nested": {"error": {"error": {"message": MESSAGE}}},
}  # fmt: skip
ENDED_BY_ENGINE = [
    "error", "abort", "aborted", "cancelled", "canceled", "content_filter", "repetition",
    "timeout", "load", "unload", "insufficient_system_resource", "safety", "unknown", "null",
]  # fmt: skip

BAD: dict[str, tuple[bytes, str]] = {
    **{f"reported, {k}": (after(event(v)), "error_reported") for k, v in REPORTED.items()},
    **{f"for {reason}": (stream([*W, delta(reason), COUNTS, DONE]), "finish_reason")
       for reason in ENDED_BY_ENGINE},
    "error event": (after(named("error", json.dumps({"error": OBJECT}))), "error_event"),
    "error event in words": (after(named("error", MESSAGE)), "error_event"),
    "error event in capitals": (after(named("ERROR", MESSAGE)), "error_event"),
    "error event after the end": (stream([*PLAIN, named("error", MESSAGE)]), "error_event"),
    "error field": (after(b"error: " + BARE + b"\n\n"), "error_event"),
    "error in a comment": (after(b": error: " + MESSAGE.encode() + b"\n\n"), "error_event"),
    "error document in a comment": (after(b": " + BARE + b"\n\n"), "error_event"),
    "error without its field": (after(BARE + b"\n\n"), "error_reported"),
    "a sentence for a chunk": (after(event(MESSAGE)), "not_a_chunk"),
    "a string for a chunk": (after(event(json.dumps(MESSAGE))), "not_a_chunk"),
    "half a chunk": (after(event('{"choices": [')), "not_a_chunk"),
    "half a named chunk": (after(named("chunk", '{"choices": [')), "not_a_chunk"),
    "HTML": (body(b"<!doctype html><html>busy</html>", "text/html"), "not_an_answer"),
    "HTML in chunks": (stream([b"<html>\n\n", b"<p>busy</p>\n\n"]), "not_an_answer"),
    "a sentence": (body(b"Internal Server Error", "text/plain"), "not_an_answer"),
    "nothing": (body(b""), "not_an_answer"),
    "HTTP 204": (b"HTTP/1.1 204 No Content\r\n\r\n", "not_an_answer"),
    "another document": (body(b'{"ok": true}', "application/json"), "not_an_answer"),
    "the end mark alone": (stream([DONE]), "no_finish"),
    "no finish reason": (stream([*W, COUNTS, DONE]), "no_finish"),
    "finish reason null to the end": (stream([*W, delta(None), COUNTS, DONE]), "no_finish"),
    "no end mark": (stream(PLAIN[:-1]), "no_end_mark"),
    "no end mark, until the connection ends": (PLAIN_HEAD + b"".join(PLAIN[:-1]), "no_end_mark"),
    "no last chunk": (HEAD + b"".join(map(frame, PLAIN)), "cut"),
    "half a last chunk": (HEAD + b"".join(map(frame, PLAIN)) + b"0\r\n", "cut"),
    "trailers cut off": (HEAD + b"".join(map(frame, PLAIN)) + b"0\r\nServer: x\r\n", "cut"),
    "short of its length": (body(ALL, more=f"Content-Length: {len(ALL) + 1}\r\n"), "cut"),
    "gzip cut off": (packed(gzip.compress(ALL)[:-4], "gzip"), "cut"),
    "gzip broken": (packed(b"\x1f\x8b" + bytes(50), "gzip"), "bad_framing"),
    "another compression": (packed(b"x", "br"), "bad_framing"),
    "broken chunks": (HEAD + frame(W[0]) + b"zz\r\n", "bad_framing"),
    "chunk longer than its size": (HEAD + b"3\r\ndata: {}\r\n0\r\n\r\n", "bad_framing"),
    "not streamed, no reason": (body(b'{"choices": [{"message": {"content": "a"}}]}'), "no_finish"),
    "not streamed, cut off": (body(json.dumps(WHOLE).encode()[:-1]), "not_a_chunk"),
    "HTTP 500": (body(BARE, code="500 Oh"), "http_status"),
    "HTTP 302": (body(b"", code="302 Found"), "http_status"),
    "another protocol": (b"SSH-2.0-OpenSSH_9.2\r\n", "not_http"),
    "no answer": (b"", "no_answer"),
}  # fmt: skip


def storable(request: Request, response: Response) -> None:
    """Records that no archive could hold would fail only at the seal."""
    for record in (request, response):
        values = ((name, getattr(record, name)) for name in record.__struct_fields__)
        fields = {name: value for name, value in values if value is not UNSET}
        jsonio.parse(jsonio.canonical({**fields, "chunk_times": None}))


@pytest.mark.parametrize("name", GOOD)
def test_good_answers_of_every_dialect_are_ok(name: str) -> None:
    request, response = answer(GOOD[name])
    assert (request.status, request.code, request.error) == ("ok", None, None)
    assert response.text == TEXT
    assert (request.prompt_tokens, request.output_tokens) == (7, 3)
    storable(request, response)


@pytest.mark.parametrize("name", BAD)
def test_bad_answers_of_every_dialect_have_their_code(name: str) -> None:
    data, code = BAD[name]
    request, response = records(*([(2000, data)] if data else []))
    assert (request.status, request.code) == ("error", code), request.error
    assert request.error and request.error.isprintable() and len(request.error) < 400
    storable(request, response)
    if code in ("error_reported", "error_event"):
        assert MESSAGE in request.error
        assert response.text.startswith("red")  # what came before is kept


@pytest.mark.parametrize("name", REPORTED)
def test_an_error_document_is_an_error_streamed_or_whole(name: str) -> None:
    document = json.dumps(REPORTED[name], indent=1).encode()
    for data in (body(document, "application/json"), stream([event(REPORTED[name]), DONE])):
        request, response = answer(data)
        assert (request.status, request.code, response.text) == ("error", "error_reported", "")
        assert MESSAGE in (request.error or "")


def test_an_answer_that_came_whole_has_no_times_of_tokens() -> None:
    request, response = answer(GOOD["not streamed"])
    assert (request.first_token, request.last_token, response.chunk_times) == (None, None, ())


def test_halves_of_letters_are_joined() -> None:
    halves = [event('{"choices": [{"delta": {"content": "\\ud83d"}}]}'),
              event('{"choices": [{"delta": {"content": "\\ude00"}}]}')]  # fmt: skip
    assert answer(stream([*halves, *TAIL]))[1].text == "😀"
    assert answer(stream([halves[0], *TAIL]))[1].text == "\ufffd"


def test_letters_cut_between_two_reads() -> None:
    answer = stream([delta(content="ж"), *TAIL])
    at = answer.index(b"\\u0436") if b"\\u0436" in answer else answer.index("ж".encode()) + 1
    assert records((2000, answer[:at]), (2001, answer[at:]))[1].text == "ж"


# --- properties -------------------------------------------------------------------------------


def cut_at(data: bytes, edges: list[int]) -> list[tuple[int, bytes]]:
    places = [0, *sorted(edges), len(data)]
    return [(2000, data[a:b]) for a, b in pairwise(places) if a < b]


SAMPLES = st.sampled_from([*GOOD.values(), *(data for data, _ in BAD.values())])


def test_broken_compression_is_the_same_however_it_was_cut() -> None:
    packed_data = gzip.compress(ALL)
    broken = packed(packed_data[:60] + bytes(20) + packed_data[80:], "gzip")
    expected = records((2000, broken))
    assert expected[0].status == "error" and expected[1].text == ""
    assert records(*cut_at(broken, list(range(len(broken))))) == expected


@pytest.mark.parametrize("name", BAD)
def test_bad_answers_byte_by_byte(name: str) -> None:
    data = BAD[name][0]
    assert records(*cut_at(data, list(range(len(data))))) == records(*cut_at(data, []))


@given(SAMPLES, st.data())
def test_where_reads_are_cut_changes_nothing(stream_bytes: bytes, data: st.DataObject) -> None:
    edges = data.draw(st.lists(st.integers(0, len(stream_bytes)), max_size=20))
    assert records(*cut_at(stream_bytes, edges)) == records(*cut_at(stream_bytes, []))


@pytest.mark.parametrize("name", GOOD)
def test_every_byte_by_itself_changes_nothing(name: str) -> None:
    data = GOOD[name]
    assert records(*cut_at(data, list(range(len(data))))) == answer(data)


def places(end: int) -> list[int]:
    """Where to cut: anywhere in the last 40 bytes, here and there before."""
    return [*range(0, end, 7), *range(max(0, end - 40), end)]


@pytest.mark.parametrize("name", GOOD)
def test_no_answer_that_was_cut_short_is_good(name: str) -> None:
    data = GOOD[name]
    framed = b"chunked" in data or b"Content-Length" in data
    # Without HTTP's framing the end mark, or the document's last bracket, is the end.
    for at in places(len(data) if framed else len(data.rstrip())):
        request, _ = answer(data[:at]) if at else records()
        assert request.status == "error", (at, data[at - 60 : at])


ENDING_WITH_THEIR_MARK = [
    name
    for name, whole in GOOD.items()
    if whole.startswith(HEAD) and name not in ("usage after the end mark", "early end mark")
]


@pytest.mark.parametrize("name", ENDING_WITH_THEIR_MARK)
def test_no_stream_that_a_gateway_ends_early_is_good(name: str) -> None:
    """Its upstream is gone; it closes HTTP's framing all the same."""
    good_answer = answer_of([(2000, GOOD[name])])
    assert good_answer is not None
    body = b"".join(data for _, data in good_answer.body)
    for at in places(body.rindex(b"[DONE]") + len(b"[DONE]")):
        request, _ = answer(HEAD + (frame(body[:at]) if at else b"") + LAST)
        assert request.status == "error", (at, body[at - 60 : at])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from(
            ["choices", "delta", "message", "content", "text", "index", "role", "finish_reason",
             "error", "usage", "timings", "type", "code", "detail", "status", "object",
             "prompt_tokens", "completion_tokens", "tool_calls", "function", "arguments",
             "reasoning", "reasoning_content", "reasoning_details", "thinking", "logprobs"]
        ),
        inner,
        max_size=6,
    ),
    max_leaves=24,
)  # fmt: skip


@given(st.lists(JSON, max_size=6), st.booleans())
@examples(200)
@example([{"choices": [{"index": 10**30, "delta": {"content": ["a", {"text": "b"}]}}]}], True)
@example([{"choices": [{"delta": {"content": "\ud800"}, "finish_reason": "\ud800"}]}], True)
@example([{"usage": {"completion_tokens": 10**30, "\ud800": [[[[[[[[[[[[[[[]]]]]]]]]]]]]]]}}], True)
def test_whatever_documents_say_becomes_records(documents: list[Any], good_end: bool) -> None:
    parts = [b"data: " + json.dumps(document).encode() + b"\n\n" for document in documents]
    request, response = answer(stream([*parts, *(TAIL if good_end else [])]))
    storable(request, response)
    assert (request.error is None) == (request.code is None) == (request.status == "ok")
    if not good_end and request.status == "ok":
        raise AssertionError("a stream without its end mark is good")


SCRAPS = [*PLAIN, BARE, *b"data: |\n|\r|{|}|: error|event: |\xff|\x00|[DONE]".split(b"|")]


@given(st.lists(st.sampled_from(SCRAPS), max_size=12))
@examples(200)
def test_whatever_bytes_a_stream_has_becomes_records(parts: list[bytes]) -> None:
    for data in (stream([p for p in parts if p]), PLAIN_HEAD + b"".join(parts)):
        request, response = answer(data)
        storable(request, response)
        assert (request.error is None) == (request.status == "ok")


@given(st.lists(JSON, max_size=5))
def test_the_short_way_through_a_plain_chunk_gives_the_same_answer(deltas: list[Any]) -> None:
    parts = [b"data: " + json.dumps(delta).encode() + b"\n\n" for delta in deltas]
    data = stream([*W, *parts, *TAIL])
    with patch.object(dialects, "plain_text", lambda _: None):
        long_way = answer(data)
    assert answer(data) == long_way


@pytest.mark.parametrize("name", GOOD)
def test_the_short_way_through_good_answers(name: str) -> None:
    with patch.object(dialects, "plain_text", lambda _: None):
        long_way = answer(GOOD[name])
    assert answer(GOOD[name]) == long_way


def test_states_only_go_onwards() -> None:
    reading = Reading()
    states = []
    for part in (W[0], FIN, W[1], DONE, W[2], named("error", "x"), FIN):
        reading.read_events([(1, part)])
        states.append(reading.state)
    assert states == [
        State.ANSWERING, State.FINISHED, State.FINISHED, State.ENDED, State.ENDED,
        State.FAILED, State.FAILED,
    ]  # fmt: skip


# --- on a real socket -------------------------------------------------------------------------

KEPT_OPEN = ["trailers", "last chunk in zeros", "until the connection ends", "a length", "plain"]


@pytest.mark.parametrize("name", KEPT_OPEN)
def test_a_server_that_keeps_the_connection_delays_no_answer(name: str, bench: Bench) -> None:
    text = GOOD[name].decode("latin-1")
    last = len(text) - 3
    for parts in ([text], [text[:last], text[last:]]):
        run(bench.driver({"do": "bytes", "parts": parts, "keep": True}, request_s=30.0))
        (request,) = bench.requests()
        assert (request.status, request.output_tokens) == ("ok", 3)
        assert request.done - (request.sent or 0) < 20_000_000_000  # the limit is 30 s
