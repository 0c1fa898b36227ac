"""Processes of others on a GPU: their energy would be counted as the run's.

The sampler stores how many processes a GPU has and in how many control groups they are, never
whose they are. A container's processes are one control group, so that before the run's container
starts there may be none, and afterwards one. That is a lower bound: a stranger who comes after the
container has let go of the GPU, or two who share a group, are not told apart.

Pure: from sealed samples and the plan's facts alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

from kit.core.arrays import np
from kit.core.model import MeterDevice
from kit.energy.curve import Unmeasured
from kit.energy.reason import Reason
from kit.record.samples import Samples, Series

_LONG_NS = 25_000_000_000  # so long a span has readings
_COUNTS = ("gpu_process_groups", "gpu_processes")


class Span(NamedTuple):
    """A window ``[t0, t1)`` (ns) and how many control groups of the run may be on the GPU in it."""

    t0: int
    t1: int
    own: int


class Foreign(NamedTuple):
    """Processes of others on one GPU.

    Attributes:
        most: how many control groups too many there were at once, at least.
        readings: how many readings showed any.
        first: when the first of these was (ns); None where there was none.
        of: how many readings there were in all spans.
    """

    most: int
    readings: int
    first: int | None
    of: int


def foreign_processes(
    samples: Samples, device: MeterDevice, spans: Iterable[Span]
) -> Foreign | Unmeasured:
    """Processes of others on a GPU while the run used it.

    A process may end while it is looked up and then seems to be another's: only what two readings
    in a row show counts. Before the container starts (``own`` 0) the plain count of processes does,
    too, where control groups are not known.

    Args:
        samples: the run's.
        device: the GPU as the plan has it.
        spans: the run's stretches: ``own`` 0 without a container, 1 with one.
    """
    groups, processes = (_read(samples, device, quantity) for quantity in _COUNTS)
    by_span = []
    for span in spans:
        baseline = groups if groups is not None else processes if span.own == 0 else None
        if baseline is None:
            return Unmeasured(_why(device))
        one = _in(baseline, span)
        if not one.of and span.t1 - span.t0 > _LONG_NS:
            return Unmeasured(_why(device))
        by_span.append(one)
    first = [one.first for one in by_span if one.first is not None]
    return Foreign(
        most=max((one.most for one in by_span), default=0),
        readings=sum(one.readings for one in by_span),
        first=min(first, default=None),
        of=sum(one.of for one in by_span),
    )


def _read(samples: Samples, device: MeterDevice, quantity: str) -> Series | None:
    series = samples.get(device.device, quantity)
    if not device.reads(quantity) or series is None:
        return None
    return series if len(series.t) else None


def _in(series: Series, span: Span) -> Foreign:
    inside = (series.t >= span.t0) & (series.t < span.t1)
    extra = np.maximum(series.raw[inside] - span.own, 0).tolist()
    times = series.t[inside].tolist()
    lasting = [(t, min(a, b)) for t, (a, b) in zip(times, pairwise(extra), strict=False)]
    shown = [(t, more) for t, more in lasting if more > 0]
    return Foreign(
        most=max((more for _, more in shown), default=0),
        readings=sum(more > 0 for more in extra) if shown else 0,
        first=shown[0][0] if shown else None,
        of=len(extra),
    )


def _why(device: MeterDevice) -> Reason:
    if why := device.facts("gpu_process_groups").reason:
        return Reason("owners_unknown", device=device.device, said=why)
    return Reason("owners_unread", device=device.device)
