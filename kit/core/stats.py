"""Means, intervals and equivalence tests over launches.

The launch is the unit of repetition: requests of one launch share its luck, and treating them as
independent proves equivalences that are not there. One launch gets no interval.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

# Student's t at 0.975 for 1 to 30 degrees of freedom: written down, so that no rounding enters a
# stored number.
_T_975 = (
    12.7062047361747,
    4.30265272974946,
    3.18244630528371,
    2.77644510519779,
    2.57058183563631,
    2.44691185114498,
    2.36462425159278,
    2.30600413520417,
    2.2621571627982,
    2.22813885198627,
    2.20098516009164,
    2.17881282966723,
    2.16036865646279,
    2.1447866879178,
    2.13144954555978,
    2.11990529922125,
    2.10981557783332,
    2.10092204024104,
    2.09302405440831,
    2.08596344726586,
    2.07961384472768,
    2.07387306790403,
    2.06865761041905,
    2.06389856162802,
    2.0595385527533,
    2.05552943864287,
    2.05183051648028,
    2.04840714179525,
    2.0452296421327,
    2.04227245630124,
)
_Z_95 = 1.6448536269514722
_EPSILON = 2.0**-53
_AS_NORMAL = 1e16
# Requests needed before a percentile is stated, after MLPerf's early-stopping criterion.
PERCENTILE_NEEDS = {50: 1, 90: 64, 95: 130, 99: 662}


class Summary(NamedTuple):
    """Launch values summed up: mean, sample SD, 95% interval of the mean and how it was made."""

    n: int
    mean: float
    sd: float | None
    ci95: tuple[float, float] | None
    method: str


class Ratio(NamedTuple):
    """A ratio of two means with its 90% interval; None where a side has fewer than two launches."""

    ratio: float
    ci90: tuple[float, float] | None


def summary(values: Sequence[float]) -> Summary | None:
    """Sum launch values up, with Student's interval; None without values.

    A bootstrap (BCa) of the mean is narrower and does not keep what it says: of 10 to 20 values it
    covers the truth in 89 to 91% of all cases, where Student's covers 95%.
    """
    if not values:
        return None
    mean = statistics.fmean(values)
    if len(values) < 2:
        return Summary(1, mean, None, None, "none: one launch")
    sd = statistics.stdev(values)
    half = _t_975(len(values) - 1) * sd / math.sqrt(len(values))
    return Summary(len(values), mean, sd, (mean - half, mean + half), "t")


def _t_975(df: int) -> float:
    return _T_975[df - 1] if df <= len(_T_975) else t_quantile(0.975, df)


def t_quantile(p: float, df: float) -> float:
    """Quantile of Student's t; NaN where ``df`` is.

    Its distribution is concave above 0: Newton's steps from the normal quantile, which lies below,
    come nearer from one side until they end. scipy's quantile is not taken: it is 140 MB for this
    one function, and its releases round differently.

    Args:
        p: a probability in 1e-6…1 - 1e-6.
        df: degrees of freedom, at least 1; fractions as Welch's formula gives them.
    """
    if not 1e-6 <= p <= 1 - 1e-6:
        raise ValueError(f"no quantile of {p}")
    if p < 0.5:
        return -t_quantile(1 - p, df)
    t = statistics.NormalDist().inv_cdf(p)
    if math.isnan(df):
        return df
    if p == 0.5 or df > _AS_NORMAL:
        return t
    at_zero = _half_ratio(df / 2) / math.sqrt(df / 2) / math.sqrt(2 * math.pi)
    step = t
    while step > _EPSILON * t:
        density = at_zero * math.exp(-(df + 1) / 2 * math.log1p(t * t / df))
        step = _still_lacking(p, t, df, density) / density
        t += step
    return t


def _still_lacking(p: float, t: float, df: float, density: float) -> float:
    """``p`` less Student's probability below ``t``, from the series that converges faster there."""
    y = t * t / (df + t * t)
    if y < 0.5:
        return p - 0.5 - density * t * _series((df + 1) / 2, 1.5, y)
    return density * t / df * _series((df + 1) / 2, df / 2 + 1, 1 - y) - (1 - p)


def _series(a: float, c: float, x: float) -> float:
    """The hypergeometric series 2F1(a, 1; c; x), all positive; ``x`` at most a half."""
    terms = [1.0]
    total = rest = 1.0
    while rest > _EPSILON * total:
        n = len(terms) - 1
        by = (a + n) / (c + n) * x
        terms.append(terms[-1] * by)
        total += terms[-1]
        most = max(by, x)  # of every later term over the one before it
        rest = terms[-1] * most / (1 - most) if most < 1 else total
    return math.fsum(terms)


def _half_ratio(a: float) -> float:
    """Gamma(a + 1/2) / Gamma(a)."""
    if a < 100:
        return math.gamma(a + 0.5) / math.gamma(a)
    series = (1, -1 / 8, 1 / 128, 5 / 1024, -21 / 32768, -399 / 262144)
    return math.sqrt(a) * math.fsum(c / a**k for k, c in enumerate(series))


def percentile(values: Sequence[float], p: int) -> float | None:
    """The ``p``-th percentile (linear); None where there are too few values to state it."""
    if len(values) < PERCENTILE_NEEDS[p]:
        return None
    ordered = sorted(values)
    place = (len(ordered) - 1) * p / 100
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def ratio(original: Sequence[float], new: Sequence[float], u_common: float = 0.0) -> Ratio:
    """``new / original`` of geometric means, with Welch's 90% interval on log values.

    Its interval inside ``(1/(1+m), 1+m)`` is the two one-sided tests (TOST) at 5%.

    Args:
        original: launch values, all positive.
        new: launch values, all positive.
        u_common: relative standard uncertainty that all launches of a side share, so that more
            of them do not reduce it (two sensors' gains). It widens the interval: squares add,
            with degrees of freedom after Welch and Satterthwaite.
    """
    a, b = [math.log(v) for v in original], [math.log(v) for v in new]
    difference = statistics.fmean(b) - statistics.fmean(a)
    if len(a) < 2 or len(b) < 2:
        return Ratio(math.exp(difference), None)
    half = _half_width(a, b, u_common)
    return Ratio(math.exp(difference), (math.exp(difference - half), math.exp(difference + half)))


def _half_width(a: Sequence[float], b: Sequence[float], u_common: float) -> float:
    """Half of Welch's 90% interval of a difference of means."""
    va, vb = statistics.variance(a) / len(a), statistics.variance(b) / len(b)
    total = va + vb + u_common**2
    shared = va**2 / (len(a) - 1) + vb**2 / (len(b) - 1)
    quantile = t_quantile(0.95, total**2 / shared) if shared else _Z_95
    return quantile * math.sqrt(total)


def launches_needed(
    cv: float, margin: float, power: float = 0.9, u_common: float = 0.0
) -> int | None:
    """Launches per side for TOST at 5% to pass with ``power`` when the two are truly equal.

    Args:
        cv: launch-to-launch coefficient of variation.
        margin: the equivalence margin on the ratio, e.g. 0.05.
        power: the chance to pass.
        u_common: as for `ratio`; it stays however many launches there are.

    Returns:
        None where no number of launches, up to a thousand, is enough.
    """
    target = math.log1p(margin)
    p = 1 - (1 - power) / 2
    for n in range(2, 1000):
        noise = cv * math.sqrt(2 / n)
        both = math.hypot(noise, u_common)
        if target < _Z_95 * both + statistics.NormalDist().inv_cdf(p) * noise:
            continue  # not even with the normal quantiles, which are smaller and soon had
        df = 2 * (n - 1)
        if target >= t_quantile(0.95, df) * both + t_quantile(p, df) * noise:
            return n
    return None
