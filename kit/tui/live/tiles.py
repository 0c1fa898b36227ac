"""The figures of the Live screen: six tiles, or the same in one or two lines of text."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from rich.text import Text

from kit.core.units import event_reasons
from kit.energy import names
from kit.energy.names import ENERGY_PER, SCOPES
from kit.energy.value import EnergyValue
from kit.show.live.snapshot import Device
from kit.show.render.console import count, plain, short_memory
from kit.tui.live.words import View, present

_ESTIMATED = "estimated"
_PER_TOKEN, _PER_IMAGE = ENERGY_PER["output_token"].short, ENERGY_PER["image"].short
_EFFICIENCY = (_PER_TOKEN, _PER_IMAGE)
_BEFORE = ("–", "measured block", "quiet", "not begun")  # a tile's lines until then
_WEIGHT = (0, 1, 4, 5, 2, 3)  # of the tiles, if only few fit
# Idle clocks are no limit: they are shown as a word.
_HARMLESS = {"idle", "application clocks", "display clocks"}


class Tile(NamedTuple):
    """A figure with its title, and two more lines; ``level`` is the second line's style."""

    title: str
    main: str
    sub: str = ""
    level: str = "quiet"
    more: str = ""


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
    silent = _silence(view)
    sums = [s for s in SCOPES if any(d.watts is not None for d in view.of(s))]
    if not sums:
        return Tile("power", "–", silent or "no reading yet", "bad" if silent else "quiet")
    first, *others = sums
    main = _total(view, first, watts)
    if len(view.of(first)) > 1:
        main += f" {len(view.of(first))} {SCOPES[first].devices}"
    totals = [(s, _total(view, s, whole_watts)) for s in others]
    rest = [f"{SCOPES[s].short} {total}" for s, total in totals if total != "–"]
    if silent:
        return Tile("power", main, silent, "bad", ", ".join(rest[:1]))
    if first == "estimate":
        return Tile("power", main, _ESTIMATED, "doubt")
    if view.device:
        return Tile("power", f"{main} {_whose(view, first)}")
    return Tile(f"power, {SCOPES[first].short}", main, *_two(rest))


def _two(rest: Sequence[str]) -> tuple[str, str, str]:
    """The second line, its style and the third one."""
    return (rest[0] if rest else "", "quiet", rest[1] if len(rest) > 1 else "")


def _whose(view: View, scope: str) -> str:
    """``GPU``, or ``gpu0`` if that is the one shown device."""
    return str(plain(view.device)) if view.device else SCOPES[scope].short


def _total(view: View, scope: str, unit: Callable[[float], str]) -> str:
    """The watts of a scope's devices; None if one of them is silent."""
    heard = [d.watts for d in view.of(scope) if d.watts is not None]
    devices = [d for d in view.of(scope) if d.watts is not None and not d.silent_s(view.now)]
    if view.snapshot.status:
        return unit(sum(heard))
    return unit(sum(d.watts or 0.0 for d in devices)) if devices else "–"


def _silence(view: View) -> str:
    """``gpu1: no data 4 s`` for the device with the longest silence."""
    if view.snapshot.status:
        return ""
    silent = [(d.silent_s(view.now), d.name) for d in view.devices]
    longest, name = max(silent, default=(0.0, ""))
    if not longest:
        return ""
    some = any(not seconds for seconds, _ in silent)
    return f"{plain(name)}: no data {int(longest)} s" if some else f"no data {int(longest)} s"


def _energy(view: View) -> Tile:
    shown = _energies(view)
    measured = [e for e in shown if e.joules is not None]
    if not measured:
        shows_reason = view.snapshot.energy_s > 1 and (view.device or any(e.reason for e in shown))
        return Tile("energy", "–", "no meter's sum") if shows_reason else Tile("energy", *_BEFORE)
    first, others = measured[0], [e for e in measured[1:] if e.status == "measured"]
    estimate = first.status == "estimated"
    main = joules(first) if estimate else f"{joules(first)} {_whose(view, first.scope)}"
    level = "doubt" if estimate or first.u_reading is None else ""
    more = f"{SCOPES[others[0].scope].short} {joules(others[0])}" if others else ""
    return Tile("energy", main, _ESTIMATED if estimate else _doubt(first), level, more)


def _energies(view: View) -> tuple[EnergyValue, ...]:
    """Each scope's energy so far; with one shown device, that device's."""
    if not view.device:
        return view.snapshot.energy
    energies = view.snapshot.device_energy.get(view.device)
    return (energies,) if energies else ()


def joules(value: EnergyValue) -> str:
    """``61.3 kJ``; ``≈`` before an energy that is estimated or has no known uncertainty."""
    assert value.joules is not None
    unsure = "≈ " if value.u_reading is None or value.status == "estimated" else ""
    return unsure + energy(value.joules)


def _doubt(value: EnergyValue) -> str:
    """The standard uncertainty as text, in the unit of its value."""
    if value.u_reading is None or value.joules is None:
        return "± unknown"
    u = math.hypot(value.u_reading, value.u_sensor or 0.0)
    size, unit = _unit(value.joules)
    return f"± {u / size:.2g} {unit}"


def _temperature(view: View) -> Tile:
    core, memory = _of(view.devices, "temperature"), _of(view.devices, "memory_temperature")
    if not core:
        return Tile("temperature", "–", "no sensor", more="is read")
    sub = f"memory {_range(memory, '°C')}" if memory else ""
    return Tile("temperature", _range(core, "°C"), sub)


def _of(devices: Iterable[Device], key: str) -> list[float]:
    return sorted(d.state[key] for d in devices if isinstance(d.state.get(key), int | float))


def _range(values: Sequence[float], unit: str) -> str:
    """``63–70 °C``: least and greatest of sorted values, if they differ."""
    low, high = f"{values[0]:.0f}", f"{values[-1]:.0f}"
    return f"{high} {unit}" if low == high else f"{low}–{high} {unit}"


def _clocks(view: View) -> Tile:
    clocks = _of(view.devices, "sm_clock")
    if not clocks:
        return Tile("clocks", "–", "no GPU clock", more="is read")
    main = _range(clocks, "MHz")
    reasons = _reasons(view.devices)
    level = "quiet" if set(reasons) <= _HARMLESS else "doubt"
    used = _of(view.devices, "memory_used")
    more = f"{short_memory(int(used[-1]))} used" if used else ""
    return Tile("clocks", main, ", ".join(reasons) or "not limited", level, more)


def _reasons(devices: Iterable[Device]) -> Sequence[str]:
    """Why their clocks are not higher, in words."""
    mask = 0
    for device in devices:
        mask |= int(device.state.get("event_reasons", 0))
    return event_reasons(mask)


def throttled(device: Device) -> str:
    """``power cap``: what holds a device's clocks down; empty if nothing does."""
    return ", ".join(reason for reason in _reasons([device]) if reason not in _HARMLESS)


def _throughput(view: View) -> Tile:
    progress = view.snapshot.progress
    if not progress.total:
        return Tile("throughput", "–", "no request yet")
    done = f"{progress.done}/{progress.total} done"
    if progress.requests_s is None:
        return Tile("throughput", "–", done)
    requests = f"{number(progress.requests_s)} req/s"
    if progress.images_s is not None:
        return Tile("throughput", f"{number(progress.images_s)} images/s", requests, more=done)
    if progress.tokens_s is None:
        return Tile("throughput", requests, done)
    return Tile("throughput", f"{number(progress.tokens_s)} tok/s", requests, more=done)


def _efficiency(view: View) -> Tile:
    progress = view.snapshot.progress
    if progress.images is not None:
        title, unit, joules = _PER_IMAGE, _PER_IMAGE, progress.joules_image
    else:
        title, unit, joules = _PER_TOKEN, "J/tok", progress.joules_token
    if joules is None:
        if not progress.done or progress.stage != "measured":
            return Tile(title, *_BEFORE)
        is_counted = progress.images is not None or progress.tokens is not None
        return Tile(title, "–", "energy" if is_counted else "tokens", more="not counted")
    more = f"of launch {view.snapshot.launch}" if view.snapshot.status else "so far"
    if progress.images is not None:
        more = f"of {count(progress.images, 'image')}"
    return Tile(title, f"{number(joules)} {unit}", _shared(view, progress.joules_scope), more=more)


def _shared(view: View, scope: str) -> str:
    """``GPU``; ``all GPUs`` next to figures of one device: all GPUs together do the work."""
    many = sum(d.scope == scope for d in view.snapshot.devices) > 1
    if view.device and many:
        return f"all {SCOPES[scope].devices}"
    return names.scope(scope, short=True)


def number(value: float) -> str:
    """Three significant digits, with thousands separators: ``3,402``, ``0.189``."""
    return f"{value:,.0f}" if value >= 100 else f"{value:#.3g}".rstrip(".")


def watts(value: float) -> str:
    """``412 W``, ``34.2 W``."""
    return f"{value:,.0f} W" if value >= 100 else f"{value:.1f} W"


def whole_watts(value: float) -> str:
    """``34 W``."""
    return f"{value:,.0f} W"


def energy(value: float) -> str:
    """``61.3 kJ``, ``812 J``."""
    size, unit = _unit(value)
    return f"{value / size:.3g} {unit}"


def _unit(value: float) -> tuple[float, str]:
    return next(((s, u) for s, u in ((1e6, "MJ"), (1e3, "kJ")) if value >= s * 0.9995), (1.0, "J"))


def figures(shown: Sequence[Tile], width: int, lines: int) -> Text:
    """The tiles in ``lines`` lines of text, the most important first; the rest is left out."""
    parts = [_one(shown[n]) for n in _WEIGHT if shown[n].main != "–" or shown[n].level == "bad"]
    full, line = [], Text(" ")
    for part in parts or [plain("nothing read yet", "quiet")]:
        if line.cell_len > 1 and line.cell_len + part.cell_len + 3 > width:
            full.append(line)
            line = Text(" ")
        line.append("" if line.cell_len == 1 else " · ", "quiet").append_text(part)
    return Text("\n").join([*full, line][:lines])


def _led(tile: Tile) -> str:
    """``GPU 120 W``, ``0.19 J/tok GPU``: a figure with its scope, for use without a frame."""
    if tile.title in _EFFICIENCY:
        return f"{tile.main} {tile.sub}"
    whose = tile.title.removeprefix("power, ") if tile.title.startswith("power, ") else ""
    return tile.main if whose in tile.main else f"{whose} {tile.main}"


def _one(tile: Tile) -> Text:
    text = plain(_led(tile), "name")
    if tile.title in _EFFICIENCY:
        return text
    # Clocks and temperatures get space only if something is wrong with them.
    brief = tile.title in ("clocks", "temperature") and tile.level == "quiet"
    return text if brief or not tile.sub else text.append(f" {tile.sub}", tile.level)


def status_line(view: View, shown: Sequence[Tile], width: int, *, ascii_only: bool) -> Text:
    """One line: the phase, and as many figures as fit, none of them cut."""
    parts = [_brief(shown[n]) for n in _WEIGHT if shown[n].main != "–" or shown[n].level == "bad"]
    step = view.snapshot.step
    for short in (False, True):
        head = Text(" ")
        if step:
            name = names.phase(step.phase, short=short)
            head.append_text(present(view, name, with_bar=False, ascii_only=ascii_only))
        if not parts or head.cell_len + parts[0].cell_len <= width:
            break
    line = head
    for part in parts:
        if line.cell_len + part.cell_len > width:
            break
        line.append_text(part)
    line.truncate(width, overflow="ellipsis")
    return line


def _brief(tile: Tile) -> Text:
    """A figure of the one line, with a note if it is estimated or silent."""
    silent = f" {tile.sub}" if tile.level == "bad" else ""
    guessed = " est." if tile.sub == _ESTIMATED else ""
    return Text(f" · {_led(tile)}").append(guessed, "doubt").append(silent, "bad")
