"""Events of a run's journal as text: the same in every log, live and afterwards.

A launch has its number in the record, from 0, as in ``launches/000`` and in every report.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from kit.core.model import Event
from kit.energy import names

# Live readings and clock anchors have no line in a log. A block ends where the next one begins.
_SILENT = frozenset({"live", "clock.anchor", "phase.end"})
_MOST_CHARS = 400
# A level's word in faces, and in the filter.
LEVELS = {"warn": "warning", "fail": "failed"}
Data = dict[str, Any]
Words = tuple[str, str]


class LogLine(NamedTuple):
    """A line of the log: time (ns on the run's clock), level and text.

    ``level`` is ``ok``, ``warn``, ``fail``, ``mark``, or empty for neutral events. The text may
    come from others: a face makes it safe when it draws it.
    """

    t: int
    level: str
    text: str


def lines(events: Iterable[Event]) -> list[LogLine]:
    """The log of a run, in order."""
    return [words for event in events if (words := line(event))]


def line(event: Event) -> LogLine | None:
    """The line of an event; unknown kinds as they are, None for events without a line."""
    if event.kind in _SILENT:
        return None
    words = _WORDS.get(event.kind)
    try:
        level, text = words(event.data) if words else ("", _as_it_stands(event))
        # A mark has the person's time, not the time at which the runner journalled it.
        t = int(event.data["t_face"]) if event.kind == "mark" else event.t
    except (KeyError, TypeError, ValueError, AttributeError):
        return LogLine(event.t, "", _as_it_stands(event))
    return LogLine(t, level, text)


def fitting(log: Iterable[LogLine], wanted: str) -> list[LogLine]:
    """Lines with every word of ``wanted``, ignoring case; a level counts as a word."""
    words = wanted.casefold().split()
    texts = ((x, f"{LEVELS.get(x.level, x.level)} {x.text}".casefold()) for x in log)
    return [x for x, text in texts if all(word in text for word in words)]


def _as_it_stands(event: Event) -> str:
    data = event.data if isinstance(event.data, dict) else {}
    text = ", ".join(f"{key} {value}" for key, value in data.items())
    return f"{event.kind} {text}".strip()[:_MOST_CHARS]


def answered(ok: int, failed: int) -> str:
    """``29 requests ok, 1 failed``."""
    return f"{ok} request{'s' * (ok != 1)} ok" + (f", {failed} failed" if failed else "")


def _of_launch(text_of: str | Callable[[Data], str]) -> Callable[[Data], Words]:
    """The line of a neutral event of a launch."""

    def words(data: Data) -> Words:
        text = text_of if isinstance(text_of, str) else text_of(data)
        return "", f"launch {int(data['launch'])}: {text}"

    return words


def _registered(data: Data) -> Words:
    launches = int(data["launches"])
    return "", f"run {data['id']} registered, {launches} launch{'es' * (launches != 1)}"


def _waited(data: Data) -> Words:
    runs = len(data["runs"])
    return "", f"waited {float(data['seconds']):.0f} s for {runs} other run{'s' * (runs != 1)}"


def _finding(data: Data) -> Words:
    return str(data["level"]), f"{data['message']}  {data['code']}"


def _stage(data: Data) -> Words:
    failed = int(data.get("failed") or 0)
    answers = answered(int(data["ok"]), failed)
    why = f": {data['why']}" if data.get("why") else ""
    stage = f"launch {int(data['launch'])}: {names.phase(data['stage'])}"
    return "warn" if failed else "ok", f"{stage}: {answers}{why}"


def _steady(data: Data) -> str:
    words = {"not_steady": "not steady", "unknown": "unknown"}
    states = ((device, words.get(state, state)) for device, state in data["devices"].items())
    devices = ", ".join(f"{device} {state}" for device, state in states)
    return f"waited {float(data['seconds']):.0f} s for a steady state: {devices}"


def _stopped(data: Data) -> str:
    code = data["exit_code"]
    return "container stopped" + ("" if code is None else f", exit code {int(code)}")


def _step(data: Data) -> str:
    status = data["status"]
    went = "" if isinstance(status, int) and 200 <= status < 300 else f", HTTP {status}"
    return f"{data['name']}: {float(data['seconds']):.3g} s{went if status else ', no answer'}"


def _end(data: Data) -> Words:
    level = {"complete": "ok", "aborted": "warn"}.get(str(data["status"]), "fail")
    reason = f": {data['reason']}" if data.get("reason") else ""
    return level, f"run {data['status']}{reason}"


_WORDS: dict[str, Callable[[Data], Words]] = {
    "run.registered": _registered,
    "queue.waited": _waited,
    "finding": _finding,
    "sampler.started": lambda d: ("", f"sampler {d['meter']} started"),
    "sampler.stopped": lambda d: ("", f"sampler {d['meter']} stopped"),
    "sampler.lost": lambda d: ("warn", f"meter {d['meter']} was lost: {d['message']}"),
    "launch.begin": lambda d: ("", f"launch {int(d['launch'])} began"),
    "launch.end": lambda d: ("ok", f"launch {int(d['launch'])} ended"),
    "container.created": _of_launch("container made"),
    "container.started": _of_launch("container started"),
    "container.ready": _of_launch("the server answers"),
    "startup.step": _of_launch(_step),
    "shutdown.step": _of_launch(_step),
    "container.stopped": _of_launch(_stopped),
    "container.removed": _of_launch("container removed"),
    "phase.begin": _of_launch(lambda d: f"{names.phase(d['phase'], d.get('part'))} began"),
    "stage.done": _stage,
    "steady.waited": _of_launch(_steady),
    "mark": lambda d: ("mark", str(d["text"])),
    "fault": lambda d: ("fail", str(d["message"])),
    "run.end": _end,
}
