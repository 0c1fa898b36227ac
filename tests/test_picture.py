"""Power as it is drawn: over one axis, in bins, thinned; no peak is lost."""

from __future__ import annotations

import numpy as np

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
