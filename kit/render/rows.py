"""`kit ls`: a line a run, from the parsed documents of its archive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from kit.render.console import Cell, Mark, count, fitted, plain, put, stderr, stdout
from kit.render.numbers import value

SHORT = 12
# The scope that stands for a run in one line: the first that has a value.
SCOPES = ("gpu", "wall", "cpu", "estimate")
MARKS = {"complete": "ok", "failed": "fail", "aborted": "warn", "running": "running"}
MARKS |= {"unsealed": "warn", "broken": "fail"}
# From this width on everything has a column of its own.
WIDE = 110
_NUMBERS = ("J/token", "tokens/s")
_NO_RUNS = "no runs yet: `kit init` writes a spec, `kit run` runs it, `make demo` does it all"


@dataclass(frozen=True)
class Row:
    """A line: ``status`` is complete, failed, aborted, running, unsealed or broken."""

    status: str
    run: str
    name: str = ""
    started: str = ""
    runtime: str = ""
    energy: str = ""
    throughput: str = ""
    note: str = ""


def row(
    run: str, manifest: Mapping[str, Any], spec: Mapping[str, Any], results: Mapping[str, Any]
) -> Row:
    """The line of a sealed run from its parsed documents; a malformed one is ``broken``."""
    try:
        return _row(run, manifest, spec, results)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError):
        return Row("broken", run, note="its documents do not have the form that kit writes")


def _row(
    run: str, manifest: Mapping[str, Any], spec: Mapping[str, Any], results: Mapping[str, Any]
) -> Row:
    metrics = results.get("metrics", {})
    parents = manifest.get("parents") or [{}]
    replayed = str(parents[0].get("run_hash", ""))[:8]
    return Row(
        status=str(manifest.get("status", "broken")),
        run=run,
        name=str(spec.get("name", "")),
        started=str(manifest.get("clock", {}).get("utc", ""))[:16].replace("T", " "),
        runtime=str(spec.get("runtime", {}).get("name", "")),
        energy=_energy_per_token(metrics),
        throughput=value(metrics.get("output_throughput", {})) or "–",
        note=f"replay of {replayed}" if replayed else str(manifest.get("reason", "")),
    )


def runs(rows: Sequence[Row]) -> None:
    """`kit ls` on stdout; how many there are on stderr."""
    console = stdout()
    if rows:
        put(console, _wide(rows, console) if console.width >= WIDE else _narrow(rows, console))
    put(stderr(), plain(count(len(rows), "run") if rows else _NO_RUNS, "quiet"))


def _wide(rows: Sequence[Row], console: Console) -> Table:
    headings = ("status", "run", "spec", "started (UTC)", "runtime", "J/token", "tokens/s", "")
    lines: list[tuple[Cell, ...]] = []
    for row in rows:
        middle = (row.name, row.started, row.runtime, row.energy, row.throughput)
        lines.append((*_front(row), *map(plain, middle), plain(row.note, "quiet")))
    return fitted(console.width, headings, lines, elastic=7, right=_NUMBERS)


def _narrow(rows: Sequence[Row], console: Console) -> Table:
    """Without the runtime and the year; what there is to note goes below the spec's name."""
    headings = ("status", "run", "spec", "started", "J/token", "tokens/s")
    lines: list[tuple[Cell, ...]] = []
    for row in rows:
        about = plain(row.name)
        if row.note:
            about.append("\n" if row.name else "").append_text(plain(row.note, "quiet"))
        numbers = (row.started[5:], row.energy, row.throughput)
        lines.append((*_front(row), about, *map(plain, numbers)))
    return fitted(console.width, headings, lines, elastic=2, right=_NUMBERS)


def _front(row: Row) -> tuple[Mark, Text]:
    mark = Mark(MARKS.get(row.status, "fail"), str(plain(row.status)))
    return mark, plain(row.run[:SHORT], "name")


def _energy_per_token(metrics: Mapping[str, Any]) -> str:
    for scope in SCOPES:
        metric = metrics.get(f"{scope}_energy_per_output_token", {})
        if shown := value(metric):
            return f"{shown} {'est.' if scope == 'estimate' else scope}"
    return "–"
