"""The estimator: what it reads, whose watts it uses, and that it never looks like a measurement."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from kit import energy
from kit.core import jsonio
from kit.core.model import MeterPlan
from kit.measure import meters
from kit.measure.meters import estimate
from kit.record import samples
from tests.plans import facts_in

METER = meters.get("estimate")
CPUINFO = "processor : 0\nvendor_id\t: {}\ncpu family\t: {}\nmodel\t\t: {}\nstepping\t: {}\n"


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A /proc of four CPUs that were busy for 150 ticks."""
    cpus = "".join(f"cpu{i} 0 0 0 0 0 0 0 0 0 0\n" for i in range(4))
    (tmp_path / "stat").write_text(f"cpu  100 5 30 9999 77 10 5 1000 60 0\n{cpus}intr 1\n")
    (tmp_path / "cpuinfo").write_text(CPUINFO.format("AuthenticAMD", 25, 1, 1))
    return tmp_path


def test_busy_time_leaves_out_idle_waiting_and_what_was_stolen(proc: Path) -> None:
    reader = METER.open(None, {"proc": str(proc)}, estimate.Clock())
    (reading,) = reader.tiers[0].read()
    reader.close()
    assert (reading.quantity, reading.rc, reading.raw) == ("cpu_busy", 0, 150 * 10_000)


@pytest.mark.parametrize(
    ("cpu", "name"),
    [
        (("AuthenticAMD", 25, 1, 1), "EPYC 7003"),
        (("AuthenticAMD", 25, 17, 1), "EPYC 9004"),
        (("GenuineIntel", 6, 85, 4), "Skylake"),
        (("GenuineIntel", 6, 85, 7), "Cascade Lake"),
        (("GenuineIntel", 6, 143, 8), "Sapphire Rapids"),
        (("GenuineIntel", 25, 1, 1), "CPU not in the table"),
        (("AuthenticAMD", 26, 2, 1), "CPU not in the table"),
    ],
)
def test_watts_are_those_of_the_family_or_the_generic_figure(
    proc: Path, cpu: tuple[str, int, int, int], name: str
) -> None:
    (proc / "cpuinfo").write_text(CPUINFO.format(*cpu))
    facts = estimate.facts_of({"proc": str(proc)})
    assert name in facts.source
    assert "SPECpower" in facts.source
    assert (facts.cpus, 0 < facts.idle_w < facts.max_w) == (4, True)


def test_host_toml_wins(proc: Path) -> None:
    mine = {"idle_w": 35, "max_w": 120, "source": "my wattmeter"}
    facts = msgspec.to_builtins(estimate.facts_of({"proc": str(proc), **mine}))
    assert {**mine, "cpus": 4}.items() <= facts.items()


def test_the_table_is_sound() -> None:
    table = jsonio.read(Path(estimate.__file__).with_name("cpu_power.json"))
    assert table["source"]
    for entry in [*table["families"], table["generic"]]:
        low, high = entry["idle_range_w"]
        assert low <= entry["idle_w"] <= high < entry["max_range_w"][1]
        assert entry["results"] >= 3


def test_an_estimate_is_always_called_one(proc: Path) -> None:
    facts = {"idle_w": 10.0, "max_w": 50.0, "cpus": 4, "period_s": 0.1, "u_relative": 0.01}
    device = METER.probe(None, {"proc": str(proc)}).devices[0]
    plan = MeterPlan(
        name="estimate",
        alias=None,
        devices=(
            type(device)(device="host", description="", quantities=facts_in({"cpu_busy": facts})),
        ),
    )
    rows = [
        f"{i},{t},{t},,host,cpu_busy,0,{2 * t // 1000}"  # two of four CPUs busy
        for i, t in enumerate(range(0, 2_000_000_001, 100_000_000))
    ]
    text = "\n".join([samples.HEADER, *rows, ""]).encode()
    read = samples.from_csv({"estimate.csv": text})
    value = energy.Energy(read, (plan,)).of(500_000_000, 1_500_000_000)[0]
    assert value.status == "estimated"
    assert value.joules == pytest.approx(30.0)
    assert value.u_sensor is not None
    assert value.u_sensor >= 0.5 * 30.0  # whatever the plan claims


def test_no_proc_is_a_reason(tmp_path: Path) -> None:
    assert "cannot be read" in METER.probe(None, {"proc": str(tmp_path)}).reason
