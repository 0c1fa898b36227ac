"""The meters that kit can read: its own, and those that other packages register.

Another package registers a meter under the entry-point group ``kit.meters``: the entry's name is
the meter's, its object a `kit.measure.meters.contract.Meter`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import UNSET

from kit.core import extras
from kit.core.errors import KitError, UsageError
from kit.core.model import MeterPlan
from kit.core.units import QUANTITIES
from kit.energy.scopes import SCOPES
from kit.measure.meters import fit
from kit.measure.meters.contract import Meter, MeterUnavailable, Reader, Reading, Tier, absent
from kit.spec.meters import GROUP, REGISTRY, names, scope_of

__all__ = (
    "GROUP",
    "Meter",
    "MeterUnavailable",
    "Reader",
    "Reading",
    "Tier",
    "apart",
    "get",
    "names",
    "of_host",
    "probe",
)


def probe(name: str, alias: str | None, config: dict[str, Any]) -> MeterPlan:
    """What a meter can read here; whatever else it raises is the reason why it reads nothing.

    Raises:
        KitError: what a person said of it cannot be.
    """
    meter = get(name)
    try:
        answer = meter.probe(alias, config)
    except KitError:
        raise
    except Exception as error:
        if lacking := extras.missing(error):
            raise lacking from error
        why = f"the meter failed: {type(error).__name__}: {error}"
        denied = isinstance(error, PermissionError)
        answer = absent(name, alias, MeterUnavailable(why, "no_permission" if denied else UNSET))
    scope = scope_of(name)
    try:
        plan = fit.plan_of(answer)
    except MeterUnavailable as fault:
        plan = absent(name, alias, fault)
    if stray := _strays(plan, scope):
        plan = absent(name, alias, stray)
    reason = " ".join(plan.reason.split())
    return msgspec.structs.replace(plan, name=name, alias=alias, reason=reason, scope=scope)


def apart(plans: Iterable[MeterPlan]) -> tuple[MeterPlan, ...]:
    """The plans, without the devices of a meter that gives one a name given before it."""
    owners: dict[str, str] = {}
    separate: list[MeterPlan] = []
    for plan in plans:
        if twice := next((d.device for d in plan.devices if d.device in owners), None):
            why = f"its device {twice} has the name of one of {owners[twice]}"
            separate.append(msgspec.structs.replace(plan, devices=(), reason=why))
            continue
        owners |= {device.device: plan.label for device in plan.devices}
        separate.append(plan)
    return tuple(separate)


def _strays(plan: MeterPlan, scope: str) -> str:
    """Why a device gives readings of another scope than its meter's, which nothing would add up."""
    for device in plan.devices:
        for quantity in device.quantities:
            record = QUANTITIES.get(quantity)
            if record is None:
                return f"{device.device} has {quantity!r}, a quantity that kit does not know"
            if record.scope not in ("none", scope):
                has = f"{device.device} has {quantity}, which is of {record.scope}"
                return f"it says that it feeds {scope}, and {has}"
    return ""


def of_host(aliased: Sequence[tuple[str, str | None]]) -> list[tuple[str, str | None]]:
    """Every meter that can be read on a host, with its alias, but other tools' accounts.

    Args:
        aliased: those with a section in host.toml (`kit.machine.host.HostConfig.aliased`).
    """
    from kit.measure.meters import amdsmi

    own = ["nvml", *(["amdsmi"] if amdsmi.is_installed() else []), "rapl"]
    outside = [name for name in REGISTRY.outside() if _feeds_a_scope(name)]
    return [*((name, None) for name in (*own, *outside)), *aliased, ("estimate", None)]


def _feeds_a_scope(name: str) -> bool:
    try:
        return scope_of(name) in SCOPES
    except UsageError:  # a package that cannot be imported, or an older contract
        return False


def get(name: str) -> Meter:
    """The meter called ``name``; a `UsageError` where there is none."""
    meter: Meter = REGISTRY.get(name)
    return meter
