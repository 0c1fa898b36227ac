"""The root cause in a log: the first error that its process did not survive."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from kit.core.causes import known
from kit.core.causes.lines import Line, parse, split
from kit.core.causes.tracebacks import Chain, chains

HEAD_BYTES = TAIL_BYTES = 1 << 20
_HEAD_LINES, _TAIL_LINES = 2_000, 8_000
_MOST_LINES, _LINE_CHARS = 4, 300
# A process that goes on to log so many ordinary lines has lived on from an error.
_LIVED_ON = 10
_BESIDE = 2
_PASSED_ON, _WEAK, _STRONG = 0, 1, 2

_STRONG_WORDS = re.compile(
    r"^(?:[\w./-]+: )?(?:fatal |runtime )?error: |^panic: |^fatal error: |^what\(\): |panicked at"
    r"|^Fatal Python error|GGML_ASSERT|Assertion [`'].*failed|assertion .*failed|: error[: ]"
    r"|^\S+\.c\w*:\d+: |^Segmentation fault|^Bus error|^Illegal instruction|^Killed$"
    r"|\berror loading|^(?:[\w.]+\.)?[A-Z]\w*(?:Error|Exception): ",
    re.IGNORECASE,
)
_WEAK_WORDS = re.compile(
    r"\b(?:failed|failure|cannot|can't|could not|couldn't|unable to|not found|invalid|aborted"
    r"|refused|denied|unsupported|missing|error|requires?|must be|exceed(?:s|ed)?|mismatch"
    r"|insufficient|corrupt\w*|too (?:large|small|long|many|few|old))\b",
    re.IGNORECASE,
)
_HARMLESS = frozenset({"INFO", "DEBUG", "WARNING"})
# llama.cpp goes on without a GPU, libnuma without a policy for memory, and both say so like this.
# SGLang passes over models that it cannot import, without a level.
_WARNS = re.compile(
    r"^(?:warn(?:ing)?\b|note:|hint:|info:)|\w*Warning: |^ggml_\w+_init: (?:failed|no )"
    r"|^(?:[gs]et_mempolicy|mbind|migrate_pages|move_pages): |^Ignore import error",
    re.IGNORECASE,
)
_DUMP = re.compile(
    r"^\s*(?:#\d+\s+0x|frame #\d+|\[New LWP|\[Inferior|\[Thread|0x[0-9a-f]+ in |goroutine \d+"
    r"|\d+: +(?:0x|\w+::|<|core::|std::)|at \.?/|r\w\w? +0x|Thread 0x|File \"|created by "
    r"|[\w./*()-]+\(.*\)$|/\S+:\d+ \+0x|\S+\(\+0x[0-9a-f]+\)|Extension modules|stack backtrace)"
)
_DUMPS_FROM = re.compile(
    r"^panic: |^fatal error: |panicked at|^terminate called|^Fatal Python error|^SIG[A-Z]+: "
)


class Cause(NamedTuple):
    """The root cause in a log.

    Attributes:
        lines: it, and what it led to or the rest of its message; safe to print, four at most.
        remedy: what to do about it; empty where nothing is known.
        number: the place of its first line in the log, from 1; 0 where that is not known.
        of: how many lines the log has, as far as it was read.
        sure: false where the process logged much more after it.
    """

    lines: tuple[str, ...]
    remedy: str
    number: int
    of: int
    sure: bool = True


class _Candidate(NamedTuple):
    """Something that may be the cause; ``last`` is its last line's place in the log."""

    at: Line
    last: int
    lines: tuple[str, ...]
    rank: int


def read(path: Path) -> Cause | None:
    """`find` in a file; of a large one in its first MiB and its last."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
            size = file.seek(0, 2)
            file.seek(max(HEAD_BYTES, size - TAIL_BYTES))
            data = head + (file.read(TAIL_BYTES) if size > HEAD_BYTES else b"")
    except OSError:
        return None
    cause = find(data.decode("utf-8", "replace"))
    return cause._replace(number=0) if cause and size > HEAD_BYTES + TAIL_BYTES else cause


def find(log: str) -> Cause | None:
    """The root cause in the text of a log; None without one.

    Of very many lines the first 2,000 and the last 8,000 are looked at.
    """
    raws = split(log)
    out = max(0, len(raws) - _HEAD_LINES - _TAIL_LINES)
    lines = parse(raws[:_HEAD_LINES] + raws[_HEAD_LINES + out :])
    candidates = sorted(_candidates(lines), key=lambda f: (f.at.place, f.last))
    chosen = _chosen(candidates, lines)
    if chosen is None:
        return None
    cause, sure = chosen
    texts = [*cause.lines, *_beside(cause, candidates)]
    shown = tuple(_short(text) for text in dict.fromkeys(texts) if text)[:_MOST_LINES]
    remedy = next((r for text in shown if (r := known.remedy(text))), "")
    number = cause.at.place + 1 + (out if cause.at.place >= _HEAD_LINES else 0)
    return Cause(shown, remedy, number, len(raws), sure)


def _beside(cause: _Candidate, candidates: Sequence[_Candidate]) -> tuple[str, ...]:
    """What the same process said right after it: a second line often names what the first lacks."""
    after = (f for f in candidates if f.at.place > cause.last and f.at.tag == cause.at.tag)
    following = next(after, None)
    if following is None or following.rank < cause.rank:
        return ()
    return following.lines if following.at.place <= cause.last + _BESIDE else ()


def _chosen(
    candidates: Sequence[_Candidate], lines: Sequence[Line]
) -> tuple[_Candidate, bool] | None:
    """The first of the strongest candidates that were fatal, and whether it is sure.

    Without a fatal one: the first of the last strong ones, sure if the log's end points back to it.
    """
    processes = {tag: _Process(own) for tag, own in _by_process(lines).items()}
    # A line without a tag is of any process: each one's later lines show that it was survived.
    processes[""] = _Process(lines)
    after = [processes[f.at.tag].ordinary_after(f) for f in candidates]
    fatal = [f for f, count in zip(candidates, after, strict=True) if count < _LIVED_ON]
    for rank in (_STRONG, _WEAK):
        if ranked := [f for f in fatal if f.rank >= rank]:
            return ranked[0], True
    strong = [(f, count) for f, count in zip(candidates, after, strict=True) if f.rank >= _STRONG]
    if strong:
        last, least = strong[-1]
        near = (f for f, n in strong if f.at.tag == last.at.tag and n - least < _LIVED_ON)
        return next(near), bool(fatal)
    return (fatal[0], True) if fatal else None


def _by_process(lines: Sequence[Line]) -> dict[str, list[Line]]:
    processes: dict[str, list[Line]] = {}
    for line in lines:
        processes.setdefault(line.tag, []).append(line)
    return processes


class _Process:
    """Where a process logged ordinary lines, and where it began to dump its stacks."""

    def __init__(self, own: Sequence[Line]) -> None:
        self._levelled = [line.place for line in own if line.level in ("INFO", "DEBUG")]
        self._plain = [line.place for line in own if not line.level and _is_ordinary(line)]
        self._dumps = [line.place for line in own if _DUMPS_FROM.search(line.words)]

    def ordinary_after(self, candidate: _Candidate) -> int:
        """How many ordinary lines came after it; lines of a stack dump do not count."""
        dump = bisect_left(self._dumps, candidate.at.place)
        end = self._dumps[dump] if dump < len(self._dumps) else None
        plain = len(self._plain) if end is None else bisect_left(self._plain, end)
        levelled = len(self._levelled) - bisect_right(self._levelled, candidate.last)
        return levelled + max(0, plain - bisect_right(self._plain, candidate.last))


def _is_ordinary(line: Line) -> bool:
    if not line.words or line.indent or _DUMP.match(line.text):
        return False
    return not (_STRONG_WORDS.search(line.words) or _WEAK_WORDS.search(line.words))


# --- candidates -----------------------------------------------------------------------------


def _candidates(lines: Sequence[Line]) -> Iterator[_Candidate]:
    """Exceptions of every process, and what is said outside of tracebacks."""
    taken: set[int] = set()
    for own in _by_process(lines).values():
        for chain in chains(own):
            taken |= {line.place for line in _around(own, chain)}
            if own[chain.first].level not in _HARMLESS:
                yield _of_chain(own, chain)
    for line in lines:
        if line.place not in taken and (candidate := _of_line(lines, line)):
            yield candidate


def _around(own: Sequence[Line], chain: Chain) -> Sequence[Line]:
    """A chain's lines, and the line before it, which announces it."""
    return own[max(0, chain.first - 1) : chain.last + 1]


def _of_chain(own: Sequence[Line], chain: Chain) -> _Candidate:
    root, final = chain.root, chain.final
    led_to = () if final is root else (f"led to: {final.text[0]}",)
    rank = _PASSED_ON if known.passes_on(" ".join(root.text)) else _STRONG
    return _Candidate(root.at, own[chain.last].place, (*root.text, *led_to), rank)


def _of_line(lines: Sequence[Line], line: Line) -> _Candidate | None:
    """What a line outside of tracebacks says, with what belongs to it."""
    words = line.words
    if not words or line.level in _HARMLESS or _WARNS.match(words) or _DUMP.match(line.text):
        return None
    if known.passes_on(words):
        return _Candidate(line, line.place, (words,), _PASSED_ON)
    more = _more(lines, line)
    if line.level or _STRONG_WORDS.search(words) or more:
        return _Candidate(line, line.place + len(more), (*more, words), _STRONG)
    if known.is_error(words):
        return _Candidate(line, line.place, (words,), _STRONG)
    return _Candidate(line, line.place, (words,), _WEAK) if _WEAK_WORDS.search(words) else None


def _more(lines: Sequence[Line], line: Line) -> tuple[str, ...]:
    """The lines that go with a line: what C++ threw, what Rust panicked with, its causes."""
    following = [f.words for f in lines[line.place + 1 : line.place + 40] if f.tag == line.tag]
    words = line.words
    if words.startswith("terminate called"):
        return tuple(f for f in following[:2] if f.startswith("what():"))
    if re.search(r"panicked at \S+:\d+(?::\d+)?:$", words):
        return tuple(following[:1])
    if words.startswith("Error: ") and "Caused by:" in following[:4]:
        return tuple(_causes(following[following.index("Caused by:") + 1 :]))[-1:]
    return ()


def _causes(lines: Sequence[str]) -> Iterator[str]:
    """Rust's list of causes, the outermost first."""
    for text in lines:
        if not text or text.startswith("Stack backtrace"):
            return
        yield re.sub(r"^\d+: ", "", text)


def _short(text: str) -> str:
    return text if len(text) <= _LINE_CHARS else text[: _LINE_CHARS - 1] + "…"
