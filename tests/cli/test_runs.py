"""`kit ls`, `kit show` and the verdict of a comparison, on documents that kit computed."""

from __future__ import annotations

import copy
import shlex
from dataclasses import replace
from typing import Any

import pytest

from kit.core.errors import ArchiveRefused
from kit.judge.compare import Axis, Comparison
from kit.show import render
from kit.show.render.numbers import number
from tests.cli.documents import documents
from tests.cli.test_render import HOSTILE, on_terminal, without_colour

HASH = "9f2c41aa77e1" + "0" * 52


@pytest.fixture(scope="module")
def run_results() -> dict[str, dict[str, Any]]:
    return documents(failed=1)


def shown(run_results: dict[str, dict[str, Any]]) -> None:
    render.run(HASH, run_results["manifest"], run_results["spec"], run_results["results"])


def listed(run_results: dict[str, dict[str, Any]]) -> render.Row:
    return render.row(HASH, run_results["manifest"], run_results["spec"], run_results["results"])


# --- show -----------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", ["runs/one two.kit", "6395", "llama-server-1.kit", ""])
def test_show_ends_with_commands_that_can_be_pasted(
    asked: str, run_results: dict[str, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    told = run_results["manifest"], run_results["spec"], run_results["results"]
    render.run(HASH, *told, asked=asked)
    first, *_ = capsys.readouterr().out.splitlines()[-1].split(" · ")
    assert shlex.split(first) == ["kit", "verify", asked or HASH[:12]]


def test_show_tells_when_requests_were_sent(
    run_results: dict[str, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    poisson = {"kind": "poisson", "rate": 2, "seed": 1}
    work = {"workload": {"options": {"requests": 6}}, "arrivals": poisson}
    render.run(HASH, run_results["manifest"], run_results["spec"] | work, run_results["results"])
    assert "6 requests in each launch, 2 a second on average, Poisson" in capsys.readouterr().out


def test_show_tells_what_was_measured_and_what_was_not(
    run_results: dict[str, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    shown(run_results)
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert HASH in out and "replay-of eeeeeeeeeeee" in out
    assert any(
        line.startswith("*  GPU energy per output token") and line.count("±") == 2 for line in lines
    )
    assert "unmeasured  CPU energy: permission denied" in lines
    assert "unmeasured  est. CPU energy, wall energy: the spec asks for no meter of it" in lines
    assert "unmeasured  outputs: answers of a launch are missing" in lines
    assert "FAILED_REQUESTS" in out and "1 of 4 requests failed" in out


def test_show_tells_each_phases_energy_with_both_uncertainties(
    run_results: dict[str, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    shown(run_results)
    lines = capsys.readouterr().out.splitlines()
    idle = next(line for line in lines if line.startswith("idle (before)"))
    assert idle.split()[2:4] == ["5.0", "s"]
    assert idle.count("±") == 2 and idle.split()[-1] == "70.00"
    lacking = [line for line in lines if "unmeasured  GPU in" in line]
    assert len(lacking) == 1 and "prefill ×3: not resolved" in lacking[0]
    assert any(line.startswith("decode ×3") for line in lines)


def test_show_says_why_one_phase_has_no_energy(
    run_results: dict[str, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    holed = copy.deepcopy(run_results)
    first = holed["results"]["launches"][0]["phases"][0]
    first["energy"]["gpu"] = {"status": "unmeasured", "reason": "a hole of 0.61 s"}
    shown(holed)
    out = capsys.readouterr().out
    assert "unmeasured  GPU in idle (before): a hole of 0.61 s" in out


def test_show_tells_nets_and_what_speaks_for_them(
    run_results: dict[str, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    good = copy.deepcopy(run_results)
    results = good["results"]
    results["launches"][0]["cross_check"] = {"gpu0": {"status": "measured", "ratio": 1.0034}}
    token = {"value": 0.2153, "u": 0.0041}
    small = {"value": 0.00412, "u": 0.00032}
    results["split"]["gpu"] = {
        "status": "measured",
        "prefill_j_per_token": small,
        "decode_j_per_token": token,
    }
    shown(good)
    lines = capsys.readouterr().out.splitlines()
    net = next(line for line in lines if line.startswith("GPU above loaded idle"))
    joules = float(net.split()[4].replace(",", ""))
    assert joules == pytest.approx(230 * 8, rel=0.005), "230 W more than the loaded idle, for 8 s"
    assert net.count("±") == 3
    assert "baseline 70.46 W, drift -0.92 ± 0.17 W" in net
    assert any(
        line.startswith("steady") and "gpu0 loaded idle (before): unknown" in line for line in lines
    )
    assert "cross-check  gpu0: power readings give 1.003 of the energy counter" in lines
    assert (
        "split        GPU: prefill 4.12 ± 0.32 mJ a token, decode 0.2153 ± 0.0041 J a token"
        in lines
    )


def test_show_leaves_out_checks_of_what_was_not_read(
    run_results: dict[str, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    blind = copy.deepcopy(run_results)
    for launch in blind["results"]["launches"]:
        launch["steady"], launch["cross_check"] = {}, {}
        launch["net"] = {"gpu": {"above_idle": {"status": "unmeasured", "reason": "no meter"}}}
    shown(blind)
    out = capsys.readouterr().out
    assert "checks" not in out and "net energy" not in out and "unknown" not in out


def test_show_drops_watts_before_uncertainties_where_it_is_narrow(
    run_results: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    two = copy.deepcopy(run_results)
    for phase in two["results"]["launches"][0]["phases"]:
        phase["energy"]["estimate"] = copy.deepcopy(phase["energy"]["gpu"])
    narrow = [
        without_colour(x) for x in on_terminal(lambda: shown(two), 80, monkeypatch).splitlines()
    ]
    wide = [
        without_colour(x) for x in on_terminal(lambda: shown(two), 120, monkeypatch).splitlines()
    ]
    measured = [next(x for x in lines if x.startswith("measured  ")) for lines in (narrow, wide)]
    assert [line.count("±") for line in measured] == [4, 4]
    assert [len(line.split()) for line in measured] == [13, 15]
    assert not any("…" in line for line in narrow)


@pytest.mark.parametrize("width", [80, 120])
def test_show_fits(
    run_results: dict[str, dict[str, Any]], width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = on_terminal(lambda: shown(run_results), width, monkeypatch)
    assert max(len(without_colour(line)) for line in out.splitlines()) <= width


def test_an_unmeasured_run_shows_no_number_for_energy(
    run_results: dict[str, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    unmeasured = copy.deepcopy(run_results)
    for phase in unmeasured["results"]["launches"][0]["phases"]:
        phase["energy"]["gpu"] = {"status": "unmeasured", "reason": "no meter"}
    for name, metric in unmeasured["results"]["metrics"].items():
        if "_energy_" in name:
            metric.clear()
            metric.update(status="unmeasured", reason="no meter", launches=[None], unit="J")
    shown(unmeasured)
    out = capsys.readouterr().out
    assert "J ±" not in out and "unmeasured  CPU energy, est. CPU energy, GPU energy" in out


@pytest.mark.parametrize(
    ("document", "value"),
    [("results", {"metrics": []}), ("results", []), ("manifest", "x"), ("spec", {"runtime": 3})],
)
def test_a_malformed_archive_is_refused_without_a_traceback(
    run_results: dict[str, dict[str, Any]], document: str, value: Any
) -> None:
    with pytest.raises(ArchiveRefused) as caught:
        shown({**run_results, document: value})
    assert caught.value.code == "DOCUMENT_MALFORMED" and "kit verify" in caught.value.remedy
    assert listed({**run_results, document: value}).status == "broken"


def test_hostile_documents_are_inert(
    run_results: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile = copy.deepcopy(run_results)
    hostile["manifest"].update(status=HOSTILE, reason=HOSTILE)
    hostile["spec"].update(name=HOSTILE, description=HOSTILE)
    hostile["results"]["notices"] = [{"code": HOSTILE, "message": HOSTILE}]
    hostile["results"]["metrics"]["ttft_p50"]["unit"] = HOSTILE

    def both() -> None:
        shown(hostile)
        render.runs([listed(hostile)])

    out = on_terminal(both, 100, monkeypatch)
    assert "\x1b[2J" not in out and "\x1b]0" not in out and "\u202e" not in out
    assert "\x07" not in out and "[bold green]VERIFIED[/]" in out


# --- ls -------------------------------------------------------------------------------------


def rows(run_results: dict[str, dict[str, Any]]) -> list[render.Row]:
    done = listed(run_results)
    return [
        render.Row("running", "a1b2c3d4", name="quickstart", note="kit attach a1b2c3d4"),
        done,
        replace(done, status="failed", note="the runtime ended during the run: exit code 137"),
        render.Row("broken", "77" * 32, note="manifest.json is not JSON"),
    ]


def test_a_row_leads_with_energy(run_results: dict[str, dict[str, Any]]) -> None:
    row = listed(run_results)
    assert (row.status, row.name, row.started) == ("complete", "test", "2026-11-21 05:12")
    value = run_results["results"]["metrics"]["gpu_energy_per_output_token"]["value"]
    assert row.energy == f"{number(value)} GPU"
    assert row.note == "replay of eeeeeeee"


def test_a_row_says_when_energy_was_only_estimated(run_results: dict[str, dict[str, Any]]) -> None:
    estimated = copy.deepcopy(run_results)
    metrics = estimated["results"]["metrics"]
    metrics["estimate_energy_per_output_token"] = metrics.pop("gpu_energy_per_output_token")
    assert listed(estimated).energy.endswith(" est.")


def test_the_list_in_a_pipe_has_everything(
    run_results: dict[str, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    render.runs(rows(run_results))
    out, err = capsys.readouterr()
    assert err == "4 runs\n"
    heading, running, _, failed, broken = out.splitlines()
    assert heading.split() == [
        "status",
        "run",
        "spec",
        "started",
        "(UTC)",
        "runtime",
        "conc.",
        "batch",
        "J/token",
        "tokens/s",
    ]
    assert running.startswith("● running") and running.endswith("kit attach a1b2c3d4")
    assert "9f2c41aa77e1" in failed and failed.endswith("exit code 137")
    assert broken.endswith("manifest.json is not JSON")


@pytest.mark.parametrize("width", [80, 100, 120, 160])
def test_the_list_fits_and_cuts_only_what_gives_way(
    run_results: dict[str, dict[str, Any]], width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = on_terminal(lambda: render.runs(rows(run_results)), width, monkeypatch)
    lines = [without_colour(line) for line in out.splitlines()]
    assert max(map(len, lines)) <= width
    assert any("9f2c41aa77e1" in line and "GPU" in line for line in lines)


def test_no_runs_say_how_to_begin(capsys: pytest.CaptureFixture[str]) -> None:
    render.runs([])
    out, err = capsys.readouterr()
    assert out == "" and "kit init" in err


# --- comparison -----------------------------------------------------------------------------

AXES = (
    Axis(
        metric="gpu_energy_per_output_token",
        verdict="EQUIVALENT",
        reason="",
        ratio=1.021,
        ci90=(0.998, 1.044),
        margin=0.05,
    ),
    Axis(metric="cpu_energy_per_request", verdict="NOT-COMPARABLE", reason="no meter \x1b[2J"),
    Axis(metric="cpu_energy_per_output_token", verdict="NOT-COMPARABLE", reason="no meter \x1b[2J"),
    Axis(metric="ttft_p50", verdict="DIFFERENT", reason="", ratio=0.7, ci90=(0.6, 0.8), margin=0.1),
)
COMPARED = Comparison(
    primary=AXES[0],
    axes=AXES,
    image="IDENTICAL",
    likeness="same_model",
    differences=(("nvidia.driver", "575.57", "580.159 [bold]x[/]"),),
)


def test_a_comparison_leads_with_the_primary_number(capsys: pytest.CaptureFixture[str]) -> None:
    render.comparison(COMPARED)
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert lines[0] == (
        "✔ EQUIVALENT  GPU energy per output token ×1.021 [0.998, 1.044], margin ±5%"
    )
    assert out.count("×1.021") == 1
    assert "✘ DIFFERENT" in out and "✔ image    IDENTICAL" in lines
    shared = [line for line in lines if "NOT-COMPARABLE" in line]
    assert len(shared) == 1 and "CPU energy per request, CPU energy per output token" in shared[0]
    assert lines[-1].split()[:4] == ["nvidia.driver", "575.57", "580.159", "[bold]x[/]"]
    assert lines[-1].endswith("! confounder")
    assert "\x1b" not in out


def test_equal_environments_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    import msgspec

    render.comparison(msgspec.structs.replace(COMPARED, differences=()))
    assert "nothing that was recorded" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.19234, "0.1923"),
        (71.4236, "71.42"),
        (3388.4, "3,388"),
        (0.0000123449, "0.00001234"),
        (-8.8991, "-8.899"),
        (float("nan"), "–"),
    ],
)
def test_numbers_have_four_digits_and_no_exponent(value: float, text: str) -> None:
    assert number(value) == text
