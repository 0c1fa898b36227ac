"""What every command needs: the configuration, the store, finding a run by its name."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from kit.core import jsonio
from kit.core.errors import UsageError
from kit.machine import host
from kit.record.archive import MANIFEST
from kit.store.store import Store

if TYPE_CHECKING:
    from cyclopts.completion import CompletionContext

_HASH = 12


def _runs_to_choose(context: CompletionContext) -> list[str]:
    """What a shell offers where a run is named: hashes of the store, folders and files here."""
    store = store_of(context["--runs"].value or None)
    folder, begun = os.path.split(context.incomplete)
    here = sorted(os.scandir(folder or "."), key=lambda entry: entry.name)
    files = [
        os.path.join(folder, entry.name) + (os.sep if entry.is_dir() else "")  # noqa: PTH118 - as typed
        for entry in here
        if entry.name.startswith(begun)
        and (entry.is_dir() or entry.name.endswith(".kit.zip"))
        and (begun.startswith(".") or not entry.name.startswith("."))
    ]
    return [path.name[:_HASH] for path in store.runs()] + files


Run = Annotated[str, Parameter(completer=_runs_to_choose)]
Json = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON on stdout.")]
Runs = Annotated[
    Path | None,
    Parameter(name="--runs", help="The folder of runs; else host.toml's [store], else ./runs."),
]
Yes = Annotated[bool, Parameter(name=["--yes", "-y"], negative="", help="Do not ask.")]


def store_of(runs: Path | None, *, is_read: bool = False) -> Store:
    """The store a command works on.

    Args:
        is_read: the command only reads: a folder that was named with --runs must be there.

    Raises:
        UsageError: what is there is no folder, or nothing is.
    """
    store = Store(runs or host.HostConfig.load().store_root)
    try:
        is_other = os.path.lexists(store.root) and not store.root.is_dir()
    except (OSError, ValueError) as error:
        cause = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"no store can be called that: {cause}", "name a folder") from error
    if is_other:
        raise UsageError(f"the store {store.root.name!a} is not a folder", "name one with --runs")
    if is_read and runs is not None and not os.path.lexists(store.root):
        raise UsageError(
            f"there is no folder {ascii(str(runs))[1:-1]}", "name the folder of runs with --runs"
        )
    return store


def find_run(name: str, runs: Path | None) -> Path:
    """A run by path (folder or ``.kit.zip``), or by any unique prefix of its hash or id.

    Raises:
        UsageError: there is no such run, or what is there is no run.
    """
    path = Path(name)
    try:
        if path.is_file() or os.path.lexists(path / MANIFEST):
            return path
        is_run = path.exists() and not path.is_dir()
    except (OSError, ValueError) as error:
        cause = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"no run can be called that: {cause}", "see `kit ls`") from error
    if is_run:
        raise UsageError(
            f"{name[:80]!a} is a pipe, socket or device", "save the run to a file and name that"
        )
    try:
        return store_of(runs, is_read=True).find(path.name)
    except UsageError:
        if path.is_dir() and os.sep in name:
            raise UsageError(
                f"there is no run at {name[:80]!a}: it holds no {MANIFEST}", "name a run's folder"
            ) from None
        raise


def confirmed(question: str, remedy: str = "add --yes") -> bool:
    """Ask on the terminal.

    Raises:
        UsageError: there is none to ask on.
    """
    if not sys.stdin.isatty():
        raise UsageError(
            "nothing was done: this needs a yes, and there is no terminal to ask on", remedy
        )
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def print_json(value: Any) -> None:
    """One canonical JSON document on stdout."""
    sys.stdout.write(jsonio.canonical(value).decode() + "\n")


def say(text: str) -> None:
    """Print a message on stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
