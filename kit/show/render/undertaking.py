"""What a replay would do, line by line: the same text in `kit replay` and the terminal UI."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from kit.core.model import RunSpec
from kit.show.render.console import (
    count,
    facts,
    plain,
    put,
    short_bytes,
    short_revision,
    short_time,
    stderr,
    title,
)
from kit.show.render.rehearsal import arrivals, findings_table, limits, network

if (
    TYPE_CHECKING
):  # only the functions that need replay import it, so that other commands answer at once
    from kit.judge.replay import FilePart, ImagePart, MeterPart, Undertaking
    from kit.machine.images import Recipe

QUESTION = "Do exactly this?"
_HEADING = "a sealed run asks this machine to do what follows; nothing of it has been done"
_RIGHTS = "user nobody (65534), no capabilities, no new privileges, read-only files, 256 MiB /tmp"


def undertaking(found: Undertaking) -> None:
    """Print everything that a replay would do, on stderr, before it asks for a yes."""
    put(stderr(), title("this replay", _HEADING), undertaking_list(found))


def undertaking_list(found: Undertaking) -> RenderableType:
    """Everything that a replay would do, as a list to draw."""
    spec, launch = found.spec, found.launch
    rows: list[tuple[str, RenderableType | str | None]] = [
        ("spec", spec.name),
        ("runtime", spec.runtime.name),
        ("image", _image(found.image)),
        ("model", _model(spec)),
        *_labelled("files", [_file(part) for part in found.files]),
        *_labelled("meters", [_meter(part) for part in found.meters] or ["none"]),
        ("GPUs", f"{spec.devices.gpus}, with full access to them" if spec.devices.gpus else "none"),
        ("network", plain(network(launch), "doubt" if launch.egress == "open" else "")),
        ("rights", _RIGHTS),
        ("limits", f"{limits(launch)}, CPUs {launch.runtime_cpus}"),
        ("work", _work(found)),
        ("time", _time(found)),
        ("disk", _disk(found)),
        ("command", shlex.join(found.command) or "the engine cannot hand out the GPUs"),
    ]
    if not found.findings:
        return facts(rows)
    return Group(facts(rows), Text(), findings_table(found.findings))


def _labelled(label: str, lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Several lines under one label."""
    return ((label if index == 0 else "", line) for index, line in enumerate(lines))


def _image(part: ImagePart) -> str:
    if part.recipe:
        return f"to be built: {_recipe(part.recipe, part.bytes)}"
    if part.state == "absent":
        return f"MISSING: {_pinned(part)}"
    return f"here ({part.match}): {_pinned(part)}"


def _pinned(part: ImagePart) -> str:
    """An image's name and its pinned digest, once."""
    return part.name if part.digest in part.name else f"{part.name}, pinned {part.digest}"


def _recipe(recipe: Recipe, fetched: int) -> str:
    lock = recipe.lock
    debian = sum(len(base.packages) for base in recipe.bases.values())
    size = short_bytes(fetched)
    said = f"{lock.recipe} {lock.image_id} from {count(debian, 'Debian package')} and "
    said += f"{count(len(lock.wheels), 'Python package')}, each by its hash ({size}), fetched "
    said += "from Debian's archive and this machine's package index"
    if lock.compile and lock.compile.source:
        source = lock.compile.source
        return f"{said}; {source.name} {source.version} is COMPILED in a sandbox without network"
    return f"{said}; nothing of it is executed by the build"


def _model(spec: RunSpec) -> str:
    model = spec.weights
    return f"{model.repo}@{short_revision(model.revision)}" if model else "none"


def _file(part: FilePart) -> str:
    file, size = part.file, short_bytes(part.file.size)
    if part.state == "absent":
        return f"MISSING: {file.path} ({size}), {file.source}"
    if part.path:
        return f"here: {file.path} ({size}), mounted read-only from {part.path}"
    token = " WITH YOUR TOKEN ($HF_TOKEN)" if part.token else ""
    return f"to be fetched: {file.path} ({size}), {file.source}, from {part.reaches}{token}"


def _meter(part: MeterPart) -> str:
    return f"{part.name}: {part.reaches}" + (f", with {part.credentials}" * bool(part.credentials))


def _work(found: Undertaking) -> str:
    launches = count(found.spec.launches, "launch", "es")
    return f"{launches} of {count(found.requests, 'request')} each, {arrivals(found.spec)}"


def _time(found: Undertaking) -> str:
    at_most = f"at most {short_time(found.spec.limits.run_s)}"
    if found.took_s is None:
        return f"at least {short_time(found.least_s)}, {at_most}"
    by = "the last run of this spec here" if found.took_here else "the original, by its journal,"
    return f"about {short_time(found.took_s)}, as {by} took; {at_most}"


def _disk(found: Undertaking) -> str:
    fetched = found.fetched_bytes
    said = f"at most {short_bytes(found.run_bytes)} for the run"
    return f"{short_bytes(fetched)} to be fetched, {said}" if fetched else said
