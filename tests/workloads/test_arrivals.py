"""Arrival times: their distributions, and that the same spec gives the same ones for ever."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, get_args, get_type_hints

import msgspec
import pytest
from scipy import stats

from kit.core.arrays import np
from kit.core.model import ArrivalsSpec
from kit.spec.workloads import arrivals
from kit.spec.workloads.arrivals import problems, times_ns, words

MANY = 20_000


def asked(**fields: Any) -> ArrivalsSpec:
    return msgspec.convert(fields, ArrivalsSpec)


def gaps_s(count: int = MANY, **fields: Any) -> list[float]:
    times = [at for at in times_ns(asked(**fields), count) if at is not None]
    assert len(times) == count and times[0] == 0
    return [(b - a) / 1e9 for a, b in pairwise(times)]


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
@pytest.mark.parametrize(
    ("fields", "shape"),
    [
        ({"kind": "poisson"}, 1.0),
        ({"kind": "gamma", "shape": 0.25}, 0.25),
        ({"kind": "gamma", "shape": 9.0}, 9.0),
    ],
    ids=["poisson", "clusters", "regular"],
)
def test_random_gaps_have_their_distribution(
    fields: dict[str, Any], shape: float, seed: int
) -> None:
    """By Kolmogorov and Smirnov, and no gap tells of the next one.

    Before rounding: of gaps in clusters, one in 25 is less than a microsecond.
    """
    exact = arrivals._random_s(asked(**fields, rate=8.0, seed=seed), MANY)
    gaps = np.diff(exact)
    rounded = gaps_s(**fields, rate=8.0, seed=seed)
    assert np.abs(np.cumsum(rounded) - exact[1:]).max() < 1e-6
    assert stats.kstest(gaps, stats.gamma(shape, scale=1 / (shape * 8.0)).cdf).pvalue > 1e-3
    assert abs(np.corrcoef(gaps[:-1], gaps[1:])[0, 1]) < 4 / MANY**0.5


def test_poisson_is_gamma_of_shape_1() -> None:
    rest = {"rate": 3.0, "seed": 5}
    assert gaps_s(kind="poisson", **rest) == gaps_s(kind="gamma", shape=1.0, **rest)


def test_the_times_of_a_seed_are_these_for_ever() -> None:
    """Sealed runs are held against them: a generator that changes would make them false."""
    poisson = asked(kind="poisson", rate=20.0, seed=3)
    assert list(times_ns(poisson, 4)) == [0, 40_014_000, 101_590_000, 118_778_000]
    gamma = asked(kind="gamma", rate=20.0, seed=3, shape=0.25)
    assert list(times_ns(gamma, 3)) == [0, 18_408_000, 19_840_000]
    assert list(times_ns(poisson, 2)) == [0, 40_014_000]  # fewer requests: the same beginning
    assert list(times_ns(poisson, 4)) != list(times_ns(asked(kind="poisson", rate=20.0, seed=4), 4))


def test_a_burst_is_sent_at_once_and_the_rate_is_the_mean() -> None:
    times = list(times_ns(asked(kind="bursts", rate=6.0, burst=3), 8))
    assert times == [0, 0, 0, 500_000_000, 500_000_000, 500_000_000, 1_000_000_000, 1_000_000_000]


def test_given_times_are_kept_to_the_microsecond() -> None:
    trace = asked(kind="trace", times_s=[0.25, 0.25, 1 / 3, 86_400.000001])
    assert list(times_ns(trace, 4)) == [250_000_000, 250_000_000, 333_333_000, 86_400_000_001_000]


def test_no_or_one_request() -> None:
    assert list(times_ns(asked(kind="poisson", rate=1.0, seed=0), 0)) == []
    assert list(times_ns(asked(kind="poisson", rate=1.0, seed=0), 1)) == [0]
    assert list(times_ns(asked(), 2)) == [None, None]


def test_gaps_that_happen_to_be_long_are_refused_too() -> None:
    """The mean fits; what the seed draws does not."""
    seldom = {"kind": "gamma", "shape": 0.05, "rate": 0.01}
    found = [list(problems(asked(**seldom, seed=seed), 3, 300.0)) for seed in range(40)]
    assert {bool(one) for one in found} == {True, False}
    for seed, one in enumerate(found):
        last = list(times_ns(asked(**seldom, seed=seed), 3))[-1] or 0
        assert bool(one) == (last > 300e9)


@pytest.mark.filterwarnings("error")
def test_an_infinite_time_is_refused_in_silence() -> None:
    assert list(problems(asked(kind="poisson", rate=5e-324, seed=1), 3, 300.0))


REST = {"rate": 2.5, "shape": 0.5, "burst": 4, "seed": 1, "times_s": [0.1 * n for n in range(9)]}
KINDS = get_args(get_type_hints(ArrivalsSpec)["kind"])


@pytest.mark.parametrize("count", [1, 8, 9])
@pytest.mark.parametrize("kind", KINDS)
def test_the_last_time_is_when_the_last_request_is_sent(kind: str, count: int) -> None:
    times = list(times_ns(asked(kind=kind, **REST), count))
    last = arrivals.last_s(asked(kind=kind, **REST), count)
    assert len(times) == count
    assert last == pytest.approx((times[-1] or 0) / 1e9, abs=1e-6)
    assert (times == [None] * count) == (kind == "closed")


def test_the_kind_alone_decides_which_fields_count() -> None:
    """A hand-made spec has fields of other kinds; the schema refuses them, nothing reads them."""
    poisson = asked(kind="poisson", rate=2.5, seed=1)
    assert list(times_ns(asked(kind="trace", **REST), 9)) != list(times_ns(poisson, 9))
    constant = asked(kind="constant", rate=2.5, seed=1)
    assert list(times_ns(constant, 3)) == [0, 400_000_000, 800_000_000]


def test_every_kind_has_words() -> None:
    told = {kind: words(asked(kind=kind, **REST)) for kind in KINDS}
    assert told["bursts"] == "2.5 a second in bursts of 4"
    assert len(set(told.values())) == len(KINDS) == 6
