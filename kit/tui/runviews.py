"""The content of a sealed run's tabs, as renderables and rows. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from msgspec import UNSET
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.text import Text

from kit.core.errors import KitError
from kit.core.model import Request
from kit.judge import compare
from kit.record.records import RunRecords
from kit.show.documents import Documents, leaves
from kit.show.live.eventwords import LEVELS, LogLine
from kit.show.live.snapshot import SECOND_NS
from kit.show.render.console import count, facts, grid, plain, short_bytes, title
from kit.show.render.show import run_parts
from kit.tui.screen import badge

_REASONS = 8


class Fit:
    """A renderable that is made for each width in which it is drawn."""

    def __init__(self, make: Callable[[int], RenderableType]) -> None:
        self._make = make

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self._make(options.max_width)


# --- summary ---------------------------------------------------------------------------------


def summary(documents: Documents) -> RenderableType:
    """The same as `kit show`, results first; unreadable parts have a reason."""
    sources = (documents.manifest, documents.spec, documents.results)

    def made(width: int) -> RenderableType:
        try:
            parts = run_parts(documents.run, *sources, width, documents.steps)
        except KitError as error:
            error_text = plain(f"{error.message}: {error.remedy}")
            return Group(badge("fail", "not readable"), error_text, *fault_lines(documents))
        return Group(*fault_lines(documents), *parts.results[1:], Text(), *parts.about)

    return Fit(made)


def fault_lines(documents: Documents) -> list[Text]:
    """A line for each document that could not be read."""
    return [
        Text("  ").join([badge("fail", name), plain(why)]) for name, why in documents.faults.items()
    ]


# --- requests --------------------------------------------------------------------------------


class Asked(NamedTuple):
    """A request with its launch."""

    launch: int
    request: Request

    def cells(self) -> tuple[str | Text, ...]:
        """Launch, index, stage, item, first token, tokens or images, time, status."""
        r = self.request
        state = badge("ok" if r.status == "ok" else "fail", r.status)
        error = plain(r.error or "")
        error.truncate(60, overflow="ellipsis")
        return (
            str(self.launch),
            str(r.index),
            r.stage,
            r.item[:30],
            _seconds(r.sent, r.first_token),
            _made(r),
            _seconds(r.sent, r.done),
            state if not r.error else Text.assemble(state, " ", error),
        )


REQUEST_HEADS = (">launch", ">#", "stage", "item", ">first, s", ">tokens", ">time, s", "status")


def _made(request: Request) -> str:
    """Tokens of an answer, or its images with their name, since the column is of tokens."""
    if request.images is not UNSET:
        return f"{request.images} img"
    return "–" if request.output_tokens is None else f"{request.output_tokens:,}"


def _seconds(begin: int | None, end: int | None) -> str:
    return "–" if begin is None or end is None else f"{(end - begin) / SECOND_NS:.3f}"


def asked(records: RunRecords) -> list[Asked]:
    """Every request of every launch; those that failed first."""
    requests = [Asked(n, r) for n, of in sorted(records.requests.items()) for r in of]
    return sorted(requests, key=lambda a: a.request.status == "ok")


def request_summary(requests: Sequence[Asked]) -> Text:
    """``27 requests, 27 ok``; failures by their reason."""
    if not requests:
        return Text.assemble(badge("skip", "no request was recorded"))
    failed = [a.request for a in requests if a.request.status != "ok"]
    ok = len(requests) - len(failed)
    head = badge("warn" if failed else "ok", f"{ok:,} of {count(len(requests), 'request')} ok")
    reasons = Counter(f"{r.status}: {r.error}" if r.error else r.status for r in failed)
    parts = [plain(f"{n:,} × {why[:120]}", "doubt") for why, n in reasons.most_common(_REASONS)]
    return Text("\n").join([head, *parts])


# --- log ---------------------------------------------------------------------------------------


class Logged(NamedTuple):
    """A line of the log."""

    line: LogLine

    def cells(self) -> tuple[str | Text, ...]:
        """Minutes and seconds since the run began, state, what happened."""
        minutes, seconds = divmod(max(0.0, self.line.t / SECOND_NS), 60)
        state = badge(self.line.level, LEVELS.get(self.line.level)) if self.line.level else Text()
        return f"{int(minutes):02d}:{seconds:04.1f}", state, plain(self.line.text)


LOG_HEADS = (">time", "state", "what happened")


# --- environment -----------------------------------------------------------------------------


def environment(documents: Documents) -> RenderableType:
    """Both fingerprints: what changed during the run, then every fact at its start."""
    if not documents.start:
        why = documents.faults.get("env/start", "no fingerprint was recorded")
        return badge("skip", why)
    return Group(*_changes(documents), Text(), title("at the start"), _facts(documents.start))


def _changes(documents: Documents) -> Iterator[RenderableType]:
    if not documents.end:
        yield badge("warn", documents.faults.get("env/end", "no fingerprint at the end"))
        return
    changed = list(compare.environments(documents.start, documents.end))
    if not changed:
        yield badge("ok", "nothing that bears on the measurement changed during the run")
        return
    yield badge("warn", f"{count(len(changed), 'fact')} changed during the run")
    table = grid({"style": "quiet", "overflow": "fold"}, {"overflow": "fold"}, {"overflow": "fold"})
    table.add_row(Text(""), plain("start", "name"), plain("end", "name"))
    for path, there, here in changed:
        table.add_row(plain(path), plain(there), plain(here))
    yield table


def _facts(document: dict[str, Any]) -> RenderableType:
    return facts((str(plain(path)), value) for path, value in leaves(document))


# --- files -----------------------------------------------------------------------------------


class Listed(NamedTuple):
    """A file of the manifest, or one that the manifest does not list."""

    path: str
    size: str
    sha256: str
    role: str
    state: str
    word: str

    def cells(self) -> tuple[str | Text, ...]:
        """State, path, size, role, hash."""
        return badge(self.state, self.word), self.path, self.size, self.role, self.sha256


FILE_HEADS = ("state", "path", ">size", "role", "sha256")


def files(documents: Documents) -> list[Listed]:
    """Every file, those that differ from the manifest first."""
    listed = documents.manifest.get("files")
    entries = [e for e in listed if isinstance(e, dict)] if isinstance(listed, list) else []
    rows = [_listed(entry, documents.sizes) for entry in entries]
    paths = {str(e.get("path")) for e in entries} | {"manifest.json"}
    for path in sorted(documents.sizes.keys() - paths):
        size = short_bytes(documents.sizes[path])
        rows.append(Listed(path, size, "", "", "warn", "not listed"))
    order = {"fail": 0, "warn": 1, "withheld": 2, "ok": 3}
    return sorted(rows, key=lambda f: (order[f.state], f.path))


def _listed(entry: dict[str, Any], sizes: dict[str, int]) -> Listed:
    path, size = str(entry.get("path")), entry.get("size")
    there = sizes.get(path)
    if there is None:
        state, word = ("withheld", "withheld") if entry.get("withheld") else ("fail", "missing")
    elif there != size:
        state, word = "fail", "size differs"
    else:
        state, word = "ok", "private" if entry.get("withheld") else "there"
    shown = short_bytes(size) if isinstance(size, int) else "?"
    digest, role = str(entry.get("sha256", "")), str(entry.get("role", ""))
    return Listed(path[:120], shown, digest[:64], role[:16], state, word)


# --- provenance ------------------------------------------------------------------------------


def citation(documents: Documents) -> str:
    """A citation of the run: name, whole hash, kit and date."""
    kit, clock = _at(documents.manifest, "kit"), _at(documents.manifest, "clock")
    day = str(clock.get("utc", ""))[:10]
    made = ", ".join(filter(None, [f"kit {kit.get('version', '?')}", day]))
    return str(plain(f"{documents.name}, run sha256:{documents.run} ({made})"))


def provenance(documents: Documents, missing: Sequence[str]) -> RenderableType:
    """The origin of the run; ``missing`` are parents that this store does not have."""
    m = documents.manifest
    image, model, clock, kit = (_at(m, key) for key in ("image", "model", "clock", "kit"))
    table = facts(
        [
            ("cite", plain(citation(documents), "name")),
            ("run", documents.run),
            *(("parent", parent) for parent in _parents(m, missing)),
            ("spec", _text_at(m, "spec_hash")),
            ("plan", _text_at(m, "plan_hash")),
            ("results", _text_at(m, "result_hash")),
            ("image", _text_at(image, "reference")),
            ("image id", _text_at(image, "image_id")),
            ("from", _text_at(image, "source")),
            ("model", _text_at(model, "repo")),
            ("revision", _text_at(model, "revision")),
            ("licence", _text_at(model, "licence")),
            *_weights(model),
            ("kit", _text_at(kit, "version")),
            ("its code", _text_at(kit, "source_sha256")),
            ("begun", f"{clock.get('utc', 'unknown')} (by the machine's own clock)"),
            ("profile", _text_at(m, "profile")),
        ]
    )
    return Group(table, *fault_lines(documents))


def _parents(manifest: dict[str, Any], missing: Sequence[str]) -> Iterator[str]:
    parents = manifest.get("parents")
    for parent in parents if isinstance(parents, list) else ():
        if isinstance(parent, dict):
            hash_ = str(parent.get("run_hash"))
            where = "  (not in this store)" if hash_ in missing else ""
            yield f"{parent.get('relation')} {hash_}{where}"


def _weights(model: dict[str, Any]) -> Iterator[tuple[str, str]]:
    files = model.get("files")
    for file in files if isinstance(files, list) else ():
        if isinstance(file, dict):
            yield "weights", f"{file.get('path')}  sha256:{file.get('sha256')}"


def _at(value: dict[str, Any], key: str) -> dict[str, Any]:
    item = value.get(key)
    return item if isinstance(item, dict) else {}


def _text_at(value: dict[str, Any], key: str) -> str | None:
    item = value.get(key)
    return None if item is None else str(item)
