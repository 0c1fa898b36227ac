"""The machine and the software of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from markupsafe import Markup

from kit.core.arrays import np, npt
from kit.core.model import ImageIdentity
from kit.core.units import event_reasons
from kit.energy.results import checks
from kit.record.records import RunRecords
from kit.show.report import chart
from kit.show.report.parts import absent, facts, figure, section, table, tag
from kit.spec.workloads import arrivals


def over_the_run(records: RunRecords) -> Markup:
    """Temperature and SM clock of every GPU over the run, and reasons of limited clocks."""
    drawn = chart.context(records)
    reasons = [row for gpu in checks.gpus(records) for row in _reason_rows(records, gpu.device)]
    if drawn is None and not reasons:
        return section("Temperature and clocks", tag("p", absent("no GPU was read"), class_="note"))
    heads = ["GPU", "clocks held by", "of the run", "of the measured blocks"]
    return section(
        "Temperature and clocks",
        figure(chart.inline(drawn), drawn.caption)
        if drawn
        else tag("p", absent("neither temperature nor SM clock was read")),
        table(heads, reasons, "What held the clocks of each GPU.", numeric=2)
        if reasons
        else tag("p", absent("no clock event reasons were read")),
        note="Shares of the readings in which the driver gave that reason for the clocks not "
        "being higher.",
    )


def _reason_rows(records: RunRecords, device: str) -> Iterator[list[object]]:
    series = records.samples.get(device, "gpu_event_reasons")
    if series is None or not len(series.t):
        return
    inside = np.zeros(len(series.t), dtype=bool)
    for phase in records.phases:
        if phase.name == "measured":
            inside |= (series.t >= phase.t0) & (series.t < phase.t1)
    masks = {int(mask): event_reasons(int(mask)) or ("none",) for mask in np.unique(series.raw)}
    for word in sorted({word for words in masks.values() for word in words}):
        is_given = np.isin(series.raw, [mask for mask, words in masks.items() if word in words])
        yield [device, word, _share(is_given), _share(is_given[inside])]


def _share(is_given: npt.NDArray[np.bool_]) -> object:
    if not len(is_given):
        return tag("span", "no reading", class_="absent")
    return f"{100 * float(is_given.mean()):.0f}%"


def in_short(records: RunRecords) -> Iterator[tuple[str, object]]:
    """What ran, on what, with which meters, and when; each in a line."""
    spec, plan = records.spec, records.plan
    model = spec.weights.repo if spec.weights else "no model"
    launches = f"{spec.launches} {'launch' if spec.launches == 1 else 'launches'}"
    yield "ran", f"{spec.runtime.name} · {model} · {launches} of {plan.requests} requests"
    yield "on", ", ".join(_machine(records.env_start)) or "a machine that is not described"
    read = [
        f"{m.name} ({', '.join(d.device for d in m.devices)})" for m in plan.meters if m.devices
    ]
    yield "meters", ", ".join(read) or "none"
    first = records.events[0].data if records.events else {}
    yield "began", str(first.get("utc", ""))


def _machine(env: Mapping[str, Any]) -> Iterator[str]:
    """The names of the GPUs, equal ones counted, and of the CPU."""
    gpus, cpu = env.get("gpus"), env.get("cpu")
    cards = Counter(
        str(card.get("name", "GPU"))
        for card in (gpus.values() if isinstance(gpus, Mapping) else ())
        if isinstance(card, Mapping)
    )
    for name, many in cards.items():
        yield name if many == 1 else f"{many} × {name}"
    if isinstance(cpu, Mapping) and cpu.get("model"):
        yield str(cpu["model"])


def what_ran(records: RunRecords) -> Markup:
    spec, plan = records.spec, records.plan
    files = spec.weights.files if spec.weights else ()
    return section(
        "What ran",
        facts(
            [
                ("runtime", spec.runtime.name),
                ("arguments", tag("code", " ".join(plan.launch.argv))),
                *_image(plan.image, plan.image_match),
                *((f.path, tag("code", f"sha256:{f.sha256}")) for f in files),
                ("work", f"{plan.requests} requests a launch, {arrivals.words(spec.arrivals)}"),
                *([("a repeat", plan.repeat.text)] if plan.repeat else []),
                ("network", f"{plan.launch.network}; egress: {plan.launch.egress}"),
                (
                    "CPUs",
                    f"runtime {plan.launch.runtime_cpus}, driver {plan.launch.driver_cpus}, "
                    f"sampler {plan.launch.sampler_cpus}",
                ),
            ]
        ),
    )


def _image(image: ImageIdentity, match: str) -> list[tuple[str, object]]:
    return [
        ("image", f"{image.reference} ({match} to what the spec pins)"),
        ("image id", tag("code", image.image_id)),
    ]


def environment(records: RunRecords) -> Markup:
    return section(
        "Environment",
        tag(
            "details",
            tag("summary", "At the start of the run"),
            facts(_flat(records.env_start)),
        ),
        note="Devices go by aliases; host name and UUIDs are withheld.",
    )


def _flat(value: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, object]]:
    for key, child in value.items():
        name = f"{path}.{key}" if path else str(key)
        if isinstance(child, Mapping) and set(child) == {"absent"}:
            yield name, tag("span", f"absent: {child['absent']}", class_="absent")
        elif isinstance(child, Mapping):
            yield from _flat(child, name)
        else:
            yield name, _text(child)


def _text(value: object) -> object:
    """A value of the fingerprint as text."""
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    return value
