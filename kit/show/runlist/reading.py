"""A sealed run's row with the facts of the files that it was read from.

Of each document only the fields of a row are decoded, which takes a tenth of the time of reading
all. What is not as kit writes it is read again in full and strictly (`runrow.read`), so that the
row says what is wrong. A document with one key twice is not noticed here: `kit verify` refuses it.
"""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from kit.core.errors import KitError
from kit.energy.names import SCOPES
from kit.show.runlist import batch, runrow
from kit.show.runlist.runrow import MALFORMED, SMALL, Row
from kit.store.verdicts import UNCHECKED

# Modification and change time in ns, size in bytes, inode; None where there is no file.
Facts = tuple[int, int, int, int] | None
Files = dict[str, Facts]
MANIFEST = "manifest.json"
DOCUMENTS = (MANIFEST, "spec.json", "results.json", "env/start.json")
_DOCUMENTS = frozenset(DOCUMENTS)
_SAFE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_ENERGIES = tuple(f"{s}_energy_per_{work}" for work in ("output_token", "image") for s in SCOPES)
_RATE = "output_throughput"


class _Clock(msgspec.Struct):
    utc: str


class _Manifest(msgspec.Struct):
    status: str
    clock: _Clock
    reason: str = ""
    parents: list[Any] = []


class _Runtime(msgspec.Struct):
    name: str


class _Spec(msgspec.Struct):
    name: str
    runtime: _Runtime
    arrivals: dict[str, Any]


class _Requests(msgspec.Struct):
    issued: int


class _Launch(msgspec.Struct):
    requests: _Requests


class _Results(msgspec.Struct):
    formulas: str
    metrics: dict[str, msgspec.Raw]
    launches: list[_Launch]


class _Environment(msgspec.Struct):
    gpus: Any = None


_MANIFESTS = msgspec.json.Decoder(_Manifest)
_SPECS = msgspec.json.Decoder(_Spec)
_RESULTS = msgspec.json.Decoder(_Results)
_ENVIRONMENTS = msgspec.json.Decoder(_Environment)


def taken(run: str, name: str) -> tuple[Files, Row]:
    """The row of the run ``name`` in the folder ``run``, and the facts of the files it is from."""
    try:
        files, row = _quick(run, name)
    except (OSError, KitError, msgspec.MsgspecError, RecursionError, *MALFORMED):
        files = {one: facts(f"{run}/{one}") for one in DOCUMENTS}  # before they are read
        row = runrow.read(Path(run))
    if row.batch is None:
        more = [str(path) for path in batch.files(Path(run))]
        files = files | {path[len(run) + 1 :]: facts(path) for path in more}
        row = replace(row, batch=batch.counted(Path(run)))
    return files, replace(row, checked=UNCHECKED)


def facts(path: str) -> Facts:
    """The facts of a file, without following a link."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return _facts(found)


def is_unchanged(run: str, files: Files, manifest: Facts) -> bool:
    """Whether the documents of the folder ``run`` have the facts that are given, all of them.

    Args:
        manifest: the facts that its manifest has now.
    """
    if manifest is None or files.get(MANIFEST) != manifest or not files.keys() >= _DOCUMENTS:
        return False  # an entry with less than all documents is not kit's: anything would fit it
    return all(name == MANIFEST or facts(f"{run}/{name}") == files[name] for name in files)


def _facts(found: os.stat_result) -> Facts:
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


def _quick(run: str, name: str) -> tuple[Files, Row]:
    files: Files = {}
    read = {one: _content(f"{run}/{one}", one, files) for one in DOCUMENTS[:3]}
    manifest, spec = _MANIFESTS.decode(read[MANIFEST]), _SPECS.decode(read["spec.json"])
    results = _RESULTS.decode(read["results.json"])
    try:
        gpus = _ENVIRONMENTS.decode(_content(f"{run}/{DOCUMENTS[3]}", DOCUMENTS[3], files)).gpus
    except (OSError, ValueError):
        gpus = None
        files.setdefault(DOCUMENTS[3], None)
    metrics = _shown(results.metrics)
    row = runrow.row(
        name,
        {
            "status": manifest.status,
            "clock": {"utc": manifest.clock.utc},
            "reason": manifest.reason,
            "parents": manifest.parents,
        },
        {
            "name": spec.name,
            "runtime": {"name": spec.runtime.name},
            "arrivals": spec.arrivals,
        },
        {
            "formulas": results.formulas,
            "metrics": metrics,
            "launches": [{"requests": {"issued": one.requests.issued}} for one in results.launches],
        },
        {"gpus": gpus},
    )
    if row.status == "broken":
        raise ValueError("it is read in full")
    return files, row


def _shown(metrics: dict[str, msgspec.Raw]) -> dict[str, Any]:
    """The metrics that a row shows: the first energy with a value, and the throughput."""
    shown = {}
    for name in (name for name in _ENERGIES if name in metrics):
        metric = msgspec.json.decode(metrics[name])
        if metric.get("value") is not None:
            shown[name] = metric
            break
    if _RATE in metrics:
        shown[_RATE] = msgspec.json.decode(metrics[_RATE])
    return shown


def _content(path: str, name: str, files: Files) -> bytes:
    """The bytes of a regular file; its facts go into ``files``.

    Raises:
        OSError: there is none that can be read.
        ValueError: it is no regular file, or too large.
    """
    handle = os.open(path, _SAFE)
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode) or found.st_size > SMALL:
            raise ValueError(path)
        data = os.read(handle, found.st_size + 1)
        if len(data) != found.st_size:
            raise ValueError(path)
    finally:
        os.close(handle)
    files[name] = _facts(found)
    return data
