"""Processes of others on a GPU, from counts alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from kit.core.model import MeterDevice
from kit.energy.curve import Unmeasured
from kit.energy.foreign import Foreign, Span, foreign_processes
from kit.energy.reasons import sentence
from kit.record.samples import Samples, Series
from tests.plans import facts_in

S = 10**9


def gpu(**changes: dict[str, Any]) -> MeterDevice:
    facts: dict[str, dict[str, Any]] = {"gpu_process_groups": {}, "gpu_processes": {}}
    return MeterDevice(device="gpu0", description="", quantities=facts_in({**facts, **changes}))


def counted(**counts: list[int]) -> Samples:
    """One reading a second of each quantity."""

    def series(raw: list[int]) -> Series:
        t = np.arange(len(raw), dtype=np.int64) * S
        return Series(t, np.array(raw, np.int64), 0, t[:0], t, t)

    return Samples({("gpu0", f"gpu_{name}"): series(raw) for name, raw in counts.items()}, (), {})


IDLE, RUN = Span(0, 4 * S, 0), Span(4 * S, 10 * S, 1)


def test_the_runs_own_container_is_no_stranger() -> None:
    read = counted(process_groups=[0, 0, 0, 0, 1, 1, 1, 1, 1, 0])
    assert foreign_processes(read, gpu(), [IDLE, RUN]) == Foreign(0, 0, None, 10)


def test_somebody_before_the_container_starts_is_one() -> None:
    read = counted(process_groups=[0, 1, 1, 0, 1, 1, 1, 1, 1, 1])
    assert foreign_processes(read, gpu(), [IDLE, RUN]) == Foreign(1, 2, S, 10)


def test_somebody_beside_the_container_is_one() -> None:
    read = counted(process_groups=[0, 0, 0, 0, 1, 1, 3, 3, 2, 1])
    assert foreign_processes(read, gpu(), [IDLE, RUN]) == Foreign(2, 3, 6 * S, 10)


def test_a_process_that_ended_while_it_was_looked_up_is_not() -> None:
    read = counted(process_groups=[0, 0, 1, 0, 1, 2, 1, 1, 2, 1])
    assert foreign_processes(read, gpu(), [IDLE, RUN]) == Foreign(0, 0, None, 10)


def test_without_control_groups_only_the_time_before_the_container_tells() -> None:
    hidden = gpu(gpu_process_groups={"reason": "NVML: Unknown Error"})
    read = counted(processes=[2, 2, 2, 2, 3, 3, 3, 3, 3, 3])
    assert foreign_processes(read, hidden, [IDLE]) == Foreign(2, 4, 0, 4)
    result = foreign_processes(read, hidden, [IDLE, RUN])
    assert isinstance(result, Unmeasured)
    assert "gpu0" in sentence(result.reason)


def test_nothing_read_is_not_nobody() -> None:
    assert isinstance(foreign_processes(counted(), gpu(), [RUN]), Unmeasured)
    ended, long = counted(process_groups=[0, 0, 0, 0]), Span(4 * S, 60 * S, 1)
    assert isinstance(foreign_processes(ended, gpu(), [IDLE, long]), Unmeasured)
