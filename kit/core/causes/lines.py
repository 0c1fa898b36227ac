"""Lines of a log without the logger's prefix: process, level and time."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from kit.core.text import clean

_MOST_CHARS = 2000  # of a raw line: what is longer is data, and expressions must stay quick
_BREAKS = re.compile(r"\r\n|\n|\r")
_LEVELS = {
    "I": "INFO",
    "W": "WARNING",
    "E": "ERROR",
    "C": "CRITICAL",
    "F": "FATAL",
    "D": "DEBUG",
    "WARN": "WARNING",
    "ERR": "ERROR",
    "PANIC": "FATAL",
    "TRACE": "DEBUG",
    "NOTICE": "INFO",
}
_LEVEL = r"(?P<level>TRACE|DEBUG|INFO|NOTICE|WARN(?:ING)?|ERR(?:OR)?|CRITICAL|FATAL|PANIC)"
_CLOCK = r"\d\d:\d\d:\d\d(?:[.,]\d+)?"
_PREFIXES = tuple(
    re.compile(text)
    for text in (
        # (EngineCore_DP0 pid=123), (RayWorkerWrapper pid=5, ip=10.0.0.2)
        r"\((?P<tag>[A-Za-z][\w.:-]*)(?: rank=\d+)? pid=\d+[^()]{0,80}\) ?",
        r"\[(?P<tag>rank\d+)\]:? ?",
        # vLLM: ERROR 11-26 16:28:12 [core.py:866]; older: ERROR 11-26 16:28:12 core.py:866]
        rf"{_LEVEL} \d\d-\d\d {_CLOCK} (?:\[[^\]]{{1,80}}\]|[\w./-]+:\d+\]) ?",
        # glog, absl, torch: [E1126 16:28:12.123456 77 socket.cpp:752]
        r"\[?(?P<level>[IWEF])\d{4} \d\d:\d\d:\d\d\.\d+ +(?:\d+ +)?[\w./-]+:\d+\] ?",
        # SGLang: [2026-11-26 16:28:12 TP0]
        rf"\[\d{{4}}-\d\d-\d\d {_CLOCK} ?(?P<tag>[A-Z]+\d+(?: [A-Z]+\d+)*)?\] ?",
        rf"\[?\d{{4}}[-/]\d\d[-/]\d\d[T ]{_CLOCK}(?:Z|[+-]\d\d:?\d\d)?\]?(?: ?[-|:] )? ?",
        # llama.cpp: 0.00.035.765 E
        r"\d+\.\d\d\.\d{3}\.\d{3} (?P<level>[IWEDC]) ",
        # logging: ERROR:root:, name - ERROR -, [ERROR], uvicorn's ERROR:    , tracing's ERROR a::b:
        rf"(?:[\w.]{{1,60}} - )?{_LEVEL} - ",
        rf"\[ ?{_LEVEL} ?\](?::)? ?",
        rf"{_LEVEL}:(?: {{2,}}|[\w.]{{1,60}}: ?)",
        rf" {{0,2}}{_LEVEL} (?:[a-z_]\w*(?:::\w+)*: )",
    )
)
# What a prefix begins with, or holds soon: asked first, because most lines have none.
_GATE = re.compile(rf"[(\[\d]|.{{0,64}}?{_LEVEL.replace('?P<level>', '?:')}|[IWEF]\d{{4}} ")
# Go's slog, which Ollama writes: time=… level=ERROR source=server.go:1 msg="…" error="…"
_SLOG = re.compile(r"(?:time=\S+ )?level=(?P<level>[A-Z]+)\S*(?: source=\S+)? msg=(?P<rest>.*)")
_VALUE = re.compile(r'(?:^|\b(?:error|err)=)("(?:[^"\\]|\\.){0,1500}"|\S+)')

# The end of a progress bar's state, by tqdm ([00:01<00:02, 3.1it/s]), Rust's indicatif, and rich.
_BAR = re.compile(
    r"(?:\[ ?(?:\d+:)?\d+:\d\d(?: ?< ?[^\],]{1,12})? ?, [^\]]{1,120}\]"
    r"|\[[#=>█▓░ -]{8,}\] \S+/\S+(?: \(\S+\))?|[━╸╺]{4,}(?: +(?:\d[\d.:%/]*|-:--:--))*) *"
)


class Line(NamedTuple):
    """A line of a log: its place from 0, its process, its level (empty if unknown), its words.

    ``text`` keeps its indentation, by which tracebacks are recognised.
    """

    place: int
    tag: str
    level: str
    text: str

    @property
    def indent(self) -> int:
        return len(self.text) - len(self.text.lstrip(" |+"))

    @property
    def words(self) -> str:
        return self.text.strip(" |")


def split(text: str) -> list[str]:
    """A log's lines as they are; a progress bar's overwritten states count as lines."""
    return _BREAKS.split(text)


def parse(raws: Iterable[str]) -> list[Line]:
    """The lines of a log, cleaned, numbered from 0."""
    return [_line(index, raw) for index, raw in enumerate(raws)]


def _line(index: int, raw: str) -> Line:
    text = raw[:_MOST_CHARS].replace("\t", "    ")
    if not (text.isascii() and text.isprintable()):  # most lines are, and then cost nothing
        text = clean(text)
    text = text.rstrip()
    tag = level = ""
    for _ in range(5):
        prefix = (_prefix(text) if _GATE.match(text) else None) or _bar(text)
        if prefix is None:
            break
        if prefix.re is _BAR and not text[prefix.end() :].strip():
            level = level or "INFO"  # a bar alone: how far something is
            break
        groups = prefix.groupdict()
        tag, level = groups.get("tag") or tag, groups.get("level") or level
        text = text[prefix.end() :]
    slog = _SLOG.match(text)
    if slog:
        level, text = slog["level"], ": ".join(_unquoted(v) for v in _VALUE.findall(slog["rest"]))
    return Line(index, tag, _LEVELS.get(level, level), text)


def _prefix(text: str) -> re.Match[str] | None:
    return next((m for prefix in _PREFIXES if (m := prefix.match(text))), None)


def _bar(text: str) -> re.Match[str] | None:
    """The last bar in a line. A process that ends in the midst of one says so right behind it."""
    last = deque(_BAR.finditer(text), 1)
    return last[0] if last else None


def _unquoted(value: str) -> str:
    return value[1:-1].replace('\\"', '"') if value.startswith('"') else value
