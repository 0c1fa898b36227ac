"""Reading a run spec: file → JSON → JSON Schema (with the runtime's own options) → `RunSpec`.

All problems are reported together, each with its JSON path and a remedy. The schema file is the
contract and the only place of defaults; a sealed spec has all of them filled in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from kit.core import jsonio, jsonplace, resources, schemawords
from kit.core.errors import SpecInvalid, UsageError
from kit.core.model import Problem, RunSpec
from kit.core.nearest import one_of
from kit.core.text import utf8
from kit.machine import weights
from kit.spec import meters, runtimes, template, workloads
from kit.spec.workloads import arrivals

MAX_BYTES = 4 << 20


def load(path: Path) -> RunSpec:
    """The spec in the file ``path``.

    Raises:
        UsageError: the file cannot be read or is not strict JSON.
        SpecInvalid: the spec has problems; all of them are listed.
    """
    return parse(read(path), str(path))


def read(path: Path) -> bytes:
    """The text of a spec file as UTF-8; it may be no larger than 4 MiB."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UsageError(
            f"cannot read the spec {path}: {why}", "name a spec file, or write one with `kit init`"
        ) from error
    if len(data) > MAX_BYTES:
        raise UsageError(
            f"{path} is larger than 4 MiB: no run spec is", "name a spec, such as `kit init` writes"
        )
    return utf8(data)


def parse(data: bytes, name: str = "the spec") -> RunSpec:
    """`load` for bytes already read."""
    try:
        document = jsonio.parse(data, name)
    except jsonio.JsonRefused as error:
        raise error.of_own(name) from error
    faults = problems(document)
    if faults:
        raise SpecInvalid(faults, name, jsonplace.of_problems(data.decode(), faults))
    return msgspec.convert(filled(document), RunSpec, strict=False)


def problems(document: Any) -> list[Problem]:
    """Everything wrong with a parsed spec, in the order of the document."""
    unpinned = template.is_template(document)
    rules = template.schema_of(schema()) if unpinned else schema()
    faults = list(schemawords.problems(rules, document)) + [template.UNPINNED] * unpinned
    if isinstance(document, dict):
        own = [*option_problems(document), *_slices(document)]
        known = {problem.path for problem in own}  # of a name that kit refuses, its form is no news
        faults = [p for p in faults if p.path not in known] + own
    if faults:
        return faults
    spec = msgspec.convert(filled(document), RunSpec, strict=False)
    own = _made_problems(spec) or list(runtimes.get(spec.runtime.name).problems(spec))
    of_weights = weights.problems(spec.weights) if spec.weights else ()
    return [*own, *_meaning_problems(spec), *of_weights]


def schema(name: str = "run-spec") -> dict[str, Any]:
    """The JSON Schema called ``name``, parsed."""
    loaded: dict[str, Any] = jsonio.read(resources.schema_path(name))
    return loaded


def filled(document: Mapping[str, Any]) -> dict[str, Any]:
    """``document`` with every default of the schema, the runtime and the workload filled in."""
    result = fill_defaults(schema(), dict(document))
    for part, registry in (("runtime", runtimes), ("workload", workloads)):
        chosen = registry.get(result[part]["name"])
        result[part]["options"] = fill_defaults(
            chosen.options_schema, dict(result[part].get("options", {}))
        )
    return result


def fill_defaults(schema: Mapping[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    """``value`` with the defaults of an object schema filled in, recursively."""
    result = dict(value)
    for key, child in schema.get("properties", {}).items():
        if key not in result and "default" in child:
            result[key] = child["default"]
        if isinstance(result.get(key), dict):
            result[key] = fill_defaults(child, result[key])
    return result


def document(spec: RunSpec) -> dict[str, Any]:
    """``spec`` as the JSON document that is sealed; it passes this module's own checks again.

    Keys without a value are left out, except ``weights``, where null means that none are needed.
    """
    written = {k: _without_none(v) for k, v in msgspec.to_builtins(spec).items()}
    return {k: v for k, v in written.items() if v is not None or k == "weights"}


def _without_none(value: Any) -> Any:
    """``value`` without keys that hold None."""
    if isinstance(value, dict):
        return {k: _without_none(v) for k, v in value.items() if v is not None}
    return [_without_none(v) for v in value] if isinstance(value, list | tuple) else value


def spec_hash(spec: RunSpec) -> str:
    """SHA-256 of the spec's canonical form; a run and all its replays share it."""
    return jsonio.hash_of(document(spec))


def option_problems(document: Mapping[str, Any]) -> Iterator[Problem]:
    """Problems of the options of runtime and workload, by their own schemas."""
    for part, registry in (("runtime", runtimes), ("workload", workloads)):
        section = document.get(part)
        name = section.get("name") if isinstance(section, dict) else None
        if not isinstance(name, str):
            continue
        if part == "runtime" and (why := runtimes.refusal(name)):
            yield Problem("$.runtime.name", why.message, why.remedy)
            continue
        if not registry.knows(name):
            remedy = one_of(name, registry.names())
            yield Problem(f"$.{part}.name", f"kit knows no {part} {name!r}", remedy)
            continue
        options = section.get("options", {}) if isinstance(section, dict) else {}
        rules = registry.get(name).options_schema
        yield from schemawords.problems(rules, options, f"$.{part}.options")


def _slices(document: Mapping[str, Any]) -> Iterator[Problem]:
    """A GPU of the spec that is a slice of one; its energy cannot be told from its neighbours'."""
    devices = document.get("devices")
    if isinstance(devices, dict) and "MIG-" in repr(devices.get("gpus")):
        yield Problem(
            "$.devices.gpus",
            "a MIG instance is a slice of a GPU, and NVML measures the whole board alone: kit "
            "runs on whole boards",
            "turn MIG off (`sudo nvidia-smi -mig 0`) and write how many boards, such as 1",
        )


def _meaning_problems(spec: RunSpec) -> list[Problem]:
    """Problems that no schema can express: unknown names, a metric without its meter."""
    result = []
    for index, meter in enumerate(spec.meters):
        where = f"$.meters[{index}]"
        if not meters.knows(meter.name):
            remedy = one_of(meter.name, meters.names())
            result.append(Problem(where, f"kit knows no meter {meter.name!r}", remedy))
        elif meters.is_aliased(meter.name) and meter.alias is None:
            message = f"the meter {meter.name} needs an alias"
            result.append(Problem(where, message, 'add "alias": a name in host.toml'))
    names = [(m.name, m.alias) for m in spec.meters]
    if len(set(names)) != len(names):
        result.append(Problem("$.meters", "one meter is named twice", "name each meter once"))
    known_meters = [m.name for m in spec.meters if meters.knows(m.name)]
    result += [*_primary_problems(spec, known_meters), *_scope_problems(known_meters)]
    within_s = spec.limits.run_s / spec.launches
    result += arrivals.problems(spec.arrivals, spec.workload.options.get("requests", 1), within_s)
    return result


# Ends of the names of metrics by what they are not about, and metrics that are.
_OF_OTHERS = {
    "text": ("_per_image", "_per_step", "image_throughput"),
    "image": ("_per_output_token", "ttft_p50", "tpot_p50", "output_throughput"),
}
_INSTEAD = {
    "text": "gpu_energy_per_output_token or cpu_energy_per_output_token",
    "image": "gpu_energy_per_image or cpu_energy_per_image",
}


def _made_problems(spec: RunSpec) -> list[Problem]:
    """A workload of texts for a runtime of images, or the other way round."""
    makes = runtimes.get(spec.runtime.name).makes
    if workloads.makes(spec.workload.name) == makes:
        return []
    able = [name for name in workloads.names() if workloads.makes(name) == makes]
    return [
        Problem(
            "$.workload.name",
            f"{spec.runtime.name} makes {makes}s, and the workload {spec.workload.name} asks for "
            "others",
            f"use the workload {' or '.join(able)}" if able else "use another runtime",
        )
    ]


def _primary_problems(spec: RunSpec, names: Sequence[str]) -> list[Problem]:
    """An energy needs a meter of its scope, and a metric the work that it is about."""
    makes = workloads.makes(spec.workload.name)
    if spec.primary_metric.endswith(_OF_OTHERS[makes]):
        message = f"{spec.primary_metric} is no metric of {makes}s"
        return [Problem("$.primary_metric", message, f"use {_INSTEAD[makes]}")]
    scope, _, rest = spec.primary_metric.partition("_energy_")
    if not rest or scope in meters.scopes(names):
        return []
    able = meters.of_scope(scope)
    return [
        Problem(
            "$.primary_metric",
            f"{spec.primary_metric} needs the meter {' or '.join(able)}, which the spec does not "
            "ask for",
            f'add {{"name": "{able[0]}"}} to meters, or choose another primary metric',
        )
    ]


def _scope_problems(meters_asked_for: Sequence[str]) -> list[Problem]:
    """Two kinds of meter that read one scope would count the same devices twice."""
    return [
        Problem(
            "$.meters",
            f"{' and '.join(names)} both measure {scope}: what both of them read would count twice",
            "keep one of them",
        )
        for scope, names in meters.scopes(meters_asked_for).items()
        if len(names) > 1
    ]
