"""Commands that copy a run out, in, or to later formulas: export, import, recompute."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from kit.cli.common import Run, Runs, find_run, say, store_of
from kit.store import seal
from kit.store.store import Store


def export(
    run: Run,
    out: Path = Path(),
    *,
    runs: Runs = None,
    identity: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Pack a sealed run into ``<hash>.kit.zip`` and print its path.

    Args:
        run: the sealed run: folder, or the beginning of its hash.
        out: the folder (or file) to write.
        identity: include private/identity.json: host name and device UUIDs.
    """
    path = find_run(run, runs)
    store = Store(path.resolve().parent) if path.is_dir() else store_of(runs)
    packed = seal.export(path, out, with_withheld=identity, ledger=store.ledger_read())
    sys.stdout.write(f"{packed}\n")
    if not identity:
        say("host name and device UUIDs were withheld; --identity includes them")


def import_(file: Path, *, runs: Runs = None) -> None:
    """Check a single-file run and add it to the store; prints its folder.

    Args:
        file: a ``.kit.zip``.
    """
    sys.stdout.write(f"{seal.import_(file, store_of(runs))}\n")


def recompute(run: Run, *, runs: Runs = None) -> None:
    """Seal a run's records again with results by this kit's formulas; prints its folder.

    Args:
        run: the sealed run: folder, ``.kit.zip`` or the beginning of its hash. It is not changed.
    """
    sys.stdout.write(f"{seal.recompute(find_run(run, runs), store_of(runs))}\n")
