"""What a crash or a power loss left behind: made readable, ended, sealed as ``aborted``.

Nothing is repaired by guessing. Files are cut at their last whole line, the journal at its last
sound one, and a closing event says what happened.
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
# What reading a damaged run raises: it is left as it is, and reported.
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
    """A run in flight without a runner, that another process has not finished writing."""


def _say_nothing(_: str) -> None:
    """For callers that read the ledger themselves."""


def recover(store: Store, say: Callable[[str], None] = _say_nothing) -> list[Path]:
    """Seal every run that nobody works on any more, as aborted; remove what never began.

    Args:
        say: is given a line for every run that was not in the ledger and now is.

    Returns:
        The folders of the runs sealed.

    Raises:
        RunFailed: a run is damaged beyond reading; the others were recovered all the same.
        UsageError: the store's ledger cannot be written; nothing was touched.
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
            damaged.append(f"{id_} ({_why(error)})")
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
    """The sealed run, or nothing when it had not begun.

    Raises:
        StillWrittenError: a sampler or driver outlived the runner and does not end.
    """
    _await_orphans(flight.path)
    with archive.open_source(flight.path):  # refuses a link, pipe or device among the files
        pass
    journal = flight.path / events.FILE
    written = journal.read_bytes() if journal.is_file() else b""
    kept = events.valid_prefix(written)
    if not kept:
        if b"\n" in written:
            raise ValueError(f"{events.FILE} is not a journal from its first line on")
        flight.store.discard(flight.id)
        return []
    registered = events.decode(kept)[0].data
    _mend(flight, kept)
    parents = msgspec.convert(registered.get("parents", ()), tuple[dict[str, str], ...])
    found = seal(flight, "aborted", REASON, parents, kind="recovered")
    flight.store.forget_scratch(flight.id)
    return [found]


def _await_orphans(folder: Path) -> None:
    """Samplers and drivers end once their runner is gone; let them write their last rows."""
    end = time.monotonic() + _ORPHANS_S
    while pid := _writer_of(folder):
        if time.monotonic() > end:
            raise StillWrittenError(f"process {pid} still writes it")
        time.sleep(0.1)


def _writer_of(folder: Path) -> str | None:
    """A process of this user that holds a file below ``folder`` open, by its id."""
    below = f"{folder.resolve()}/"
    for handle in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if str(handle.readlink()).startswith(below):
                return handle.parts[2]
    return None


def _mend(flight: InFlight, kept: bytes) -> None:
    """Cut what is torn, end the journal, and compute what can be computed."""
    (flight.path / archive.MANIFEST).unlink(missing_ok=True)
    tidy(flight)
    flight.write_bytes(events.FILE, _closed(kept))
    flight.write("results.json", results.compute(records.read(flight.path)))


def tidy(flight: InFlight) -> None:
    """Cut what is torn in a run that did not complete: by a crash, or by a disk that was full."""
    folder = flight.path
    for temporary in folder.rglob("*.tmp"):
        temporary.unlink()
    for torn in [*folder.glob("samples/*.csv"), *folder.glob("launches/*/*.jsonl")]:
        _cut(torn)
    _salvage_requests(flight)
    for document in [*folder.glob("launches/*/*.json"), *folder.glob("env/*.json")]:
        _drop_torn(document)


def _salvage_requests(flight: InFlight) -> None:
    """Requests that the driver had spooled and nobody turned into records."""
    for config in sorted(flight.scratch("").glob("driver-*.json")):
        with contextlib.suppress(jsonio.JsonRefused, OSError, KeyError):
            told = jsonio.read(config)
            salvage(Path(told["out"]), told["origin"])


def _cut(path: Path) -> None:
    """Cut a file after its last whole line; one without any is removed."""
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if not whole:
        path.unlink()
    elif whole != data:
        path.write_bytes(whole)


def _drop_torn(path: Path) -> None:
    """Remove a document that was cut short while it was written."""
    try:
        jsonio.read(path)
    except jsonio.JsonRefused:
        path.unlink()


def _closed(kept: bytes) -> bytes:
    """The journal, ended as ``aborted`` unless it had already ended so."""
    last = events.decode(kept)[-1]
    data: dict[str, Any] = {"status": "aborted", "reason": REASON}
    if last.kind == "run.end":
        # The end was written and the seal was not: the run counts as aborted all the same.
        kept = b"".join(kept.splitlines(keepends=True)[:-1])
        last = events.decode(kept)[-1]
    prev = jsonio.digest(kept.splitlines()[-1])
    event = {"seq": last.seq + 1, "t": last.t, "kind": "run.end", "data": data, "prev": prev}
    return kept + jsonio.canonical(event) + b"\n"


def _note_unnoted(store: Store, say: Callable[[str], None]) -> list[Path]:
    """Runs that no entry of the ledger names, noted with that said.

    One that began in this store got its name, and a crash cut off its entry. Any other came with a
    clone or was put there past the ledger, or its entries were cut out: it is noted as imported.
    """
    entries = store.ledger()
    known = {entry.get("run_hash") for entry in entries}
    begun = {entry.get("id") for entry in entries if entry["kind"] == "registered"}
    found = []
    for run in store.runs():
        if run.name in known:
            continue
        with contextlib.suppress(*_UNREADABLE):  # what is no run of ours is `kit verify`'s to judge
            said = manifest.parse(regular.content(run / archive.MANIFEST, archive.MAX_MANIFEST))
            ours = said.run_id in begun
            note(store, "sealed" if ours else "imported", run.name, said)
            found += [run] if ours else []
            how = "its seal was cut off before its entry" if ours else "nothing shows how it came"
            say(f"run {run.name[:12]} was not in the ledger and is noted now: {how}")
    return found


def _why(error: Exception) -> str:
    """One line on what is wrong with a run."""
    return getattr(error, "message", "") or str(error) or type(error).__name__
