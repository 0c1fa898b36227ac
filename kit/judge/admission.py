"""The check that every run passes before it is shown, compared or run again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kit.core.errors import ArchiveRefused
from kit.judge.verify import Verdict
from kit.judge.verify import verify as verify_run
from kit.store import verdicts


def verify(run: Path, *, through: str = "L6") -> Verdict:
    """`kit.judge.verify.verify`; it also keeps the verdict for lists."""
    files = verdicts.identity(run)
    verdict = verify_run(run, through=through)
    word = verdicts.VERIFIED if through == "L6" else verdicts.INTACT
    if not verdict.passed:
        word = f"failed: {verdict.failures[0].code}"
    verdicts.keep(run, files, word)
    return verdict


def admit(run: Path, *, records: bool = False) -> None:
    """Check that a run is what was sealed; show nothing of it if this raises.

    Args:
        records: also check the form of every file, for callers that compute from them.

    Raises:
        ArchiveRefused: with the code of the first check that failed.
        UsageError: nothing is there, or it cannot be read.
    """
    verdict = verify(run, through="L3" if records else "L1")
    if not verdict.passed:
        first = verdict.failures[0]
        where = ascii(str(run))[1:-1]
        if first.code == "NOT_A_ZIP":
            raise ArchiveRefused(
                first.code,
                f"{where} is no run: {first.message.removeprefix(_REFUSED)} [{first.code}]",
                "name a run's folder or its .kit.zip",
            )
        name = verdict.run_hash[:12] if verdict.run_hash else where
        raise ArchiveRefused(
            first.code,
            f"run {name} is not to be believed: {first.message} [{first.code}]",
            f"nothing of it is shown; `kit verify {where}` says everything that is wrong with it",
        )


_REFUSED = "the archive is refused: "


@contextmanager
def malformed(run: Path) -> Iterator[None]:
    """Wrap a computation on admitted records: an error in it is a fault of the records.

    Raises:
        ArchiveRefused: ``RESULTS_DIFFER``, as verify says of such a run.
    """
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ArchiveRefused(
            "RESULTS_DIFFER",
            f"nothing can be computed from the records of run {ascii(run.name[:12])[1:-1]} "
            f"({type(error).__name__}: {ascii(str(error)[:80])[1:-1]})",
            f"`kit verify {ascii(str(run))[1:-1]}` says what is wrong with it",
        ) from error
