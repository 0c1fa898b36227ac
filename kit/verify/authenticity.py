"""L2: who vouches for the run. Without a signature or a time stamp: the runner alone."""

from __future__ import annotations

from kit.archive import SEAL, Source
from kit.verify.verdict import Check, check


def checks(source: Source) -> list[Check]:
    """What is signed and stamped; neither is needed to pass, and neither is invented."""
    signed = [n for n in source.names() if n.startswith(SEAL) and n.endswith(".sshsig")]
    stamped = [n for n in source.names() if n.startswith(SEAL) and n.endswith(".tsr")]
    return [
        check("SIGNATURE", "SKIP", _signature(signed)),
        check("REGISTRATION", "SKIP", _registration(stamped)),
    ]


def _signature(signed: list[str]) -> str:
    if signed:
        return "signed; check it with `ssh-keygen -Y verify -n kit.run.v1`, kit does not yet"
    return "unsigned: nobody vouches for the run"


def _registration(stamped: list[str]) -> str:
    if stamped:
        return "stamped; kit does not check the stamps yet"
    return "registration unproven: that the spec stood before the run is the runner's word"
