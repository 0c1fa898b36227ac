"""The public Python API: what docs/api.md says runs, and no hostile run comes through it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import kit
from kit.core import jsonio
from tests import golden
from tests.committed import ALL, H200, QUICKSTART, REPLAY

ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "docs" / "api.md"


@pytest.mark.slow
def test_the_document_runs_as_it_stands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    pieces = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    exec(compile("\n".join(pieces), str(DOCUMENT), "exec"), {})
    output = capsys.readouterr().out
    assert "2.416 J ± 0.035 (3 launches)" in output and "outputs REPRODUCED" in output


def test_the_document_names_every_name() -> None:
    text = DOCUMENT.read_text()
    assert [name for name in kit.__all__ if name not in text] == []
    assert set(kit.__all__) <= set(dir(kit))
    with pytest.raises(AttributeError):
        kit.no_such_name  # noqa: B018


def test_import_is_lazy() -> None:
    script = (
        "import sys, kit; before = set(sys.modules); print(kit.__version__)\n"
        "assert not before & {'numpy', 'textual', 'docker', 'msgspec', 'kit.api'}, before\n"
        "assert kit.load and not {'textual', 'docker', 'rich'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", ALL, ids=lambda p: p.name[:12])
def test_what_is_loaded_is_what_was_sealed(path: Path) -> None:
    run, stored = kit.load(path), jsonio.read(path / "results.json")
    assert run.hash == path.name and run.status == "complete"
    assert len(run.launches) == run.spec.launches == len(stored["launches"])
    for launch, document in zip(run.launches, stored["launches"], strict=True):
        assert len(launch.requests) >= launch.completed == document["requests"]["completed"]
        for phase, of in zip(launch.phases, document["phases"], strict=True):
            assert (phase.name, phase.part, phase.t0) == (of["phase"], of["part"], of["t0"])
            assert {s: e.status for s, e in phase.energy.items()} == {
                s: e["status"] for s, e in of["energy"].items()
            }
    for name, metric in run.metrics.items():
        assert (metric.value is None) == bool(metric.reason), name
        value = stored["metrics"][name].get("value")
        assert metric.value == (value and pytest.approx(value, rel=1e-9)), name


def test_energies_say_joules_or_why_not() -> None:
    energies = [
        value
        for launch in kit.load(H200).launches
        for value in (
            *(e for phase in launch.phases for e in phase.energy.values()),
            *(net for scope in launch.net.values() for net in scope.values()),
        )
    ]
    assert {e.status for e in energies} == {"measured", "estimated", "unmeasured"}
    for e in energies:
        assert (e.joules is None) == (e.status == "unmeasured") == bool(e.reason)
    reasons = {str(e.reason) for e in energies if e.reason}
    assert "the spec asks for no meter of it" in reasons and not any("code" in t for t in reasons)


def test_readings_have_their_unit() -> None:
    run = kit.load(H200)
    counter, power = run.readings("gpu0", "gpu_energy"), run.readings("gpu0", "gpu_power_instant")
    assert (counter.unit, counter.kind, power.unit) == ("J", "counter", "W")
    block = run.launches[0].phase("measured")
    grown = np.interp([block.t0, block.t1], counter.t, counter.values)
    joules = block.energy["gpu"].joules
    assert joules == pytest.approx(grown[1] - grown[0], rel=0.01)
    inside = (power.t >= block.t0) & (power.t < block.t1)
    assert power.values[inside].mean() * block.duration_s == pytest.approx(joules, rel=0.02)


def test_what_is_not_there_is_refused_with_what_is() -> None:
    run = kit.load(QUICKSTART)
    for ask in (
        lambda: run.readings("gpu0", "gpu_energy"),
        lambda: run.launches[0].phase("no such phase"),
        lambda: run.launches[0].phase("loaded_idle"),
    ):
        with pytest.raises(kit.KitError) as caught:
            ask()
        assert caught.value.message and caught.value.remedy


def damaged_manifest(run: Path) -> None:
    (run / "manifest.json").write_bytes(b"{}")


def changed_number(run: Path) -> None:
    golden.edit_json(run / "results.json", lambda r: r["primary"].update(value=1.0))


def lost_file(run: Path) -> None:
    (run / "plan.json").unlink()


def a_link(run: Path) -> None:
    (run / "spec.json").unlink()
    (run / "spec.json").symlink_to("/etc/hostname")


@pytest.mark.parametrize("harm", [damaged_manifest, changed_number, lost_file, a_link])
def test_an_altered_run_is_refused(
    sound_run: Path, tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    run = Path(shutil.copytree(sound_run, tmp_path / sound_run.name))
    harm(run)
    verdict = kit.verify(run)
    assert not verdict.passed
    for refused in (lambda: kit.load(run), lambda: kit.compare(sound_run, run)):
        with pytest.raises(kit.ArchiveRefused) as caught:
            refused()
        assert caught.value.code == verdict.failures[0].code and caught.value.remedy


@pytest.mark.parametrize("of", [kit.verify, kit.load, lambda p: kit.compare(p, p)])
@pytest.mark.parametrize("kind", ["nothing", "noise", "folder"])
def test_what_is_no_run(tmp_path: Path, of: Callable[[Path], object], kind: str) -> None:
    path = tmp_path / "it.kit.zip"
    if kind == "noise":
        path.write_bytes(b"PK\x03\x04" + bytes(range(256)) * 20)
    if kind == "folder":
        path.mkdir()
    if kind != "nothing" and of is kit.verify:
        assert not kit.verify(path).passed
        return
    with pytest.raises(kit.KitError) as caught:
        of(path)
    assert caught.value.remedy


def test_a_verdict_of_a_replay() -> None:
    judged = kit.compare(str(QUICKSTART), str(REPLAY))
    assert judged.primary.metric == kit.load(QUICKSTART).spec.primary_metric
    assert {axis.verdict for axis in judged.axes} - {"NOT-COMPARABLE"}


def test_a_home_is_expanded_as_a_shell_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(QUICKSTART.parent))
    assert kit.load(f"~/{QUICKSTART.name}").launches
    with pytest.raises(kit.KitError, match="no home"):
        kit.load("~nobody-of-that-name/run")
