"""`kit recover`: runs that a crash or power loss ended are made readable and sealed as ``aborted``.

Nothing is repaired by guessing. Files are cut at their last complete line, the journal at its last
valid one, and a closing event says what happened.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from kit.core import jsonio, regular
from kit.core.errors import KitError, RunFailed
from kit.energy import results
from kit.measure.drive import salvage
from kit.record import archive, events, manifest, records
from kit.store.seal.sealer import note, seal
from kit.store.store import InFlight, Store

_ORPHANS_S = 15.0
# Errors of reading a damaged run: the run is not changed, and reported.
_UNREADABLE = (
    KitError,
    OSError,
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
    msgspec.MsgspecError,
)
REASON = "its runner died; recovered"


class StillWrittenError(ValueError):
    """A run in flight without a runner that another process is still writing."""


def _no_report(_: str) -> None:
    """A ``say`` for callers that read the ledger themselves."""


def recover(store: Store, say: Callable[[str], None] = _no_report) -> list[Path]:
    """Seal every abandoned run as aborted; remove runs that never began.

    Args:
        say: called with a line for every run that was added to the ledger.

    Returns:
        The folders of the runs sealed.

    Raises:
        RunFailed: a run is too damaged to read; the others were recovered.
        UsageError: the store's ledger is none or cannot be read; nothing was changed.
    """
    store.require_ledger()
    sealed: list[Path] = []
    damaged: list[str] = []
    for id_ in store.leftovers():
        flight = InFlight(store, id_)
        try:
            flight = store.adopt(store.inflight / id_)
            sealed += _recover_one(flight)
        except _UNREADABLE as error:
            damaged.append(f"{id_} ({_reason(error)})")
        finally:
            flight.release()
    sealed += _note_unnoted(store, say)
    store.forget_orphans()
    if damaged:
        raise RunFailed(
            f"not recovered: {'; '.join(damaged)}",
            "try again later; if it stays, look into its folder under .inflight",
        )
    return sealed


def _recover_one(flight: InFlight) -> list[Path]:
    """Recover one run; returns its sealed folder, or nothing if it had not begun.

    Raises:
        StillWrittenError: a sampler or driver outlived the runner and does not end.
        ValueError: its journal is not one from its first line on.
        ArchiveRefused: its folder holds links, pipes or devices.
    """
    _await_orphans(flight.path)
    with archive.open_source(flight.path):  # refuses links, pipes and devices
        pass
    journal = flight.path / events.FILE
    written = journal.read_bytes() if journal.is_file() else b""
    valid = events.valid_prefix(written)
    if not valid:
        if b"\n" in written:
            raise ValueError(f"{events.FILE} is not a journal from its first line on")
        flight.store.discard(flight.id)
        return []
    registered = events.decode(valid)[0].data
    _repair(flight, valid)
    parents = msgspec.convert(registered.get("parents", ()), tuple[dict[str, str], ...])
    sealed = seal(flight, "aborted", REASON, parents, kind="recovered")
    flight.store.forget_scratch(flight.id)
    return [sealed]


def _await_orphans(folder: Path) -> None:
    """Wait for the last rows of samplers and drivers, which end after their runner."""
    end = time.monotonic() + _ORPHANS_S
    while pid := _writer_of(folder):
        if time.monotonic() > end:
            raise StillWrittenError(f"process {pid} still writes it")
        time.sleep(0.1)


def _writer_of(folder: Path) -> str | None:
    """The id of a process of this user with an open file below ``folder``."""
    below = f"{folder.resolve()}/"
    for handle in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if str(handle.readlink()).startswith(below):
                return handle.parts[2]
    return None


def _repair(flight: InFlight, journal: bytes) -> None:
    """Cut incomplete lines, end the journal, and compute results as far as possible."""
    (flight.path / archive.MANIFEST).unlink(missing_ok=True)
    tidy(flight)
    flight.write_bytes(events.FILE, _closed(journal))
    computed = results.compute(records.read(flight.path))
    flight.write("results.json", results.to_document(computed))


def tidy(flight: InFlight) -> None:
    """Cut incomplete lines in the files of a run that a crash or a full disk ended."""
    folder = flight.path
    for temporary in folder.rglob("*.tmp"):
        temporary.unlink()
    for torn in [*folder.glob("samples/*.csv"), *folder.glob("launches/*/*.jsonl")]:
        _cut(torn)
    _salvage_requests(flight)
    for document in [*folder.glob("launches/*/*.json"), *folder.glob("env/*.json")]:
        _drop_torn(document)


def _salvage_requests(flight: InFlight) -> None:
    """Turn requests that the driver only spooled into records."""
    for config in sorted(flight.scratch("").glob("driver-*.json")):
        with contextlib.suppress(jsonio.JsonRefused, OSError, KeyError):
            settings = jsonio.read(config)
            salvage(Path(settings["out"]), settings["origin"])


def _cut(path: Path) -> None:
    """Cut a file after its last complete line; a file without one is removed."""
    data = path.read_bytes()
    lines = data[: data.rfind(b"\n") + 1]
    if not lines:
        path.unlink()
    elif lines != data:
        path.write_bytes(lines)


def _drop_torn(path: Path) -> None:
    """Remove an incomplete document."""
    try:
        jsonio.read(path)
    except jsonio.JsonRefused:
        path.unlink()


def _closed(journal: bytes) -> bytes:
    """The journal with its end as ``aborted``, added if it is not there."""
    last = events.decode(journal)[-1]
    data: dict[str, Any] = {"status": "aborted", "reason": REASON}
    if last.kind == "run.end":
        # The journal has an end, but the run was not sealed: it counts as aborted.
        journal = b"".join(journal.splitlines(keepends=True)[:-1])
        last = events.decode(journal)[-1]
    prev = jsonio.digest(journal.splitlines()[-1])
    event = {"seq": last.seq + 1, "t": last.t, "kind": "run.end", "data": data, "prev": prev}
    return journal + jsonio.canonical(event) + b"\n"


def _note_unnoted(store: Store, say: Callable[[str], None]) -> list[Path]:
    """Add runs without an entry to the ledger, and report each; returns those of this store.

    If a run began in this store, a crash prevented its entry. Any other run came with a clone, was
    added without the ledger, or lost its entries: it is noted as imported.
    """
    entries = store.ledger()
    noted = {entry.get("run_hash") for entry in entries}
    begun = {entry.get("id") for entry in entries if entry["kind"] == "registered"}
    sealed = []
    for run in store.runs():
        if run.name in noted:
            continue
        with contextlib.suppress(*_UNREADABLE):  # `kit verify` judges what is no run of kit
            content = manifest.parse(regular.content(run / archive.MANIFEST, archive.MAX_MANIFEST))
            is_ours = content.run_id in begun
            note(store, "sealed" if is_ours else "imported", run.name, content)
            sealed += [run] if is_ours else []
            cut_off, foreign = "its seal was cut off before its entry", "nothing shows how it came"
            origin = cut_off if is_ours else foreign
            say(f"run {run.name[:12]} was not in the ledger and is noted now: {origin}")
    return sealed


def _reason(error: Exception) -> str:
    """One line on what is wrong with a run."""
    return getattr(error, "message", "") or str(error) or type(error).__name__
