"""A sealed run in short: a row for each launch, then what was found over all of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.text import Text

from kit.energy import names
from kit.energy.names import ENERGY_PER, SCOPES
from kit.energy.results import from_document
from kit.energy.results.document import Launch, Metric, Results
from kit.energy.results.form import MALFORMED
from kit.show.documents import Documents, documents_of
from kit.show.mean import mean
from kit.show.render.console import count, facts, listing, plain, short_bytes, short_time
from kit.show.render.numbers import number

# What a run makes: heading and count of it, its rate with a heading, and the energy by it.
_TEXTS = ("tokens", "output_tokens", "output_throughput", "tok/s", "output_token")
_IMAGES = ("images", "images", "image_throughput", "img/s", "image")


def outcome(run: Path) -> RenderableType:
    """What was sealed, its launches and its metrics.

    Raises:
        KitError: the container cannot be read.
    """
    documents = documents_of(run)
    try:
        results = from_document(documents.results)
        return Group(
            _Launches(results), Text(), facts(_metrics(results)), facts(_sealed(documents, results))
        )
    except (*MALFORMED, ArithmeticError):
        return plain("its results cannot be read: v says why", "bad")


class _Launches:
    """A row for each launch, in as many columns as fit: the less a column says, the sooner it goes.

    Each column is its rank, its heading, and its cells.
    """

    def __init__(self, results: Results) -> None:
        launches = results.launches
        made, counted, rate, per_second, per = _IMAGES if _IMAGES[2] in results.metrics else _TEXTS
        self._columns: list[tuple[int, str, list[str]]] = [
            (0, "launch", [str(la.index) for la in launches]),
            (3, "measured", [_measured(la) for la in launches]),
            (
                5,
                "requests ok",
                [f"{la.counts.completed:,} of {la.counts.issued:,}" for la in launches],
            ),
            (6, made, [_count(getattr(la.counts, counted)) for la in launches]),
            (2, per_second, [_value(results.metrics.get(rate), n) for n in range(len(launches))]),
        ]
        for rank, scope in enumerate(SCOPES):
            joules = [_joules(la, scope) for la in launches]
            if any(value is not None for value in joules):
                short = names.scope(scope, short=True)
                each = results.metrics.get(f"{scope}_energy_per_{per}")
                cells = [_value(each, n) for n in range(len(launches))]
                self._columns.append((4 + 10 * rank, f"{short}, J", [_number(j) for j in joules]))
                self._columns.append((1 + 10 * rank, f"{short} {ENERGY_PER[per].short}", cells))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        left, shown = options.max_width, []
        for rank, heading, cells in sorted(self._columns):
            left -= 2 + max(map(len, (heading, *cells)))
            if left + 2 < 0:
                break
            shown.append(rank)
        columns = [column for column in self._columns if column[0] in shown]
        right = {"justify": "right", "no_wrap": True}
        table = listing(*((heading, right) for _, heading, _ in columns))
        for row in zip(*(cells for *_, cells in columns), strict=True):
            table.add_row(*row)
        yield table


def _measured(launch: Launch) -> str:
    return short_time(launch.measured.duration_s) if launch.measured else "not reached"


def _count(number: int | None) -> str:
    return "–" if number is None else f"{number:,}"


def _joules(launch: Launch, scope: str) -> float | None:
    return launch.measured.of(scope).joules if launch.measured else None


def _value(metric: Metric | None, n: int) -> str:
    """A metric's value of the ``n``-th launch."""
    return _number(metric.launches[n] if metric and n < len(metric.launches) else None)


def _number(value: float | None) -> str:
    return "–" if value is None else number(value)


def _metrics(results: Results) -> Iterator[tuple[str, Text]]:
    """The metrics with a value, the primary one first."""
    for name in sorted(results.metrics, key=lambda n: n != results.primary):
        metric = results.metrics[name]
        if metric.value is not None:
            yield names.metric(name, short=True), plain(mean(metric))


def _sealed(documents: Documents, results: Results) -> Iterator[tuple[str, str]]:
    size = short_bytes(sum(documents.sizes.values()))
    yield "sealed", f"{documents.run[:12]}, {count(len(documents.sizes), 'file')}, {size}"
    if results.notices:
        yield "notices", f"{count(len(results.notices), 'notice')}, which enter shows"
