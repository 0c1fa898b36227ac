"""Verdicts on every axis by their rules, what counts as the same machine, and what differs."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kit.core.model import ImageIdentity
from kit.energy import results
from kit.energy.reason import Reason
from kit.energy.results.document import Metric, Results
from kit.judge import compare
from kit.judge.compare import Axis, Comparison
from kit.record import archive, records
from kit.record.records import RunRecords
from tests import golden

H200: dict[str, Any] = json.loads(
    (Path(__file__).parent / "data/fingerprint-h200.json").read_text("utf-8")
)
GPU = "gpu_energy_per_output_token"
ESTIMATE = "estimate_energy_per_output_token"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunRecords:
    """A golden run, said to come from the machine with an H200."""
    sealed = golden.copied(tmp_path_factory.mktemp("compare") / "runs")
    loaded = records.load(archive.open_source(sealed))
    return dataclasses.replace(loaded, env_start=H200, env_end=H200)


def with_launches(run: RunRecords, metric: str, values: Sequence[float], **of: Any) -> Results:
    """The run's results with other launch values of one metric."""
    run_results = results.compute(run)
    status = "estimated" if metric.startswith("estimate") else "measured"
    changed = msgspec.structs.replace(
        run_results.metrics[metric], status=status, launches=tuple(values), **of
    )
    return msgspec.structs.replace(run_results, metrics={**run_results.metrics, metric: changed})


def judged(
    run: RunRecords,
    a: Sequence[float],
    b: Sequence[float],
    metric: str = GPU,
    *,
    same_card: bool | None = True,
) -> Axis:
    """The axis of ``metric`` with these launch values there and here."""
    theirs, ours = with_launches(run, metric, a), with_launches(run, metric, b)
    return axis(compare.judge(run, theirs, run, ours, same_card=same_card), metric)


def axis(comparison: Comparison, metric: str) -> Axis:
    return next(a for a in comparison.axes if a.metric == metric)


def card(**changes: Any) -> dict[str, Any]:
    """The machine with other facts of its GPU."""
    changed = copy.deepcopy(H200)
    assert changes.keys() <= changed["gpus"]["gpu0"].keys()
    changed["gpus"]["gpu0"].update(changes)
    return changed


# --- verdicts -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("new", "verdict"),
    [
        ([1.001, 1.000, 0.999], "EQUIVALENT"),
        ([1.020, 1.021, 1.019], "EQUIVALENT"),  # away from 1, and surely inside ±3%
        ([1.200, 1.201, 1.199], "DIFFERENT"),
        ([0.800, 0.801, 0.799], "DIFFERENT"),
        ([1.030, 1.031, 1.029], "INCONCLUSIVE"),  # on the margin itself
        ([0.800, 1.000, 1.250], "INCONCLUSIVE"),  # scatter
    ],
)
def test_two_one_sided_tests_decide(run: RunRecords, new: list[float], verdict: str) -> None:
    axis = judged(run, [1.0, 1.001, 0.999], new)
    assert (axis.verdict, axis.margin, axis.u_gain) == (verdict, 0.03, None)
    assert axis.ci90 is not None
    assert axis.ci90[0] < axis.ratio < axis.ci90[1]  # type: ignore[operator]


def test_scatter_says_how_many_launches_would_tell(run: RunRecords) -> None:
    axis = judged(run, [1.0, 1.1, 0.9], [1.0, 1.1, 0.9])
    assert axis.launches_needed is not None
    assert axis.launches_needed > 3
    assert str(axis.launches_needed) in axis.reason


@pytest.mark.parametrize(
    ("a", "b", "side"),
    [([1.0], [1.0, 1.01], "the original has"), ([1.0, 1.01], [1.0], "the replay has")],
)
def test_one_launch_never_proves_anything(
    run: RunRecords, a: list[float], b: list[float], side: str
) -> None:
    axis = judged(run, a, b)
    assert (axis.verdict, axis.ci90) == ("INCONCLUSIVE", None)
    assert "consistent" in axis.reason
    assert side in axis.reason
    assert "away" in judged(run, a, [v * 2 for v in b]).reason


def test_the_number_leads_and_the_verdict_ends_the_line() -> None:
    axis = Axis(
        metric=GPU, verdict="EQUIVALENT", reason="", ratio=1.021, ci90=(0.998, 1.044), margin=0.05
    )
    assert axis.line() == (
        "GPU energy per output token ×1.021 [0.998, 1.044], margin ±5% → EQUIVALENT"
    )


# --- sensors of two machines --------------------------------------------------------------------


def gained(run: RunRecords, relative: float, values: Sequence[float]) -> Results:
    """Results whose GPU sensor has this relative standard uncertainty, by gain and by offset."""
    run_results = with_launches(run, GPU, values)
    for launch in run_results.launches:
        gpu = launch.phase("measured").energy["gpu"]
        gpu.terms.update(
            {n: k * relative * gpu.joules for n, k in (("gain", 0.8), ("offset", 0.6))}
        )
    return run_results


def test_cards_never_calibrated_against_one_another_add_their_gain(run: RunRecords) -> None:
    even = [1.0, 1.0, 1.0]
    theirs, ours = gained(run, 0.003, even), gained(run, 0.004, even)
    result = axis(compare.judge(run, theirs, run, ours), GPU)
    assert result.u_gain == pytest.approx(0.005)
    assert result.ci90 == pytest.approx((math.exp(-1.644854 * 0.005), math.exp(1.644854 * 0.005)))
    assert result.verdict == "EQUIVALENT"
    same = axis(compare.judge(run, theirs, run, ours, same_card=True), GPU)
    assert (same.u_gain, same.ci90) == (None, (1.0, 1.0))


def test_a_gain_that_hides_the_margin_says_to_calibrate(run: RunRecords) -> None:
    even = [1.0, 1.001, 0.999]
    hidden = axis(compare.judge(run, gained(run, 0.03, even), run, gained(run, 0.03, even)), GPU)
    assert (hidden.verdict, hidden.launches_needed) == ("INCONCLUSIVE", None)
    assert "±4.2%" in hidden.reason and "calibrate" in hidden.reason


def test_no_gain_blurs_a_time(run: RunRecords) -> None:
    result = axis(
        compare.judge(run, gained(run, 0.03, [1.0]), run, gained(run, 0.03, [1.0])), "ttft_p50"
    )
    assert (result.u_gain, result.ci90) == (None, (1.0, 1.0))


# --- what forbids a verdict -----------------------------------------------------------------


def ended(run: RunRecords, status: str, reason: str = "") -> RunRecords:
    last = run.events[-1]
    end = msgspec.structs.replace(last, data={"status": status, "reason": reason})
    return dataclasses.replace(run, events=(*run.events[:-1], end))


def test_a_replay_that_failed_proves_nothing(run: RunRecords) -> None:
    run_results = results.compute(run)
    comparison = compare.judge(run, run_results, ended(run, "failed", "it broke"), run_results)
    verdicts = {a.verdict for a in comparison.axes if not a.metric.startswith(("wall", "estimate"))}
    assert verdicts == {"FAILED"}
    assert comparison.primary.reason == "the replay failed: it broke"
    assert axis(comparison, "ttft_p50").ratio == 1.0  # shown all the same


def test_an_original_that_was_aborted_cannot_be_reproduced(run: RunRecords) -> None:
    run_results = results.compute(run)
    comparison = compare.judge(ended(run, "aborted"), run_results, run, run_results)
    assert {a.verdict for a in comparison.axes} == {"NOT-COMPARABLE"}
    assert comparison.primary.reason == "the original was aborted"


def test_other_work_has_ratios_and_no_margin(run: RunRecords) -> None:
    sampling = msgspec.structs.replace(run.spec.sampling, seed=run.spec.sampling.seed + 1)
    other = dataclasses.replace(run, spec=msgspec.structs.replace(run.spec, sampling=sampling))
    run_results = results.compute(run)
    comparison = compare.judge(run, run_results, other, run_results)
    latency = axis(comparison, "ttft_p50")
    assert (latency.verdict, latency.margin, latency.ratio) == ("NOT-COMPARABLE", None, 1.0)
    assert "sampling.seed" in latency.reason
    assert [path for path, *_ in comparison.asked] == ["sampling.seed"]


def test_another_name_and_more_launches_are_the_same_work(run: RunRecords) -> None:
    spec = msgspec.structs.replace(run.spec, name="another", launches=9)
    other = dataclasses.replace(run, spec=msgspec.structs.replace(spec, launches=2))
    run_results = results.compute(run)
    comparison = compare.judge(run, run_results, other, run_results)
    assert axis(comparison, "ttft_p50").verdict == "EQUIVALENT"
    assert comparison.asked == (("name", "golden", "another"),)


def test_an_estimate_has_a_ratio_and_no_verdict(run: RunRecords) -> None:
    result = judged(run, [1.0, 1.0, 1.0], [1.0, 1.0, 1.0], ESTIMATE)
    assert (result.verdict, result.ratio, result.estimated) == ("NOT-COMPARABLE", 1.0, True)
    assert "estimated" in result.reason


def test_what_a_side_did_not_measure_says_which_and_why(run: RunRecords) -> None:
    run_results = results.compute(run)
    wall = axis(compare.judge(run, run_results, run, run_results), "wall_energy_per_request")
    assert (wall.verdict, wall.ratio) == ("NOT-COMPARABLE", None)
    assert wall.reason == "original unmeasured: the spec asks for no meter of it"


def test_another_model_of_gpu_is_not_compared(run: RunRecords) -> None:
    other = dataclasses.replace(run, env_start=card(name="NVIDIA A100"))
    run_results = results.compute(run)
    comparison = compare.judge(run, run_results, other, run_results)
    assert comparison.likeness == "other_model"
    for metric in (GPU, "ttft_p50", "output_throughput"):
        assert axis(comparison, metric).verdict == "NOT-COMPARABLE"
    assert axis(comparison, "outputs").verdict == "REPRODUCED"
    assert ("gpus.gpu0.name", "NVIDIA H200", "NVIDIA A100") in comparison.differences


@pytest.mark.parametrize(("same_card", "margin"), [(True, 0.03), (False, 0.05), (None, 0.05)])
def test_the_margin_is_what_the_original_registered(
    run: RunRecords, same_card: bool | None, margin: float
) -> None:
    run_results = results.compute(run)
    comparison = compare.judge(run, run_results, run, run_results, same_card=same_card)
    assert axis(comparison, GPU).margin == margin
    assert axis(comparison, "ttft_p50").margin == run.spec.replay.latency


# --- outputs --------------------------------------------------------------------------------


def saying(run: RunRecords, launch: int, text: str, place: int = -1) -> RunRecords:
    """The run with another text in one answer of one launch."""
    answers = list(run.responses[launch])
    answers[place] = msgspec.structs.replace(answers[place], text=text)
    return dataclasses.replace(run, responses={**run.responses, launch: tuple(answers)})


def outputs(original: RunRecords, new: RunRecords) -> Axis:
    run_results = results.compute(original)
    return compare.judge(original, run_results, new, run_results).primary


def test_the_same_texts_reproduce(run: RunRecords) -> None:
    assert outputs(run, run).verdict == "REPRODUCED"


def test_one_other_character_differs_and_is_pointed_at(run: RunRecords) -> None:
    last = run.responses[1][-1]
    result = outputs(run, saying(run, 1, last.text[:4] + "!" + last.text[5:]))
    assert result.verdict == "DIFFERENT"
    assert result.reason.endswith(f"launch 1, request {last.index} parts at character 4")
    assert result.reason.startswith("83% of texts agree")  # 5 of 6


def test_a_text_cut_short_parts_where_it_ends(run: RunRecords) -> None:
    result = outputs(run, saying(run, 0, run.responses[0][-1].text[:6]))
    assert result.reason.endswith("parts at character 6")


def unanswered(run: RunRecords) -> RunRecords:
    """The run with one measured request of launch 0 that got an error instead of an answer."""
    *others, last = run.requests[0]
    broken = msgspec.structs.replace(last, status="error", error="HTTP 500")
    return dataclasses.replace(run, requests={**run.requests, 0: (*others, broken)})


def test_errors_on_both_sides_are_no_reproduction(run: RunRecords) -> None:
    result = outputs(unanswered(run), unanswered(run))
    assert result.verdict == "FAILED"
    assert result.reason == "the replay has no answer to 1 of 6 requests"
    assert outputs(unanswered(run), run).verdict == "NOT-COMPARABLE"


def test_other_requests_are_not_compared(run: RunRecords) -> None:
    *others, last = run.schedule
    other = dataclasses.replace(
        run, schedule=(*others, msgspec.structs.replace(last, item="another"))
    )
    assert outputs(run, other).verdict == "NOT-COMPARABLE"


def test_an_original_that_disagrees_with_itself_is_not_reproduced_exactly(run: RunRecords) -> None:
    result = outputs(saying(run, 1, "something else"), run)
    assert result.verdict == "DIFFERENT"


def with_more_launches(run: RunRecords, *texts: str) -> RunRecords:
    """A sampled run with one launch for each text, which is all that its requests were told."""
    spec = msgspec.structs.replace(run.spec, determinism="sampled", launches=len(texts))
    return dataclasses.replace(
        run,
        spec=spec,
        requests=dict.fromkeys(range(len(texts)), run.requests[0]),
        responses={
            launch: tuple(msgspec.structs.replace(r, text=text) for r in run.responses[0])
            for launch, text in enumerate(texts)
        },
    )


@pytest.mark.parametrize(
    ("original", "new", "verdict"),
    [
        ("aaa", "aaa", "REPRODUCED"),
        ("aaa", "bbb", "DIFFERENT"),
        ("aab", "aab", "REPRODUCED"),
        ("aa", "bb", "INCONCLUSIVE"),  # two launches agree by chance too easily
        ("a", "b", "INCONCLUSIVE"),
        ("a", "a", "REPRODUCED"),
    ],
)
def test_sampled_texts_by_launch(run: RunRecords, original: str, new: str, verdict: str) -> None:
    result = outputs(with_more_launches(run, *original), with_more_launches(run, *new))
    assert result.verdict == verdict, result.reason


def test_sampled_texts_are_held_to_the_originals_own_agreement(run: RunRecords) -> None:
    loose = msgspec.structs.replace(run.spec, determinism="sampled")
    sampled = dataclasses.replace(saying(run, 1, "something else"), spec=loose)
    assert outputs(sampled, run).verdict == "REPRODUCED"
    agreeing = dataclasses.replace(run, spec=loose)
    assert outputs(agreeing, saying(run, 1, "something else")).verdict == "INCONCLUSIVE"


# --- image and machine ------------------------------------------------------------------------


def image(**changes: Any) -> ImageIdentity:
    digests = {"image_id": "sha256:" + "a" * 64, "config_digest": "sha256:" + "a" * 64}
    facts = {"reference": "r", "recipe": None, "diff_ids": ("sha256:" + "d" * 64,)}
    return ImageIdentity(**{**facts, **digests, "platform": "linux/amd64", **changes})


@pytest.mark.parametrize(
    ("other", "identity"),
    [
        (image(reference="another name"), "IDENTICAL"),
        (image(image_id="sha256:" + "b" * 64), "IDENTICAL"),  # a containerd store's own id
        (image(image_id="sha256:" + "b" * 64, config_digest=None), "REWRAPPED"),
        (image(image_id="sha256:" + "b" * 64, config_digest=None, diff_ids=()), "DIFFERENT"),
    ],
)
def test_images_are_told_apart_by_digest_then_by_layers(
    other: ImageIdentity, identity: str
) -> None:
    assert compare.image_identity(image(), other) == identity


@pytest.mark.parametrize(
    ("there", "alike"),
    [
        (H200, "same_model"),
        (card(power_limit_w=350.0), "other_model"),  # another cap: absolute numbers do not compare
        ({**H200, "nvidia": {**H200["nvidia"], "driver": "575.1"}}, "elsewhere"),
        ({**H200, "cpu": {**H200["cpu"], "threads": 8}}, "elsewhere"),
        (card(name="NVIDIA A100"), "other_model"),
        ({**H200, "gpus": {**H200["gpus"], "gpu1": H200["gpus"]["gpu0"]}}, "other_model"),
    ],
)
def test_likeness_goes_by_model_power_limit_and_driver(there: dict[str, Any], alike: str) -> None:
    assert compare.likeness(H200, there, None) == alike


def test_machines_without_gpus_go_by_their_cpu() -> None:
    without_gpus = {**H200, "gpus": {"absent": "no driver"}, "nvidia": {"absent": "no driver"}}
    other = {**without_gpus, "cpu": {**without_gpus["cpu"], "model": "another"}}
    assert compare.likeness(without_gpus, without_gpus, None) == "same_model"
    assert compare.likeness(without_gpus, without_gpus, True) == "same_card"
    assert compare.likeness(without_gpus, other, True) == "other_model"


def test_long_lists_are_told_in_short_and_still_apart() -> None:
    """A trace of arrivals has thousands of times; two may differ in the last one alone."""
    times = [n / 8 for n in range(3000)]
    told = list(compare.environments({"x": times}, {"x": [*times[:-1], 9e3]}))
    assert len(told) == 1
    (_, there, here) = told[0]
    assert there.startswith("0.0, 0.125, 0.25, … (3000, sha256 ") and len(there) < 60
    assert there != here


def test_readings_of_the_moment_are_no_difference() -> None:
    later = card(
        temperature_c=71,
        memory_temperature_c=80,
        sm_clock_mhz=1980,
        memory_clock_mhz=1593,
        memory_used_bytes=1,
        compute_processes=3,
        ecc_corrected=1,
        pcie_generation=1,
        pcie_width=8,
    )
    later["gpus"]["gpu0"]["slowdowns"] = ["power brake"]
    later["load"]["one_minute"] = 9.0
    later["memory"]["available_bytes"] = 1
    later["clock"]["maximum_error_us"] = 1
    assert list(compare.environments(H200, later)) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("power_limit_w", 350.0),
        ("power_enforced_w", 350.0),
        ("power_default_w", 600.0),
        ("sm_clock_maximum_mhz", 1410),
        ("memory_clock_maximum_mhz", 2619),
        ("sm_clock_application_mhz", 1000),
        ("vbios", "96.00.00.00.00"),
        ("memory_total_bytes", 1),
        ("ecc", False),
        ("ecc_uncorrected", 2),
        ("mig", True),
        ("persistence", False),
    ],
)
def test_a_changed_setting_of_the_gpu_shows(name: str, value: object) -> None:
    ((path, there, here),) = compare.environments(H200, card(**{name: value}))
    assert path == f"gpus.gpu0.{name}"
    assert (there, here) == (str(H200["gpus"]["gpu0"][name]), str(value))


@pytest.mark.parametrize(
    ("room", "name"),
    [("nvidia", "driver"), ("kernel", "release"), ("clock", "source"), ("kit", "version")],
)
def test_changed_software_shows(room: str, name: str) -> None:
    there = {**H200, room: {**H200[room], name: "another"}}
    assert list(compare.environments(H200, there)) == [
        (f"{room}.{name}", str(H200[room][name]), "another")
    ]


def test_what_one_side_lacks_is_told_with_its_reason() -> None:
    without_gpus = {**H200, "nvidia": {"absent": "no driver"}}
    differences = {path: (a, b) for path, a, b in compare.environments(H200, without_gpus)}
    assert differences["nvidia"] == ("not recorded", "absent: no driver")
    assert differences["nvidia.driver"] == (H200["nvidia"]["driver"], "not recorded")


# --- any number of runs -----------------------------------------------------------------------


def test_runs_stand_side_by_side_with_their_ratios_to_the_first(run: RunRecords) -> None:
    first = with_launches(run, "ttft_p50", [1.0, 1.02], value=1.01)
    other = with_launches(run, "ttft_p50", [2.0, 2.04])
    table = {row.metric: row for row in compare.runs([first, other, first])}
    row = table["ttft_p50"]
    assert row.unit == "s"
    assert [c.ratio for c in row.cells] == [None, pytest.approx(2.0), pytest.approx(1.0)]
    assert row.cells[0].value == 1.01
    assert row.cells[1].ci90 is not None
    assert row.cells[1].ci90[0] < 2 < row.cells[1].ci90[1]
    assert "wall_energy_per_request" not in table  # nobody measured it
    assert "outputs" not in table


def test_a_run_that_did_not_measure_what_another_did_says_why(run: RunRecords) -> None:
    run_results = results.compute(run)
    reason = Reason("said", said="no driver")
    none = Metric(status="unmeasured", unit="J", reason=reason, launches=(None, None))
    lacking = msgspec.structs.replace(run_results, metrics={**run_results.metrics, GPU: none})
    cells = next(row for row in compare.runs([lacking, run_results]) if row.metric == GPU).cells
    assert (cells[0].value, cells[0].reason) == (None, "no driver")
    assert cells[1].value is not None
    assert cells[1].ratio is None
