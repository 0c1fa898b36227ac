"""CPU sets: the CPUs that kit may use, split so that kit does not disturb the run."""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import groupby


def usable() -> tuple[int, ...]:
    """The CPUs this process may run on, ascending (a cpuset or taskset is respected)."""
    return tuple(sorted(os.sched_getaffinity(0)))


def cpu_split(total: int | None = None) -> tuple[str, str, str]:
    """The CPU sets of (runtime, driver, sampler), such as ``("0-13", "14", "15")``.

    The sampler gets the last usable CPU, the driver the one before, the runtime the rest. With
    two CPUs driver and sampler share the second; with one all share it (preflight warns).

    Args:
        total: use the first ``total`` usable CPUs only; all of them when None.

    Raises:
        ValueError: when ``total`` is less than 1.
    """
    if total is not None and total < 1:
        raise ValueError(f"cannot split {total} CPUs")
    cpus = usable()[:total]
    runtime: tuple[int, ...]
    driver: tuple[int, ...]
    sampler: tuple[int, ...]
    if len(cpus) == 1:
        runtime, driver, sampler = cpus, cpus, cpus
    elif len(cpus) == 2:
        runtime, driver, sampler = cpus[:1], cpus[1:], cpus[1:]
    else:
        runtime, driver, sampler = cpus[:-2], cpus[-2:-1], cpus[-1:]
    return format_set(runtime), format_set(driver), format_set(sampler)


def format_set(cpus: Iterable[int]) -> str:
    """``[0, 1, 2, 5]`` → ``"0-2,5"``: the form of cpuset files, taskset and Docker."""
    numbered = enumerate(sorted(set(cpus)))
    runs = [[cpu for _, cpu in run] for _, run in groupby(numbered, key=lambda p: p[1] - p[0])]
    return ",".join(str(r[0]) if len(r) == 1 else f"{r[0]}-{r[-1]}" for r in runs)


def parse_set(cpus: str) -> frozenset[int]:
    """``"0-2,5"`` → ``{0, 1, 2, 5}``.

    Raises:
        ValueError: when ``cpus`` is not a CPU set.
    """
    numbers: set[int] = set()
    for part in filter(None, cpus.split(",")):
        first, _, last = part.partition("-")
        numbers.update(range(int(first), int(last or first) + 1))
    return frozenset(numbers)
