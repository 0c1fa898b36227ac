"""The public Python API: what a notebook needs of a sealed run, as typed records. ``import kit``.

Nothing in a run is executed, nothing is written but the verdict that lists show
(`kit.judge.admission`), and no number is believed: energies and metrics are computed again from
the raw readings, by today's formulas. Energies are joules, powers watts, times of records
nanoseconds on the run's own clock; every uncertainty is a standard one (k = 1). What was not
measured is None, with the reason beside it; it is never 0. A reason (`Reason`) prints as its
sentence.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from kit.core.errors import ArchiveRefused, KitError, UsageError
from kit.core.facts import NO_FACTS, QuantityFacts
from kit.core.model import Plan, Request, RunSpec
from kit.core.units import QUANTITIES, scale_of
from kit.energy import results
from kit.energy.reason import Reason
from kit.energy.reasons import Notice, notices
from kit.energy.results import document
from kit.energy.results.document import Metric, NetEnergy, Phase
from kit.energy.value import EnergyValue
from kit.judge import admission
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
    "Reason",
    "Run",
    "Verdict",
    "compare",
    "load",
    "verify",
)

PathLike = str | os.PathLike[str]


class Launch(document.Launch, frozen=True, kw_only=True):
    """One launch of the container, from idle before to idle after.

    ``net`` is the measured block above its baselines: by scope, then ``above_idle`` and
    ``above_loaded_idle``. ``requests`` are those of every stage, in the order of their end;
    ``counts`` are those of the measured stage, whose ``prompt_tokens`` and ``output_tokens`` are
    sums over completed requests, None where one was not counted.
    """

    # In the document, `requests` is the name of the counts.
    requests: tuple[Request, ...] = msgspec.field(name="every_request")

    @property
    def completed(self) -> int:
        """How many requests of the measured stage were answered well."""
        return self.counts.completed

    @property
    def failed(self) -> int:
        """How many were not."""
        return self.counts.failed

    @property
    def prompt_tokens(self) -> int | None:
        """Sum over completed requests; None where one was not counted."""
        return self.counts.prompt_tokens

    @property
    def output_tokens(self) -> int | None:
        """Sum over completed requests; None where one was not counted."""
        return self.counts.output_tokens


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
        quantity = QUANTITIES[name]
        values = series.raw.astype(float) * scale_of(name, facts)
        return Readings(
            series.t, values, quantity.unit, quantity.kind, series.raw, series.error_times
        )

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
    return admission.verify(_at(path))


def load(path: PathLike) -> Run:
    """The run at ``path``, a sealed folder or a ``.kit.zip``, if it is what was sealed.

    Hashes and the form of every file are checked; `verify` checks the rest.

    Raises:
        ArchiveRefused: it is not what was sealed, is malformed, or is unsafe; ``code`` names why.
        UsageError: nothing is there, or it cannot be read.
    """
    from kit.judge.replay import outcome

    run = _at(path)
    admission.admit(run, records=True)
    with archive.open_source(run) as source:
        data, listed = manifest.read(source)
    with admission.malformed(run):
        records, run_results = outcome.computed(run)
        return Run(
            hash=manifest.run_hash(data),
            status=listed.status,
            reason=listed.reason,
            spec=records.spec,
            plan=records.plan,
            launches=tuple(_launch(launch, records) for launch in run_results.launches),
            metrics=run_results.metrics,
            notices=tuple(notices(run_results.notices, len(run_results.launches))),
            environment=records.env_start,
            results=results.to_document(run_results),
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
        admission.admit(run, records=True)
    with admission.malformed(pair[1]):
        return outcome.judge(*pair)


def _launch(launch: document.Launch, records: RunRecords) -> Launch:
    own = {name: getattr(launch, name) for name in launch.__struct_fields__}
    return Launch(**own, requests=records.requests.get(launch.index, ()))
