"""The store, ``runs/``: sealed runs by hash, runs in flight, and the ledger of every attempt.

Layout::

    runs/<run_hash>/           sealed, never changed again
    runs/.inflight/<id>/       a run in progress; a runner holds its lock
    runs/.inflight/<id>.scratch/   files that the run needs and must not be sealed
    runs/ledger.jsonl          every attempt, hash-chained, so that "the best of 50" shows
    runs/notes.json            what people note of the runs (`kit.store.notes`)
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import shutil
import time
from collections.abc import Container, Iterable
from pathlib import Path
from typing import Any

from kit.core import jsonio, regular
from kit.core.errors import UsageError
from kit.store import ledger as ledgers

LEDGER = ledgers.NAME
VERDICTS = ".verdicts.json"
_ID = re.compile(r"[0-9a-f]{8}")
_LOCK = "lock"
_SCRATCH = ".scratch"
_ADOPTED = "adopted"
_HANDOVER_S = 30.0
_ID_BYTES = 4
_MOST_LISTED = 8  # runs in a message
_LEAST_SHOWN = 12  # characters of a hash
_ATTRIBUTES = ".gitattributes"
_MANIFEST = "manifest.json"
# For people who commit their runs: one converted line end changes what was sealed.
_BYTES_AS_THEY_ARE = """\
# Sealed bytes: git must not convert line ends, whatever core.autocrlf says.
* -text
"""
# A process that asks whether a run is alive holds its lock for a moment; wait for it.
_PROBE_S = 2.0


class InFlight:
    """A run in progress: its folder, and the lock of the process that works on it."""

    def __init__(self, store: Store, id_: str) -> None:
        self.store, self.id = store, id_
        self.path = store.inflight / id_
        self._lock: int | None = None

    def write(self, name: str, value: Any) -> bytes:
        """Write a canonical JSON document into the run; returns its bytes."""
        data = jsonio.canonical(value)
        self.write_bytes(name, data)
        return data

    def write_bytes(self, name: str, data: bytes) -> None:
        """Write a file of the run and sync it to disk."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        _sync_folder(path.parent)

    def folder(self, name: str) -> Path:
        """A folder of the run, made if necessary."""
        path = self.path / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def scratch(self, name: str) -> Path:
        """A path for a file that must not be sealed."""
        folder = self.store.scratch_folder(self.id)
        folder.mkdir(parents=True, exist_ok=True)
        return folder / name

    def register(self, facts: dict[str, Any]) -> None:
        """Note in the ledger that this run is about to begin."""
        _sync_folder(self.path)
        _sync_folder(self.store.inflight)
        self.store.note("registered", **facts)

    def take(self) -> None:
        """Take the lock, waiting at most two seconds for it.

        Raises:
            UsageError: another process works on this run.
        """
        handle = os.open(self.scratch(_LOCK), os.O_RDWR | os.O_CREAT, 0o644)
        if not _lock_within(handle, _PROBE_S):
            os.close(handle)
            raise UsageError(
                f"run {self.id} is being worked on", f"watch it: `kit attach {self.id}`"
            )
        os.truncate(handle, 0)
        os.write(handle, str(os.getpid()).encode())
        self._lock = handle

    def release(self) -> None:
        """Release the lock; the runner takes it over within half a minute."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _no_single(store: Store, name: str, matches: list[Path]) -> UsageError:
    """Why a name is not that of one sealed run, and which name would be."""
    where = ascii(str(store.root))[1:-1]
    if matches:
        longest = _telling([path.name for path in matches])
        listed = [path.name[:longest] for path in matches[:_MOST_LISTED]]
        more = len(matches) - len(listed)
        rest = f" and {more} more" if more else ""
        return UsageError(
            f"{len(matches)} runs of {where} begin with {name!a}: {', '.join(listed)}{rest}",
            f"write more of its name, as in {listed[0]}",
        )
    what = f"no sealed run begins with {name!a} in {where}"
    copies = [other for other in store.others() if name and other.startswith(name)]
    if copies:
        renamed = f"{copies[0]!a} was renamed: give it the name of its hash, or name its path"
        return UsageError(what, renamed)
    unsealed = [id_ for id_ in store.ids() if name and id_.startswith(name)]
    if unsealed:
        goes_on = store.is_alive(unsealed[0])
        remedy = f"`kit attach {unsealed[0]}` watches it" if goes_on else "`kit recover` seals it"
        state = "is in progress" if goes_on else "was left unsealed"
        return UsageError(f"run {unsealed[0]} of {where} {state}", remedy)
    if not store.hashes():
        return UsageError(
            f"there is no sealed run in {where}",
            "`kit run SPEC` makes one; --runs names another folder of runs",
        )
    return UsageError(what, "`kit ls` lists the runs; --runs names another folder of runs")


def _telling(names: list[str]) -> int:
    """How many characters tell all of these names apart, twelve at least."""
    for length in range(_LEAST_SHOWN, max(map(len, names))):
        if len({name[:length] for name in names}) == len(names):
            return length
    return max(map(len, names))


class Store:
    """The folder of runs. It is made with the first file."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.inflight = self.root / ".inflight"

    def make(self) -> None:
        """Make the folder, with the setting that keeps git from changing its bytes.

        Raises:
            OSError: it cannot be written.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError), (self.root / _ATTRIBUTES).open("x") as file:
            file.write(_BYTES_AS_THEY_ARE)

    def is_made(self) -> bool:
        """Whether this folder is a store of kit: it holds files that only a store has."""
        if any((self.root / name).exists() for name in (LEDGER, VERDICTS, self.inflight.name)):
            return True
        with contextlib.suppress(OSError, UsageError):
            content = regular.beginning(self.root / _ATTRIBUTES, len(_BYTES_AS_THEY_ARE) + 1)
            return content == _BYTES_AS_THEY_ARE.encode()
        return False

    def is_run(self, path: Path) -> bool:
        """Whether ``path`` is the place of a sealed run of this store."""
        return path.parent == self.root and jsonio.is_sha256(path.name) and path.is_dir()

    # --- in flight --------------------------------------------------------------------------

    def begin(self) -> InFlight:
        """A new run's folder, locked.

        Raises:
            UsageError: the store cannot be written.
        """
        flight = InFlight(self, secrets.token_hex(_ID_BYTES))
        try:
            self.make()
            flight.take()  # before the folder exists, so that the run does not count as dead
            flight.path.mkdir(parents=True)
        except OSError as error:
            raise UsageError(
                f"cannot write to the store {self.root}: {error.strerror}",
                "name another folder with --runs",
            ) from error
        return flight

    def adopt(self, folder: Path) -> InFlight:
        """Take over a run from the face that began it."""
        flight = InFlight(self, folder.name)
        flight.take()
        flight.scratch(_ADOPTED).touch()
        return flight

    def scratch_folder(self, id_: str) -> Path:
        return self.inflight / f"{id_}{_SCRATCH}"

    def ids(self) -> list[str]:
        """Ids of every run in flight, alive or not, oldest first."""
        if not self.inflight.is_dir():
            return []
        with os.scandir(self.inflight) as entries:
            folders = [
                e for e in entries if _ID.fullmatch(e.name) and e.is_dir(follow_symlinks=False)
            ]
        return [e.name for e in sorted(folders, key=lambda e: e.stat().st_mtime)]

    def inflight_ids(self) -> list[str]:
        """Ids of runs that a process works on."""
        return [id_ for id_ in self.ids() if self.is_alive(id_)]

    def is_busy(self) -> bool:
        """Whether a process runs, seals, imports or recomputes a run here."""
        scratch = self.inflight.glob(f"*{_SCRATCH}")
        return any(self.is_alive(folder.name.removesuffix(_SCRATCH)) for folder in scratch)

    def leftovers(self) -> list[str]:
        """Ids of abandoned runs."""
        return [id_ for id_ in self.ids() if not self.is_alive(id_)]

    def is_alive(self, id_: str) -> bool:
        """Whether a runner holds this run's lock, or is about to take it."""
        lock = self.scratch_folder(id_) / _LOCK
        try:
            handle = os.open(lock, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(handle)
        return self._being_handed_over(id_)

    def is_adopted(self, id_: str) -> bool:
        """Whether a runner has taken over the run from the face that began it."""
        return (self.scratch_folder(id_) / _ADOPTED).exists()

    def _being_handed_over(self, id_: str) -> bool:
        """Whether the run is between a face's `begin` and the runner's `adopt`, without a lock."""
        order = self.scratch_folder(id_) / "order.json"
        if not order.exists() or self.is_adopted(id_):
            return False
        return time.time() - order.stat().st_mtime < _HANDOVER_S

    def log_of(self, id_: str, launch: int) -> Path | None:
        """The path for the log of a dead run's container; None for a run of another store."""
        folder = self.inflight / id_ / "launches" / f"{launch:03d}"
        return folder / "container.log" if folder.is_dir() else None

    def pid_of(self, id_: str) -> int | None:
        """The id of the process that works on a run; None without one."""
        if not self.is_alive(id_):
            return None
        with contextlib.suppress(OSError, ValueError):
            return int((self.scratch_folder(id_) / _LOCK).read_text())
        return None

    def discard(self, id_: str) -> None:
        """Remove a run that never began."""
        _remove_folder(self.inflight / id_)
        self.forget_scratch(id_)

    def forget_scratch(self, id_: str) -> None:
        """Remove a run's scratch folder."""
        _remove_folder(self.scratch_folder(id_))

    def forget_orphans(self) -> None:
        """Remove scratch folders whose run is gone and that no process uses."""
        for folder in self.inflight.glob(f"*{_SCRATCH}"):
            id_ = folder.name.removesuffix(_SCRATCH)
            if not ((self.inflight / id_).exists() or self.is_alive(id_)):
                self.forget_scratch(id_)

    # --- sealed -----------------------------------------------------------------------------

    def runs(self, but: Container[object] = ()) -> list[Path]:
        """Every sealed run's folder, by hash, except for the hashes ``but``; nothing else."""
        return [self.root / name for name in self.hashes(but)]

    def hashes(self, but: Container[object] = ()) -> list[str]:
        """The hash of every sealed run, except for ``but``."""
        names = (name for name in self.folders() if name not in but)
        return self._with_manifest(name for name in names if jsonio.is_sha256(name))

    def others(self) -> list[str]:
        """Folders with a manifest whose name is no hash, such as a sync tool's copies."""
        return self._with_manifest(n for n in self.folders() if not jsonio.is_sha256(n))

    def folders(self) -> list[str]:
        """Names of every folder of the store in order, but for hidden ones, run or not."""
        try:
            with os.scandir(self.root) as entries:
                return sorted(e.name for e in entries if e.name[0] != "." and _is_folder(e))
        except OSError:
            return []

    def _with_manifest(self, names: Iterable[str]) -> list[str]:
        return [name for name in names if os.path.lexists(f"{self.root}/{name}/{_MANIFEST}")]

    def find(self, name: str) -> Path:
        """A sealed run by any unique prefix of its hash or of its id.

        Raises:
            UsageError: none or several fit.
        """
        runs = self.runs()
        of_id = {e["run_hash"] for e in self.ledger() if name and _has_id(e, name)}
        matches = [p for p in runs if name and (p.name.startswith(name) or p.name in of_id)]
        if len(matches) == 1:
            return matches[0]
        raise _no_single(self, name, matches)

    def sealed_as(self, id_: str) -> tuple[str, Path] | None:
        """Status and folder of a sealed run by its id; None if it was not sealed."""
        for entry in reversed(self.ledger()):
            if entry.get("id") == id_ and "run_hash" in entry:
                return entry["status"], self.root / entry["run_hash"]
        return None

    # --- ledger -----------------------------------------------------------------------------

    def ledger_read(self) -> ledgers.Ledger:
        """The ledger with its faults."""
        return ledgers.read(self.root / LEDGER)

    def ledger(self) -> list[dict[str, Any]]:
        """Every entry, oldest first; without a torn last line and lines that are no entries."""
        return list(self.ledger_read().entries)

    def require_ledger(self) -> None:
        """Raise `UsageError` if entries cannot be added to the ledger."""
        ledgers.require(self.root / LEDGER)

    def note(self, kind: str, **facts: Any) -> None:
        """Append an entry; several processes may do so at once.

        Raises:
            UsageError: the file in the ledger's place is none.
        """
        self.make()
        ledgers.append(self.root / LEDGER, kind, facts)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _sync_folder(folder: Path) -> None:
    """Sync a folder's list of names to disk; without it a synced file may lose its name."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _has_id(entry: dict[str, Any], prefix: str) -> bool:
    return "run_hash" in entry and str(entry.get("id", "")).startswith(prefix)


def _lock_within(handle: int, seconds: float) -> bool:
    """Try to lock for ``seconds``; false if another process keeps the lock."""
    end = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                return False
            time.sleep(0.01)
        else:
            return True


def _remove_folder(path: Path) -> None:
    """Remove a folder with its content; anything that is no folder stays.

    rmtree opens its argument: on a pipe it would wait for a writer forever.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
