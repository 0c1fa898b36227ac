"""Plan: what an order would do here, and the key that launches it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

import msgspec
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.containers import ScrollableContainer, VerticalScroll
from textual.widget import Widget
from textual.widgets import Static

from kit.core.errors import SpecInvalid, UsageError
from kit.core.model import Finding, RunSpec
from kit.energy import names
from kit.machine.host.sections import ALIASED
from kit.record.phases import BLOCKS
from kit.run.rehearsal import Rehearsal, rehearse, without_meter
from kit.run.runner import Order
from kit.run.session import Session
from kit.show import render
from kit.show.render.console import count, plain, short_time
from kit.spec import levels
from kit.store.store import Store
from kit.tui.dialogs import AskLine, YesNo
from kit.tui.screen import KitScreen, badge

_LEVELS = "1,4,16"
_COMMAND = re.compile(r"`([^`\n]+)`")  # as a remedy names it
# A meter whose silence preflight reports under one of these can be left out with a key.
_OF_A_METER = (
    *("METER_ABSENT", "METER_SILENT", "RAPL_UNREADABLE"),
    *(f"{name.upper()}_UNREACHABLE" for name in ALIASED),
)


class PlanScreen(KitScreen):
    """What this spec resolves to on this machine, preflight's findings, and the launch.

    Args:
        order: the order to launch.
        path: the spec's file, if it has one.
        original: the sealed run that this order replays.
    """

    AUTO_FOCUS = "#findings"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "launch", "Launch", priority=True, id="launch"),
        Binding("c", "levels", "Levels", tooltip="Launch a run for each concurrency", id="levels"),
        Binding("R", "again", "Re-check", id="recheck"),
        Binding("m", "drop_meter", "Drop meter", id="drop-meter"),
        Binding("w", "accept", "Accept", tooltip="Accept warnings", id="accept-warnings"),
        Binding("e", "edit", "Edit", id="edit"),
    ]

    def __init__(self, order: Order, path: Path | None, original: Path | None) -> None:
        super().__init__()
        self._order, self._path, self._original = order, path, original
        self._found: Rehearsal | None = None
        self._accepted: frozenset[str] = frozenset()  # codes of accepted warnings
        self._launching = False
        self._unplanned: Exception | None = None  # why there is no rehearsal
        self._levels: tuple[RunSpec, ...] = ()  # to launch instead of the order's spec
        self.crumbs = f"{order.spec.name} › {'Replay' if original else 'Plan'}"
        self.command = self._command_line()

    def body(self) -> Iterable[Widget]:
        with ScrollableContainer(id="parts", can_focus=False):
            findings = VerticalScroll(Static(id="found", markup=False), id="findings")
            findings.border_title = "Preflight"
            findings.add_class("panel")
            yield findings
            with VerticalScroll(id="side"):
                for name, title in (
                    ("facts", "What will run"),
                    ("steps", "Steps"),
                    ("exact", "Exact command"),
                ):
                    panel = Static(id=name, markup=False, classes="panel")
                    panel.border_title = title
                    yield panel

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one("#steps", Static).update(steps(self._order.spec))
        self.action_again()

    # --- looking ----------------------------------------------------------------------------

    def action_again(self) -> None:
        """Check engine, image, weights, meters and host again."""
        self._found = self._unplanned = None
        self.state = badge("running", "checking")
        self.query_one("#found", Static).update(plain("looking at this machine …", "quiet"))
        spec, store = self._order.spec, self.kit.store
        self.fetch(lambda: rehearse(spec, store), self._show, failed=self._failed)

    def _failed(self, error: Exception) -> None:
        self._unplanned = error
        self.state = badge("fail", "cannot be planned")
        self.query_one("#found", Static).update(plain(f"{type(error).__name__}: {error}", "bad"))
        self.show_error(error)

    def _show(self, rehearsal: Rehearsal) -> None:
        self._found = rehearsal
        tally = render.tally(rehearsal.findings)
        self.query_one("#findings").border_title = f"Preflight: {tally.plain}"
        self.query_one("#found", Static).update(render.findings_table(_worst_first(rehearsal)))
        self.query_one("#facts", Static).update(render.plan_facts(rehearsal))
        exact = (
            plain(shlex.join(rehearsal.command))
            if rehearsal.command
            else plain("no plan yet", "quiet")
        )
        self.query_one("#exact", Static).update(exact)
        self.state = self._verdict(rehearsal)
        self.refresh_bindings()

    def _verdict(self, rehearsal: Rehearsal) -> Text:
        fails = sum(f.level == "fail" for f in rehearsal.findings)
        if fails:
            return badge("fail", f"{fails} blocking")
        about = (
            short_time(rehearsal.took_s)
            if rehearsal.took_s
            else f"> {short_time(rehearsal.least_s)}"
        )
        return badge("ok", f"ready, {about}")

    # --- acting -----------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        if action == "levels" and self._original:
            return None  # a replay keeps its spec
        if action in ("launch", "levels"):
            return None if self._found is None or self._found.forbidden else True
        if action == "accept":
            return True if self._warnings() else None
        if action == "drop_meter":
            return True if self._silent() else None
        return True

    def _warnings(self) -> list[Finding]:
        """The warnings that were not accepted yet: a new check may find more."""
        findings = self._found.findings if self._found else ()
        return [f for f in findings if f.level == "warn" and f.code not in self._accepted]

    def action_accept(self) -> None:
        """Accept the warnings: they are sealed with the run, without another question."""
        self._accepted |= {finding.code for finding in self._warnings()}
        self.notify("they go into the archive with the run", title="warnings accepted")
        self.refresh_bindings()

    def action_launch(self) -> None:
        """Start the runner in its own session and watch it."""
        if self._found is None or self._found.forbidden or self._launching:
            return
        self._levels = ()
        if warnings := len(self._warnings()):
            question = f"{count(warnings, 'warning')} will go into the archive.\nLaunch?"
            self.app.push_screen(YesNo(question, "Launch", "Not yet"), self._answered)
        else:
            self._launch()

    def key_enter(self) -> None:
        """Say what blocks the launch: the key comes here only where `action_launch` is off."""
        if self._unplanned:
            self.show_error(self._unplanned)
        elif self._found is None:
            self.notify("kit is still looking at this machine", title="not launched yet")
        elif self._found.forbidden:
            self.show_error(_blocked(self._found.findings))

    def action_levels(self) -> None:
        """Start a run for each level of concurrency, one after the other, after a yes."""
        self._ask_levels(_LEVELS)

    def _ask_levels(self, value: str) -> None:
        text = "Answers at once, a run for each; enter goes on."
        self.app.push_screen(AskLine("Concurrency levels", text, value), self._take_levels)

    def _take_levels(self, answer: str | None) -> None:
        if answer is None or self._launching:
            return
        try:
            self._levels = tuple(levels.at(self._order.spec, levels.parse(answer)))
        except SpecInvalid as error:
            first = error.problems[0]
            self.show_error(UsageError(first.message, first.remedy))
            self._ask_levels(answer)
        except UsageError as error:
            self.show_error(error)
            self._ask_levels(answer)
        else:
            warnings = len(self._warnings())
            noted = f"\n{count(warnings, 'warning')} will go into each archive." if warnings else ""
            names_ = ", ".join(spec.name for spec in self._levels)
            question = f"{count(len(self._levels), 'run')} in turn: {names_}.{noted}\nLaunch?"
            self.app.push_screen(YesNo(question, "Launch", "Not yet"), self._answered)

    def _answered(self, yes: bool | None) -> None:
        if yes:
            self._launch()

    def _launch(self) -> None:
        self._launching = True
        self.state = badge("running", "launching")
        orders = [
            msgspec.structs.replace(self._order, spec=spec)
            for spec in self._levels or (self._order.spec,)
        ]
        started, store = self.kit.sessions, self.kit.store
        self.fetch(
            lambda: _in_turn(orders, store, started),
            self._launched,
            group="launch",
            failed=self._not_launched,
        )

    def _launched(self, session: Session) -> None:
        self.app.pop_screen()
        self.kit.show_live(session.id)

    def _not_launched(self, error: Exception) -> None:
        self._launching = False
        self.show_error(error)

    def _silent(self) -> tuple[str, str | None] | None:
        """The first meter that preflight finds silent."""
        if self._found is None or self._found.plan is None:
            return None
        if not any(f.code in _OF_A_METER for f in self._found.findings):
            return None
        for meter in self._found.plan.meters:
            if not meter.devices:
                return meter.name, meter.alias
        return None

    def action_drop_meter(self) -> None:
        """Remove the first silent meter from this spec, and check again."""
        silent = self._silent()
        if silent is None or self._original:
            self.notify("a replay keeps the meters of its spec" if silent else "every meter reads")
            return
        spec = without_meter(self._order.spec, *silent)
        self._order = msgspec.structs.replace(self._order, spec=spec)
        self._path = None  # the file still names the meter
        self.command = self._command_line()
        self.notify(f"{silent[0]} is left out of this run; the file keeps it, e edits")
        self.query_one("#steps", Static).update(steps(spec))
        self.action_again()

    def action_edit(self) -> None:
        """Go back to the form, with this spec."""
        from kit.spec.spec import document

        spec = self._order.spec
        below = self.app.screen_stack[-2]
        self.app.pop_screen()
        if not (isinstance(below, KitScreen) and below.take_spec(spec)):
            self.kit.show_spec(document=document(spec))

    def copy_text(self) -> str:
        """The exact container command; without a plan the first remedy's, or this screen's."""
        if self._found and self._found.command:
            return shlex.join(self._found.command)
        remedies = (f.remedy for f in _worst_first(self._found)) if self._found else ()
        named = (_COMMAND.search(remedy) for remedy in remedies)
        return next((finding[1] for finding in named if finding), self.command)

    def _command_line(self) -> str:
        if self._original:
            return f"kit replay {self._original.name[:12]}"
        file = shlex.quote(str(self._path)) if self._path else "FILE"
        return f"kit plan {file} && kit run {file}"


def _blocked(findings: Iterable[Finding]) -> UsageError:
    """What forbids the launch, each with its remedy, and the key that checks again."""
    fails = [f for f in findings if f.level == "fail"]
    lines = [f"{f.message}: {f.remedy}" if f.remedy else f.message for f in fails]
    what = f"not launched: {count(len(fails), 'finding')} forbid{'s' * (len(fails) == 1)} it"
    return UsageError("\n".join([what, *lines]), "R checks again, e edits the spec")


def _in_turn(orders: list[Order], store: Store, started: list[Session]) -> Session:
    """Start the runs so that the queue has them in this order; returns the first. Slow.

    ``started`` gets each of them, also where a later one cannot begin.
    """
    sessions: list[Session] = []
    for order in orders:
        if sessions:
            sessions[-1].verdict()  # it waits in the queue or has begun: the next comes after it
        sessions.append(Session.start(order, store))
        started.append(sessions[-1])
    return sessions[0]


def _worst_first(rehearsal: Rehearsal) -> list[Finding]:
    order = ("fail", "warn", "ok")
    return sorted(rehearsal.findings, key=lambda f: order.index(f.level))


def steps(spec: RunSpec) -> Text:
    """A launch's phases with their known durations."""
    phases, steady = spec.phases, spec.phases.steady
    idle, loaded = short_time(phases.idle_s), short_time(phases.loaded_idle_s)
    settled = f", then steady within {short_time(steady.limit_s)}" if steady else ""
    lines = (
        f"{idle}, baseline of the host",
        f"until ready, at most {short_time(spec.limits.ready_s)}",
        f"{count(phases.warmup_requests, 'request')}, recorded, not measured{settled}",
        f"{loaded}, baseline of the server",
        "the workload",
        loaded,
        "until gone",
        idle,
    )
    text = Text(f"{count(spec.launches, 'launch', 'es')}, each:\n")
    for number, ((name, _), length) in enumerate(zip(BLOCKS, lines, strict=True), 1):
        text.append(f"{number} {names.phase(name):<12}", "name").append(f"{length}\n", "quiet")
    return text.append("then seal")
