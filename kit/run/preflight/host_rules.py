"""Rules on the host itself, shared by `check` and by `kit doctor`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kit.core.model import Finding
from kit.machine.host import is_absent
from kit.run.preflight.finding import fail, ok, warn

# Share of the usable CPUs that may be busy with other work before the energy is affected.
LOAD_SHARE = 0.25


def engine(facts: Mapping[str, Any], cgroup: Any) -> Finding:
    """The container engine answers, and can enforce a container's limits."""
    if is_absent(facts):
        return fail("ENGINE_MISSING", facts["absent"], "start one: `sudo systemctl start docker`")
    name = f"{facts.get('engine', 'engine')} {facts.get('version', '?')}"
    parts = [
        f"API {facts.get('api_version', '?')}",
        f"{facts.get('image_store', '?')} image store",
        f"cgroup v{facts.get('cgroup_version') or cgroup}",
    ]
    described = f"{name} ({', '.join(parts)})"
    if facts.get("rootless") and str(facts.get("cgroup_version")) == "1":
        return fail(
            "ENGINE_LIMITS",
            f"{described} is rootless on cgroup v1 and cannot hold a container to CPUs or memory",
            "use a rootful engine, or boot with systemd.unified_cgroup_hierarchy=1",
        )
    return ok("ENGINE", described)


def frequency(facts: Any) -> Finding:
    """The frequency governor is ``performance``, or not under this host's control."""
    if facts is None or is_absent(facts):
        reason = facts["absent"] if facts else "unknown"
        return ok("FREQUENCY", f"how CPU frequencies are set cannot be seen: {reason}")
    governors = ", ".join(facts["governors"]) or "unknown"
    message = f"CPU frequency governor: {governors} ({_worded(facts['driver'])})"
    if facts["governors"] == ["performance"]:
        return ok("FREQUENCY", message)
    return warn(
        "FREQUENCY_GOVERNOR",
        f"{message}: clocks follow the load, so repeats may drift",
        "sudo cpupower frequency-set -g performance",
    )


def clock(facts: Mapping[str, Any]) -> Finding:
    """A time service keeps the clock; only time stamps for people depend on it."""
    if facts.get("synchronised") is True:
        error = facts.get("maximum_error_us", 0) / 1000
        return ok("CLOCK", f"the clock is synchronised (within {error:.0f} ms)")
    state = facts.get("synchronised")
    reason = f" ({state['absent']})" if isinstance(state, dict) else ""
    return warn(
        "CLOCK_UNSYNCHRONISED",
        f"no time service keeps this clock{reason}: dates in the archive are not proven; "
        "energy and latency are on the monotonic clock and do not suffer",
        "sudo apt-get install chrony, or sudo timedatectl set-ntp true",
    )


def load(facts: Mapping[str, Any], usable: Any) -> Finding:
    """Nothing else keeps this host busy."""
    one = facts.get("one_minute")
    if not isinstance(one, float) or not isinstance(usable, int):
        return warn("LOAD_UNKNOWN", "the load of this host cannot be read", "mount /proc")
    message = f"load average {one:.2f} on {usable} CPU{'s' if usable != 1 else ''}"
    if one <= LOAD_SHARE * usable:
        return ok("LOAD", message)
    return warn(
        "LOAD_HIGH",
        f"{message}: other work adds to every reading of this host",
        "end other programs (`top` shows them) and let the load fall",
    )


def _worded(value: Any) -> str:
    return "driver unknown" if is_absent(value) else str(value)
