"""What a plan says of one quantity of a device, as verify needs it to compute again."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

# No number may make a formula overflow: the limits of `kit.schemas/plan.json`.
Seconds = Annotated[float, Meta(ge=0, le=86_400)]
Hour = Annotated[float, Meta(ge=0, le=3600)]
Watts = Annotated[float, Meta(ge=0, le=1e7)]
Factor = Annotated[float, Meta(ge=0.01, le=100)]
AnyWatts = Annotated[float, Meta(ge=-1e7, le=1e7)]
Celsius = Annotated[float, Meta(ge=-300, le=1000)]

# Why a quantity is not read, where kit acts on it: another reads through the same sensor, or the
# counter is answered and does not grow.
Cause = Literal["shared", "still"]


class Probe(Struct, frozen=True, kw_only=True, omit_defaults=True, repr_omit_defaults=True):
    """What was read of an outlet when the run was planned, to check its power against itself.

    Attributes:
        watts: active power, W.
        volts: voltage, V.
        amperes: current, A.
        power_factor: active over apparent power, 1.
    """

    watts: float | None = None
    volts: float | None = None
    amperes: float | None = None
    power_factor: float | None = None


class QuantityFacts(Struct, frozen=True, kw_only=True, omit_defaults=True, repr_omit_defaults=True):
    """The facts of a quantity; a fact that is None is not known, and is not written.

    A fact of another kit that this one does not know is passed over when a plan is read; a meter
    that gives one is refused (`kit.measure.meters.fit`), since the sealed plan would lack it.

    Attributes:
        reason: why the quantity is not read here; it is then absent from the samples.
        cause: a code of that reason that kit acts on: the device shares its sensor, or the counter
            stands still.
        source: how the device is asked for it, or which document its numbers are from.
        scale: factor on the raw integer, on top of the registry's (`kit.core.units`), 1.
        unit: of the value once it is scaled, as the device's own documents have it.
        resolution: step of the value, in the registry's unit.
        wrap: modulus of a counter, raw: it begins again at 0 after ``wrap`` - 1.
        summed: false for a device that lies inside another one, so that nothing counts twice.
        inside: what it lies inside of.
        period_s: time between two updates of the value, as the device makes them, s.
        period_reason: why that is not known, where it was looked for.
        poll_s: time between two reads of it by the sampler, s.
        call_s: time that one read of it took when it was tried, s.
        bridge_s: longest time without a reading that its counter is known to bridge, s.
        slots: how many samples the driver's buffer holds.
        gain: half-width of the sensor's relative error, 1.
        gain_source: who says so.
        offset: half-width of the sensor's constant error, in the registry's unit.
        delay_s: half-width of the time by which the readings may be late, s.
        squelch: loads below read 0, in the registry's unit.
        limit_w: the most that the device can be set to draw, or is built for, W.
        correction: factor that a PDU's calibration against a truer meter found, 1.
        gain_correction: the same of a GPU, 1.
        offset_correction_w: power to add to a GPU's after that factor, W.
        valid_w: lowest and highest power that the calibration met, W.
        valid_degc: lowest and highest temperature that the calibration met, °C.
        lag_s: time by which its energy comes late, s.
        lag_u_s: standard uncertainty of that, s.
        lag_source: who says so.
        calibrated: the day of the calibration, YYYY-MM-DD.
        calibration_sha256: of the document sealed as ``inputs/calibration/<sha256>.json``.
        calibration_unused: why a calibration that is there is not used.
        probe: what was read at planning.
        rounding: what becomes of more digits than a raw integer holds.
        oid: where a PDU keeps it.
        security: how the device's answers are protected on their way.
        idle_w: power of the host's CPUs at rest, by which it is estimated, W.
        max_w: power of the host's CPUs at full load, W.
        cpus: how many CPUs share that.
        u_relative: relative standard uncertainty of the estimate, 1.
        way: how CodeCarbon says that it tracks the component.
        version: CodeCarbon's.
        uncertainty: what CodeCarbon says of it.
    """

    reason: str | None = None
    cause: Cause | None = None
    source: str | None = None
    scale: Annotated[float, Meta(ge=1e-12, le=1e12)] | None = None
    unit: str | None = None
    resolution: float | None = None
    wrap: Annotated[int, Meta(ge=1, le=2**53 - 1)] | None = None
    summed: bool | None = None
    inside: str | None = None
    period_s: Seconds | None = None
    period_reason: str | None = None
    poll_s: Seconds | None = None
    call_s: Hour | None = None
    bridge_s: float | None = None
    slots: Annotated[int, Meta(ge=1, le=10_000_000)] | None = None
    gain: Annotated[float, Meta(ge=0, le=10)] | None = None
    gain_source: str | None = None
    offset: Annotated[float, Meta(ge=0, le=1e6)] | None = None
    delay_s: float | None = None
    squelch: Annotated[float, Meta(ge=0, le=1e9)] | None = None
    limit_w: float | None = None
    correction: Factor | None = None
    gain_correction: Factor | None = None
    offset_correction_w: Annotated[float, Meta(ge=-1e5, le=1e5)] | None = None
    valid_w: tuple[AnyWatts, AnyWatts] | None = None
    valid_degc: tuple[Celsius, Celsius] | None = None
    lag_s: Annotated[float, Meta(ge=-3600, le=3600)] | None = None
    lag_u_s: Hour | None = None
    lag_source: str | None = None
    calibrated: str | None = None
    calibration_sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")] | None = None
    calibration_unused: str | None = None
    probe: Probe | None = None
    rounding: str | None = None
    oid: str | None = None
    security: str | None = None
    idle_w: Watts | None = None
    max_w: Watts | None = None
    cpus: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    u_relative: Annotated[float, Meta(ge=0, le=100)] | None = None
    way: str | None = None
    version: str | None = None
    uncertainty: str | None = None

    @property
    def is_read(self) -> bool:
        """Whether the quantity is read here."""
        return self.reason is None

    @property
    def is_summed(self) -> bool:
        """Whether its device counts: one that lies inside another does not."""
        return self.summed is not False


NO_FACTS = QuantityFacts()


def known(value: float | None, default: float) -> float:
    """A fact's number; ``default`` where it is not known."""
    return default if value is None else value
