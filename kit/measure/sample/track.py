"""One meter in the sampler: reader, file, schedules of its tiers, failures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from kit.measure.meters import Reader, Reading, Tier, fit
from kit.measure.meters.live import Live
from kit.measure.sample.loop import Schedule
from kit.measure.sample.writer import Writer
from kit.record.events import Clock

Say = Callable[[dict[str, Any]], None]
# A value that a row cannot hold (`kit.record.samples` reads 18 digits), or that is no integer:
# kit's own code for it, which no device returns.
NO_VALUE = 2001
_NO_VALUE = "the value is no integer of at most 18 digits"


class Track:
    """A meter that is being read.

    Args:
        planned: the plan's quantities by device; other readings are left out, since the plan
            does not say what they mean. None: all readings.
    """

    def __init__(
        self,
        name: str,
        reader: Reader,
        writer: Writer,
        clock: Clock,
        live: Live,
        say: Say,
        planned: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.name, self.reader, self.writer = name, reader, writer
        self._live, self._say = live, say
        self._worked: set[tuple[str, str]] = set()
        self._failed: dict[str, str] = {}
        self._broken: set[str] = set()
        self._planned = None
        if planned is not None:
            self._planned = {(d, q) for d, names in planned.items() for q in names}
        live.add(reader.devices)
        self.schedules = [
            Schedule(tier, name, clock, self._take, self._lost) for tier in reader.tiers
        ]
        if missing := sorted({d for d, _ in self._planned or ()} - set(self._devices())):
            self._complain(f"{', '.join(missing)} is no longer there")

    def flush(self) -> None:
        """Write the readings and check them for failures, outside of the reading threads."""
        for reading in self.writer.flush():
            self._note(reading.device, reading.quantity, reading.rc)
            try:
                self._live.see(reading)
            except Exception as error:  # an error in live readings must not stop the writing
                self._unseen(error)

    def _unseen(self, error: Exception) -> None:
        if "live" not in self._broken:
            self._broken.add("live")
            self._complain(f"its readings cannot be shown live: {type(error).__name__}: {error}")

    def _devices(self) -> Iterator[str]:
        return (device.device for device in self.reader.devices)

    def _take(self, readings: Sequence[Reading]) -> None:
        planned = self._planned
        planned_readings = [
            r for r in readings if planned is None or (r.device, r.quantity) in planned
        ]
        self.writer.add(
            [r if fit.is_value(r) else r._replace(rc=NO_VALUE, raw=None) for r in planned_readings]
        )

    def _note(self, device: str, quantity: str, rc: int) -> None:
        """Report a device's failure once, and again only after it recovered."""
        key = (device, quantity)
        if rc == 0:
            self._worked.add(key)
            if self._failed.get(device) == quantity:
                del self._failed[device]
        elif device not in self._failed and (key in self._worked or rc == NO_VALUE):
            self._failed[device] = quantity
            reason = self._explained(rc)
            self._complain(f"{device} {quantity} can no longer be read: {reason} (code {rc})")

    def _explained(self, rc: int) -> str:
        if rc == NO_VALUE:
            return _NO_VALUE
        try:
            return self.reader.explain(rc)
        except Exception:  # a code without an explanation of the meter
            return "an unknown code"

    def _lost(self, tier: Tier, error: Exception) -> None:
        if tier.name not in self._broken:
            self._broken.add(tier.name)
            self._complain(f"{tier.name} failed: {type(error).__name__}: {error}")

    def _complain(self, message: str) -> None:
        self._say({"event": "error", "meter": self.name, "message": message})
