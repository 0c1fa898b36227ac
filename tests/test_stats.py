"""Intervals and equivalence tests against known answers, and their long-run behaviour."""

import math
import random
import statistics

import pytest

from kit import stats


def test_one_launch_has_a_mean_and_no_interval() -> None:
    found = stats.summary([3.0], seed=1)
    assert found is not None
    assert (found.mean, found.ci95, found.sd) == (3.0, None, None)
    assert stats.summary([], seed=1) is None


def test_the_interval_of_few_launches_is_students() -> None:
    found = stats.summary([9.0, 10.0, 11.0], seed=1)
    assert found is not None
    assert found.ci95 is not None
    half = 4.302652729696142 / math.sqrt(3)  # t(0.975, 2) from printed tables
    assert found.ci95 == pytest.approx((10 - half, 10 + half))


def test_the_written_down_quantiles_are_students() -> None:
    for df, written in enumerate(stats._T_975, 1):
        assert written == pytest.approx(stats.t_quantile(0.975, df), rel=1e-13)
    assert stats._T_975[0] == pytest.approx(math.tan(0.475 * math.pi), rel=1e-13)
    assert len(stats._T_975) == stats.BOOTSTRAP_FROM - 2


def test_the_bootstrap_is_scipys() -> None:
    from scipy.stats import bootstrap  # type: ignore[attr-defined]

    draw = random.Random(11)
    values = [draw.lognormvariate(0, 0.5) for _ in range(30)]
    found = stats.summary(values, seed=3)
    assert found is not None
    assert found.ci95 is not None
    theirs = bootstrap((values,), statistics.fmean, n_resamples=9999, random_state=3)
    assert found.ci95 == pytest.approx(tuple(theirs.confidence_interval), rel=0.01)


def test_ten_launches_are_bootstrapped_the_same_way_every_time() -> None:
    draw = random.Random(7)
    values = [draw.gauss(100, 3) for _ in range(12)]
    first, second = stats.summary(values, seed=5), stats.summary(values, seed=5)
    assert first == second
    assert first is not None
    assert first.ci95 is not None
    assert first.ci95[0] < first.mean < first.ci95[1]


@pytest.mark.parametrize(
    ("n", "p", "told"),
    [(63, 90, False), (64, 90, True), (129, 95, False), (130, 95, True), (661, 99, False)],
)
def test_a_percentile_is_told_only_with_enough_requests(n: int, p: int, told: bool) -> None:
    assert (stats.percentile(list(range(n)), p) is not None) is told


def test_welch_on_log_values_by_hand() -> None:
    a, b = [1.0, 1.1, 1.2], [1.05, 1.15, 1.25]
    found = stats.ratio(a, b)
    la, lb = [math.log(v) for v in a], [math.log(v) for v in b]
    assert found.ratio == pytest.approx(math.exp(sum(lb) / 3 - sum(la) / 3))
    assert found.ci90 is not None
    assert found.ci90[0] < found.ratio < found.ci90[1]
    assert stats.ratio(b, a).ratio == pytest.approx(1 / found.ratio)


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


def test_the_launches_that_the_power_calculation_asks_for_are_enough() -> None:
    draw = random.Random(4)
    needed = stats.launches_needed(0.02, 0.05)
    assert needed == pytest.approx(5, abs=1)
    passed = sum(_equivalent(0.0, 0.02, needed, draw) for _ in range(500)) / 500
    assert passed > 0.85
