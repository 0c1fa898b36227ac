"""Commands that copy a run out, in, or to later formulas: export, import, recompute."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from kit.cli.common import Run, Runs, deliver, find_run, say, store_of
from kit.cli.paths import STDOUT, Written
from kit.core.errors import ArchiveRefused, UsageError
from kit.store import seal
from kit.store.ledger import Ledger
from kit.store.store import Store


def export(
    run: Run,
    out: Annotated[Path, Written] = Path(),
    *,
    runs: Runs = None,
    identity: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Pack a sealed run into <hash>.kit.zip and print its path.

    Args:
        run: the sealed run: folder, or the beginning of its hash.
        out: the folder or the file to write; - is standard output.
        identity: include private/identity.json: host name and device UUIDs.
    """
    path = find_run(run, runs)
    store = Store(path.resolve().parent) if path.is_dir() else store_of(runs)
    ledger = store.ledger_read()
    if out == STDOUT:
        _stream(path, identity, ledger)
    else:
        packed = seal.export(path, out, with_withheld=identity, ledger=ledger)
        sys.stdout.write(f"{packed}\n")
    if not identity:
        say("host name and device UUIDs were withheld; --identity includes them")


def _stream(run: Path, identity: bool, ledger: Ledger) -> None:
    """Pack a run to standard output.

    Raises:
        UsageError: that is a terminal.
    """
    if sys.stdout.isatty():
        raise UsageError("a .kit.zip is nothing for a terminal", "add > FILE, or name a file")
    with tempfile.TemporaryDirectory(prefix="kit-export-") as folder:
        packed = seal.export(run, Path(folder), with_withheld=identity, ledger=ledger)
        deliver(packed.read_bytes(), STDOUT)


def import_(file: Path, *, runs: Runs = None) -> None:
    """Check a single-file run and add it to the store; prints its folder.

    Args:
        file: a .kit.zip.
    """
    store = store_of(runs)
    try:
        imported = seal.import_(file, store)
    except ArchiveRefused as refused:
        what = f"{ascii(str(file))[1:-1]}: {refused.message}"
        raise ArchiveRefused(refused.code, what, refused.remedy) from refused
    sys.stdout.write(f"{imported}\n")


def recompute(run: Run, *, runs: Runs = None) -> None:
    """Seal a run's records again with results by this kit's formulas; prints its folder.

    Args:
        run: the sealed run: folder, .kit.zip or the beginning of its hash. It is not changed.
    """
    sys.stdout.write(f"{seal.recompute(find_run(run, runs), store_of(runs))}\n")
