"""The public Python API: what a notebook needs of a sealed run, as typed records. ``import kit``.

Nothing in a run is executed, nothing is written but the verdict that lists show
(`kit.judge.door`), and no number is believed: energies and metrics are computed again from the raw
readings, by today's formulas. Energies are joules, powers watts, times of records nanoseconds on
the run's own clock; every uncertainty is a standard one (k = 1). What was not measured is None,
with the reason beside it; it is never 0.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from kit.core.errors import ArchiveRefused, KitError, UsageError
from kit.core.facts import NO_FACTS, QuantityFacts
from kit.core.model import EnergyValue, Plan, Record, Request, RunSpec
from kit.core.units import QUANTITIES, scale_of
from kit.judge import door
from kit.judge.compare import Comparison
from kit.judge.verify import Verdict
from kit.record import archive, manifest

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from kit.record.records import RunRecords

__all__ = (
    "ArchiveRefused",
    "Comparison",
    "EnergyValue",
    "KitError",
    "Launch",
    "Metric",
    "NetEnergy",
    "Notice",
    "Phase",
    "Readings",
    "Run",
    "Verdict",
    "compare",
    "load",
    "verify",
)

Status = Literal["measured", "estimated", "unmeasured"]
PathLike = str | os.PathLike[str]


class NetEnergy(Record, frozen=True, kw_only=True):
    """Energy of the measured block above a baseline.

    ``joules`` is None exactly when ``status`` is ``unmeasured``; then ``reason`` says why.
    ``baseline_w`` is the baseline's mean power (W), ``drift_w`` the later baseline's power minus
    the earlier one's, and ``u_drift_w`` its uncertainty. ``u_reading`` and ``u_sensor`` (J) are as
    in `EnergyValue`.
    """

    status: Status
    joules: float | None = None
    u_reading: float | None = None
    u_sensor: float | None = None
    baseline_w: float | None = None
    drift_w: float | None = None
    u_drift_w: float | None = None
    reason: str = ""
    doubts: tuple[str, ...] = ()


class Metric(Record, frozen=True, kw_only=True):
    """A number of each launch and their mean ``value``, in ``unit`` (J, s or tokens/s).

    ``launches`` has one value a launch, None where that launch has none. ``se`` is the standard
    error of the mean over launches and ``ci95`` its 95% interval, both None with one launch;
    ``u_sensor`` is the sensor's own error, which launches share (energy alone). Where ``status``
    is ``unmeasured``, ``value`` is None and ``reason`` says why.
    """

    status: Status
    unit: str
    launches: tuple[float | None, ...]
    value: float | None = None
    n: int | None = None
    se: float | None = None
    sd: float | None = None
    ci95: tuple[float, float] | None = None
    u_reading: float | None = None
    u_sensor: float | None = None
    interval: str = ""
    reason: str = ""
    doubts: tuple[str, ...] = ()


class Notice(Record, frozen=True, kw_only=True):
    """What a reader must know before believing a number; ``code`` is stable."""

    code: str
    message: str


class Phase(Record, frozen=True, kw_only=True):
    """One block of a launch, or all pieces of prefill, decode or mixed within the measured one.

    ``part`` is ``before`` or ``after`` where a launch has two blocks of a name. ``t0`` and ``t1``
    are nanoseconds since the run's origin; ``duration_s`` (s) is the sum of the ``pieces``.
    ``energy`` is gross, by scope: ``gpu``, ``cpu``, ``wall`` and ``estimate`` each have an entry.
    """

    name: str
    part: str | None
    t0: int
    t1: int
    duration_s: float
    pieces: int
    energy: dict[str, EnergyValue]


class Launch(Record, frozen=True, kw_only=True):
    """One launch of the container, from idle before to idle after.

    ``net`` is the measured block above its baselines: by scope, then ``above_idle`` and
    ``above_loaded_idle``. ``requests`` are those of every stage, in the order of their end;
    ``prompt_tokens`` and ``output_tokens`` are sums over completed requests of the measured stage,
    None where one was not counted.
    """

    index: int
    phases: tuple[Phase, ...]
    net: dict[str, dict[str, NetEnergy]]
    completed: int
    failed: int
    prompt_tokens: int | None
    output_tokens: int | None
    outputs_sha256: str | None
    requests: tuple[Request, ...]

    def phase(self, name: str, part: str | None = None) -> Phase:
        """The phase called ``name``, such as ``measured``; of two, the ``part`` that is named.

        Raises:
            UsageError: the launch has no such phase, or ``part`` must say which of two.
        """
        found = [p for p in self.phases if p.name == name and part in (None, p.part)]
        if len(found) == 1:
            return found[0]
        those = ", ".join(f"{p.name} {p.part or ''}".strip() for p in self.phases) or "none"
        said = "is not one phase" if found else "is no phase"
        raise UsageError(f"{name!a} {said} of launch {self.index}", f"name one of: {those}")


@dataclass(frozen=True)
class Readings:
    """The good readings of one quantity of one device, by time.

    Attributes:
        t: nanoseconds since the run's origin. Shape ``(n,)``, int64, ascending.
        values: in ``unit``. Shape ``(n,)``, float64. A counter's only grow, until they wrap.
        unit: W, J, degC, MHz, s, …
        kind: ``gauge``, ``counter``, ``average`` or ``window`` (`kit.core.units.Quantity`).
        raw: the integers as the device gave them. Shape ``(n,)``, int64.
        failed: when reads failed (ns). Shape ``(failures,)``, int64.
    """

    t: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]
    unit: str
    kind: str
    raw: npt.NDArray[np.int64]
    failed: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Run:
    """A sealed run that is what was sealed, with its numbers computed again.

    Attributes:
        hash: the run's hash, from the manifest's bytes.
        status: ``complete``, ``failed`` or ``aborted``; ``reason`` says why it did not complete.
        spec: what was asked for, with every default filled in.
        plan: what it resolved to on the machine: image, meters, devices.
        launches: in order; empty where the run failed before its first.
        metrics: by name (``gpu_energy_per_output_token``, ``ttft_p50``, …), over launches.
        notices: what to know before believing a number.
        environment: the machine's fingerprint at the start.
        results: the whole document that all this is taken from (``kit schema results``).
    """

    hash: str
    status: str
    reason: str
    spec: RunSpec = field(repr=False)
    plan: Plan = field(repr=False)
    launches: tuple[Launch, ...] = field(repr=False)
    metrics: dict[str, Metric] = field(repr=False)
    notices: tuple[Notice, ...]
    environment: dict[str, Any] = field(repr=False)
    results: dict[str, Any] = field(repr=False)
    _records: RunRecords = field(repr=False)

    @property
    def primary(self) -> Metric | None:
        """The metric that the spec named before the run; None where that is the output texts."""
        return self.metrics.get(self.spec.primary_metric)

    @property
    def quantities(self) -> tuple[tuple[str, str], ...]:
        """Every device and quantity that was read: what `readings` takes."""
        return tuple(sorted(self._records.samples.series))

    def readings(self, device: str, name: str) -> Readings:
        """The readings of quantity ``name`` of ``device``, as ``gpu_power_instant`` of ``gpu0``.

        Raises:
            UsageError: nothing was read of it; the remedy names what was, or why not.
        """
        series = self._records.samples.get(device, name)
        facts = self._facts(device, name)
        if series is None:
            why = facts.reason or "it was not read"
            those = ", ".join(" ".join(pair) for pair in self.quantities) or "nothing was read"
            raise UsageError(f"there is no {name} of {device}: {why}", f"choose from: {those}")
        known = QUANTITIES[name]
        values = series.raw.astype(float) * scale_of(name, facts)
        return Readings(series.t, values, known.unit, known.kind, series.raw, series.error_times)

    def _facts(self, device: str, name: str) -> QuantityFacts:
        of = (
            d.quantities.get(name)
            for m in self.plan.meters
            for d in m.devices
            if d.device == device
        )
        return next((facts for facts in of if facts is not None), NO_FACTS)


def verify(path: PathLike) -> Verdict:
    """Check the run at ``path``, a sealed folder or a ``.kit.zip``, on every level.

    A run that is not to be believed is a verdict too: ``passed`` is False and ``failures`` says
    why. ``claim`` and ``unshown`` say what a verdict that passes entitles to say.

    Raises:
        UsageError: nothing is there, or it cannot be read.
    """
    return door.verify(_at(path))


def load(path: PathLike) -> Run:
    """The run at ``path``, a sealed folder or a ``.kit.zip``, if it is what was sealed.

    Hashes and the form of every file are checked; `verify` checks the rest.

    Raises:
        ArchiveRefused: it is not what was sealed, is malformed, or is unsafe; ``code`` names why.
        UsageError: nothing is there, or it cannot be read.
    """
    from kit.judge.replay import outcome

    run = _at(path)
    door.admit(run, records=True)
    with archive.open_source(run) as source:
        data, listed = manifest.read(source)
    with door.malformed(run):
        records, results = outcome.computed(run)
        return Run(
            hash=manifest.run_hash(data),
            status=listed.status,
            reason=listed.reason,
            spec=records.spec,
            plan=records.plan,
            launches=tuple(_launch(found, records) for found in results["launches"]),
            metrics={
                name: msgspec.convert(found, Metric)
                for name, found in results["metrics"].items()
                if name != "outputs"
            },
            notices=msgspec.convert(results["notices"], tuple[Notice, ...]),
            environment=records.env_start,
            results=results,
            _records=records,
        )


def _at(path: PathLike) -> Path:
    """A path as a shell reads it: a notebook has none, so `~` is expanded here."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        message = f"there is no home of that user in {os.fspath(path)!a}"
        raise UsageError(message, "write the path in full") from error


def compare(original: PathLike, new: PathLike) -> Comparison:
    """The verdict on ``new`` as a replay of ``original``, by the margins that this one registered.

    ``axes`` has a metric each, with verdict, ratio (new over original) and its 90% interval;
    ``primary`` is the one that the original's spec named.

    Raises:
        ArchiveRefused, UsageError: as `load` does, for either run.
    """
    from kit.judge.replay import outcome

    pair = _at(original), _at(new)
    for run in pair:
        door.admit(run, records=True)
    with door.malformed(pair[1]):
        return outcome.judge(*pair)


def _launch(found: Mapping[str, Any], records: RunRecords) -> Launch:
    counted = found["requests"]
    return Launch(
        index=found["launch"],
        phases=tuple(_phase(phase) for phase in found["phases"]),
        net=msgspec.convert(found["net"], dict[str, dict[str, NetEnergy]]),
        completed=counted["completed"],
        failed=counted["failed"],
        prompt_tokens=counted["prompt_tokens"],
        output_tokens=counted["output_tokens"],
        outputs_sha256=found["outputs_sha256"],
        requests=records.requests.get(found["launch"], ()),
    )


def _phase(found: Mapping[str, Any]) -> Phase:
    energy = found["energy"].items()
    return Phase(
        name=found["phase"],
        part=found["part"],
        t0=found["t0"],
        t1=found["t1"],
        duration_s=found["duration_s"],
        pieces=found["pieces"],
        energy={s: msgspec.convert({"scope": s, **value}, EnergyValue) for s, value in energy},
    )
