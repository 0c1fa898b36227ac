"""What a card's calibration adds to the plan's facts; its UUID stays on the host.

The facts, on the counter and on each power quantity alike, since all are views of one sensor::

    gain_correction       factor on the reading
    offset_correction_w   watts to add after that
    gain, offset          what remains open, as everywhere: half-widths of a rectangular prior,
                          √3 times the calibration's standard uncertainties
    gain_source           who calibrated it, when, against what
    valid_w, valid_degc   the range in which it was compared
    calibration_sha256    of the calibration itself, sealed as ``inputs/calibration/<sha256>.json``
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from kit.measure.meters.nvml.cards import Card

_QUANTITIES = ("gpu_energy", "gpu_power_sample", "gpu_power_instant", "gpu_power_average")


def calibrated(cards: Sequence[Card], calibrations: Sequence[Mapping[str, Any]]) -> list[Card]:
    """The cards; one with a calibration has its facts added.

    Args:
        calibrations: those of this host, as `kit.machine.host.HostConfig.meter` gives them.
    """
    by_card = {str(c["uuid"]).lower(): c for c in calibrations}
    if not by_card:
        return list(cards)
    return [_with(card, by_card.get(_uuid(card))) for card in cards]


def _uuid(card: Card) -> str:
    rc, uuid = card.board.ask(lambda api, handle: api.nvml.nvmlDeviceGetUUID(handle))
    return str(uuid).lower() if rc == 0 else ""


def _with(card: Card, calibration: Mapping[str, Any] | None) -> Card:
    if calibration is None:
        return card
    added = facts_of(calibration)
    if "calibration_sha256" in calibration:
        added["calibration_sha256"] = calibration["calibration_sha256"]
    quantities = {
        name: replace(facts, **added) if name in _QUANTITIES and facts.is_read else facts
        for name, facts in card.device.quantities.items()
    }
    return dataclasses.replace(card, device=replace(card.device, quantities=quantities))


def facts_of(calibration: Mapping[str, Any]) -> dict[str, Any]:
    """What a calibration (``kit.calibration/1``, its UUID apart) adds to a plan's facts."""
    return {
        "gain_correction": calibration["gain"],
        "offset_correction_w": calibration["offset_w"],
        "gain": calibration["u_gain"] * math.sqrt(3),
        "offset": calibration["u_offset_w"] * math.sqrt(3),
        "gain_source": "calibrated {date} against {reference}: {source}".format(**calibration),
        "valid_w": tuple(calibration["valid_w"]),
        **({"valid_degc": tuple(met)} if (met := calibration.get("valid_degc")) else {}),
    }
