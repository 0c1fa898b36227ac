"""L4: a calibration counts only with its document, which names its author and its reference.

The plan's facts name the document by hash; it lies in ``inputs/calibration/``; the facts must
follow from it. Whether the document is true cannot be checked: its author vouches for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from kit.core import jsonio
from kit.core.facts import QuantityFacts
from kit.core.model import MeterPlan
from kit.judge.verify.verdict import Check, judged
from kit.record.archive import ArchiveSource
from kit.record.records import RunRecords

FOLDER = "inputs/calibration/"
# A fact that only a calibration sets.
_CALIBRATED_FACTS = frozenset(
    {"gain_correction", "offset_correction_w", "correction", "lag_s", "lag_u_s"}
)
_CALIBRATED = "calibrated"
_MALFORMED = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


def checks(records: RunRecords, source: ArchiveSource) -> list[Check]:
    """Every calibrated quantity against its document."""
    problems = [
        f"{device.device} {quantity}: {problem}"
        for meter in records.plan.meters
        for device in meter.devices
        for quantity, facts in device.quantities.items()
        for problem in _problems(meter, facts, source)
    ]
    return [judged("CALIBRATION_MISSING", problems, "what is calibrated has its calibration here")]


def _problems(meter: MeterPlan, facts: QuantityFacts, archive: ArchiveSource) -> Iterator[str]:
    """What is wrong with the calibration of one quantity; nothing if it has none."""
    name, stated = facts.calibration_sha256, _as_sealed(msgspec.to_builtins(facts))
    if name is None:
        if _CALIBRATED_FACTS & stated.keys() or (facts.gain_source or "").startswith(_CALIBRATED):
            yield "it is said to be calibrated, and its calibration is not here"
        return
    path = f"{FOLDER}{name}.json"
    if path not in archive.names():
        yield "its calibration is not here"
        return
    data = archive.read(path)
    if jsonio.digest(data) != name:
        yield "its calibration is another one"
        return
    try:
        expected = _facts(meter, jsonio.parse(data, path))
    except (jsonio.JsonRefused, *_MALFORMED):
        yield "its calibration is malformed"
        return
    own = {key: stated.get(key) for key in {*expected, *(_CALIBRATED_FACTS & stated.keys())}}
    if own != expected:
        wrong = sorted(key for key in own if own[key] != expected.get(key))
        yield f"its {', '.join(wrong[:3])} does not follow from its calibration"


def _facts(meter: MeterPlan, document: Any) -> dict[str, Any]:
    """The facts that a document gives, as the plan holds them."""
    if meter.name == "nvml":
        from kit.measure.meters.nvml.calibrated import facts_of

        facts = facts_of(document)
    else:
        # A newer kit's calibration may give facts that no formula here has.
        fields = QuantityFacts.__struct_fields__
        facts = {key: value for key, value in document["facts"].items() if key in fields}
    return _as_sealed(facts)


def _as_sealed(facts: dict[str, Any]) -> dict[str, Any]:
    """Facts as they are read from a plan: lists for tuples, and one kind of number."""
    sealed: dict[str, Any] = jsonio.parse(jsonio.canonical(facts))
    return sealed
