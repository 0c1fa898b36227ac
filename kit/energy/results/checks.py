"""Checks of the energy: two views of a GPU, steady state, averaging time of a sensor."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from kit.core.model import MeterDevice, Phase
from kit.energy import Energy, scopes
from kit.energy.reason import Reason
from kit.energy.results.document import Averages, CrossCheck, MeasuredOrNot, Place
from kit.energy.results.windows import seconds
from kit.energy.scopes.wall import register_agreement
from kit.energy.steady import Rule, Steady, judge
from kit.energy.window import Averaging, averaging
from kit.record.records import RunRecords

CROSS_CHECK_S = 10.0
Views = Callable[[MeterDevice, int, int], float | Reason]


def gpus(records: RunRecords) -> Iterator[MeterDevice]:
    """The GPUs whose energy the plan reads."""
    return _devices(records, "gpu")


def _devices(records: RunRecords, scope: str) -> Iterator[MeterDevice]:
    for meter in records.plan.meters:
        if scopes.of_meter(meter) == scope:
            yield from meter.devices


def cross_check(records: RunRecords, energy: Energy, block: Phase | None) -> dict[str, CrossCheck]:
    """By GPU, and by outlet with a register: power readings' energy over the counter's in the
    measured block, or why not."""

    def of_gpu(device: MeterDevice, t0: int, t1: int) -> float | Reason:
        ratio = energy.agreement(device, t0, t1)
        return Reason("views_missing") if ratio is None else ratio

    def of_outlet(device: MeterDevice, t0: int, t1: int) -> float | Reason:
        return register_agreement(device, energy.believed, t0, t1)

    outlets = (d for d in _devices(records, "wall") if "pdu_energy" in d.quantities)
    ratios = {d.device: _ratio(d, block, of_gpu) for d in gpus(records)}
    return ratios | {d.device: _ratio(d, block, of_outlet) for d in outlets}


def _ratio(device: MeterDevice, block: Phase | None, views: Views) -> CrossCheck:
    if block is None:
        return CrossCheck(status="unmeasured", reason=Reason("no_block"))
    length = seconds(block.t0, block.t1)
    if length < CROSS_CHECK_S:
        reason = Reason("block_short", seconds=length, least_s=CROSS_CHECK_S)
        return CrossCheck(status="unmeasured", reason=reason)
    ratio = views(device, block.t0, block.t1)
    if isinstance(ratio, Reason):
        return CrossCheck(status="unmeasured", reason=ratio)
    return CrossCheck(status="measured", ratio=ratio)


def averages(records: RunRecords, energy: Energy) -> dict[str, dict[str, Averages]]:
    """By GPU and power reading: the time that it averages over, as this run's own steps tell it."""
    return {
        device.device: {
            quantity: _averaged(window)
            for quantity, window in averaging(device, energy.believed).items()
        }
        for device in gpus(records)
    }


def _averaged(window: Averaging) -> Averages:
    status: MeasuredOrNot = "unmeasured" if window.window_s is None else "measured"
    return Averages(status=status, **vars(window))


def rule_of(records: RunRecords) -> Rule:
    """The spec's rule for a steady state, or the default."""
    asked = records.spec.phases.steady
    if asked is None:
        return Rule()
    return Rule(asked.temperature_c_per_min, asked.power_percent_per_min, asked.window_s)


def steady(records: RunRecords, energy: Energy, own: list[Phase]) -> dict[str, dict[Place, Steady]]:
    """By GPU: the loaded idle just before the measured block, and the block itself.

    Power is judged within the block too: there the work itself may vary, and its slope says
    whether the first joules cost as much as the last.
    """
    places: dict[Place, Phase | None] = {
        "before": _block(own, "loaded_idle", "before"),
        "within": _block(own, "measured", None),
    }
    rule = rule_of(records)
    return {
        device.device: {
            place: judge(device, energy.believed, _from(place, block, rule), block.t1, rule)
            for place, block in places.items()
            if block is not None
        }
        for device in gpus(records)
    }


def _from(place: str, block: Phase, rule: Rule) -> int:
    """Where the window begins: at the rule's length before the measured block, or with it."""
    last = block.t1 - round(rule.window_s * 1e9)
    return max(block.t0, last) if place == "before" else block.t0


def _block(own: list[Phase], name: str, part: str | None) -> Phase | None:
    return next((p for p in own if (p.name, p.part) == (name, part)), None)
