"""Plans sealed before their facts had a ``cause``: it is told by the sentences of then.

Only these sentences say that a card shares its sensor, or that its counter stands still. Verify
acts on that (`kit.judge.verify.environment`), and must not refuse honest older runs. Nothing else
in kit reads a reason's words.
"""

from __future__ import annotations

import msgspec

from kit.core.facts import Cause, QuantityFacts
from kit.core.model import Plan

# How the NVML meter began its reasons.
_FORMER: dict[str, Cause] = {
    "MIG is on": "shared",
    "a virtual GPU": "shared",
    "the energy counter does not advance": "still",
}


def with_causes(plan: Plan) -> Plan:
    """``plan`` with the causes that its sentences tell."""
    for device in (d for meter in plan.meters if meter.name == "nvml" for d in meter.devices):
        for quantity, facts in device.quantities.items():
            device.quantities[quantity] = _with_cause(facts)
    return plan


def _with_cause(facts: QuantityFacts) -> QuantityFacts:
    causes = (cause for words, cause in _FORMER.items() if (facts.reason or "").startswith(words))
    return msgspec.structs.replace(facts, cause=facts.cause or next(causes, None))
