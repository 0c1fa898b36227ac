"""Energy of a window that goes on, from the running sums of live events."""

from __future__ import annotations

import math

import pytest

from kit.core.facts import NO_FACTS, QuantityFacts
from kit.energy.reason import Reason
from kit.energy.reasons import sentence
from kit.energy.running import LIVE_S, Window, so_far

S = 1_000_000_000
SQRT3 = math.sqrt(3)


def test_the_window_is_cut_between_two_live_events() -> None:
    window = Window(10 * S, (9 * S, {"gpu0": 900.0}))
    window.live(11 * S, {"gpu0": 1100.0})  # 100 W: 1000 J at the edge
    window.live(21 * S, {"gpu0": 2100.0})
    found = window.of("gpu", {"gpu0": NO_FACTS})
    assert found.status == "measured"
    assert found.joules == pytest.approx(1100.0)
    window.close(22 * S)
    window.live(23 * S, {"gpu0": 2300.0})
    window.live(99 * S, {"gpu0": 9900.0})
    assert window.of("gpu", {"gpu0": NO_FACTS}).joules == pytest.approx(1200.0)
    assert window.t1 == 22 * S


def test_a_window_without_a_live_event_before_it_begins_with_its_first() -> None:
    window = Window(10 * S, None)
    window.live(11 * S, {"gpu0": 50.0})
    assert window.of("gpu", {"gpu0": NO_FACTS}).joules == pytest.approx(0.0)
    window.live(12 * S, {"gpu0": 150.0})
    assert window.of("gpu", {"gpu0": NO_FACTS}).joules == pytest.approx(100.0)


@pytest.mark.parametrize("last", [{"gpu0": 30.0}, {}])
def test_a_sum_that_was_reset_or_is_gone_tells_nothing(last: dict[str, float]) -> None:
    window = Window(10 * S, (9 * S, {"gpu0": 900.0}))
    for n, sums in enumerate(({"gpu0": 1000.0}, last, {"gpu0": 2000.0}), 11):
        window.live(n * S, sums)
    found = window.of("gpu", {"gpu0": NO_FACTS})
    assert found.status == "unmeasured" and found.joules is None
    assert "gpu0" in sentence(found.reason)


def test_nothing_read_yet_is_unmeasured() -> None:
    assert Window(0, None).of("gpu", {}).reason == Reason("nothing_read")
    assert Window(0, None).of("gpu", {"gpu0": NO_FACTS}).status == "unmeasured"


def test_the_errors_of_two_gpus_by_the_priors() -> None:
    facts = {"gpu0": NO_FACTS, "gpu1": NO_FACTS}
    found = so_far("gpu", facts, {"gpu0": 6000.0, "gpu1": 3000.0}, 10.0)
    assert found.joules == 9000.0
    assert found.terms["gain"] == pytest.approx(9000 * 0.05 / SQRT3)
    assert found.terms["offset"] == pytest.approx(2 * 10 * 5.0 / SQRT3)
    # Each of two edges lies anywhere within half a live period before or after.
    edge_s = math.sqrt(2) * LIVE_S / 2 / SQRT3
    assert found.u_reading == pytest.approx(math.hypot(600 * edge_s, 300 * edge_s))
    assert found.u_sensor == pytest.approx(math.hypot(found.terms["gain"], found.terms["offset"]))


def test_a_calibrated_card_and_outlet_are_corrected() -> None:
    gpu = QuantityFacts(gain_correction=1.02, offset_correction_w=-1.0, gain=0.01, offset=0.5)
    found = so_far("gpu", {"gpu0": gpu}, {"gpu0": 1000.0}, 10.0)
    assert found.joules == pytest.approx(1010.0)
    assert found.terms["gain"] == pytest.approx(1010 * 0.01 / SQRT3)
    outlet = QuantityFacts(correction=0.98, scale=10)
    wall = so_far("wall", {"pdu:a:1": outlet}, {"pdu:a:1": 1e4}, 10.0)
    assert wall.joules == pytest.approx(9800.0)
    assert wall.terms["offset"] == pytest.approx(10 * 10 / SQRT3)


def test_an_estimate_is_estimated_and_half_of_it_uncertain() -> None:
    found = so_far("estimate", {"host": QuantityFacts(u_relative=0.2)}, {"host": 400.0}, 10.0)
    assert found.status == "estimated"
    assert found.terms["model"] == pytest.approx(200.0)
    assert "offset" not in found.terms
