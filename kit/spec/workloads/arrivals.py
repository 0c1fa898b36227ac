"""When the requests of a measured block are sent. Pure: the same spec gives the same times.

Random gaps are drawn with numpy's `RandomState`, whose streams are frozen (NEP 19), so that verify
draws them again years later. Random and given times are rounded to a microsecond: the last digits
of a logarithm are not the same in every C library.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import repeat

from kit.core.arrays import np, npt
from kit.core.model import ArrivalsSpec, Problem


def times_ns(arrivals: ArrivalsSpec, count: int) -> Iterator[int | None]:
    """The intended times of ``count`` requests, ns since the block began; None in a closed loop.

    The first request of random gaps is sent at once.
    """
    match arrivals.kind:
        case "closed":
            yield from repeat(None, count)
        case "constant" | "bursts":
            rate = arrivals.rate or 1.0
            yield from (round(n * 1e9 / rate) for n in _begins(arrivals, range(count)))
        case "trace":
            yield from map(_rounded_ns, (arrivals.times_s or ())[:count])
        case _:
            yield from map(_rounded_ns, _random_s(arrivals, count).tolist())


def last_s(arrivals: ArrivalsSpec, count: int) -> float:
    """When the last of ``count`` requests (1 or more) is sent, s; 0 in a closed loop."""
    match arrivals.kind:
        case "closed":
            return 0.0
        case "constant" | "bursts":
            return next(_begins(arrivals, [count - 1])) / (arrivals.rate or 1.0)
        case "trace":
            return max((arrivals.times_s or ())[:count], default=0.0)
        case _:
            return float(_random_s(arrivals, count)[-1])


def _begins(arrivals: ArrivalsSpec, numbers: Iterable[int]) -> Iterator[int]:
    """The number of the first request in the burst of each."""
    together = arrivals.burst or 1
    return (number // together * together for number in numbers)


def _rounded_ns(at_s: float) -> int:
    return round(at_s * 1e6) * 1000


def _random_s(arrivals: ArrivalsSpec, count: int) -> npt.NDArray[np.float64]:
    """Times (s) of gaps from the gamma distribution of mean 1/rate; of shape 1 it is Poisson's."""
    source = np.random.RandomState(arrivals.seed)
    shape = arrivals.shape or 1.0
    with np.errstate(over="ignore"):  # a hostile rate: the times are infinite, and refused
        gaps = source.standard_gamma(shape, max(0, count - 1)) / (shape * (arrivals.rate or 1.0))
    return np.concatenate([np.zeros(min(1, count)), np.cumsum(gaps)])


def problems(arrivals: ArrivalsSpec, count: int, within_s: float) -> Iterator[Problem]:
    """What the schema cannot say of the arrivals of ``count`` requests.

    Args:
        within_s: how long a launch can take at most. Without this bound, times could be so large
            that no JSON document holds them exactly in nanoseconds.
    """
    field = "times_s" if arrivals.kind == "trace" else "rate"
    path = f"$.arrivals.{field}"
    times_s = arrivals.times_s
    if times_s is not None and len(times_s) != count:
        message = f"{len(times_s)} times for {count} requests"
        yield Problem(path, message, f"set workload.options.requests to {len(times_s)}")
    if times_s is not None and list(times_s) != sorted(times_s):
        yield Problem(path, "the times are not in ascending order", "sort them")
    last = last_s(arrivals, count)
    if last > within_s:
        message = f"the last request of a launch is sent after {last:.6g} s, "
        message += f"and limits.run_s leaves {within_s:.6g} s for each launch"
        yield Problem(path, message, "raise limits.run_s, or send the requests sooner")


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
