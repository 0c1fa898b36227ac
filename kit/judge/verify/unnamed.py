"""L4: a run has no file but those that kit writes for its plan.

A file that is sealed and that nothing reads would pass as part of the evidence. Which files there
are is a rule of kit, so that one more in a run of another version is a doubt.
"""

from __future__ import annotations

from collections.abc import Iterator

from kit.core.model import Manifest, Plan
from kit.judge.verify.calibrations import FOLDER as CALIBRATIONS
from kit.judge.verify.image import RECIPE
from kit.judge.verify.schema import ALWAYS, COMPLETE, LAUNCH
from kit.judge.verify.verdict import Check
from kit.judge.verify.versions import ruled_by
from kit.measure.drive.spool import SPOOL
from kit.record.records import RunRecords

_IDENTITY = "private/identity.json"
_PROMPTS = "prompts.jsonl"
# What a launch leaves behind where the disk was full: it is sealed with what came until then.
_CUT_SHORT = (SPOOL, "requests.tmp", "responses.tmp", "container.tmp", "container.saved.tmp")


def checks(records: RunRecords, manifest: Manifest) -> list[Check]:
    """The check of the names of all listed files."""
    fine = "every file is one that the plan gives"
    return [ruled_by(records.plan, "FILE_UNNAMED", _problems(records, manifest), fine)]


def _problems(records: RunRecords, manifest: Manifest) -> Iterator[str]:
    listed = [file.path for file in manifest.files]
    named = set(_named(records.plan, listed, is_complete=manifest.status == "complete"))
    # Other checks hold the files below these against plan and records.
    folders = [f"launches/{n:03d}/images/" for n in range(records.spec.launches)]
    elsewhere = (RECIPE, *(folders if records.makes == "image" else ()))
    for path in listed:
        if path not in named and not path.startswith(elsewhere):
            yield f"{path!a} is a file that nothing in the plan names"


def _named(plan: Plan, listed: list[str], *, is_complete: bool) -> Iterator[str]:
    yield from (*ALWAYS, *COMPLETE, _IDENTITY)
    if any(path.startswith(RECIPE) for path in listed):
        from kit.machine.images import sbom  # a large package

        yield sbom.FILE
    for meter in plan.meters:
        yield f"samples/{meter.label}.csv"
        for device in meter.devices:
            for facts in device.quantities.values():
                if facts.calibration_sha256:
                    yield f"{CALIBRATIONS}{facts.calibration_sha256}.json"
    of_launch = (*LAUNCH, _PROMPTS, *(() if is_complete else _CUT_SHORT))
    for number in range(plan.launches):
        yield from (f"launches/{number:03d}/{name}" for name in of_launch)
