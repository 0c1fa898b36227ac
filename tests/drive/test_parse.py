"""Raw reads → records: every way of cutting a stream up says the same."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.core import jsonio
from kit.core.model import Request, Response
from kit.measure.drive.body import MalformedAnswerError, answer_of, head_of, one_line, quoted
from kit.measure.drive.parse import Raw, Status, finished
from kit.measure.drive.sse import COMMENT, STRAY, events
from tests.drive.server import GOOD, HEAD, LAST, TEXT, ending, event, frame, stream, word

WHOLE = stream(GOOD)


def raw(*reads: tuple[int, bytes], status: Status = "ok", **how: Any) -> Raw:
    return Raw(
        index=3,
        stage="measured",
        item="item",
        intended=1000,
        sent=1001,
        done=9000,
        status=status,
        error=how.pop("error", None),
        reads=list(reads),
        **how,
    )


def records(*reads: tuple[int, bytes], **how: Any) -> tuple[Request, Response]:
    return finished(raw(*reads, **how), 1000)


def answer(data: bytes) -> tuple[Request, Response]:
    return records((2000, data))


@given(st.lists(st.integers(0, len(WHOLE)), max_size=12))
def test_where_reads_are_cut_changes_no_text_and_delays_no_event(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(WHOLE)]
    reads = [(2000 + e, WHOLE[b:e]) for b, e in pairwise(edges) if b < e]
    request, response = records(*reads)
    assert (request.status, response.text, request.output_tokens) == ("ok", TEXT, 4)
    for time_ns, data in zip(response.chunk_times, GOOD[1:5], strict=True):
        end = WHOLE.index(data) + len(data)
        assert time_ns + 1000 == 2000 + min(e for e in edges if e >= end)


@given(st.lists(st.integers(0, len(WHOLE)), max_size=8))
def test_line_ends_of_other_systems_give_the_same_text(cuts: list[int]) -> None:
    stream_bytes = stream([data.replace(b"\n", b"\r\n") for data in GOOD])
    edges = [0, *sorted(cuts), len(stream_bytes)]
    reads = [(i, stream_bytes[b:e]) for i, (b, e) in enumerate(pairwise(edges))]
    request, response = records(*[(2000 + i, data) for i, data in reads if data])
    assert (request.status, response.text) == ("ok", TEXT)


@given(st.binary(max_size=400))
def test_whatever_a_server_sends_becomes_records(junk: bytes) -> None:
    for data in (junk, HEAD + frame(junk or b"x") + LAST, HEAD + frame(b"data: " + junk) + LAST):
        request, response = answer(data)
        assert request.status == "error"
        assert request.error and request.error.isprintable()
        assert response.text == ""


def test_an_answer_that_ends_with_its_connection() -> None:
    request, response = answer(b"HTTP/1.1 200 OK\r\n\r\n" + b"".join(GOOD))
    assert (request.status, response.text) == ("ok", TEXT)


def test_an_answer_of_stated_length() -> None:
    body = b"".join(GOOD)
    head = b"HTTP/1.1 200 OK\r\ncontent-LENGTH:  %d \r\n\r\n" % len(body)
    assert answer(head + body)[0].status == "ok"
    assert answer(head + body + b"more")[1].text == TEXT
    cut_off, _ = answer(head + body[:-20])
    assert "before the answer was finished" in (cut_off.error or "")


def test_interim_answers_are_skipped() -> None:
    assert answer(b"HTTP/1.1 100 Continue\r\n\r\n" + WHOLE)[0].status == "ok"


def test_chunk_extensions_and_trailers() -> None:
    data = b"".join(GOOD)
    stream_bytes = HEAD + b"%X ; name=1\r\n" % len(data) + data + b"\r\n0\r\nDigest: none\r\n\r\n"
    assert answer(stream_bytes)[1].text == TEXT


@pytest.mark.parametrize("size", [b"", b"-5", b"0x", b"zz", b"1_0", b"+4"])
def test_a_broken_chunk_size_is_an_error(size: bytes) -> None:
    request, _ = answer(HEAD + size + b"\r\nabcd\r\n")
    assert "chunked encoding is broken" in (request.error or "")


def test_a_stream_has_its_end_mark_if_its_dialect_has_one() -> None:
    unmarked = stream(GOOD[:-1])
    assert answer(unmarked)[0].code == "no_end_mark"
    assert records((2000, unmarked), end_mark=False)[0].status == "ok"
    cut_off = HEAD + b"".join(map(frame, GOOD[:-1]))
    assert records((2000, cut_off), end_mark=False)[0].code == "cut"
    until_eof = b"HTTP/1.1 200 OK\r\n\r\n" + b"".join(GOOD[:-1])
    assert records((2000, until_eof), end_mark=False)[0].code == "no_end_mark"


def test_an_end_mark_needs_a_finish_reason_before_it() -> None:
    assert answer(stream([word("a"), GOOD[-1]]))[0].code == "no_finish"
    assert answer(stream(ending()))[0].status == "ok"
    assert answer(stream([GOOD[-1]]))[0].code == "no_finish"


def test_a_connection_closed_without_an_answer_is_an_error() -> None:
    request, response = records()
    assert request.error == "the server closed the connection without an answer"
    assert (request.first_byte, request.first_token, request.http_status) == (None, None, None)
    assert response.chunk_times == ()


def test_an_error_of_the_connection_comes_before_the_answers() -> None:
    request, response = records((2000, HEAD + frame(word("one"))), status="timeout", error="late")
    assert (request.status, request.error, request.http_status) == ("timeout", "late", 200)
    assert response.text == "one"


def test_a_role_is_no_token() -> None:
    role = event({"choices": [{"delta": {"role": "assistant", "content": ""}}]})
    for first in (word(None), role):
        reads = [(2000, HEAD + frame(first)), (2200, frame(word("a")))]
        request, response = records(*reads, (2300, b"".join(map(frame, ending())) + LAST))
        assert request.first_byte == 1000
        assert request.first_token == request.last_token == 1200
        assert response.chunk_times == (1200,)


def test_tokens_without_text_are_tokens_as_far_as_the_count_has_room() -> None:
    def times(count: int | None) -> tuple[int, ...]:
        usage = None if count is None else {"completion_tokens": count}
        parts = [word(None), word(""), word("a"), word(""), *ending(usage)]
        reads = [(2000 + i, frame(part)) for i, part in enumerate(parts)]
        request, response = records((1999, HEAD), *reads, (3000, LAST))
        assert (request.status, response.text) == ("ok", "a")
        return tuple(t - 1000 for t in response.chunk_times)

    assert times(3) == times(9) == times(None) == (1, 2, 3)
    assert times(2) == times(1) == (2,)  # the empty ones only kept the connection open


def test_an_answer_of_nothing_but_tokens_without_text() -> None:
    reads = [(2000 + i, frame(word(""))) for i in range(4)]
    request, response = records((1999, HEAD), *reads, (3000, b"".join(map(frame, ending())) + LAST))
    assert (request.status, request.output_tokens, response.text) == ("ok", 4, "")
    assert (request.first_token, request.last_token) == (1000, 1003)


def test_thinking_is_output() -> None:
    thought = {"choices": [{"delta": {"reasoning_content": "hm"}}]}
    also = {"choices": [{"delta": {"reasoning": "."}}]}
    _, response = answer(stream([event(thought), event(also), word(" yes"), *ending()]))
    assert response.text == "hm. yes"


def test_events_of_several_lines_comments_and_fields() -> None:
    body = b': ping\n\nevent: x\nid: 7\nretry: 5\ndata: {"a":\ndata: 1}\n\ndata:tight\n\ndata: end'
    assert list(events([(5, body)])) == [
        (5, COMMENT, b"ping"),
        (5, b"x", b'{"a":\n1}'),
        (5, b"", b"tight"),
        (5, b"", b"end"),
    ]


def test_lines_that_are_no_fields_are_told_apart() -> None:
    body = b'error: {"code": 1}\nserver: x\ndata\nDATA: a\nid\n{"bare": 1}\n\n<html>'
    assert list(events([(5, body)])) == [
        (5, b"error", b'{"code": 1}'),
        (5, STRAY, b"server: x"),
        (5, b"", b'\na\n{"bare": 1}'),
        (5, STRAY, b"<html>"),
    ]


def test_an_event_that_was_cut_short_is_left_out() -> None:
    assert list(events([(5, b"data: a\n\ndata: b\n")], complete=False)) == [(5, b"", b"a")]


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
def test_no_event_waits_for_the_next_read(newline: bytes) -> None:
    text = b"data: a\n\n: c\n\ndata: b\n\n".replace(b"\n", newline)
    reads = [(at, text[at : at + 1]) for at in range(len(text))]
    for time_ns, _, data in events(reads):
        until = text[: time_ns + 1].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        assert until.endswith(data + b"\n\n")


@pytest.mark.parametrize(
    "usage",
    [
        '{"completion_tokens": 123456789012345678901234567890}',
        '{"a": ' + "[" * 40 + "]" * 40 + "}",
        '"many"',
        '{"completion_tokens": 1e999}',
    ],
)
def test_usage_that_no_archive_can_hold_is_left_out_of_a_good_answer(usage: str) -> None:
    no_usage = [word("a"), *ending(None)]
    request, response = answer(
        stream([*no_usage[:-1], event('{"usage": ' + usage + "}"), GOOD[-1]])
    )
    assert (request.status, request.output_tokens) == ("ok", None)
    jsonio.parse(jsonio.canonical({"a": {"usage": response.usage}}))


@pytest.mark.parametrize("count", [4, 4.0, "4"])
def test_counts_in_other_forms(count: object) -> None:
    request, response = answer(stream([word("a"), *ending({"completion_tokens": count})]))
    assert request.output_tokens == 4
    assert response.usage == {"completion_tokens": 4}


@pytest.mark.parametrize("count", [-1, True, 1.5, "four", "-4", "٤", 1e300, None])
def test_counts_that_are_no_counts_are_absent(count: object) -> None:
    request, _ = answer(stream([word("a"), *ending({"completion_tokens": count, "x": 1})]))
    assert (request.status, request.output_tokens) == ("ok", None)


def test_deep_nesting_is_an_error() -> None:
    request, _ = answer(stream([event("[" * 100_000)]))
    assert request.status == "error"


def test_records_are_canonical_and_hash_their_text() -> None:
    _, response = answer(stream([word("é😀"), *ending()]))
    assert response.text_sha256 == jsonio.digest("é😀".encode())


def test_a_head_is_parsed_or_refused() -> None:
    assert head_of(b"HTTP/1.1 20") is None
    assert head_of(b"") is None
    head = head_of(b"HTTP/1.0 404 Not Found\r\nTransfer-Encoding: gzip, Chunked\r\n\r\nx")
    assert head is not None
    assert (head.status, head.chunked, head.length, head.size) == (404, True, None, 60)
    for bad in (b"SMTP", b"HTTP/2 200\r\n\r\n", b"HTTP/1.1 2000\r\n", b"HTTP/1.1 abc\r\n\r\n"):
        with pytest.raises(MalformedAnswerError):
            head_of(bad + b"\r\n\r\n")
    with pytest.raises(MalformedAnswerError):
        head_of(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000)


def test_a_body_keeps_the_times_of_its_reads() -> None:
    last = b"\r\nf\r\n0\r\n"
    reads = [(1, HEAD + b"5\r\nab"), (2, b"c"), (3, b"de\r\n1"), (4, last)]
    answer = answer_of([*reads, (5, b"\r\n")])
    assert answer is not None
    assert answer.body == [(1, b"ab"), (2, b"c"), (3, b"de"), (4, b"f")]
    assert answer.complete
    cut_off = answer_of(reads)
    assert cut_off is not None and not cut_off.complete


def test_foreign_bytes_are_one_short_line() -> None:
    assert quoted(b"\x1b[2Ja\n\tb\xff" + b"c" * 500) == "'[2Ja b\ufffd" + "c" * 73 + "'"
    assert one_line(b"a\r\nb\x00", 300) == "a b"
