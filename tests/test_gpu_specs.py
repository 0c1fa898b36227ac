"""specs/gpu: the work of specs/runtimes on one GPU, each image pinned by its digest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kit.machine import images
from kit.spec import runtimes
from kit.spec import spec as specs

ROOT = Path(__file__).parents[1] / "specs"
GPU = sorted((ROOT / "gpu").glob("*.json"))


def test_every_runtime_with_a_locked_image_for_gpus_has_one() -> None:
    made = {images.recipe(r).name for p in GPU if (r := specs.load(p).image.recipe)}
    of_texts = [r for r in map(runtimes.get, runtimes.names()) if r.makes == "text"]
    assert made == {r.gpu_recipe for r in of_texts if r.gpu_recipe}


@pytest.mark.parametrize("path", GPU, ids=lambda p: p.stem)
def test_each_is_the_work_of_the_spec_for_a_cpu(path: Path) -> None:
    spec = specs.load(path)
    name = path.stem.removesuffix("-upstream")
    assert spec.runtime.name == name
    if name == "sglang":
        name = "vllm"  # it has nothing for CPUs
    on_cpu = specs.load(ROOT / "runtimes" / f"{name}.json")
    for part in ("sampling", "arrivals", "launches"):
        assert getattr(spec, part) == getattr(on_cpu, part), part
    assert spec.weights and on_cpu.weights
    if spec.runtime.name == "onnxruntime-genai":  # a graph is made for one device
        assert spec.weights.derived and on_cpu.weights.derived
        assert spec.weights.derived.files == on_cpu.weights.derived.files
    else:
        assert spec.weights == on_cpu.weights
    asked, on_it = (s.workload.options for s in (spec, on_cpu))
    assert {**asked, "requests": 0} == {**on_it, "requests": 0}
    assert spec.primary_metric == "gpu_energy_per_output_token"
    assert spec.devices.gpus == 1
    if recipe := spec.image.recipe:
        assert spec.image.digest == images.recipe(recipe).image_id
    else:
        assert "@sha256:" in (spec.image.reference or "")
        assert "never pulled" in spec.description or "did not run" in spec.description


PINNED = [
    (path, pin["recipe"], pin["digest"])
    for path in sorted(ROOT.rglob("*.json"))
    if "recipe" in (pin := json.loads(path.read_bytes()).get("image", {}))
]


@pytest.mark.parametrize(("path", "recipe", "digest"), PINNED, ids=lambda v: getattr(v, "stem", ""))
def test_each_spec_pins_the_image_as_it_is_locked(path: Path, recipe: str, digest: str) -> None:
    """Another could not be built any more."""
    assert digest == images.recipe(recipe).image_id, path.name
