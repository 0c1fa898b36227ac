"""Files that a screen writes into the current folder: reports and single-file runs."""

from __future__ import annotations

from pathlib import Path

from kit.core import onestep
from kit.core.errors import UsageError
from kit.store.store import Store


def write_report(run: Path, folder: Path, against: Path | None = None) -> Path:
    """Write the HTML report of a run, with the verdicts on it as a replay of ``against``.

    Raises:
        KitError: the run cannot be read, or the file cannot be written.
    """
    from kit.show.report.written import written

    text = written(run, against=against)
    out = folder / text.file
    onestep.write(out, text.text.encode(), "start kit in another folder")
    return out


def export(run: Path, folder: Path) -> Path:
    """Write the run as ``HASH.kit.zip``, without withheld files.

    Raises:
        KitError: the run is one file already, is not what was sealed, or cannot be written.
    """
    from kit.store import seal

    if run.is_file():
        raise UsageError(f"{run.name} is a single file already", "copy it as it is")
    return seal.export(run, folder, ledger=Store(run.resolve().parent).ledger_read())
