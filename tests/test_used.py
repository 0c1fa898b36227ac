"""A runtime that leaves the GPU idle that its run asks for: seen with llama.cpp on an H200."""

from __future__ import annotations

import shutil
import tracemalloc
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kit.core.errors import LaunchFailed
from kit.core.facts import NO_FACTS
from kit.core.model import MeterDevice, MeterPlan
from kit.energy.used import Launch
from kit.judge.verify import verify
from kit.run import runner
from kit.run.gate import unused
from tests import committed, golden
from tests.verify.forging import edit_rows

HEAD = "seq,t0,t1,t_dev,device,quantity,rc,raw\n"
SECOND, MIB = 1_000_000_000, 1 << 20
BEFORE = 615 * MIB  # an idle H200's, of its driver's own


def plan(*devices: str, name: str = "nvml", alias: str | None = None) -> tuple[MeterPlan, ...]:
    facts = {"gpu_memory_used": NO_FACTS}
    found = tuple(MeterDevice(device=d, description="", quantities=facts) for d in devices)
    return (MeterPlan(name=name, alias=alias, devices=found),)


def launch(begin: int, worked: float, until: float = 99, idle: int = 0) -> Launch:
    """A launch by its times in seconds, each a little before that second's reading."""
    return Launch(*(max(0, round(t * SECOND) - 1) for t in (idle, begin, worked, until)))


def written(folder: Path, name: str = "nvml", **devices: list[int | None]) -> Path:
    """A reading a second, from the run's begin; None for a read that failed."""
    rows = [
        (t, device, 0 if used is not None else 3, "" if used is None else used)
        for device, readings in devices.items()
        for t, used in enumerate(readings)
    ]
    lines = [
        f"{n},{t * SECOND},{t * SECOND + 9000},,{device},gpu_memory_used,{rc},{raw}\n"
        for n, (t, device, rc, raw) in enumerate(sorted(rows))
    ]
    (folder / f"{name}.csv").write_text(HEAD + "".join(lines))
    return folder


@pytest.mark.parametrize(
    ("readings", "idle"),
    [
        ([BEFORE] * 9, True),
        ([BEFORE] * 4 + [BEFORE + 4 * MIB] * 5, True),  # a query of its properties, no work
        ([BEFORE] * 4 + [BEFORE, BEFORE + 500 * MIB, BEFORE, BEFORE, BEFORE], False),
        ([0] * 9, True),
        ([70 << 30] * 4 + [71 << 30] * 5, False),  # beside another program
        ([70 << 30] * 9, True),
        ([BEFORE, None, None, None, None, None, None], False),  # not read since
        ([BEFORE] * 4, False),
        ([BEFORE] * 6, False),  # not read after the work: it may just have begun
        ([30 << 30] * 5 + [0, 20 << 30, 20 << 30], False),  # another program made room
        ([30 << 30] * 5 + [0, 0, 0], True),
        ([0, 0, 0, 1 << 50, 20 << 30, 20 << 30, 20 << 30], False),  # garbage before
        ([0, 0, 0, 0, 1 << 50, 0, 0], True),
    ],
)
def test_a_gpu_is_used_if_somebody_takes_memory_there(
    tmp_path: Path, readings: list[int | None], idle: bool
) -> None:
    folder = written(tmp_path, gpu0=readings)
    assert unused(folder, plan("gpu0"), launch(4, 6)) == (["gpu0"] if idle else [])


@pytest.mark.parametrize(("last", "idle"), [(20 << 30, []), (0, ["gpu0"])])
def test_a_launch_that_follows_at_once_is_held_against_the_run_s_begin(
    tmp_path: Path, last: int, idle: list[str]
) -> None:
    """No reading lies between two launches: the one before the second is of the first's server."""
    folder = written(tmp_path, gpu0=[0, 20 << 30, 20 << 30, 20 << 30, last, last])
    assert unused(folder, plan("gpu0"), launch(4, 5, idle=4)) == idle


def test_of_a_long_run_s_file_only_the_memory_is_kept(tmp_path: Path) -> None:
    """A file of gigabytes was taken to memory whole, just before the measured block."""
    folder = written(tmp_path, gpu0=[0] * 9)
    with (folder / "nvml.csv").open("a") as file:
        file.writelines(f"{n},{n},{n},,gpu0,gpu_power_instant,0,70000\n" for n in range(9, 200_000))
    tracemalloc.start()
    assert unused(folder, plan("gpu0"), launch(4, 6)) == ["gpu0"]
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_of_several_gpus_those_are_named_that_nobody_uses(tmp_path: Path) -> None:
    folder = written(tmp_path, gpu0=[0, 0, 800 * MIB], gpu1=[0, 0, 0], gpu2=[0, 0, 0])
    assert unused(folder, plan("gpu0", "gpu1", "gpu2"), launch(1, 2)) == ["gpu1", "gpu2"]


@pytest.mark.parametrize(("name", "alias"), [("amdsmi", None), ("nvml", "cards")])
def test_any_meter_of_gpus_says_so(tmp_path: Path, name: str, alias: str | None) -> None:
    read = plan("gpu0", name=name, alias=alias)
    folder = written(tmp_path, read[0].label, gpu0=[0, 0, 0])
    assert unused(folder, read, launch(1, 2)) == ["gpu0"]


@pytest.mark.parametrize("text", [None, "", "garbage\n1,2\n", HEAD])
def test_without_readings_nothing_is_said(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "nvml.csv").write_text(text)
    assert unused(tmp_path, plan("gpu0"), launch(1, 2)) == []


def test_the_real_run_on_an_h200_used_its_gpu() -> None:
    assert unused(committed.H200 / "samples", plan("gpu0"), launch(5, 20)) == []


def journey(folder: Path, gpus: int) -> Any:
    return SimpleNamespace(
        spec=SimpleNamespace(devices=SimpleNamespace(gpus=gpus)),
        flight=SimpleNamespace(folder=lambda _: folder),
        plan=SimpleNamespace(meters=plan("gpu0")),
    )


def test_a_run_ends_whose_gpu_is_idle(tmp_path: Path) -> None:
    folder = written(tmp_path, gpu0=[BEFORE] * 9)
    with pytest.raises(LaunchFailed) as caught:
        runner.require_gpus(journey(folder, 1), 0, launch(1, 2))
    assert "does not use gpu0" in caught.value.message
    assert "launches/000/container.log" in caught.value.remedy
    runner.require_gpus(journey(folder, 0), 0, launch(1, 2))


def test_verify_warns_of_an_older_run_whose_gpu_was_idle(tmp_path: Path) -> None:
    run = Path(shutil.copytree(committed.H200, tmp_path / committed.H200.name))

    def found() -> tuple[str, str]:
        (one,) = [c for c in verify(run).checks if c.code == "GPU_UNUSED"]
        return one.status, one.message

    assert found()[0] == "PASS"

    def flat(row: list[str]) -> None:
        if row[5] == "gpu_memory_used":
            row[7] = str(BEFORE)

    edit_rows(run / "samples/nvml.csv", change=flat)
    run = golden.reseal(run)
    status, message = found()
    assert (status, "launch 0: nobody took memory on gpu0" in message) == ("WARN", True)
