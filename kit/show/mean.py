"""A mean over launches as text, the same on every face.

``2.42 J ± 0.032 (3 launches) ± 0.12 (sensor)``: the mean, its standard error over launches, and
the sensor's uncertainty. One launch has no standard error; the text says so.
"""

from __future__ import annotations

from typing import NamedTuple

from kit.energy.reasons import sentence
from kit.energy.results.document import Mean, Metric
from kit.show.rounding import IN_DOUBT, digits_left, fixed, number

HEADING = "mean ± standard error ± sensor"
LEGEND = (
    "± (launches): standard error of the mean over launches, sd/√n; one launch has none. "
    "± (sensor): what the sensor may be wrong by in every launch alike; of an estimate, its "
    "(model). Both are standard uncertainties (68%)."
)
SHORT_LEGEND = "mean ± standard error over launches (– of one launch) ± sensor; 68%"


class MeanText(NamedTuple):
    """A mean in pieces: ``2.42``, ``J``, ``± 0.032 (3 launches)``, ``± 0.12 (sensor)``."""

    value: str
    unit: str
    launches: str
    sensor: str
    doubt: str = ""

    @property
    def spread(self) -> str:
        """The uncertainties after value and unit."""
        return " ".join(filter(None, self[2:]))


def mean(metric: Mean) -> str:
    """A metric's mean with its uncertainty, or why there is none."""
    words = pieces(metric)
    if words is None:
        return f"unmeasured: {sentence(metric.reason or 'no reason recorded')}"
    guessed = " estimated" if metric.status == "estimated" else ""
    return f"{words.value} {words.unit}{guessed} {words.spread}"


def pieces(metric: Mean) -> MeanText | None:
    """The same in pieces; a metric without a value has none."""
    if metric.value is None:
        return None
    scale, unit = scaled(metric)
    se, sensor = metric.se, metric.u_sensor
    what = "model" if metric.status == "estimated" else "sensor"
    return MeanText(
        fixed(metric.value * scale, _digits(metric, metric.value)),
        unit,
        "(one launch)" if se is None else f"± {fixed(se * scale, 2)} ({metric.n or 1} launches)",
        "" if sensor is None else f"± {fixed(sensor * scale, 2)} ({what})",
        IN_DOUBT if metric.doubts else "",
    )


def short(metric: Mean | None) -> str:
    """``2.42 ± 0.032 ± 0.12`` in the metric's own unit, for a narrow column; see `SHORT_LEGEND`.

    A metric without a sensor has no second ±.
    """
    if metric is None or metric.value is None:
        return "–"
    se, sensor = metric.se, metric.u_sensor
    parts = [fixed(metric.value, _digits(metric, metric.value))]
    parts += ["± –" if se is None else f"± {fixed(se, 2)}"]
    parts += [] if sensor is None else [f"± {fixed(sensor, 2)}"]
    return " ".join([*parts, *(["(in doubt)"] if metric.doubts else [])])


def scaled(metric: Mean) -> tuple[float, str]:
    """The factor and unit of a metric: thousandths if it would begin with zeros."""
    small = metric.unit in ("s", "J") and 0 < abs(metric.value or 0.0) < 0.1
    return (1000.0, f"m{metric.unit}") if small else (1.0, metric.unit)


def interval(metric: Metric) -> str:
    """``95% [2.28, 2.56] J``: Student's interval of the mean; a dash for one launch."""
    if not metric.ci95:
        return "–"
    scale, unit = scaled(metric)
    low, high = (number(end * scale) for end in metric.ci95)
    return f"95% [{low}, {high}] {unit}"


def _digits(metric: Mean, value: float) -> int:
    """Significant digits: to the second digit of the larger uncertainty, 3 to 6; 4 without one."""
    errors = [u for u in (metric.se, metric.u_sensor) if u]
    return digits_left(value, max(errors, default=0.0))
