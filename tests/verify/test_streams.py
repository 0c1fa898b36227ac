"""Holes in streams: by their own pace, where they have one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from kit.core.model import MeterDevice, MeterPlan
from kit.judge.verify import streams
from kit.record import archive, records
from kit.record.samples import Samples, Series
from tests.plans import facts_in


@pytest.fixture(scope="module")
def golden_records(original: Path) -> records.RunRecords:
    return records.load(archive.open_source(original))


def holes(
    golden_records: records.RunRecords, quantity: str, times_s: Any, facts: dict[str, Any]
) -> list[str]:
    """What is said of one stream with these times and plan facts."""
    t = np.round(np.asarray(times_s) * 1e9).astype(np.int64)
    none = np.zeros(0, np.int64)
    series = Series(t, np.arange(len(t)), 0, none, t, t)
    device = MeterDevice(device="gpu0", description="", quantities=facts_in({quantity: facts}))
    meters = (MeterPlan(name="nvml", alias=None, devices=(device,)),)
    changed = replace(
        golden_records,
        plan=msgspec.structs.replace(golden_records.plan, meters=meters),
        samples=Samples({("gpu0", quantity): series}, (), {}),
    )
    return list(streams._holes(changed))


def in_bursts(apart_s: float) -> Any:
    """Bursts of reads 3 ms apart."""
    return np.concatenate([at + np.arange(0, 0.03, 0.003) for at in np.arange(0, 60, apart_s)])


def test_a_counter_read_in_bursts_has_a_limit_of_its_own(
    golden_records: records.RunRecords,
) -> None:
    assert holes(golden_records, "gpu_energy", in_bursts(10.0), {"period_s": 0.1}) == []
    wide = holes(golden_records, "gpu_energy", in_bursts(20.0), {"period_s": 0.1})
    assert wide == ["gpu0 gpu_energy was not read for 20.0 s"]


@pytest.mark.parametrize("quantity", ["gpu_energy", "gpu_power_sample", "unheard_of"])
def test_a_stream_with_a_pace_keeps_to_it(
    golden_records: records.RunRecords, quantity: str
) -> None:
    even = np.concatenate([np.arange(0, 10, 0.1), np.arange(13, 20, 0.1)])
    assert holes(golden_records, quantity, even, {"poll_s": 0.1}) == [
        f"gpu0 {quantity} was not read for 3.1 s"
    ]
    assert holes(golden_records, quantity, np.arange(0, 20, 0.1), {"poll_s": 0.1}) == []
