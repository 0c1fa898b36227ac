"""An outlet's power held against its own energy register. Pure.

Both come from one sensor of the PDU, yet by two ways: a column that is given another unit, or a
register that is given another scale, shows here. The register is coarse and cannot be cut into
phases, so that power stays what energies are made of; what contradicts it is a doubt.
"""

from __future__ import annotations

from kit.core.model import MeterDevice
from kit.energy.doubts import Doubt
from kit.energy.host import register_agreement
from kit.record.samples import Samples

# A clamp and a register are further apart only where one of them is not what it says.
_ALIKE = 1.25


def views_of(device: MeterDevice, samples: Samples) -> tuple[Doubt, ...]:
    """What contradicts an outlet's power over the whole run."""
    read = samples.get(device.device, "pdu_power")
    if "pdu_energy" not in device.quantities or read is None or len(read.t) < 2:
        return ()
    span = (int(read.t[0]), int(read.t[-1]))
    ratio = register_agreement(device, samples, *span)
    if isinstance(ratio, str) or 1 / _ALIKE < ratio < _ALIKE:
        return ()
    reason = f"its readings give {ratio:.3g} of what the outlet's own energy register counted"
    return (Doubt(device.device, "pdu_power", reason, "", 0, 0, (span,), dropped=False),)
