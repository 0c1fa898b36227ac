"""Runs that could not begin: the reasons, kept for `kit attach`, `kit ls` and the ledger.

A refusal is a file next to the runs in flight, ``runs/.inflight/<id>.refused.json``, which shows
the reason also to people who look later. The newest ten are kept, until the same spec begins; the
ledger keeps them all.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

import msgspec

from kit.core import jsonio
from kit.core.errors import EXIT_INTERRUPTED, Blocked, KitError, PreflightFailed
from kit.core.model import Finding, Record
from kit.store.store import Store

SUFFIX = ".refused.json"
_MOST = 10
_MOST_BYTES = 1 << 20
_REASON_CHARS = 400
_FOLDERS = re.compile(r"(?<![\w.:/])/(?:[^\s/:'\"`]+/)+")
_UNREADABLE = (OSError, KitError, msgspec.MsgspecError, ValueError)


class Refusal(Record, frozen=True, kw_only=True):
    """Why the run ``id`` did not begin; ``utc`` is when, ``code`` the class of the error."""

    id: str
    utc: str
    name: str
    spec_hash: str
    code: str
    message: str
    remedy: str = ""
    exit_code: int = 3
    findings: tuple[Finding, ...] = ()

    @property
    def asked_for(self) -> bool:
        """Whether the person stopped the run."""
        return self.exit_code == EXIT_INTERRUPTED

    def error(self) -> KitError:
        """The refusal as an error to raise."""
        if self.findings:
            return PreflightFailed(self.findings)
        error = Blocked(self.message, self.remedy)
        error.exit_code = self.exit_code
        return error


def keep(store: Store, refusal: Refusal) -> None:
    """Keep a refusal in a file and in the ledger; on a full disk in neither."""
    path = store.inflight / f"{refusal.id}{SUFFIX}"
    written = path.with_suffix(".tmp")
    with contextlib.suppress(OSError):
        written.write_bytes(jsonio.canonical(msgspec.to_builtins(refusal)))
        written.replace(path)
    with contextlib.suppress(OSError):
        _note(store, refusal)
    for old in _paths(store)[_MOST:]:
        old.unlink(missing_ok=True)


def _note(store: Store, refusal: Refusal) -> None:
    """The entry of a refusal in the ledger. It names no folder, since a ledger may be published."""
    store.note(
        "refused",
        id=refusal.id,
        spec_hash=refusal.spec_hash,
        utc=refusal.utc,
        code=refusal.code,
        findings=[f.code for f in refusal.findings if f.level == "fail"],
        reason=_FOLDERS.sub("", refusal.message)[:_REASON_CHARS],
    )


def recall(store: Store, name: str) -> Refusal | None:
    """The one refusal whose id begins with ``name``; None without one, or with several."""
    matches = [r for r in refusals(store) if name and r.id.startswith(name)]
    return matches[0] if len(matches) == 1 else None


def refusals(store: Store) -> list[Refusal]:
    """The kept refusals, newest first; unreadable files are left out."""
    return [refusal for path in _paths(store) if (refusal := _read(path))]


def overcome(store: Store, spec_hash: str) -> None:
    """Delete the refusals of a spec that now begins."""
    for refusal in refusals(store):
        if refusal.spec_hash == spec_hash:
            (store.inflight / f"{refusal.id}{SUFFIX}").unlink(missing_ok=True)


def _paths(store: Store) -> list[Path]:
    dated = []
    for path in store.inflight.glob(f"*{SUFFIX}"):
        with contextlib.suppress(OSError):
            dated.append((path.lstat().st_mtime_ns, path))
    return [path for _, path in sorted(dated, reverse=True)]


def _read(path: Path) -> Refusal | None:
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            data = file.read(_MOST_BYTES)
        return msgspec.convert(jsonio.parse(data, path.name), Refusal)
    except _UNREADABLE:
        return None
