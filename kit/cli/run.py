"""Commands that run or watch a run: run, attach, tui, replay, recover."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter

from kit.cli import progress
from kit.cli.common import (
    Json,
    Run,
    Runs,
    Yes,
    confirmed,
    find_run,
    print_json,
    say,
    store_of,
)
from kit.cli.paths import Named, Spec
from kit.core.errors import Interrupted, KitError, UsageError
from kit.judge import admission
from kit.judge import replay as replaying
from kit.machine import containers
from kit.run.runner import Order
from kit.run.session import Session
from kit.show import render
from kit.spec import levels
from kit.spec import spec as specs
from kit.store import audit, seal
from kit.store.store import Store

_SECOND_CTRL_C_S = 3.0
NoWait = Annotated[bool, Parameter(negative="", help="Do not wait for another run: exit code 3.")]


def _not_negative(_: object, seconds: float | None) -> None:
    if seconds is not None and not 0 <= seconds < float("inf"):
        raise ValueError("give seconds, 0 or more")


WaitS = Annotated[
    float | None,
    Parameter(
        validator=_not_negative,
        help="Seconds to wait for other runs at most; else as long as it takes.",
    ),
]


def run(
    file: Annotated[Path, Named, Spec],
    *,
    runs: Runs = None,
    concurrency: str | None = None,
    detach: Annotated[bool, Parameter(negative="")] = False,
    no_wait: NoWait = False,
    wait_s: WaitS = None,
) -> None:
    """Run a spec, measure it and seal it; prints the sealed run's folder.

    One run measures on a machine at a time: while another one does, this one waits for its turn.

    Args:
        file: the run spec.
        concurrency: levels such as 1,4,16: a run for each, one after the other, called NAME-c1,
            NAME-c4, NAME-c16. They end with the first one that does not complete.
        detach: print the run's id and return once the launches begin, or once the run waits for
            another one; `kit attach` watches it.
    """
    store = store_of(runs)
    wanted = [specs.load(file)]
    if concurrency is not None:
        wanted = levels.at(wanted[0], levels.parse(concurrency))
    if detach and no_wait and len(wanted) > 1:
        raise UsageError(
            "levels of --concurrency run one after the other, and --no-wait forbids to wait",
            "leave out --no-wait",
        )
    _report_leftovers(store)
    sealed: list[str] = []
    for number, spec in enumerate(wanted, 1):
        if len(wanted) > 1:
            say(f"level {number} of {len(wanted)}: {spec.name}")
        session = Session.start(Order(spec=spec, wait_s=0 if no_wait else wait_s), store)
        if detach:
            if not _detach(session):
                return
            continue
        where = f"`kit attach {session.id}` watches it from anywhere"
        say(f"run {session.id} is being prepared; {where}")
        try:
            folder = watch(session)
            sys.stdout.write(str(folder) + "\n")
            sys.stdout.flush()
            sealed.append(folder.name[:12])
        except KitError:
            if rest := ", ".join(spec.name for spec in wanted[number:]):
                say(f"not started: {rest}")
            raise
    if len(sealed) > 1:
        store_option = f" --runs {shlex.quote(apart)}" if (apart := _apart(runs)) else ""
        say(f"compare them: `kit compare {' '.join(sealed)} --by concurrency{store_option}`")


def _detach(session: Session) -> bool:
    """Wait for the end of planning and preflight, or until the run waits for another one.

    Returns:
        Whether it goes on: ctrl-C stops it.
    """
    try:
        wait = session.verdict()
    except KeyboardInterrupt:
        session.stop()
        session.result()
        return False
    where = f"`kit attach {session.id}` watches it from anywhere"
    if wait:
        say(f"run {session.id} is {wait}; preflight comes with its turn; {where}")
    else:
        say(f"run {session.id} started; {where}")
    sys.stdout.write(session.id + "\n")
    sys.stdout.flush()
    return True


def attach(
    id: str = "", *, runs: Runs = None, plain: Annotated[bool, Parameter(negative="")] = False
) -> None:
    """Watch a run in progress in the terminal UI; leaving the UI does not stop the run.

    Args:
        id: the run's id or the beginning of it; not needed when only one run is in progress.
        plain: print lines instead of the UI, as without a terminal; ctrl-C stops watching.
    """
    session = Session.attach(store_of(runs, is_read=True), id)
    if not plain and _on_a_terminal():
        from kit import tui

        tui.start(session.store, attach=session.id, runs=_apart(runs))
        return
    try:
        sys.stdout.write(str(watch(session, owner=False)) + "\n")
    except KeyboardInterrupt:
        say(f"\nleft; the run continues (`kit attach {session.id}`)")


def tui(spec: Annotated[Path | None, Named] = None, *, runs: Runs = None) -> None:
    """Show the terminal UI: runs, specs, plans, live runs, comparisons, verdicts.

    Args:
        spec: a run spec to open in the form; a new file is created when you save.
    """
    if not _on_a_terminal():
        raise UsageError("the UI needs a terminal", "name a command: `kit --help` lists them")
    from kit import tui as ui

    ui.start(store_of(runs), spec=spec, runs=_apart(runs))


def _apart(runs: Path | None) -> str:
    """The value of ``--runs`` for this store; none for the default store."""
    if runs is None or store_of(runs).root.resolve() == store_of(None).root.resolve():
        return ""
    return str(runs)


def _on_a_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def replay(
    run: Run,
    *,
    runs: Runs = None,
    yes: Yes = False,
    rebuild: Annotated[bool, Parameter(negative="")] = False,
    weights: Annotated[Path | None, Named] = None,
    json: Json = False,
    no_wait: NoWait = False,
    wait_s: WaitS = None,
) -> int:
    """Run a sealed run's spec again, and test statistically whether it reproduced.

    First it lists everything that the replay would do, and asks. It does nothing before a yes.

    Args:
        run: the sealed run: folder, file, or the beginning of its hash.
        yes: list everything, and do it without asking.
        rebuild: build a missing image from the recipe that is sealed in the run.
        weights: a folder with the model's files.
    """
    store = store_of(runs)
    original = find_run(run, runs)
    verdict = admission.verify(original)
    if not verdict.passed:
        render.verdict(verdict)
        return verdict.exit_code
    agreed = _agreed(replaying.undertake(original, store, rebuild=rebuild, folder=weights), yes)
    with progress.Tasks() as tasks:
        replaying.provide(agreed, tasks.say, tasks.progress)
    order = msgspec.structs.replace(agreed.order, wait_s=0 if no_wait else wait_s)
    session = Session.start(order, store)
    say(f"run {session.id} is being prepared: a replay of {original.name[:12]}")
    new = watch(session)
    judged = replaying.judge(original, new)
    if json:
        print_json({**replaying.as_dict(judged), "run": new.name})
    else:
        sys.stdout.write(str(new) + "\n")
        render.comparison(judged)
    return replaying.exit_code(judged)


def _agreed(undertaking: replaying.Undertaking, yes: bool) -> replaying.Undertaking:
    """``undertaking``, after it was shown and a person, or --yes, agreed to it.

    Raises:
        Blocked: something is missing that a yes would not provide.
        UsageError: there is no terminal to ask on.
        Interrupted: the answer was no.
    """
    render.undertaking(undertaking)
    if undertaking.obstacle:
        raise undertaking.obstacle
    if not yes and not confirmed(render.QUESTION):
        raise Interrupted("nothing was done", "add --yes to replay without being asked")
    return undertaking


def recover(*, runs: Runs = None) -> None:
    """Seal the records of runs that a crash or power loss ended; remove their containers."""
    store = store_of(runs)  # without a store, too, a dead run's container may be here
    store.require_ledger()
    render.ledger_doubts(audit.chain(store))
    with containers.connect() as engine:
        engine.reap(store.is_alive, store.log_of)
    done = seal.recover(store, say)
    for path in done:
        sys.stdout.write(str(path) + "\n")
    say(f"recovered {len(done)} run{'s' if len(done) != 1 else ''}")


def watch(session: Session, *, owner: bool = True) -> Path:
    """Draw a run until it ends. Ctrl-C asks first, then aborts; the run is sealed even then."""
    asked = float("-inf")
    with progress.RunProgress() as shown:
        while True:
            try:
                for event in session.follow(shown.waiting):
                    shown.event(event)
                return session.result()
            except KeyboardInterrupt:
                if not owner:
                    raise
                asked = _asked_to_stop(session, asked)


def _asked_to_stop(session: Session, asked: float) -> float:
    """The first ctrl-C on a terminal asks, a second one stops; without a terminal one stops."""
    now = time.monotonic()
    if sys.stdin.isatty() and now - asked > _SECOND_CTRL_C_S:
        say(
            "press ctrl-C again within 3 s to stop the run; to leave it running, close the terminal"
        )
        return now
    say("stopping: the records until now are being sealed")
    session.stop()
    return now


def _report_leftovers(store: Store) -> None:
    left = store.leftovers()
    if left:
        say(f"{len(left)} run(s) were ended by a crash: `kit recover` seals them")
