"""The summary of a run as text, for the panel next to the list of runs."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace

from rich.console import Group, RenderableType
from rich.text import Text

from kit.energy.names import ENERGY_PER
from kit.show.render.console import count, facts, plain
from kit.show.runlist import Row
from kit.show.runsummary import RunSummary
from kit.tui.screen import badge
from kit.tui.states import state_of

SHORT = 12
_MOST = 64
_NOTICES = 6


class RunSummaries:
    """The summaries of the runs that were shown last."""

    def __init__(self) -> None:
        self._summaries: OrderedDict[str, RunSummary] = OrderedDict()

    def get(self, run: str) -> RunSummary | None:
        """The summary of a run; None if unknown."""
        return self._summaries.get(run)

    def put(self, run: str, summary: RunSummary) -> None:
        """Keep the summary of a run, and drop the oldest."""
        self._summaries[run] = summary
        while len(self._summaries) > _MOST:
            self._summaries.popitem(last=False)


def identity(row: Row, summary: RunSummary | None, replays: tuple[str, ...]) -> RenderableType:
    """The panel's text above the curve."""
    summary = summary or RunSummary()
    lines: list[RenderableType] = [
        Text("  ").join([state_of(row.status), plain(f"{row.started} UTC" if row.started else "")]),
        facts(
            [("run", row.run[:SHORT]), *_checked(row), *_numbers(row), *_about(row), *summary.facts]
        ),
        *([badge("warn", f"{count(len(summary.notices), 'caveat')}")] if summary.notices else []),
        *([plain(own)] if (own := replace(row, note="").words) else []),
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
        yield ENERGY_PER["output_token"].short, row.stated
    if row.per_image:
        yield ENERGY_PER["image"].short, row.per_image
    if row.tokens_per_s is not None:
        yield "tokens/s", row.throughput


def caveats(summary: RunSummary) -> RenderableType:
    """The panel's text below the curve: what to know before believing the numbers."""
    shown = summary.notices[:_NOTICES]
    lines = [Text.assemble(("! ", "doubt"), plain(notice)) for notice in shown]
    if more := len(summary.notices) - len(shown):
        lines.append(plain(f"and {more} more", "quiet"))
    if summary.no_power:
        lines.insert(0, plain(f"no power curve: {summary.no_power}", "quiet"))
    return Group(*lines)
