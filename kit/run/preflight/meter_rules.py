"""Rules on meters: which ones were asked for, which answer, and what is then measured. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kit.core import limits
from kit.core.facts import QuantityFacts, known
from kit.core.model import Finding, MeterDevice, MeterPlan
from kit.core.units import QUANTITIES, scale_of
from kit.energy import sanity, scopes
from kit.energy.reasons import sentence
from kit.measure import meters as registry
from kit.run.preflight.finding import fail, ok, warn
from kit.spec.meters import is_aliased

# How long preflight watches the GPUs' counters (`kit.run.preflight.facts`), s.
_WATCHED_S = 0.5
_READABLE = "sudo chmod a+r /sys/class/powercap/*/energy_uj (until the next boot), or run as root"


def meters(plans: Sequence[MeterPlan]) -> Iterator[Finding]:
    """Every meter of the spec has devices, or a reason why not."""
    for plan in plans:
        yield meter(plan)


def meter(plan: MeterPlan) -> Finding:
    """One meter. Silence of one that host.toml names forbids the run: somebody configured it."""
    name = f"{plan.name} {plan.alias}" if plan.alias else plan.name
    silent = {d.device: _silent(d) for d in plan.devices if _silent(d) and _is_missed(plan, d)}
    if silent:
        device, reason = next(iter(silent.items()))
        others = f" (and {len(silent) - 1} more)" if len(silent) > 1 else ""
        message = f"{name} reads nothing of {device}{others}: {reason}"
        return warn("METER_SILENT", message, registry.get(plan.name).remedy)
    if plan.devices:
        devices = ", ".join(device.device for device in plan.devices if not _silent(device))
        return ok("METER", f"{name} reads {devices}")
    reason = plan.reason or "no device"
    remedy = registry.get(plan.name).remedy
    if is_aliased(plan.name):
        return fail(f"{plan.name.upper()}_UNREACHABLE", f"{name} cannot be read: {reason}", remedy)
    if plan.name == "rapl" and plan.cause == "no_permission":
        return warn("RAPL_UNREADABLE", f"{name} cannot be read: {reason}", _READABLE)
    return warn("METER_ABSENT", f"{name} measures nothing: {reason}", remedy)


def wall(plans: Sequence[MeterPlan], gpu_energy: Mapping[str, Any]) -> Iterator[Finding]:
    """Whether the outlets' readings at planning are possible: among themselves, and with the GPUs'.

    Args:
        gpu_energy: growth of each GPU's counter within half a second, mJ; other values mean
            that there is none.
    """
    outlets = [plan for plan in plans if scopes.of_meter(plan) == "wall"]
    for device in (device for plan in outlets for device in plan.devices):
        if reason := _impossible(device):
            yield warn("PDU_IMPLAUSIBLE", reason, "compare outlets and profile: `kit pdu probe`")
    powers = [facts for plan in outlets for facts in _powers(plan)]
    for facts in powers:
        step_w = known(facts.resolution, 1.0)
        if facts.probe and (odd := sanity.against_itself(facts.probe, step_w)):
            yield warn(
                "PDU_IMPLAUSIBLE", sentence(odd), "compare outlets and profile: `kit pdu probe`"
            )
        if unused := facts.calibration_unused:
            remedy = "repeat it with `kit pdu calibrate`"
            yield warn("PDU_UNCALIBRATED", f"the PDU's calibration is not used: {unused}", remedy)
    summed = [facts for facts in powers if facts.summed]
    grown = [v for v in gpu_energy.values() if isinstance(v, int) and not isinstance(v, bool)]
    if not summed or any(plan.reason for plan in outlets):
        return
    wall_w = sum((_watts(facts) or 0.0) * known(facts.correction, 1.0) for facts in summed)
    gain = max(facts.gain or 0.0 for facts in summed)
    if below := sanity.power_below_parts(wall_w, gain, sum(grown) * 1e-3 / _WATCHED_S):
        yield warn(
            "PDU_IMPLAUSIBLE",
            sentence(below),
            "name every outlet that feeds this host in host.toml",
        )


def _impossible(device: MeterDevice) -> str:
    """Why an outlet's reading at planning is impossible; empty if it is possible."""
    facts = device.facts("pdu_power")
    if (watts := _watts(facts)) is None:
        return ""
    raw = round(watts / scale_of("pdu_power", facts))
    reason = limits.fault("pdu_power", facts, raw, device.device)
    return f"{device.device}: {reason}" if reason else ""


def _powers(plan: MeterPlan) -> list[QuantityFacts]:
    """The facts of each power that was read at planning."""
    powers = [device.facts("pdu_power") for device in plan.devices]
    return [facts for facts in powers if _watts(facts) is not None]


def _watts(facts: QuantityFacts) -> float | None:
    """The power that was read at planning, W."""
    return facts.probe.watts if facts.probe else None


def _silent(device: MeterDevice) -> str:
    """Why nothing of a device is read; empty if something is."""
    reasons = [facts.reason for facts in device.quantities.values()]
    return (reasons[0] or "") if reasons and None not in reasons else ""


def _is_missed(plan: MeterPlan, device: MeterDevice) -> bool:
    """Whether energy is missed without this device; for a RAPL zone beside the packages it is not.

    Graphics that are off draw no power, and a desktop's memory is not counted.
    """
    quantities = device.quantities.values()
    return plan.name != "rapl" or any(facts.is_summed for facts in quantities)


def energy(plans: Sequence[MeterPlan]) -> Iterator[Finding]:
    """Whether energy will be measured, estimated, or unmeasured."""
    working = _working(plans)
    measuring = [p.name for p in working if scopes.SCOPES[scopes.of_meter(p)].status == "measured"]
    if measuring:
        yield ok("ENERGY", f"energy will be measured ({', '.join(sorted(set(measuring)))})")
    elif working:
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


def _working(plans: Sequence[MeterPlan]) -> list[MeterPlan]:
    """The meters that will give energies of a scope."""
    own = (plan for plan in plans if scopes.of_meter(plan) in scopes.SCOPES)
    return [plan for plan in own if any(map(_reads_energy, plan.devices))]


def _reads_energy(device: MeterDevice) -> bool:
    """Whether any quantity of an energy scope is read; a card in MIG mode has none."""
    return any(
        facts.is_read and facts.is_summed
        for name, facts in device.quantities.items()
        if name in QUANTITIES and QUANTITIES[name].scope != "none"
    )


def primary(metric: str, plans: Sequence[MeterPlan]) -> Iterator[Finding]:
    """A primary metric of energy needs its meter; without it a replay has nothing to compare."""
    scope, _, rest = metric.partition("_energy_")
    if not rest:
        return
    of_scope = [plan for plan in plans if scopes.of_meter(plan) == scope]
    if not _working(of_scope):
        needed = " or ".join(plan.name for plan in of_scope) or f"a meter of {scope}"
        yield warn(
            "PRIMARY_UNMEASURED",
            f"the primary metric {metric} needs {needed}, which measures nothing here: "
            "a replay of this run will be NOT-COMPARABLE",
            "choose another primary_metric (outputs needs no meter), or another host",
        )
    elif scopes.SCOPES[scope].status == "estimated":
        yield warn(
            "PRIMARY_ESTIMATED",
            f"the primary metric {metric} is an estimate: a replay will be NOT-COMPARABLE",
            "choose another primary_metric (outputs needs no meter)",
        )
