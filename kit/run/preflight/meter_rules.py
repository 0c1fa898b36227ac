"""Rules on meters: which ones were asked for, which answer, and what is then measured. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kit.core import limits
from kit.core.model import Finding, MeterDevice, MeterPlan
from kit.core.units import QUANTITIES
from kit.energy import SCOPE_METERS, sanity
from kit.measure import meters as registry
from kit.run.preflight.finding import fail, ok, warn

# Meters that read energy or power; the estimator reads time.
MEASURING = frozenset(name for scope, name in SCOPE_METERS.items() if scope != "estimate")

# How long preflight watches the GPUs' counters (`kit.run.preflight.facts`), s.
_WATCHED_S = 0.5
_READABLE = "sudo chmod a+r /sys/class/powercap/*/energy_uj (until the next boot), or run as root"


def meters(plans: Sequence[MeterPlan]) -> Iterator[Finding]:
    """Every meter of the spec has devices, or a reason why not."""
    for plan in plans:
        yield meter(plan)


def meter(plan: MeterPlan) -> Finding:
    """One meter. Somebody wired and configured the PDU, so that its silence is a fault."""
    name = f"{plan.name} {plan.alias}" if plan.alias else plan.name
    silent = {d.device: _silent(d) for d in plan.devices if _silent(d) and _is_missed(plan, d)}
    if silent:
        device, why = next(iter(silent.items()))
        others = f" (and {len(silent) - 1} more)" if len(silent) > 1 else ""
        message = f"{name} reads nothing of {device}{others}: {why}"
        return warn("METER_SILENT", message, registry.get(plan.name).remedy)
    if plan.devices:
        devices = ", ".join(device.device for device in plan.devices if not _silent(device))
        return ok("METER", f"{name} reads {devices}")
    why = plan.reason or "no device"
    remedy = registry.get(plan.name).remedy
    if plan.name == "pdu":
        return fail("PDU_UNREACHABLE", f"{name} cannot be read: {why}", remedy)
    if plan.name == "rapl" and "permi" in why.lower():
        return warn("RAPL_UNREADABLE", f"{name} cannot be read: {why}", _READABLE)
    return warn("METER_ABSENT", f"{name} measures nothing: {why}", remedy)


def wall(plans: Sequence[MeterPlan], gpu_energy: Mapping[str, Any]) -> Iterator[Finding]:
    """Whether the PDUs' readings at planning are possible: among themselves, and with the GPUs'.

    Args:
        gpu_energy: growth of each GPU's counter within half a second, mJ; other values mean
            that there is none.
    """
    for device in (d for plan in plans if plan.name == "pdu" for d in plan.devices):
        if why := _impossible(device):
            yield warn("PDU_IMPLAUSIBLE", why, "compare outlets and profile: `kit pdu probe`")
    powers = [facts for plan in plans if plan.name == "pdu" for facts in _powers(plan)]
    for facts in powers:
        why = sanity.against_itself(facts["probe"], float(facts.get("resolution", 1.0)))
        if why:
            yield warn("PDU_IMPLAUSIBLE", why, "compare outlets and profile: `kit pdu probe`")
        if unused := facts.get("calibration_unused"):
            remedy = "repeat it with `kit pdu calibrate`"
            yield warn("PDU_UNCALIBRATED", f"the PDU's calibration is not used: {unused}", remedy)
    summed = [facts for facts in powers if facts.get("summed")]
    grown = [v for v in gpu_energy.values() if isinstance(v, int) and not isinstance(v, bool)]
    if not summed or any(plan.reason for plan in plans if plan.name == "pdu"):
        return
    wall_w = sum(f["probe"]["watts"] * f.get("correction", 1.0) for f in summed)
    gain = max(float(facts.get("gain", 0.0)) for facts in summed)
    if why := sanity.power_below_parts(wall_w, gain, sum(grown) * 1e-3 / _WATCHED_S):
        yield warn("PDU_IMPLAUSIBLE", why, "name every outlet that feeds this host in host.toml")


def _impossible(device: MeterDevice) -> str:
    """Why an outlet's reading at planning is impossible; empty if it is possible."""
    facts = device.quantities.get("pdu_power", {})
    watts = facts.get("probe", {}).get("watts")
    if watts is None:
        return ""
    raw = round(watts / float(facts.get("scale", 1.0)))
    why = limits.fault("pdu_power", facts, raw, watts, device.device)
    return f"{device.device}: {why}" if why else ""


def _powers(plan: MeterPlan) -> list[dict[str, Any]]:
    """The facts of each power that was read at planning."""
    told = [device.quantities.get("pdu_power", {}) for device in plan.devices]
    return [facts for facts in told if "watts" in facts.get("probe", {})]


def _silent(device: MeterDevice) -> str:
    """Why nothing of a device is read; empty if something is."""
    told = list(device.quantities.values())
    return str(told[0]["reason"]) if told and all("reason" in facts for facts in told) else ""


def _is_missed(plan: MeterPlan, device: MeterDevice) -> bool:
    """Whether energy is missed without this device; for a RAPL zone beside the packages it is not.

    Graphics that are off draw no power, and a desktop's memory is not counted.
    """
    told = device.quantities.values()
    return plan.name != "rapl" or any(facts.get("summed", True) for facts in told)


def energy(plans: Sequence[MeterPlan]) -> Iterator[Finding]:
    """Whether energy will be measured, estimated, or unmeasured."""
    working = {plan.name for plan in plans if any(map(_tells_energy, plan.devices))}
    if measuring := working & MEASURING:
        yield ok("ENERGY", f"energy will be measured ({', '.join(sorted(measuring))})")
    elif "estimate" in working:
        yield warn(
            "ENERGY_ESTIMATED",
            "energy will be estimated from CPU time: it is labelled so and gets no replay verdict",
            "run on a host with a GPU driver, readable RAPL or a metered outlet",
        )
    else:
        yield warn(
            "ENERGY_UNMEASURED",
            "no meter answers: energy will be unmeasured, latency and outputs are recorded",
            "run on a host with a GPU driver, readable RAPL or a metered outlet",
        )


def _tells_energy(device: MeterDevice) -> bool:
    """Whether any quantity of an energy scope is read; a card in MIG mode has none."""
    return any(
        "reason" not in facts and facts.get("summed", True)
        for name, facts in device.quantities.items()
        if name in QUANTITIES and QUANTITIES[name].scope != "none"
    )


def primary(metric: str, plans: Sequence[MeterPlan]) -> Iterator[Finding]:
    """A primary metric of energy needs its meter; without it a replay has nothing to compare."""
    scope, _, rest = metric.partition("_energy_")
    if not rest:
        return
    needed = SCOPE_METERS.get(scope, scope)
    working = {plan.name for plan in plans if any(map(_tells_energy, plan.devices))}
    if needed not in working:
        yield warn(
            "PRIMARY_UNMEASURED",
            f"the primary metric {metric} needs {needed}, which measures nothing here: "
            "a replay of this run will be NOT-COMPARABLE",
            "choose another primary_metric (outputs needs no meter), or another host",
        )
    elif needed == "estimate":
        yield warn(
            "PRIMARY_ESTIMATED",
            f"the primary metric {metric} is an estimate: a replay will be NOT-COMPARABLE",
            "choose another primary_metric (outputs needs no meter)",
        )
