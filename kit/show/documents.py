"""The documents of a sealed run for a face: each read by itself, with a reason if that fails."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from kit.core import jsonio
from kit.core.errors import KitError, UsageError
from kit.core.text import clean
from kit.energy.picture import Picture, picture
from kit.record import archive, events, manifest, records
from kit.record.records import RunRecords
from kit.spec.spec import MAX_BYTES

_DOCUMENT = 16 << 20
_NAMES = {"manifest": "manifest", "spec": "spec", "results": "results"}
_NAMES |= {"start": "env/start", "end": "env/end"}


_NAME_CHARS = 60
_NUMBER = re.compile(r"\d{1,9}(\.\d{1,9})?")


class Step(NamedTuple):
    """A step of a launch's start-up or shutdown, with its seconds."""

    name: str
    seconds: float


@dataclass(frozen=True)
class Documents:
    """A run's documents; an unreadable one is empty, with the reason in ``faults``.

    Attributes:
        run: the run's hash, from the manifest's bytes; the folder's name without a manifest.
        sizes: every file of the run, with its size.
        steps: the steps of start-up and shutdown, launch by launch.
    """

    run: str
    manifest: dict[str, Any] = field(default_factory=dict)
    spec: dict[str, Any] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    start: dict[str, Any] = field(default_factory=dict)
    end: dict[str, Any] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()

    @property
    def parent(self) -> str:
        """The hash of the run that this one replays; empty if it replays none."""
        return manifest.parent(self.manifest, manifest.REPLAY)

    @property
    def name(self) -> str:
        """The name that the person gave it."""
        return str(self.spec.get("name") or self.run[:12])


@dataclass(frozen=True)
class Recorded:
    """A run's records and its power; ``fault`` says why there are none."""

    records: RunRecords | None = None
    picture: Picture = field(default_factory=Picture)
    fault: str = ""


def documents_of(run: Path) -> Documents:
    """The documents of a sealed run.

    Raises:
        KitError: the container itself cannot be read.
    """
    with archive.open_source(run) as source:
        faults: dict[str, str] = {}
        documents = {key: _document(source, name, faults) for key, name in _NAMES.items()}
        sizes = {name: source.size(name) for name in source.names()}
        return Documents(
            _hash_of(source, run),
            documents["manifest"],
            documents["spec"],
            documents["results"],
            documents["start"],
            documents["end"],
            sizes,
            faults,
            steps_of(source),
        )


def steps_of(source: archive.ArchiveSource) -> tuple[Step, ...]:
    """The steps that the journal has, and those that the servers' logs tell, launch by launch."""
    return (*_journalled(source), *_told(source))


def _journalled(source: archive.ArchiveSource) -> Iterator[Step]:
    try:
        data = source.read(events.FILE)
    except KitError:
        return
    for event in events.of_kinds(data, ("startup.step", "shutdown.step")):
        name, seconds = event.data.get("name"), event.data.get("seconds")
        if isinstance(name, str) and isinstance(seconds, int | float) and jsonio.is_number(seconds):
            yield _step(name[:_NAME_CHARS], float(seconds))


def _step(name: str, seconds: float) -> Step:
    """A step whose name a terminal can show: nobody has checked the journal or the log yet."""
    return Step(clean(name), seconds)


def _told(source: archive.ArchiveSource) -> Iterator[Step]:
    """Steps of the start-up by the servers' own logs: ``compile_s`` in ``effective.json``."""
    for name in sorted(n for n in source.names() if n.endswith("/effective.json")):
        try:
            told = jsonio.parse(source.read(name), name)["log"].items()
        except (KitError, LookupError, TypeError, AttributeError):
            continue
        for key, value in told:
            if key.endswith("_s") and _NUMBER.fullmatch(str(value)):
                yield _step(f"{key.removesuffix('_s')[:_NAME_CHARS]} (its log)", float(value))


def _hash_of(source: archive.ArchiveSource, run: Path) -> str:
    try:
        return manifest.run_hash(source.read(archive.MANIFEST, archive.MAX_MANIFEST))
    except KitError:
        return run.name.removesuffix(archive.SUFFIX)


def _document(source: archive.ArchiveSource, name: str, faults: dict[str, str]) -> dict[str, Any]:
    try:
        return read_object(source, f"{name}.json", _DOCUMENT)
    except KitError as error:
        faults[name] = error.message
    return {}


def read_object(
    source: archive.ArchiveSource, name: str, most: int, called: str = ""
) -> dict[str, Any]:
    """A JSON object of a run.

    Args:
        most: the most bytes that it may have.
        called: its name in errors, if not ``name``.

    Raises:
        KitError: it is missing, too large, or no JSON object.
    """
    document = jsonio.parse(source.read(name, most), name)
    if not isinstance(document, dict):
        raise UsageError(f"{called or name} is not an object", "`kit verify` shows what is wrong")
    return document


def recorded(run: Path) -> Recorded:
    """Events, samples and requests of a run, and its power over time."""
    try:
        run_records = records.read(run)
        return Recorded(
            run_records,
            picture(run_records.samples, run_records.plan.meters, run_records.phases, keep=True),
        )
    except KitError as error:
        return Recorded(fault=error.message)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        return Recorded(fault=f"the records do not have the form that kit writes: {error}")


def spec_of(run: Path) -> dict[str, Any]:
    """The sealed spec as a document, to begin a new one with.

    Raises:
        KitError: it cannot be read.
    """
    with archive.open_source(run) as source:
        return read_object(source, "spec.json", MAX_BYTES, called="the sealed spec")


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every fact of a document by its path, as text."""
    if isinstance(value, Mapping) and set(value) == {"absent"}:
        yield path, f"absent: {value['absent']}"
    elif isinstance(value, Mapping) and value:
        for key, child in value.items():
            yield from leaves(child, f"{path}.{key}" if path else str(key))
    else:
        yield path, _text(value)


def _text(value: Any) -> str:
    if value is None or value == {}:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return str(value)
