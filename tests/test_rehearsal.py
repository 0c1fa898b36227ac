"""What a spec would do here: planned, judged, told how long, and an obstacle as one finding."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

from kit.core import resources
from kit.core.errors import ImageUnavailable, PreflightFailed
from kit.core.model import DevicesSpec, ImageSpec, RuntimeSpec
from kit.machine import containers
from kit.machine.host import HostConfig
from kit.run import rehearsal, runner
from kit.spec import spec as specs
from kit.store.store import Store
from tests.committed import QUICKSTART

SPEC = specs.load(resources.specs_dir() / "quickstart.json")


@pytest.mark.docker
def test_a_spec_is_planned_and_judged(engine: containers.Engine, tmp_path: Path) -> None:
    result = rehearsal.rehearse(SPEC, Store(tmp_path))
    assert result.plan is not None
    assert not result.forbidden
    assert result.command[:2] == ("docker", "run")
    assert result.command[-len(result.plan.launch.argv) :] == result.plan.launch.argv
    assert result.took_s is None
    assert result.sample_bytes_per_s and result.sample_bytes_per_s > 100


def test_an_engine_that_does_not_answer_is_one_finding_among_the_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    result = rehearsal.rehearse(SPEC, Store(tmp_path))
    assert result.plan is None
    assert result.forbidden
    fails = [f for f in result.findings if f.level == "fail"]
    assert [f.code for f in fails] == ["ENGINE_MISSING"]
    assert fails[0].remedy
    assert {"ENERGY", "ENERGY_ESTIMATED", "ENERGY_UNMEASURED"} & {f.code for f in result.findings}


@pytest.mark.docker
def test_a_missing_image_is_named(engine: containers.Engine, tmp_path: Path) -> None:
    upstream = ImageSpec(reference=f"example/none@sha256:{'1' * 64}")
    spec = msgspec.structs.replace(SPEC, image=upstream)
    result = rehearsal.rehearse(spec, Store(tmp_path))
    assert [f.code for f in result.findings if f.level == "fail"] == ["IMAGE_MISSING"]


@pytest.mark.docker
def test_gpus_that_are_not_here_come_before_an_image_that_is_not(
    engine: containers.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The images with CUDA are gigabytes: nobody should fetch one to learn that there is no GPU."""
    monkeypatch.setattr("kit.machine.host.gpus.facts", lambda: ({}, {"absent": "no driver"}))
    upstream = ImageSpec(reference=f"example/none@sha256:{'1' * 64}")
    spec = msgspec.structs.replace(SPEC, image=upstream, devices=DevicesSpec(gpus=2))
    result = rehearsal.rehearse(spec, Store(tmp_path))
    fails = [f.code for f in result.findings if f.level == "fail"]
    assert fails == ["GPU_MISSING", "IMAGE_MISSING"]
    with pytest.raises(PreflightFailed, match="asks for 2 GPUs and there is none: no driver"):
        runner.resolved(runner.Order(spec=spec), engine, HostConfig())
    on_cpu = msgspec.structs.replace(spec, devices=DevicesSpec(gpus=0))
    with pytest.raises(ImageUnavailable):
        runner.resolved(runner.Order(spec=on_cpu), engine, HostConfig())


def test_the_time_is_that_of_the_last_complete_run_of_this_very_spec(tmp_path: Path) -> None:
    store = Store(tmp_path)
    sealed = specs.load(QUICKSTART / "spec.json")
    assert rehearsal.last_took_s(sealed, store) is None
    shutil.copytree(QUICKSTART, tmp_path / QUICKSTART.name)
    store.note(
        "sealed",
        run_hash=QUICKSTART.name,
        spec_hash=specs.spec_hash(sealed),
        status="complete",
    )
    took_s = rehearsal.last_took_s(sealed, store)
    assert took_s is not None and took_s > rehearsal.planning.duration_s(sealed)
    other = msgspec.structs.replace(sealed, runtime=RuntimeSpec(name="loopback"))
    assert rehearsal.last_took_s(other, store) is None
    (tmp_path / QUICKSTART.name / "events.jsonl").write_bytes(b"{")
    assert rehearsal.last_took_s(sealed, store) is None


def test_a_meter_can_be_left_out() -> None:
    left = rehearsal.without_meter(SPEC, SPEC.meters[0].name, SPEC.meters[0].alias)
    assert left.meters == SPEC.meters[1:]
