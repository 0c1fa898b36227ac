"""The runner: spec → plan → preflight → launch → measure → seal.

It is a separate process (``python -m kit.run.runner RUNDIR``): a face writes an order into the
run's folder, starts the runner in its own session and reads the journal. The run does not end with
the face. SIGINT or SIGTERM aborts it, and the records until then are sealed.
"""

from __future__ import annotations

import os
import secrets
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from kit import __version__
from kit.core import arrays, extras, jsonio
from kit.core.errors import (
    Blocked,
    Interrupted,
    KitError,
    LaunchFailed,
    PreflightFailed,
    RunFailed,
)
from kit.core.model import Finding, Plan, Record, RunSpec, ScheduledRequest
from kit.energy import results
from kit.energy.used import Launch
from kit.machine import containers, host, images, queue
from kit.machine.images import sbom
from kit.record import records
from kit.record.events import FILE as EVENTS_FILE
from kit.record.events import Clock, Journal, valid_prefix
from kit.run import marks, preflight
from kit.run.gate import settle, unused
from kit.run.journey import (
    Journey,
    container,
    driving,
    launch_folder,
    query_after_load,
    report,
    sampling,
)
from kit.run.plan import HostFacts, plan, resolve, schedule_bytes
from kit.run.watch import Watch, phase, require_room, reserve, root_cause
from kit.spec import runtimes
from kit.spec.spec import document, spec_hash
from kit.store import refusals, seal
from kit.store.store import InFlight, Store

ORDER_FILE = "order.json"
UNSEALED_FILE = "unsealed.json"
RESERVE_FILE = "reserve"
STOP_S = 20.0
Cancelled = Callable[[], bool]


class Order(Record, frozen=True, kw_only=True):
    """A face's order to the runner.

    ``parents`` names the run that this one replays. ``recipe`` holds the files, by name, of that
    run's sealed recipe, which this run seals too if kit has none for its image. ``wait_s`` is the
    longest wait for other runs of this machine (s); None: no limit.
    """

    spec: RunSpec
    parents: tuple[dict[str, str], ...] = ()
    recipe: dict[str, bytes] = {}
    wait_s: float | None = None


@dataclass(frozen=True)
class Outcome:
    """How a run ended: the manifest's status, and the fault if there was one."""

    status: Literal["complete", "failed", "aborted"]
    fault: KitError | None = None

    @property
    def reason(self) -> str:
        return self.fault.message if self.fault else ""


def run(
    order: Order,
    flight: InFlight,
    config: host.HostConfig,
    cancelled: Cancelled,
    ticket: queue.Ticket,
) -> Path:
    """Run ``order`` in the folder of ``flight`` and seal it; returns the sealed run's folder.

    Args:
        ticket: its place in the machine's queue; its turn has come.

    Raises:
        Blocked: the run could not begin; nothing is sealed.
        KitError: the run began and failed or was stopped; it is sealed even then.
    """
    with containers.connect() as engine:
        engine.reap(flight.store.is_alive, flight.store.log_of)
        facts = resolved(order, engine, config)
        the_plan, requests = plan(order.spec, facts)
        findings = approve(order.spec, the_plan, facts, flight)
        ticket.begin(cancelled, order.wait_s)
        journal, clock = register(order, the_plan, requests, findings, flight, facts)
        if waited := ticket.waited:
            journal.add("queue.waited", seconds=waited.seconds, runs=list(waited.runs))
        journey = Journey(order.spec, the_plan, facts, engine, flight, journal, clock, config)
        outcome = run_launches(journey, cancelled, ticket.keep)
    flight.scratch(RESERVE_FILE).unlink(missing_ok=True)
    if outcome.fault:
        seal.tidy(flight)
    finish(journey, outcome)
    run_results = results.compute(records.read(flight.path))
    flight.write("results.json", results.to_document(run_results))
    sealed = seal.seal(flight, outcome.status, outcome.reason, order.parents)
    return sealed_or_raise(sealed, outcome)


def resolved(order: Order, engine: containers.Engine, config: host.HostConfig) -> HostFacts:
    """The facts for the plan. GPUs that are not here come before an image that is made for them."""
    try:
        return resolve(order.spec, engine, config, order.recipe)
    except Blocked as error:
        if lacking := preflight.lacking_gpus(order.spec.devices.gpus):
            raise PreflightFailed(lacking) from error
        raise


def approve(spec: RunSpec, the_plan: Plan, facts: HostFacts, flight: InFlight) -> list[Finding]:
    """Preflight's findings; raises `PreflightFailed` if one of them forbids the run."""
    gathered = preflight.gather(facts.engine, the_plan, flight.path, facts.weights)
    findings = preflight.check(the_plan, spec, gathered)
    if any(f.level == "fail" for f in findings):
        raise PreflightFailed(findings)
    return findings


def register(
    order: Order,
    the_plan: Plan,
    requests: tuple[ScheduledRequest, ...],
    findings: list[Finding],
    flight: InFlight,
    facts: HostFacts,
) -> tuple[Journal, Clock]:
    """Record what will run, before it runs: files, journal and ledger."""
    reserve(flight.scratch(RESERVE_FILE))
    spec_bytes = flight.write("spec.json", document(order.spec))
    plan_bytes = flight.write("plan.json", msgspec.to_builtins(the_plan))
    flight.write_bytes("inputs/schedule.jsonl", schedule_bytes(requests))
    for name, data in facts.recipe.items():
        flight.write_bytes(f"inputs/image/{name}", data)
    if facts.recipe:
        flight.write_bytes(sbom.FILE, sbom.document(images.checked(facts.recipe)))
    for sha256, data in facts.calibrations.items():
        flight.write_bytes(f"inputs/calibration/{sha256}.json", data)
    flight.write("env/start.json", host.fingerprint(facts.engine))
    flight.write("private/identity.json", {"nonce": secrets.token_hex(32), **host.identity()})
    clock = Clock()
    journal = Journal(flight.path / EVENTS_FILE, clock)
    registered: dict[str, Any] = {
        "id": flight.id,
        "spec_hash": jsonio.digest(spec_bytes),
        "plan_hash": jsonio.digest(plan_bytes),
        "utc": seal.utc_now(),
        "kit_version": __version__,
        "launches": order.spec.launches,
        "parents": list(order.parents),
    }
    journal.add("run.registered", **registered)
    # At once, so that a later change of the wall clock shows even before the first launch.
    journal.add("clock.anchor", **clock.anchor())
    flight.register(registered)
    refusals.overcome(flight.store, registered["spec_hash"])
    for finding in findings:
        journal.add("finding", code=finding.code, level=finding.level, message=finding.message)
    return journal, clock


def run_launches(journey: Journey, cancelled: Cancelled, keep: Callable[[], None]) -> Outcome:
    """Run every launch while the samplers read; an error becomes the outcome, never a traceback.

    ``keep`` holds the run's place in the queue: called before each launch and often in it.
    """
    spec, flight = journey.spec, journey.flight
    try:
        require_room(flight.path)
        arrays.load()  # not later: nothing of kit's works beside what is measured
        with sampling(journey) as samplers:
            watch = Watch(
                journey.journal,
                journey.clock,
                samplers,
                cancelled,
                spec.limits.run_s,
                flight.path,
                flight.scratch(marks.FOLDER),
                keep,
            )
            for index in range(spec.launches):
                keep()
                run_launch(journey, watch, index)
    except Interrupted as stopped:
        return Outcome("aborted", stopped)
    except KitError as fault:
        return Outcome("failed", root_cause(fault, flight.path))
    except OSError as error:
        return Outcome("failed", seal.storage_error(error))
    except Exception as bug:
        traceback.print_exc()  # into runner.log, for whoever repairs it
        return Outcome("failed", unexpected(bug))
    return Outcome("complete")


def unexpected(bug: Exception) -> KitError:
    """A bug in kit as an error; the records until then are still sealed."""
    at = traceback.extract_tb(bug.__traceback__)[-1:]
    where = "".join(f" ({Path(frame.filename).name}:{frame.lineno})" for frame in at)
    return RunFailed(
        f"kit itself failed: {type(bug).__name__}: {bug}{where}",
        "please report it with this run; the records until then are sealed",
    )


def run_launch(journey: Journey, watch: Watch, index: int) -> None:
    """idle → startup → warmup → loaded_idle → measured → loaded_idle → shutdown → idle."""
    spec, journal = journey.spec, journey.journal
    journal.add("launch.begin", launch=index)
    idle = journey.clock.now()
    with phase(journal, index, "idle", "before"):
        watch.wait(spec.phases.idle_s)
    with ExitStack() as stack:
        began = journey.clock.now()
        with phase(journal, index, "startup"):
            running = stack.enter_context(container(journey, watch, index))
        with phase(journal, index, "warmup"):
            driver = stack.enter_context(driving(journey, running, index))
            driver.send_stage("warmup", watch.check)
        report(journey, driver, "warmup", index, watch)
        with phase(journal, index, "loaded_idle", "before"):
            since = journey.clock.now()
            watch.wait(spec.phases.loaded_idle_s)
            settled(journey, watch, index, since)
        if spec.phases.warmup_requests:  # one may load the model at its first request
            require_gpus(journey, index, Launch(idle, began, since, journey.clock.now()))
        with phase(journal, index, "measured"):
            driver.send_stage("measured", watch.check)
        worked = since if spec.phases.warmup_requests else journey.clock.now()
        report(journey, driver, "measured", index, watch)
        with phase(journal, index, "loaded_idle", "after"):
            watch.wait(spec.phases.loaded_idle_s)
        require_gpus(journey, index, Launch(idle, began, worked, journey.clock.now()))
        query_after_load(journey, driver, running, index)
        with phase(journal, index, "shutdown"):
            watch.set_container(None)
            running.close(runtimes.get(spec.runtime.name).closing(spec), STOP_S)
            running.stop(STOP_S)
    with phase(journal, index, "idle", "after"):
        watch.wait(spec.phases.idle_s)
    journal.add("clock.anchor", **journey.clock.anchor())
    journal.add("launch.end", launch=index)


def settled(journey: Journey, watch: Watch, index: int, since: int) -> None:
    """Wait until the GPUs are steady, if the spec asks for it, and journal the outcome."""
    steady = journey.spec.phases.steady
    if steady:
        folder = journey.flight.folder("samples")
        outcome = settle(watch, journey.clock, since, folder, journey.plan.meters, steady)
        journey.journal.add("steady.waited", launch=index, **outcome)


def require_gpus(journey: Journey, index: int, launch: Launch) -> None:
    """Check that a launch uses every GPU that the spec asks for.

    Raises:
        LaunchFailed: the memory of one is as it was before.
    """
    if not journey.spec.devices.gpus:
        return
    if idle := unused(journey.flight.folder("samples"), journey.plan.meters, launch):
        raise LaunchFailed(
            f"the server answers, but does not use {' and '.join(idle)}: nobody took memory there "
            "since the launch began, so that its energy is not that of the work",
            "name an image with code for this GPU, or set devices.gpus to the number that is used; "
            f"the runtime's log may say more: {launch_folder(index)}/container.log",
        )


def finish(journey: Journey, outcome: Outcome) -> None:
    """Write the closing fingerprint, the fault if there was one, and the last event."""
    journal = journey.journal
    journal.add("clock.anchor", **journey.clock.anchor())
    journey.flight.write("env/end.json", host.fingerprint(journey.facts.engine))
    if outcome.fault:
        fault = outcome.fault
        code = type(fault).__name__
        journal.add("fault", code=code, message=fault.message, remedy=fault.remedy)
    journal.add("run.end", status=outcome.status, reason=outcome.reason)
    journal.close()


def sealed_or_raise(sealed: Path, outcome: Outcome) -> Path:
    """The sealed folder; raises the fault of a run that did not complete (it is sealed too)."""
    if outcome.fault:
        raise outcome.fault
    return sealed


# --- the process ----------------------------------------------------------------------------


def main(argv: list[str] | None = None) -> int:
    """``python -m kit.run.runner RUNDIR``: take the order, wait for its turn, run it, seal it.

    Exit codes are those of `kit run`. A run that cannot begin is kept by `kit.store.refusals`.
    """
    folder = Path((argv or sys.argv[1:])[0])
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    flight = Store(folder.parent.parent).adopt(folder)
    order = msgspec.convert(jsonio.read(flight.scratch(ORDER_FILE)), Order, strict=False)
    with ExitStack() as stack:
        try:
            ticket = stack.enter_context(queue.ticket(flight.id))
            ticket.wait(stop.is_set, order.wait_s)
            run(order, flight, host.HostConfig.load(), stop.is_set, ticket)
        except Exception as error:
            return record_failure(error, order, flight)
        finally:
            flight.release()  # before the ticket: the next run must not see this one as busy
    return 0


def record_failure(error: Exception, order: Order, flight: InFlight) -> int:
    """Record why a run was not sealed, for every face to show; returns the exit code.

    A run that had begun stays in flight, for `kit recover`.
    """
    fault = error if isinstance(error, KitError) else as_kit_error(error)
    if not flight.path.is_dir():
        return fault.exit_code  # it was sealed: its journal has the fault
    journal = flight.path / EVENTS_FILE
    if journal.is_file() and valid_prefix(journal.read_bytes()):
        note = {"message": fault.message, "remedy": fault.remedy, "exit_code": fault.exit_code}
        with suppress(OSError):
            flight.scratch(UNSEALED_FILE).write_bytes(jsonio.canonical(note))
        return fault.exit_code
    refusals.keep(flight.store, refusal(fault, order, flight.id))
    flight.store.discard(flight.id)
    return fault.exit_code


def as_kit_error(error: Exception) -> KitError:
    """An error that nobody raised on purpose: of the disk, a missing extra, or a bug in kit."""
    if isinstance(error, OSError):
        return seal.storage_error(error)
    if lacking := extras.missing(error):
        return lacking
    traceback.print_exception(error)  # into runner.log, for whoever repairs it
    return unexpected(error)


def refusal(fault: KitError, order: Order, id_: str) -> refusals.Refusal:
    """Why a run did not begin."""
    return refusals.Refusal(
        id=id_,
        utc=seal.utc_now(),
        name=order.spec.name,
        spec_hash=spec_hash(order.spec),
        code=type(fault).__name__,
        message=fault.message,
        remedy=fault.remedy,
        exit_code=fault.exit_code,
        findings=tuple(getattr(fault, "findings", ())),
    )


if __name__ == "__main__":
    os.umask(0o022)
    sys.exit(main())
