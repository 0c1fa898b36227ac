"""A driver that goes away and comes back, a GPU that is lost for a while; paces; processes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kit.energy import Energy
from kit.measure.meters.nvml import pace, processes
from kit.measure.meters.nvml.api import Unseen
from kit.measure.meters.nvml.pace import POWER_LADDER, POWER_SHARE, STATE_LADDER, STATE_SHARE, paced
from kit.measure.meters.nvml.processes import control_groups
from kit.record import samples
from tests.meters.fake import NVML, Fake, Sampled
from tests.meters.test_nvml import probe

Gpus = Callable[..., Fake]


def sampled(fake: Fake, out: Path, seconds: float) -> Sampled:
    """A run that ends so many seconds after its origin."""
    run = Sampled(out, NVML, fake.env)
    run.wait_for("ready")
    time.sleep(max(0.0, seconds - run.now() * 1e-9))
    run.stop()
    return run


def codes(run: Sampled, device: str, quantity: str) -> list[tuple[float, int]]:
    """(seconds since the origin, return code) of every read."""
    rows = [line.split(b",") for d in run.files().values() for line in d.splitlines()[1:]]
    return [
        (int(r[1]) * 1e-9, int(r[6]))
        for r in rows
        if len(r) > 6 and (r[4].decode(), r[5].decode()) == (device, quantity)
    ]


def sampled_until_back(fake: Fake, out: Path, more_s: float) -> Sampled:
    """A run that ends so many seconds after every GPU is read again."""
    run = Sampled(out, NVML, fake.env)
    run.wait_for("ready")

    def is_back(device: str) -> bool:
        read = [rc for _, rc in codes(run, device, "gpu_temperature")]
        return set(read) > {0} and read[-1] == 0

    while not (is_back("gpu0") and is_back("gpu1")):
        assert run.now() < 60e9
        time.sleep(0.5)
    time.sleep(more_s)
    run.stop()
    return run


@pytest.mark.slow
@pytest.mark.parametrize(("mismatch", "code"), [(0, 9), (1, 18)], ids=["unloaded", "replaced"])
def test_a_driver_that_comes_back_is_read_on(
    gpus: Gpus, tmp_path: Path, mismatch: int, code: int
) -> None:
    """GPUs keep their aliases by UUID although their indices changed; the gap is unmeasured."""
    settings = {"gpus": 2, "down_at": 3.0, "up_at": 6.5, "mismatch": mismatch, "reorder": 1}
    fake = gpus(**settings)
    plan = probe(gpus(gpus=2))
    run = sampled_until_back(fake, tmp_path / "out", 5.0)
    read = samples.from_csv(run.files())
    for device, celsius in (("gpu0", 35), ("gpu1", 36)):
        series = read.series[device, "gpu_temperature"]
        assert set(series.raw.tolist()) == {celsius}
        told = [rc for _, rc in codes(run, device, "gpu_temperature")]
        assert told[0] == told[-1] == 0
        assert set(told) == {0, 1, code} or set(told) == {0, code}
    energy = Energy(read, [plan])
    end = int(read.series["gpu0", "gpu_temperature"].t[-1])
    across = energy.of(10**9, end - 10**9)[0]
    assert across.status == "unmeasured"
    assert across.reason
    afterwards = energy.of(end - 2_500_000_000, end - 500_000_000)[0]
    assert afterwards.status == "measured", afterwards.reason
    for gpu in (0, 1):
        truth = fake.joules(gpu, run.origin + end - 2_500_000_000, run.origin + end - 500_000_000)
        assert afterwards.devices[f"gpu{gpu}"] == pytest.approx(truth, rel=0.05)


def test_a_gpu_that_comes_back_is_read_on_and_the_other_one_never_stopped(
    gpus: Gpus, tmp_path: Path
) -> None:
    fake = gpus(gpus=2, lost_after=3.0, lost_until=5.0, lost_gpu=1)
    run = sampled(fake, tmp_path / "out", 12.0)
    lost = [rc for _, rc in codes(run, "gpu1", "gpu_power_instant")]
    assert set(lost) == {0, 15}
    assert lost[-1] == 0
    assert {rc for _, rc in codes(run, "gpu0", "gpu_power_instant")} == {0}
    assert {rc for _, rc in codes(run, "gpu0", "gpu_energy")} == {0}
    said = [line["message"] for line in run.said if line["event"] == "error"]
    assert any("gpu1" in text and "lost" in text.lower() for text in said)
    assert not any("gpu0" in text for text in said)


# --- paces ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cost_s", "period_s", "sure"),
    [(2e-6, 1.0, True), (5e-5, 1.0, True), (1e-4, 1.0, False), (7e-4, 10.0, True)],
)
def test_context_is_read_once_a_second_unless_it_is_dear(
    cost_s: float, period_s: float, sure: bool
) -> None:
    assert paced(cost_s, 1.0, STATE_SHARE, STATE_LADDER) == (period_s, sure)


@pytest.mark.parametrize(("cost_s", "period_s"), [(1e-5, 0.02), (1e-4, 0.1), (1e-2, 0.25)])
def test_power_is_never_read_so_seldom_that_it_has_holes(cost_s: float, period_s: float) -> None:
    assert paced(cost_s, 0.02, POWER_SHARE, POWER_LADDER).period_s == period_s


class Script:
    """A clock that moves on by itself, and values that change when a script says so."""

    def __init__(self, changes_s: list[float]) -> None:
        self.t, self._changes = 0, [round(c * 1e9) for c in changes_s]

    def now(self) -> int:
        self.t += 500_000
        return self.t

    def value(self) -> tuple[int, int | None]:
        return 0, sum(change <= self.t for change in self._changes)


@pytest.mark.parametrize(
    ("changes", "period_s"),
    [
        ([0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65], 0.1),
        ([0.05, 0.15, 0.35, 0.45, 0.55, 0.75], 0.1),  # two updates brought the same value
        ([0.02 * n for n in range(1, 9)], 0.02),
        ([0.11, 0.13, 0.41, 0.47, 0.60, 0.79], None),  # no even pace
        ([0.3, 0.5], None),
        ([], None),
    ],
)
def test_a_period_is_told_from_changes(
    monkeypatch: pytest.MonkeyPatch, changes: list[float], period_s: float | None
) -> None:
    script = Script(changes)
    monkeypatch.setattr(pace.time, "sleep", lambda _: None)
    found = pace.update_periods({"x": script.value}, script)  # type: ignore[arg-type]
    assert found.get("x") == (None if period_s is None else pytest.approx(period_s, abs=0.004))


# --- processes ------------------------------------------------------------------------------


def proc(folder: Path, groups: dict[int, str]) -> Path:
    for pid, group in groups.items():
        (folder / str(pid)).mkdir(parents=True)
        (folder / str(pid) / "cgroup").write_text(f"0::/{group}\n")
    return folder


def test_processes_of_one_container_are_one_group(tmp_path: Path) -> None:
    root = proc(tmp_path, {10: "docker-a", 11: "docker-a", 12: "user"})
    assert control_groups([], root) == 0
    assert control_groups([10, 11], root) == 1
    assert control_groups([10, 11, 12], root) == 2


def test_processes_that_proc_hides_are_somebody_elses(tmp_path: Path) -> None:
    root = proc(tmp_path, {10: "docker-a"})
    assert control_groups([10, 98, 99], root) == 2


def test_all_that_proc_hides_are_one_group_at_least(tmp_path: Path) -> None:
    assert control_groups([98, 99], tmp_path) == 1


@pytest.mark.parametrize("is_host", [True, False])
def test_in_a_container_kit_claims_nothing_of_whose_they_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, is_host: bool
) -> None:
    (tmp_path / "self/ns").mkdir(parents=True)
    (tmp_path / "self/ns/pid").write_text("")
    inode = (tmp_path / "self/ns/pid").stat().st_ino
    monkeypatch.setattr(processes, "_PROC", tmp_path)
    monkeypatch.setattr(processes, "_HOST_NAMESPACE", inode if is_host else inode + 1)
    monkeypatch.setattr(processes, "pids", lambda *_: frozenset())
    if is_host:
        assert processes.groups(Any, None) == 0
    else:
        with pytest.raises(Unseen):
            processes.groups(Any, None)


@pytest.mark.parametrize(("taken_s", "pause_s"), [(1e-4, 1.0), (2e-3, 4.0), (0.1, 10.0)])
def test_processes_are_counted_less_often_the_longer_it_takes(
    monkeypatch: pytest.MonkeyPatch, taken_s: float, pause_s: float
) -> None:
    class Slow:
        def ask(self, _: Any) -> tuple[int, Any]:
            clock.t += round(taken_s * 1e9)
            return 0, frozenset({98, 99})

    clock = Script([])
    board: Any = Slow()
    monkeypatch.setattr(clock, "now", lambda: clock.t)
    census = processes.Census([("gpu0", board, ["gpu_processes"])], clock)  # type: ignore[arg-type]
    readings = census.read()
    assert [(r.quantity, r.rc, r.raw) for r in readings] == [("gpu_processes", 0, 2)]
    due = census.tier().due
    assert due is not None
    assert due() == pytest.approx(pause_s * 1e9, rel=0.01)
