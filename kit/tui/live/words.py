"""The texts of the Live screen, from a snapshot alone."""

from __future__ import annotations

from dataclasses import dataclass

from rich.text import Text

from kit.energy import names
from kit.record.phases import BLOCKS
from kit.show.live.eventwords import LogLine
from kit.show.live.snapshot import SECOND_NS, Device, RunSnapshot
from kit.show.render.console import count, plain, short_time

_DETAILS = ("times bar rule", "times rule", "bar rule", "rule")
_STYLES = {"warn": "doubt", "fail": "bad", "mark": "fix"}


@dataclass(frozen=True)
class View:
    """What is shown: a snapshot, the run's clock now (ns), and one device or all ("")."""

    snapshot: RunSnapshot
    now: int
    device: str = ""

    @property
    def devices(self) -> tuple[Device, ...]:
        """The devices that are shown."""
        all_of_them = self.snapshot.devices
        return tuple(d for d in all_of_them if self.device in ("", d.name))

    def of(self, scope: str) -> tuple[Device, ...]:
        """The devices of a scope that are shown."""
        return tuple(d for d in self.devices if d.scope == scope)


def elapsed(ns: float) -> str:
    """``3:06``, ``1:02:03``: a time since the run began."""
    total = max(0, int(ns / SECOND_NS))
    minutes, seconds = divmod(total, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


# --- where the run is ---------------------------------------------------------------------------


def where(view: View) -> str:
    """``2nd of 3 launches · 3:06 of about 6:30``; empty before the first event."""
    snapshot = view.snapshot
    if not snapshot.events:
        return ""
    parts = [_which(snapshot)] if snapshot.launches else []
    about = snapshot.expected_s()
    total = f" of about {elapsed(about * SECOND_NS)}" if about and not snapshot.status else ""
    parts.append(elapsed(view.now) + total)
    return " · ".join(parts)


def _which(snapshot: RunSnapshot) -> str:
    """The present launch; at the end, how many there were."""
    if not snapshot.status:
        return snapshot.where()
    ended = snapshot.launch + 1
    some = "" if ended == snapshot.launches else f" of {snapshot.launches}"
    return count(ended, "launch", "es") if not some else f"{ended}{some} launches"


def path(view: View, width: int, *, ascii_only: bool) -> Text:
    """``idle ✔ 10 s ─ startup ✔ 20 s ─ measured ▶ 1:12 ███░░ 4/8 ─ …``, cut to the width."""
    # Some names are two words: without a rule between names they could not be separated.
    for detail in (*_DETAILS, *(f"brief {level}" for level in (*_DETAILS[2:], ""))):
        line = _path(view, detail, ascii_only=ascii_only)
        if line.cell_len <= width:
            break
    line.truncate(width, overflow="ellipsis")
    return line


def _path(view: View, detail: str, *, ascii_only: bool) -> Text:
    snapshot, words = view.snapshot, []
    done = snapshot.done()
    cut = (
        snapshot.steps[-1].key
        if snapshot.steps and snapshot.status in ("failed", "aborted")
        else None
    )
    for phase, part in BLOCKS:
        name = names.phase(phase, short="brief" in detail)
        if (phase, part) == cut:
            words.append(plain(f"{name} {'x' if ascii_only else '✘'}", "bad"))
        elif (phase, part) in done:
            took = f" {short_time(done[phase, part])}" if "times" in detail else ""
            words.append(plain(f"{name} {'+' if ascii_only else '✔'}{took}", "good"))
        elif snapshot.step and snapshot.step.key == (phase, part):
            words.append(present(view, name, with_bar="bar" in detail, ascii_only=ascii_only))
        else:
            words.append(plain(name, "quiet"))
    rule = " ─ " if "rule" in detail else " "
    return Text.assemble(" ", plain(rule, "quiet").join(words))


def present(view: View, name: str, *, with_bar: bool, ascii_only: bool) -> Text:
    """The present phase: its name, its time, its requests."""
    step, progress = view.snapshot.step, view.snapshot.progress
    assert step
    took = short_time(max(0, view.now - step.t0) / SECOND_NS)
    text = plain(f"{name} {'>' if ascii_only else '▶'} {took}", "name")
    if progress.total and progress.stage == step.phase:
        if with_bar:
            text.append(" ").append_text(bar(progress.done, progress.total, ascii_only=ascii_only))
        text.append(f" {progress.done}/{progress.total}")
    return text


def bar(done: int, total: int, width: int = 10, *, ascii_only: bool) -> Text:
    """A bar of ``done`` out of ``total``."""
    full, empty = ("#", ".") if ascii_only else ("█", "░")
    filled = width * min(done, total) // max(total, 1)
    return Text.assemble((full * filled, "good"), (empty * (width - filled), "quiet"))


# --- log ----------------------------------------------------------------------------------------


def log_line(line: LogLine, *, ascii_only: bool) -> Text:
    """``3:06 ! meter rapl was lost``."""
    glyph = {"warn": "!", "fail": "x" if ascii_only else "✘", "mark": "*"}.get(line.level, " ")
    text = plain(f"{elapsed(line.t):>7} ", "quiet")
    return text.append(f"{glyph} ", _STYLES.get(line.level, "")).append_text(
        plain(line.text, _STYLES.get(line.level, ""))
    )
