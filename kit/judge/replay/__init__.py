"""A sealed run → the same spec → a new run → a verdict.

A sealed spec is a request to run code from elsewhere. `undertake` says everything that a replay
would do on this machine and does none of it; once a person has said yes to that, `provide` brings
image and weights here; `judge` compares. There are no free Docker arguments in a spec; every field
passes through a closed schema; the container gets no capability and no path of the host but
read-only weights found by hash.
"""

from kit.judge.replay.outcome import (
    as_dict,
    computed,
    exit_code,
    hash_of,
    judge,
    parent_in,
    same_cards,
)
from kit.judge.replay.provision import provide
from kit.judge.replay.undertaking import (
    FilePart,
    ImagePart,
    MeterPart,
    Undertaking,
    order_of,
    undertake,
)

__all__ = [
    "FilePart",
    "ImagePart",
    "MeterPart",
    "Undertaking",
    "as_dict",
    "computed",
    "exit_code",
    "hash_of",
    "judge",
    "order_of",
    "parent_in",
    "provide",
    "same_cards",
    "undertake",
]
