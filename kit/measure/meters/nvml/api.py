"""NVML's answers as (return code, integer), so that no reading is an exception."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from kit.measure.meters.contract import MeterUnavailable

Answer = tuple[int, int | None]

NOT_SUPPORTED = 3
NOT_FOUND = 6
UNKNOWN = 999
UNSEEN = 1000  # kit's own
# Which member of NVML's value union holds the value, by its type's number.
_MEMBERS = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")
_NO_DRIVER = "no NVIDIA driver: libnvidia-ml.so.1 not found"


class Unseen(Exception):
    """The GPU or driver may exist, but kit cannot see it from where it runs."""


class Api:
    """The initialised ``pynvml`` module.

    Raises:
        MeterUnavailable: no driver, driver not loaded, or no permission.
    """

    def __init__(self) -> None:
        import pynvml

        self.nvml: Any = pynvml  # the module is untyped
        try:
            self.nvml.nvmlInit()
        except pynvml.NVMLError as error:
            raise MeterUnavailable(self._why_not(error)) from error

    def __enter__(self) -> Api:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the driver."""
        try:
            self.nvml.nvmlShutdown()
        except self.nvml.NVMLError:
            return

    def ask(self, query: Callable[[], Any]) -> tuple[int, Any]:
        """``(0, answer)``, or ``(NVML's return code, None)``."""
        try:
            return 0, query()
        except self.nvml.NVMLError as error:
            return int(error.value), None
        except Unseen:
            return UNSEEN, None
        except Exception:  # a function that pynvml or the driver lacks, a name in no code, a bug:
            return UNKNOWN, None  # whatever one GPU's answer does, the others are asked

    def fields(self, handle: Any, ids: Sequence[int | tuple[int, int]]) -> list[Answer]:
        """Several field values in one call, each with its own return code.

        Args:
            ids: numbers of fields, or pairs of a number and a scope (``NVML_POWER_SCOPE_*``).
        """
        rc, values = self.ask(lambda: self.nvml.nvmlDeviceGetFieldValues(handle, ids))
        if rc:
            return [(rc, None)] * len(ids)
        return [_answer(value) for value in values]

    def restart(self) -> int:
        """Release the driver and initialise it again, as after a reload; returns NVML's code."""
        self.close()
        return self.ask(self.nvml.nvmlInit)[0]

    def explain(self, rc: int) -> str:
        """A return code in words: NVML's own, or kit's for a code of kit."""
        if rc == UNSEEN:
            return "kit is in a container and cannot see whose they are"
        _, words = self.ask(lambda: str(self.nvml.NVMLError(rc)))
        return str(words) if words else f"return code {rc}"

    def _why_not(self, error: Any) -> str:
        reasons = {
            self.nvml.NVML_ERROR_LIBRARY_NOT_FOUND: _NO_DRIVER,
            self.nvml.NVML_ERROR_DRIVER_NOT_LOADED: "the NVIDIA kernel driver is not loaded",
            self.nvml.NVML_ERROR_NO_PERMISSION: "no permission to use the NVIDIA driver",
        }
        return reasons.get(error.value, f"NVML: {error}")


def _answer(value: Any) -> Answer:
    """One field's return code, and its value where that is 0 and the value is one."""
    rc = int(value.nvmlReturn)
    raw = value_of(value.valueType, value.value) if rc == 0 else None
    return (rc, raw) if rc or raw is not None else (UNKNOWN, None)


def value_of(kind: int, value: Any) -> int | None:
    """The integer in one of NVML's unions; None for a type that NVML did not have, and for NaN."""
    if not 0 <= kind < len(_MEMBERS):
        return None
    number = getattr(value, _MEMBERS[kind])
    return int(number) if math.isfinite(number) else None
