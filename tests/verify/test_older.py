"""Results by older formulas: what people quote from them must be near what this kit computes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kit.energy import results
from kit.judge.verify import verify
from tests import golden
from tests.verify.forging import failed

NAME = "gpu_energy_per_output_token"
FORMER = "3"
Forge = Callable[[dict[str, Any]], object]


def former(run: Path, forge: Forge, formulas: str = FORMER) -> Path:
    """``run`` with results by older formulas, forged, and sealed again."""

    def change(document: dict[str, Any]) -> None:
        document["formulas"] = formulas
        forge(document)

    golden.edit_json(run / "results.json", change)
    return golden.reseal(run)


def scale(factor: float, name: str = NAME) -> Forge:
    def change(document: dict[str, Any]) -> None:
        metric = document["metrics"][name]
        metric["value"] *= factor
        metric["launches"] = [v * factor for v in metric["launches"]]

    return change


def test_equal_values_verify_and_the_line_says_what_was_not_recomputed(run: Path) -> None:
    verdict = verify(former(run, lambda document: None))
    assert verdict.passed
    (line,) = [c for c in verdict.checks if c.code == "FORMULAS_FORMER"]
    assert line.status == "WARN"
    assert f"by formulas {FORMER}" in line.message
    assert "phases, uncertainties and notices were not recomputed" in line.message


def test_a_value_may_move_within_its_uncertainty(run: Path) -> None:
    verdict = verify(former(run, scale(1.0001)))
    assert verdict.passed
    (line,) = [c for c in verdict.checks if c.code == "FORMULAS_FORMER"]
    assert "within its uncertainty" in line.message


def wide(document: dict[str, Any]) -> None:
    """Half the energy, and an uncertainty that would allow it."""
    scale(0.5)(document)
    document["metrics"][NAME].update(u_sensor=1e9, sd=1e9)


FORGERIES: dict[str, Forge] = {
    "mean and launches": scale(0.5),
    "mean alone": lambda document: document["metrics"][NAME].update(value=1.0),
    "launches alone": lambda document: document["metrics"][NAME].update(launches=[1.0, 1.0]),
    "a wide uncertainty": wide,
    "no uncertainty, no room": scale(1.001, "output_throughput"),
    "a launch dropped": lambda document: document["metrics"][NAME]["launches"].pop(),
    "another primary": lambda document: document["primary"].update(metric=NAME),
    "other texts": lambda document: document["primary"].update(launches=["0" * 64] * 2),
    "unmeasured made measured": lambda document: document["metrics"].update(
        wall_energy_per_request=document["metrics"]["gpu_energy_per_request"]
    ),
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
def test_a_forged_value_under_older_formulas_is_found(run: Path, forge: Forge) -> None:
    assert failed(verify(former(run, forge))) == {"RESULTS_DIFFER"}


@pytest.mark.parametrize(
    "formulas", [str(int(results.FORMULAS) + 1), "", "3.0", "-1", "three", "04", "٤"]
)
def test_formulas_that_no_older_kit_had_are_refused(run: Path, formulas: str) -> None:
    verdict = verify(former(run, lambda document: None, formulas))
    assert failed(verdict)
    assert failed(verdict) <= {"RESULTS_DIFFER", "FILE_INVALID"}
