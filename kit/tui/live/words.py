"""What the Live screen says, as texts made from a snapshot alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rich.text import Text

from kit.model import EnergyValue
from kit.phases import BLOCKS
from kit.render.console import plain, short_time
from kit.snapshot import NS, Device, Line, Snapshot, word
from kit.units import event_reasons

_SCOPES = ("gpu", "wall", "cpu", "estimate")
_NAMES = {"gpu": "GPU", "wall": "wall", "cpu": "CPU", "estimate": "host est."}
_STYLES = {"ok": "", "warn": "doubt", "fail": "bad", "mark": "fix"}
# Idle clocks hold nothing back: they are told in words, and not as a limit.
_HARMLESS = {"idle", "application clocks", "display clocks"}


@dataclass(frozen=True)
class View:
    """What is looked at: a snapshot, the run's clock now (ns), and one device or all ("")."""

    snapshot: Snapshot
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


class Tile(NamedTuple):
    """A figure with its title, and a second line; ``level`` is that line's."""

    title: str
    main: str
    sub: str = ""
    level: str = "quiet"


def elapsed(ns: float) -> str:
    """``3:06``, ``1:02:03``: a time since the run began."""
    whole = max(0, int(ns / NS))
    minutes, seconds = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


# --- where the run is ---------------------------------------------------------------------------


def where(view: View) -> str:
    """``launch 2 of 3 · 3:06 of about 6:30``."""
    seen = view.snapshot
    parts = [f"launch {seen.launch + 1} of {seen.launches}"] if seen.launches else []
    parts += [] if seen.steps else ["preparing"]
    about = seen.expected_s()
    total = f" of about {elapsed(about * NS)}" if about and not seen.status else ""
    parts.append(elapsed(view.now) + total)
    return " · ".join(parts)


def path(view: View, width: int, *, ascii_only: bool) -> Text:
    """``idle ✔ 10 s ─ startup ✔ 20 s ─ measured ▶ 1:12 ███░░ 4/8 ─ …`` as far as it fits."""
    for detail in ("times bar rule", "times rule", "bar rule", "rule", "times", ""):
        line = _path(view, detail, ascii_only=ascii_only)
        if line.cell_len <= width:
            break
    line.truncate(width, overflow="ellipsis")
    return line


def _path(view: View, detail: str, *, ascii_only: bool) -> Text:
    seen, words = view.snapshot, []
    done = seen.done()
    for phase, part in BLOCKS:
        name = word(phase)
        if (phase, part) in done:
            took = f" {short_time(done[phase, part])}" if "times" in detail else ""
            words.append(Text(f"{name} {'+' if ascii_only else '✔'}{took}", "good"))
        elif seen.step and seen.step.key == (phase, part):
            words.append(_present(view, name, with_bar="bar" in detail, ascii_only=ascii_only))
        else:
            words.append(Text(name, "quiet"))
    rule = " ─ " if "rule" in detail else "  " if "times" in detail else " "
    return Text.assemble(" ", Text(rule, "quiet").join(words))


def _present(view: View, name: str, *, with_bar: bool, ascii_only: bool) -> Text:
    step, progress = view.snapshot.step, view.snapshot.progress
    assert step
    took = short_time(max(0, view.now - step.t0) / NS)
    text = Text(f"{name} {'>' if ascii_only else '▶'} {took}", "name")
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


# --- figures ------------------------------------------------------------------------------------


def tiles(view: View) -> tuple[Tile, ...]:
    """Power, energy so far, temperature, clocks, throughput, energy per token."""
    return (
        _power(view),
        _energy(view),
        _temperature(view),
        _clocks(view),
        _throughput(view),
        _efficiency(view),
    )


def _power(view: View) -> Tile:
    sums = [s for s in _SCOPES if any(d.watts is not None for d in view.of(s))]
    title = "power"
    if not sums:
        return Tile(title, "–", _silence(view) or "nothing read yet", "quiet")
    first, rest = sums[0], sums[1:]
    devices = view.of(first)
    many = f"{len(devices)} " if len(devices) > 1 else ""
    title = f"power, {many}{_NAMES[first]}{'s' * bool(many)}" if first != "estimate" else "power"
    main = watts(sum(d.watts or 0.0 for d in devices))
    silent = _silence(view)
    if silent:
        return Tile(title, main, silent, "bad")
    if first == "estimate":
        return Tile(title, main, "estimated", "doubt")
    others = (f"{_short(s)} {sum(d.watts or 0.0 for d in view.of(s)):,.0f} W" for s in rest)
    return Tile(title, main, " ".join(others))


def _short(scope: str) -> str:
    return "est. host" if scope == "estimate" else _NAMES[scope]


def _silence(view: View) -> str:
    """``gpu1: no data 4 s`` for the device that is silent longest."""
    if view.snapshot.status:
        return ""
    silent = [(d.silent_s(view.now), d.name) for d in view.devices]
    longest, name = max(silent, default=(0.0, ""))
    if not longest:
        return ""
    who = f"{plain(name)}: " if len(view.devices) > 1 and not all(s for s, _ in silent) else ""
    return f"{who}no data {int(longest)} s"


def _energy(view: View) -> Tile:
    known = [e for e in view.snapshot.energy if e.joules is not None]
    if not known:
        reasons = [e.reason for e in view.snapshot.energy if e.reason]
        waits = "no sum to show" if reasons and view.snapshot.energy_s > 1 else "not begun"
        return Tile("energy so far", "–", waits)
    first = known[0]
    name = _NAMES[first.scope]
    return Tile(
        f"energy, {name}", joules(first), _doubt(first), "doubt" if first.u_repeat is None else ""
    )


def joules(value: EnergyValue) -> str:
    """``61.3 kJ``; ``≈`` before what has no known uncertainty or is estimated."""
    assert value.joules is not None
    unsure = "≈ " if value.u_repeat is None or value.status == "estimated" else ""
    return unsure + energy(value.joules)


def _doubt(value: EnergyValue) -> str:
    if value.u_repeat is None:
        return "from power shown"
    u = (value.u_repeat**2 + (value.u_sensor or 0.0) ** 2) ** 0.5
    told = f"± {energy(u)}"
    return f"{told} est." if value.status == "estimated" else told


def _temperature(view: View) -> Tile:
    hottest = _highest(view.devices, "temperature")
    memory = _highest(view.devices, "memory_temperature")
    main = "–" if hottest is None else f"{hottest:.0f} °C"
    sub = "" if memory is None else f"memory {memory:.0f} °C"
    return Tile("temperature", main, sub or ("" if hottest is not None else "not told"))


def _highest(devices: Iterable[Device], key: str) -> float | None:
    found = [d.state[key] for d in devices if isinstance(d.state.get(key), int | float)]
    return max(found, default=None)


def _clocks(view: View) -> Tile:
    clocks = sorted(d.state["sm_clock"] for d in view.devices if "sm_clock" in d.state)
    if not clocks:
        return Tile("clocks", "–", "not told")
    low, high = clocks[0], clocks[-1]
    main = f"{high:.0f} MHz" if low == high else f"{low:.0f}–{high:.0f} MHz"
    mask = 0
    for device in view.devices:
        mask |= int(device.state.get("event_reasons", 0))
    reasons = event_reasons(mask)
    harmless = set(reasons) <= _HARMLESS
    return Tile("clocks", main, ", ".join(reasons) or "not held", "quiet" if harmless else "doubt")


def _throughput(view: View) -> Tile:
    progress = view.snapshot.progress
    if not progress.total:
        return Tile("throughput", "–", "not begun")
    done = f"{progress.done}/{progress.total} done"
    if progress.requests_s is None:
        return Tile("throughput", "–", done)
    requests = f"{number(progress.requests_s)} req/s"
    if progress.tokens_s is None:
        return Tile("throughput", requests, done)
    return Tile("throughput", f"{number(progress.tokens_s)} tok/s", requests)


def _efficiency(view: View) -> Tile:
    progress = view.snapshot.progress
    if progress.joules_token is None:
        why = "tokens not fixed" if progress.done and progress.tokens is None else "not begun"
        return Tile("J per token", "–", why)
    name = _NAMES.get(progress.joules_scope, "")
    return Tile("J per token", f"{number(progress.joules_token)} J/tok", f"{name}, so far")


def number(value: float) -> str:
    """Three significant digits, thousands apart: ``3,402``, ``0.189``."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def watts(value: float) -> str:
    """``412 W``, ``34.2 W``."""
    return f"{value:,.0f} W" if value >= 100 else f"{value:.1f} W"


def energy(value: float) -> str:
    """``61.3 kJ``, ``812 J``."""
    for unit, size in (("MJ", 1e6), ("kJ", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}" if value < 1000 * size else f"{value / size:.0f} MJ"
    return f"{value:.3g} J"


def figures(shown: Sequence[Tile], width: int, lines: int) -> Text:
    """The tiles in ``lines`` lines of text, what does not fit left out."""
    parts = [_one(tile) for tile in shown if tile.main != "–"] or [
        Text("nothing read yet", "quiet")
    ]
    found, line = [], Text(" ")
    for part in parts:
        if line.cell_len > 1 and line.cell_len + part.cell_len + 3 > width:
            found.append(line)
            line = Text(" ")
        line.append("" if line.cell_len == 1 else " · ", "quiet").append_text(part)
    return Text("\n").join([*found, line][:lines])


def _led(tile: Tile) -> str:
    """``GPU 120 W``: a power without its frame says whose it is."""
    whose = tile.title.partition(", ")[2]
    return f"{whose} {tile.main}" if whose and tile.title.startswith("power") else tile.main


def _one(tile: Tile) -> Text:
    text = Text(_led(tile), "name")
    return text.append(f" {tile.sub}", tile.level) if tile.sub else text


# --- log ----------------------------------------------------------------------------------------


def log_line(line: Line, *, ascii_only: bool) -> Text:
    """``3:06 ! meter rapl was lost``."""
    glyph = {"warn": "!", "fail": "x" if ascii_only else "✘", "mark": "*"}.get(line.level, " ")
    text = Text(f"{elapsed(line.t):>7} ", "quiet")
    return text.append(f"{glyph} ", _STYLES[line.level]).append_text(
        plain(line.text, _STYLES[line.level])
    )


def status_line(view: View, shown: Sequence[Tile], width: int, *, ascii_only: bool) -> Text:
    """Everything in one line: the phase, and the figures as far as they fit."""
    step = view.snapshot.step
    line = Text(" ")
    if step:
        line.append_text(_present(view, word(step.phase), with_bar=False, ascii_only=ascii_only))
    for tile in shown:
        if tile.main != "–":
            silent = tile.sub if tile.level == "bad" else ""
            line.append(f" · {_led(tile)}").append(f" {silent}" if silent else "", "bad")
    line.truncate(width, overflow="ellipsis")
    return line
