"""The report stands alone, tells no untruth, and what comes from a run cannot act in it."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kit.core.model import MeterDevice, MeterPlan
from kit.energy import results
from kit.judge import compare
from kit.record import archive, records, samples
from kit.record.records import RunRecords
from kit.show import report, rounding
from kit.show.report import chart, words
from tests import golden
from tests.plans import facts_in
from tests.report.made import full

NAME = "a" * 64
LOADS = {"src", "href", "xlink:href", "srcset", "data", "action", "poster", "background"}
NO_INSIDE = {"meta", "link", "br", "img", "input", "hr"}
HOSTILE = "<script>alert(1)</script>\x1b[31m\"'><img src=x onerror=alert(1)>\u202e"


class Page(HTMLParser):
    """A page taken apart: its tags with attributes, its text, and the text of each cell."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.rows: list[list[str]] = []
        self.feed(html)
        assert self.open == [], "a tag is not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in NO_INSIDE:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data

    def names(self) -> set[str]:
        return {name for name, _ in self.tags}

    def row(self, first: str) -> list[str]:
        return next(row for row in self.rows if row and row[0].startswith(first))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunRecords:
    sealed = golden.copied(tmp_path_factory.mktemp("report") / "runs")
    return records.load(archive.open_source(sealed))


@pytest.fixture(scope="module")
def html(run: RunRecords) -> str:
    return report.html(NAME, run, results.compute(run))


def estimated(run: RunRecords) -> RunRecords:
    """The run as measured on a host that has nothing but its CPU time."""
    facts = {"cpus": 2, "idle_w": 4.0, "max_w": 10.0, "source": "its data sheet", "relative": 0.5}
    device = MeterDevice(
        device="host", description="host CPU", quantities=facts_in({"cpu_busy": facts})
    )
    meters = (MeterPlan(name="estimate", alias=None, devices=(device,)),)
    rows = [(t * 100 * golden.MS, "host", "cpu_busy", t * 50_000) for t in range(300)]
    return dataclasses.replace(
        run,
        plan=msgspec.structs.replace(run.plan, meters=meters),
        samples=samples.from_csv({"samples/estimate.csv": golden.csv(rows)}),
    )


def test_the_page_loads_nothing(html: str) -> None:
    page = Page(html)
    loaded = [
        value
        for _, attributes in page.tags
        for name, value in attributes.items()
        if name in LOADS and not str(value).startswith("#")
    ]
    assert loaded == []
    assert not {"script", "link", "iframe", "object", "embed", "img", "base"} & page.names()
    assert "@import" not in html
    assert all(target.startswith("#") for target in re.findall(r"url\(\s*[\"']?([^)]*)\)", html))
    policy = next(a for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert str(policy["content"]).startswith("default-src 'none';")


def test_power_is_drawn_with_its_phases(html: str) -> None:
    page = Page(html)
    assert "svg" in page.names()
    drawing = html[html.index("<svg") : html.index("</svg>")]
    for word in ("power (W)", "gpu0", "cpu0-package", "measured", "loaded idle", "startup"):
        assert word in drawing
    assert "estimated" not in drawing
    alt = next(str(a["aria-label"]) for name, a in page.tags if name == "svg")
    assert "gpu0 mean 250 W (least 250, greatest 250)" in alt
    assert (
        "time since the first measured block began (s)" in alt and "Measured: launch 0 from" in alt
    )


def test_the_phases_stand_with_energy_and_uncertainty(html: str) -> None:
    page = Page(html)
    idle = page.row("idle (before)")
    assert idle[1] == "2.00"
    assert idle[2].startswith("500 J ± ")
    assert "(reading noise)" in idle[2]
    assert "(sensor)" in idle[2]
    places = [row[0] for row in page.rows if row]
    assert places.index("measured") + 1 == places.index("↳ prefill (3 pieces)")


def test_what_was_not_measured_says_why(html: str) -> None:
    page = Page(html)
    assert page.row("wall outlets") == [
        "wall outlets",
        "unmeasured: the spec asks for no meter of it",
    ]
    assert "host CPU (estimated)" in [row[0] for row in page.rows if row]


def test_every_estimated_number_is_called_estimated(run: RunRecords) -> None:
    guessed = estimated(run)
    run_results = results.compute(guessed)
    assert run_results.metrics["estimate_energy_per_request"].status == "estimated"
    page = Page(report.html(NAME, guessed, run_results))
    phases = page.rows[page.rows.index(page.row("idle (before)")) :]
    energies = [cell for row in phases for cell in row if "(reading noise)" in cell]
    assert len(energies) >= 10
    for cell in energies:
        assert "J estimated ±" in cell
        assert "(model)" in cell
        assert "(sensor)" not in cell
    assert "host (estimated)" in page.text
    tiles = re.findall(r'<div class="tile.*?</div>', report.html(NAME, guessed, run_results))
    energy = [tile for tile in tiles if "energy per" in tile]
    assert energy
    assert all('class="estimated"> estimated<' in tile for tile in energy)


def test_no_meter_means_no_picture_and_no_zero(run: RunRecords) -> None:
    blind = dataclasses.replace(
        run, plan=msgspec.structs.replace(run.plan, meters=()), samples=samples.EMPTY
    )
    html = report.html(NAME, blind, results.compute(blind))
    assert "<svg" not in html
    assert "No meter reported power." in html
    assert not re.search(r"\b0 J\b", Page(html).text)


def hostile(run: RunRecords) -> RunRecords:
    """The run as somebody would seal it who wants to act in a reader's browser."""
    plan = msgspec.structs.replace(
        run.plan,
        launch=msgspec.structs.replace(run.plan.launch, argv=(HOSTILE,), network=HOSTILE),
        image=msgspec.structs.replace(run.plan.image, reference=HOSTILE, image_id=HOSTILE),
    )
    gpu, cpu = plan.meters
    plan = msgspec.structs.replace(
        plan, meters=(msgspec.structs.replace(gpu, devices=(), reason=HOSTILE), cpu)
    )
    last = msgspec.structs.replace(
        run.events[-1], data={"status": f'x" onload="{HOSTILE}', "reason": HOSTILE}
    )
    lost = msgspec.structs.replace(last, kind="sampler.lost", data={"message": HOSTILE})
    env: dict[str, Any] = {HOSTILE: HOSTILE, "cpu": {"absent": HOSTILE}, "list": [HOSTILE]}
    spec = msgspec.structs.replace(run.spec, name=HOSTILE, description=HOSTILE)
    return dataclasses.replace(
        run, spec=spec, plan=plan, env_start=env, events=(*run.events[:-1], lost, last)
    )


def test_what_a_run_says_cannot_act(run: RunRecords) -> None:
    evil = hostile(run)
    html = report.html(NAME, evil, results.compute(evil))
    page = Page(html)
    assert not {"script", "img"} & page.names()
    handlers = [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert handlers == []
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", html)
    assert page.text.count("<script>alert(1)</script>") >= 8, "it is shown, as text"


@pytest.mark.parametrize("name", [HOSTILE, r"$\frac{$", "_hidden"])
def test_devices_named_by_an_enemy_are_drawn_as_text(run: RunRecords, name: str) -> None:
    gpu, cpu = run.plan.meters
    device = msgspec.structs.replace(cpu.devices[0], device=name)
    plan = msgspec.structs.replace(
        run.plan, meters=(gpu, msgspec.structs.replace(cpu, devices=(device,)))
    )
    old, new = ("cpu0-package", "cpu_energy"), (name, "cpu_energy")
    evil = samples.Samples(
        {new if key == old else key: series for key, series in run.samples.series.items()},
        (),
        {new if key == old else key: span for key, span in run.samples.spans.items()},
    )
    html = report.html(
        NAME,
        dataclasses.replace(run, plan=plan, samples=evil),
        results.compute(dataclasses.replace(run, plan=plan, samples=evil)),
    )
    page = Page(html)
    assert not {"script", "img"} & page.names()
    assert "\x1b" not in html
    assert name.strip("_")[:8] in page.text


def test_a_replays_verdicts_stand_first_and_name_the_machines(run: RunRecords) -> None:
    run_results = results.compute(run)
    judged = compare.judge(run, run_results, run, run_results, same_card=True)
    html = report.html(NAME, run, run_results, judged)
    assert "outputs → REPRODUCED" in html
    page = Page(html)
    assert page.row("GPU energy per output token")[4] == "EQUIVALENT"
    assert html.index("Replay</h2>") < html.index("Energy by scope</h2>")


def test_the_page_of_one_run_is_always_the_same(run: RunRecords, html: str) -> None:
    assert report.html(NAME, run, results.compute(run)) == html


def test_a_failed_run_has_a_page_that_says_so(tmp_path: Path) -> None:
    sealed = golden.build(tmp_path, "failed", "the container died")
    loaded = records.load(archive.open_source(sealed))
    page = Page(report.html(NAME, loaded, results.compute(loaded)))
    assert "the container died" in page.text
    early = dataclasses.replace(
        loaded, phases=(), requests={}, responses={}, driver={}, samples=samples.EMPTY
    )
    assert "failed" in Page(report.html(NAME, early, results.compute(early))).text


# --- what the numbers rest on ------------------------------------------------------------------


@pytest.fixture(scope="module")
def rich(run: RunRecords) -> Page:
    return Page(report.html(NAME, run, full(results.compute(run))))


def test_the_budget_tells_each_term_and_adds_up(run: RunRecords, rich: Page) -> None:
    energy = results.compute(run).launches[0].phases[4].energy["gpu"]
    gain = rich.row("the sensor's gain")
    assert gain[1] == f"{rounding.number(energy.terms['gain'], 2)} J"
    assert gain[3] == "stays the same"
    assert rich.row("steps of the energy counter")[3] == "averages out"
    rows = words.budget(energy)
    assert sum(share or 0 for _, _, share, _ in rows) == pytest.approx(1)
    assert len(rows) == len(energy.terms)
    assert not {what for what, *_ in rows} & set(energy.terms), "every term is in words"


def test_nets_stand_with_baseline_and_drift(run: RunRecords, rich: Page) -> None:
    row = next(r for r in rich.rows if r[:2] == ["GPU boards", "0"] and " J" in r[2])
    net = results.compute(run).launches[0].net["gpu"]["above_loaded_idle"]
    assert rounding.in_line(net).partition(" ±")[0] in row[3]
    assert f"baseline {rounding.number(net.baseline_w)} W, drift " in row[3]
    assert "drift" not in row[4] and "baseline" in row[4]


def test_steady_state_is_told_in_words_with_slopes(rich: Page) -> None:
    steady = [r for r in rich.rows if r[0] == "gpu0" and len(r) == 7]
    assert steady[0][2:] == [
        "loaded idle (before)",
        "steady",
        "+0.05 ± 0.10 °C/min",
        "-0.020 ± 0.040 %/min",
        "power cap, too hot (software)",
    ]
    assert steady[1][3] == "not steady"
    assert "measured: temperature beyond its limit of 0.5 a minute" in rich.text
    assert ["gpu0", "0", "power readings give 1.003 of the energy counter"] in rich.rows


def test_joules_per_token_stand_with_uncertainty_or_reason(rich: Page) -> None:
    rows = [r for r in rich.rows if len(r) == 5 and " mJ ±" in r[1]]
    assert rows == [
        [
            "GPU boards",
            "4.12 ± 0.32 mJ ± 0.12 (sensor)",
            "0.2153 ± 0.0041 J ± 0.0062 (sensor)",
            "70.02 ± 0.11 W",
            "24 requests in 3 launches",
        ]
    ]
    lacking = next(r for r in rich.rows if len(r) == 2 and r[0] == "CPU packages")
    assert lacking[1].startswith("unmeasured: ")


def test_another_tools_account_stands_beside_as_it_says(rich: Page) -> None:
    row = rich.row("CodeCarbon's own account")
    assert "640.0 J estimated" in row[2] and "uncertainty not stated" in row[2]
    assert "codecarbon:gpu 500 J" in row[3] and "CodeCarbon 3.0.4: cpu" in rich.text
    assert "CodeCarbon's own account" not in rich.row("scope")


def test_temperature_clock_and_event_reasons_are_drawn(run: RunRecords) -> None:
    gpu = {"gpu_temperature": lambda n: 40 + n // 50, "gpu_sm_clock": lambda n: 1980 - n % 3}
    gpu["gpu_event_reasons"] = lambda n: 0x4 if n % 4 else 0x1
    rows = [
        (n * 100 * golden.MS + k, "gpu0", quantity, value(n))
        for n in range(300)
        for k, (quantity, value) in enumerate(gpu.items())
    ]
    more = samples.from_csv({"samples/context.csv": golden.csv(rows)})
    read = samples.Samples(run.samples.series | more.series, (), run.samples.spans | more.spans)
    watched = dataclasses.replace(run, samples=read)
    page = Page(report.html(NAME, watched, results.compute(watched)))
    assert "GPU (°C)" in page.text and "SM clock (MHz)" in page.text
    assert page.row("gpu0")[:3] == ["gpu0", "idle", "25%"]
    assert ["gpu0", "power cap", "75%"] in [row[:3] for row in page.rows]


def test_launches_are_marked_and_the_two_idles_told_apart(html: str) -> None:
    drawing = html[html.index("<svg") : html.index("</svg>")]
    assert "launch 0" in drawing and "launch 1" in drawing
    idle, loaded = (chart.PHASE_COLOURS[n] for n in ("idle", "loaded_idle"))
    assert idle != loaded and idle in drawing and loaded in drawing


def test_the_latency_table_is_not_folded_away(html: str) -> None:
    latency = html[html.index("Latency</h2>") : html.index("Launches</h2>")]
    assert "<table" in latency and "<details" not in latency
