"""Events of a run's journal in words, for a log."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from rich.text import Text

from kit.model import Event
from kit.render.console import plain
from kit.tui.base import mark

NS = 1e-9
# Readings for a face that draws a run, and anchors of clocks: a log has no use for them.
_SILENT = frozenset({"live", "clock.anchor"})
_STATES = {"ok": "ok", "warn": "warning", "fail": "failed"}
Data = dict[str, Any]


class Line(NamedTuple):
    """A line of the log: seconds since the run began, a state, what happened."""

    t: float
    state: str
    text: str

    def cells(self) -> tuple[str, Text, str]:
        """Time, state and text, for a table."""
        return clock(self.t), mark(self.state, _STATES.get(self.state, "")), self.text


def clock(seconds: float) -> str:
    """``02:11.7``: minutes and seconds since the run began."""
    minutes, rest = divmod(max(0.0, seconds), 60)
    return f"{int(minutes):02d}:{rest:04.1f}"


def lines(events: Iterable[Event]) -> list[Line]:
    """The log of a run: what happened, in order."""
    return [line(event) for event in events if event.kind not in _SILENT]


def fitting(log: Iterable[Line], wanted: str) -> list[Line]:
    """Lines with every word of ``wanted``."""
    words = wanted.casefold().split()
    return [
        x
        for x in log
        if all(word in f"{_STATES.get(x.state, x.state)} {x.text}".casefold() for word in words)
    ]


def line(event: Event) -> Line:
    """One event in words; one of an unknown kind as it stands."""
    try:
        state, text = _WORDS.get(event.kind, _unknown)(event.data)
    except (KeyError, TypeError, ValueError, AttributeError):
        state, text = _unknown(event.data)
    known = event.kind in _WORDS
    return Line(event.t * NS, state, str(plain(text if known else f"{event.kind} {text}")))


def _unknown(data: Data) -> tuple[str, str]:
    return "skip", ", ".join(f"{key} {value}" for key, value in data.items())[:400]


def _finding(data: Data) -> tuple[str, str]:
    return str(data["level"]), f"{data['message']}  {data['code']}"


def _phase(ending: str) -> Callable[[Data], tuple[str, str]]:
    def said(data: Data) -> tuple[str, str]:
        part = f" {data['part']}" if data.get("part") else ""
        name = str(data["phase"]).replace("_", " ")
        return "skip", f"launch {data['launch']}: {name}{part} {ending}"

    return said


def _stage(data: Data) -> tuple[str, str]:
    failed = int(data.get("failed", 0))
    text = f"launch {data['launch']}: {data['stage']} done, {data['ok']} requests ok"
    return ("warn" if failed else "ok"), text + (f", {failed} failed" if failed else "")


def _end(data: Data) -> tuple[str, str]:
    state = {"complete": "ok", "aborted": "warn"}.get(str(data["status"]), "fail")
    reason = f": {data['reason']}" if data.get("reason") else ""
    return state, f"the run ended: {data['status']}{reason}"


def _steady(data: Data) -> tuple[str, str]:
    devices = ", ".join(f"{k} {v}" for k, v in data["devices"].items())
    return "skip", f"launch {data['launch']}: waited {data['seconds']:.1f} s, {devices}"


def _stopped(data: Data) -> tuple[str, str]:
    return "skip", f"sampler {data['meter']} stopped"


_WORDS: dict[str, Callable[[Data], tuple[str, str]]] = {
    "run.registered": lambda d: ("ok", f"run {d['id']} registered, {d['launches']} launches"),
    "finding": _finding,
    "sampler.started": lambda d: ("skip", f"sampler {d['meter']} started"),
    "sampler.stopped": _stopped,
    "sampler.lost": lambda d: ("warn", f"meter {d['meter']} was lost: {d['message']}"),
    "launch.begin": lambda d: ("ok", f"launch {d['launch']} begins"),
    "launch.end": lambda d: ("ok", f"launch {d['launch']} ended"),
    "container.created": lambda d: ("skip", f"launch {d['launch']}: container created"),
    "container.started": lambda d: ("skip", f"launch {d['launch']}: container started"),
    "container.ready": lambda d: ("skip", f"launch {d['launch']}: the runtime is ready"),
    "phase.begin": _phase("begins"),
    "phase.end": _phase("ended"),
    "stage.done": _stage,
    "steady.waited": _steady,
    "fault": lambda d: ("fail", str(d["message"])),
    "run.end": _end,
}
