"""RAPL from a powercap tree made of files."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import msgspec
import pytest

from kit import energy
from kit.core import jsonio
from kit.core.model import MeterPlan
from kit.energy.reasons import sentence
from kit.measure import meters
from kit.measure.meters.rapl import zones
from kit.record import samples
from kit.record.events import Clock
from kit.run.preflight.meter_rules import meter
from tests.meters.fake import Sampled
from tests.meters.test_meters import rapl_tree, renewed

RAPL = meters.get("rapl")
TIMES = [i * 10**8 for i in range(12)]  # ten reads a second
SERVER = {
    "intel-rapl:0": ("package-1", 10_000, 65_532_610_996),
    "intel-rapl:0:0": ("core", 5_000, 65_532_610_996),
    "intel-rapl:0:1": ("dram", 2_000, 65_532_610_996),
    "intel-rapl:1": ("package-0", 20_000, 65_532_610_996),
    "intel-rapl:2": ("psys", 90_000, 65_532_610_996),
    "intel-rapl-mmio:0": ("package-0", 20_000, 65_532_610_996),
}
EPYC = {
    f"intel-rapl:{n}{sub}": (name, 7_000, 65_532_610_996)
    for n in (0, 1)
    for sub, name in (("", f"package-{n}"), (":0", "core"))
}


def probed(tree: Path, *still: str) -> MeterPlan:
    """The plan of a machine whose counters grow, but for those of the folders ``still``."""
    live = [f.parent for f in tree.glob("*/energy_uj") if f.read_text().strip().isdigit()]
    with renewed(*(zone for zone in live if zone.name not in still)):
        return RAPL.probe(None, {"root": str(tree)})


def test_zones_are_told_by_name_and_only_packages_count(tmp_path: Path) -> None:
    plan = probed(rapl_tree(tmp_path, SERVER))
    counted = {d.device: d.quantities["cpu_energy"].summed for d in plan.devices}
    assert counted == {
        "cpu0-package": True,
        "cpu1-package": True,
        "cpu1-core": False,
        "cpu1-dram": False,
        "psys": False,
    }


def test_amd_has_the_same_tree_and_two_sockets_are_two_packages(tmp_path: Path) -> None:
    plan = probed(rapl_tree(tmp_path, EPYC))
    counted = {d.device: d.quantities["cpu_energy"].summed for d in plan.devices}
    assert counted == {
        "cpu0-package": True,
        "cpu1-package": True,
        "cpu0-core": False,
        "cpu1-core": False,
    }
    poll_s = plan.devices[0].quantities["cpu_energy"].poll_s
    assert poll_s <= 65_532 / 1000 / 4  # a quarter of the wrap time at 1 kW


def test_mmio_serves_a_machine_that_has_nothing_else(tmp_path: Path) -> None:
    tree = rapl_tree(tmp_path, {"intel-rapl-mmio:0": ("package-0", 1, 10**9)})
    assert [(z.device, z.path.name) for z in zones(tree)] == [("cpu0-package", "intel-rapl-mmio:0")]


def test_the_same_package_by_mmio_is_read_where_the_first_way_fails(tmp_path: Path) -> None:
    tree = rapl_tree(tmp_path, SERVER)
    (tree / "intel-rapl:1" / "energy_uj").unlink()
    assert {z.path.name for z in zones(tree) if z.summed} == {"intel-rapl:0", "intel-rapl-mmio:0"}


def test_a_package_that_cannot_be_read_leaves_no_sum_that_is_too_small(tmp_path: Path) -> None:
    tree = rapl_tree(tmp_path, EPYC)
    (tree / "intel-rapl:1" / "energy_uj").write_text("")
    (tree / "intel-rapl:0:0" / "energy_uj").unlink()  # nobody misses a core zone
    plan = probed(tree)
    assert [d.device for d in plan.devices] == ["cpu0-package", "cpu1-package", "cpu1-core"]
    reader = RAPL.open(None, {"root": str(tree)}, Clock())
    assert {r.device for r in reader.tiers[0].read()} == {"cpu0-package", "cpu1-core"}
    reader.close()
    rows = [f"{i},{t},{t},,cpu0-package,cpu_energy,0,{t // 1000}" for i, t in enumerate(TIMES)]
    read = samples.from_csv({"rapl.csv": "\n".join([samples.HEADER, *rows, ""]).encode()})
    value = energy.Energy(read, (plan,)).of(10**8, 9 * 10**8)[0]
    assert (value.status, value.joules) == ("unmeasured", None)
    assert "cpu1-package: its counter cannot be read" in sentence(value.reason)


@pytest.mark.parametrize(
    ("steps", "joules"),
    [
        ([0] * 10 + [5_000_000], 5.0),
        ([-65_000_000_000], None),  # the driver was reloaded: no wrap, which would be half a joule
        ([-65_532_000_000], 0.610997),
    ],
)
def test_a_reset_is_no_wrap(tmp_path: Path, steps: list[int], joules: float | None) -> None:
    tree = rapl_tree(tmp_path, {"intel-rapl:0": ("package-0", 1, 65_532_610_996)})
    plan = probed(tree)
    raw, rows = 65_532_500_000, []
    for i, t in enumerate(TIMES[: len(steps) + 1]):
        raw += steps[i - 1] if i else 0
        rows.append(f"{i},{t},{t},,cpu0-package,cpu_energy,0,{raw}")
    read = samples.from_csv({"rapl.csv": "\n".join([samples.HEADER, *rows, ""]).encode()})
    value = energy.Energy(read, (plan,)).of(0, TIMES[len(steps)])[0]
    if joules is None:
        assert "reset" in sentence(value.reason)
    else:
        assert value.joules == pytest.approx(joules)


def test_the_range_becomes_the_modulus_and_sets_the_pace(tmp_path: Path) -> None:
    tree = rapl_tree(tmp_path, {"intel-rapl:0": ("package-0", 1, 65_532_610)})
    (only,) = probed(tree).devices
    assert only.quantities["cpu_energy"].wrap == 65_532_611
    assert only.quantities["cpu_energy"].poll_s == 0.016383


@pytest.mark.parametrize("highest", [1, 1000, 99_999, 1_000_000])
@pytest.mark.parametrize("odd", ["package", "dram"])
def test_a_range_that_nobody_can_follow_is_a_reason_and_spoils_no_other_zone(
    tmp_path: Path, highest: int, odd: str
) -> None:
    """It begins again within milliseconds: read ever so fast, its differences say nothing."""
    zones_of = {
        "intel-rapl:0": ("package-0", 1, 65_532_610_996),
        "intel-rapl:1": ("package-1", 1, highest if odd == "package" else 65_532_610_996),
        "intel-rapl:1:0": ("dram", 1, highest if odd == "dram" else 65_532_610_996),
    }
    tree = rapl_tree(tmp_path, zones_of)
    by_zone = {d.device: d.quantities["cpu_energy"] for d in probed(tree).devices}
    why = by_zone[f"cpu1-{odd}"].reason
    assert "too soon to be followed" in why
    reader = RAPL.open(None, {"root": str(tree)}, Clock())
    assert {r.device for r in reader.tiers[0].read()} == set(by_zone) - {f"cpu1-{odd}"}
    assert reader.tiers[0].period_s == 0.05
    reader.close()


@pytest.mark.parametrize("highest", ["0", "-1"])
@pytest.mark.parametrize("odd", ["package-0", "dram"])
def test_a_range_of_0_is_read_and_where_it_begins_again_is_a_hole(
    tmp_path: Path, highest: str, odd: str
) -> None:
    """Old and virtual machines give 0: until the counter falls its differences are right."""
    tree = rapl_tree(
        tmp_path,
        {"intel-rapl:0": ("package-0", 1, 10**11), "intel-rapl:0:0": ("dram", 1, 10**11)},
    )
    zone = "intel-rapl:0" if odd == "package-0" else "intel-rapl:0:0"
    with renewed(tree / "intel-rapl:0", tree / "intel-rapl:0:0"):
        (tree / zone / "max_energy_range_uj").write_text(highest)
        plan = RAPL.probe(None, {"root": str(tree)})
        run = Sampled(
            tmp_path / "out", [{"name": "rapl", "alias": None, "config": {"root": str(tree)}}]
        )
        t0, t1 = run.run(1.0)
    assert run.process.returncode == 0
    read = samples.from_csv(run.files())
    assert energy.Energy(read, (plan,)).of(t0, t1)[0].status == "measured"
    assert len(read.series["cpu0-dram", "cpu_energy"].t) > 10
    facts = {d.device: d.quantities["cpu_energy"] for d in plan.devices}
    assert (facts["cpu0-package"].wrap is not None) is (odd != "package-0")


TWO = {
    "intel-rapl:0": ("package-0", 1_000, 65_532_610_996),
    "intel-rapl:1": ("package-0", 5_000_000, 65_532_610_996),
    "intel-rapl:1:0": ("package-0", 4_000, 65_532_610_996),
}


def test_of_two_zones_of_one_name_none_is_lost_and_one_inside_another_is_not_added(
    tmp_path: Path,
) -> None:
    by_zone = {
        d.device: d.quantities["cpu_energy"].summed
        for d in probed(rapl_tree(tmp_path, TWO)).devices
    }
    assert by_zone == {"cpu0-package": True, "cpu0-package-2": True, "cpu0-package-inside": False}


@pytest.mark.parametrize(
    "names",
    [
        ("psys", "psys", "psys-2"),
        ("psys-2", "psys", "psys"),
        ("package-0", "package-0", "cpu0-package-2"),
        ("a b", "a-b", "a-b-2", "a b"),
    ],
)
def test_no_two_zones_get_one_alias(tmp_path: Path, names: tuple[str, ...]) -> None:
    tree = rapl_tree(
        tmp_path, {f"intel-rapl:{n}": (name, n, 10**11) for n, name in enumerate(names)}
    )
    assert len({zone.device for zone in zones(tree)}) == len(names)


@pytest.mark.parametrize("file", ["max_energy_range_uj", "constraint_0_max_power_uw"])
@pytest.mark.parametrize("digits", [str(2**53 - 1), str(2**53), str(2**64 - 1), "9" * 400, "²"])
def test_a_number_of_the_kernel_that_no_record_can_hold_stops_nothing(
    tmp_path: Path, file: str, digits: str
) -> None:
    tree = rapl_tree(tmp_path, {f"intel-rapl:{n}": (f"package-{n}", 1, 10**11) for n in range(2)})
    with renewed(tree / "intel-rapl:0", tree / "intel-rapl:1"):
        (tree / "intel-rapl:0" / file).write_text(digits)
        plan = RAPL.probe(None, {"root": str(tree)})
    assert jsonio.parse(jsonio.canonical(msgspec.to_builtins(plan)))
    facts = {d.device: d.quantities["cpu_energy"] for d in plan.devices}
    assert facts["cpu1-package"].wrap == 10**11 + 1
    assert (facts["cpu0-package"].limit_w or 0.0) < 1e10


@pytest.mark.parametrize("same", [True, False])
def test_the_second_tree_is_left_out_where_it_moves_as_the_first(
    tmp_path: Path, same: bool
) -> None:
    """What moves otherwise is recorded beside, and never added: nobody knows what it covers."""
    tree = rapl_tree(
        tmp_path,
        {"intel-rapl:0": ("package-0", 1, 10**11), "intel-rapl-mmio:0": ("package-0", 1, 10**11)},
    )
    stop = threading.Event()

    def grow() -> None:
        began = time.monotonic()
        while not stop.wait(0.002):
            joules = 40 * (time.monotonic() - began)
            for folder, times in (("intel-rapl:0", 1.0), ("intel-rapl-mmio:0", 1 if same else 2)):
                with (tree / folder / "energy_uj").open("r+") as file:
                    file.write(f"{int(joules * times * 1e6):<20}\n")

    thread = threading.Thread(target=grow)
    thread.start()
    try:
        devices = RAPL.probe(None, {"root": str(tree)}).devices
    finally:
        stop.set()
        thread.join()
    by_zone = {d.device: d.quantities["cpu_energy"].summed for d in devices}
    beside = {} if same else {"cpu0-package-mmio": False}
    assert by_zone == {"cpu0-package": True, **beside}
    assert same or "what it covers is unknown" in devices[1].description


def test_the_highest_power_that_the_kernel_names_is_in_the_plan(tmp_path: Path) -> None:
    tree = rapl_tree(tmp_path, {"intel-rapl:0": ("package-0", 1, 10**11)})
    for number, microwatts in ((0, 125_000_000), (1, 0), (2, 241_000_000)):
        path = tree / "intel-rapl:0" / f"constraint_{number}_max_power_uw"
        path.write_text(f"{microwatts}\n")
    assert probed(tree).devices[0].quantities["cpu_energy"].limit_w == 241.0


def test_dies_of_one_package_are_told_apart(tmp_path: Path) -> None:
    names = {f"intel-rapl:{i}": (f"package-0-die-{i}", 1, 10**9) for i in (0, 1)}
    assert [z.device for z in zones(rapl_tree(tmp_path, names))] == [
        "cpu0-die0-package",
        "cpu0-die1-package",
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become someone who may not read")
def test_permission_denied_is_a_reason_with_its_remedy(tmp_path: Path) -> None:
    tree = rapl_tree(tmp_path, {"intel-rapl:0": ("package-0", 1, 10**9)})
    (tree / "intel-rapl:0" / "energy_uj").chmod(0o400)
    for folder in (tree, *tree.parents[:3]):
        folder.chmod(0o755)
    os.seteuid(65534)
    try:
        plan = RAPL.probe(None, {"root": str(tree)})
    finally:
        os.seteuid(0)
    assert plan.devices == ()
    assert "permission" in plan.reason and plan.cause == "no_permission"
    assert "chmod a+r" in plan.reason
    assert "udev" in plan.reason


def test_no_rapl_is_a_reason(tmp_path: Path) -> None:
    assert "no RAPL" in RAPL.probe(None, {"root": str(tmp_path / "none")}).reason


@pytest.mark.slow
def test_a_wrap_loses_nothing_and_a_dead_zone_leaves_codes(tmp_path: Path) -> None:
    """A counter that wraps while it is sampled loses nothing; one that dies is flagged."""
    tree = rapl_tree(tmp_path / "tree", {"intel-rapl:0": ("package-0", 65_432_611, 65_532_610)})
    zone = tree / "intel-rapl:0"
    config = {"root": str(tree)}
    with renewed(zone):
        plan = RAPL.probe(None, config)
        run = Sampled(tmp_path / "out", [{"name": "rapl", "alias": None, "config": config}])
        run.wait_for("ready")
        t0 = run.now()
        time.sleep(0.1)  # a step lies somewhere between two reads
        with (zone / "energy_uj").open("r+") as file:
            file.write(f"{300_000:<20}")  # 0.4 J later, past the modulus
        run.wait_for("live")
        t1 = run.now()
        run.wait_for("live")
    with (zone / "energy_uj").open("r+") as file:
        file.write("no number")
    lost = run.wait_for("error")
    t2 = run.now()
    run.stop()
    assert "cpu0-package" in lost["message"]
    assert "not a number (code 74)" in lost["message"]
    read = samples.from_csv(run.files())
    value = energy.Energy(read, (plan,)).of(t0, t1)[0]
    assert value.joules == pytest.approx(0.4, abs=0.01), value.reason
    after = energy.Energy(read, (plan,)).of(t0, t2 + 10**9)[0]
    assert after.status == "unmeasured"
    assert "do not cover" in sentence(after.reason)


# --- a counter that stands still ------------------------------------------------------------


def test_a_machine_whose_counters_stand_still_has_no_rapl(tmp_path: Path) -> None:
    """The kernel lists the zones, and nothing renews them: that is not a CPU that draws 0 W."""
    plan = RAPL.probe(None, {"root": str(rapl_tree(tmp_path, SERVER))})
    assert plan.devices == ()
    assert "stands still" in plan.reason


@pytest.mark.parametrize(
    ("still", "device", "missed"),
    [("intel-rapl:1", "cpu0-package", True), ("intel-rapl:0:1", "cpu1-dram", False)],
)
def test_one_zone_that_stands_still_is_told_of(
    tmp_path: Path, still: str, device: str, missed: bool
) -> None:
    plan = probed(rapl_tree(tmp_path, SERVER), still)
    reasons = {d.device: d.quantities["cpu_energy"].reason or "" for d in plan.devices}
    assert "stands still" in reasons.pop(device)
    assert set(reasons.values()) == {""}
    finding = meter(plan)
    assert (finding.code == "METER_SILENT") is missed
    assert (device in finding.message) is missed
    value = energy.Energy(samples.EMPTY, (plan,)).of(0, 10**9)[0]
    assert (f"{device}: its energy counter stands still" in sentence(value.reason)) is missed


def test_a_zone_may_rest_for_a_while(tmp_path: Path) -> None:
    """Memory or graphics may draw nothing for longer than one look."""
    tree = rapl_tree(tmp_path, SERVER)
    file = tree / "intel-rapl:0:1" / "energy_uj"
    late = threading.Timer(0.2, lambda: file.write_text("2001\n"))
    late.start()
    plan = probed(tree, "intel-rapl:0:1")
    late.join()
    assert all(d.quantities["cpu_energy"].is_read for d in plan.devices)


def test_a_machine_whose_counters_grow_waits_for_one_look(tmp_path: Path) -> None:
    tree = rapl_tree(tmp_path, EPYC)
    began = time.monotonic()
    assert len(probed(tree).devices) == 4
    assert time.monotonic() - began < 0.4
