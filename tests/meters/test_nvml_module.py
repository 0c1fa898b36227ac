"""A superchip: NVML's counter may count the CPU, too. Which it does is seen, not taken by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kit.energy import Energy
from kit.energy.reasons import sentence
from kit.record import samples
from tests.meters.fake import NVML, Sampled, recorded
from tests.meters.test_meters import rapl_tree
from tests.meters.test_nvml import Gpus, probe

S = 1_000_000_000


def measured(fake: Any, out: Path, seconds: float = 12.0) -> tuple[Energy, Sampled, int, int]:
    plan = probe(fake)
    run, (t0, t1), read = recorded(out, fake.env, seconds)
    return Energy(read, [plan]), run, t0, t1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("counter", "buffer", "method"),
    [(0, 0, "counter+samples"), (1, 0, "samples"), (0, 1, "counter"), (1, 1, "instant")],
)
def test_what_counts_the_cpu_is_not_the_gpus_energy(
    gpus: Gpus, tmp_path: Path, counter: int, buffer: int, method: str
) -> None:
    """A GPU of 100 to 500 W in a module that draws 180 W more."""
    fake = gpus(gpus=1, module=180, module_counter=counter, module_samples=buffer)
    computed, run, t0, t1 = measured(fake, tmp_path / "out")
    t0, t1 = t0 + S, t1 - S
    value = computed.of(t0, t1)[0]
    truth = fake.joules(0, run.origin + t0, run.origin + t1)
    assert value.method == method, (value, computed.doubts())
    assert value.joules == pytest.approx(truth, rel=0.05)
    told = {d.quantity: d for d in computed.doubts()}
    expected = {"gpu_energy"} if counter else set()
    expected |= {"gpu_power_sample"} if buffer else set()
    assert set(told) == expected
    assert all("counts the whole module" in sentence(d.reason) and d.settled for d in told.values())
    assert value.doubts == ()


def test_a_counter_of_unknown_cover_is_not_used(gpus: Gpus, tmp_path: Path) -> None:
    """It lies half-way between the GPU's power and the module's: nobody knows what it counts."""
    fake = gpus(gpus=1, module=180, module_counter=1, base=200, amp=0)
    plan = probe(fake)
    run = Sampled(tmp_path / "out", NVML, fake.env)
    t0, t1 = run.run(10.0)
    text = {name: data.decode() for name, data in run.files().items()}
    head, *rows = text["nvml.csv"].splitlines()
    cells = [row.split(",") for row in rows]
    first = min(int(c[7]) for c in cells if c[5] == "gpu_energy")
    for c in cells:
        if c[5] == "gpu_energy":  # 380 W becomes 290 W
            c[7] = str(first + round((int(c[7]) - first) * 290 / 380))
    data = "\n".join([head, *(",".join(c) for c in cells), ""]).encode()
    computed = Energy(samples.from_csv({"nvml.csv": data}), [plan])
    value = computed.of(t0 + S, t1 - S)[0]
    assert value.joules == pytest.approx(200 * (t1 - t0 - 2 * S) * 1e-9, rel=0.01)
    (doubt,) = computed.doubts()
    assert "what it covers is unknown" in sentence(doubt.reason)
    assert not doubt.settled


def test_a_card_without_a_module_says_so_and_nothing_is_asked_of_it(gpus: Gpus) -> None:
    (device,) = probe(gpus(gpus=1)).devices
    assert "NVML" in device.quantities["gpu_module_power"].reason
    assert device.quantities["gpu_energy"].limit_w == 700.0


def test_a_package_without_a_range_leaves_the_gpu_in_its_process(
    gpus: Gpus, tmp_path: Path
) -> None:
    """A GPU and RAPL share a sampler: a zone of range 0, or none at all, stops nothing."""
    tree = rapl_tree(tmp_path / "powercap", {"intel-rapl:0": ("package-0", 1, 0)})
    for root, code in ((tree, 0), (tmp_path / "none", 4)):
        rapl = {"name": "rapl", "alias": None, "config": {"root": str(root)}}
        run = Sampled(tmp_path / f"out{code}", [rapl, *NVML], gpus(gpus=1).env)
        run.run(3.0)
        assert run.process.returncode == code
        read = samples.from_csv(run.files())
        assert len(read.series["gpu0", "gpu_power_sample"].t) > 100
        assert bool(run.said[-1].get("failed")) is bool(code)
