"""AMD's GPUs through ROCm's own Python module ``amdsmi``, which is imported when it is asked for.

The counter is raw: its step, in µJ, comes from the library and is in ``scale`` (the registry's
unit is mJ). ROCm says 15.3 µJ, where its own header says 2⁻¹⁶ J, which is 0.27% less: that lies
within the prior of the gain. Cards since MI300 give the socket's power of the moment, earlier ones
a mean; over which time, nobody states. A board with two compute dies (MI250, MI250X) reports the
power of both by one die; a device that shares another's board is not summed.

The aliases ``amd0``, ``amd1``, … are the library's own order.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from importlib.util import find_spec
from io import StringIO
from typing import Any, Literal, NamedTuple

from msgspec.structs import replace

from kit.core.facts import NO_FACTS, QuantityFacts
from kit.core.model import MeterDevice, MeterPlan
from kit.core.units import Scope, significant
from kit.measure.meters.contract import MeterUnavailable, Reading, Tier, absent
from kit.record.events import Clock

NOT_TOLD, NO_NUMBER, FAILED = -1, -2, -3
REASONS = {
    NOT_TOLD: "the card does not report it (N/A)",
    NO_NUMBER: "the library's answer is not a number",
    FAILED: "the library failed in a way that it does not name",
}
_NO_MODULE = "the Python module amdsmi is not installed"
_NO_LIBRARY = "amdsmi is installed, and finds no library libamd_smi.so"
_ZERO = "the driver reads 0: no sensor"
_SECOND_DIE = "the second die of a board: the first one's readings are those of both"
_SAME_BOARD = "shares the board of {}, whose readings are those of both"
_NO_PERIOD = "AMD does not state it"
_GAIN = 0.1
_GAIN_SOURCE = "prior: ±10%, AMD states no accuracy"
# Unsigned numbers with all bits set: what older versions of the library pass on for "N/A".
_NOTHING = frozenset({2**16 - 1, 2**32 - 1, 2**64 - 1})
_DUAL_DIE = ("MI250",)
_W_TO_MW = 1000.0
_MOST_W = 10_000  # a cap above is in µW, as new versions of the library have it
_MOST_DEGC = 1000  # a temperature above is in thousandths, as ROCm's documents have it
_POWERS = ("gpu_energy", "gpu_power_instant", "gpu_power_average")
# `kit.energy.ticks` takes a counter for one that ticks ten times a second, and believes a tick that
# was bracketed more closely: each read of this one finds a new value. It is one pace for all, since
# `kit verify` holds the rows of a meter with one tier against it.
POLL_S = 0.05

Answer = tuple[int, int | None]
Query = Callable[[Any, Any], Any]


class AmdSmi:
    name = "amdsmi"
    title = "AMD GPUs (ROCm's amdsmi)"
    scope: Scope = "gpu"
    process: Literal["local", "own"] = "local"
    remedy = (
        "install ROCm's amd-smi-lib and its Python module (pip install /opt/rocm/share/amd_smi), "
        "or take amdsmi out of the spec's meters"
    )

    def probe(self, alias: str | None, config: dict[str, Any]) -> MeterPlan:
        try:
            with Library() as library:
                gpus = cards(library, config.get("gpus"))
        except MeterUnavailable as reason:
            return absent(self.name, alias, reason)
        return MeterPlan(name=self.name, alias=alias, devices=tuple(c.device for c in gpus))

    def open(
        self,
        alias: str | None,  # noqa: ARG002 - the contract of all meters
        config: dict[str, Any],
        clock: Clock,
    ) -> AmdSmiReader:
        return AmdSmiReader(config, clock)


def is_installed() -> bool:
    """Whether there is a module to ask; it is not imported."""
    return find_spec("amdsmi") is not None


class Library:
    """The initialised module; each query returns a code or an integer.

    Raises:
        MeterUnavailable: there is no module, no library, no driver, or no permission.
    """

    def __init__(self) -> None:
        output = StringIO()  # where its library lacks, it prints that to what kit writes JSON to
        try:
            with redirect_stdout(output):
                import amdsmi
        except ModuleNotFoundError as error:
            if error.name != "amdsmi":
                raise MeterUnavailable(f"amdsmi cannot be imported: {error}") from error
            raise MeterUnavailable(_NO_MODULE) from error
        except Exception as error:  # its library is loaded at import
            why = _NO_LIBRARY if output.getvalue() else f"amdsmi cannot be imported: {error}"
            raise MeterUnavailable(why) from error
        self.module: Any = amdsmi  # untyped
        try:
            self.module.amdsmi_init()
        except Exception as error:
            raise MeterUnavailable(f"amdsmi: {self.explain(self._code(error))}") from error

    def __enter__(self) -> Library:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the driver."""
        try:
            self.module.amdsmi_shut_down()
        except Exception:
            return

    def handles(self) -> list[Any]:
        """The GPUs, in the library's order.

        Raises:
            MeterUnavailable: they cannot be listed, or there is none.
        """
        try:
            handles = list(self.module.amdsmi_get_processor_handles())
        except Exception as error:
            raise MeterUnavailable(f"amdsmi: {self.explain(self._code(error))}") from error
        if not handles:
            raise MeterUnavailable("the AMD driver sees no GPU")
        return handles

    def ask(self, query: Query, handle: Any) -> tuple[int, Any]:
        """A query's code and its answer; never raises."""
        try:
            return 0, query(self.module, handle)
        except Exception as error:
            return self._code(error), None

    def value(self, query: Query, handle: Any) -> Answer:
        """A query's code, and its answer where that is a number."""
        rc, number = self.ask(query, handle)
        if rc:
            return rc, None
        if isinstance(number, str) or number is None:
            return NOT_TOLD, None
        if isinstance(number, bool) or not isinstance(number, int) or number < 0:
            return NO_NUMBER, None
        return (NOT_TOLD, None) if number in _NOTHING else (0, number)

    def explain(self, rc: int) -> str:
        """A code in words: kit's own, else the library's."""
        if rc in REASONS:
            return REASONS[rc]
        try:
            return str(self.module.AmdSmiLibraryException(rc).get_error_info())
        except Exception:
            return f"the library's error {rc}"

    def _code(self, error: Exception) -> int:
        """The library's number of an error; its own mistakes and kit's have none."""
        if isinstance(error, KeyError):
            return NOT_TOLD
        code = getattr(error, "err_code", None)
        return code if isinstance(code, int) and not isinstance(code, bool) and code else FAILED


def _key(function: str, *keys: str) -> Query:
    """The value of the first of the keys that an answer has."""

    def query(module: Any, handle: Any) -> Any:
        answer = getattr(module, function)(handle)
        return next((answer[key] for key in keys if key in answer), None)

    return query


def _clock(domain: str) -> Query:
    def query(module: Any, handle: Any) -> Any:
        answer = module.amdsmi_get_clock_info(handle, getattr(module.AmdSmiClkType, domain))
        return answer.get("clk", answer.get("cur_clk"))

    return query


def _temperature(sensor: str) -> Query:
    return lambda m, h: m.amdsmi_get_temp_metric(
        h, getattr(m.AmdSmiTemperatureType, sensor), m.AmdSmiTemperatureMetric.CURRENT
    )


# By quantity, the ways to ask for it: the first that answers is used.
QUERIES: dict[str, tuple[Query, ...]] = {
    "gpu_energy": (_key("amdsmi_get_energy_count", "energy_accumulator", "power"),),
    "gpu_power_instant": (_key("amdsmi_get_power_info", "current_socket_power"),),
    "gpu_power_average": (_key("amdsmi_get_power_info", "average_socket_power"),),
    "gpu_temperature": (_temperature("HOTSPOT"), _temperature("EDGE")),
    "gpu_sm_clock": (_clock("GFX"),),
    "gpu_utilisation": (_key("amdsmi_get_gpu_activity", "gfx_activity"),),
    "gpu_memory_used": (lambda m, h: m.amdsmi_get_gpu_memory_usage(h, m.AmdSmiMemoryType.VRAM),),
}
_SOURCES = {
    "gpu_energy": "amdsmi_get_energy_count",
    "gpu_power_instant": "amdsmi_get_power_info, current_socket_power",
    "gpu_power_average": "amdsmi_get_power_info, average_socket_power",
}


class Card(NamedTuple):
    """One GPU: its facts for the plan, and its queries."""

    device: MeterDevice
    handle: Any
    asked: dict[str, Query]
    board: str

    @property
    def tells_power(self) -> bool:
        """Whether it gives power or energy."""
        return bool(set(_POWERS) & set(self.asked))


def cards(library: Library, count: int | None) -> list[Card]:
    """The GPUs, the first ``count`` where that is given.

    Raises:
        MeterUnavailable: there is none, or the library does not list them.
    """
    result: list[Card] = []
    handles = library.handles()
    for index, handle in enumerate(handles[:count] if count else handles):
        card = _card(library, index, handle)
        twins = [c for c in result if card.board and c.board == card.board and c.tells_power]
        if twins:
            _unsum(card, _SAME_BOARD.format(twins[0].device.device))
        result.append(card)
    _unsum_second_dies(result)
    for card in result:
        for quantity in card.asked:
            card.device.quantities[quantity] = replace(
                card.device.quantities[quantity], poll_s=POLL_S
            )
    return result


def _card(library: Library, index: int, handle: Any) -> Card:
    facts: dict[str, QuantityFacts] = {}
    asked: dict[str, Query] = {}
    for quantity, ways in QUERIES.items():
        facts[quantity], query = _tried(library, handle, quantity, ways)
        if query:
            asked[quantity] = query
    rc, asic = library.ask(lambda m, h: m.amdsmi_get_gpu_asic_info(h), handle)
    name = str(asic.get("market_name", "")) if rc == 0 and isinstance(asic, dict) else ""
    _add_limit(library, handle, facts)
    device = MeterDevice(
        device=f"amd{index}", description=name or "an AMD GPU without a name", quantities=facts
    )
    return Card(device, handle, asked, _board(library, handle))


def _tried(
    library: Library, handle: Any, quantity: str, ways: Sequence[Query]
) -> tuple[QuantityFacts, Query | None]:
    """A quantity's facts, or the reason why there is none; and how it is asked."""
    rc = NOT_TOLD
    for query in ways:
        begin = time.perf_counter()
        rc, raw = library.value(query, handle)
        taken = time.perf_counter() - begin
        if rc or raw is None:
            continue
        if quantity in _POWERS and raw == 0:
            return QuantityFacts(reason=_ZERO), None
        facts = _facts(library, handle, quantity, raw)
        if not facts.is_read:
            return facts, None
        return replace(facts, call_s=round(taken, 6)), query
    return QuantityFacts(reason=f"amdsmi: {library.explain(rc)}"), None


def _facts(library: Library, handle: Any, quantity: str, raw: int) -> QuantityFacts:
    if quantity == "gpu_energy":
        ask = _key("amdsmi_get_energy_count", "counter_resolution")
        _, step_uj = library.ask(ask, handle)
        if not isinstance(step_uj, int | float) or not 0.001 <= step_uj <= 1e6:
            why = "the library does not report the step of its energy counter"
            return QuantityFacts(reason=why)
        facts = QuantityFacts(scale=significant(float(step_uj) * 1e-3, 6))
    elif quantity in _POWERS:
        facts = QuantityFacts(scale=_W_TO_MW, resolution=1.0)
    else:
        milli = "temperature" in quantity and raw > _MOST_DEGC
        return QuantityFacts(scale=1e-3) if milli else NO_FACTS
    return replace(
        facts,
        gain=_GAIN,
        gain_source=_GAIN_SOURCE,
        period_reason=_NO_PERIOD,
        source=_SOURCES[quantity],
    )


def _add_limit(library: Library, handle: Any, quantities: dict[str, QuantityFacts]) -> None:
    """The highest cap that the card can be set to, W: `kit.core.limits` judges readings by it."""
    for key in ("max_power_cap", "power_cap"):
        rc, cap = library.value(_key("amdsmi_get_power_cap_info", key), handle)
        if rc == 0 and cap:
            limit_w = cap * 1e-6 if cap > _MOST_W else float(cap)
            for quantity in _POWERS:
                if quantities[quantity].is_read:
                    quantities[quantity] = replace(quantities[quantity], limit_w=round(limit_w, 3))
            return


def _board(library: Library, handle: Any) -> str:
    """The serial number of its board, never kept; empty where the card reports none.

    A word without two different digits or letters, such as 0000, is no number: all would share it.
    """
    rc, board = library.ask(lambda m, h: m.amdsmi_get_gpu_board_info(h), handle)
    serial = str(board.get("product_serial") or "") if rc == 0 and isinstance(board, dict) else ""
    identity = serial.strip()
    return identity if identity != "N/A" and len(set(identity)) > 1 else ""


def _unsum_second_dies(cards: Sequence[Card]) -> None:
    """Those of a board with two dies that report no power, where as many others of the kind do.

    Where more are silent than report it, one of these is a first die that cannot be read: what its
    board draws is missing, and no sum may go on without it.
    """
    for card in cards:
        name = card.device.description
        if card.tells_power or not any(word in name for word in _DUAL_DIE):
            continue
        alike = [c.tells_power for c in cards if c.device.description == name]
        if 2 * sum(alike) >= len(alike):
            for quantity in _POWERS:
                card.device.quantities[quantity] = QuantityFacts(reason=_SECOND_DIE)
            _unsum(card, _SECOND_DIE)


def _unsum(card: Card, why: str) -> None:
    """Count nothing of a device that lies inside another."""
    for quantity in _POWERS:
        facts = card.device.quantities[quantity]
        card.device.quantities[quantity] = replace(facts, summed=False, inside=why)


class AmdSmiReader:
    """Asks every GPU for everything, in a thread of its own."""

    def __init__(self, config: dict[str, Any], clock: Clock) -> None:
        self._library, self._clock = Library(), clock
        try:
            self._cards = cards(self._library, config.get("gpus"))
        except MeterUnavailable:
            self._library.close()
            raise
        self.devices = tuple(card.device for card in self._cards)
        self.tiers = (Tier("gpu", POLL_S, self._read, slow=True),)

    def explain(self, rc: int) -> str:
        return self._library.explain(rc)

    def close(self) -> None:
        self._library.close()

    def _read(self) -> Sequence[Reading]:
        return list(self._readings())

    def _readings(self) -> Iterator[Reading]:
        for card in self._cards:
            for quantity, query in card.asked.items():
                t0 = self._clock.now()
                rc, raw = self._library.value(query, card.handle)
                t1 = self._clock.now()
                yield Reading(t0, t1, None, card.device.device, quantity, rc, raw)


METER = AmdSmi()
