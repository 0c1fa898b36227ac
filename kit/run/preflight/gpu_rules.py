"""Rules on the GPUs that a run asks for: the first ones, ``gpu0`` onwards. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from kit.core.model import Finding, MeterDevice
from kit.machine.host import is_absent
from kit.run.preflight.finding import fail, ok, warn

# A card that is still warm from other work leaks more current and draws more than its idle power.
WARM_C = 60
# A card this close to its slowdown threshold will throttle within the run.
THROTTLE_GAP_C = 5
# Limits are set in whole watts and reported in milliwatts.
LIMIT_SLACK_W = 0.5

# Replacements of an energy counter, best first, as in `kit.energy`.
_INSTEAD = {
    "gpu_power_sample": "the driver's 20 ms power samples",
    "gpu_power_instant": "instantaneous power, which misses what lies between two readings",
    "gpu_power_average": "averaged power, for windows of 5 s and more",
}
_WAYS = {"cdi": "CDI", "nvidia": "the nvidia runtime"}


def check(
    wanted: int,
    boards: Mapping[str, Any],
    engine: Any,
    measured: Sequence[MeterDevice] | None,
    counters: Mapping[str, Any],
) -> Iterator[Finding]:
    """Findings on the first ``wanted`` GPUs.

    Args:
        boards: the fingerprint's ``gpus``.
        engine: how the engine hands out GPUs: ``cdi``, ``nvidia`` or None.
        measured: what the meter nvml reads; None where it is not part of the plan.
        counters: growth of each energy counter in mJ, see `kit.run.preflight.facts`.
    """
    yield from lacking(wanted, boards)
    if is_absent(boards):
        return
    yield _handed_out(engine)
    used = {alias: boards[alias] for alias in list(boards)[:wanted]}
    for alias, facts in used.items():
        yield from _board(alias, facts, measured, counters)
    yield from _unlike(used)


def lacking(wanted: int, boards: Mapping[str, Any]) -> Iterator[Finding]:
    """A finding if there are fewer than ``wanted`` GPUs."""
    if wanted and is_absent(boards):
        yield fail(
            "GPU_MISSING",
            f"the spec asks for {_gpus(wanted)} and there is none: {boards['absent']}",
            "run on a host with NVIDIA's driver, or set devices.gpus to 0",
        )
    elif len(boards) < wanted:
        yield fail(
            "GPU_TOO_FEW",
            f"the spec asks for {_gpus(wanted)}, this host has {len(boards)}",
            f"set devices.gpus to {len(boards)}",
        )


def _unlike(boards: Mapping[str, Any]) -> Iterator[Finding]:
    """GPUs of several models in one run."""
    kinds = {
        f"{facts['name']}, {memory / 1e9:.3g} GB" if isinstance(memory, int) else facts["name"]
        for facts in boards.values()
        if isinstance(facts.get("name"), str)
        for memory in [facts.get("memory_total_bytes")]
    }
    if len(kinds) > 1:
        yield warn(
            "GPU_UNLIKE",
            f"the run's GPUs are of {len(kinds)} kinds ({'; '.join(sorted(kinds))}): the slowest "
            "sets the pace, and energy per token is of none of them",
            "set devices.gpus so that all are of one kind, or run on another host",
        )


def _handed_out(engine: Any) -> Finding:
    if engine in _WAYS:
        return ok("GPU_ENGINE", f"the engine hands out GPUs through {_WAYS[engine]}")
    return fail(
        "GPU_ENGINE",
        "the container engine cannot hand a GPU to a container",
        "install nvidia-container-toolkit and run `sudo nvidia-ctk runtime configure`, "
        "or write a CDI specification with `nvidia-ctk cdi generate`",
    )


def _board(
    alias: str,
    facts: Mapping[str, Any],
    measured: Sequence[MeterDevice] | None,
    counters: Mapping[str, Any],
) -> Iterator[Finding]:
    if is_absent(facts):
        yield fail("GPU_LOST", f"{alias} does not answer: {facts['absent']}", "reboot the host")
        return
    findings = [finding for rule in _BOARD_RULES if (finding := rule(alias, facts))]
    finding = _processes(alias, facts, measured is not None)
    findings += [finding] if finding else []
    if measured is not None:
        findings += _counter(alias, counters, measured)
    yield from findings
    if not findings:
        limit = facts.get("power_limit_w")
        cap = f", power limit {limit:g} W" if isinstance(limit, int | float) else ""
        yield ok("GPU", f"{alias}: {facts.get('name')}{cap}, idle and healthy")


def _mig(alias: str, facts: Mapping[str, Any]) -> Finding | None:
    if facts.get("mig") is not True:
        return None
    return fail(
        "GPU_MIG",
        f"MIG is on for {alias}: its meter reads the whole board, not the slice that is used",
        "sudo nvidia-smi -mig 0",
    )


def _virtual(alias: str, facts: Mapping[str, Any]) -> Finding | None:
    if facts.get("virtualisation") not in ("vgpu", "host-vgpu"):
        return None
    return warn(
        "GPU_VIRTUAL",
        f"{alias} is a virtual GPU: its meter reads the whole board, so that its energy is refused",
        "pass a whole board through to the machine, or meter the host's outlets",
    )


def _power_limit(alias: str, facts: Mapping[str, Any]) -> Finding | None:
    """The power limit in effect, which other settings may hold below the requested one."""
    usual = facts.get("power_default_w")
    limits = [facts.get("power_enforced_w"), facts.get("power_limit_w")]
    now = next((w for w in limits if isinstance(w, int | float)), None)
    if now is None or not isinstance(usual, int | float) or abs(now - usual) <= LIMIT_SLACK_W:
        return None
    return warn(
        "GPU_POWER_LIMIT",
        f"the power limit of {alias} is {now:g} W, its default is {usual:g} W: speed and energy "
        "are those of this limit",
        f"sudo nvidia-smi -pl {usual:g}, or keep it so on every host that is compared",
    )


def _ecc_off(alias: str, facts: Mapping[str, Any]) -> Finding | None:
    if facts.get("ecc") is not False:
        return None
    return warn(
        "GPU_ECC_OFF",
        f"{alias} has ECC memory and it is off: memory is faster, and errors go unseen",
        "sudo nvidia-smi -e 1 and reboot, or keep it so on every host that is compared",
    )


def _slowed(alias: str, facts: Mapping[str, Any]) -> Finding | None:
    slowdowns = facts.get("slowdowns")
    if not isinstance(slowdowns, list) or not slowdowns:
        return None
    return warn(
        "GPU_SLOWED",
        f"{alias} is slowed down before the run has begun ({', '.join(slowdowns)})",
        "check the host's cooling and the board's power supply; "
        "`nvidia-smi -q -d PERFORMANCE` shows when it is over",
    )


def _compute_mode(alias: str, facts: Mapping[str, Any]) -> Finding | None:
    if facts.get("compute_mode") != "prohibited":
        return None
    message = f"{alias} prohibits compute programs"
    return fail("GPU_PROHIBITED", message, "sudo nvidia-smi -c DEFAULT")


def _ecc(alias: str, facts: Mapping[str, Any]) -> Finding | None:
    errors = facts.get("ecc_uncorrected")
    if not isinstance(errors, int) or errors == 0:
        return None
    return fail(
        "GPU_ECC",
        f"{alias} counts {errors} uncorrected memory error{'s' if errors != 1 else ''} "
        "since its driver was loaded: outputs cannot be trusted",
        "drain the host and reset the GPU (`sudo nvidia-smi --gpu-reset`), then test its memory",
    )


def _temperature(alias: str, facts: Mapping[str, Any]) -> Finding | None:
    now, slowdown = facts.get("temperature_c"), facts.get("temperature_slowdown_c")
    if not isinstance(now, int):
        return None
    if isinstance(slowdown, int) and now >= slowdown - THROTTLE_GAP_C:
        message = f"{alias} is at {now} °C and slows down at {slowdown} °C"
        return fail("GPU_HOT", message, "let it cool down and check the host's cooling")
    if now >= WARM_C:
        message = f"{alias} is at {now} °C before the run: its idle power is not a baseline yet"
        return warn("GPU_WARM", message, f"wait until it is below {WARM_C} °C")
    return None


def _persistence(alias: str, facts: Mapping[str, Any]) -> Finding | None:
    if facts.get("persistence") is not False:
        return None
    return warn(
        "GPU_PERSISTENCE",
        f"persistence is off for {alias}: its driver may unload between launches, which resets "
        "the energy counter, and each launch pays for waking the board",
        "sudo nvidia-smi -pm 1",
    )


def _processes(alias: str, facts: Mapping[str, Any], measured: bool) -> Finding | None:
    count = facts.get("compute_processes")
    if not isinstance(count, int) or count == 0:
        return None
    message = f"{count} other program{' uses' if count == 1 else 's use'} {alias}"
    remedy = "end them (`nvidia-smi` lists them) or use another host"
    if measured:
        return fail("GPU_BUSY", f"{message}: their energy would be counted as the run's", remedy)
    return warn("GPU_BUSY", message, remedy)


def _counter(
    alias: str, counters: Mapping[str, Any], measured: Sequence[MeterDevice]
) -> list[Finding]:
    grown = counters.get(alias)
    if isinstance(grown, int) and grown > 0:
        return []
    if isinstance(grown, int):
        message = f"the energy counter of {alias} does not advance"
    else:
        reason = grown["absent"] if isinstance(grown, dict) else counters.get("absent", "unknown")
        message = f"{alias} has no energy counter ({reason})"
    instead = _instead(alias, measured)
    if instead is None:
        remedy = "its energy stays unmeasured here: update the driver, or meter the host's outlets"
        return [warn("GPU_COUNTER", f"{message}, nor any power reading", remedy)]
    remedy = f"nothing to do: energy comes from {instead} instead, with more uncertainty"
    return [warn("GPU_COUNTER", message, remedy)]


def _instead(alias: str, measured: Sequence[MeterDevice]) -> str | None:
    """The best power reading in place of the counter."""
    for device in measured:
        for quantity, name in _INSTEAD.items():
            if device.device == alias and device.reads(quantity):
                return name
    return None


_BOARD_RULES: tuple[Callable[[str, Mapping[str, Any]], Finding | None], ...] = (
    _mig,
    _virtual,
    _compute_mode,
    _ecc,
    _ecc_off,
    _power_limit,
    _slowed,
    _temperature,
    _persistence,
)


def _gpus(count: int) -> str:
    return f"{count} GPU{'s' if count != 1 else ''}"
