"""What is shown before anything runs: errors, a spec's problems, findings, plan, privileges."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from kit.errors import KitError, PreflightFailed, SpecInvalid
from kit.model import Finding, MeterPlan, Plan, Problem, RunSpec
from kit.render.console import (
    Mark,
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


def error(raised: KitError) -> None:
    """What went wrong and what to do, on stderr; all problems and findings of an error."""
    if isinstance(raised, PreflightFailed):
        said = "preflight forbids this run"
        below: list[RenderableType] = [
            _findings(raised.findings, doubts_only=True),
            _tally(raised.findings),
        ]
    else:
        said = raised.message
        below = [_problems(raised.problems)] if isinstance(raised, SpecInvalid) else []
    table = grid({"no_wrap": True}, {"overflow": "fold"})
    table.add_row(Text("error:", style="bad"), plain(said))
    if raised.remedy and not isinstance(raised, PreflightFailed):
        table.add_row(Text("fix:", style="quiet"), plain(raised.remedy, "fix"))
    put(stderr(), table, *below)


def problems(found: Sequence[Problem]) -> None:
    """Every problem of a spec, on stdout: where, what, and what to do."""
    put(stdout(), _problems(found))


def findings(found: Sequence[Finding], heading: str = "", *, doubts_only: bool = False) -> None:
    """Preflight's or doctor's findings on stdout, and how many of each.

    Args:
        doubts_only: leave out those that are ok.
    """
    top: list[RenderableType] = [title(heading)] if heading else []
    put(stdout(), *top, _findings(found, doubts_only=doubts_only), _tally(found))


def plan(spec: RunSpec, planned: Plan, found: Sequence[Finding], least_s: float) -> None:
    """What will run here, step by step, and what preflight says of it."""
    work = (
        f"{count(planned.requests, 'request')} in each of {count(planned.launches, 'launch', 'es')}"
    )
    put(
        stdout(),
        title(spec.name),
        plain(spec.description, "quiet"),
        facts(
            [
                ("runtime", spec.runtime.name),
                ("image", _image(planned)),
                ("model", _model(planned)),
                ("work", f"{work}, {_arrivals(spec)}"),
                ("meters", _meters(planned.meters)),
                ("CPUs", _cpus(planned)),
                ("network", f"{planned.launch.network}, egress: {planned.launch.egress}"),
                ("limits", _limits(planned)),
                ("GPUs", str(spec.devices.gpus) if spec.devices.gpus else None),
                ("time", f"at least {short_time(least_s)}, and the work itself"),
                ("primary", spec.primary_metric),
                ("plan for", f"spec {planned.spec_hash[:12]}"),
            ]
        ),
        Text(),
        title("preflight"),
        _findings(found),
        _tally(found),
    )


def privileges(spec: RunSpec) -> None:
    """What a sealed spec asks to run on this machine, on stderr, before a replay asks for a yes."""
    image = spec.image
    pinned = image.digest or image.reference or "unpinned"
    weights = spec.weights
    put(
        stderr(),
        title("this replay will run", "a sealed spec is a request to run code"),
        facts(
            [
                ("spec", spec.name),
                ("runtime", spec.runtime.name),
                ("image", f"{image.recipe or 'upstream'} {pinned}"),
                (
                    "model",
                    f"{weights.repo}@{short_revision(weights.revision)}" if weights else "none",
                ),
                ("GPUs", str(spec.devices.gpus) if spec.devices.gpus else "none"),
                ("memory", f"at most {spec.limits.memory_mib} MiB"),
                ("time", f"at most {short_time(spec.limits.run_s)}"),
                (
                    "rights",
                    "no capabilities, read-only files; an internal network where there is one",
                ),
            ]
        ),
    )


def _findings(found: Iterable[Finding], *, doubts_only: bool = False) -> Table:
    table = grid({"no_wrap": True}, {"overflow": "fold"})
    for finding in found:
        if finding.level != "ok":
            text = plain(finding.message).append(f"  {plain(finding.code)}", style="quiet")
            table.add_row(Mark(finding.level), text)
            _add_fix(table, finding.remedy)
        elif not doubts_only:
            table.add_row(Mark("ok"), plain(finding.message))
    return table


def _add_fix(table: Table, remedy: str) -> None:
    if remedy:
        text = Text("fix: ", style="quiet").append_text(plain(remedy, "fix"))
        table.add_row("", text)


def _tally(found: Iterable[Finding]) -> Text:
    """``9 ok · 2 warnings · 1 failure``."""
    counts = Counter(finding.level for finding in found)
    parts = [
        (f"{counts['ok']} ok", "good"),
        (count(counts["warn"], "warning"), "doubt" if counts["warn"] else "quiet"),
        (count(counts["fail"], "failure"), "bad" if counts["fail"] else "quiet"),
    ]
    separated = [piece for part in parts for piece in (part, (" · ", "quiet"))]
    return Text.assemble(*separated[:-1])


def _problems(found: Iterable[Problem]) -> Table:
    table = grid({"no_wrap": True}, {"overflow": "fold"})
    for problem in found:
        text = plain(problem.path, "name").append(f"  {plain(problem.message)}", style="not bold")
        table.add_row(Mark("fail", "at"), text)
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


def _arrivals(spec: RunSpec) -> str:
    if spec.arrivals.kind == "constant":
        return f"{spec.arrivals.rate:g} a second"
    return f"{spec.arrivals.concurrency} at a time"


def _meters(plans: Sequence[MeterPlan]) -> str:
    """Each meter with its devices, or that it has none."""
    said = []
    for meter in plans:
        name = f"{meter.name} {meter.alias}" if meter.alias else meter.name
        devices = ", ".join(device.device for device in meter.devices)
        said.append(f"{name} ({devices or 'nothing to read'})")
    return "; ".join(said) or "none"


def _cpus(planned: Plan) -> str:
    launch = planned.launch
    return (
        f"runtime {launch.runtime_cpus}, driver {launch.driver_cpus}, sampler {launch.sampler_cpus}"
    )


def _limits(planned: Plan) -> str:
    launch = planned.launch
    memory, shm = short_memory(launch.memory_bytes), short_memory(launch.shm_bytes)
    return f"memory {memory}, shared memory {shm}, {launch.pids} processes"
