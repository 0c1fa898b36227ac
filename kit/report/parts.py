"""Pieces of HTML: everything that comes from a run is escaped here and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from kit.text import clean


class Html(str):
    """Markup that is ready to be put on a page; any other string is escaped first."""

    __slots__ = ()


def text(value: object) -> Html:
    """A value from a run as text: control characters removed, markup escaped."""
    return value if isinstance(value, Html) else Html(escape(clean(str(value))))


def tag(name: str, *inside: object, **attributes: str) -> Html:
    """``<name …>inside</name>``; an attribute ``class_`` is written ``class``."""
    written = "".join(f' {k.rstrip("_")}="{text(v)}"' for k, v in attributes.items())
    return Html(f"<{name}{written}>{''.join(text(i) for i in inside)}</{name}>")


def join(pieces: Iterable[object]) -> Html:
    return Html("".join(text(piece) for piece in pieces))


def table(heads: Sequence[object], rows: Iterable[Sequence[object]], numeric: int = 1) -> Html:
    """A table; columns from ``numeric`` on are aligned as numbers. It scrolls when too wide."""
    head = tag("tr", *(tag("th", h, scope="col") for h in heads))
    body = (
        tag("tr", *(tag("td", c, class_="n" if i >= numeric else "t") for i, c in enumerate(row)))
        for row in rows
    )
    whole = tag("table", tag("thead", head), tag("tbody", *body))
    return tag("div", whole, class_="scroll")


def section(title: str, *inside: object, note: str = "") -> Html:
    """A part of the page with its heading."""
    below = tag("p", note, class_="note") if note else ""
    return tag("section", tag("h2", title), below, *inside)


def facts(pairs: Iterable[tuple[str, object]]) -> Html:
    """Names and values, two columns."""
    return tag(
        "dl", *(join([tag("dt", name), tag("dd", value)]) for name, value in pairs if value != "")
    )


def number(value: float, digits: int = 4) -> str:
    """A value to ``digits`` significant digits, without exponent where that is readable."""
    if value == 0:
        return "0"
    shown = f"{value:.{digits}g}"
    return f"{value:,.0f}" if "e+" in shown and abs(value) < 1e9 else shown


def energy(value: Mapping[str, Any], unit: str = "J") -> Html:
    """``915 J ± 3 (repeat) ± 26 (sensor)``; what was not measured says so and why."""
    if value.get("status") == "unmeasured":
        return tag("span", "unmeasured", class_="absent", title=str(value.get("reason", "")))
    said = f"{number(value['joules'])} {unit}"
    estimated = value.get("status") == "estimated"
    words = (("u_repeat", "repeat"), ("u_sensor", "model" if estimated else "sensor"))
    shares = [f" ± {number(value[k], 2)} ({word})" for k, word in words if value.get(k)]
    spread = tag("small", *shares)
    if estimated:
        return join([said, spread, " ", tag("b", "estimated", class_="estimated")])
    return join([said, spread])
