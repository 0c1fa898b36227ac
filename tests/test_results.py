"""Derived numbers against known answers: golden records have constant power and even tokens."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from jsonschema import Draft202012Validator

from kit.core import jsonio, resources
from kit.core.facts import QuantityFacts
from kit.core.model import ArrivalsSpec, MeterDevice, MeterPlan, Request
from kit.energy import SENSOR_TERMS, names, results
from kit.energy.reason import Reason
from kit.energy.reasons import notices, sentence
from kit.energy.results.document import NetEnergy, Phase
from kit.energy.results.net import nets
from kit.energy.scopes import SCOPES
from kit.energy.value import EnergyValue
from kit.record import archive, records, samples
from kit.record.phases import INSIDE
from kit.record.records import RunRecords
from tests import golden
from tests.plans import facts_in

GPU_W, CPU_W = golden.GPU_MW / 1000, golden.CPU_MW / 1000
REQUEST_S = 0.05 + 0.1 * (golden.TOKENS - 1)  # to the first token, and a tenth for each other
SCHEMA = Draft202012Validator(jsonio.read(resources.schema_path("results")))


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return golden.copied(tmp_path_factory.mktemp("results") / "runs")


@pytest.fixture(scope="module")
def run(sealed: Path) -> RunRecords:
    return records.load(archive.open_source(sealed))


@pytest.fixture(scope="module")
def document(run: RunRecords) -> dict[str, Any]:
    return results.to_document(results.compute(run))


def phase(document: dict[str, Any], name: str, part: str | None = None) -> dict[str, Any]:
    phases: list[dict[str, Any]] = document["launches"][0]["phases"]
    return next(p for p in phases if (p["phase"], p["part"]) == (name, part))


def changed(run: RunRecords, **of: Any) -> dict[str, Any]:
    """Results of the run after every measured request of launch 0 was changed alike."""
    return with_requests(run, [msgspec.structs.replace(r, **of) for r in measured(run)])


def with_requests(run: RunRecords, requests: list[Request]) -> dict[str, Any]:
    return results.to_document(
        results.compute(dataclasses.replace(run, requests={**run.requests, 0: tuple(requests)}))
    )


def measured(run: RunRecords) -> list[Request]:
    return [r for r in run.requests[0] if r.stage == "measured"]


def codes(document: dict[str, Any]) -> set[str]:
    return {notice["code"] for notice in document["notices"]}


def numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        for child in value.values():
            yield from numbers(child)
    elif isinstance(value, list):
        for child in value:
            yield from numbers(child)
    elif isinstance(value, float):
        yield value


# --- energy ---------------------------------------------------------------------------------


def test_energy_is_power_times_time(document: dict[str, Any]) -> None:
    idle = phase(document, "idle", "before")
    assert idle["duration_s"] == 2
    assert idle["energy"]["gpu"]["joules"] == pytest.approx(2 * GPU_W)
    assert idle["energy"]["cpu"]["joules"] == pytest.approx(2 * CPU_W)


def test_energy_per_token_and_per_request(document: dict[str, Any]) -> None:
    duration = phase(document, "measured")["duration_s"]
    counts = document["launches"][0]["requests"]
    assert (counts["completed"], counts["output_tokens"]) == (3, 3 * golden.TOKENS)
    for scope, watts in (("gpu", GPU_W), ("cpu", CPU_W)):
        per_token = document["metrics"][f"{scope}_energy_per_output_token"]
        assert per_token["value"] == pytest.approx(watts * duration / counts["output_tokens"])
        per_request = document["metrics"][f"{scope}_energy_per_request"]
        assert per_request["value"] == pytest.approx(golden.TOKENS * per_token["value"])
        assert (per_token["status"], per_token["unit"], per_token["n"]) == ("measured", "J", 2)


def finer(run: RunRecords) -> dict[str, Any]:
    """Results as if the meters were renewed every 50 ms: decode of 0.7 s is then ten of them."""
    meters = tuple(
        msgspec.structs.replace(
            meter,
            devices=tuple(
                msgspec.structs.replace(
                    d,
                    quantities=facts_in(
                        {
                            k: msgspec.structs.replace(q, period_s=0.05)
                            for k, q in d.quantities.items()
                        }
                    ),
                )
                for d in meter.devices
            ),
        )
        for meter in run.plan.meters
    )
    plan = msgspec.structs.replace(run.plan, meters=meters)
    return results.to_document(results.compute(dataclasses.replace(run, plan=plan)))


def test_prefill_and_decode_split_the_requests(run: RunRecords) -> None:
    document = finer(run)
    prefill, decode = phase(document, "prefill"), phase(document, "decode")
    assert (prefill["pieces"], decode["pieces"]) == (3, 3)
    assert decode["energy"]["gpu"]["joules"] == pytest.approx(GPU_W * 3 * 0.7)


def test_a_phase_under_ten_updates_has_no_energy_of_its_own(run: RunRecords) -> None:
    document = finer(run)
    energy = phase(document, "prefill")["energy"]["gpu"]
    assert energy["status"] == "unmeasured"
    assert sentence(energy["reason"]).startswith(
        "not resolved: the median of its pieces lasts 50 ms"
    )
    assert "PHASES_UNRESOLVED" in codes(document)


def test_pieces_scatter_apart_and_their_sensor_errs_alike(run: RunRecords) -> None:
    gpu = phase(finer(run), "decode")["energy"]["gpu"]
    sensor = [v for k, v in gpu["terms"].items() if k in SENSOR_TERMS]
    scatter = [v for k, v in gpu["terms"].items() if k not in SENSOR_TERMS]
    assert gpu["u_sensor"] == pytest.approx(math.hypot(*sensor))
    assert gpu["u_reading"] == pytest.approx(math.hypot(*scatter))
    relative = phase(finer(run), "idle", "before")["energy"]["gpu"]["terms"]["gain"] / (2 * GPU_W)
    assert gpu["terms"]["gain"] == pytest.approx(relative * gpu["joules"])


def test_net_energy_of_constant_power_is_nothing(document: dict[str, Any]) -> None:
    above = document["launches"][0]["net"]["gpu"]["above_idle"]
    assert above["baseline_w"] == pytest.approx(GPU_W)
    assert above["joules"] == pytest.approx(0, abs=1e-9)
    assert above["u_reading"] > 0


def test_a_negative_net_energy_is_not_clipped() -> None:
    def block(name: str, part: str | None, watts: float, begin: int, seconds: int) -> Phase:
        terms = {"gain": 0.01 * watts * seconds, "offset": 2.0 * seconds}
        return _block(name, part, watts, (begin, seconds), 3.0, terms)

    net = nets(
        (
            block("idle", "before", 100, 0, 10),
            block("loaded_idle", "before", 110, 20, 2),
            block("measured", None, 90, 22, 5),
            block("loaded_idle", "after", 130, 30, 2),
        )
    )["gpu"]
    assert net["above_idle"].joules == pytest.approx(-50)
    # The gain acts on what is left, and the offset is in both.
    assert net["above_idle"].u_sensor == pytest.approx(0.5)
    assert net["above_idle"].u_reading == pytest.approx(math.hypot(3, 5 * 3 / 10))
    loaded = net["above_loaded_idle"]
    assert loaded.baseline_w == pytest.approx(110 + 20 * (24.5 - 21) / 10)
    assert loaded.joules == pytest.approx((90 - 117) * 5)
    assert (loaded.drift_w, loaded.u_drift_w) == pytest.approx((20, math.hypot(1.5, 1.5)))


def _block(
    name: str,
    part: str | None,
    watts: float,
    when: tuple[int, int],
    u_reading: float,
    terms: dict[str, float],
) -> Phase:
    """A block in which the GPU drew ``watts``, from a second on and for some seconds."""
    begin, seconds = when
    unasked = EnergyValue(scope="wall", status="unmeasured", reason=Reason("no_meter"))
    gpu = EnergyValue(
        scope="gpu", status="measured", joules=watts * seconds, u_reading=u_reading, terms=terms
    )
    t0, t1 = begin * 10**9, (begin + seconds) * 10**9
    energy = dict.fromkeys(SCOPES, unasked) | {"gpu": gpu}
    return Phase(name=name, part=part, pieces=1, t0=t0, t1=t1, duration_s=seconds, energy=energy)


def _net(
    baselines: tuple[float, float], idle: dict[str, float], busy: dict[str, float]
) -> NetEnergy:
    """GPU energy above loaded idle of a minute at 500 W, between baselines of a minute."""

    def block(
        name: str, part: str | None, watts: float, begin: int, terms: dict[str, float]
    ) -> Phase:
        own = {"gain": terms["gain"] * watts * 60, "offset": terms["offset_w"] * 60}
        return _block(name, part, watts, (begin, 60), 0.0, own)

    return nets(
        (
            block("loaded_idle", "before", baselines[0], 0, idle),
            block("measured", None, 500.0, 60, busy),
            block("loaded_idle", "after", baselines[1], 120, idle),
        )
    )["gpu"]["above_loaded_idle"]


def test_a_baseline_that_moved_is_uncertain_by_its_way() -> None:
    errors = {"gain": 0.0, "offset_w": 0.0}
    assert _net((75.0, 75.0), errors, errors).u_reading == 0.0
    # Its mean lies anywhere between the two: 11 W for 60 s as a rectangle.
    assert _net((75.0, 86.0), errors, errors).u_reading == pytest.approx(11 * 60 / math.sqrt(12))


def test_a_baseline_that_the_calibration_does_not_reach_keeps_its_own_error() -> None:
    good, poor = {"gain": 0.003, "offset_w": 0.3}, {"gain": 0.029, "offset_w": 2.9}
    assert _net((75.0, 75.0), good, good).u_sensor == pytest.approx(0.003 * 425 * 60)
    gain, offset = (math.sqrt(poor[k] ** 2 - good[k] ** 2) for k in ("gain", "offset_w"))
    wanted = math.hypot(0.003 * 425 * 60, gain * 75 * 60, offset * 60)
    assert _net((75.0, 75.0), poor, good).u_sensor == pytest.approx(wanted)


# --- what was not measured --------------------------------------------------------------------


def test_a_scope_without_a_meter_is_unmeasured_with_a_reason(document: dict[str, Any]) -> None:
    expected = {"status": "unmeasured", "reason": {"code": "no_meter"}}
    assert phase(document, "measured")["energy"]["wall"] == expected
    assert document["launches"][0]["net"]["wall"] == {
        "above_idle": expected,
        "above_loaded_idle": expected,
    }
    metric = document["metrics"]["wall_energy_per_output_token"]
    assert metric == {**expected, "unit": "J", "launches": [None, None]}


def test_a_meter_that_found_nothing_gives_its_reason(run: RunRecords) -> None:
    meters = [
        msgspec.structs.replace(m, devices=(), reason="no NVIDIA driver") if m.name == "nvml" else m
        for m in run.plan.meters
    ]
    plan = msgspec.structs.replace(run.plan, meters=tuple(meters))
    document = results.to_document(results.compute(dataclasses.replace(run, plan=plan)))
    gpu = phase(document, "measured")["energy"]["gpu"]
    assert gpu["status"] == "unmeasured"
    assert gpu["reason"] == {"code": "said", "said": "no NVIDIA driver"}
    assert "joules" not in gpu


def test_no_window_is_filled_in_after_the_sampler_stopped(run: RunRecords, sealed: Path) -> None:
    end = next(p.t0 for p in run.phases if p.launch == 1 and p.name == "measured")
    lines = (sealed / "samples/nvml.csv").read_bytes().splitlines(keepends=True)
    rows = [lines[0], *(row for row in lines[1:] if int(row.split(b",")[2]) < end)]
    until = samples.from_csv({"samples/nvml.csv": b"".join(rows)})
    document = results.to_document(results.compute(dataclasses.replace(run, samples=until)))
    metric = document["metrics"]["gpu_energy_per_output_token"]
    assert metric["status"] == "unmeasured"
    assert isinstance(metric["launches"][0], float)
    assert metric["launches"][1] is None
    assert "value" not in metric


# --- requests -------------------------------------------------------------------------------


def test_latencies_of_even_tokens(document: dict[str, Any]) -> None:
    sent = document["launches"][0]["latency"]["sent"]
    assert sent["ttft"]["p50"] == pytest.approx(0.05)
    assert sent["tpot"]["p50"] == pytest.approx(0.1)
    assert sent["e2e"]["p50"] == pytest.approx(REQUEST_S)
    itl = document["launches"][0]["latency"]["itl"]
    assert (itl["n"], itl["p50"]) == (3 * (golden.TOKENS - 1), pytest.approx(0.1))


def test_a_late_driver_shows_in_the_latency_from_the_intended_time(run: RunRecords) -> None:
    late = [msgspec.structs.replace(r, intended=r.intended - golden.S) for r in measured(run)]
    latency = with_requests(run, late)["launches"][0]["latency"]
    assert latency["intended"]["ttft"]["p50"] == pytest.approx(1.05)
    assert latency["sent"]["ttft"]["p50"] == pytest.approx(0.05)


def test_percentiles_of_few_requests_are_absent_with_the_number_needed(
    document: dict[str, Any],
) -> None:
    ttft = document["launches"][0]["latency"]["sent"]["ttft"]
    assert ttft["n"] == 3
    assert not {"p90", "p95", "p99"} & ttft.keys()
    assert ttft["absent"]["p99"] == {"code": "needs_requests", "requests": 662}


def test_one_token_has_no_time_between_tokens(run: RunRecords) -> None:
    document = changed(run, output_tokens=1)
    assert document["launches"][0]["latency"]["sent"]["tpot"]["n"] == 0
    assert document["metrics"]["tpot_p50"]["status"] == "unmeasured"


def test_failed_requests_are_counted_and_noticed_and_their_time_is_not_used(
    run: RunRecords,
) -> None:
    first, *others = measured(run)
    failed = msgspec.structs.replace(
        first, status="error", error="HTTP 500", code="http_status", first_token=None,
        last_token=None, output_tokens=None, prompt_tokens=None,
    )  # fmt: skip
    document = with_requests(run, [failed, *others])
    counts = document["launches"][0]["requests"]
    assert (counts["issued"], counts["completed"], counts["failed"]) == (3, 2, 1)
    assert counts["output_tokens"] == 2 * golden.TOKENS
    assert counts["failures"] == {"http_status": 1}
    values = {"failed": 1, "issued": 3, "failures": {"http_status": 1}}
    assert {"code": "FAILED_REQUESTS", "launches": [0], **values} in document["notices"]
    notice = ("FAILED_REQUESTS", "launch 0: 1 of 3 requests failed: http_status 1×")
    assert notice in notices(document["notices"], 2)
    assert document["launches"][0]["latency"]["sent"]["ttft"]["n"] == 2


def test_tokens_that_one_answer_did_not_count_are_not_summed(run: RunRecords) -> None:
    first, *others = measured(run)
    document = with_requests(run, [msgspec.structs.replace(first, output_tokens=None), *others])
    assert document["launches"][0]["requests"]["output_tokens"] is None
    reason = {"code": "not_counted"}
    assert document["launches"][0]["throughput"] == {"reason": reason}
    metric = document["metrics"]["gpu_energy_per_output_token"]
    assert (metric["status"], metric["reason"]) == ("unmeasured", reason)
    assert document["metrics"]["gpu_energy_per_request"]["status"] == "measured"


def test_energy_throughput_and_end_to_end_need_no_times_of_tokens(run: RunRecords) -> None:
    """Answers that came whole, or whose chunks show no token: they were answered all the same."""
    untimed = changed(run, first_token=None, last_token=None)
    launch, metrics = untimed["launches"][0], untimed["metrics"]
    asked = measured(run)
    seconds = (max(r.done for r in asked) - min(r.sent or 0 for r in asked)) / golden.S
    assert launch["throughput"]["output_tokens_per_s"] == pytest.approx(3 * golden.TOKENS / seconds)
    names = ("e2e_p50", "output_throughput", "gpu_energy_per_output_token")
    assert [metrics[name]["status"] for name in names] == ["measured"] * 3
    assert (
        metrics["e2e_p50"]["value"]
        >= results.to_document(results.compute(run))["metrics"]["e2e_p50"]["value"]
    )
    for name, reason in (
        ("ttft_p50", {"code": "ttft_untimed"}),
        ("tpot_p50", {"code": "tpot_untimed"}),
    ):
        assert (metrics[name]["status"], metrics[name]["reason"]) == ("unmeasured", reason)
    assert "UNTIMED_TOKENS" in {notice["code"] for notice in untimed["notices"]}


def test_tokens_that_all_came_at_once_take_no_time_that_is_known(run: RunRecords) -> None:
    at_once = [msgspec.structs.replace(r, first_token=r.last_token) for r in measured(run)]
    launch = with_requests(run, at_once)["launches"][0]
    assert launch["latency"]["sent"]["ttft"]["n"] == 3
    assert launch["latency"]["sent"]["tpot"]["n"] == 0


def test_a_launch_of_which_nothing_was_answered_says_so(run: RunRecords) -> None:
    metrics = changed(run, status="error", error="x", first_token=None, last_token=None)["metrics"]
    for name in ("ttft_p50", "e2e_p50", "output_throughput", "gpu_energy_per_output_token"):
        assert metrics[name]["reason"] == {"code": "none_completed"}


def test_throughput_is_from_the_first_sending_to_the_last_token(
    run: RunRecords, document: dict[str, Any]
) -> None:
    requests = measured(run)
    last = max(r.last_token or 0 for r in requests)
    seconds = (last - min(r.sent or last for r in requests)) / golden.S
    rate = document["launches"][0]["throughput"]["output_tokens_per_s"]
    assert rate == pytest.approx(3 * golden.TOKENS / seconds)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"output_tokens": golden.TOKENS - 1}, "TOKEN_MISMATCH"),
        ({"cached_tokens": 4}, "CACHED_TOKENS"),
    ],
)
def test_what_spoils_the_work_is_noticed(
    run: RunRecords, change: dict[str, int], code: str
) -> None:
    assert code not in codes(results.to_document(results.compute(run)))
    assert code in codes(changed(run, **change))


@pytest.mark.parametrize("stage", [{"cpu_share": 0.9}, {"lag_p99_ns": 20 * golden.MS}])
def test_a_driver_at_its_limit_is_noticed(run: RunRecords, stage: dict[str, float]) -> None:
    driver = {**run.driver, 0: {"stages": {"measured": {"cpu_share": 0.0, **stage}}}}
    assert "DRIVER_LIMITED" in codes(
        results.to_document(results.compute(dataclasses.replace(run, driver=driver)))
    )
    assert "DRIVER_LIMITED" not in codes(results.to_document(results.compute(run)))


def test_launches_that_differ_in_their_texts_do_not_agree(
    run: RunRecords, document: dict[str, Any]
) -> None:
    assert document["metrics"]["outputs"]["agree"] is True
    last = msgspec.structs.replace(run.responses[0][-1], text_sha256="0" * 64)
    responses = {**run.responses, 0: (*run.responses[0][:-1], last)}
    other = results.to_document(results.compute(dataclasses.replace(run, responses=responses)))
    assert other["metrics"]["outputs"]["agree"] is False


# --- the document -----------------------------------------------------------------------------


def test_every_float_has_twelve_digits_at_most(document: dict[str, Any]) -> None:
    floats = list(numbers(document))
    assert len(floats) > 100
    assert all(float(f"{v:.11e}") == v for v in floats)


def test_computing_again_gives_the_same_bytes(sealed: Path) -> None:
    again = results.to_document(results.compute(records.load(archive.open_source(sealed))))
    assert jsonio.canonical(again) == (sealed / "results.json").read_bytes()


def test_the_primary_metric_is_the_one_that_the_spec_named(run: RunRecords) -> None:
    spec = msgspec.structs.replace(run.spec, primary_metric="e2e_p50")
    document = results.to_document(results.compute(dataclasses.replace(run, spec=spec)))
    assert document["primary"] == {"metric": "e2e_p50", **document["metrics"]["e2e_p50"]}


def test_a_run_that_never_launched_has_results_that_claim_nothing(run: RunRecords) -> None:
    document = results.to_document(
        results.compute(dataclasses.replace(run, phases=(), requests={}, responses={}, driver={}))
    )
    assert {m["status"] for m in document["metrics"].values()} == {"unmeasured"}
    assert all(m["reason"] for m in document["metrics"].values())
    SCHEMA.validate(json.loads(jsonio.canonical(document)))


@pytest.mark.parametrize("status", ["complete", "failed"])
def test_what_is_stored_follows_the_published_schema(status: str, tmp_path: Path) -> None:
    sealed = golden.build(tmp_path, status, "" if status == "complete" else "it broke")
    SCHEMA.validate(jsonio.read(sealed / "results.json"))


def test_the_schema_describes_every_metric_that_is_computed(document: dict[str, Any]) -> None:
    schema = jsonio.read(resources.schema_path("results"))
    Draft202012Validator.check_schema(schema)
    computed = set(document["metrics"]) | names.OF_IMAGES
    assert set(schema["properties"]["metrics"]["properties"]) == computed
    assert set(schema["$defs"]["metricName"]["enum"]) == computed


# --- prefill and decode by difference of workloads ------------------------------------------------


def test_requests_of_one_length_cannot_tell_prefill_from_decode(run: RunRecords) -> None:
    split = finer(run)["split"]["gpu"]
    assert split["status"] == "unmeasured"
    assert "do not vary enough" in sentence(split["reason"])


def test_requests_too_short_for_the_readings_are_refused(document: dict[str, Any]) -> None:
    reason = {"code": "request_short", "seconds": 0.75, "needed_s": 1.0}
    assert document["split"]["gpu"]["reason"] == reason


def test_power_that_is_all_baseline_leaves_no_joules_for_tokens(run: RunRecords) -> None:
    lengths = iter([(10, 8), (40, 5), (20, 12), (30, 3), (5, 9), (25, 7)])
    requests = {
        launch: tuple(
            msgspec.structs.replace(r, prompt_tokens=p, output_tokens=o)
            for r in of
            if r.stage == "measured"
            for p, o in [next(lengths)]
        )
        for launch, of in run.requests.items()
    }
    split = finer(dataclasses.replace(run, requests=requests))["split"]["gpu"]
    assert (split["status"], split["windows"], split["df"]) == ("measured", 6, 4)
    assert split["baseline_w"]["value"] == pytest.approx(GPU_W)
    for name in ("prefill_j_per_token", "decode_j_per_token"):
        assert abs(split[name]["value"]) < 3 * split[name]["u"] + 1e-6


def test_overlapping_requests_are_not_split(run: RunRecords) -> None:
    spec = msgspec.structs.replace(run.spec, arrivals=ArrivalsSpec(concurrency=2))
    split = results.to_document(results.compute(dataclasses.replace(run, spec=spec)))["split"][
        "gpu"
    ]
    assert split == {
        "status": "unmeasured",
        "reason": {"code": "overlapping"},
    }


# --- state, foreign processes, answers that lack ------------------------------------------------


def with_series(run: RunRecords, quantity: str, raw: Any) -> dict[str, Any]:
    """Results with one more series of gpu0, read at the times of its counter."""
    counter = run.samples.series[("gpu0", "gpu_energy")]
    values = np.broadcast_to(np.asarray(raw), counter.t.shape).astype(np.int64)
    series = {**run.samples.series, ("gpu0", quantity): counter._replace(raw=values)}
    return results.to_document(
        results.compute(dataclasses.replace(run, samples=run.samples._replace(series=series)))
    )


def with_groups(run: RunRecords, raw: Any) -> dict[str, Any]:
    """Results where gpu0's processes are in so many control groups."""
    meters = tuple(
        msgspec.structs.replace(
            meter,
            devices=tuple(
                msgspec.structs.replace(
                    d, quantities=facts_in({**d.quantities, "gpu_process_groups": {"poll_s": 0.1}})
                )
                for d in meter.devices
            ),
        )
        for meter in run.plan.meters
    )
    plan = msgspec.structs.replace(run.plan, meters=meters)
    return with_series(dataclasses.replace(run, plan=plan), "gpu_process_groups", raw)


def test_programs_on_an_idle_gpu_are_foreign(run: RunRecords) -> None:
    counter = run.samples.series[("gpu0", "gpu_energy")]
    container = np.zeros(len(counter.t), bool)
    for phase_ in run.phases:
        if phase_.name not in ("idle", *INSIDE):
            container |= (counter.t >= phase_.t0) & (counter.t < phase_.t1)
    assert "FOREIGN_PROCESSES" not in codes(with_groups(run, container))
    sentences = notices(with_groups(run, container + 1)["notices"], 2)
    assert any("at least 1 program of others" in n.message for n in sentences)


def test_a_gpu_watched_briefly_is_neither_steady_nor_not(run: RunRecords) -> None:
    document = with_series(run, "gpu_temperature", 60)
    assert document["launches"][0]["steady"]["gpu0"]["before"]["status"] == "unknown"
    assert "STEADY_UNKNOWN" in codes(document)
    assert "NOT_STEADY" not in codes(document)


def test_a_block_too_short_has_no_cross_check(document: dict[str, Any]) -> None:
    check = document["launches"][0]["cross_check"]["gpu0"]
    assert check["status"] == "unmeasured"
    assert "at least 10 s" in sentence(check["reason"])


def test_the_metrics_carry_both_uncertainties(document: dict[str, Any]) -> None:
    metric = document["metrics"]["gpu_energy_per_output_token"]
    errors = [
        (phase["energy"]["gpu"]["u_sensor"], launch["requests"]["output_tokens"])
        for launch in document["launches"]
        for phase in launch["phases"]
        if phase["phase"] == "measured"
    ]
    assert metric["u_sensor"] == pytest.approx(math.fsum(u / n for u, n in errors) / len(errors))
    assert 0 < metric["u_reading"] < metric["u_sensor"]


def test_a_request_without_an_answer_leaves_no_hash_of_the_texts(run: RunRecords) -> None:
    fewer = {**run.responses, 0: run.responses[0][:-1]}
    document = results.to_document(results.compute(dataclasses.replace(run, responses=fewer)))
    assert document["launches"][0]["outputs_sha256"] is None
    assert document["metrics"]["outputs"]["reason"] == {"code": "answers_missing"}


def test_a_wall_that_shows_less_than_what_hangs_on_it_is_said_to_be_impossible(
    run: RunRecords,
) -> None:
    counter = run.samples.series[("gpu0", "gpu_energy")]
    device = MeterDevice(
        device="pdu",
        description="",
        quantities={"pdu_power": QuantityFacts(poll_s=0.1, period_s=0.1)},
    )
    plan = msgspec.structs.replace(
        run.plan,
        meters=(*run.plan.meters, MeterPlan(name="pdu", alias="rack1", devices=(device,))),
    )
    watts = counter._replace(raw=np.full(len(counter.t), round(GPU_W / 4)))
    series = {**run.samples.series, ("pdu", "pdu_power"): watts}
    of = dataclasses.replace(run, plan=plan, samples=run.samples._replace(series=series))
    document = results.to_document(results.compute(of))
    assert phase(document, "measured")["energy"]["wall"]["status"] == "measured"
    assert "WALL_IMPOSSIBLE" in codes(document)
