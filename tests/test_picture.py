"""Power as it is drawn: over one axis, in bins, thinned; no peak is lost."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from kit.energy import power_series
from kit.energy.picture import curve_of, picture, thinned
from kit.record import archive, records
from tests.committed import H200


def test_a_curve_is_aligned_and_keeps_its_extremes() -> None:
    loaded = records.load(archive.open_source(H200))
    curve = curve_of("A", loaded)
    assert curve
    assert curve.scope == "GPU"
    first = min(p.t0 for p in loaded.phases if p.name == "measured")
    assert np.isclose(curve.seconds[0], (0 - first) * 1e-9, atol=2.0)
    assert curve.watts.max() > 100


def test_bins_keep_every_peak_and_lie_where_the_blocks_are() -> None:
    loaded = records.load(archive.open_source(H200))
    meters = loaded.plan.meters
    drawn = picture(loaded.samples, meters, loaded.phases, bins=50)
    series = power_series(loaded.samples, meters)
    assert [trace.device for trace in drawn.traces] == sorted(series)
    for trace in drawn.traces:
        _, watts = series[trace.device]
        assert len(trace.t) <= 50
        assert (trace.low.min(), trace.high.max()) == (watts.min(), watts.max())
        assert ((trace.low <= trace.mean) & (trace.mean <= trace.high)).all()
    begins = [p.t0 for p in loaded.phases if p.name == "measured"]
    assert min(b.t0 for b in drawn.bands if b.name == "measured") == min(begins) * 1e-9


def test_a_long_series_keeps_its_peaks() -> None:
    t, watts = np.arange(100_000), np.full(100_000, 80.0)
    watts[77_777], watts[12_345] = 400.0, 3.0
    at, shown = thinned(t, watts, 4000)
    assert len(at) <= 4000
    assert (at[shown.argmax()], at[shown.argmin()]) == (77_777, 12_345)
    assert (np.diff(at) > 0).all()
    assert thinned(t[:3000], watts[:3000], 4000)[0] is not None
    watts[50_000] = np.nan
    at, shown = thinned(t, watts, 4000)
    assert np.isnan(shown).sum() == 1 and at[np.isnan(shown)] == t[50_000]
    assert len(thinned(t[:3000], watts[:3000], 4000)[0]) == 3000


def test_a_part_is_drawn_from_the_steps_where_they_are_kept() -> None:
    run = records.load(archive.open_source(H200))
    whole = picture(run.samples, run.plan.meters, run.phases, keep=True)
    begin, end = 70.0, 71.0
    close, coarse = (
        of.within(begin, end, 50) for of in (whole, dataclasses.replace(whole, series={}))
    )
    assert len(close.traces[0].t) > 10 * len(coarse.traces[0].t)
    for trace in close.traces:
        t, watts = whole.series[trace.device]
        seen = watts[(t >= begin * 1e9) & (t <= end * 1e9)]
        assert trace.high.max() >= seen.max() and trace.low.min() <= seen.min()
    t, watts = whole.series["gpu0"]
    assert whole.at(float(t[100]) * 1e-9)["gpu0"] == pytest.approx(watts[100])
    assert whole.zero == min(p.t0 for p in run.phases if p.name == "measured") * 1e-9
