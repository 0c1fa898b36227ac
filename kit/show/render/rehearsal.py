"""What is shown before a run: errors, a spec's problems, findings, plan, privileges."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from kit.core.errors import KitError, PreflightFailed, SpecInvalid
from kit.core.jsonplace import named
from kit.core.model import Finding, LaunchPlan, MeterPlan, Plan, Problem
from kit.energy import names
from kit.machine.containers import EGRESS
from kit.run.rehearsal import Rehearsal
from kit.show.render.console import (
    Badge,
    count,
    facts,
    grid,
    plain,
    put,
    short_bytes,
    short_memory,
    short_revision,
    short_time,
    stderr,
    stdout,
    title,
)
from kit.spec.workloads import arrivals

_NETWORKS = {
    "internal": "an internal one, made for each launch",
    "loopback": "the engine's bridge, with the server's port on 127.0.0.1",
    "host": "THE HOST'S OWN NETWORK",
}


def error(raised: KitError) -> None:
    """Print an error and its remedy on stderr, with all its problems or findings."""
    if isinstance(raised, PreflightFailed):
        message = "preflight forbids this run"
        below: list[RenderableType] = [
            findings_table(raised.findings, doubts_only=True),
            tally(raised.findings),
        ]
    else:
        message = raised.message
        below = (
            [_problems(raised.problems, _places(raised))] if isinstance(raised, SpecInvalid) else []
        )
    table = grid({"no_wrap": True}, {"overflow": "fold"})
    table.add_row(plain("error:", style="bad"), plain(message))
    if raised.remedy and not isinstance(raised, PreflightFailed):
        table.add_row(plain("fix:", style="quiet"), plain(raised.remedy, "fix"))
    put(stderr(), table, *below)


def problems(problems: Sequence[Problem]) -> None:
    """Print every problem of a spec: where, what, and the remedy."""
    put(stdout(), _problems(problems))


def findings(findings: Sequence[Finding], heading: str = "", *, doubts_only: bool = False) -> None:
    """Print preflight's or doctor's findings, and their counts.

    Args:
        doubts_only: leave out findings that are ok.
    """
    top: list[RenderableType] = [title(heading)] if heading else []
    put(stdout(), *top, findings_table(findings, doubts_only=doubts_only), tally(findings))


def plan(rehearsal: Rehearsal) -> None:
    """Print what will run here, and preflight's findings."""
    spec = rehearsal.spec
    put(
        stdout(),
        title(spec.name),
        plain(spec.description, "quiet"),
        plan_facts(rehearsal),
        Text(),
        title("preflight"),
        findings_table(rehearsal.findings),
        tally(rehearsal.findings),
        *([Text(), title("the container of the first launch")] if rehearsal.command else []),
        *([plain(shlex.join(rehearsal.command))] if rehearsal.command else []),
    )


def plan_facts(rehearsal: Rehearsal) -> Table:
    """What a spec resolves to on this machine, a line for each aspect."""
    spec, planned = rehearsal.spec, rehearsal.plan
    rows: list[tuple[str, RenderableType | str | None]] = [("runtime", spec.runtime.name)]
    if planned:
        work = f"{count(planned.requests, 'request')} in each of "
        work += f"{count(planned.launches, 'launch', 'es')}, {arrivals.words(spec.arrivals)}"
        rows += [
            ("image", _image(planned)),
            ("model", _model(planned)),
            ("work", work),
            ("meters", _meters(planned.meters)),
            ("CPUs", _cpus(planned)),
            ("network", network(planned.launch)),
            ("limits", limits(planned.launch)),
            ("a repeat", planned.repeat.text if planned.repeat else None),
        ]
    rows += [
        ("GPUs", str(spec.devices.gpus) if spec.devices.gpus else None),
        ("time", duration(rehearsal)),
        ("disk", disk(rehearsal)),
        ("primary", names.metric(spec.primary_metric)),
        ("plan for", f"spec {planned.spec_hash[:12]}" if planned else "no plan: see below"),
    ]
    return facts(rows)


def duration(rehearsal: Rehearsal) -> str:
    """How long a run takes: like the last one, else what is known before."""
    if rehearsal.took_s is not None:
        return f"about {short_time(rehearsal.took_s)}, as the last run of this spec here took"
    return f"at least {short_time(rehearsal.least_s)}, and the work itself"


def disk(rehearsal: Rehearsal) -> str | None:
    """How much a run writes."""
    rate = rehearsal.sample_bytes_per_s
    if rate is None:
        return None
    if rehearsal.took_s is not None:
        return f"about {short_bytes(rate * rehearsal.took_s)} of readings"
    return f"about {short_bytes(rate * 3600)} of readings an hour"


def findings_table(findings: Iterable[Finding], *, doubts_only: bool = False) -> Table:
    """Findings, each with a badge and a remedy."""
    table = grid({"no_wrap": True}, {"overflow": "fold"})
    for finding in findings:
        if finding.level != "ok":
            text = plain(finding.message).append(f"  {plain(finding.code)}", style="quiet")
            table.add_row(Badge(finding.level), text)
            _add_fix(table, finding.remedy)
        elif not doubts_only:
            table.add_row(Badge("ok"), plain(finding.message))
    return table


def _add_fix(table: Table, remedy: str) -> None:
    if remedy:
        text = plain("fix: ", style="quiet").append_text(plain(remedy, "fix"))
        table.add_row("", text)


def tally(findings: Iterable[Finding]) -> Text:
    """``9 ok · 2 warnings · 1 failure``."""
    counts = Counter(finding.level for finding in findings)
    parts = [
        (f"{counts['ok']} ok", "good"),
        (count(counts["warn"], "warning"), "doubt" if counts["warn"] else "quiet"),
        (count(counts["fail"], "failure"), "bad" if counts["fail"] else "quiet"),
    ]
    separated = [piece for part in parts for piece in (part, (" · ", "quiet"))]
    return Text.assemble(*separated[:-1])


def _places(raised: SpecInvalid) -> list[str]:
    """Where in its file each problem is, as editors open it: ``spec.json:3:17``."""
    return [named(raised.where, at) for at in raised.places]


def _problems(problems: Sequence[Problem], places: Sequence[str] = ()) -> Table:
    table = grid({"no_wrap": True}, {"overflow": "fold"})
    for problem, place in zip(problems, places or [""] * len(problems), strict=True):
        text = plain(f"{place}  " if place else "", "not bold").append(plain(problem.path, "name"))
        text.append(f"  {plain(problem.message)}", style="not bold")
        table.add_row(Badge("fail", "at"), text)
        _add_fix(table, problem.remedy)
    return table


def _image(planned: Plan) -> Text:
    text = plain(f"{planned.image.reference} ")
    style = "good" if planned.image_match == "identical" else "doubt"
    return text.append(planned.image_match, style=style)


def _model(planned: Plan) -> str | None:
    model = planned.model
    if model is None:
        return None
    size = short_bytes(sum(file.size for file in model.files))
    return f"{model.repo}@{short_revision(model.revision)}, {size}{_licence(model.licence)}"


def _licence(licence: str) -> str:
    return f", {licence}" if licence else ""


def _meters(plans: Sequence[MeterPlan]) -> str:
    """Each meter with its devices, or a note that it has none."""
    lines = []
    for meter in plans:
        name = f"{meter.name} {meter.alias}" if meter.alias else meter.name
        devices = ", ".join(device.device for device in meter.devices)
        lines.append(f"{name} ({devices or 'nothing to read'})")
    return "; ".join(lines) or "none"


def _cpus(planned: Plan) -> str:
    launch = planned.launch
    return (
        f"runtime {launch.runtime_cpus}, driver {launch.driver_cpus}, sampler {launch.sampler_cpus}"
    )


def network(launch: LaunchPlan) -> str:
    """The container's network, and what it can reach."""
    return f"{_NETWORKS[launch.network]}: {EGRESS[launch.egress]}"


def limits(launch: LaunchPlan) -> str:
    """The container's limits."""
    memory, shm = short_memory(launch.memory_bytes), short_memory(launch.shm_bytes)
    return f"memory {memory}, shared memory {shm}, {launch.pids} processes"
