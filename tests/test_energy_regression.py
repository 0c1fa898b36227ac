"""Joules per token by least squares, on simulated work whose joules per token are known."""

from __future__ import annotations

import numpy as np
import pytest

from kit.energy.reason import Reason
from kit.energy.reasons import sentence
from kit.energy.regression import PerToken, Refused, Work, over_launches, per_token

PREFILL_J, DECODE_J, BASELINE_W = 0.02, 1.4, 120.0
PREFILL_S, DECODE_S = 5e-5, 8e-3


def simulated(
    seed: int, windows: int = 40, *, noise: float = 1.0, told: float = 1.0, pauses: bool = True
) -> list[Work]:
    """Blocks of requests with lengths of their own; ``noise`` J of scatter for ``told`` J."""
    chance = np.random.default_rng(seed)
    found = []
    for _ in range(windows):
        prompt, output = int(chance.integers(200, 60_000)), int(chance.integers(20, 500))
        pause = float(chance.uniform(0.2, 3.0)) if pauses else 0.0
        prefill_s, decode_s = prompt * PREFILL_S, output * DECODE_S
        seconds = prefill_s + decode_s + pause
        joules = PREFILL_J * prompt + DECODE_J * output + BASELINE_W * seconds
        joules += float(chance.normal(0, noise))
        found.append(Work(prompt, output, prefill_s, decode_s, seconds, joules, told))
    return found


def found(*args: object, **kwargs: object) -> PerToken:
    result = per_token(*args, **kwargs)  # type: ignore[arg-type]
    assert isinstance(result, PerToken), result
    return result


@pytest.mark.parametrize("told", [1.0, 0.3, 0.0], ids=["known", "understated", "unknown"])
def test_intervals_cover_the_truth(told: float) -> None:
    """95% intervals hold in about 95% of 400 runs: weighted, by scatter, and without weights."""
    truths = (PREFILL_J, DECODE_J, BASELINE_W)
    runs = [found(simulated(seed, told=told))[:3] for seed in range(400)]
    for i, truth in enumerate(truths):
        inside = np.mean([low < truth < high for low, high in (r[i].interval() for r in runs)])
        assert 0.925 < inside < 0.985


def test_by_time_gross_joules_per_token_are_found() -> None:
    got = found(simulated(1, 200, noise=2.0, told=2.0), "time")
    gross = PREFILL_J + BASELINE_W * PREFILL_S, DECODE_J + BASELINE_W * DECODE_S
    for estimate, truth in zip(got[:2], gross, strict=True):
        low, high = estimate.interval(0.999)
        assert low < truth < high
        assert estimate.u < 0.01 * truth


def test_a_measured_baseline_replaces_pauses_and_its_error_counts() -> None:
    work = simulated(2, pauses=False)
    refused = per_token(work)
    assert isinstance(refused, Refused)
    assert "and durations do not vary enough" in sentence(refused.reason)
    assert "give the loaded idle power" in sentence(refused.reason)
    sure, unsure = (found(work, baseline=(BASELINE_W, u)) for u in (0.0, 5.0))
    low, high = sure.decode.interval(0.999)
    assert low < DECODE_J < high
    assert unsure.decode.u == pytest.approx(np.hypot(sure.decode.u, 5.0 * DECODE_S), rel=1e-6)
    assert unsure.baseline_w == (BASELINE_W, 5.0, unsure.baseline_w.df)


def test_more_scatter_than_told_widens_and_less_never_narrows() -> None:
    wide = found(simulated(3, noise=10.0, told=1.0))
    assert wide.scatter == pytest.approx(10.0, rel=0.4)
    calm, stated = (found(simulated(3, noise=n, told=1.0)).decode.u for n in (0.01, 1.0))
    assert calm == pytest.approx(stated, rel=0.4)


def test_what_the_windows_cannot_tell_apart_is_refused() -> None:
    alike = [w._replace(prompt_tokens=w.output_tokens * 3) for w in simulated(4)]
    refused = per_token(alike)
    assert isinstance(refused, Refused)
    assert "do not vary enough" in sentence(refused.reason)
    few = per_token(simulated(5, 5))
    assert few == Refused(Reason("few_windows", windows=5, unknowns=3, least=6))
    broken = per_token([*simulated(6), Work(1, 1, 1, 1, 1, float("nan"))])
    assert isinstance(broken, Refused)
    mute = per_token([w._replace(output_tokens=0) for w in simulated(7)])
    assert mute == Refused(Reason("no_output_token"))


def launches(seed: int, many: int, spread: float) -> list[list[Work]]:
    """Launches of thirty requests, each with its own luck."""
    chance = np.random.default_rng(seed)
    found = []
    for _ in range(many):
        luck, own = 1 + chance.normal(0, spread), []
        for _ in range(30):
            prompt, output = float(chance.integers(100, 2000)), float(chance.integers(20, 400))
            seconds = prompt * 1e-4 + output * 0.01
            net = (0.02 * prompt + 3.0 * output) * luck * (1 + chance.normal(0, 0.005))
            joules = net + 80 * seconds
            own.append(
                Work(prompt, output, prompt * 1e-4, output * 0.01, seconds, joules, 0.003 * joules)
            )
        found.append(own)
    return found


@pytest.mark.slow
def test_launches_share_their_luck_and_requests_do_not_average_it_out() -> None:
    covered, pooled, rounds = 0, 0, 150
    for seed in range(rounds):
        work = launches(seed, 4, 0.02)
        found = over_launches(work, (80.0, 0.2))
        assert isinstance(found, PerToken)
        assert (found.launches, found.decode.df) == (4, 3)
        low, high = found.decode.interval()
        covered += low <= 3.0 <= high
        alone = per_token([w for own in work for w in own], baseline=(80.0, 0.2))
        assert isinstance(alone, PerToken)
        low, high = alone.decode.interval()
        pooled += low <= 3.0 <= high
    assert covered / rounds > 0.9
    assert pooled / rounds < 0.5


def test_one_launch_says_that_its_errors_are_over_requests() -> None:
    (work,) = launches(1, 1, 0.02)
    found = over_launches([work], (80.0, 0.2))
    assert found == per_token(work, baseline=(80.0, 0.2))
    assert isinstance(found, PerToken) and found.launches == 0
    # Two launches of four requests: neither tells by itself.
    few = over_launches([own[:4] for own in launches(2, 2, 0.02)], (80.0, 0.2))
    assert isinstance(few, PerToken) and few.launches == 0
