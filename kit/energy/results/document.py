"""The records of ``results.json``: every number of a run.

The contract with the outside is ``kit/schemas/results.json`` (`kit schema results`), and
`kit.energy.results.form` writes and reads the document. Energies are joules, powers watts, times
called ``t…`` nanoseconds since the run's origin; every uncertainty is a standard one (k = 1). What
was not measured is None with a `Reason` beside it, and never 0. What older formulas did not have
is None or empty.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from kit.core.errors import UsageError
from kit.energy.reason import Reason
from kit.energy.steady import Steady
from kit.energy.value import EnergyValue

Status = Literal["measured", "estimated", "unmeasured"]
MeasuredOrNot = Literal["measured", "unmeasured"]
Place = Literal["before", "within"]


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """Base of the records of the document; on reading, a key that is not known is passed over."""


class NoticeRecord(Reason):
    """What a reader must know before believing a number: a stable code with its values.

    Before formulas 5 its only value is ``message``: the notice in words, its launches among them.
    """

    __slots__ = ()

    @property
    def launches(self) -> tuple[int, ...]:
        """The launches that it is about; none where it is about the run."""
        return tuple(self.values.get("launches", ()))


# --- over launches --------------------------------------------------------------------------


class Mean(Part, frozen=True, kw_only=True, omit_defaults=True):
    """A mean over ``n`` launches in ``unit`` (J, s, tokens/s, images/s), with its uncertainty.

    ``se`` is the standard error of the mean over launches, None with one launch; ``u_sensor`` is
    the sensor's own error, which launches share (energy alone). Where ``status`` is ``unmeasured``,
    ``value`` is None and ``reason`` says why. ``doubts`` says which readings behind it are not
    believed, and why.
    """

    status: Status
    unit: str
    value: float | None = None
    n: int | None = None
    se: float | None = None
    u_sensor: float | None = None
    reason: Reason | None = None
    doubts: tuple[Reason, ...] = ()


class Metric(Mean, frozen=True, kw_only=True):
    """A number of each launch and their mean; see `Mean`.

    ``launches`` has one value a launch, None where that launch has none. ``sd`` is their sample
    standard deviation and ``ci95`` the 95% interval of the mean, both None with one launch;
    ``interval`` says how it was made. ``u_reading`` is the mean's uncertainty by reading noise
    (energy alone).
    """

    launches: tuple[float | None, ...]
    sd: float | None = None
    ci95: tuple[float, float] | None = None
    u_reading: float | None = None
    interval: str = ""

    @property
    def values(self) -> list[float]:
        """The values of those launches that have one."""
        return [value for value in self.launches if value is not None]


class Outputs(Part, frozen=True, kw_only=True):
    """Whether launches agree on the texts; ``launches`` has the SHA-256 of each one's.

    ``agree`` is None exactly when ``status`` is ``unmeasured``; then ``reason`` says why.
    """

    status: MeasuredOrNot
    unit: str
    launches: tuple[str | None, ...]
    agree: bool | None = None
    reason: Reason | None = None


class Fitted(Part, frozen=True, kw_only=True):
    """A fitted value, its standard error, and what the sensor's gain adds (standard)."""

    value: float
    u: float
    u_sensor: float | None = None


class Split(Part, frozen=True, kw_only=True):
    """Joules per prefill and per decode token above the loaded idle server, of one scope.

    ``baseline_w`` (W) is that of the loaded idle server, ``condition`` the condition number of
    the scaled columns, ``windows`` how many requests were used, ``df`` the degrees of freedom, and
    ``launches`` over how many launches the errors are (0: over requests). All are None where
    ``status`` is ``unmeasured``; then ``reason`` says why.
    """

    status: MeasuredOrNot
    reason: Reason | None = None
    prefill_j_per_token: Fitted | None = None
    decode_j_per_token: Fitted | None = None
    baseline_w: Fitted | None = None
    condition: float | None = None
    windows: int | None = None
    launches: int | None = None
    df: float | None = None


class Averages(Part, frozen=True, kw_only=True):
    """Over which time one power reading of a GPU averages, s.

    ``window_s`` is the length of the trailing mean and ``u_window_s`` its standard uncertainty,
    ``delay_s`` the time from its end until the value could be read, and ``period_s`` that between
    two renewals. Where ``window_s`` is None, ``reason`` says why.
    """

    status: MeasuredOrNot
    period_s: float | None = None
    window_s: float | None = None
    u_window_s: float | None = None
    delay_s: float | None = None
    reason: Reason | None = None


class Doubt(Part, frozen=True, kw_only=True):
    """Readings that are not believed: ``readings`` of ``of``, None where it is about a stretch.

    ``spans`` are the first stretches of time (ns, ns), ``launches`` those whose blocks it is about,
    ``instead`` what is used in their place. ``dropped`` readings are left out; others are used, in
    doubt. What is ``settled`` leaves no number in doubt.
    """

    device: str
    quantity: str
    reason: Reason
    dropped: bool
    settled: bool
    spans: tuple[tuple[int, int], ...]
    launches: tuple[int, ...]
    instead: Reason | None = None
    readings: int | None = None
    of: int | None = None


# --- of one launch --------------------------------------------------------------------------


class NetEnergy(Part, frozen=True, kw_only=True):
    """Energy of the measured block above a baseline.

    ``joules`` is None exactly when ``status`` is ``unmeasured``; then ``reason`` says why.
    ``baseline_w`` is the baseline's mean power (W), ``drift_w`` the later baseline's power minus
    the earlier one's, and ``u_drift_w`` its uncertainty, both None with one baseline. ``u_reading``
    and ``u_sensor`` (J) are as in `EnergyValue`.
    """

    status: Status
    joules: float | None = None
    u_reading: float | None = None
    u_sensor: float | None = None
    baseline_w: float | None = None
    drift_w: float | None = None
    u_drift_w: float | None = None
    reason: Reason | None = None
    doubts: tuple[Reason, ...] = ()


class Phase(Part, frozen=True, kw_only=True):
    """One block of a launch, or all pieces of prefill, decode or mixed within the measured one.

    ``part`` is ``before`` or ``after`` where a launch has two blocks of a name. ``t0`` and ``t1``
    are nanoseconds since the run's origin; ``duration_s`` (s) is the sum of the ``pieces``.
    ``energy`` is gross, by scope: ``gpu``, ``cpu``, ``wall`` and ``estimate`` each have an entry.
    """

    name: str = msgspec.field(name="phase")
    part: str | None
    pieces: int
    t0: int
    t1: int
    duration_s: float
    energy: dict[str, EnergyValue]

    def of(self, scope: str) -> EnergyValue:
        """The energy of a scope; unmeasured, without a reason, where there is no entry."""
        return self.energy.get(scope) or EnergyValue(scope=scope, status="unmeasured")


class CrossCheck(Part, frozen=True, kw_only=True):
    """Energy of the measured block by power readings over that by the counter, or why not."""

    status: MeasuredOrNot
    ratio: float | None = None
    reason: Reason | None = None


class RequestCounts(Part, frozen=True, kw_only=True):
    """Requests of the measured stage: ``issued`` = ``completed`` + ``failed``.

    ``failures`` counts the failed ones by reason code. Tokens, images and denoising steps are sums
    over completed requests, None where one was not counted; images and steps are of a run of
    images alone.
    """

    issued: int
    completed: int
    failed: int
    prompt_tokens: int | None
    output_tokens: int | None
    failures: dict[str, int] = {}
    images: int | None = None
    steps: int | None = None


class Percentiles(Part, frozen=True, kw_only=True):
    """Percentiles of ``n`` values in ``unit`` (s); ``absent`` says why one is None."""

    n: int
    unit: str
    p50: float | None = None
    p90: float | None = None
    p95: float | None = None
    p99: float | None = None
    absent: dict[str, Reason] | None = None


class Latencies(Part, frozen=True, kw_only=True):
    """Time to the first token, time per output token after it, and to the last token."""

    ttft: Percentiles
    tpot: Percentiles
    e2e: Percentiles


class Latency(Part, frozen=True, kw_only=True):
    """Latencies since the actual sending and since the intended one; gaps between chunks."""

    sent: Latencies
    intended: Latencies
    itl: Percentiles


class Throughput(Part, frozen=True, kw_only=True):
    """Output tokens, or images, per second over ``seconds``: from the first sending to the last
    token or image."""

    output_tokens_per_s: float | None = None
    images_per_s: float | None = None
    seconds: float | None = None
    reason: Reason | None = None


class Launch(Part, frozen=True, kw_only=True):
    """One launch of the container, from idle before to idle after.

    ``net`` is the measured block above its baselines: by scope, then ``above_idle`` and
    ``above_loaded_idle``. ``cross_check`` is by device, ``steady`` by GPU and place.
    ``outputs_sha256`` is the hash of the measured texts, None where a request has no answer.
    """

    index: int = msgspec.field(name="launch")
    phases: tuple[Phase, ...]
    net: dict[str, dict[str, NetEnergy]]
    counts: RequestCounts = msgspec.field(name="requests")
    latency: Latency
    throughput: Throughput
    outputs_sha256: str | None
    cross_check: dict[str, CrossCheck] = {}
    steady: dict[str, dict[Place, Steady]] = {}

    @property
    def measured(self) -> Phase | None:
        """The measured block, if the launch came so far."""
        return find(self.phases, "measured", None)

    def phase(self, name: str, part: str | None = None) -> Phase:
        """The phase called ``name``, such as ``measured``; of two, the ``part`` that is named.

        Raises:
            UsageError: the launch has no such phase, or ``part`` must say which of two.
        """
        phases = [p for p in self.phases if p.name == name and part in (None, p.part)]
        if len(phases) == 1:
            return phases[0]
        those = ", ".join(f"{p.name} {p.part or ''}".strip() for p in self.phases) or "none"
        problem = "is not one phase" if phases else "is no phase"
        raise UsageError(f"{name!a} {problem} of launch {self.index}", f"name one of: {those}")


def find(phases: tuple[Phase, ...], name: str, part: str | None) -> Phase | None:
    """The block of that name, if there is one."""
    return next((p for p in phases if (p.name, p.part) == (name, part)), None)


class Results(Part, frozen=True, kw_only=True):
    """Everything derived from a run.

    ``formulas`` is the version of the formulas, ``primary`` the name of the metric that the spec
    named before the run. ``outputs`` and ``metrics`` are over launches: in the document, both
    stand under ``metrics``. ``split`` is by scope, ``averaging`` by GPU and power reading.
    """

    schema: str
    formulas: str
    primary: str
    launches: tuple[Launch, ...]
    outputs: Outputs
    metrics: dict[str, Metric]
    notices: tuple[NoticeRecord, ...]
    split: dict[str, Split] = {}
    averaging: dict[str, dict[str, Averages]] = {}
    doubts: tuple[Doubt, ...] = ()

    @property
    def all_metrics(self) -> dict[str, Metric | Outputs]:
        """The texts, then every number, by name."""
        return {"outputs": self.outputs, **self.metrics}
