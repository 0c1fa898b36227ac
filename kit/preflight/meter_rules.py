"""Rules on meters: what was asked for, what answers, and what that leaves measured. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kit import meters as registry
from kit.energy import SCOPE_METERS
from kit.model import Finding, MeterPlan
from kit.preflight.finding import fail, ok, warn

# Meters whose readings are energy or power; the estimator's are time.
MEASURING = frozenset(name for scope, name in SCOPE_METERS.items() if scope != "estimate")

_READABLE = "sudo chmod a+r /sys/class/powercap/*/energy_uj (until the next boot), or run as root"


def meters(plans: Sequence[MeterPlan]) -> Iterator[Finding]:
    """Every meter asked for has devices, or says why not."""
    for plan in plans:
        yield meter(plan)


def meter(plan: MeterPlan) -> Finding:
    """One meter. A PDU was wired and configured by someone: its silence is a fault, not a lack."""
    name = f"{plan.name} {plan.alias}" if plan.alias else plan.name
    if plan.devices:
        devices = ", ".join(device.device for device in plan.devices)
        return ok("METER", f"{name} reads {devices}")
    why = plan.reason or "no device"
    remedy = registry.get(plan.name).remedy
    if plan.name == "pdu":
        return fail("PDU_UNREACHABLE", f"{name} cannot be read: {why}", remedy)
    if plan.name == "rapl" and "permi" in why.lower():
        return warn("RAPL_UNREADABLE", f"{name} cannot be read: {why}", _READABLE)
    return warn("METER_ABSENT", f"{name} measures nothing: {why}", remedy)


def energy(plans: Sequence[MeterPlan]) -> Iterator[Finding]:
    """What will be known of energy: measured, estimated, or nothing."""
    working = {plan.name for plan in plans if plan.devices}
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


def primary(metric: str, plans: Sequence[MeterPlan]) -> Iterator[Finding]:
    """A primary metric of energy needs its meter, or a replay has nothing to compare."""
    scope, _, rest = metric.partition("_energy_")
    if not rest:
        return
    needed = SCOPE_METERS.get(scope, scope)
    working = {plan.name for plan in plans if plan.devices}
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
