"""What every command needs: the configuration, the store, finding a run by its name."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from kit.cli.paths import STDOUT, Named, Written
from kit.core import jsonio, onestep
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
    return [name[:_HASH] for name in store.hashes()] + files


Run = Annotated[str, Parameter(completer=_runs_to_choose)]
Json = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON on stdout.")]
Runs = Annotated[
    Path | None,
    Named,
    Parameter(name="--runs", help="The folder of runs; else host.toml's [store], else ./runs."),
]
Out = Annotated[
    Path | None,
    Written,
    Parameter(name="--out", help="The file to write; - is standard output."),
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
        raise UsageError(f"the store {_safe(store.root)} is not a folder", "name one with --runs")
    if is_read and runs is not None and not os.path.lexists(store.root):
        raise UsageError(f"there is no folder {_safe(runs)}", "name the folder of runs with --runs")
    return store


def _safe(path: Path) -> str:
    return ascii(str(path))[1:-1]


def find_run(name: str, runs: Path | None) -> Path:
    """A run by path (folder or ``.kit.zip``), or by any unique prefix of its hash or id.

    Raises:
        UsageError: there is no such run, or what is there is no run.
    """
    if not name:
        raise UsageError(
            "the run's name is empty", "name its folder or the beginning of its hash: see `kit ls`"
        )
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
            f"{name!a} is a pipe, socket or device", "save the run to a file and name that"
        )
    store = store_of(runs, is_read=True)
    try:
        return store.find(path.name)
    except UsageError as error:
        if os.sep in name:
            raise _no_run_at(path) from None
        if path.is_dir():
            what = f"{error.message}; the folder {name!a} here holds no {MANIFEST}"
            raise UsageError(what, error.remedy) from None
        raise


def _no_run_at(path: Path) -> UsageError:
    if path.is_dir():
        what = f"the folder {_safe(path)} is no run: it holds no {MANIFEST}"
    else:
        what = f"there is nothing at {_safe(path)}"
    return UsageError(what, "name a run's folder, its .kit.zip or the beginning of its hash")


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


def as_json(value: Any) -> bytes:
    """A canonical JSON document, and a line feed."""
    return jsonio.canonical(value) + b"\n"


def print_json(value: Any) -> None:
    """One canonical JSON document on stdout."""
    sys.stdout.write(as_json(value).decode())


def deliver(data: bytes, out: Path | None, remedy: str = "name a file with --out") -> bool:
    """Write a document into the file ``out``, or to standard output; returns whether into a file.

    Raises:
        UsageError: it cannot be written there.
    """
    if out is None or out == STDOUT:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
        return False
    onestep.write(out, data, remedy)
    return True


def as_folder(out: Path, option: str, remedy: str) -> Path:
    """``out``, where several files are to be written.

    Raises:
        UsageError: it is standard output, which takes one file.
    """
    if out == STDOUT:
        raise UsageError(
            f"{option} - cannot be: {option} names a folder, and standard output is none", remedy
        )
    return out


def say(text: str) -> None:
    """Print a message on stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
