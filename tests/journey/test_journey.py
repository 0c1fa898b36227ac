"""The whole way of a run as a person goes it: spec, run, verify, share, replay, report."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from kit.core import resources
from tests.journey.conftest import Workplace, loopback_spec

pytestmark = pytest.mark.docker


def sealed(place: Workplace, spec: dict[str, Any]) -> Path:
    done = place.kit("run", place.spec(spec), "--runs", place.runs)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


@pytest.fixture(scope="module")
def run(shared_place: Workplace) -> Path:
    """A run of two launches."""
    return sealed(shared_place, loopback_spec(launches=2))


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    """A copy of the run, to be changed."""
    return Path(shutil.copytree(run, tmp_path / "copies" / run.name))


def journal(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]


def test_a_run_goes_through_every_phase_and_is_sealed(workplace: Workplace, run: Path) -> None:
    events = journal(run)
    assert events[0]["kind"] == "run.registered"
    assert events[-1] == {**events[-1], "kind": "run.end"}
    begun = [
        (e["data"]["launch"], e["data"]["phase"], e["data"]["part"])
        for e in events
        if e["kind"] == "phase.begin"
    ]
    # fmt: off
    once = [("idle", "before"), ("startup", None), ("warmup", None), ("loaded_idle", "before"),
            ("measured", None), ("loaded_idle", "after"), ("shutdown", None), ("idle", "after")]
    # fmt: on
    assert begun == [(launch, *phase) for launch in (0, 1) for phase in once]
    assert sorted(p.name for p in (run / "launches").iterdir()) == ["000", "001"]
    assert workplace.kit("verify", run).returncode == 0


def test_nothing_in_an_archive_names_the_machine(
    workplace: Workplace, shared_place: Workplace, run: Path
) -> None:
    private = json.loads((run / "private/identity.json").read_text())
    packed = workplace.kit("export", run, workplace.folder).stdout.strip()
    elsewhere = workplace.folder / "elsewhere"
    placed = Path(workplace.kit("import", packed, "--runs", elsewhere).stdout.strip())
    assert not (placed / "private").exists()
    whole = b"".join(p.read_bytes() for p in placed.rglob("*") if p.is_file()).decode()
    for place in (workplace, shared_place):
        assert str(place.folder) not in whole
    assert f'"{private["host"]}"' not in whole
    for path in (packed, placed):
        done = workplace.kit("verify", path)
        assert done.returncode == 0, done.stdout
        assert "withheld" in done.stdout.lower()


def test_a_single_file_keeps_its_bytes_and_its_hash(workplace: Workplace, run: Path) -> None:
    first = Path(workplace.kit("export", run, workplace.folder).stdout.strip())
    data = first.read_bytes()
    again = Path(workplace.kit("export", run, workplace.folder).stdout.strip())
    assert again.read_bytes() == data
    assert first.name == f"{run.name}.kit.zip"


def test_a_changed_byte_is_found(workplace: Workplace, copy: Path) -> None:
    samples = copy / "samples/estimate.csv"
    samples.write_bytes(samples.read_bytes()[:-3] + b"9\n")
    done = workplace.kit("verify", copy)
    assert done.returncode == 4
    assert "samples/estimate.csv" in done.stdout


def test_a_replay_of_the_same_reproduces(workplace: Workplace, run: Path) -> None:
    done = workplace.kit("replay", run, "--yes", "--runs", workplace.runs)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "REPRODUCED" in done.stdout
    assert "NOT-COMPARABLE" in done.stdout  # the estimate gets no verdict
    again = Path(done.stdout.splitlines()[0])
    parents = json.loads((again / "manifest.json").read_text())["parents"]
    assert parents == [{"run_hash": run.name, "relation": "replay-of"}]
    assert (again / "spec.json").read_bytes() == (run / "spec.json").read_bytes()


def test_a_replay_with_other_texts_is_different(workplace: Workplace) -> None:
    run = sealed(workplace, loopback_spec({"nondeterministic": True}))
    done = workplace.kit("replay", run, "--yes", "--runs", workplace.runs)
    assert done.returncode == 5, done.stdout + done.stderr
    assert "DIFFERENT" in done.stdout


def test_a_replay_that_cannot_be_judged_says_so(workplace: Workplace) -> None:
    run = sealed(workplace, loopback_spec(primary_metric="estimate_energy_per_output_token"))
    done = workplace.kit("replay", run, "--yes", "--runs", workplace.runs)
    assert done.returncode == 6, done.stdout + done.stderr


def test_a_replay_asks_before_it_runs_what_a_stranger_wrote(
    workplace: Workplace, run: Path
) -> None:
    done = workplace.kit("replay", run, "--runs", workplace.runs)
    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert workplace.sealed() == []


def test_a_tampered_run_is_not_replayed(workplace: Workplace, copy: Path) -> None:
    spec = copy / "spec.json"
    spec.write_text(spec.read_text().replace('"memory_mib":256', '"memory_mib":999'))
    assert workplace.kit("replay", copy, "--yes", "--runs", workplace.runs).returncode == 4


def test_every_way_to_look_at_a_run(
    workplace: Workplace, shared_place: Workplace, run: Path
) -> None:
    short, runs = run.name[:10], shared_place.runs
    assert run.name[:12] in workplace.kit("ls", "--runs", runs).stdout
    assert "estimated" in workplace.kit("show", short, "--runs", runs).stdout
    assert workplace.kit("compare", run, run).returncode == 0
    page = Path(workplace.folder / workplace.kit("report", run).stdout.strip())
    assert "</html>" in page.read_text()
    shown = json.loads(workplace.kit("show", run, "--json").stdout)
    assert shown["manifest"]["status"] == "complete"
    assert json.loads(workplace.kit("verify", run, "--json").stdout)


def test_detached_run_is_attached_to(workplace: Workplace) -> None:
    long = {"idle_s": 4, "loaded_idle_s": 0.3, "warmup_requests": 1}  # a busy machine attaches late
    spec = workplace.spec(loopback_spec(phases=long))
    done = workplace.kit("run", spec, "--detach", "--runs", workplace.runs)
    watched = workplace.kit("attach", done.stdout.strip(), "--runs", workplace.runs)
    assert watched.returncode == 0, watched.stderr
    assert Path(watched.stdout.strip()) == workplace.only_run()["folder"]


@pytest.mark.real
def test_a_real_model_reproduces_its_own_text(workplace: Workplace) -> None:
    spec = json.loads((resources.specs_dir() / "quickstart.json").read_text())
    spec |= {"launches": 1, "phases": {"idle_s": 0.5, "loaded_idle_s": 0.5, "warmup_requests": 1}}
    spec["workload"]["options"] |= {"requests": 2, "max_output_tokens": 16}
    run = sealed(workplace, spec)
    results = json.loads((run / "results.json").read_text())
    (launch,) = results["launches"]
    assert launch["requests"]["output_tokens"] == 32
    assert results["notices"] == [] or all(
        n["code"] == "DRIVER_LIMITED" for n in results["notices"]
    )
    answers = (run / "launches/000/responses.jsonl").read_text().splitlines()
    assert len({json.loads(a)["text"] for a in answers}) > 1
    done = workplace.kit("replay", run, "--yes", "--runs", workplace.runs)
    assert done.returncode == 0, done.stdout + done.stderr
