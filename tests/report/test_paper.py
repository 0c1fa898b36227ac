"""The page fits: on A4 and Letter, and on a screen of 400 pixels; drawn by a real Chromium."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import msgspec
import numpy as np
import pytest

from kit.core.facts import QuantityFacts
from kit.core.model import MeterDevice, MeterPlan
from kit.energy import results
from kit.judge import compare
from kit.record import archive, records
from kit.record.records import RunRecords
from kit.show import report
from tests import browser, golden
from tests.browser import Browser
from tests.committed import H200, QUICKSTART
from tests.report.made import full

pytestmark = pytest.mark.skipif(
    browser.PROGRAM is None, reason="chromium is not here: `make tools` installs it"
)
NAME = "a" * 64
LONG = "x" * 120
KINDS = ("golden", "wide", "long", "h200", "quickstart")


def wide(run: RunRecords) -> RunRecords:
    """The run with eight GPUs, and a PDU at the wall."""
    nvml, rapl = run.plan.meters
    cards = tuple(msgspec.structs.replace(nvml.devices[0], device=f"gpu{n}") for n in range(8))
    pdu = MeterDevice(
        device="rack1:outlet-7",
        description="",
        quantities={"pdu_power": QuantityFacts(poll_s=0.1, period_s=0.1)},
    )
    meters = (
        msgspec.structs.replace(nvml, devices=cards),
        rapl,
        MeterPlan(name="pdu", alias="rack1", devices=(pdu,)),
    )
    series, spans = dict(run.samples.series), dict(run.samples.spans)
    for (device, quantity), read in run.samples.series.items():
        for card in cards if device == "gpu0" else ():
            series[card.device, quantity] = read
            if (device, quantity) in spans:
                spans[card.device, quantity] = spans[device, quantity]
    counter = run.samples.series["gpu0", "gpu_energy"]
    watts = counter._replace(raw=np.full(len(counter.t), 3210))
    series["rack1:outlet-7", "pdu_power"] = watts
    return dataclasses.replace(
        run,
        plan=msgspec.structs.replace(run.plan, meters=meters),
        samples=run.samples._replace(series=series, spans=spans),
    )


def long(run: RunRecords) -> RunRecords:
    """The run whose texts have no blank to break at."""
    launch = msgspec.structs.replace(run.plan.launch, argv=(LONG, LONG), network=LONG)
    last = msgspec.structs.replace(run.events[-1], data={"status": LONG, "reason": LONG})
    return dataclasses.replace(
        run,
        spec=msgspec.structs.replace(run.spec, name=LONG, description=LONG * 3),
        plan=msgspec.structs.replace(run.plan, launch=launch),
        env_start={LONG: LONG, "cpu": {"model": LONG}, "list": [LONG]},
        events=(*run.events[:-1], last),
    )


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    sealed = golden.copied(tmp_path_factory.mktemp("paper") / "runs")
    run = records.load(archive.open_source(sealed))
    read = results.compute(run)
    replayed = compare.judge(run, read, run, read, same_card=True)
    made = {
        "golden": report.html(NAME, run, full(read), replayed),
        "wide": report.html(NAME, wide(run), results.compute(wide(run))),
        "long": report.html(NAME, long(run), results.compute(long(run))),
    }
    for name, folder in (("h200", H200), ("quickstart", QUICKSTART)):
        of = records.load(archive.open_source(folder))
        made[name] = report.html(folder.name, of, results.compute(of))
    return made


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_cut_on_paper_or_on_a_narrow_screen(
    pages: dict[str, str], page: Browser, kind: str
) -> None:
    page.show(pages[kind])
    for width in (400, 800, 1400):
        assert page.overflowing(width) == [], f"at {width} px"
    for paper in browser.PAPERS:
        width, height = browser.inside(paper)
        assert page.overflowing(width, "print") == [], paper
        if kind != "long":
            summary = page.value("document.querySelector('#summary').offsetHeight")
            assert 200 < summary <= height, f"the summary is one page of {paper}"


@pytest.mark.parametrize("paper", browser.PAPERS)
def test_three_launches_are_seven_pages(pages: dict[str, str], page: Browser, paper: str) -> None:
    page.show(pages["h200"])
    assert page.pages(paper) <= 8  # seven here; another machine has other fonts
    assert page.pages(paper) >= 2


def test_an_anchor_leads_to_every_section_and_caption(pages: dict[str, str], page: Browser) -> None:
    page.show(pages["golden"])
    links = page.value("[...document.querySelectorAll('a')].map(a => a.getAttribute('href'))")
    ids = page.value("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
    assert {link.removeprefix("#") for link in links} <= set(ids)
    sections = page.value("[...document.querySelectorAll('section')].map(e => e.id)")
    assert sections and {f"#{name}" for name in sections} <= set(links)
    captions = "[...document.querySelectorAll('{0}')].map(e => e.textContent.split('.')[0])"
    for what, name, each in (("caption", "Table", "table"), ("figcaption", "Figure", "figure")):
        found = page.value(captions.format(what))
        assert found == [f"{name} {n + 1}" for n in range(len(found))]
        assert len(found) == page.value(f"document.querySelectorAll('{each}').length") > 0


def test_a_row_is_a_stack_on_a_narrow_screen(pages: dict[str, str], page: Browser) -> None:
    page.show(pages["h200"])
    style = "getComputedStyle(document.querySelector('tbody td[data-of]')).display"
    page.overflowing(400)
    assert page.value(style) == "grid"
    page.overflowing(800)
    assert page.value(style) == "table-cell"


def test_the_helper_finds_what_overflows(page: Browser) -> None:
    page.show("<body><main><p style='width:900px'>wide</p></main></body>")
    assert page.overflowing(400) == ["P: wide"]
    assert page.overflowing(1400) == []
