"""A sealed run → the same spec → a new run → a verdict.

A sealed spec is a request to run code from elsewhere. `undertake` lists everything that a replay
would do on this machine, and does none of it. After a person's yes, `provide` gets image and
weights. `judge` compares. A spec has no free Docker arguments; every field passes a closed schema;
the container gets no capability and no path of the host, only read-only weights found by hash.
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
