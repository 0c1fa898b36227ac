"""CodeCarbon beside kit: the real library, in a real sampler process of its own."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator

from kit import energy
from kit.core import jsonio, resources
from kit.core.model import MeterDevice, MeterPlan, MeterSpec
from kit.energy import results
from kit.energy.names import COMPARATORS, SCOPES
from kit.energy.reasons import sentence
from kit.energy.scopes.codecarbon import stated
from kit.energy.value import EnergyValue
from kit.judge.verify import verify
from kit.measure import meters
from kit.measure.meters import codecarbon
from kit.record import archive, records, samples
from kit.record.phases import INSIDE
from tests import golden
from tests.meters.fake import Fake, Sampled
from tests.plans import facts_in

METER = meters.get("codecarbon")
WAYS = {"version": "3.3.2", "gpu": "pynvml", "cpu": "cpu_load", "ram": "RAM power estimation model"}


def plan_of(ways: dict[str, str]) -> MeterPlan:
    return MeterPlan(name="codecarbon", alias=None, devices=codecarbon._devices(ways))


def rows_of(joules: dict[str, list[float]]) -> samples.Samples:
    rows = []
    for component, values in joules.items():
        for i, value in enumerate(values):
            key = f"codecarbon:{component},codecarbon_energy"
            rows.append(f"{len(rows)},{i * 10**9},{i * 10**9},,{key},0,{round(value * 1e6)}")
    return samples.from_csv({"codecarbon.csv": "\n".join([samples.HEADER, *rows, ""]).encode()})


def test_each_component_is_measured_or_estimated_as_codecarbon_says() -> None:
    sources = {d.device: d.quantities["codecarbon_energy"].source for d in plan_of(WAYS).devices}
    assert sources == {
        "codecarbon:gpu": "measured",
        "codecarbon:cpu": "estimated",
        "codecarbon:ram": "estimated",
    }
    with_rapl = plan_of({**WAYS, "cpu": "RAPL", "gpu": "Unspecified"}).devices
    assert [d.description for d in with_rapl] == [
        "CodeCarbon 3.3.2: cpu measured (RAPL)",
        "CodeCarbon 3.3.2: ram estimated (RAM power estimation model)",
    ]


def test_its_account_stands_beside_and_states_no_uncertainty() -> None:
    plan = plan_of(WAYS)
    read = rows_of({"gpu": [0, 300, 600], "cpu": [0, 40, 80], "ram": [0, 5, 10]})
    (value,) = energy.Energy(read, (plan,)).of(0, 2 * 10**9)
    assert (value.scope, value.status, value.joules) == ("codecarbon", "estimated", 690.0)
    assert value.devices == {"codecarbon:gpu": 600, "codecarbon:cpu": 80, "codecarbon:ram": 10}
    assert value.u_sensor is None
    assert "cpu estimated (cpu_load)" in value.method
    assert "uncertainty not stated" in value.method
    assert energy.power_series(read, (plan,)) == {}


def test_a_total_that_falls_or_stops_leaves_the_window_without_a_value() -> None:
    plan = plan_of({"version": "3", "ram": "model"})
    falling = energy.Energy(rows_of({"ram": [0, 5, 3, 8]}), (plan,)).of(0, 2 * 10**9)[0]
    assert "backwards" in sentence(falling.reason)
    short = energy.Energy(rows_of({"ram": [0, 5]}), (plan,)).of(0, 9 * 10**9)[0]
    assert short.status == "unmeasured"


def test_it_is_no_scope_of_kit_and_no_metric() -> None:
    assert not set(COMPARATORS) & {*SCOPES, *energy.scopes.SCOPES}
    contract = resources.schema_path("run-spec").read_text()
    assert "codecarbon_energy" not in contract


def test_only_all_components_measured_are_called_measured() -> None:
    value = EnergyValue(scope="codecarbon", status="measured", joules=1.0, u_sensor=0.0)
    facts = {"codecarbon_energy": {"source": "measured"}}
    device = MeterDevice(device="codecarbon:gpu", description="gpu", quantities=facts_in(facts))
    assert stated(value, [device]).status == "measured"


def test_without_the_package_it_is_absent_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecarbon, "find_spec", lambda name: None)
    plan = METER.probe(None, {})
    assert plan.devices == ()
    assert "pip install 'kit-energy[study]'" in plan.reason
    with pytest.raises(meters.MeterUnavailable):
        METER.open(None, {}, codecarbon.Clock())


needs_it = pytest.mark.skipif(
    importlib.util.find_spec("codecarbon") is None, reason="CodeCarbon is not installed"
)


@needs_it
def test_the_real_library_in_a_real_sampler(tmp_path: Path) -> None:
    """Offline, whatever its own configuration says, and nothing of its own on disk."""
    plan = METER.probe(None, {"country": "NLD"})
    assert {d.device for d in plan.devices} >= {"codecarbon:cpu", "codecarbon:ram"}
    assert all(d.quantities["codecarbon_energy"].version for d in plan.devices)
    wanted = {"name": "codecarbon", "alias": None, "config": {"country": "NLD"}}
    env = {**os.environ, "CODECARBON_PUE": "1000", "CODECARBON_FORCE_RAM_POWER": "9999"}
    run = Sampled(tmp_path / "out", [wanted], env)
    t0, t1 = run.run(3.5)
    assert [p.name for p in run.out.iterdir()] == ["codecarbon.csv"]
    (value,) = energy.Energy(samples.from_csv(run.files()), (plan,)).of(t0, t1)
    assert value.joules is not None, value.reason
    assert value.status == "estimated"  # its RAM always is
    watts = value.devices["codecarbon:ram"] / ((t1 - t0) * 1e-9)
    assert 1 < watts < 1000, "the environment's settings must not reach it"


OWN = """[codecarbon]
tracking_mode = process
pue = 1.6
wue = 3
force_cpu_power = 500
force_ram_power = 99
save_to_file = true
save_to_api = true
output_dir = {folder}
log_level = critical
gpu_ids = 3
allow_multiple_runs = false
"""
LEFT = {
    "lock": (".codecarbon.lock", '{"pid": 1}'),
    "settings": (".codecarbon.config", OWN),
    "malformed settings": (".codecarbon.config", "pue = 1.6\n[codecarbon\n"),
    "settings of another world": (".codecarbon.config", "[codecarbon]\npue = x\nwue = y\n"),
}
ASK = """
import json, time
from kit.measure.meters import codecarbon
tracker = codecarbon.Tracker({})
begun = tracker.totals(), time.monotonic()
time.sleep(1)
ended = tracker.totals(), time.monotonic()
tracker.stop()
watts = {c: (ended[0][c] - begun[0][c]) / 1e6 / (ended[1] - begun[1]) for c in begun[0]}
print(json.dumps({"ways": tracker.ways, "watts": watts}))
"""


def asked(cwd: Path, **env: str) -> dict[str, Any]:
    """What CodeCarbon says of a second, in a process of its own."""
    paths = {"PYTHONPATH": str(Path(codecarbon.__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", ASK],
        env={**os.environ, **paths, **env},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=True,
    )
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return said


@pytest.fixture(scope="module")
def clean() -> dict[str, Any]:
    return asked(Path.cwd())


@needs_it
@pytest.mark.parametrize("left", LEFT)
def test_what_a_person_left_of_it_changes_nothing(
    left: str, tmp_path: Path, clean: dict[str, Any]
) -> None:
    """A crash's lock, settings in HOME and in the working folder, and variables."""
    name, text = LEFT[left]
    (tmp_path / name).write_text(text.replace("{folder}", str(tmp_path)))
    own = {"HOME": str(tmp_path), "TMPDIR": str(tmp_path), "CODECARBON_FORCE_RAM_POWER": "9999"}
    own |= {"CODECARBON_LOG_LEVEL": "critical", "codecarbon_pue": "7", "CODECARBON_WUE": "no"}
    beside = asked(tmp_path, **own)
    assert beside["ways"] == clean["ways"]
    assert beside["watts"]["ram"] == pytest.approx(clean["watts"]["ram"], rel=0.2)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@needs_it
def test_it_measures_the_gpus_where_there_are_any(
    gpus: Callable[..., Fake], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the fake driver beneath, it says that it measures, and agrees with the truth."""
    smi = tmp_path / "bin" / "nvidia-smi"  # all that CodeCarbon wants of it is that it runs
    smi.parent.mkdir()
    smi.write_text("#!/bin/sh\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{smi.parent}:{os.environ['PATH']}")
    fake = gpus(gpus=1, amp=0, base=200)
    output = fake.python(
        "import json, msgspec; from kit.measure import meters;"
        "print(json.dumps(msgspec.to_builtins(meters.get('codecarbon').probe(None, {}))))"
    )
    gpu = next(d for d in output["devices"] if d["device"] == "codecarbon:gpu")
    assert gpu["quantities"]["codecarbon_energy"]["source"] == "measured"
    run = Sampled(tmp_path / "o", [{"name": "codecarbon", "alias": None, "config": {}}], fake.env)
    t0, t1 = run.run(3.5)
    read = samples.from_csv(run.files())
    plan = MeterPlan(name="codecarbon", alias=None, devices=(msgspec.convert(gpu, MeterDevice),))
    (value,) = energy.Energy(read, (plan,)).of(t0, t1)
    assert value.joules == pytest.approx(200 * (t1 - t0) * 1e-9, rel=0.1)


def test_the_results_schema_takes_it_beside_kits_scopes() -> None:
    schema = jsonio.read(resources.schema_path("results"))
    rules = schema["$defs"]["phase"]["properties"]["energy"]
    assert "codecarbon" in rules["properties"]
    assert "codecarbon" not in rules["required"]


def test_nothing_of_it_is_imported_by_asking_which_meters_there_are() -> None:
    code = "import sys; from kit.measure import meters; meters.get('codecarbon')"
    code += "; print('pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.fixture
def sealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A golden run that asked for CodeCarbon too, which told 40 W of GPU and 5 W of RAM."""
    spec, theirs, write = golden.run_spec(), golden.meters(), golden.write_samples
    stopped = golden.stopped
    plan = plan_of({"version": "3.3.2", "gpu": "pynvml", "cpu": "Unspecified", "ram": "a model"})
    asked = (*spec.meters, MeterSpec(name="codecarbon"))

    def times(script: golden.Script) -> list[int]:
        """Each second, and once more before the samplers stop."""
        end = (script.read - 1) * golden.READ_NS + 20 * golden.MS
        return [20 * golden.MS, *range(golden.S, end, golden.S), end]

    def write_all(script: golden.Script) -> int:
        rows = [
            (t, f"codecarbon:{component}", "codecarbon_energy", w * t // 1000)
            for t in times(script)
            for component, w in {"gpu": 40, "ram": 5}.items()
        ]
        script.flight.write_bytes("samples/codecarbon.csv", golden.csv(rows))
        return write(script) + len(rows)

    def stopped_all(script: golden.Script, rows: int) -> dict[str, Any]:
        document = stopped(script, rows)
        reads = len(times(script)) - 2  # the first and the last are of no tier
        document["tiers"]["codecarbon.codecarbon"] = {"reads": reads, "late_p99_ns": 1000}
        return document

    monkeypatch.setattr(golden, "run_spec", lambda: msgspec.structs.replace(spec, meters=asked))
    monkeypatch.setattr(golden, "meters", lambda: (*theirs, plan))
    monkeypatch.setattr(golden, "write_samples", write_all)
    monkeypatch.setattr(golden, "stopped", stopped_all)
    return golden.build(tmp_path / "runs")


def test_a_sealed_run_carries_it_beside_kits_energy_and_verifies(sealed: Path) -> None:
    assert verify(sealed).exit_code == 0
    run = records.load(archive.open_source(sealed))
    document = results.to_document(results.compute(run))
    schema = jsonio.read(resources.schema_path("results"))
    assert not list(Draft202012Validator(schema).iter_errors(document))
    phases = document["launches"][0]["phases"]
    for phase in phases:
        account = phase["energy"]["codecarbon"]
        if phase["phase"] in INSIDE:  # it is renewed once a second
            assert account["reason"]["needed_s"] == 10.0
            continue
        assert (account["status"], account["u_sensor"]) == ("estimated", None)
        assert account["joules"] == pytest.approx(45 * phase["duration_s"], rel=1e-3)
        assert "gpu measured (pynvml)" in account["method"]
    assert max(p["pieces"] for p in phases) > 1
    assert not any(
        "codecarbon" in name for name in [*document["metrics"], *document["launches"][0]["net"]]
    )
    drawn = energy.power_series(run.samples, run.plan.meters)
    assert set(drawn) == {"gpu0", "cpu0-package"}
