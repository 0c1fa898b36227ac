"""Results with everything in them that a real run of an hour would give, made from golden ones."""

from __future__ import annotations

from typing import Any

from kit.energy.results import Results, from_document, to_document

WARMS = {
    "code": "slope",
    "what": "temperature",
    "slope": 3.1,
    "u": 0.1,
    "unit": "°C/min",
    "limit": 0.5,
}


def full(results: Results) -> Results:
    """``results`` with a cross-check, judged slopes, a split and another tool's account."""
    document = to_document(results)
    for launch in document["launches"]:
        launch["cross_check"] = {"gpu0": {"status": "measured", "ratio": 1.0034}}
        launch["steady"] = {
            "gpu0": {
                "before": _judged("steady", [], 0.05),
                "within": _judged("not_steady", [WARMS], 3.1),
            }
        }
        for phase in launch["phases"]:
            phase["energy"]["codecarbon"] = {
                "status": "estimated",
                "joules": 640.0,
                "u_reading": 2.0,
                "u_sensor": None,
                "terms": {"edge": 2.0},
                "method": "CodeCarbon 3.0.4: cpu estimated by load; uncertainty not stated",
                "devices": {"codecarbon:cpu": 140.0, "codecarbon:gpu": 500.0},
            }
    document["split"]["gpu"] = {
        "status": "measured",
        "prefill_j_per_token": {"value": 0.00412, "u": 0.00032, "u_sensor": 0.00012},
        "decode_j_per_token": {"value": 0.2153, "u": 0.0041, "u_sensor": 0.0062},
        "baseline_w": {"value": 70.02, "u": 0.11},
        "condition": 4.1,
        "windows": 24,
        "launches": 3,
        "df": 2,
    }
    return from_document(document)


def _judged(status: str, reasons: list[dict[str, Any]], slope: float) -> dict[str, Any]:
    return {
        "status": status,
        "reasons": reasons,
        "window_s": 60.0,
        "temperature_c_per_min": {"value": slope, "u": 0.1},
        "power_percent_per_min": {"value": -0.02, "u": 0.04},
        "power_w": 250.0,
        "event_reasons": [0x4, 0x24],
    }
