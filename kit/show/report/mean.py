"""A mean over launches as text, the same on every face.

``2.42 J ± 0.032 (3 launches) ± 0.12 (sensor)``: the mean, its standard error over launches, and
the sensor's uncertainty. One launch has no standard error; the text says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from kit.energy.reasons import sentence
from kit.show.report.rounding import IN_DOUBT, digits_left, fixed, number

Document = Mapping[str, Any]

HEADING = "mean ± standard error ± sensor"
LEGEND = (
    "± (launches): standard error of the mean over launches, sd/√n; one launch has none. "
    "± (sensor): what the sensor may be wrong by in every launch alike; of an estimate, its "
    "(model). Both are standard uncertainties (68%)."
)
SHORT_LEGEND = "mean ± standard error over launches (– of one launch) ± sensor; 68%"


class Said(NamedTuple):
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


def mean(metric: Document) -> str:
    """A metric's mean with its uncertainty, or why there is none."""
    if "value" not in metric:
        return f"unmeasured: {sentence(metric.get('reason', 'no reason recorded'))}"
    said = pieces(metric)
    guessed = " estimated" if metric.get("status") == "estimated" else ""
    return f"{said.value} {said.unit}{guessed} {said.spread}"


def pieces(metric: Document) -> Said:
    """The same in pieces; a metric without a value has none."""
    scale, unit = scaled(metric)
    n, se, sensor = metric.get("n", 1), metric.get("se"), metric.get("u_sensor")
    what = "model" if metric.get("status") == "estimated" else "sensor"
    return Said(
        fixed(metric["value"] * scale, _digits(metric)),
        unit,
        "(one launch)" if se is None else f"± {fixed(se * scale, 2)} ({n} launches)",
        "" if sensor is None else f"± {fixed(sensor * scale, 2)} ({what})",
        IN_DOUBT if metric.get("doubts") else "",
    )


def short(metric: Document) -> str:
    """``2.42 ± 0.032 ± 0.12`` in the metric's own unit, for a narrow column; see `SHORT_LEGEND`.

    A metric without a sensor has no second ±.
    """
    if "value" not in metric:
        return "–"
    se, sensor = metric.get("se"), metric.get("u_sensor")
    told = [fixed(metric["value"], _digits(metric)), "± –" if se is None else f"± {fixed(se, 2)}"]
    told += [] if sensor is None else [f"± {fixed(sensor, 2)}"]
    return " ".join([*told, *(["(in doubt)"] if metric.get("doubts") else [])])


def scaled(metric: Document) -> tuple[float, str]:
    """The factor and unit of a metric: thousandths if it would begin with zeros."""
    unit = str(metric.get("unit", ""))
    small = unit in ("s", "J") and 0 < abs(metric["value"]) < 0.1
    return (1000.0, f"m{unit}") if small else (1.0, unit)


def interval(metric: Document) -> str:
    """``95% [2.28, 2.56] J``: Student's interval of the mean; a dash for one launch."""
    if not metric.get("ci95"):
        return "–"
    scale, unit = scaled(metric)
    low, high = (number(end * scale) for end in metric["ci95"])
    return f"95% [{low}, {high}] {unit}"


def _digits(metric: Document) -> int:
    """Significant digits: to the second digit of the larger uncertainty, 3 to 6; 4 without one."""
    known = [u for u in (metric.get("se"), metric.get("u_sensor")) if u]
    return digits_left(metric["value"], max(known, default=0.0))
