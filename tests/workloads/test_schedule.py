"""The materialised schedule: everything decided before anything runs."""

from __future__ import annotations

from typing import Any

from kit.core.model import ArrivalsSpec, ScheduledRequest
from kit.core.prompt import Prompt
from kit.spec.workloads.schedule import requests

WARMUPS = [Prompt("warm", "Warm up.", 3)]
MEASURED = [Prompt("a", "Same text.", 5), Prompt("b", "Same text.", 6), Prompt("c", "Other.", 7)]
CLOSED = ArrivalsSpec(kind="closed", concurrency=2)


def request_of(prompt: Prompt, index: int) -> tuple[str, dict[str, Any]]:
    return "/v1/x", {"text": prompt.text, "max_tokens": prompt.max_tokens, "seed": index}


def made(arrivals: ArrivalsSpec = CLOSED, **how: bool) -> tuple[ScheduledRequest, ...]:
    how = {"equal_work": True, "unique_prefix": True} | how
    return tuple(requests(WARMUPS, MEASURED, arrivals, request_of, **how))


def test_warm_ups_come_first_and_indices_run_through() -> None:
    schedule = made()
    assert [r.index for r in schedule] == [0, 1, 2, 3]
    assert [r.stage for r in schedule] == ["warmup", "measured", "measured", "measured"]
    assert [r.item for r in schedule] == ["warm", "a", "b", "c"]
    assert [r.body["seed"] for r in schedule] == [0, 1, 2, 3]
    assert {r.path for r in schedule} == {"/v1/x"}


def test_no_two_requests_begin_alike() -> None:
    """Warm-up included: a cache that it filled must serve nothing afterwards."""
    beginnings = [r.body["text"][:8] for r in made()]
    assert len(set(beginnings)) == 4
    assert all(r.body["text"].endswith(("text.", "Other.", "up.")) for r in made())


def test_a_prefix_is_the_same_every_time_and_can_be_left_out() -> None:
    assert made() == made()
    assert [r.body["text"] for r in made(unique_prefix=False)] == [
        "Warm up.",
        "Same text.",
        "Same text.",
        "Other.",
    ]


def test_expected_tokens_only_where_the_runtime_keeps_to_them() -> None:
    assert [r.expect_tokens for r in made()] == [3, 5, 6, 7]
    assert [r.expect_tokens for r in made(equal_work=False)] == [None] * 4


def test_a_closed_loop_has_no_times() -> None:
    assert {r.at_ns for r in made()} == {None}


def test_constant_arrivals_are_rounded_once_and_do_not_drift() -> None:
    prompts = [Prompt("a", "x", 1)] * 3000
    arrivals = ArrivalsSpec(kind="constant", rate=3.0)
    schedule = tuple(
        requests(WARMUPS, prompts, arrivals, request_of, equal_work=True, unique_prefix=True)
    )
    assert schedule[0].at_ns is None  # the warm-up is a closed loop always
    assert [r.at_ns for r in schedule[1:5]] == [0, 333_333_333, 666_666_667, 1_000_000_000]
    assert schedule[-1].at_ns == round(2999e9 / 3)
