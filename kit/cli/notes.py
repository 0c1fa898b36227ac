"""Commands on the runs of a store, beside what is sealed: note, tag, rm."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from kit.cli.common import Run, Runs, Yes, confirmed, say, store_of
from kit.core.errors import Interrupted, UsageError
from kit.store import notes, removal
from kit.store.store import Store

Changes = Annotated[str, Parameter(allow_leading_hyphen=True)]


def note(run: Run, text: str | None = None, *, runs: Runs = None) -> None:
    """Note a line of text on a run, or print the one that is noted. It is not sealed.

    Args:
        run: the beginning of the run's hash.
        text: the text; an empty one removes it.
    """
    store, path = _found(run, runs)
    found = notes.load(store).get(path.name, notes.Note())
    if text is not None:
        found = notes.write(store, path.name, text)
    sys.stdout.write(f"{found.text}\n" if found.text else "")


def tag(run: Run, *changes: Changes, runs: Runs = None) -> None:
    """Add tags to a run and remove tags, and print those it has. They are not sealed.

    Args:
        run: the beginning of the run's hash.
        changes: +TAG or TAG adds one, -TAG removes one.
    """
    store, path = _found(run, runs)
    less = [word[1:] for word in changes if word.startswith("-")]
    more = [word.removeprefix("+") for word in changes if not word.startswith("-")]
    found = notes.tag(store, path.name, more, less)
    sys.stdout.write("".join(f"{word}\n" for word in found.tags))


def rm(run: Run, *, runs: Runs = None, yes: Yes = False) -> None:
    """Delete a sealed run of the store, after a yes; the ledger keeps that it was here.

    Args:
        run: the beginning of the run's hash.
        yes: delete without asking.
    """
    store, path = _found(run, runs)
    if not yes and not confirmed(f"Delete run {path.name} of {store.root}?"):
        raise Interrupted("nothing was deleted", "add --yes to delete without being asked")
    removal.remove(store, path)
    say(f"deleted run {path.name}; the ledger keeps the attempt")


def _found(name: str, runs: Path | None) -> tuple[Store, Path]:
    """The store, and its run; a run elsewhere is none of it.

    Raises:
        UsageError: there is no such run.
    """
    store = store_of(runs, is_read=True)
    path = store.root / name
    if Path(name).name == name and store.is_run(path):
        return store, path
    if "/" in name:
        raise UsageError(
            f"{name[:80]!a} is a path", "name a run of the store by the beginning of its hash"
        )
    return store, store.find(name)
