"""A run's documents as kit itself computes them: two launches, estimated and GPU energy."""

from __future__ import annotations

from typing import Any

from kit.core.facts import QuantityFacts
from kit.core.model import Event, MeterDevice, MeterPlan, Request, Response, RunSpec
from kit.energy import results
from kit.record import phases, samples
from kit.record.records import RunRecords
from tests.test_preflight import PLAN, SPEC, replaced

S = 1_000_000_000
LAUNCHES, REQUESTS, TOKENS = 2, 4, 64
BLOCKS = (
    ("idle", "before", 5),
    ("startup", None, 1),
    ("warmup", None, 1),
    ("loaded_idle", "before", 5),
    ("measured", None, 8),
    ("loaded_idle", "after", 5),
    ("shutdown", None, 1),
    ("idle", "after", 5),
)
METERS = (
    MeterPlan(
        name="nvml",
        alias=None,
        devices=(
            MeterDevice(
                device="gpu0",
                description="NVIDIA H200",
                quantities={"gpu_power_sample": QuantityFacts(period_s=0.02)},
            ),
        ),
    ),
    MeterPlan(name="rapl", alias=None, devices=(), reason="permission denied"),
)


def documents(failed: int = 0) -> dict[str, dict[str, Any]]:
    """``{"manifest": …, "spec": …, "results": …}``; ``failed`` requests fail in launch 0."""
    spec = replaced(SPEC, primary_metric="gpu_energy_per_output_token", launches=LAUNCHES)
    return {
        "manifest": {
            "schema": "kit.run/1",
            "status": "complete",
            "reason": "",
            "kit": {"version": "0.1.0"},
            "spec_hash": "c" * 64,
            "parents": [{"relation": "replay-of", "run_hash": "e" * 64}],
            "image": {"reference": "kit/llama-server:abc", "image_id": "sha256:" + "b" * 64},
            "model": {"repo": "org/model", "revision": "0" * 40},
            "clock": {"utc": "2026-11-21T05:12:33+00:00"},
        },
        "spec": {
            "name": spec.name,
            "description": "one answer at a time",
            "runtime": {"name": spec.runtime.name},
        },
        "results": results.to_document(results.compute(_records(spec, failed))),
    }


def _records(spec: RunSpec, failed: int) -> RunRecords:
    events, requests, responses = [], {}, {}
    t = S
    for launch in range(LAUNCHES):
        for name, part, seconds in BLOCKS:
            data = {"launch": launch, "phase": name, "part": part}
            events.append(_event(len(events), t, "phase.begin", data))
            if name == "measured":
                requests[launch] = tuple(
                    _request(n, t, n < failed and launch == 0) for n in range(REQUESTS)
                )
                responses[launch] = tuple(_response(r) for r in requests[launch])
            t += seconds * S
            events.append(_event(len(events), t, "phase.end", data))
    readings = samples.from_csv({"samples/nvml.csv": _csv(t)})
    return RunRecords(
        spec=spec,
        plan=replaced(PLAN, meters=METERS),
        schedule=(),
        events=tuple(events),
        samples=readings,
        requests=requests,
        responses=responses,
        driver={},
        env_start={},
        env_end={},
        phases=phases.cut(tuple(events), requests),
    )


def _event(seq: int, t: int, kind: str, data: dict[str, Any]) -> Event:
    return Event(seq=seq, t=t, kind=kind, data=data, prev="")


def _request(index: int, t: int, fails: bool) -> Request:
    sent = t + index * 2 * S
    return Request(
        index=index,
        stage="measured",
        item="sunset",
        intended=sent,
        sent=sent,
        first_byte=None if fails else sent + S // 8,
        first_token=None if fails else sent + S // 8,
        last_token=None if fails else sent + S,
        done=sent + S,
        status="error" if fails else "ok",
        http_status=500 if fails else 200,
        error="HTTP 500" if fails else None,
        prompt_tokens=12,
        output_tokens=None if fails else TOKENS,
        cached_tokens=0,
        finish_reason=None if fails else "length",
    )


def _response(request: Request) -> Response:
    return Response(
        index=request.index,
        stage="measured",
        text="red",
        text_sha256="a" * 64,
        chunk_times=(),
        usage=None,
        timings=None,
    )


def _csv(end: int) -> bytes:
    """50 Hz of 300 W, 70 W in the idle first seconds."""
    lines = [samples.HEADER]
    for seq, t in enumerate(range(0, end, S // 50)):
        watts = 70_000 + 230_000 * ((t // S - 1) % 31 in range(12, 20))
        lines.append(f"{seq},{t},{t + 1000},,gpu0,gpu_power_sample,0,{watts}")
    return ("\n".join(lines) + "\n").encode()
