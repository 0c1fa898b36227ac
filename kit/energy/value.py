"""An energy: its value with its uncertainty, or the reason why there is none."""

from __future__ import annotations

from typing import Literal

from kit.core.model import Record
from kit.energy.reason import Reason


class EnergyValue(Record, frozen=True, kw_only=True):
    """Energy of one scope over one window.

    ``joules`` is None exactly when ``status`` is ``unmeasured``; then ``reason`` says why.
    ``u_reading`` and ``u_sensor`` are standard uncertainties (J): the noise of reading one window,
    and the sensor's own gain and offset. ``terms`` names every contribution (J). ``method`` is
    how it was computed (``counter+samples``, ``counter``, ``samples``, ``cpu-time``, …), and
    ``period_s`` how often the slowest readings behind it are renewed (s). ``doubts`` says which of
    its readings are not believed, and why.
    """

    scope: str
    status: Literal["measured", "estimated", "unmeasured"]
    joules: float | None = None
    u_reading: float | None = None
    u_sensor: float | None = None
    terms: dict[str, float] = {}
    method: str = ""
    period_s: float | None = None
    devices: dict[str, float] = {}
    reason: Reason | None = None
    doubts: tuple[Reason, ...] = ()
