"""`kit doctor`: preflight without a plan. What this host can do, and remedies for the rest.

Only what forbids every run is a ``fail`` here. A host without a GPU or a power meter can still run
specs, so that is a ``warn``.
"""

from __future__ import annotations

import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kit.core.errors import EngineUnavailable, KitError, UsageError
from kit.core.model import Finding, MeterPlan
from kit.machine import containers, host, images
from kit.machine.host import HostConfig, config_path, example, gpus, is_absent
from kit.machine.host.sections import ALIASED
from kit.measure import meters
from kit.measure.meters import amdsmi
from kit.run.preflight import gpu_rules, host_rules, meter_rules
from kit.run.preflight.facts import disk_free
from kit.run.preflight.finding import fail, ok, warn

PYTHON = (3, 11)
# Space for an image, a small model and some runs; below the first nothing can be built.
DISK_FAIL, DISK_WARN = 1 << 30, 10 << 30


def examine(runs: Path | None = None) -> list[Finding]:
    """Findings on this host, in reading order. It reports a `KitError` as a finding.

    Args:
        runs: the store's folder; None: the one in host.toml.
    """
    config, findings = _config()
    engine_facts, engine_findings = _engine()
    facts = host.fingerprint(engine_facts)
    findings += engine_findings
    findings.append(_python())
    findings += _gpus(facts)
    findings += _meters(config)
    findings += [_disk(runs or config.store_root), *_host(facts)]
    return findings


def lacking_gpus(wanted: int) -> list[Finding]:
    """A finding if this host has fewer GPUs, for a spec that cannot be planned here."""
    return list(gpu_rules.lacking(wanted, gpus.facts()[1])) if wanted else []


def _config() -> tuple[HostConfig, list[Finding]]:
    path = config_path()
    try:
        config = HostConfig.load()
    except UsageError as error:
        return HostConfig(), [fail("HOST_CONFIG", error.message, error.remedy)]
    if not path.exists():
        return config, [
            ok(
                "HOST_CONFIG",
                f"no host.toml, and none is needed; it is for {example.PURPOSE}: "
                "`kit doctor --init` writes a commented one",
            )
        ]
    if config.has_secrets and stat.S_IMODE(path.stat().st_mode) & 0o077:
        message = "host.toml holds credentials and others may read it"
        return config, [warn("HOST_CONFIG_OPEN", message, f"chmod 600 {path}")]
    return config, [ok("HOST_CONFIG", f"{path} is sound")]


def _engine() -> tuple[dict[str, Any] | None, list[Finding]]:
    """The container engine's facts, None if no engine answers; and findings on its images."""
    try:
        with containers.connect() as engine:
            facts = engine.facts()
            return facts, [host_rules.engine(facts, None), *images.check(engine.image)]
    except EngineUnavailable as error:
        return None, [fail("ENGINE_MISSING", error.message, error.remedy)]


def _python() -> Finding:
    version = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info[:2] >= PYTHON:
        return ok("PYTHON", f"Python {version}")
    return fail("PYTHON_OLD", f"Python {version} is too old", "use Python 3.11 or later")


def _gpus(facts: dict[str, Any]) -> Iterator[Finding]:
    boards, driver = facts["gpus"], facts["nvidia"]
    if is_absent(boards):
        return  # the meter nvml reports why
    if not boards:
        version = _text(driver["driver"], "of unknown version")
        yield warn("GPU_MISSING", f"driver {version} sees no GPU", "check `nvidia-smi`")
    else:
        version, cuda = (_text(driver[key], "unknown") for key in ("driver", "cuda_driver"))
        yield ok("GPU_DRIVER", f"driver {version}, CUDA {cuda}")
        engine = facts["docker"].get("gpu")
        growth = dict.fromkeys(boards, 1)  # the counters are watched by preflight, not here
        yield from gpu_rules.check(len(boards), boards, engine, None, growth)


def _meters(config: HostConfig) -> Iterator[Finding]:
    """Probe every meter that a spec could name here."""
    wanted = meters.of_host(config.aliased())
    plans = meters.apart(_probe(name, alias, config) for name, alias in wanted)
    yield from meter_rules.meters(plans)
    yield from meter_rules.wall(plans, {})
    for name in ALIASED:
        if name not in {plan.name for plan in plans}:
            word = "PDU" if name == "pdu" else name
            yield ok("METER", f"no {word} is configured in host.toml")
    if not amdsmi.is_installed():
        yield ok("METER", "no AMD GPU is read: the Python module amdsmi is not installed")
    yield from meter_rules.energy(plans)


def _probe(name: str, alias: str | None, config: HostConfig) -> MeterPlan:
    try:
        return meters.probe(name, alias, config.meter(name, alias))
    except KitError as error:
        reason = f"{error.message} ({error.remedy})" if error.remedy else error.message
        return MeterPlan(name=name, alias=alias, devices=(), reason=reason)


def _disk(runs: Path) -> Finding:
    free = disk_free(runs)
    message = f"{free / 1e9:.3g} GB free where runs are kept ({runs})"
    remedy = "free some space, or set [store] runs in host.toml"
    if free < DISK_FAIL:
        return fail("DISK_FULL", message, remedy)
    if free < DISK_WARN:
        return warn("DISK_LOW", message, remedy)
    return ok("DISK", message)


def _host(facts: dict[str, Any]) -> Iterator[Finding]:
    cpu, memory = facts["cpu"], facts["memory"]
    usable = cpu["usable"]
    message = (
        f"{usable} usable CPU{'s' if usable != 1 else ''} ({_text(cpu['model'], 'model unknown')})"
    )
    if usable < 3:
        yield warn("CPUS_FEW", message, "give kit three: runtime, driver and sampler apart")
    else:
        yield ok("CPUS", message)
    if isinstance(memory.get("available_bytes"), int):
        yield ok("MEMORY", f"{memory['available_bytes'] / 1e9:.3g} GB of memory available")
    yield host_rules.frequency(cpu["frequency"])
    yield host_rules.clock(facts["clock"])
    yield host_rules.load(facts["load"], usable)


def _text(value: Any, unknown: str) -> str:
    return unknown if is_absent(value) else str(value)
