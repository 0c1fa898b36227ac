"""`kit verify`: check a run, without trusting whoever made it, and without GPU or network.

Nothing is extracted, nothing in the archive is executed, and no stored verdict or count is
believed: expected counts come from the spec, numbers are computed again from raw records. A failed
level hides the deeper ones, because they would judge bytes that nobody sealed.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from kit.core.errors import ArchiveRefused
from kit.core.model import Manifest
from kit.energy import Energy
from kit.judge.verify import (
    attempts,
    authenticity,
    calibrations,
    clocks,
    driver,
    environment,
    image,
    integrity,
    journal,
    live,
    plan,
    plausibility,
    reads,
    recheck,
    schema,
    unnamed,
)
from kit.judge.verify.codes import LEVELS
from kit.judge.verify.verdict import Check, Status, Verdict, check
from kit.record import archive
from kit.record import manifest as manifests
from kit.record.archive import ArchiveSource

__all__ = ("LEVELS", "Check", "Status", "Verdict", "verify")


def verify(path: Path, *, through: str = "L6") -> Verdict:
    """Check the run at ``path``: a sealed folder or a ``.kit.zip``.

    Args:
        through: the deepest level to check. L1: the files are those that were sealed. L3: they
            also have their form. L6: everything.

    Raises:
        UsageError: nothing is there, or it cannot be read.
    """
    with ExitStack() as stack:
        try:
            source = stack.enter_context(archive.open_source(path))
        except ArchiveRefused as refused:
            return _refused(None, [], refused)
        return _opened(source, through)


def _opened(source: ArchiveSource, through: str) -> Verdict:
    checks = [check("CONTAINER", "PASS", f"the {source.kind} is safe to read")]
    checks += [check(remark.code, "WARN", remark.message) for remark in source.remarks]
    name = None
    try:
        name = integrity.name_of(source)
        data, manifest = manifests.read(source)
    except ArchiveRefused as refused:
        return _refused(name, checks, refused)
    checks += integrity.checks(source, data, manifest)
    checks += authenticity.checks(source)
    checks += attempts.checks(source, manifest)
    verdict = Verdict(run_hash=name, status=manifest.status, checks=tuple(checks))
    if not verdict.passed or through == "L1":
        return verdict
    return _with_deeper(verdict, manifests.Intact(source, manifest), manifest, through)


def _with_deeper(
    verdict: Verdict, source: ArchiveSource, manifest: Manifest, through: str
) -> Verdict:
    """Levels 3 and deeper, each only if the one before passed."""
    checks = list(verdict.checks)
    checks += schema.checks(source, manifest)
    if not any(c.status == "FAIL" for c in checks):
        checks += recheck.load(source)[1] if through == "L3" else _of_records(source, manifest)
    return Verdict(run_hash=verdict.run_hash, status=verdict.status, checks=tuple(checks))


def _of_records(source: ArchiveSource, manifest: Manifest) -> list[Check]:
    records, first = recheck.load(source)
    if records is None:
        return first
    is_complete = manifest.status == "complete"
    energy = Energy(records.samples, records.plan.meters)
    steps: list[Callable[[], list[Check]]] = [
        lambda: plan.checks(records, source, manifest),
        lambda: unnamed.checks(records, manifest),
        lambda: calibrations.checks(records, source),
        lambda: clocks.checks(records, manifest),
        lambda: journal.checks(records, manifest),
        lambda: reads.checks(records, is_complete=is_complete),
        lambda: live.checks(records, is_complete=is_complete),
        lambda: driver.checks(records, is_complete=is_complete),
        lambda: recheck.checks(records, energy, source, manifest),
        lambda: plausibility.checks(records, energy, manifest),
        lambda: image.checks(records, source, manifest),
        lambda: environment.checks(records, whole=is_complete),
    ]
    return first + [c for step in steps for c in step()]


def _refused(name: str | None, before: list[Check], refused: ArchiveRefused) -> Verdict:
    """The verdict on a run that cannot be read: one FAIL, with the code of the broken rule."""
    fault = check(refused.code, "FAIL", refused.message)
    earlier = [c for c in before if fault.level != "L0"]
    return Verdict(run_hash=name, status=None, checks=(*earlier, fault))
