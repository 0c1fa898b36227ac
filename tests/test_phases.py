"""Cutting a launch into blocks, and its measured block into prefill, decode and mixed."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from kit.core.model import Event, Request
from kit.record import phases


def request(index: int, sent: int, first: int, last: int) -> Request:
    return Request(
        index=index, stage="measured", item="a", intended=sent, sent=sent, first_byte=first,
        first_token=first, last_token=last, done=last, status="ok", http_status=200, error=None,
        prompt_tokens=1, output_tokens=2, cached_tokens=0, finish_reason="length",
    )  # fmt: skip


def cut(*requests: Request) -> list[tuple[str, int, int]]:
    return [(p.name, p.t0, p.t1) for p in phases.inside(0, requests)]


def test_one_request_after_another_is_prefill_and_decode() -> None:
    assert cut(request(0, 0, 10, 30), request(1, 35, 40, 50)) == [
        ("prefill", 0, 10), ("decode", 10, 30), ("prefill", 35, 40), ("decode", 40, 50),
    ]  # fmt: skip


def test_overlapping_requests_are_mixed_and_never_split() -> None:
    assert cut(request(0, 0, 10, 30), request(1, 20, 40, 50)) == [
        ("prefill", 0, 10), ("decode", 10, 20), ("mixed", 20, 30), ("prefill", 30, 40),
        ("decode", 40, 50),
    ]  # fmt: skip


times = st.tuples(st.integers(0, 200), st.integers(1, 50), st.integers(0, 50))


@given(st.lists(times, max_size=12))
def test_pieces_do_not_overlap_and_cover_what_was_under_way(
    raw: list[tuple[int, int, int]],
) -> None:
    requests = [request(i, a, a + b, a + b + c) for i, (a, b, c) in enumerate(raw)]
    pieces = phases.inside(0, requests)
    covered = [t for p in pieces for t in range(p.t0, p.t1)]
    under_way = {t for a, b, c in raw for t in range(a, a + b + c)}
    assert len(covered) == len(set(covered))
    assert set(covered) == under_way
    for p in pieces:
        busy = [sum(a <= t < a + b + c for a, b, c in raw) for t in range(p.t0, p.t1)]
        assert all((n > 1) == (p.name == "mixed") for n in busy)


def test_an_answer_that_does_not_show_its_tokens_has_no_phase_but_mixes_with_others() -> None:
    timed, silent = request(0, 0, 10, 40), request(1, 20, 25, 60)
    silent = structs.replace(silent, first_token=None, last_token=None)
    spans = [(p.name, p.t0, p.t1) for p in phases.inside(0, [timed, silent])]
    assert spans == [("prefill", 0, 10), ("decode", 10, 20), ("mixed", 20, 40)]


def test_a_block_that_never_ended_is_not_one() -> None:
    def event(seq: int, kind: str, name: str) -> Event:
        data = {"launch": 0, "phase": name, "part": None}
        return Event(seq=seq, t=seq * 10, kind=kind, data=data, prev="")

    spans = phases.blocks(
        [event(0, "phase.begin", "startup"), event(1, "phase.end", "startup"),
         event(2, "phase.begin", "measured")]
    )  # fmt: skip
    assert [(p.name, p.t0, p.t1) for p in spans] == [("startup", 0, 10)]
