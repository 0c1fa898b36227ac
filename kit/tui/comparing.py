"""Runs beside each other: what is read of each, what differs, and the table of metrics."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from kit.core.errors import KitError
from kit.judge.compare import Axis, Comparison
from kit.show.render.console import listing, plain
from kit.show.render.show import metric_name
from kit.show.render.verdicts import STATES
from kit.show.report.mean import short as stated
from kit.tui.base import mark
from kit.tui.written import short

if TYPE_CHECKING:
    from kit.record.records import RunRecords

FEW = 10
Rank = tuple[int, int]
Fact = tuple[str, str, str]
HEADS = ("metric", "unit", "baseline", "run", "ratio", "90% interval", "verdict", "reason")
# What decides is shown first where there is no room for all; a value only beside its unit.
_IMPORTANCE = (("ratio",), ("verdict",), ("90% interval",), ("unit", "baseline", "run"))
_MEANS = ("baseline", "run")
GAP = 2  # blanks between two columns
_REASON_LEAST = 24
# Metrics' names in fewer letters, the less telling words first.
_SHORTER = (("estimated ", "est. "), ("time to first", "first"), ("output token", "out. token"))
# Facts of a machine that bear on energy and speed by themselves.
_CONFOUNDERS = frozenset({"cpu", "gpus", "kernel", "memory", "nvidia", "power", "numa"})
# Those of them that move energy most, in this order; the rest may matter.
_MOVES_ENERGY = tuple(
    map(
        re.compile,
        (
            r"gpus(\..+)?\.name$|^gpus$",
            r"nvidia(\.driver)?$",
            r"power",
            r"clock|frequency",
            r"temperature",
            r"cpu\.model$",
        ),
    )
)
_LIKENESS = {"elsewhere": "the same model, other settings", "other_model": "another model"}


@dataclass(frozen=True)
class Side:
    """One run of a comparison: what it recorded, or why it cannot be read."""

    path: Path
    letter: str
    records: RunRecords | None = None
    results: dict[str, Any] | None = None
    fault: str = ""

    @property
    def name(self) -> str:
        """``A 639521454908``."""
        return f"{self.letter} {short(self.path)}"


@dataclass(frozen=True)
class Contrast:
    """The sides, the baseline among them, and the verdict on each other that can be read."""

    sides: tuple[Side, ...]
    baseline: Side
    judged: dict[str, Comparison]

    @property
    def others(self) -> tuple[Side, ...]:
        """The sides that were judged against the baseline."""
        return tuple(side for side in self.sides if side.letter in self.judged)


@dataclass(frozen=True)
class Difference:
    """One fact in which a side is unlike the baseline: its values by letter, and what it means."""

    path: str
    values: dict[str, str]
    meaning: Text


@dataclass(frozen=True)
class Line:
    """One metric of one side against the baseline; of a side that is left out only why."""

    side: Side
    axis: Axis | None
    cells: dict[str, Text]

    @property
    def reason(self) -> str:
        """Why its verdict is as it is."""
        return self.axis.reason if self.axis else self.side.fault


def side_of(path: Path, letter: str) -> Side:
    """Read and recompute a run; one that does not verify gives no number."""
    from kit.judge import door
    from kit.judge import replay as replaying

    try:
        if not door.verify(path).passed:
            return Side(path, letter, fault="does not verify (v tells why)")
        return Side(path, letter, *replaying.computed(path))
    except KitError as error:
        return Side(path, letter, fault=error.message)
    except (OSError, ValueError) as error:
        return Side(path, letter, fault=f"cannot be read: {error}")


def contrast(sides: Sequence[Side], baseline: Side) -> Contrast:
    """Judge every other readable side against ``baseline``."""
    from kit.judge import replay as replaying

    if baseline.records is None:
        return Contrast(tuple(sides), baseline, {})
    others = [side for side in sides if side.records and side is not baseline]
    judged = {side.letter: replaying.judge(baseline.path, side.path) for side in others}
    return Contrast(tuple(sides), baseline, judged)


# --- what differs ---------------------------------------------------------------------------


def differences(found: Contrast) -> list[Difference]:
    """What moves energy most first, then what the specs ask differently, then the rest."""
    merged: dict[tuple[Rank, str], tuple[dict[str, str], Text]] = {}
    for letter, judged in found.judged.items():
        for rank, path, there, here, meaning in _of(judged):
            values, _ = merged.setdefault((rank, path), ({found.baseline.letter: there}, meaning))
            values[letter] = here
    return [Difference(p, v, m) for (_, p), (v, m) in sorted(merged.items(), key=lambda i: i[0])]


def _of(judged: Comparison) -> list[tuple[Rank, str, str, str, Text]]:
    from kit.judge.compare.likeness import is_work

    confounder, quiet = mark("warn", "confounder"), mark("skip", "recorded")
    meanings = {1: confounder, 3: mark("skip", "may matter"), 5: quiet}
    found: list[tuple[Rank, str, str, str, Text]] = []
    if judged.likeness in _LIKENESS:
        found.append(((0, 0), "machine", "–", _LIKENESS[judged.likeness], confounder))
    if judged.image == "DIFFERENT":
        found.append(((0, 0), "image", "–", "another image", confounder))
    absent = {path for path, *values in judged.differences if any(map(_is_absent, values))}
    for path, there, here in _alike(judged.differences):
        rank = _rank(path, implied=path.partition(".")[0] in absent)
        found.append((rank, path, there, here, meanings[rank[0]]))
    for each in judged.asked:
        work = is_work(each)
        asked = mark("running", "asked, other work") if work else mark("skip", "asked")
        found.append(((2 if work else 4, 0), f"spec: {each[0]}", each[1], each[2], asked))
    return found


def _is_absent(value: str) -> bool:
    return value.startswith("absent: ")


def _rank(path: str, *, implied: bool) -> Rank:
    """How much a fact of the machine weighs: 1 and which of those that move energy, 3, or 5.

    Args:
        implied: the other machine has nothing of the kind, so that beyond the name all differs.
    """
    if path.partition(".")[0] not in _CONFOUNDERS:
        return (5, 0)
    moves = [n for n, pattern in enumerate(_MOVES_ENERGY) if pattern.search(path)]
    return (1, moves[0]) if moves and not (implied and moves[0] > 1) else (3, 0)


def _alike(found: Iterable[Fact]) -> list[Fact]:
    """The same difference of several GPUs as one: ``gpus.*.name``."""
    groups: dict[Fact, list[Fact]] = {}
    for path, there, here in found:
        key = (re.sub(r"^gpus\.gpu\d+\.", "gpus.*.", path), there, here)
        groups.setdefault(key, []).append((path, there, here))
    return [key if len(facts) > 1 else facts[0] for key, facts in groups.items()]


def differences_table(found: Contrast, shown: Sequence[Difference], most: int = 48) -> Table:
    """Fact by fact: the baseline's value, each other's, and what it means.

    Args:
        most: characters of a value before it is cut.
    """
    sides = [found.baseline, *found.others]
    fold: dict[str, Any] = {"overflow": "fold"}
    table = listing(("fact", fold), *((s.letter, fold) for s in sides), ("", {"no_wrap": True}))
    for row in shown:
        values = [_cut(row.values.get(side.letter, "="), most) for side in sides]
        table.add_row(plain(row.path), *values, row.meaning)
    return table


def _cut(value: str, most: int) -> Text:
    return plain(value if len(value) <= most else f"{value[: most - 1]}…")


# --- metrics --------------------------------------------------------------------------------


def metrics(found: Contrast, order: str = "primary") -> list[Line]:
    """A line for each metric and other side; metrics that neither side has are left out.

    A run that cannot be read comes first: so it can be chosen, told of, and removed.

    Args:
        order: ``primary`` first, furthest ``ratio`` first, or by ``name``.
    """
    told = [
        (side, axis)
        for side in found.others
        for axis in found.judged[side.letter].axes
        if _is_told(found.baseline, axis) or _is_told(side, axis)
    ]
    places = [axis.metric for judged in found.judged.values() for axis in judged.axes]
    keys: dict[str, Callable[[tuple[Side, Axis]], Any]] = {
        "primary": lambda one: (places.index(one[1].metric), one[0].letter),
        "ratio": lambda one: -_distance(one[1]),
        "name": lambda one: (_name(one[1]), one[0].letter),
    }
    lines = [
        Line(side, axis, _cells(found.baseline, side, axis))
        for side, axis in sorted(told, key=keys[order])
    ]
    return [*(_left_out(side) for side in found.sides if side.fault), *lines]


def _left_out(side: Side) -> Line:
    said = {
        "metric": plain(side.name),
        "verdict": mark("fail", "left out"),
        "reason": plain(side.fault, "quiet"),
    }
    return Line(side, None, {heading: said.get(heading, Text("–")) for heading in HEADS})


def _name(axis: Axis) -> str:
    return metric_name(axis.metric).replace(" per ", "/")


def _is_told(side: Side, axis: Axis) -> bool:
    return bool(_metric(side, axis).get("status", "unmeasured") != "unmeasured")


def _distance(axis: Axis) -> float:
    return abs(math.log(axis.ratio)) if axis.ratio else -1.0


def _metric(side: Side, axis: Axis) -> dict[str, Any]:
    told: dict[str, Any] = (side.results or {}).get("metrics", {}).get(axis.metric, {})
    return told


def _cells(baseline: Side, side: Side, axis: Axis) -> dict[str, Text]:
    there, here = _metric(baseline, axis), _metric(side, axis)
    ratio = f"{axis.ratio:.3f}×" if axis.ratio is not None else "–"
    word = axis.verdict.lower().replace("-", " ")
    return {
        "metric": plain(_name(axis)),
        "unit": plain(_unit(there)),
        "baseline": plain(stated(there)),
        "run": plain(stated(here)),
        "ratio": plain(f"{side.letter}/{baseline.letter} {ratio}"),
        "90% interval": plain("{:.3f} – {:.3f}".format(*axis.ci90) if axis.ci90 else "–"),
        "verdict": mark(STATES.get(axis.verdict, "skip"), word),
        "reason": plain(axis.reason, "quiet"),
    }


def _unit(metric: dict[str, Any]) -> str:
    unit = str(metric.get("unit", ""))
    return {"sha256": "", "tokens/s": "tok/s"}.get(unit, unit)


def columns(lines: Sequence[Line], room: int) -> dict[str, int]:
    """The columns that are whole in ``room`` columns of the terminal, with their widths.

    The metric's name gives way first, then columns go by importance: no number is ever cut.
    """
    wide = {h: max([len(h), *(line.cells[h].cell_len for line in lines)]) for h in HEADS}
    brief = max([len("metric"), *(len(_briefest(line.cells["metric"].plain)) for line in lines)])
    left, found = room - min(brief, room), {"metric": brief}
    for group in _IMPORTANCE:
        widths = {heading: wide[heading] for heading in group}
        if sum(widths.values()) + GAP * len(group) > left:
            widths = {heading: _bare_width(lines, heading, wide[heading]) for heading in group}
        need = sum(widths.values()) + GAP * len(group)
        if need > left:
            break
        left -= need
        found |= widths
    else:
        # A reason is a sentence: it is told in full below the table, and may be cut in it.
        if left >= _REASON_LEAST + GAP:
            found["reason"] = min(wide["reason"], left - GAP - min(wide["metric"] - brief, 8))
            left -= found["reason"] + GAP
    found["metric"] += max(0, min(left, wide["metric"] - brief))
    return {heading: found[heading] for heading in HEADS if heading in found}


def _bare_width(lines: Sequence[Line], heading: str, wide: int) -> int:
    """The width of a column of means without their uncertainties."""
    if heading not in _MEANS:
        return wide
    return max([len(heading), *(len(_bare(line.cells[heading].plain)) for line in lines)])


def _bare(mean: str) -> str:
    return mean.partition(" ±")[0]


def cell(line: Line, heading: str, width: int) -> Text:
    """What of ``line`` stands in a column; only words are ever cut, and means lose their ±."""
    text = line.cells[heading].copy()
    if heading == "metric":
        text = plain(_shorter(text.plain, width))
    elif heading in _MEANS and text.cell_len > width:
        text = plain(_bare(text.plain))
    text.truncate(width, overflow="ellipsis")
    return text


def _shorter(name: str, width: int) -> str:
    """A metric's name in as few letters as ``width`` asks for."""
    for long, brief in _SHORTER:
        if len(name) <= width:
            break
        name = name.replace(long, brief)
    return name


def _briefest(name: str) -> str:
    return _shorter(name, 0)


def metrics_table(lines: Sequence[Line]) -> Table:
    """The metrics as a text to copy."""
    words = {"metric", "reason"}
    table = listing(
        *((h, {"overflow": "fold"} if h in words else {"no_wrap": True}) for h in HEADS)
    )
    for line in lines:
        table.add_row(*(line.cells[heading] for heading in HEADS))
    return table
