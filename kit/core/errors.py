"""Every error that kit raises on purpose.

The tree::

    KitError                      exit   meaning
    ├── UsageError                 2     the command line, or a file named on it, is wrong
    │   └── SpecInvalid            2     a run spec with problems; carries all of them
    ├── Blocked                    3     kit cannot start: something outside kit is missing
    │   ├── EngineUnavailable      3     no container engine, no permission, or a remote one
    │   ├── ImageUnavailable       3     image missing, or present with another digest
    │   ├── WeightsUnavailable     3     weights missing, or with another hash
    │   ├── ExtraMissing           3     the command's extra of the distribution is not installed
    │   └── PreflightFailed        3     at least one finding is a ``fail``
    ├── RunFailed                  1     the run began and could not be completed
    │   ├── LaunchFailed           1     the engine could not make or start the container
    │   ├── ContainerDied          1     the runtime ended before its work did
    │   ├── NotReady               1     the runtime never became ready
    │   ├── DriverFailed           1     the load driver ended early
    │   ├── SamplerFailed          1     a sampler ended early
    │   └── DiskFull               1     no room left to record the run
    ├── ArchiveRefused             4     an archive that is unsafe or malformed; carries a code
    └── Interrupted              130     the person asked kit to stop

An error is one sentence for the person (`message`) and what to do about it (`remedy`). The
command line prints both and nothing else; a traceback means a bug in kit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kit.core.jsonplace import Place
    from kit.core.model import Finding, Problem

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_BLOCKED = 3
EXIT_VERIFY = 4
EXIT_DIFFERENT = 5
EXIT_INCONCLUSIVE = 6
EXIT_INTERRUPTED = 130


class KitError(Exception):
    """Base of every deliberate error: ``message`` says what, ``remedy`` says what to do."""

    exit_code = EXIT_FAILED

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


class UsageError(KitError):
    exit_code = EXIT_USAGE


class SpecInvalid(UsageError):
    """A spec with problems; all of them are in ``problems``, each with its JSON path.

    ``places`` has where each is in the text called ``where``; it is empty where there is no text.
    """

    def __init__(
        self, problems: Sequence[Problem], where: str = "the spec", places: Sequence[Place] = ()
    ) -> None:
        count = f"{len(problems)} problem{'s' if len(problems) != 1 else ''}"
        super().__init__(f"{where} has {count}", "fix what is listed below")
        self.problems, self.where, self.places = tuple(problems), where, tuple(places)


class Blocked(KitError):
    exit_code = EXIT_BLOCKED


class EngineUnavailable(Blocked):
    pass


class ImageUnavailable(Blocked):
    pass


class WeightsUnavailable(Blocked):
    pass


class ExtraMissing(Blocked):
    pass


class PreflightFailed(Blocked):
    """Preflight found something that forbids the run; ``findings`` holds every finding."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        bad = [f for f in findings if f.level == "fail"]
        super().__init__(
            "preflight: " + "; ".join(f.message for f in bad),
            "; ".join(f.remedy for f in bad if f.remedy),
        )
        self.findings = tuple(findings)


class RunFailed(KitError):
    exit_code = EXIT_FAILED


class LaunchFailed(RunFailed):
    pass


class ContainerDied(RunFailed):
    pass


class NotReady(RunFailed):
    pass


class DriverFailed(RunFailed):
    pass


class SamplerFailed(RunFailed):
    pass


class DiskFull(RunFailed):
    pass


class ArchiveRefused(KitError):
    """An archive that kit will not read further; ``code`` is the named reason."""

    exit_code = EXIT_VERIFY

    def __init__(
        self, code: str, message: str, remedy: str = "`kit verify` lists all that is wrong with it"
    ) -> None:
        super().__init__(message, remedy)
        self.code = code


class Interrupted(KitError):
    exit_code = EXIT_INTERRUPTED
