"""Runs as a stranger may send them: sealed with care, asking for what they should not get."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from kit.core import jsonio
from kit.core.model import MeterPlan, RunSpec
from kit.judge.replay import ImagePart, Undertaking, order_of
from kit.spec import spec
from tests import golden
from tests.plans import launch_plan

WEIGHTS = {
    "repo": "someone/model",
    "revision": "a" * 40,
    "files": [
        {
            "path": "model.gguf",
            "source": f"hf:someone/model@{'a' * 40}/model.gguf",
            "sha256": "e" * 64,
            "size": 7,
        }
    ],
}


def sealed(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    digest: str = golden.DIGEST,
    recipe: dict[str, bytes] | None = None,
    **changes: Any,
) -> Path:
    """A run that verifies, whose spec is the golden one with ``changes``; its folder.

    Args:
        digest: the image that it pins.
        recipe: the files of its sealed recipe, by name.
    """
    plain_spec, plain_meters, findings = golden.run_spec, golden.meters, golden.findings
    with monkeypatch.context() as patch:
        patch.setattr(golden, "DIGEST", digest)
        if recipe is not None:
            patch.setattr(golden, "recipe", lambda _: recipe)

        def asked() -> RunSpec:
            document = spec.document(plain_spec()) | changes
            document["image"] = {**document["image"], "digest": digest}
            return spec.parse(jsonio.canonical(document))

        def silent() -> tuple[MeterPlan, ...]:
            """The golden meters, and those asked for besides, which did not answer."""
            more = [m for m in asked().meters if m.name not in ("nvml", "rapl")]
            reason = "it did not answer"
            return (
                *plain_meters(),
                *(MeterPlan(name=m.name, alias=m.alias, devices=(), reason=reason) for m in more),
            )

        patch.setattr(golden, "run_spec", asked)
        patch.setattr(golden, "meters", silent)
        allowed = lambda script: [f for f in findings(script) if f["level"] != "fail"]  # noqa: E731
        patch.setattr(golden, "findings", allowed)
        return golden.build(root)


def undertaking(original: Path, **changes: Any) -> Undertaking:
    """What a replay of ``original`` would do on a machine that has everything."""
    order = order_of(original)
    launch = launch_plan(
        argv=("--port", "8080"),
        network="host",
        egress="open",
        driver_cpus="1",
        sampler_cpus="1",
    )
    undertaking = Undertaking(
        order=order,
        original=original,
        image=ImagePart("here", "kit/golden", golden.DIGEST, "identical"),
        files=(),
        meters=(),
        launch=launch,
        command=("docker", "run", "kit/golden"),
        requests=3,
        least_s=8.0,
        took_s=20.0,
        took_here=False,
        run_bytes=1 << 28,
        findings=(),
    )
    return dataclasses.replace(undertaking, **changes)
