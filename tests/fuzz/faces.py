"""What is asked about each changed run: the commands themselves, in this process."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from kit.cli import look
from kit.cli.compare import compare as compare_runs
from kit.core.errors import KitError
from kit.judge.verify import verify
from kit.store import seal
from kit.store.store import Store
from tests.fuzz.mutate import Files

LIMIT_S = 20  # of CPU time: the machine may be busy


class Hang(BaseException):
    """An input that took longer than any may."""


class Workplace:
    """A folder in which a changed run lies as files, beside the sound one.

    Args:
        folder: best in memory (``/dev/shm``).
        sound: the files of a sealed run.
        original: the sound run, sealed, for comparisons.
    """

    def __init__(self, folder: Path, sound: Files, original: Path) -> None:
        self.folder, self.sound, self.original = folder, sound, original
        self.run = folder / "run"
        self._there: Files = {}
        self.put(sound)

    def put(self, files: Files) -> Path:
        """Write what differs from what lies there."""
        for name in self._there.keys() - files.keys():
            (self.run / name).unlink()
        for name, data in files.items():
            if self._there.get(name) is not data and self._there.get(name) != data:
                path = self.run / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
        self._there = dict(files)
        for folder in sorted(self.run.glob("**/"), reverse=True):
            with contextlib.suppress(OSError):
                folder.rmdir()  # the empty ones
        self.run.mkdir(exist_ok=True)
        return self.run

    def put_zip(self, data: bytes) -> Path:
        """Write a single file."""
        path = self.folder / "run.kit.zip"
        path.write_bytes(data)
        return path

    def in_flight(self, files: Files) -> Store:
        """A store with these files as a run that a crash left behind."""
        root = self.folder / "store"
        shutil.rmtree(root, ignore_errors=True)
        store = Store(root)
        for name, data in files.items():
            path = store.inflight / "deadbeef" / name
            if name != "manifest.json":
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
        return store


def outcome(path: Path) -> str:
    """What verify says: the first level that fails, or ``pass``."""
    verdict = verify(path)
    verdict.as_dict()
    return min((check.level for check in verdict.failures), default="pass")


def show(place: Workplace, path: Path) -> None:
    look.show(str(path))
    look.show(str(path), json=True)


def report(place: Workplace, path: Path) -> None:
    for form in ("html", "text", "csv", "csv-metrics"):
        look.report(str(path), format=form, out=Path("-"))  # type: ignore[arg-type]


def compare(place: Workplace, path: Path) -> None:
    compare_runs(str(place.original), str(path))
    compare_runs(str(path), str(place.original), json=True)


FACES: dict[str, Callable[[Workplace, Path], Any]] = {
    "show": show,
    "report": report,
    "compare": compare,
}


def recover(place: Workplace, files: Files) -> None:
    seal.recover(place.in_flight(files))


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """No output, a limit of CPU time, and no error but kit's own."""

    def late(_: int, __: FrameType | None) -> None:
        raise Hang

    before = signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, LIMIT_S)
    try:
        with silent(), contextlib.suppress(KitError):
            yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """What is printed goes nowhere, text and bytes."""
    with Path(os.devnull).open("wb") as nowhere:
        out = io.TextIOWrapper(nowhere, encoding="utf-8", errors="surrogateescape")
        streams = sys.stdout, sys.stderr
        sys.stdout = sys.stderr = out
        try:
            yield
        finally:
            out.flush()
            sys.stdout, sys.stderr = streams
            out.detach()
