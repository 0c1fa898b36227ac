"""When the requests of a measured block are sent. Pure: the same spec gives the same times.

Random gaps are drawn with numpy's `RandomState`, whose streams are frozen (NEP 19), so that verify
draws them again years later. Random and given times are rounded to a microsecond: the last digits
of a logarithm are not the same in every C library.
"""

from __future__ import annotations

from collections.abc import Iterator

from kit.core.arrays import np, npt
from kit.core.model import ArrivalsSpec, Problem

_LONGEST_S = 30 * 86_400
_DAYS = f"{_LONGEST_S // 86_400} days"


def times_ns(arrivals: ArrivalsSpec, count: int) -> Iterator[int | None]:
    """The intended times of ``count`` requests, ns since the block began; None in a closed loop.

    The first request of random gaps is sent at once.
    """
    if arrivals.kind == "trace":
        yield from (round(at * 1e6) * 1000 for at in arrivals.times_s or ())
    elif arrivals.seed is not None:
        yield from (round(at * 1e6) * 1000 for at in _random_s(arrivals, count).tolist())
    elif arrivals.rate is None:
        yield from (None for _ in range(count))
    else:
        together = arrivals.burst or 1
        yield from (round(n // together * together * 1e9 / arrivals.rate) for n in range(count))


def _random_s(arrivals: ArrivalsSpec, count: int) -> npt.NDArray[np.float64]:
    """Times (s) of gaps from the gamma distribution of mean 1/rate; of shape 1 it is Poisson's."""
    source = np.random.RandomState(arrivals.seed)
    shape = arrivals.shape or 1.0
    gaps = source.standard_gamma(shape, max(0, count - 1)) / (shape * (arrivals.rate or 1.0))
    return np.concatenate([np.zeros(min(1, count)), np.cumsum(gaps)])


def problems(arrivals: ArrivalsSpec, count: int) -> Iterator[Problem]:
    """What the schema cannot say of the arrivals of ``count`` requests.

    Times of more than 30 days are refused: of more than 104, in nanoseconds, no JSON document can
    hold them exactly.
    """
    rate = arrivals.rate
    if arrivals.kind == "trace":
        yield from _of_trace(arrivals.times_s or (), count)
    elif rate is not None and (
        count > rate * _LONGEST_S
        or (arrivals.seed is not None and _random_s(arrivals, count)[-1] > _LONGEST_S)
    ):
        message = f"at {rate:g} requests a second, {count} requests take more than {_DAYS}"
        yield Problem("$.arrivals.rate", message, "raise the rate, or ask for fewer requests")


def _of_trace(times_s: tuple[float, ...], count: int) -> Iterator[Problem]:
    path = "$.arrivals.times_s"
    if len(times_s) < count:
        message = f"{len(times_s)} times for {count} requests"
        yield Problem(path, message, f"set workload.options.requests to {len(times_s)}")
    if list(times_s) != sorted(times_s):
        yield Problem(path, "the times are not in ascending order", "sort them")
    if any(at > _LONGEST_S for at in times_s):
        yield Problem(path, f"a time lies after more than {_DAYS}", "give times in seconds")


def words(arrivals: ArrivalsSpec) -> str:
    """The arrivals for people, such as ``3 a second on average, Poisson``."""
    rate = f"{arrivals.rate:g} a second" if arrivals.rate else ""
    return {
        "closed": f"{arrivals.concurrency} at a time",
        "constant": rate,
        "poisson": f"{rate} on average, Poisson",
        "gamma": f"{rate} on average, gamma of shape {arrivals.shape or 1:g}",
        "bursts": f"{rate} in bursts of {arrivals.burst}",
        "trace": "at given times",
    }[arrivals.kind]
