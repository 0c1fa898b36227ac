"""What may explain a difference of two runs comes first, and every face says the same of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kit.cli.compare import compare
from kit.judge.compare import Axis, Comparison, ranked
from kit.judge.contrast import contrast, differences, side_of
from kit.show.render.verdicts import MEANINGS, difference_value
from tests.committed import H200, QUICKSTART

Fact = tuple[str, str, str]


def compared(*facts: Fact, asked: tuple[Fact, ...] = (), **other: Any) -> Comparison:
    """A comparison on one machine with one image, but for what is given."""
    outputs = Axis(metric="outputs", verdict="REPRODUCED", reason="")
    alike: dict[str, Any] = {"image": "IDENTICAL", "likeness": "same_card", **other}
    return Comparison(primary=outputs, axes=(outputs,), differences=facts, asked=asked, **alike)


def meanings(judged: Comparison) -> list[tuple[str, str]]:
    return [(difference.fact, difference.meaning) for difference in ranked(judged)]


def changed(*paths: str) -> tuple[Fact, ...]:
    return tuple((path, "1", "2") for path in paths)


def test_another_machine_or_image_leads_and_what_was_merely_recorded_ends() -> None:
    judged = compared(
        *changed("docker.version", "cpu.model", "kernel.release", "nvidia.driver"),
        asked=changed("name", "sampling.seed"),
        image="DIFFERENT",
        likeness="other_model",
    )
    assert meanings(judged) == [
        ("image", "confounder"),
        ("machine", "confounder"),
        ("nvidia.driver", "confounder"),
        ("cpu.model", "confounder"),
        ("spec: sampling.seed", "other work"),
        ("kernel.release", "may matter"),
        ("spec: name", "asked"),
        ("docker.version", "recorded"),
    ]
    assert [difference.new for difference in ranked(judged)[:2]] == ["DIFFERENT", "other_model"]


@pytest.mark.parametrize("likeness", ["same_card", "same_model"])
@pytest.mark.parametrize("image", ["IDENTICAL", "REWRAPPED"])
def test_the_same_machine_and_image_are_no_difference(likeness: str, image: str) -> None:
    assert ranked(compared(likeness=likeness, image=image)) == ()


def test_what_moves_energy_is_first_gpus_alike_in_one_line() -> None:
    facts = [(f"gpus.gpu{n}.power_limit_w", "700", "500") for n in range(8)]
    facts += changed("docker.version", "kernel.release")
    facts += changed("gpus.gpu3.sm_clock_maximum_mhz", "nvidia.driver")
    assert [difference.fact for difference in ranked(compared(*facts))] == [
        "nvidia.driver",
        "gpus.*.power_limit_w",
        "gpus.gpu3.sm_clock_maximum_mhz",
        "kernel.release",
        "docker.version",
    ]


def test_of_gpus_that_the_other_machine_has_not_only_their_name_is_a_confounder() -> None:
    absent = ("gpus", "not recorded", "absent: no NVIDIA driver")
    cap = ("gpus.gpu0.power_limit_w", "700", "not recorded")
    assert dict(meanings(compared(absent, cap, absent=("gpus",))))[cap[0]] == "may matter"
    assert dict(meanings(compared(cap)))[cap[0]] == "confounder"


@pytest.mark.slow
def test_the_command_and_the_screen_rank_alike(capsys: pytest.CaptureFixture[str]) -> None:
    sides = [side_of(H200, "A"), side_of(QUICKSTART, "B")]
    screen = [
        (difference.fact, difference.values["A"], difference.values["B"], difference.meaning)
        for difference in differences(contrast(sides, sides[0]))
    ]
    compare(str(H200), str(QUICKSTART), json=True)
    document = json.loads(capsys.readouterr().out)
    keys = ("fact", "original", "new", "meaning")
    assert [tuple(difference[key] for key in keys) for difference in document["ranked"]] == screen
    assert {path for path, *_ in document["differences"]} >= {
        fact for fact, *_, meaning in screen if meaning == "recorded"
    }
    compare(str(H200), str(QUICKSTART))
    lines = capsys.readouterr().out.splitlines()
    rows = lines[next(n for n, line in enumerate(lines) if line.startswith("differs")) + 1 :]
    assert len(rows) == len(screen)
    for row, (fact, there, here, meaning) in zip(rows, screen, strict=True):
        is_confounder = fact in ("image", "machine")
        assert row.startswith(f"{fact} ") and row.rstrip().endswith(MEANINGS[meaning][1])
        assert all(difference_value(value, is_confounder) in row for value in (there, here))
