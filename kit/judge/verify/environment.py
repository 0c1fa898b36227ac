"""L6: which devices the run used, and whether the machine stayed the same.

The spec asks for GPUs, the plan reads some, the fingerprints list them, the server reports its own:
all four must agree. A quantity that the plan calls unreadable must not be in a fingerprint.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kit.core.facts import Cause
from kit.core.model import MeterDevice, MeterPlan
from kit.judge.verify.verdict import Check, check, judged
from kit.record.records import RunRecords

_WATT = 1.0
# A laptop's driver changes the limit with the CPU's load; a person sets it once or twice.
_MOVES, _NEAR = 3, 0.25
# Facts whose change means another machine, and facts whose change means other conditions: a
# virtual machine can gain and lose memory and CPUs while it runs.
_SAME = (
    *("cpu.model", "cpu.vendor", "cpu.sockets"),
    *("kernel.release", "kernel.architecture", "os.id", "nvidia.driver", "nvidia.nvml"),
    *("machine.product", "kit.version", "docker.engine"),
)
_SAME_CARD = ("name", "memory_total_bytes", "compute_capability", "vbios", "virtualisation")
_CONDITION = (
    *("clock.source", "cpu.frequency.governors", "cpu.frequency.boost", "docker.version"),
    *("cpu.threads", "memory.total_bytes"),
)
_CONDITION_CARD = (
    *("power_limit_w", "power_enforced_w", "power_default_w", "ecc", "mig", "persistence"),
    *("compute_mode", "sm_clock_application_mhz"),
)
# A quantity that the fingerprint reads too, by another call: what it can read, the meter can.
_ALSO_READ = {
    "gpu_energy": "energy_counter",
    "gpu_temperature": "temperature_c",
    "gpu_memory_temperature": "memory_temperature_c",
    "gpu_sm_clock": "sm_clock_mhz",
    "gpu_memory_clock": "memory_clock_mhz",
    "gpu_power_limit": "power_enforced_w",
    "gpu_memory_used": "memory_used_bytes",
    "gpu_processes": "compute_processes",
}
_ENERGY = frozenset({"gpu_energy", "gpu_power_sample", "gpu_power_instant", "gpu_power_average"})


def checks(records: RunRecords, *, whole: bool) -> list[Check]:
    """Compare devices, reasons for absent quantities, and fingerprints with one another."""
    try:
        devices = [
            *_gpu_count(records),
            *_gpu_names(records),
            *_reasons(records),
            *_effective(records),
        ]
        changed = list(_changed(records, _SAME, _SAME_CARD)) if whole else []
        conditions = list(_changed(records, _CONDITION, _CONDITION_CARD))
        for problem, contradicted in _limits(records):
            (changed if contradicted else conditions).append(problem)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        return [
            check("DEVICES_DIFFER", "FAIL", f"a fingerprint is malformed ({type(error).__name__})")
        ]
    fine = "the machine was the same before and after"
    return [
        judged("DEVICES_DIFFER", devices, "spec, plan and fingerprints name the same devices"),
        judged("ENVIRONMENT", changed, fine, conditions),
    ]


# --- devices ----------------------------------------------------------------------------------


def _boards(env: Mapping[str, Any]) -> dict[str, dict[str, Any]] | None:
    """The fingerprint's GPUs by alias; None if it has no such part, empty if no GPU answers."""
    gpus = env.get("gpus")
    if not isinstance(gpus, dict):
        return None
    return {k: v for k, v in gpus.items() if k.startswith("gpu") and isinstance(v, dict)}


def _nvml(records: RunRecords) -> Iterator[MeterPlan]:
    return (meter for meter in records.plan.meters if meter.name == "nvml")


def _gpu_count(records: RunRecords) -> Iterator[str]:
    """The GPUs that are read must be those that the spec asks for."""
    boards, wanted = _boards(records.env_start), records.spec.devices.gpus
    if boards is not None and wanted > len(boards):
        yield f"the spec asks for {wanted} GPUs, the machine has {len(boards)}"
    for meter in _nvml(records):
        own = [d.device for d in meter.devices]
        expected = wanted or (len(boards) if boards is not None else len(own))
        if meter.devices and own != [f"gpu{n}" for n in range(expected)]:
            yield f"the plan reads {', '.join(own[:4])[:60]}, and {expected} GPUs are the run's"
        if not meter.devices and boards and any(b.get("energy_counter") for b in boards.values()):
            yield "the plan says that no GPU can be read, and the fingerprint read them"


def _gpu_names(records: RunRecords) -> Iterator[str]:
    boards = _boards(records.env_start) or {}
    for meter in _nvml(records):
        for device in meter.devices:
            name = boards.get(device.device, {}).get("name")
            if isinstance(name, str) and name != device.description:
                names = f"{device.description[:40]!a}, its fingerprint {name[:40]!a}"
                yield f"{device.device} is {names}"


def _reasons(records: RunRecords) -> Iterator[str]:
    """The plan's reasons for unread quantities, against the fingerprint's readings of them."""
    boards = _boards(records.env_start) or {}
    for meter in _nvml(records):
        for device in meter.devices:
            board = boards.get(device.device, {})
            for quantity, facts in device.quantities.items():
                if not facts.is_read and _contradicted(quantity, facts.cause, board):
                    yield f"{device.device} {quantity} is said to be absent, and it was read"
    for meter in records.plan.meters:
        if meter.reason and meter.devices:
            yield f"{meter.name} has devices and a reason why it has none"


def _contradicted(quantity: str, cause: Cause | None, board: Mapping[str, Any]) -> bool:
    """Whether the fingerprint's GPU (``board``) contradicts the plan's reason, of this cause.

    Energy may be absent although it was read: where MIG or a virtual GPU shares the counter, and
    where the counter does not advance.
    """
    if quantity in _ENERGY and cause == "shared":
        virtual = board.get("virtualisation") in ("vgpu", "host-vgpu")
        return "mig" in board and board["mig"] is not True and not virtual
    if quantity == "gpu_energy" and cause == "still":
        return False
    reading = board.get(_ALSO_READ.get(quantity, ""))
    return isinstance(reading, int | float) and bool(reading)


def _effective(records: RunRecords) -> Iterator[str]:
    """What the server reported of itself, against plan and spec, if kit knows its form."""
    described = {d.description for m in _nvml(records) for d in m.devices}
    options = records.spec.runtime.options
    for launch, answers in records.effective.items():
        if not answers.keys() <= _paths(records):
            yield f"launch {launch}: the server was asked for what its runtime does not answer"
        props = answers.get("/props")
        if not isinstance(props, dict):
            continue
        where = f"launch {launch}: the server"
        device, kind = props.get("device"), props.get("dtype")
        is_card = isinstance(device, str) and device.lower() not in ("cpu", "cuda")
        if is_card and described and device not in described:
            yield f"{where} ran on {str(device)[:40]!a}"
        if isinstance(kind, str) and options.get("dtype") not in (None, "auto", kind):
            yield f"{where} computed in {kind[:20]!a}, the spec asks for {options['dtype']!a}"
        yield from (f"{where} {problem}" for problem in _served(records, props))


def _paths(records: RunRecords) -> set[str]:
    """The paths of the runtime's configuration; all paths for a runtime that kit does not know."""
    from kit.core.errors import UsageError
    from kit.spec import runtimes

    try:
        runtime = runtimes.get(records.spec.runtime.name)
        return {*runtime.effective_paths, *(["log"] if runtime.log_facts else [])}
    except UsageError:
        return {path for answers in records.effective.values() for path in answers}


def _served(records: RunRecords, props: Mapping[str, Any]) -> Iterator[str]:
    """The model's file and the attention that the server used, against plan and spec."""
    path = props.get("model_path")
    targets = {mount.target for mount in records.plan.launch.mounts}
    if isinstance(path, str) and targets and path not in targets:
        yield f"served {path[:60]!a}, which is none of the run's weights"
    wanted = records.spec.runtime.options.get("attention")
    used = props.get("attention")
    if isinstance(used, str) and wanted not in (None, "auto", used):
        yield f"used the attention {used[:20]!a}, the spec asks for {wanted!a}"


# --- before and after ---------------------------------------------------------------------------


def _changed(
    records: RunRecords, paths: tuple[str, ...], of_card: tuple[str, ...]
) -> Iterator[str]:
    start, end = records.env_start, records.env_end
    if not end:
        return
    for path in paths:
        yield from _moved(path, _at(start, path), _at(end, path))
    before, after = _boards(start) or {}, _boards(end) or {}
    if of_card is _SAME_CARD and before.keys() != after.keys():
        yield f"{len(before)} GPUs before the run, {len(after)} after it"
    for alias in sorted(before.keys() & after.keys()):
        for key in of_card:
            yield from _moved(f"{alias} {key}", before[alias].get(key), after[alias].get(key))


def _at(document: Mapping[str, Any], path: str) -> Any:
    value: Any = document
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _moved(fact: str, before: Any, after: Any) -> Iterator[str]:
    """Facts that were known before and after the run, and differ."""
    if not _is_unknown(before) and not _is_unknown(after) and before != after:
        yield f"{fact} was {str(before)[:40]!a} before the run and {str(after)[:40]!a} after it"


def _is_unknown(value: Any) -> bool:
    """Whether a fact is missing, or ``{"absent": why}``: a failed query."""
    return value is None or (isinstance(value, dict) and value.keys() == {"absent"})


def _limits(records: RunRecords) -> list[tuple[str, bool]]:
    """The power limit that was sampled against the one in the fingerprints."""
    return [p for m in _nvml(records) for d in m.devices for p in _limit(records, d)]


def _limit(records: RunRecords, device: MeterDevice) -> Iterator[tuple[str, bool]]:
    """What is wrong with a card's power limit, and whether it is a contradiction or a change.

    A limit may be changed at any time, also between a fingerprint and the first reading or after
    the last one. But then one of the two fingerprints agrees with the readings.
    """
    series = records.samples.get(device.device, "gpu_power_limit")
    if series is None or not len(series.raw):
        return
    sampled = sorted({round(raw * 1e-3) for raw in series.raw.tolist()})
    listed = ", ".join(f"{w:g}" for w in sampled[:3])
    limits = {
        when: watts
        for when, env in (("before", records.env_start), ("after", records.env_end))
        for watts in [(_boards(env) or {}).get(device.device, {}).get("power_enforced_w")]
        if isinstance(watts, int | float)
    }
    odd = {when: watts for when, watts in limits.items() if not _fits(watts, sampled)}
    for when, watts in odd.items():
        text = f"its cap is {watts:g} W {when} the run, and {listed} W was sampled"
        yield f"{device.device}: {text}", len(odd) == len(limits)
    if not odd and len(sampled) > 1:
        yield f"{device.device}: its cap was changed during the run: {listed} W was sampled", False


def _fits(limit_w: float, sampled: list[int]) -> bool:
    """Whether a limit was sampled; if it changes all the time, whether it is near the samples."""
    if len(sampled) > _MOVES:
        return sampled[0] * (1 - _NEAR) <= limit_w <= sampled[-1] * (1 + _NEAR)
    return any(abs(w - limit_w) <= _WATT for w in sampled)
