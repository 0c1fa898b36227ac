"""One GPU as NVML knows it: by its UUID, since handles and indices do not outlive a driver."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from kit.measure.meters.nvml.api import NOT_SUPPORTED, Answer, Api
from kit.record.events import Clock

Field = int | tuple[int, int]
Query = Callable[[Api, Any], Any]

# The driver is gone, from all GPUs or from one: uninitialised, not loaded, GPU lost, GPU needs a
# reset, library and kernel module of different versions.
GONE = frozenset({1, 9, 15, 16, 18})
_AGAIN_NS = 5_000_000_000


class Asked(NamedTuple):
    """One quantity: the field that holds it, or the function that asks for it, or both in turn.

    Attributes:
        field: number of an NVML field, or (number, scope); None where there is none.
        query: what else to ask, where the card does not know the field.
        zero_is_absent: 0 is no reading of a working sensor.
    """

    field: Field | None = None
    query: Query | None = None
    zero_is_absent: bool = False


class Board:
    """A GPU with its present handle; its UUID is never written.

    Attributes:
        handle: NVML's, None while the GPU cannot be found.
        rc: NVML's return code for what is asked of it meanwhile.
    """

    def __init__(self, api: Api, index: int, handle: Any) -> None:
        self._api, self._index = api, index
        self.handle, self.rc = handle, 0
        self._uuid = api.ask(lambda: api.nvml.nvmlDeviceGetUUID(handle))[1]

    def ask(self, query: Query) -> tuple[int, Any]:
        """``(0, answer)``, or ``(NVML's return code, None)``."""
        handle = self.handle
        return (
            (self.rc, None) if handle is None else self._api.ask(lambda: query(self._api, handle))
        )

    def fields(self, ids: Sequence[Field]) -> list[Answer]:
        """Several field values in one call, each with its own return code."""
        handle = self.handle
        return [(self.rc, None)] * len(ids) if handle is None else self._api.fields(handle, ids)

    def value(self, asked: Asked) -> Answer:
        """One quantity: its field where it is one, else what the function says."""
        if asked.field is not None:
            return self.fields([asked.field])[0]
        return self.ask(asked.query) if asked.query else (NOT_SUPPORTED, None)

    def lose(self, rc: int) -> None:
        """Drop the present handle; ``rc`` is the reason."""
        self.handle, self.rc = None, rc

    def find(self) -> None:
        """Its present handle: by UUID, or by index for a card without one."""
        nvml = self._api.nvml
        uuid, index = self._uuid, self._index
        rc, handle = self._api.ask(
            (lambda: nvml.nvmlDeviceGetHandleByUUID(uuid))
            if uuid
            else (lambda: nvml.nvmlDeviceGetHandleByIndex(index))
        )
        self.handle, self.rc = handle, rc


class Keeper:
    """Initialises the driver again after it went away, at a slow pace.

    A driver that is unloaded fails all GPUs, and NVML has to be initialised anew. A GPU that is
    lost alone is only looked up again: initialising would disturb the others.
    """

    def __init__(self, api: Api, boards: Sequence[Board], clock: Clock) -> None:
        self._api, self._boards, self._clock = api, boards, clock
        self._tried = 0

    def look_after(self, codes: Sequence[set[int]]) -> None:
        """Restore what is gone; ``codes`` has each GPU's return codes of the reads just made."""
        gone = [b for b, c in zip(self._boards, codes, strict=True) if c and c <= GONE]
        now = self._clock.now()
        if not gone or now - self._tried < _AGAIN_NS:
            return
        self._tried = now
        if len(gone) == len(self._boards):
            self._restart()
        else:
            for board in gone:
                board.find()

    def _restart(self) -> None:
        for board in self._boards:
            board.lose(1)  # no thread may use a handle while the driver is let go
        rc = self._api.restart()
        for board in self._boards:
            if rc:
                board.lose(rc)
            else:
                board.find()
