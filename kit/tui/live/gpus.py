"""The GPUs of a run as a grid: a cell each, with what it does and who uses it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.text import Text

from kit.show.live.occupants import Process, Seen
from kit.show.live.snapshot import Device
from kit.show.render.console import plain, short_memory
from kit.tui.live.cells import TextBlock
from kit.tui.live.tiles import throttled, watts
from kit.tui.live.words import View, bar

_LEAST = 36  # columns of a cell
_BAR = 8
_UNSEEN = Seen()


class GpuGrid(TextBlock):
    """One cell for each GPU that is shown."""

    ALLOW_MAXIMIZE = True

    def show(self, view: View, seen: Mapping[str, Seen], why_not: str, *, ascii_only: bool) -> None:
        """Draw the GPUs; ``why_not`` says why their processes are not listed."""
        gpus = view.of("gpu")
        width, height = self.content_size
        if not gpus:
            self.set_text(plain("no GPU is read in this run", "quiet"))
            return
        columns = max(1, min(len(gpus), (width + 2) // (_LEAST + 2)))
        rows = -(-len(gpus) // columns)
        cell, lines = (width + 2) // columns - 2, max(1, (height - bool(why_not)) // rows)
        cells = [
            list(_cell(view, gpu, seen.get(gpu.name, _UNSEEN), lines, ascii_only=ascii_only))
            for gpu in gpus
        ]
        shown = [plain(why_not, "quiet")] if why_not else []
        for n in range(0, len(cells), columns):
            shown += _beside(cells[n : n + columns], cell, lines if n + columns < len(cells) else 0)
        self.set_text(Text("\n").join(shown))


def _beside(cells: Sequence[Sequence[Text]], width: int, least: int) -> Iterator[Text]:
    """Lines of cells next to each other, each ``width`` columns wide."""
    for n in range(max(least, *map(len, cells))):
        parts = [(cell[n] if n < len(cell) else Text()).copy() for cell in cells]
        for part in parts:
            part.truncate(width, overflow="ellipsis", pad=True)
        yield Text("  ").join(parts)


def _cell(view: View, gpu: Device, seen: Seen, lines: int, *, ascii_only: bool) -> Iterator[Text]:
    """Power and load, then temperature and clock, memory, and the processes that fit."""
    silent = gpu.silent_s(view.now) and not view.snapshot.status
    power = f"no data {int(gpu.silent_s(view.now))} s" if silent else _watts(gpu)
    head = Text.assemble((f"{plain(gpu.name)} ", "name"), (power, "bad" if silent else "name"))
    if seen.utilisation is not None:
        load = bar(seen.utilisation, 100, _BAR, ascii_only=ascii_only)
        head.append(" ").append_text(load).append(f" {seen.utilisation} %")
    body = [line for line in (head, _condition(gpu), _memory(gpu, seen)) if line.plain][:lines]
    # Who disturbs the measurement comes first, and is counted where there is no line for names.
    others = sorted(seen.processes, key=lambda process: process.own is not False)
    room = lines - len(body)
    kept = others if len(others) <= room else others[: max(0, room - 1)]
    if any(process.own is False for process in others[len(kept) :]):
        strangers = sum(process.own is False for process in others)
        head.append(f" ! {strangers} not the run's", "bad")
    yield from body
    yield from (_process(process) for process in kept)
    if room and len(others) > len(kept):
        yield plain(f"  and {len(others) - len(kept)} more", "quiet")


def _condition(gpu: Device) -> Text:
    state, parts = gpu.state, []
    if "temperature" in state:
        parts.append(f"{state['temperature']:.0f} °C")
    if "memory_temperature" in state:
        parts.append(f"memory {state['memory_temperature']:.0f} °C")
    if "sm_clock" in state:
        parts.append(f"{state['sm_clock']:.0f} MHz")
    text = Text(" · ".join(parts))
    why = throttled(gpu)
    return text.append(f" · {why}" if parts else why, "doubt") if why else text


def _memory(gpu: Device, seen: Seen) -> Text:
    used = seen.memory_used if seen.memory_used is not None else gpu.state.get("memory_used")
    if used is None:
        return Text()
    of = f" of {short_memory(seen.memory_total)}" if seen.memory_total else ""
    return Text(f"{short_memory(int(used))}{of} used")


def _process(process: Process) -> Text:
    """``! 4711 python 40.1 GiB``: the mark is of one that is not the run's own."""
    memory = "" if process.memory is None else f" {short_memory(process.memory)}"
    words = f"{process.pid} {plain(process.name)}{memory}"
    if process.own is False:
        return plain(f"! {words} is not the run's", "bad")
    return plain(f"  {words}" + ("" if process.own else " (whose is not known)"), "quiet")


def _watts(gpu: Device) -> str:
    return "–" if gpu.watts is None else watts(gpu.watts)
