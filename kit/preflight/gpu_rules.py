"""Rules on the GPUs that a run asks for: the first ones, ``gpu0`` onwards. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from kit.host import is_absent
from kit.model import Finding
from kit.preflight.finding import fail, ok, warn

# A card still warm from other work leaks more and begins above its own idle power.
WARM_C = 60
# So close to its slowdown threshold a card will throttle within the run.
THROTTLE_GAP_C = 5

_WAYS = {"cdi": "CDI", "nvidia": "the nvidia runtime"}


def check(
    asked: int, boards: Mapping[str, Any], engine: Any, measured: bool, counters: Mapping[str, Any]
) -> Iterator[Finding]:
    """Findings on ``asked`` GPUs.

    Args:
        boards: the fingerprint's ``gpus``.
        engine: how the engine hands out GPUs: ``cdi``, ``nvidia`` or None.
        measured: whether the meter nvml is part of the plan.
        counters: growth of each energy counter in mJ, see `kit.preflight.gathering`.
    """
    if is_absent(boards):
        yield fail(
            "GPU_MISSING",
            f"the spec asks for {_gpus(asked)} and there is none: {boards['absent']}",
            "run on a host with NVIDIA's driver, or set devices.gpus to 0",
        )
        return
    if len(boards) < asked:
        yield fail(
            "GPU_TOO_FEW",
            f"the spec asks for {_gpus(asked)}, this host has {len(boards)}",
            f"set devices.gpus to {len(boards)} or less",
        )
    yield _handed_out(engine)
    for alias in list(boards)[:asked]:
        yield from _board(alias, boards[alias], measured, counters)


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
    alias: str, facts: Mapping[str, Any], measured: bool, counters: Mapping[str, Any]
) -> Iterator[Finding]:
    if is_absent(facts):
        yield fail("GPU_LOST", f"{alias} does not answer: {facts['absent']}", "reboot the host")
        return
    findings = [found for rule in _BOARD_RULES if (found := rule(alias, facts))]
    found = _processes(alias, facts, measured)
    findings += [found] if found else []
    if measured:
        findings += _counter(alias, counters)
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
        "the energy counter",
        "sudo nvidia-smi -pm 1",
    )


def _processes(alias: str, facts: Mapping[str, Any], measured: bool) -> Finding | None:
    count = facts.get("compute_processes")
    if not isinstance(count, int) or count == 0:
        return None
    message = f"{count} other program{'s' if count != 1 else ''} use {alias}"
    remedy = "end them (`nvidia-smi` lists them) or use another host"
    if measured:
        return fail("GPU_BUSY", f"{message}: their energy would be counted as the run's", remedy)
    return warn("GPU_BUSY", message, remedy)


def _counter(alias: str, counters: Mapping[str, Any]) -> list[Finding]:
    grown = counters.get(alias)
    if isinstance(grown, int) and grown > 0:
        return []
    if isinstance(grown, int):
        message = f"the energy counter of {alias} does not advance"
    else:
        reason = grown["absent"] if isinstance(grown, dict) else counters.get("absent", "unknown")
        message = f"{alias} has no energy counter ({reason})"
    remedy = "energy comes from power samples instead, with more uncertainty"
    return [warn("GPU_COUNTER", message, remedy)]


_BOARD_RULES: tuple[Callable[[str, Mapping[str, Any]], Finding | None], ...] = (
    _mig,
    _compute_mode,
    _ecc,
    _temperature,
    _persistence,
)


def _gpus(count: int) -> str:
    return f"{count} GPU{'s' if count != 1 else ''}"
