"""Commands before a run: init, check, plan, schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from kit.cli import owning
from kit.cli.common import Json, Out, Runs, Yes, deliver, print_json, say, store_of
from kit.cli.paths import STDOUT, Named, Spec, Written
from kit.core import resources
from kit.core.errors import EXIT_BLOCKED, SpecInvalid, UsageError
from kit.core.jsonplace import of_problems
from kit.core.model import RunSpec
from kit.core.nearest import one_of
from kit.machine import pinning, weights
from kit.measure import meters
from kit.run.rehearsal import rehearse
from kit.show import render
from kit.spec import runtimes, workloads
from kit.spec import spec as specs
from kit.spec import template as templates

TEMPLATE = "quickstart"
SCHEMAS = ("run-spec", "plan", "event", "manifest", "results", "calibration")


def init(
    file: Annotated[Path, Written] = Path("run-spec.json"),
    *,
    template: str | None = None,
    model: str | None = None,
    yes: Yes = False,
    force: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Write a run spec to start from: a template, or one for a model of your own.

    Args:
        file: the file to write; - is standard output.
        template: a spec of `specs/` to copy, such as models/qwen2.5-7b-instruct; an unknown name
            lists them.
        model: a .gguf file, a model's folder, hf:ORG/REPO@REVISION from the hub's cache, or
            ollama:NAME:TAG from Ollama's store. It is hashed, and its folder is registered in
            host.toml after a yes.
        force: overwrite the file.
    """
    if template is not None and model is not None:
        raise UsageError("--template and --model exclude one another", "give one of them")
    source = resources.specs_dir() / f"{template or TEMPLATE}.json"
    if not source.is_file():
        paths = [
            p.relative_to(resources.specs_dir()) for p in resources.specs_dir().rglob("*.json")
        ]
        names = sorted(p.with_suffix("").as_posix() for p in paths)
        raise UsageError(f"there is no template {template!r}", one_of(template or "", names))
    if file != STDOUT:
        _check_place(file, force)
    data = source.read_bytes() if model is None else owning.begun(model, yes)
    if not deliver(data, file, "name another file"):
        return
    following = f"`kit run {file}`" if model else f"edit it, then `kit check {file}`"
    if templates.is_template(json.loads(data)):
        following = f"`kit weights pin {file}`, on a machine that reaches the hub"
    say(f"wrote {file}; next: {following}")


def _check_place(file: Path, force: bool) -> None:
    """Refuse a place where a new file would lose something, or cannot be, before any work."""
    if file.is_dir():
        raise UsageError(f"{file} is a folder", f"name a file in it: {file / 'run-spec.json'}")
    if file.exists() and not force:
        raise UsageError(f"{file} exists", "name another file, or add --force to overwrite it")
    if not (folder := file.absolute().parent).is_dir():
        raise UsageError(
            f"cannot write {file}: there is no folder {folder}", "make the folder, or name another"
        )


def check(file: Annotated[Path, Named, Spec], *, json: Json = False) -> None:
    """List everything wrong with a run spec, each with its JSON path and a remedy.

    Names and hashes of model files are compared with those that this machine knows, offline.

    Args:
        file: the run spec.
        json: print the result as JSON.
    """
    try:
        spec = specs.load(file)
        doubts = _doubts(spec, file)
    except SpecInvalid as invalid:
        if not json:
            raise
        marked = {"template": True} if templates.UNPINNED in invalid.problems else {}
        listed = [p._asdict() for p in invalid.problems]
        print_json({"valid": False, **marked, "problems": listed})
        raise SystemExit(invalid.exit_code) from None
    if json:
        doubted = [d._asdict() for d in doubts]
        document = {"valid": True, "problems": [], "warnings": doubted}
        print_json({**document, "spec_hash": specs.spec_hash(spec)})
        return
    if doubts:
        render.findings([d.finding for d in doubts])
    say(f"{file} is a valid run spec, hash {specs.spec_hash(spec)[:12]}")


def _doubts(spec: RunSpec, file: Path) -> list[weights.Doubt]:
    """Doubts about the names of the spec's model files.

    Raises:
        SpecInvalid: a name is known here to belong to another hash.
    """
    doubts = pinning.doubts(spec.weights)
    if any(doubt.level == "fail" for doubt in doubts):
        faults = [doubt.problem for doubt in doubts]
        raise SpecInvalid(faults, str(file), of_problems(specs.read(file).decode(), faults))
    return doubts


def plan(file: Annotated[Path, Named, Spec], *, runs: Runs = None, json: Json = False) -> int:
    """Show what a spec resolves to on this machine, and preflight's findings.

    Args:
        file: the run spec.
    """
    rehearsal = rehearse(specs.load(file), store_of(runs))
    if json:
        print_json(
            {
                "plan": msgspec.to_builtins(rehearsal.plan),
                "findings": [msgspec.to_builtins(f) for f in rehearsal.findings],
                "least_duration_s": rehearsal.least_s,
                "last_duration_s": rehearsal.took_s,
                "sample_bytes_per_s": rehearsal.sample_bytes_per_s,
                "command": list(rehearsal.command),
            }
        )
    else:
        render.plan(rehearsal)
    return EXIT_BLOCKED if rehearsal.forbidden else 0


def schema(name: str = "run-spec", *, out: Out = None) -> None:
    """Print a JSON Schema of kit's public contract.

    Args:
        name: run-spec, plan, event, manifest, results; runtime:NAME or workload:NAME for the
            options of one; runtimes, workloads or meters for their names.
    """
    json_text = json.dumps(_schema(name), indent=2, ensure_ascii=False)
    deliver((json_text + "\n").encode(), out)


def _schema(name: str) -> Any:
    kind, _, which = name.partition(":")
    registries: dict[str, Any] = {"runtime": runtimes, "workload": workloads}
    lists: dict[str, Any] = {"runtimes": runtimes, "workloads": workloads, "meters": meters}
    if name in SCHEMAS:
        return specs.schema(name)
    if name in lists:
        return {item: lists[name].get(item).title for item in lists[name].names()}
    if kind in registries and which in registries[kind].names():
        return registries[kind].get(which).options_schema
    if kind in registries:
        names = [f"{kind}:{item}" for item in registries[kind].names()]
    else:
        names = [*SCHEMAS, *lists, "runtime:NAME", "workload:NAME"]
    raise UsageError(f"there is no schema {name!r}", one_of(name, names))
