"""`kit ls`: the list of runs. It imports nothing that computes, so that it answers at once."""

from __future__ import annotations

import gc
import sys
from typing import Annotated

import msgspec
from cyclopts import Parameter

from kit.cli.common import Json, Runs, say, store_of
from kit.core.errors import UsageError
from kit.show import runlist
from kit.show.render import rows as rows_of
from kit.show.render.audit import ledger_doubts
from kit.store import audit, notes
from kit.store.store import Store


def ls(
    *,
    runs: Runs = None,
    sort: runlist.Column = "started",
    reverse: Annotated[bool, Parameter(negative="")] = False,
    json: Json = False,
) -> None:
    """List the runs: sealed, in progress, left unsealed by a crash, and folders that are none.

    Args:
        sort: the column to sort by; runs without a value come last, equal ones newest first.
        reverse: sort the other way round.
    """
    where = store_of(runs, is_read=True)
    gc.disable()  # thousands of rows and no cycle: each of its rounds would look at them all
    try:
        rows = runlist.rows(where, sort, reverse=reverse)
        if json:
            # Not in the canonical form, which takes seconds for thousands of runs.
            document = msgspec.json.encode(runlist.as_list(rows), order="sorted")
            sys.stdout.write(document.decode() + "\n")
        else:
            rows_of.runs(rows)
    finally:
        gc.enable()
    _report_others(where)
    _report_notes(where)
    ledger_doubts(audit.quick(where))


def _report_notes(store: Store) -> None:
    try:
        notes.load(store)
    except UsageError as error:
        say(f"no notes are shown: {error.message}")


def _report_others(store: Store) -> None:
    """Folders that hold a run under another name, such as a sync tool's copies."""
    if names := store.others():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        say(
            f"not named by a run's hash: {names[0]!a}{more}; `kit verify PATH` says which run it is"
        )
