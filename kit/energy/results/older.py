"""Results of older formulas in today's terms, so that every face reads one form.

Only names change here, and what follows from stored numbers alone. To have the numbers themselves
by today's formulas, `kit recompute` makes them again from the raw records.

    formulas 4    ``u_repeat`` is called ``u_reading``; metrics have their standard error ``se``
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

_RENAMED = {"u_repeat": "u_reading"}


def readable(results: Mapping[str, Any]) -> dict[str, Any]:
    """A results document as stored, whatever its formulas; what is malformed stays as it is."""
    found: dict[str, Any] = _renamed(results)
    metrics = found.get("metrics")
    every = [found.get("primary"), *(metrics.values() if isinstance(metrics, dict) else ())]
    for metric in every:
        if isinstance(metric, dict) and "se" not in metric:
            metric |= _standard_error(metric)
    return found


def _renamed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_RENAMED.get(key, key): _renamed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_renamed(item) for item in value]
    return value


def _standard_error(metric: Mapping[str, Any]) -> dict[str, float]:
    sd, n = metric.get("sd"), metric.get("n")
    if not (isinstance(sd, int | float) and isinstance(n, int) and n > 1):
        return {}
    return {"se": sd / math.sqrt(n)}
