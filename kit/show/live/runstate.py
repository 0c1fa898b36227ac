"""The state of a run, from its events in order. Pure: faces draw what `RunState.snapshot` gives.

Times are nanoseconds on the run's clock. Energy of the block so far is only for watching (see
`kit.energy.running`). Unknown kinds of events change nothing, and malformed data are left out: an
odd journal must not end a face.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from kit.core.facts import NO_FACTS, QuantityFacts
from kit.core.model import Event, MeterPlan
from kit.energy import names
from kit.energy.running import Window, source_of
from kit.energy.scopes import SCOPES
from kit.energy.value import EnergyValue
from kit.show.live import eventwords
from kit.show.live.eventwords import LogLine
from kit.show.live.snapshot import (
    SECOND_NS,
    SILENT_NS,
    Device,
    Progress,
    RunSnapshot,
    Step,
    scope_of,
)
from kit.show.live.trace import Point, Trace

_MOST_LINES = 2000
_MADE = ("tokens", "images")
BY_POWER = "power shown"


class RunState:
    """Takes events in order; ``meters`` are the plan's, for the devices' scopes and errors."""

    def __init__(self, meters: Sequence[MeterPlan] = ()) -> None:
        self._facts = _facts_of(meters)
        self._t, self._events = 0, 0
        self._id, self._utc, self._launches, self._launch = "", "", 0, 0
        self._steps: list[Step] = []
        self._progress: dict[str, Any] = {}
        self._makes_images = False  # known from the first progress on
        self._progress_at: tuple[int, EnergyValue | None] = (0, None)
        self._watts: dict[str, float | None] = {}
        self._heard: dict[str, int] = {}
        self._state: dict[str, dict[str, float]] = {}
        self._sums: dict[str, tuple[int, float]] = {}
        self._by_power = True
        self._last_live: tuple[int, dict[str, float]] | None = None
        self._window: Window | None = None
        self._traces: dict[str, dict[str, Trace]] = {"power": {}, "temperature": {}, "clock": {}}
        self._log: deque[LogLine] = deque(maxlen=_MOST_LINES)
        self._marks: list[LogLine] = []
        self._faults: list[dict[str, str]] = []
        self._lost: list[str] = []
        self._status, self._reason = "", ""
        self._grown: set[str] = set()  # devices whose sum was ever more than 0

    def take(self, event: Event) -> LogLine | None:
        """Take in the next event; returns its line in the log, if it has one."""
        self._t, self._events = max(self._t, event.t), self._events + 1
        handler = getattr(self, "_on_" + event.kind.replace(".", "_"), None)
        if handler:
            with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError):
                handler(event)
        return self._add_line(event)

    def snapshot(self) -> RunSnapshot:
        """The run as it is now."""
        step = self._steps[-1] if self._steps and self._steps[-1].t1 is None else None
        return RunSnapshot(
            t=self._t,
            events=self._events,
            id=self._id,
            utc=self._utc,
            launches=self._launches,
            launch=self._launch,
            step=step,
            steps=tuple(self._steps),
            progress=self._rates(),
            devices=self._devices(),
            power=_points(self._traces["power"]),
            temperature=_points(self._traces["temperature"]),
            clock=_points(self._traces["clock"]),
            energy=self._energy(),
            device_energy=self._device_energy(),
            energy_s=(self._window.t1 - self._window.t0) / SECOND_NS if self._window else 0.0,
            log=tuple(self._log),
            marks=tuple(self._marks),
            faults=tuple(self._faults),
            lost=tuple(self._lost),
            status=self._status,
            reason=self._reason,
        )

    # --- events -----------------------------------------------------------------------------

    def _on_run_registered(self, event: Event) -> None:
        self._id, self._launches = str(event.data["id"]), int(event.data["launches"])
        self._utc = str(event.data.get("utc", ""))

    def _on_sampler_lost(self, event: Event) -> None:
        self._lost.append(str(event.data["meter"]))

    def _on_launch_begin(self, event: Event) -> None:
        self._launch = int(event.data["launch"])
        self._progress, self._window = {}, None

    def _on_phase_begin(self, event: Event) -> None:
        step = Step(self._launch, str(event.data["phase"]), event.data["part"], event.t)
        self._steps.append(step)
        if step.phase in ("warmup", "measured"):
            self._progress, self._progress_at = {}, (event.t, None)
        if step.phase == "measured":
            self._window = Window(event.t, self._last_live)

    def _on_phase_end(self, event: Event) -> None:
        if self._steps and self._steps[-1].t1 is None:
            self._steps[-1] = self._steps[-1]._replace(t1=event.t)
        if self._window and event.data["phase"] == "measured":
            self._window.close(event.t)

    def _on_stage_done(self, event: Event) -> None:
        failed = int(event.data.get("failed") or 0)
        done, stage = int(event.data["ok"]) + failed, str(event.data["stage"])
        before = self._progress if self._progress.get("stage") == stage else {}
        if done != before.get("done"):  # what they made comes with the next live event
            before = {k: v for k, v in before.items() if k not in _MADE}
        total = max(done, int(before.get("total", 0)))
        progress = {"stage": stage, "done": done, "total": total, "failed": failed}
        self._progress = before | progress
        self._progress_at = (event.t, self._progress_at[1] if before else None)

    def _on_mark(self, event: Event) -> None:
        self._marks.append(LogLine(int(event.data["t_face"]), "mark", str(event.data["text"])))

    def _on_fault(self, event: Event) -> None:
        fault = {k: str(event.data.get(k) or "") for k in ("code", "message", "remedy")}
        self._faults.append(fault)

    def _on_run_end(self, event: Event) -> None:
        self._status, self._reason = str(event.data["status"]), str(event.data.get("reason") or "")
        if self._steps and self._steps[-1].t1 is None:
            self._steps[-1] = self._steps[-1]._replace(t1=event.t)

    def _on_live(self, event: Event) -> None:
        readings = event.data.get("power")
        for device in readings if isinstance(readings, dict) else ():
            self._watts.setdefault(str(device), None)
        for device, watts in _numbers(readings).items():
            self._watts[device] = watts
            self._add_power(event.t, device, watts)
            self._heard[device] = event.t
            self._trace("power", device, event.t, watts)
        readings = event.data.get("state")
        for device, state in (readings if isinstance(readings, dict) else {}).items():
            self._heard[device] = event.t
            self._state[device] = self._state.get(device, {}) | _numbers(state)
        self._trace_state(event.t)
        self._on_sums(event)
        if event.data.get("progress"):
            self._on_progress(event.t, event.data["progress"])

    def _on_sums(self, event: Event) -> None:
        if self._by_power and "joules" in event.data:
            self._by_power, self._sums, self._last_live = False, {}, None
        for device, joules in _numbers(event.data.get("joules")).items():
            if joules <= 0 and device in self._grown:  # it begins again after a hole
                self._sums.pop(device, None)
                continue
            self._sums[device] = (event.t, joules)
            if joules > 0:
                self._grown.add(device)
        fresh = {d: j for d, (t, j) in self._sums.items() if event.t - t < SILENT_NS}
        if self._window:
            self._window.live(event.t, fresh)
        self._last_live = (event.t, fresh)

    def _on_progress(self, t: int, data: dict[str, Any]) -> None:
        progress = {"stage": str(data["stage"]), **{k: int(data[k]) for k in ("done", "total")}}
        progress |= {made: int(data[made]) for made in _MADE if made in data}
        self._makes_images |= "images" in data
        if "failed" in self._progress and progress["stage"] == self._progress["stage"]:
            progress["failed"] = self._progress["failed"]
        if progress != self._progress:
            first = next((e for e in self._energy() if e.joules is not None), None)
            self._progress, self._progress_at = progress, (t, first)

    # --- parts ------------------------------------------------------------------------------

    def _add_line(self, event: Event) -> LogLine | None:
        """The event's line; passing preflight findings were already shown with the plan."""
        line = eventwords.line(event)
        if line is None or (event.kind == "finding" and line.level == "ok"):
            return None
        self._log.append(line)
        return line

    def _add_power(self, t: int, device: str, watts: float) -> None:
        """For journals without running sums: sum the shown watts from event to event."""
        if self._by_power:
            before, joules = self._sums.get(device, (t, 0.0))
            trace = self._traces["power"].get(device)
            last = trace.last if trace else watts
            self._sums[device] = (t, joules + (last + watts) / 2 * (t - before) / SECOND_NS)

    def _trace(self, of: str, device: str, t: int, value: float) -> None:
        self._traces[of].setdefault(device, Trace()).add(t, value)

    def _trace_state(self, t: int) -> None:
        """Extend the series of a state: the journal has its changes, the series all events."""
        for device, state in self._state.items():
            if t - self._heard.get(device, t) < SILENT_NS:
                for of, key in (("temperature", "temperature"), ("clock", "sm_clock")):
                    if key in state:
                        self._trace(of, device, t, state[key])

    def _devices(self) -> tuple[Device, ...]:
        devices = {*self._watts, *self._state}
        # By length first: gpu10 comes after gpu9.
        ordered = sorted(devices, key=lambda n: (names.rank(self._scope(n)), len(n), n))
        return tuple(
            Device(
                n,
                self._scope(n),
                self._watts.get(n),
                self._heard.get(n),
                dict(self._state.get(n, {})),
            )
            for n in ordered
        )

    def _scope(self, device: str) -> str:
        for scope, devices in self._facts.items():
            if device in devices:
                return scope
        return scope_of(device)

    def _energy(self) -> tuple[EnergyValue, ...]:
        if self._window is None:
            return ()
        scopes = {scope: self._devices_of(scope) for scope in SCOPES}
        energies = (self._window.of(scope, facts) for scope, facts in scopes.items() if facts)
        return tuple(_unsure(value) if self._by_power else value for value in energies)

    def _device_energy(self) -> dict[str, EnergyValue]:
        """Each device's part of its scope's energy, with its own uncertainty."""
        if self._window is None:
            return {}
        energies = {
            device: self._window.of(scope, {device: facts})
            for scope in SCOPES
            for device, facts in self._devices_of(scope).items()
        }
        return {d: _unsure(value) for d, value in energies.items()} if self._by_power else energies

    def _devices_of(self, scope: str) -> Mapping[str, QuantityFacts]:
        """The devices of a scope's sum; without a plan those with a sum, by their names."""
        if self._facts:
            return self._facts.get(scope, {})
        return {d: NO_FACTS for d in self._sums if scope_of(d) == scope}

    def _rates(self) -> Progress:
        progress = self._progress
        block = next((s for s in reversed(self._steps) if s.phase == progress.get("stage")), None)
        if not progress or block is None:
            return Progress(images=0 if self._makes_images else None)
        done, (tokens, images) = int(progress["done"]), (progress.get(made) for made in _MADE)
        at, energy = self._progress_at
        joules = energy.joules if energy else None
        seconds = (min(at, block.t1 or at) - block.t0) / SECOND_NS
        measured = progress["stage"] == "measured"
        return Progress(
            stage=str(progress["stage"]),
            done=done,
            total=int(progress["total"]),
            failed=progress.get("failed"),
            tokens=tokens,
            images=images,
            requests_s=done / seconds if done and seconds > 0 else None,
            tokens_s=tokens / seconds if tokens and seconds > 0 else None,
            images_s=images / seconds if images and seconds > 0 else None,
            joules_token=joules / tokens if measured and joules and tokens else None,
            joules_image=joules / images if measured and joules and images else None,
            joules_scope=energy.scope if energy else "",
        )


def _facts_of(meters: Sequence[MeterPlan]) -> dict[str, dict[str, QuantityFacts]]:
    """scope → device → facts of the quantity of the scope's running sum."""
    facts: dict[str, dict[str, QuantityFacts]] = {}
    for meter in meters:
        for device in meter.devices:
            source = source_of(device)
            if source and source.facts.is_summed:
                facts.setdefault(source.scope.name, {})[device.device] = source.facts
    return facts


def _numbers(value: Any) -> dict[str, float]:
    """The numbers in a mapping; empty if it is none."""
    pairs = value.items() if isinstance(value, dict) else ()
    return {k: v for k, v in pairs if isinstance(v, int | float) and not isinstance(v, bool)}


def _unsure(value: EnergyValue) -> EnergyValue:
    """An energy that was summed from shown watts: its uncertainty is unknown."""
    return msgspec.structs.replace(value, u_reading=None, u_sensor=None, terms={}, method=BY_POWER)


def _points(traces: Mapping[str, Trace]) -> dict[str, tuple[Point, ...]]:
    return {device: trace.points() for device, trace in traces.items()}
