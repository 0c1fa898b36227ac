"""Pieces of HTML; the only place where text of a run is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from markupsafe import Markup, escape

from kit.core.text import clean
from kit.energy.reasons import sentence
from kit.show.report import rounding


def text(value: object) -> Markup:
    """A value from a run as text: control characters removed, markup escaped."""
    return value if isinstance(value, Markup) else escape(clean(str(value)))


def tag(name: str, *inside: object, **attributes: str) -> Markup:
    """``<name …>inside</name>``; an attribute ``class_`` is written ``class``."""
    written = join(
        Markup(' {}="{}"').format(key.rstrip("_"), text(value)) for key, value in attributes.items()
    )
    return Markup("<{0}{1}>{2}</{0}>").format(name, written, join(inside))


def join(pieces: Iterable[object]) -> Markup:
    return Markup("").join(map(text, pieces))


def table(heads: Sequence[object], rows: Iterable[Sequence[object]], numeric: int = 1) -> Markup:
    """A table; columns from ``numeric`` on are aligned as numbers. It scrolls when too wide."""
    head = tag("tr", *(tag("th", h, scope="col") for h in heads))
    body = (tag("tr", *_cells(row, len(heads), numeric)) for row in rows)
    element = tag("table", tag("thead", head), tag("tbody", *body))
    return tag("div", element, class_="scroll")


def _cells(row: Sequence[object], columns: int, numeric: int) -> Iterator[Markup]:
    """Cells of a row; the last cell of a shorter row, a reason, spans the rest."""
    for i, cell in enumerate(row):
        missing = columns - len(row) if i == len(row) - 1 else 0
        if missing:
            yield tag("td", cell, class_="t", colspan=str(missing + 1))
        else:
            yield tag("td", cell, class_="n" if i >= numeric else "t")


def section(title: str, *inside: object, note: str = "") -> Markup:
    """A part of the page with its heading."""
    below = tag("p", note, class_="note") if note else ""
    return tag("section", tag("h2", title), below, *inside)


def facts(pairs: Iterable[tuple[str, object]]) -> Markup:
    """Names and values, two columns."""
    return tag(
        "dl", *(join([tag("dt", name), tag("dd", value)]) for name, value in pairs if value != "")
    )


def energy(value: rounding.Energy) -> Markup:
    """``915 J ± 3 (reading noise) ± 26 (sensor)``, or unmeasured."""
    rounded = rounding.joules(value)
    if rounded is None:
        return tag("span", "unmeasured", class_="absent", title=sentence(value.reason or ""))
    shown, unit, shares = rounded
    content = [text(f"{shown} {unit}")]
    if value.status == "estimated":
        content += [text(" "), tag("b", "estimated", class_="estimated")]
    return join([*content, tag("small", " ", " ".join(shares), class_="below")])


def absent(reason: object) -> Markup:
    """The reason in the place of a missing number."""
    return tag("span", f"unmeasured: {sentence(reason or '')}", class_="absent")
