"""Verdicts of a replay and of a comparison: the number first, then its evidence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from kit.energy import names
from kit.show.mean import HEADING, LEGEND, mean
from kit.show.render.console import Badge, grid, plain, put, stdout, with_badge

if TYPE_CHECKING:
    from kit.judge.compare import Axis, Comparison, Meaning, Work

# A verdict's badge, for both faces.
STATES = {
    "REPRODUCED": "ok",
    "EQUIVALENT": "ok",
    "DIFFERENT": "fail",
    "FAILED": "fail",
    "INCONCLUSIVE": "warn",
    "NOT-COMPARABLE": "skip",
}
# The meaning of a difference, as badge and words, for both faces.
MEANINGS: dict[Meaning, tuple[str, str]] = {
    "by design": ("mark", "by design"),
    "confounder": ("warn", "confounder"),
    "other work": ("running", "asked, other work"),
    "may matter": ("skip", "may matter"),
    "asked": ("skip", "asked"),
    "recorded": ("skip", "recorded"),
}
_WHOLES = {
    "elsewhere": "the same model, other settings",
    "other_model": "another model",
    "DIFFERENT": "another image",
}
_LIKENESS = {
    "same_card": "the very same machine",
    "same_model": "the same model, cap and driver",
    "elsewhere": "the same model under other settings",
    "other_model": "another model of GPU or CPU",
}
_IMAGES = {
    "IDENTICAL": "ok",
    "REWRAPPED": "ok",
    "DIFFERENT": "warn",
}


def comparison(comparison: Comparison) -> None:
    """Print a replay's or a comparison's verdict.

    The primary metric first, then every other axis, image and machine, and all differences,
    confounders first.
    """
    put(stdout(), comparison_view(comparison))


def comparison_view(comparison: Comparison) -> Group:
    """A replay's or a comparison's verdict to draw."""
    return Group(
        _headline(comparison.primary),
        *_by_design(comparison),
        *_work(comparison),
        Text(),
        _axes([axis for axis in comparison.axes if axis != comparison.primary]),
        *_means(comparison),
        Text(),
        _machines(comparison),
        *_differences(comparison),
    )


def _headline(axis: Axis) -> Table:
    """``✔ EQUIVALENT  GPU energy per output token ×1.021 [0.998, 1.044], margin ±10%``."""
    text = plain(_numbers(axis), "name")
    text.append_text(plain(f"  {axis.reason}" if axis.reason else "", "quiet"))
    return with_badge(STATES[axis.verdict], text, axis.verdict)


_SHORT = 60  # characters of two values that fit beside their name


def _by_design(comparison: Comparison) -> list[RenderableType]:
    """``by design  arrivals.concurrency: 1 → 8``, or that a field does not differ."""
    from kit.judge.compare.design import covers

    lines = [
        f"{path}: {there} → {here}"
        for path, there, here in comparison.by_design
        if len(there) + len(here) <= _SHORT  # the table of differences has them all
    ]
    paths = [path for path, *_ in comparison.by_design]
    whole = comparison.image == "DIFFERENT", comparison.likeness in ("elsewhere", "other_model")
    paths += [word for word, differs in zip(("image", "machine"), whole, strict=True) if differs]
    same = [one for one in comparison.by if not any(covers([one], path) for path in paths)]
    lines += [f"{field}: the two runs do not differ in it" for field in same]
    return [with_badge("mark", plain(line), "by design") for line in lines]


# How equal the work of two runs is, as badge and words, for both faces.
WORK = {
    "same": ("ok", "equal work"),
    "unknown": ("skip", "work not shown"),
    "other": ("fail", "not equal work"),
}


def _work(comparison: Comparison) -> list[RenderableType]:
    """Whether the work was the same; of one spec only what is known, since nothing else differs."""
    work = comparison.work
    of_one_spec = not comparison.asked and work is not None and work.same == "unknown"
    return [] if of_one_spec else work_lines(work)


def work_lines(work: Work | None, name: str = "") -> list[RenderableType]:
    """Whether two runs did the same work: its points, those that are not the same first.

    Args:
        name: the run's name, where several are compared with one.
    """
    if work is None:
        return []
    badge, words = WORK[work.same]
    rank = ("other", "unknown", "same")
    points = sorted(work.points, key=lambda point: rank.index(point.same))
    told = "; ".join(f"{point.what}: {point.evidence}" for point in points)
    return [with_badge(badge, plain(f"{name}: {told}" if name else told), words)]


def _axes(axes: Sequence[Axis]) -> Table:
    """One line for each axis; axes with the same verdict and no number share one."""
    table = grid({"no_wrap": True}, {"overflow": "fold"})
    shared: dict[tuple[str, str], list[str]] = {}
    for axis in axes:
        if axis.ratio is not None:
            text = plain(_numbers(axis))
            text.append_text(plain(f"  {axis.reason}" if axis.reason else "", "quiet"))
            table.add_row(Badge(STATES[axis.verdict], axis.verdict), text)
        else:
            shared.setdefault((axis.verdict, axis.reason), []).append(names.metric(axis.metric))
    for (verdict, reason), metrics in shared.items():
        text = plain(", ".join(metrics)).append_text(plain(f"  {reason}", "quiet"))
        table.add_row(Badge(STATES[verdict], verdict), text)
    return table


def _numbers(axis: Axis) -> str:
    """``GPU energy per output token ×1.021 [0.998, 1.044], margin ±5%``."""
    parts = [names.metric(axis.metric)]
    if axis.ratio is not None:
        parts.append(f"×{axis.ratio:.3f}")
    if axis.ci90 is not None:
        parts.append(f"[{axis.ci90[0]:.3f}, {axis.ci90[1]:.3f}]")
    joined = " ".join(parts)
    return f"{joined}, margin ±{axis.margin:.0%}" if axis.margin is not None else joined


def _means(comparison: Comparison) -> list[RenderableType]:
    """The means of the ratios: each side's mean with its uncertainty."""
    both = [axis for axis in comparison.axes if axis.original and axis.new]
    if not both:
        return []
    table = grid({"overflow": "fold"}, {"overflow": "fold"}, {"overflow": "fold"})
    table.add_row(*(plain(heading, "name") for heading in (HEADING, "original", "new")))
    for axis in both:
        sides = (plain(mean(side)) for side in (axis.original, axis.new) if side)
        table.add_row(plain(names.metric(axis.metric)), *sides)
    return [Text(), table, plain(LEGEND, "quiet")]


def _machines(comparison: Comparison) -> Table:
    table = grid({"no_wrap": True}, {"overflow": "fold"})
    state = _IMAGES[comparison.image]
    table.add_row(Badge(state, "image"), plain(comparison.image))
    likeness = plain(_LIKENESS[comparison.likeness])
    table.add_row(
        Badge("skip" if comparison.likeness == "other_model" else "ok", "machine"), likeness
    )
    return table


def difference_value(value: str, is_whole: bool) -> str:
    """A value of a ranked difference as text."""
    return (_WHOLES.get(value, value) or "–") if is_whole else value


def _differences(comparison: Comparison) -> list[RenderableType]:
    """Differences and what they may explain: confounders first."""
    from kit.judge.compare import ranked

    if not (rows := ranked(comparison)):
        return [plain("nothing that was recorded of the two environments differs", "quiet")]
    fold: dict[str, Any] = {"overflow": "fold"}
    table = grid({"no_wrap": True, "style": "quiet"}, fold, fold, {"no_wrap": True})
    table.add_row(*(plain(head, "name") for head in ("differs", "original", "new", "it means")))
    for row in rows:
        values = (plain(difference_value(v, row.is_whole)) for v in (row.original, row.new))
        table.add_row(plain(row.fact), *values, Badge(*MEANINGS[row.meaning]))
    return [Text(), table]
