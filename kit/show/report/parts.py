"""Pieces of HTML; the only place where text of a run is escaped."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from markupsafe import Markup, escape

from kit.core.text import clean
from kit.energy.reasons import sentence
from kit.show import rounding


def text(value: object) -> Markup:
    """A value from a run as text: control characters removed, markup escaped."""
    return value if isinstance(value, Markup) else escape(clean(str(value)))


def tag(name: str, *inside: object, **attributes: str) -> Markup:
    """``<name …>inside</name>``; ``class_`` is written ``class``, ``aria_label`` ``aria-label``."""
    written = join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), text(value))
        for key, value in attributes.items()
    )
    return Markup("<{0}{1}>{2}</{0}>").format(name, written, join(inside))


def join(pieces: Iterable[object]) -> Markup:
    return Markup("").join(map(text, pieces))


def table(
    heads: Sequence[object], rows: Iterable[Sequence[object]], caption: str, numeric: int = 1
) -> Markup:
    """A table with its caption; columns from ``numeric`` on are aligned as numbers.

    Each cell names its column, since a narrow page shows a row as a stack of cells.
    """
    titles = [
        tag("caption", caption),
        tag("thead", tag("tr", *(tag("th", h, scope="col") for h in heads))),
    ]
    body = (tag("tr", *_cells(row, heads, numeric)) for row in rows)
    return tag("table", *titles, tag("tbody", *body))


def _cells(row: Sequence[object], heads: Sequence[object], numeric: int) -> Iterator[Markup]:
    """Cells of a row; the last cell of a shorter row, a reason, spans the rest."""
    for i, cell in enumerate(row):
        missing = len(heads) - len(row) if i == len(row) - 1 else 0
        head = {"data-of": str(heads[i])} if i and heads[i] and not missing else {}
        kind = "n" if i >= numeric and not missing else "t"
        spans = {"colspan": str(missing + 1)} if missing else {}
        yield tag("td", cell, class_=kind, **spans, **head)


def figure(drawing: Markup, caption: str) -> Markup:
    """A drawing with its caption."""
    return tag("figure", drawing, tag("figcaption", caption))


def picture(source: str, words: str) -> Markup:
    """An image; ``words`` stand in its place where it cannot be seen."""
    return Markup('<img src="{}" alt="{}">').format(text(source), text(words))


def section(title: str, *inside: object, note: str = "") -> Markup:
    """A part of the page with its heading, which links lead to."""
    below = tag("p", note, class_="note") if note else ""
    return tag("section", tag("h2", title), below, *inside, id=slug(title))


def slug(title: str) -> str:
    """``energy-by-scope``: the anchor of a heading."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


# --- over the whole page ----------------------------------------------------------------------


def numbered(page: Markup) -> Markup:
    """``Table 3.`` and ``Figure 1.`` before each caption, in the order of the page.

    No run can make a caption of its own: all of its text is escaped.
    """
    counts: Counter[str] = Counter()

    def number(found: re.Match[str]) -> str:
        what = {"caption": "Table", "figcaption": "Figure"}[found[1]]
        counts[what] += 1
        name = f"{what} {counts[what]}"
        return f'{found[0]}<a id="{slug(name)}" href="#{slug(name)}">{name}.</a> '

    return Markup(re.sub(r"<(caption|figcaption)>", number, page))  # noqa: S704 - escaped already


def contents(page: Markup) -> Markup:
    """Links to every section of ``page``, in order."""
    found = re.findall(r'<section id="([a-z0-9-]+)"><h2>(.*?)</h2>', page)
    links = [tag("li", tag("a", Markup(title), href=f"#{name}")) for name, title in found]  # noqa: S704 - escaped already
    return tag("nav", tag("ol", *links), aria_label="Contents")


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
