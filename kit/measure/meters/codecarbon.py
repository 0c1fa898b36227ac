"""CodeCarbon beside kit: a comparator, not a meter of kit's own.

Studies report what CodeCarbon said. This reads its own account (gpu, cpu, ram) in the same run and
on the same clock, so that both stand side by side; it is never added to what kit measures, and
feeds no metric. CodeCarbon measures a component where it finds NVML or RAPL and estimates it from
constants elsewhere (RAM always): each component carries the word that follows from what CodeCarbon
says of itself. It states no uncertainty.

The real library runs offline (no country look-up, nothing sent, no file written), in the sampler
process of this meter alone. It is asked once a second and measures when asked; used by itself it
asks its sensors every 15 s.
"""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any, Literal

from kit.core import extras
from kit.core.facts import QuantityFacts
from kit.core.model import MeterDevice, MeterPlan
from kit.core.units import Scope
from kit.measure.meters.contract import MeterUnavailable, Reading, Tier, absent
from kit.record.events import Clock

PERIOD_S = 1.0
COUNTRY = "USA"  # only grams of CO2, which kit does not report, depend on it
COMPONENTS = ("gpu", "cpu", "ram")
_UJ_PER_KWH = 3.6e12
_PROBE_S = 60.0
_OWN_PACE_S = 3600.0  # never by itself: then the time of every value is known
_GAVE_NOTHING = 1
# How CodeCarbon names the ways by which it reads a sensor; all others are models or constants.
_SENSORS = {"rapl", "pynvml", "amdsmi", "power gadget", "powermetrics", "windows emi", "raspberry"}
_METHODS = re.compile(r"^\s*(RAM|CPU|GPU) Tracking Method: (.+?)\s*$", re.MULTILINE)
_MISSING = f"CodeCarbon is not installed: {extras.install('study')}"


class CodeCarbon:
    name = "codecarbon"
    title = "CodeCarbon's own account, for comparison"
    scope: Scope = "codecarbon"
    process: Literal["local", "own"] = "own"
    remedy = f"{extras.install('study')}, or take codecarbon out of the spec's meters"

    def probe(self, alias: str | None, config: dict[str, Any]) -> MeterPlan:
        try:
            devices = _devices(_ask(config))
        except MeterUnavailable as reason:
            return absent(self.name, alias, reason)
        return MeterPlan(name=self.name, alias=alias, devices=devices)

    def open(
        self,
        alias: str | None,  # noqa: ARG002 - the contract of all meters
        config: dict[str, Any],
        clock: Clock,
    ) -> CodeCarbonReader:
        return CodeCarbonReader(config, clock)


class CodeCarbonReader:
    """Asks the tracker for its totals; a few milliseconds each."""

    def __init__(self, config: dict[str, Any], clock: Clock) -> None:
        self._clock = clock
        self._tracker = Tracker(config)
        self.devices = _devices(self._tracker.ways)
        self._components = [device.device.partition(":")[2] for device in self.devices]
        self.tiers = (Tier("codecarbon", PERIOD_S, self._read, slow=True),)

    def explain(self, rc: int) -> str:
        return "CodeCarbon gave no value (it hides its errors)" if rc == _GAVE_NOTHING else str(rc)

    def close(self) -> None:
        self._tracker.stop()

    def _read(self) -> Sequence[Reading]:
        t0 = self._clock.now()
        totals = self._tracker.totals()
        t1 = self._clock.now()
        return [
            Reading(
                t0,
                t1,
                None,
                f"codecarbon:{component}",
                "codecarbon_energy",
                _GAVE_NOTHING if totals is None else 0,
                None if totals is None else totals[component],
            )
            for component in self._components
        ]


class Tracker:
    """The real ``OfflineEmissionsTracker``, started.

    Attributes:
        ways: component → how CodeCarbon says that it tracks it, with its version.

    Raises:
        MeterUnavailable: it is not installed, or gives no reading.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        if find_spec("codecarbon") is None:
            raise MeterUnavailable(_MISSING)
        from codecarbon import OfflineEmissionsTracker, emissions_tracker
        from codecarbon.output_methods.base_output import BaseOutput

        self._latest: Any = None
        outer = self

        class Keep(BaseOutput):  # type: ignore[misc, unused-ignore]
            def out(self, total: Any, delta: Any) -> None:  # noqa: ARG002 - CodeCarbon's contract
                outer._latest = total

        output = _LogText()
        _keep_only(output, logging.INFO)
        # A person's own CODECARBON_* variables and .codecarbon.config files are for their own use
        # of it: they would change the account, and a malformed one would end it.
        emissions_tracker.get_hierarchical_config = dict  # type: ignore[attr-defined]
        self._tracker = OfflineEmissionsTracker(
            country_iso_code=config.get("country", COUNTRY),
            measure_power_secs=_OWN_PACE_S,
            tracking_mode="machine",
            output_methods=[],
            output_handlers=[Keep()],
            emissions_endpoint=None,
            api_call_interval=-1,
            allow_multiple_runs=True,
            pue=1.0,
            force_cpu_power=None,
            force_ram_power=None,
            force_mode_cpu_load=False,
            rapl_include_dram=False,
            rapl_prefer_psys=False,
            gpu_ids=None,
            log_level="info",
        )
        _keep_only(output, logging.INFO)  # it has added its own
        self._tracker.start()
        _keep_only(logging.NullHandler(), logging.CRITICAL)
        ways = {kind.lower(): way for kind, way in _METHODS.findall(output.text)}
        self.ways = {"version": version("codecarbon"), **ways}
        if self.totals() is None or not set(COMPONENTS) <= set(ways):
            self.stop()
            raise MeterUnavailable(
                f"CodeCarbon {self.ways['version']} gave no reading, or not how it reads"
            )

    def totals(self) -> dict[str, int] | None:
        """Energy since the start by component, µJ; None where CodeCarbon gave nothing."""
        self._latest = None
        self._tracker.flush()  # measures up to now, and hands the totals to `Keep`
        total = self._latest
        if total is None:
            return None
        return {c: round(getattr(total, f"{c}_energy") * _UJ_PER_KWH) for c in COMPONENTS}

    def stop(self) -> None:
        self._tracker.stop()


class _LogText(logging.Handler):
    """What CodeCarbon's log says, kept: it tells its ways nowhere else."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text += record.getMessage() + "\n"


def _keep_only(handler: logging.Handler, level: int) -> None:
    """Let CodeCarbon's log go to ``handler`` alone; its own one writes to stderr."""
    logger = logging.getLogger("codecarbon")
    logger.handlers = [handler]
    logger.setLevel(level)


def _ask(config: dict[str, Any]) -> dict[str, str]:
    """`Tracker.ways`, found in a process that ends: CodeCarbon brings pandas and threads.

    Raises:
        MeterUnavailable: what `Tracker` says, or it took longer than a minute.
    """
    if find_spec("codecarbon") is None:
        raise MeterUnavailable(_MISSING)
    command = [sys.executable, "-m", __name__, json.dumps(config)]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_PROBE_S
        )
    except subprocess.TimeoutExpired as error:
        raise MeterUnavailable(f"CodeCarbon did not start within {_PROBE_S:.0f} s") from error
    if done.returncode != 0:
        words = done.stderr.strip().splitlines() or ["it ended without a word"]
        raise MeterUnavailable(words[-1])
    answer: dict[str, str] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


def _devices(ways: dict[str, str]) -> tuple[MeterDevice, ...]:
    """A device for each component that it tracks, with how it says it does."""
    devices = []
    for component in COMPONENTS:
        way = ways.get(component, "Unspecified")
        if way == "Unspecified":  # its word for: there is none here
            continue
        source = "measured" if way.lower() in _SENSORS else "estimated"
        facts = QuantityFacts(
            period_s=PERIOD_S,
            poll_s=PERIOD_S,
            source=source,
            way=way,
            version=ways["version"],
            uncertainty="not stated",
        )
        about = f"CodeCarbon {ways['version']}: {component} {source} ({way})"
        devices.append(
            MeterDevice(
                device=f"codecarbon:{component}",
                description=about,
                quantities={"codecarbon_energy": facts},
            )
        )
    return tuple(devices)


METER = CodeCarbon()


def main() -> int:
    """``python -m kit.measure.meters.codecarbon CONFIG``: print `Tracker.ways` as JSON."""
    try:
        tracker = Tracker(json.loads(sys.argv[1]))
    except Exception as error:  # whatever a library of someone else's does is a reason
        sys.stderr.write(f"{error}\n")
        return 1
    tracker.stop()
    sys.stdout.write(json.dumps(tracker.ways) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
