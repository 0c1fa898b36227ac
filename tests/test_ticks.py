"""Round ticks: steps of 1, 2 and 5 for any span, and labels that say exactly where they are."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.core import ticks


@pytest.mark.parametrize(
    ("low", "high", "most", "shown"),
    [
        (-6.1, 31.4, 5, ["0", "10", "20", "30"]),
        (-70.0, 310.0, 8, ["-50", "0", "50", "100", "150", "200", "250", "300"]),
        (0.0, 1.0, 5, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (0.0, 0.03, 4, ["0.00", "0.01", "0.02", "0.03"]),
        (0.0, 735.0, 4, ["0", "200", "400", "600"]),
        (3.0, 3.0, 4, ["3"]),
    ],
)
def test_ticks_are_round(low: float, high: float, most: int, shown: list[str]) -> None:
    assert ticks.labels(ticks.ticks(low, high, most)) == shown


@given(
    st.floats(-1e6, 1e6),
    st.floats(1e-6, 1e9),
    st.integers(1, 12),
)
def test_any_span_has_few_round_ticks_inside(low: float, span: float, most: int) -> None:
    by = ticks.step(span, most)
    assert round(by / 10.0 ** math.floor(math.log10(by) + 1e-9), 6) in (1, 2, 5)
    values = ticks.ticks(low, low + span, most)
    assert len(values) <= most + 1
    slack = 1e-6 * (by + abs(low) * 1e-6)
    assert all(low - slack <= v <= low + span + slack for v in values)


@given(st.floats(1e-6, 1e9), st.integers(2, 6))
def test_an_axis_from_zero_has_two_numbers(top: float, most: int) -> None:
    values = ticks.from_zero(top, most)
    assert values[0] == 0 and 2 <= len(values) <= 2 * most + 2
    assert values[-1] <= top * (1 + 1e-6)


def test_what_is_read_as_whole_numbers_has_no_ticks_between_them() -> None:
    assert ticks.ticks(28.0, 30.0, 6, whole=True) == [28, 29, 30]


@pytest.mark.parametrize("span", [0.0, -1.0, math.nan, math.inf])
def test_no_span_is_no_error(span: float) -> None:
    assert ticks.step(span, 5) == 1.0


@pytest.mark.parametrize(
    ("values", "top", "rows", "left"),
    [
        ([0.0, 50.0, 100.0], 105.0, 2, [0.0, 100.0]),
        ([0.0, 50.0, 100.0], 105.0, 3, [0.0, 50.0, 100.0]),
        ([0.0, 200.0, 400.0, 600.0], 640.0, 3, [0.0, 200.0, 600.0]),
        ([0.0, 1.0], 1.0, 1, [0.0]),
        ([0.0, 1.0], 1.0, -1, [0.0]),
    ],
)
def test_two_numbers_never_share_a_line(
    values: list[float], top: float, rows: int, left: list[float]
) -> None:
    assert ticks.apart(values, top, rows) == left
