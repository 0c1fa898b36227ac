"""Every scope of energy, in the order of every face (CONTRIBUTING.md: "Add a scope")."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kit.core.model import MeterDevice, MeterPlan
from kit.core.units import QUANTITIES
from kit.energy.reason import Reason
from kit.energy.scopes import codecarbon, cpu, estimate, gpu, wall
from kit.energy.scopes.contract import Scope

__all__ = (
    "COMPARATORS",
    "SCOPES",
    "Scope",
    "is_summed",
    "mixed",
    "of_device",
    "of_meter",
    "of_quantity",
)

# What is part of the machine, the whole of it, what is estimated.
SCOPES: Mapping[str, Scope] = {
    s.name: s for s in (gpu.SCOPE, cpu.SCOPE, wall.SCOPE, estimate.SCOPE)
}
# Other tools' own accounts: shown beside kit's scopes, never added to them, behind no metric.
COMPARATORS: Mapping[str, Scope] = {s.name: s for s in (codecarbon.SCOPE,)}
_ALL = {**SCOPES, **COMPARATORS}
# Plans of kit 0.1 name no scope: theirs is that of kit's own meter.
_OLDER = {"nvml": "gpu", "rapl": "cpu", "pdu": "wall", "estimate": "estimate"}
_OLDER["codecarbon"] = "codecarbon"


def of_meter(meter: MeterPlan) -> str:
    """The name of the scope that a meter of a plan feeds, also where it has no device."""
    return meter.scope or _OLDER.get(meter.name, "none")


def of_quantity(quantity: str) -> Scope | None:
    """The scope that a quantity feeds; None for context such as temperature."""
    facts = QUANTITIES.get(quantity)
    return _ALL.get(facts.scope) if facts else None


def of_device(device: MeterDevice) -> Scope | None:
    """The scope that a device's readings feed."""
    scopes = (scope for name in device.quantities if (scope := of_quantity(name)))
    return next(scopes, None)


def is_summed(scope: str, device: MeterDevice) -> bool:
    """Whether a device is part of the scope's sum: one inside another is not."""
    return any(
        QUANTITIES[name].scope == scope and facts.is_summed
        for name, facts in device.quantities.items()
        if name in QUANTITIES
    )


def mixed(names: Iterable[str], scope: str) -> Reason | None:
    """Why meters of these names make no sum of a scope; None where they do.

    Two kinds of meter that read one scope read the same devices as a rule: a PDU and the machine's
    own supply, two tools that ask one card. Added up, these would count twice.
    """
    different = sorted(set(names))
    return Reason("mixed_meters", meters=different, scope=scope) if len(different) > 1 else None
