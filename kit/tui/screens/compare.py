"""Compared runs: differences, every metric with its ratio, and the power of each."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from string import ascii_uppercase
from typing import ClassVar

from rich.console import Group, RenderableType
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widget import Widget
from textual.widgets import DataTable, Static

from kit.energy.picture import Curve, curve_of
from kit.judge.compare import design
from kit.judge.contrast import Contrast, Difference, Side, contrast, differences, side_of
from kit.show.mean import SHORT_LEGEND
from kit.show.render.console import count, plain
from kit.show.render.verdicts import MEANINGS
from kit.tui.comparison import (
    FEW,
    MetricRow,
    differences_table,
    fault_of,
    metrics,
    metrics_table,
    name_of,
)
from kit.tui.dialogs import Choose
from kit.tui.metrictable import MetricTable
from kit.tui.output import argument, as_text, short, write_report
from kit.tui.screen import KitScreen, badge
from kit.tui.widgets.curves import Curves, colour_of

_ORDERS = ("primary", "ratio", "name")
_ORDER_WORDS = {"primary": "primary first", "ratio": "furthest first", "name": "by name"}
_WIDE = 120  # from this width on the legend fits into the title
_TOO_FEW = (
    "Two runs are needed to compare. On Home, mark runs with space, then press c.\n"
    "The first that is marked is the baseline."
)


class CompareScreen(KitScreen):
    """``kit compare`` for any number of runs.

    Args:
        runs: the sealed runs; the first is the baseline.
    """

    AUTO_FOCUS = "#metrics"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("b", "baseline", "Baseline", id="compare-baseline"),
        Binding("d", "all", "All differences", id="compare-all"),
        Binding("o", "sort", "Sort", id="compare-sort"),
        Binding("t", "design", "By design", id="compare-design"),
        Binding("x", "remove", "Remove", id="compare-remove"),
        Binding("h", "report", "HTML report", id="compare-report"),
        Binding("v", "verify", "Verify", id="compare-verify"),
    ]

    def __init__(self, runs: Sequence[Path]) -> None:
        super().__init__()
        self._runs = [(path, _letter(n)) for n, path in enumerate(runs)]
        self._first = 0
        self._order = 0
        self._all = False
        self._by: list[str] = []  # fields that differ by design
        self._sides: dict[str, Side] = {}  # by letter, so that nothing is read twice
        self._found: Contrast | None = None
        self._lines: list[MetricRow] = []
        self._entitle()

    def body(self) -> Iterable[Widget]:
        with VerticalScroll(id="panels", can_focus=False):
            yield Static(id="note", markup=False)
            with VerticalScroll(id="differs", classes="panel") as differs:
                differs.border_title = "What differs"
                yield Static(id="differences", markup=False)
            table = MetricTable(id="metrics", classes="panel")
            table.border_title = "Metrics"
            yield table
            letters = self.kit.ascii_only or self.app.no_color
            curves = Curves(letters, id="power", classes="panel")
            curves.border_title = "Power, W, over s since the first measured block"
            yield curves

    def on_mount(self) -> None:
        super().on_mount()
        self._look()

    # --- looking ----------------------------------------------------------------------------

    def _entitle(self) -> None:
        """Crumbs and command, for the remaining runs."""
        self.crumbs = f"Compare {count(len(self._runs), 'run')}"
        self.command = self._same_command()

    def _same_command(self) -> str:
        """``kit compare`` of the runs that can be read, the baseline first; none of one run."""
        if len(self._runs) < 2:
            return ""
        baseline = self._runs[self._first]
        broken = {side.letter for side in self._sides.values() if side.fault}
        others = [run for run in self._runs if run is not baseline and run[1] not in broken]
        words = [argument(path) for path, _ in (baseline, *others)]
        words += [word for field in self._by for word in ("--by", field)]
        return f"kit compare {shlex.join(words)}"

    def _other(self) -> tuple[Path, str]:
        """The run under the cursor if it was compared, else the first that was."""
        others = [run for run in self._runs if run is not self._runs[self._first]]
        compared = [side.letter for side in self._found.others] if self._found else []
        wanted = [self._under_cursor(), *compared]
        letters = {letter: (path, letter) for path, letter in others}
        return next((letters[x] for x in wanted if x in compared and x in letters), others[0])

    def _look(self) -> None:
        self._entitle()
        if len(self._runs) < 2:
            self._too_few()
            return
        self.state = badge("running", "comparing")
        runs, first, sides = list(self._runs), self._first, dict(self._sides)
        by = tuple(self._by)
        self.fetch(lambda: _read(runs, first, sides, by), self._show, failed=self._failed)

    def _too_few(self) -> None:
        self._found, self._lines = None, []
        self.state = badge("skip", "nothing to compare")
        self._note(Text(_TOO_FEW))
        self.set_class(True, "-few")
        self.refresh_bindings()

    def _failed(self, error: Exception) -> None:
        self.state = badge("fail", "cannot be compared")
        self._note(plain(f"{type(error).__name__}: {error}", "bad"))
        self.show_error(error)

    def _note(self, text: Text) -> None:
        note = self.query_one("#note", Static)
        note.update(text)
        note.display = bool(text)

    def _show(self, read: tuple[Contrast, list[Curve]]) -> None:
        contrast, curves = read
        self._found = contrast
        self._sides = {side.letter: side for side in contrast.sides}
        faults = [side for side in contrast.sides if side.fault]
        self._note(_legend(contrast))
        self.state = self._verdict(contrast, len(faults))
        self._show_differences()
        self._show_metrics()
        self._show_power(curves)
        self._entitle()
        self.refresh_bindings()

    def _verdict(self, contrast: Contrast, faults: int) -> Text:
        if faults:
            return badge("fail", f"{count(faults, 'run')} left out")
        return badge("ok", f"baseline: {name_of(contrast.baseline)}")

    def _show_differences(self) -> None:
        assert self._found is not None
        every = differences(self._found)
        some = every if self._all else every[:FEW]
        title = f"What differs: {count(len(every), 'fact')}"
        if len(every) > FEW:
            title += " (d: first ten)" if self._all else f", {FEW} shown (d: all)"
        self.query_one("#differs").border_title = title
        room = max(16, (self.size.width - 52) // (1 + len(self._found.others)))
        shown: RenderableType = differences_table(self._found, some, 400 if self._all else room)
        if not every:
            fine = "nothing that was recorded differs"
            shown = plain(fine if self._found.others else "nothing is compared", "quiet")
        self.query_one("#differences", Static).update(shown)

    def _show_metrics(self) -> None:
        assert self._found is not None
        self._lines = metrics(self._found, _ORDERS[self._order])
        self.query_one(MetricTable).show(self._lines)
        self._entitle_metrics()

    def _entitle_metrics(self) -> None:
        """The title of the metrics: baseline, order, and the meaning of ± if it is shown."""
        assert self._found is not None
        order = _ORDER_WORDS[_ORDERS[self._order]]
        title = f"Metrics against {name_of(self._found.baseline)}, {order}"
        table = self.query_one(MetricTable)
        table.border_title = plain(
            f"{title}: {SHORT_LEGEND}" if self.size.width >= _WIDE else title
        )

    def _show_power(self, curves: list[Curve]) -> None:
        power = self.query_one("#power", Curves)
        power.show(curves)
        signs = (plain(f"▞ {c.letter} {c.scope}", colour_of(c.letter)) for c in curves)
        power.border_subtitle = Text("  ").join(signs)

    def on_data_table_row_highlighted(self, moved: DataTable.RowHighlighted) -> None:
        """Show the reason of a verdict in full, if its column is hidden."""
        rows = self._lines[moved.cursor_row : moved.cursor_row + 1]
        moved.data_table.border_subtitle = plain(rows[0].reason if rows else "")
        self._entitle()

    def on_resize(self) -> None:
        """Cut values to the new width."""
        if self._found and self.is_mounted:
            self._show_differences()
            self._entitle_metrics()

    # --- acting -----------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        if action in ("all", "sort", "report", "design"):
            return True if self._found and self._found.others else None
        if action == "baseline":
            return True if len(self._runs) > 1 else None
        return True

    def action_baseline(self) -> None:
        """Make the next run the baseline."""
        if len(self._runs) > 1:
            self._first = (self._first + 1) % len(self._runs)
            self._look()

    def action_all(self) -> None:
        """All differences in full, or the first ten."""
        self._all = not self._all
        if self._found:
            self._show_differences()

    def action_design(self) -> None:
        """Choose a difference that is by design, or is no longer: it is compared all the same."""
        if not self._found:
            return
        facts = [one for one in differences(self._found) if one.meaning != "recorded"]
        answers = [("", "Leave it as it is"), *((one.fact, _choice(one)) for one in facts)]
        title = "What differs by design?"
        self.app.push_screen(Choose(title, "", answers), self._designed)

    def _designed(self, fact: str | None) -> None:
        if not fact:
            return
        field = fact.removeprefix(design.SPEC)
        without = [one for one in self._by if not design.covers([one], field)]
        self._by = without if len(without) < len(self._by) else [*self._by, field]
        self._look()

    def action_sort(self) -> None:
        """The primary metric first, the furthest ratio first, or by name."""
        self._order = (self._order + 1) % len(_ORDERS)
        if self._found:
            self._show_metrics()

    def action_remove(self) -> None:
        """Remove the run under the cursor; without rows the last one, never the baseline."""
        if len(self._runs) < 2:
            return
        baseline = self._runs[self._first][1]
        others = [letter for _, letter in self._runs if letter != baseline]
        gone = self._under_cursor() or others[-1]
        self._runs = [run for run in self._runs if run[1] != gone]
        letters = [letter for _, letter in self._runs]
        self._first = letters.index(baseline) if baseline in letters else 0
        self._look()

    def _under_cursor(self) -> str:
        """The letter of the run that the cursor is on, whatever has the focus."""
        line = self.query_one(MetricTable).current if self._lines else None
        return line.side.letter if line else ""

    def action_report(self) -> None:
        """Write the HTML report of the run under the cursor against the baseline, here."""
        if self._found and self._found.others:
            write_report(self, self._other()[0], self._found.baseline.path)

    def action_verify(self) -> None:
        """The verdict on the run under the cursor."""
        side = self._sides.get(self._under_cursor())
        if side:
            self.kit.show_verify(side.path)

    def copy_text(self) -> str:
        """Both tables as text."""
        if self._found is None:
            return self.command
        names = "\n".join(f"{s.letter}  {short(s.path)}  {fault_of(s)}" for s in self._found.sides)
        differing = differences_table(self._found, differences(self._found))
        return as_text(Text(names), Text(), Group(metrics_table(self._lines), Text(), differing))


def _letter(number: int) -> str:
    """``A`` to ``Z``, then ``A1``, ``B1``, …"""
    round_, place = divmod(number, len(ascii_uppercase))
    return ascii_uppercase[place] + (str(round_) if round_ else "")


def _legend(contrast: Contrast) -> Text:
    """``A 639521454908 baseline  B 8177eb3e46ab``, and below it unreadable runs."""
    text = Text()
    for side in contrast.sides:
        text.append_text(plain(side.letter, f"bold {colour_of(side.letter)}"))
        text.append_text(plain(f" {short(side.path)}"))
        text.append(" baseline" if side is contrast.baseline else "", "quiet").append("  ")
    for side in contrast.sides:
        if side.fault:
            text.append("\n").append_text(badge("fail", name_of(side)))
            text.append_text(plain(f"  {fault_of(side)}"))
    return text


def _choice(one: Difference) -> str:
    """``spec: arrivals.concurrency (asked, other work)``, and below it the values."""
    values = ", ".join(f"{letter} {value[:40]}" for letter, value in one.values.items())
    return f"{one.fact} ({MEANINGS[one.meaning][1]})\n{values}"


def _read(
    runs: Sequence[tuple[Path, str]], first: int, loaded: dict[str, Side], by: Sequence[str]
) -> tuple[Contrast, list[Curve]]:
    sides = [loaded.get(letter) or side_of(path, letter) for path, letter in runs]
    curves = [curve_of(side.letter, side.records) for side in sides if side.records]
    return contrast(sides, sides[first], by), [curve for curve in curves if curve]
