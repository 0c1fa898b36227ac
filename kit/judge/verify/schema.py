"""L3: every file has its form, and no required file is missing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any, get_args

import msgspec

from kit.core import jsonio, resources
from kit.core.errors import ArchiveRefused
from kit.core.model import (
    Event,
    Level,
    Manifest,
    MeterDevice,
    PromptTokens,
    Record,
    Request,
    Response,
    ScheduledRequest,
)
from kit.core.units import QUANTITIES
from kit.judge.verify.verdict import Check, check, judged
from kit.record import events
from kit.record import manifest as manifests
from kit.record.archive import MANIFEST, ArchiveSource
from kit.record.phases import BLOCKS
from kit.record.records import RunRecords

ALWAYS = (
    "spec.json",
    "plan.json",
    "inputs/schedule.jsonl",
    "env/start.json",
    events.FILE,
    "results.json",
)
COMPLETE = ("env/end.json",)
LAUNCH = ("requests.jsonl", "responses.jsonl", "driver.json", "container.log", "effective.json")
_DOCUMENTS = {
    "spec.json": "run-spec",
    "plan.json": "plan",
    "results.json": "results",
    "env/start.json": "environment",
    "env/end.json": "environment",
}
_DRIVER = "driver.json"
_LAUNCH_FILE = re.compile(r"launches/\d{3}/([^/]+|images/\d{5,6}-\d{1,2}\.png)")
_NOT_OURS = "inputs/image/"  # a recipe is kept as its author wrote it
# What msgspec may write otherwise than RFC 8785: numbers of 2^53 or more, 1.0, 1e-7; and keys with
# characters from U+E000 on, which come in another order.
_ODD = re.compile(rb"\d{16}|[:,\[]-?\d+(\.0[,}\]]|[\d.]*[eE])|[\xee-\xf4]")
_SHOWN = 160
_LEVELS = frozenset(get_args(Level))
_LINES: dict[str, type[Record]] = {
    "schedule.jsonl": ScheduledRequest,
    "requests.jsonl": Request,
    "responses.jsonl": Response,
    "prompts.jsonl": PromptTokens,
}

# What later checks rely on in an event's data, by kind: key → type.
_EVENT_DATA: dict[str, dict[str, type | tuple[type, ...]]] = {
    "run.registered": {"id": str, "spec_hash": str, "plan_hash": str, "launches": int},
    "run.end": {"status": str, "reason": str},
    "finding": {"code": str, "level": str, "message": str},
    "clock.anchor": {"monotonic": str, "monotonic_raw": str, "realtime": str},
    "container.created": {"launch": int, "image": str, "network": str},
    "sampler.started": {"meter": str},
    "sampler.stopped": {"meter": str},
    "stage.done": {"launch": int, "stage": str, "ok": int, "failed": int},
    "phase.begin": {"launch": int, "phase": str, "part": (str, type(None))},
    "phase.end": {"launch": int, "phase": str, "part": (str, type(None))},
    "launch.begin": {"launch": int},
    "launch.end": {"launch": int},
    "startup.step": {"launch": int, "name": str, "seconds": (int, float)},
    "shutdown.step": {"launch": int, "name": str, "seconds": (int, float)},
}


def checks(source: ArchiveSource, manifest: Manifest) -> list[Check]:
    """Check which files are there, and that structured files follow their schemas."""
    missing = [f"{name} is missing" for name in required(source, manifest)]
    results = [judged("REQUIRED_FILE", missing, f"a {manifest.status} run has what it must have")]
    if missing:
        return results
    problems = [
        *_manifest_problems(manifest),
        *_folder_problems(source),
        *(p for name in source.names() if _has_form(name) for p in _of_file(source, name)),
    ]
    passed = "spec, plan, results and journal follow their schemas"
    return [*results, judged("FILE_INVALID", problems, passed)]


def required(source: ArchiveSource, manifest: Manifest) -> Iterator[str]:
    """Files that a run of this status must have, but does not."""
    wanted = list(ALWAYS)
    if manifest.status == "complete":
        wanted += COMPLETE
        wanted += [f"launches/{n:03d}/{name}" for n in range(_launches(source)) for name in LAUNCH]
    present = set(source.names())
    return (name for name in wanted if name not in present)


def _launches(source: ArchiveSource) -> int:
    """How many launches the spec asks for; 0 if it cannot be read (another check reports it)."""
    try:
        count = jsonio.parse(source.read("spec.json")).get("launches", 0)
    except (ArchiveRefused, jsonio.JsonRefused, AttributeError):
        return 0
    return count if isinstance(count, int) and 0 < count <= 1000 else 0


def _manifest_problems(manifest: Manifest) -> Iterator[str]:
    document = jsonio.parse(jsonio.canonical(msgspec.to_builtins(manifest)))
    yield from _problems("manifest", document, MANIFEST)


def _folder_problems(source: ArchiveSource) -> Iterator[str]:
    """Wrong folders of launches: the name is the number in three digits, from 000 without a gap.

    There may be no more than the spec asks for. ``launches/0`` would be read, but not checked.
    """
    numbers = set()
    for name in source.names():
        if name.startswith("launches/") and not _LAUNCH_FILE.fullmatch(name):
            yield f"{name[:_SHOWN]} lies in no launch's folder (launches/000, launches/001, …)"
        elif name.startswith("launches/"):
            numbers.add(int(name.split("/")[1]))
    if numbers != set(range(len(numbers))) or len(numbers) > _launches(source):
        yield f"there are folders of launches {sorted(numbers)[:8]}, and no such launches"


def _has_form(name: str) -> bool:
    return name.endswith((".json", ".jsonl"))


def _of_file(source: ArchiveSource, name: str) -> tuple[str, ...]:
    return file_problems(name, source.read(name))


def file_problems(name: str, data: bytes) -> tuple[str, ...]:
    """What is wrong with the form of one file; nothing for files without a form. Pure."""
    last = name.rpartition("/")[2]
    if name == events.FILE:
        return tuple(_event_problems(data))
    if last in _LINES:
        return tuple(_line_problems(name, data, _LINES[last]))
    if name.endswith(".json") and not name.startswith(_NOT_OURS):
        return tuple(_document_problems(name, data))
    return ()


def _document_problems(name: str, data: bytes) -> Iterator[str]:
    """Check a JSON document: an object, in canonical form, by its schema if it has one."""
    try:
        document = jsonio.parse(data, name)
    except jsonio.JsonRefused as error:
        yield error.message
        return
    if not isinstance(document, dict) or not manifests.is_canonical(document, data):
        yield f"{name} is not an object in canonical form"
    driver = _LAUNCH_FILE.fullmatch(name) and name.endswith(f"/{_DRIVER}")
    schema = "driver" if driver else _DOCUMENTS.get(name)
    if schema:
        yield from _problems(schema, document, name)


def _event_problems(data: bytes) -> Iterator[str]:
    """Check the journal's lines; level 4 checks their order."""
    if b"\r" in data:
        yield f"{events.FILE} holds a carriage return: its lines end otherwise than kit's"
    rules = _rules("event")
    for number, line in enumerate(data.splitlines()):
        where = f"{events.FILE} line {number}"
        try:
            event = jsonio.parse(line, where)
        except jsonio.JsonRefused as error:
            yield error.message
            return
        bad = None if _is_plain(event) else next(jsonio.faults(rules, event), None)
        if bad is not None:
            yield f"{where}: {bad.message[:_SHOWN]}"
        else:
            yield from _data_problems(event, where)


def _is_plain(event: Any) -> bool:
    """Whether an event surely follows its schema; the full check is a hundred times slower."""
    try:
        record = msgspec.convert(event, Event)
    except msgspec.ValidationError:
        return False
    in_range = record.seq >= 0 and record.t >= 0 and jsonio.is_sha256(record.prev)
    return bool(in_range) and record.kind in _kinds()


@cache
def _kinds() -> frozenset[str]:
    return frozenset(_rules("event")["properties"]["kind"]["enum"])


def _line_problems(name: str, data: bytes, record: type[Record]) -> Iterator[str]:
    """Lines that are not in the form of their record; a key named twice could be read two ways."""
    if b"\r" in data:
        yield f"{name} holds a carriage return: its lines end otherwise than kit's"
    decoder = msgspec.json.Decoder(record)
    for number, line in enumerate(data.splitlines()):
        if not _is_canonical(decoder, line):
            yield f"{name} line {number} is not a canonical {record.__name__}"
            break


def _is_canonical(decoder: msgspec.json.Decoder[Any], line: bytes) -> bool:
    """Whether ``line`` is RFC 8785; for most lines msgspec decides it a hundred times faster."""
    try:
        alike = msgspec.json.encode(decoder.decode(line), order="sorted") == line
        is_flat = line.count(b"[") + line.count(b"{") <= jsonio.MAX_DEPTH
        if alike and is_flat and not _ODD.search(line):
            return True
        return jsonio.canonical(jsonio.parse(line)) == line
    except (ValueError, RecursionError, jsonio.JsonRefused):
        return False


def _data_problems(event: dict[str, Any], where: str) -> Iterator[str]:
    data = event["data"]
    for key, kind in _EVENT_DATA.get(event["kind"], {}).items():
        value = data.get(key)
        if key not in data or not isinstance(value, kind) or isinstance(value, bool):
            yield f"{where}: {event['kind']} has no {key} of the right kind"
            return
    if event["kind"] == "finding" and data["level"] not in _LEVELS:
        yield f"{where}: there is no level {data['level'][:_SHOWN]!a}"
    if event["kind"].startswith("phase.") and (data["phase"], data["part"]) not in BLOCKS:
        yield f"{where}: there is no phase {data['phase'][:_SHOWN]!a}"


def _problems(schema: str, document: Any, name: str) -> Iterator[str]:
    for error in jsonio.faults(_rules(schema), document):
        yield f"{name} {error.json_path}: {error.message[:_SHOWN]}"


@cache
def _rules(schema: str) -> Any:
    return jsonio.read(resources.schema_path(schema))


# --- samples --------------------------------------------------------------------------------


def sample_checks(records: RunRecords) -> list[Check]:
    """Compare streams with the plan, and find counters that never count."""
    devices = {d.device: d for m in records.plan.meters for d in m.devices}
    unplanned = list(_unplanned_streams(records, devices))
    results = [judged("SAMPLES_INVALID", unplanned, "every stream is one that the plan names")]
    zero = list(_zero_counters(records))
    summed = [z for device, z in zero if _is_summed(devices.get(device))]
    if summed or not zero:
        return [*results, judged("COUNTER_ZERO", summed, "no energy counter is stuck at zero")]
    return [*results, check("COUNTER_ZERO", "WARN", "; ".join(z for _, z in zero[:3]))]


def _unplanned_streams(records: RunRecords, devices: dict[str, MeterDevice]) -> Iterator[str]:
    for (device, quantity), series in records.samples.series.items():
        facts = devices[device].quantities.get(quantity) if device in devices else None
        if quantity not in QUANTITIES:
            yield f"{quantity[:_SHOWN]!a} is no quantity"
        elif facts is None:
            yield f"{device[:_SHOWN]} {quantity} is not in the plan"
        elif not facts.is_read and len(series.t):
            yield f"{device} {quantity} has values, and the plan says why it has none"


def _zero_counters(records: RunRecords) -> Iterator[tuple[str, str]]:
    for (device, quantity), series in records.samples.series.items():
        definition = QUANTITIES.get(quantity)
        counts = definition is not None and definition.kind == "counter" and definition.unit == "J"
        if counts and len(series.raw) > 1 and not series.raw.any():
            yield device, f"{device} {quantity} is 0 all the time"


def _is_summed(device: MeterDevice | None) -> bool:
    """Whether a device counts for its scope; a zone inside another one may stand still."""
    facts = device.quantities.values() if device else ()
    return all(f.is_summed for f in facts)
