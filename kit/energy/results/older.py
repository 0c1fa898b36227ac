"""Results of older formulas in today's terms, so that every face reads one form.

Only names change here, and what follows from stored numbers alone. To have the numbers themselves
by today's formulas, `kit recompute` makes them again from the raw records.

    formulas 4    ``u_repeat`` is called ``u_reading``; metrics have their standard error ``se``
    formulas 5    a reason is a code with values (`kit.energy.reasons`), no sentence; phases have no
                  ``alias``. The numbers are those of formulas 4, so that a document of these is
                  computed again in whole: `in_words` gives today's one its form, in the wording of
                  then (`kit.energy.results.formerwords`)
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from kit.energy import reasons
from kit.energy.reason import CODE
from kit.energy.results.formerwords import FORMULAS_4
from kit.record.phases import FORMER_ALIASES

IN_WORDS = "4"
_RENAMED = {"u_repeat": "u_reading"}
# Formulas that have today's names, and `se`.
_TODAYS_NAMES = ("4", "5")


def readable(results: Mapping[str, Any]) -> dict[str, Any]:
    """A results document as stored, whatever its formulas; what is malformed stays as it is."""
    if results.get("formulas") in _TODAYS_NAMES:
        return dict(results)
    found: dict[str, Any] = _renamed(results)
    metrics = found.get("metrics")
    every = [found.get("primary"), *(metrics.values() if isinstance(metrics, dict) else ())]
    for metric in every:
        if isinstance(metric, dict) and "se" not in metric:
            metric |= _standard_error(metric)
    return found


def _renamed(value: Any) -> Any:
    if value is None or isinstance(value, str | int | float):  # nearly all; a list has many runs
        return value
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


def in_words(results: Mapping[str, Any]) -> dict[str, Any]:
    """A document of today's formulas in the form of formulas 4, whose reasons are sentences."""
    found: dict[str, Any] = _said({k: v for k, v in results.items() if k != "notices"})
    found["formulas"] = IN_WORDS
    former = reasons.notices(results["notices"], len(results["launches"]), FORMULAS_4)
    found["notices"] = [notice._asdict() for notice in former]
    for phase in (phase for launch in found["launches"] for phase in launch["phases"]):
        phase["alias"] = FORMER_ALIASES.get(phase["phase"])
    for number in _combined(found):
        if "doubts" in number:
            number["doubts"] = list(dict.fromkeys(number["doubts"]))
    return found


def _combined(results: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every number made of several energies, whose doubts were told once each."""
    yield from (results["primary"], *results["metrics"].values())
    for launch in results["launches"]:
        yield from (net for scope in launch["net"].values() for net in scope.values())
        for phase in launch["phases"]:
            yield from phase["energy"].values() if phase["pieces"] > 1 else ()


def _said(value: Any) -> Any:
    if isinstance(value, Mapping):
        if isinstance(value.get(CODE), str):
            return reasons.sentence(value, FORMULAS_4)
        return {key: _said(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_said(item) for item in value]
    return value
