"""Intervals and equivalence tests against known answers, and their long-run behaviour."""

import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.core import stats


def test_one_launch_has_a_mean_and_no_interval() -> None:
    summary = stats.summary([3.0])
    assert summary is not None
    assert (summary.mean, summary.ci95, summary.sd) == (3.0, None, None)
    assert stats.summary([]) is None


def test_the_interval_of_few_launches_is_students() -> None:
    summary = stats.summary([9.0, 10.0, 11.0])
    assert summary is not None
    assert summary.ci95 is not None
    half = 4.302652729696142 / math.sqrt(3)  # t(0.975, 2) from printed tables
    assert summary.ci95 == pytest.approx((10 - half, 10 + half))


def test_the_written_down_quantiles_are_students() -> None:
    for df, written in enumerate(stats._T_975, 1):
        assert written == pytest.approx(stats.t_quantile(0.975, df), rel=1e-13)
    assert stats._T_975[0] == pytest.approx(math.tan(0.475 * math.pi), rel=1e-13)


@given(st.floats(0.001, 0.999), st.floats(1, 1e9))
def test_a_quantile_is_scipys(p: float, df: float) -> None:
    from scipy.special import stdtrit

    assert stats.t_quantile(p, df) == pytest.approx(float(stdtrit(df, p)), rel=1e-10, abs=1e-12)


@pytest.mark.parametrize("p", [0.05, 0.6, 0.9, 0.95, 0.975, 0.995, 0.9995])
def test_a_quantile_has_its_closed_forms(p: float) -> None:
    """Of 1 and 2 degrees of freedom; and of so many that it is the normal one."""
    q = 2 * p - 1
    assert stats.t_quantile(p, 1) == pytest.approx(math.tan(q * math.pi / 2), rel=1e-12)
    assert stats.t_quantile(p, 2) == pytest.approx(q * math.sqrt(2 / (1 - q * q)), rel=1e-12)
    normal = statistics.NormalDist().inv_cdf(p)
    assert stats.t_quantile(p, 1e12) == pytest.approx(normal, rel=1e-11)
    assert stats.t_quantile(p, math.inf) == pytest.approx(normal, rel=1e-15)
    assert math.isnan(stats.t_quantile(p, math.nan))


@pytest.mark.parametrize(
    ("n", "p", "is_given"),
    [(63, 90, False), (64, 90, True), (129, 95, False), (130, 95, True), (661, 99, False)],
)
def test_a_percentile_is_told_only_with_enough_requests(n: int, p: int, is_given: bool) -> None:
    assert (stats.percentile(list(range(n)), p) is not None) is is_given


def test_welch_on_log_values_by_hand() -> None:
    # Logs 0 ± 0.02 and 0.03 ± 0.02: each variance is 0.0004, so se = sqrt(2 * 0.0004 / 3), df = 4,
    # and t(0.95, 4) = 2.131847 from printed tables: half an interval is 0.034813.
    a = [math.exp(v) for v in (-0.02, 0.0, 0.02)]
    b = [math.exp(v) for v in (0.01, 0.03, 0.05)]
    summary = stats.ratio(a, b)
    assert summary.ratio == pytest.approx(math.exp(0.03))
    assert summary.ci90 == pytest.approx((math.exp(-0.004813), math.exp(0.064813)), rel=1e-6)


@pytest.mark.slow
def test_unequal_scatter_has_welchs_degrees_of_freedom() -> None:
    from scipy.stats import ttest_ind

    a, b = [1.0, 1.3, 0.8, 1.1], [2.0, 2.01, 1.99]
    theirs = ttest_ind([math.log(v) for v in b], [math.log(v) for v in a], equal_var=False)
    low, high = theirs.confidence_interval(0.90)
    assert stats.ratio(a, b).ci90 == pytest.approx((math.exp(low), math.exp(high)))


def test_what_all_launches_share_widens_the_interval_and_stays() -> None:
    even = [1.0] * 3
    assert stats.ratio(even, even, 0.02).ci90 == pytest.approx(
        (math.exp(-1.644854 * 0.02), math.exp(1.644854 * 0.02))
    )
    a, b = [1.0, 1.1, 1.2], [1.05, 1.15, 1.25]
    alone, shared = stats.ratio(a, b).ci90, stats.ratio(a, b, 0.05).ci90
    assert alone is not None
    assert shared is not None
    assert stats.ratio(a, b, 0.05).ratio == stats.ratio(a, b).ratio
    assert stats.ratio(a, b, 0.0).ci90 == alone


values = st.lists(st.floats(0.1, 10.0), min_size=2, max_size=9)


@given(values, values)
def test_swapping_the_runs_inverts_ratio_and_interval(a: list[float], b: list[float]) -> None:
    there, back = stats.ratio(a, b), stats.ratio(b, a)
    assert back.ratio == pytest.approx(1 / there.ratio)
    assert there.ci90 is not None
    assert back.ci90 == pytest.approx((1 / there.ci90[1], 1 / there.ci90[0]), rel=1e-6)


@given(values, st.floats(0.01, 100.0))
def test_another_unit_changes_no_ratio(a: list[float], unit: float) -> None:
    b = [v * 1.1 for v in a]
    scaled = stats.ratio([v * unit for v in a], [v * unit for v in b])
    assert scaled.ratio == pytest.approx(1.1)
    assert scaled.ci90 == pytest.approx(stats.ratio(a, b).ci90, rel=1e-6)


@given(st.lists(st.floats(-1e6, 1e6), min_size=64, max_size=200), st.sampled_from([50, 90]))
def test_a_percentile_lies_among_the_values_and_is_numpys(values: list[float], p: int) -> None:
    import numpy as np

    value = stats.percentile(values, p)
    assert value == pytest.approx(float(np.percentile(values, p)), rel=1e-9, abs=1e-6)
    assert value is not None
    assert min(values) <= value <= max(values) or value == pytest.approx(min(values))


@pytest.mark.parametrize("n", [3, 12, 40])
def test_intervals_cover_the_truth_as_often_as_they_say(n: int) -> None:
    draw = random.Random(21)
    rounds = 1000
    covered = 0
    for _ in range(rounds):
        summary = stats.summary([draw.gauss(100, 5) for _ in range(n)])
        assert summary is not None
        assert summary.ci95 is not None
        covered += summary.ci95[0] <= 100 <= summary.ci95[1]
    assert 0.93 < covered / rounds < 0.97


def test_launches_that_are_all_alike_have_a_point_for_an_interval() -> None:
    for n in (3, 12):
        summary = stats.summary([5.0] * n)
        assert summary is not None
        assert summary.ci95 == (5.0, 5.0)


def test_identical_launches_have_a_point_for_an_interval() -> None:
    assert stats.ratio([2.0, 2.0], [2.0, 2.0]).ci90 == (1.0, 1.0)
    assert stats.ratio([2.0], [2.0, 2.0]).ci90 is None


def _equivalent(shift: float, cv: float, n: int, draw: random.Random) -> bool:
    a = [math.exp(draw.gauss(0, cv)) for _ in range(n)]
    b = [math.exp(draw.gauss(shift, cv)) for _ in range(n)]
    ends = stats.ratio(a, b).ci90
    assert ends is not None
    return ends[0] > 1 / 1.05 and ends[1] < 1.05


def test_equivalence_is_claimed_wrongly_at_most_in_one_of_twenty() -> None:
    draw = random.Random(3)
    at_the_margin = sum(_equivalent(math.log(1.05), 0.02, 8, draw) for _ in range(1000)) / 1000
    assert at_the_margin < 0.07


@pytest.mark.parametrize(("cv", "expected"), [(0.01, 3), (0.02, 5), (0.03, 10)])
def test_launches_needed_for_five_percent_are_the_known_ones(cv: float, expected: int) -> None:
    assert stats.launches_needed(cv, 0.05) == expected


def test_no_number_of_launches_helps_against_a_shared_error() -> None:
    assert stats.launches_needed(0.01, 0.05, u_common=0.04) is None
    some, none = stats.launches_needed(0.02, 0.05, u_common=0.01), stats.launches_needed(0.02, 0.05)
    assert some is not None
    assert none is not None
    assert some > none


def test_the_launches_that_the_power_calculation_asks_for_are_enough() -> None:
    draw = random.Random(4)
    needed = stats.launches_needed(0.02, 0.05)
    assert needed is not None
    passed = sum(_equivalent(0.0, 0.02, needed, draw) for _ in range(500)) / 500
    assert passed > 0.88
