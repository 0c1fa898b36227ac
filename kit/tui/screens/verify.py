"""The verdict on a sealed run by level, and its verdict as a replay."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.widget import Widget
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from kit.core.errors import KitError
from kit.judge import admission
from kit.judge.verify import LEVELS, Verdict
from kit.judge.verify.integrity import Altered, altered
from kit.show.render.console import plain
from kit.show.render.verdicts import comparison_view
from kit.show.render.verification import (
    altered_table,
    claim_view,
    level_view,
    summary,
    unshown_view,
    verdict_view,
    verdict_word,
)
from kit.store.store import Store
from kit.tui.output import argument, as_text, short, write_report
from kit.tui.replay import replay
from kit.tui.screen import KitScreen, badge

if TYPE_CHECKING:
    from kit.judge.compare import Comparison


class VerifyScreen(KitScreen):
    """``kit verify`` of a run, and how it reproduces its original.

    Args:
        run: the sealed run.
        original: the run that it replays; without it, the parent in its manifest.
    """

    AUTO_FOCUS = "#levels"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "unfold", "Unfold", priority=True, id="verify-unfold"),
        Binding("d", "details", "All details", id="verify-details"),
        Binding("r", "replay", "Replay", id="verify-replay"),
        Binding("c", "compare", "Compare", id="verify-compare"),
        Binding("h", "report", "HTML report", id="verify-report"),
        Binding("R", "again", "Verify again", show=False, id="verify-again"),
    ]

    def __init__(self, run: Path, original: Path | None = None) -> None:
        super().__init__()
        self._run, self._original = run, original
        self._found: Verdict | None = None
        self._altered: tuple[Altered, ...] = ()
        self._judged: Comparison | None = None
        self._open: set[str] = set()
        self.crumbs = f"{short(run)} › Verify"
        self.command = f"kit verify {argument(run)}"

    def body(self) -> Iterable[Widget]:
        with Horizontal(id="parts"):
            levels = OptionList(id="levels", classes="panel", markup=False)
            levels.border_title = "Verify"
            yield levels
            side = VerticalScroll(Static(id="judged", markup=False), id="side", classes="panel")
            side.display = False
            yield side

    def on_mount(self) -> None:
        super().on_mount()
        self.action_again()

    # --- looking ----------------------------------------------------------------------------

    def action_again(self) -> None:
        """Check the whole run again."""
        self._found = self._judged = None
        self.workers.cancel_group(self, "judge")  # it is of what was found before
        self.query_one("#side").display = False
        self.state = badge("running", "verifying")
        run = self._run
        self.fetch(lambda: _verified(run), self._show, group="verify", failed=self._failed)

    def _failed(self, error: Exception) -> None:
        self.state = badge("fail", "cannot be verified")
        message = (
            error.message if isinstance(error, KitError) else f"{type(error).__name__}: {error}"
        )
        levels = self.query_one("#levels", OptionList)
        levels.clear_options()
        levels.add_option(Option(plain(message, "bad"), id="claim"))
        self.show_error(error)

    def _show(self, verified: tuple[Verdict, tuple[Altered, ...]]) -> None:
        verdict, self._altered = verified
        self._found = verdict
        title = plain(f"Verify: {verdict_word(verdict)}, {summary(verdict)}")
        self.query_one("#levels", OptionList).border_title = title
        self.state = badge("ok" if verdict.passed else "fail", verdict_word(verdict))
        self._fill(verdict)
        self.refresh_bindings()
        self._look_for_original(verdict)

    def _fill(self, verdict: Verdict) -> None:
        levels = self.query_one("#levels", OptionList)
        levels.clear_options()
        levels.add_options([Option(self._level(level), id=level) for level in LEVELS])
        content = Group(claim_view(verdict), Text(), unshown_view(verdict))
        levels.add_option(Option(content, id="claim"))
        failed = [check.level for check in verdict.failures]
        levels.highlighted = list(LEVELS).index(failed[0]) if failed else 0

    def _level(self, level: str) -> RenderableType:
        assert self._found is not None
        lines = level_view(self._found, level, LEVELS[level], details=level in self._open)
        if level == "L1" and self._altered:
            return Group(lines, Padding(altered_table(self._altered), (0, 0, 0, 6)))
        return lines

    # --- the original -----------------------------------------------------------------------

    def _look_for_original(self, verdict: Verdict) -> None:
        run, original, store = self._run, self._original, self.kit.store
        if not verdict.passed:
            if original:
                self._say("not judged: a run that does not verify proves nothing", "bad")
            return
        self.fetch(
            lambda: _judged(store, run, original),
            self._show_judged,
            group="judge",
            failed=self._not_judged,
        )

    def _show_judged(self, result: tuple[Path, Comparison] | None) -> None:
        if result is None:
            return
        self._original, self._judged = result
        self._say(comparison_view(self._judged))
        self.refresh_bindings()

    def _not_judged(self, error: Exception) -> None:
        self._say(f"cannot be judged: {error}", "bad")
        self.show_error(error)

    def _say(self, what: RenderableType, style: str = "") -> None:
        side = self.query_one("#side")
        side.display = True
        of = short(self._original) if self._original else "its original"
        side.border_title = plain(f"Replay of {of}")
        shown = plain(what, style) if isinstance(what, str) else what
        self.query_one("#judged", Static).update(shown)

    # --- acting -----------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        if action == "compare":
            return True if self._original else None
        if action in ("replay", "report"):
            return True if self._found and self._found.passed else None
        return True

    def action_unfold(self) -> None:
        """Show every check of the level under the cursor, or only its heading."""
        self.query_one("#levels", OptionList).action_select()

    def on_option_list_option_selected(self, chosen: OptionList.OptionSelected) -> None:
        """Unfold a level, by key or mouse."""
        if self._found is None or chosen.option_id not in LEVELS:
            return
        self._open ^= {str(chosen.option_id)}
        self._redraw()

    def action_details(self) -> None:
        """Show every check of every level, or only those that need attention."""
        self._open = set() if self._open >= set(LEVELS) else set(LEVELS)
        self._redraw()

    def _redraw(self) -> None:
        if self._found:
            for level in LEVELS:
                self.query_one("#levels", OptionList).replace_option_prompt(
                    level, self._level(level)
                )

    def action_replay(self) -> None:
        """Show the plan to run its spec again here."""
        replay(self, self._run)

    def action_compare(self) -> None:
        """Compare the original and this run."""
        if self._original:
            self.kit.show_compare([self._original, self._run])

    def action_report(self) -> None:
        """Write this run's HTML report into the current folder."""
        write_report(self, self._run, self._original if self._judged else None)

    def copy_text(self) -> str:
        """The verdict as in ``kit verify``, and the replay's verdict below."""
        shown: list[RenderableType] = (
            [verdict_view(self._found, details=True)] if self._found else []
        )
        shown += [altered_table(self._altered)] if self._altered else []
        shown += [comparison_view(self._judged)] if self._judged else []
        return "\n".join(map(as_text, shown)) or self.command


def _verified(run: Path) -> tuple[Verdict, tuple[Altered, ...]]:
    verdict = admission.verify(run)
    is_altered = any(check.code == "HASH_MISMATCH" for check in verdict.failures)
    return verdict, altered(run) if is_altered else ()


def _judged(store: Store, run: Path, chosen: Path | None) -> tuple[Path, Comparison] | None:
    from kit.judge import replay as replaying

    original = chosen or replaying.parent_in(store, run)
    if original is None:
        return None
    if not admission.verify(original).passed:
        raise KitError("the original does not verify", f"see kit verify {argument(original)}")
    return original, replaying.judge(original, run)
