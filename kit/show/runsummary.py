"""The summary of a sealed run, read within bounds: identity, caveats and power."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from kit.core.errors import KitError
from kit.core.model import Phase, Plan
from kit.core.units import NS
from kit.energy import reasons
from kit.energy.picture import Picture, picture
from kit.energy.results.document import NoticeRecord
from kit.energy.results.form import MALFORMED, part
from kit.record import archive, events, phases, samples
from kit.record.archive import ArchiveSource
from kit.show.documents import read_object
from kit.show.render.console import count, short_time

_DOCUMENT = 4 << 20
# A summary reads no more samples than these; the report reads all of them.
_SAMPLES = 24 << 20
_BINS = 120


@dataclass(frozen=True)
class RunSummary:
    """The summary of one run: facts, caveats, and its power or why there is none."""

    facts: tuple[tuple[str, str], ...] = ()
    notices: tuple[str, ...] = ()
    picture: Picture = field(default_factory=Picture)
    no_power: str = ""


def read(path: Path) -> RunSummary:
    """The summary of a sealed run; unreadable parts have a reason."""
    try:
        with archive.open_source(path) as source:
            return _summary(source)
    except KitError as error:
        return RunSummary(no_power=error.message)


def _summary(source: ArchiveSource) -> RunSummary:
    manifest, results = (_document(source, n) for n in ("manifest.json", "results.json"))
    env, plan = _document(source, "env/start.json"), _document(source, "plan.json")
    blocks, drawn, reason = _power(source, plan)
    lines = (*_identity(manifest, env), ("phases", _phases(blocks)))
    return RunSummary(tuple(f for f in lines if f[1]), tuple(_notices(results)), drawn, reason)


def _document(source: ArchiveSource, name: str) -> dict[str, Any]:
    with contextlib.suppress(KitError, OSError):
        return read_object(source, name, _DOCUMENT)
    return {}


def _power(source: ArchiveSource, plan: dict[str, Any]) -> tuple[tuple[Phase, ...], Picture, str]:
    """The blocks and the power of a run; a reason if there is no power."""
    names = [n for n in source.names() if n.startswith("samples/") and n.endswith(".csv")]
    if sum(source.size(n) for n in names) > _SAMPLES:
        return (), Picture(), "too many samples for a glance: enter shows them"
    try:
        blocks = phases.blocks(events.decode(source.read(events.FILE, _SAMPLES)))
        read = samples.from_csv({n: source.read(n) for n in names})
        meters = msgspec.convert(plan, Plan, strict=False).meters
        drawn = picture(read, meters, blocks, _BINS)
    except (KitError, ValueError, KeyError, TypeError, OSError) as error:
        return (), Picture(), str(getattr(error, "message", error))
    return blocks, drawn, "" if drawn.traces else "no meter reported power"


def _identity(manifest: dict[str, Any], env: dict[str, Any]) -> Iterator[tuple[str, str]]:
    image, model = _dict(manifest, "image"), _dict(manifest, "model")
    reference, _, digest = str(image.get("reference", "")).partition("@sha256:")
    image_name = reference.rpartition("/")[2]
    yield "image", f"{image_name}@{digest[:8]}" if digest else image_name
    yield "model", str(model.get("repo", "")).rpartition("/")[2]
    cards = [c for c in _dict(env, "gpus").values() if isinstance(c, dict)]
    driver = _dict(env, "nvidia").get("driver")
    if cards:
        yield "GPU", f"{cards[0].get('name')} ×{len(cards)}, driver {driver}"
    else:
        yield "CPU", str(_dict(env, "cpu").get("model", ""))


def _dict(value: dict[str, Any], key: str) -> dict[str, Any]:
    item = value.get(key)
    return item if isinstance(item, dict) else {}


def _phases(blocks: tuple[Phase, ...]) -> str:
    """``3 launches, measured 31 s of 128 s each``, by the first launch."""
    first = [p for p in blocks if p.launch == blocks[0].launch]
    measured = sum(p.t1 - p.t0 for p in first if p.name == "measured")
    if not measured:
        return ""
    total = short_time((first[-1].t1 - first[0].t0) * NS)
    launches = count(len({p.launch for p in blocks}), "launch", "es")
    return f"{launches}, measured {short_time(measured * NS)} of {total}"


def _notices(results: dict[str, Any]) -> Iterator[str]:
    with contextlib.suppress(*MALFORMED):  # damaged: a list shows what can be read
        notices = part(results.get("notices", ()), tuple[NoticeRecord, ...])
        sentences = reasons.notices(notices, len(results.get("launches", ())))
        yield from (notice.message for notice in sentences)
