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
from kit.spec.workloads import arrivals

if (
    TYPE_CHECKING
):  # only the functions that need replay import it, so that other commands answer at once
    from kit.judge.replay import FilePart, ImagePart, MeterPart, Undertaking
    from kit.machine.images import Recipe

QUESTION = "Do exactly this?"
_HEADING = "a sealed run asks this machine to do what follows; nothing of it has been done"
_RIGHTS = "user nobody (65534), no capabilities, no new privileges, read-only files, 256 MiB /tmp"


def undertaking(undertaking: Undertaking) -> None:
    """Print everything that a replay would do, on stderr, before it asks for a yes."""
    put(stderr(), title("this replay", _HEADING), undertaking_list(undertaking))


def undertaking_list(undertaking: Undertaking) -> RenderableType:
    """Everything that a replay would do, as a list to draw."""
    from kit.show.render.rehearsal import findings_table, limits, network

    spec, launch = undertaking.spec, undertaking.launch
    rows: list[tuple[str, RenderableType | str | None]] = [
        ("spec", spec.name),
        ("runtime", spec.runtime.name),
        ("image", _image(undertaking.image)),
        ("model", _model(spec)),
        *_labelled("files", [_file(part) for part in undertaking.files]),
        *_labelled("meters", [_meter(part) for part in undertaking.meters] or ["none"]),
        ("GPUs", f"{spec.devices.gpus}, with full access to them" if spec.devices.gpus else "none"),
        ("network", plain(network(launch), "doubt" if launch.egress == "open" else "")),
        ("rights", _RIGHTS),
        ("limits", f"{limits(launch)}, CPUs {launch.runtime_cpus}"),
        ("work", _work(undertaking)),
        ("time", _time(undertaking)),
        ("disk", _disk(undertaking)),
        ("command", shlex.join(undertaking.command) or "the engine cannot hand out the GPUs"),
    ]
    if not undertaking.findings:
        return facts(rows)
    return Group(facts(rows), Text(), findings_table(undertaking.findings))


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
    sentence = f"{lock.recipe} {lock.image_id} from {count(debian, 'Debian package')} and "
    sentence += f"{count(len(lock.wheels), 'Python package')}, each by its hash ({size}), fetched "
    sentence += "from Debian's archive and this machine's package index"
    if lock.compile and lock.compile.source:
        source = lock.compile.source
        return (
            f"{sentence}; {source.name} {source.version} is COMPILED in a sandbox without network"
        )
    return f"{sentence}; nothing of it is executed by the build"


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


def _work(undertaking: Undertaking) -> str:
    launches = count(undertaking.spec.launches, "launch", "es")
    requests = count(undertaking.requests, "request")
    return f"{launches} of {requests} each, {arrivals.words(undertaking.spec.arrivals)}"


def _time(undertaking: Undertaking) -> str:
    at_most = f"at most {short_time(undertaking.spec.limits.run_s)}"
    if undertaking.took_s is None:
        return f"at least {short_time(undertaking.least_s)}, {at_most}"
    by = (
        "the last run of this spec here"
        if undertaking.took_here
        else "the original, by its journal,"
    )
    return f"about {short_time(undertaking.took_s)}, as {by} took; {at_most}"


def _disk(undertaking: Undertaking) -> str:
    fetched = undertaking.fetched_bytes
    sentence = f"at most {short_bytes(undertaking.run_bytes)} for the run"
    return f"{short_bytes(fetched)} to be fetched, {sentence}" if fetched else sentence
