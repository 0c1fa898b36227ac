"""The verdict of a replay. The numbers of both runs are computed again, not believed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from kit.core import jsonio
from kit.core.errors import EXIT_DIFFERENT, EXIT_FAILED, EXIT_INCONCLUSIVE, EXIT_OK
from kit.energy import results
from kit.energy.reason import plain
from kit.judge import compare
from kit.judge.compare import Comparison
from kit.record import archive, records
from kit.record.manifest import REPLAY, parent, run_hash
from kit.store.store import Store

_IDENTITY = "private/identity.json"


def judge(original: Path, new: Path, by: Sequence[str] = ()) -> Comparison:
    """Compare the run ``new`` with ``original``; the numbers of both are computed again.

    Args:
        by: fields that differ by design (`kit.judge.compare.design`).
    """
    ours, theirs = computed(new), computed(original)
    return compare.judge(*theirs, *ours, same_card=same_cards(original, new), by=by)


def exit_code(judged: Comparison) -> int:
    """0 if the primary metric reproduced, 5 if it differs, 6 if undecided, 1 if a run failed."""
    verdict = judged.primary.verdict
    if verdict in compare.GOOD:
        return EXIT_OK
    codes = {"DIFFERENT": EXIT_DIFFERENT, "FAILED": EXIT_FAILED}
    return codes.get(verdict, EXIT_INCONCLUSIVE)


def as_dict(judged: Comparison) -> dict[str, Any]:
    """The comparison as a JSON document; ``ranked`` are its differences, confounders first."""
    document: dict[str, Any] = msgspec.to_builtins(judged, enc_hook=plain)
    ranked = [
        {"fact": r.fact, "original": r.original, "new": r.new, "meaning": r.meaning}
        for r in compare.ranked(judged)
    ]
    return {**document, "ranked": ranked}


def hash_of(run: Path) -> str:
    """The run hash, from the manifest's bytes, not from the folder's name."""
    with archive.open_source(run) as source:
        return run_hash(source.read(archive.MANIFEST))


def computed(run: Path) -> tuple[records.RunRecords, results.Results]:
    """A run's records, and results computed from them again."""
    loaded = records.read(run)
    return loaded, results.compute(loaded)


def parent_in(store: Store, run: Path) -> Path | None:
    """The run of ``store`` that ``run`` replays, by its manifest."""
    with archive.open_source(run) as source:
        name = parent(jsonio.parse(source.read(archive.MANIFEST)), REPLAY)
    # Compared with existing names, never joined to a path: a manifest may name anything.
    return store.root / name if name in store.hashes() else None


def same_cards(a: Path, b: Path) -> bool | None:
    """Whether two runs used the same cards, by the withheld identities; None without them."""
    ours = _cards(a)
    theirs = ours and _cards(b)
    return ours == theirs if theirs else None


def _cards(run: Path) -> tuple[Any, Any] | None:
    """The withheld identities of a run's host and GPUs; None if the run does not have them."""
    with archive.open_source(run) as source:
        if _IDENTITY not in source.names():
            return None
        identity = jsonio.parse(source.read(_IDENTITY))
    return identity.get("host"), identity.get("gpus")
