"""A run's files, parsed: the input of `results.compute` and of verify."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET

from kit.core import jsonio
from kit.core.model import (
    Event,
    Makes,
    Phase,
    Plan,
    PromptTokens,
    Request,
    Response,
    RunSpec,
    ScheduledRequest,
)
from kit.record import archive, events, phases, samples
from kit.record.archive import ArchiveSource
from kit.record.olderplans import with_causes

T = TypeVar("T")


class MalformedRecordError(ValueError):
    """A file of a run with wrong content; the message names it."""


@dataclass(frozen=True)
class RunRecords:
    """All records of a run; the keys of the dictionaries are launches."""

    spec: RunSpec
    plan: Plan
    schedule: tuple[ScheduledRequest, ...]
    events: tuple[Event, ...]
    samples: samples.Samples
    requests: dict[int, tuple[Request, ...]]
    responses: dict[int, tuple[Response, ...]]
    driver: dict[int, dict[str, Any]]
    env_start: dict[str, Any]
    env_end: dict[str, Any]
    phases: tuple[Phase, ...] = field(default=())
    effective: dict[int, dict[str, Any]] = field(default_factory=dict)
    prompts: dict[int, tuple[PromptTokens, ...]] = field(default_factory=dict)

    @cached_property
    def makes(self) -> Makes:
        """Whether the schedule asks for texts or for images."""
        return "image" if any(r.expect_images is not UNSET for r in self.schedule) else "text"

    @cached_property
    def losses(self) -> tuple[Event, ...]:
        """The runner's events on meters that could not be read any more."""
        return tuple(e for e in self.events if e.kind == "sampler.lost")


def read(run: Path) -> RunRecords:
    """The records of the run at ``run``; raises as `archive.open_source` and `load` do."""
    with archive.open_source(run) as source:
        return load(source)


def load(source: ArchiveSource) -> RunRecords:
    """Read a run in flight or sealed, from a folder or a single file.

    A run that failed early lacks files; missing records are empty, never invented.

    Raises:
        MalformedRecordError: a file has wrong content.
        JsonRefused: a document is no JSON.
        ArchiveRefused: a file that every run has is missing, or is not what was sealed.
    """
    names = source.names()
    journal = tuple(_journal(source))
    requests = {n: _lines(source, f, Request) for n, f in _launch_files(names, "requests.jsonl")}
    responses = {n: _lines(source, f, Response) for n, f in _launch_files(names, "responses.jsonl")}
    prompts = _launch_files(names, "prompts.jsonl")
    spec = _document(source, "spec.json", RunSpec)
    return RunRecords(
        spec=spec,
        plan=with_causes(_document(source, "plan.json", Plan)),
        schedule=_lines(source, "inputs/schedule.jsonl", ScheduledRequest),
        events=journal,
        samples=_samples(source, names),
        requests=requests,
        responses=responses,
        driver=_launch_documents(source, names, "driver.json"),
        prompts={n: _lines(source, f, PromptTokens) for n, f in prompts},
        effective=_launch_documents(source, names, "effective.json"),
        env_start=_fingerprint(source, names, "env/start.json"),
        env_end=_fingerprint(source, names, "env/end.json"),
        phases=_phases(journal, requests, spec.launches),
    )


def _document(source: ArchiveSource, name: str, kind: type[T]) -> T:
    try:
        return msgspec.convert(jsonio.parse(source.read(name), name), kind, strict=False)
    except msgspec.ValidationError as error:
        raise MalformedRecordError(f"{name}: {error}") from error


def _lines(source: ArchiveSource, name: str, kind: type[T]) -> tuple[T, ...]:
    decoder = msgspec.json.Decoder(kind)
    try:
        return tuple(decoder.decode(line) for line in source.read(name).splitlines())
    except msgspec.MsgspecError as error:
        raise MalformedRecordError(f"{name}: {error}") from error


def _journal(source: ArchiveSource) -> list[Event]:
    try:
        return events.decode(source.read(events.FILE))
    except events.BrokenChain as error:
        raise MalformedRecordError(str(error)) from error


def _phases(
    journal: tuple[Event, ...], requests: dict[int, tuple[Request, ...]], launches: int
) -> tuple[Phase, ...]:
    """The phases; each block once in each launch of the spec.

    Many numbers are computed for each block, so that a journal with too many blocks would occupy
    its reader for hours.
    """
    blocks = [(p.launch, p.name, p.part) for p in phases.blocks(journal)]
    strange = (b for b in blocks if b[0] not in range(launches) or b[1:] not in phases.BLOCKS)
    odd = next(strange, None)
    odd = odd or next((b for b, times in Counter(blocks).items() if times > 1), None)
    if odd:
        block = f"launch {odd[0]!a} has the block {odd[1:]!a}"[:100]
        raise MalformedRecordError(f"{events.FILE}: {block}, which is no block of it, or is twice")
    return phases.cut(journal, requests)


def _samples(source: ArchiveSource, names: list[str]) -> samples.Samples:
    files = [n for n in names if n.startswith("samples/") and n.endswith(".csv")]
    try:
        return samples.from_pieces({name: source.pieces(name) for name in files})
    except samples.MalformedSamplesError as error:
        raise MalformedRecordError(str(error)) from error


def _fingerprint(source: ArchiveSource, names: list[str], name: str) -> dict[str, Any]:
    fingerprint: dict[str, Any] = jsonio.parse(source.read(name), name) if name in names else {}
    return fingerprint


def _launch_documents(
    source: ArchiveSource, names: list[str], name: str
) -> dict[int, dict[str, Any]]:
    """A JSON object of each launch, where there is one."""
    documents = {n: jsonio.parse(source.read(f), f) for n, f in _launch_files(names, name)}
    for launch, document in documents.items():
        if not isinstance(document, dict):
            raise MalformedRecordError(f"launches/{launch:03d}/{name} is not an object")
    return documents


def _launch_files(names: list[str], name: str) -> list[tuple[int, str]]:
    """``launches/NNN/<name>`` by launch, in order."""
    pattern = re.compile(rf"launches/(\d{{3}})/{re.escape(name)}", re.ASCII)
    matches = [(pattern.fullmatch(n), n) for n in sorted(names)]
    return [(int(match.group(1)), n) for match, n in matches if match]
