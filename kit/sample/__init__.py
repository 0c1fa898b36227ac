"""The sampler: a process of its own that reads meters on absolute deadlines and knows no phases.

This module is the engine's side; ``python -m kit.sample CONFIG.json`` is the sampler's. It ends
at EOF on its stdin. A thread in the engine would not do: under a busy interpreter a 100 Hz thread
loses most of its ticks.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

from kit.child import Child
from kit.errors import SamplerFailed

__all__ = ("SamplerProcess",)

_READY_S = 30.0
_END_S = 10.0


class SamplerProcess:
    """A sampler process as a context manager; it is gone afterwards whatever happens."""

    def __init__(self, config: dict[str, Any], path: Path) -> None:
        self._child = Child("kit.sample", config, path)
        self._stopped: dict[str, Any] | None = None

    def __enter__(self) -> SamplerProcess:
        self._child.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._child.close(_END_S)

    def wait_ready(self) -> None:
        """Return once every meter has been read once.

        Raises:
            SamplerFailed: it ended instead, or took longer than 30 s.
        """
        for line in self._child.lines(_READY_S):
            if line is not None and line.get("event") == "ready":
                return
        raise self._failed()

    def poll(self) -> list[dict[str, Any]]:
        """What it has said since the last call, without waiting.

        Raises:
            SamplerFailed: it ended unasked.
        """
        lines = self._child.waiting()
        if self._stopped is None and self._child.ended:
            raise self._failed()
        return lines

    def stop(self) -> dict[str, Any]:
        """Let it write what it has and end; returns its closing report.

        A sampler that was killed reports only that: ``{"event": "stopped", "lost": True}``.
        """
        if self._stopped is None:
            self._child.close(_END_S)
            said = [line for line in self._child.lines(1.0) if line is not None]
            last = [line for line in said if line.get("event") == "stopped"]
            self._stopped = last[-1] if last else {"event": "stopped", "lost": True}
        return dict(self._stopped)

    def _failed(self) -> SamplerFailed:
        return SamplerFailed(
            f"a sampler ended early{self._child.last_words()}",
            "run it again; what was sampled until then is in the run",
        )
