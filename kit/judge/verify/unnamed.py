"""L4: beside launches and samples, a run has no file but those that kit writes for its plan.

A file that is sealed and that nothing reads would pass as part of the evidence. Which files there
are is a rule of kit, so that one more in a run of another version is a doubt.
"""

from __future__ import annotations

from collections.abc import Iterator

from kit.core.model import Manifest, Plan
from kit.judge.verify.calibrations import FOLDER as CALIBRATIONS
from kit.judge.verify.image import RECIPE
from kit.judge.verify.schema import ALWAYS, COMPLETE
from kit.judge.verify.verdict import Check
from kit.judge.verify.versions import ruled_by
from kit.record.records import RunRecords

_IDENTITY = "private/identity.json"
# Other checks hold the files below these against the plan.
_ELSEWHERE = ("launches/", "samples/", RECIPE)


def checks(records: RunRecords, manifest: Manifest) -> list[Check]:
    """The check of the names of all listed files."""
    fine = "every file is one that the plan gives"
    return [ruled_by(records.plan, "FILE_UNNAMED", _problems(records.plan, manifest), fine)]


def _problems(plan: Plan, manifest: Manifest) -> Iterator[str]:
    listed = [file.path for file in manifest.files]
    named = {*ALWAYS, *COMPLETE, _IDENTITY, *_calibrations(plan)}
    if any(path.startswith(RECIPE) for path in listed):
        from kit.machine.images import sbom  # a large package

        named.add(sbom.FILE)
    for path in listed:
        if path not in named and not path.startswith(_ELSEWHERE):
            yield f"{path!a} is a file that nothing in the plan names"


def _calibrations(plan: Plan) -> Iterator[str]:
    for meter in plan.meters:
        for device in meter.devices:
            for facts in device.quantities.values():
                if facts.calibration_sha256:
                    yield f"{CALIBRATIONS}{facts.calibration_sha256}.json"
