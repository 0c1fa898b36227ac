"""A run at a glance: what the panel beside the list of runs tells, read in a thread and bounded."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Group, RenderableType
from rich.text import Text

from kit.core import jsonio
from kit.core.errors import KitError
from kit.core.model import Phase, Plan
from kit.core.units import NS
from kit.record import archive, events, phases, samples
from kit.record.archive import Source
from kit.show.catalogue import Row
from kit.show.render.console import count, facts, plain, short_time
from kit.tui.base import mark
from kit.tui.power import Picture, picture
from kit.tui.states import state_of

SHORT = 12
_DOCUMENT = 4 << 20
# Samples of a day are a report's business: a glance reads no more than these of them.
_SAMPLES = 24 << 20
_BINS = 120
_KEPT = 64
_NOTICES = 6


@dataclass(frozen=True)
class Glimpse:
    """What was read of one run: facts, caveats, its power, or why there is none."""

    facts: tuple[tuple[str, str], ...] = ()
    notices: tuple[str, ...] = ()
    picture: Picture = field(default_factory=Picture)
    no_power: str = ""


class Glimpses:
    """Glimpses of the runs that were looked at last."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Glimpse] = OrderedDict()

    def get(self, run: str) -> Glimpse | None:
        """What is known of a run."""
        return self._kept.get(run)

    def put(self, run: str, found: Glimpse) -> None:
        """Keep what was read of a run, and forget the oldest."""
        self._kept[run] = found
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)


def read(path: Path) -> Glimpse:
    """What there is to know of a sealed run at a glance; what cannot be read says why."""
    try:
        source = archive.open_source(path)
    except KitError as error:
        return Glimpse(no_power=error.message)
    try:
        manifest, results = (_document(source, n) for n in ("manifest.json", "results.json"))
        env, plan = _document(source, "env/start.json"), _document(source, "plan.json")
        blocks, drawn, reason = _power(source, plan)
        told = (*_identity(manifest, env), ("phases", _phases(blocks)))
        return Glimpse(tuple(f for f in told if f[1]), tuple(_notices(results)), drawn, reason)
    finally:
        source.close()


def _document(source: Source, name: str) -> dict[str, Any]:
    with contextlib.suppress(KitError, OSError):
        found = jsonio.parse(source.read(name, _DOCUMENT), name)
        if isinstance(found, dict):
            return found
    return {}


def _power(source: Source, plan: dict[str, Any]) -> tuple[tuple[Phase, ...], Picture, str]:
    """The blocks and the power of a run; the reason where there is no power."""
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
    return blocks, drawn, "" if drawn.traces else "no meter told power"


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
    found = value.get(key)
    return found if isinstance(found, dict) else {}


def _phases(blocks: tuple[Phase, ...]) -> str:
    """``3 launches, measured 31 s of 128 s each``, by the first launch."""
    first = [p for p in blocks if p.launch == blocks[0].launch]
    measured = sum(p.t1 - p.t0 for p in first if p.name == "measured")
    if not measured:
        return ""
    whole = short_time((first[-1].t1 - first[0].t0) * NS)
    launches = count(len({p.launch for p in blocks}), "launch", "es")
    return f"{launches}, measured {short_time(measured * NS)} of {whole}"


def _notices(results: dict[str, Any]) -> Iterator[str]:
    found = results.get("notices")
    for notice in found if isinstance(found, list) else ():
        if isinstance(notice, dict):
            yield str(notice.get("message", ""))


def told(row: Row, glimpse: Glimpse | None, replays: tuple[str, ...]) -> RenderableType:
    """The panel's words above the curve."""
    seen = glimpse or Glimpse()
    lines: list[RenderableType] = [
        Text("  ").join([state_of(row.status), plain(f"{row.started} UTC" if row.started else "")]),
        facts(
            [("run", row.run[:SHORT]), *_checked(row), *_numbers(row), *_about(row), *seen.facts]
        ),
        *([mark("warn", f"{count(len(seen.notices), 'caveat')}")] if seen.notices else []),
        *([plain(row.note, "doubt")] if row.note and not row.replay_of else []),
        *([plain(f"↻ replays {row.replay_of[:SHORT]}")] if row.replay_of else []),
        *([plain(f"↻ replayed by {', '.join(r[:SHORT] for r in replays)}")] if replays else []),
    ]
    return Group(*lines)


def _checked(row: Row) -> Iterator[tuple[str, str]]:
    if row.checked:
        yield "checked", row.checked


def _about(row: Row) -> Iterator[tuple[str, str]]:
    if row.runtime:
        yield "runtime", row.runtime


def _numbers(row: Row) -> Iterator[tuple[str, str]]:
    if row.joules is not None:
        yield "per token", row.stated
    if row.tokens_per_s is not None:
        yield "tokens/s", row.throughput


def caveats(glimpse: Glimpse) -> RenderableType:
    """The panel's words below the curve: what to know before believing the numbers."""
    shown = glimpse.notices[:_NOTICES]
    lines = [Text.assemble(("! ", "doubt"), plain(notice)) for notice in shown]
    if more := len(glimpse.notices) - len(shown):
        lines.append(plain(f"and {more} more", "quiet"))
    if glimpse.no_power:
        lines.insert(0, plain(f"no power curve: {glimpse.no_power}", "quiet"))
    return Group(*lines)
