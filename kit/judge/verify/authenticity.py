"""L2: who vouches for the run. Only the runner does: kit checks no signature and no time stamp.

Files under ``seal/`` may hold anything. Until kit checks them, they are named and prove nothing.
"""

from __future__ import annotations

from kit.judge.verify.verdict import Check, check
from kit.record.archive import SEAL, ArchiveSource

_SIGNATURES, _STAMPS = (".sshsig", ".sigstore.json"), (".tsr",)
_UNCHECKED = "present, not checked: this kit does not read it, and it counts for nothing"


def checks(source: ArchiveSource) -> list[Check]:
    """Signatures and time stamps of the run: not needed to pass, and not believed."""
    names = [n for n in source.names() if n.startswith(SEAL)]
    signatures = sum(n.endswith(_SIGNATURES) for n in names)
    stamps = sum(n.endswith(_STAMPS) for n in names)
    return [
        check("SIGNATURE", "SKIP", _signed(signatures)),
        check("REGISTRATION", "SKIP", f"registration unproven: {_stamped(stamps)}"),
    ]


def _signed(number: int) -> str:
    nobody = "nobody vouches for the run"
    return f"signature {_UNCHECKED}; {nobody}" if number else f"unsigned: {nobody}"


def _stamped(number: int) -> str:
    unproven = "that the spec stood before the run is the runner's word"
    return f"time stamp {_UNCHECKED}; {unproven}" if number else unproven
