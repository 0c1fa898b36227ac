"""Which differences of two runs may explain a difference in energy or speed: ranked. Pure.

A *confounder* is a fact of the machine, or of the image, that changes energy by itself: where it
differs, a ratio shows more than what was to be compared. The order is: what differs by design
(`kit.judge.compare.design`); another machine or image; facts that change energy (GPU model, driver,
power caps, clocks, temperature, CPU model); other work in the specs; facts that may matter; other
differences of the specs; facts that were only recorded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from kit.judge.compare import design
from kit.judge.compare.equivalence import Comparison
from kit.judge.compare.likeness import Difference, is_work

Meaning = Literal["by design", "confounder", "other work", "may matter", "asked", "recorded"]
Weight = tuple[int, int]

_MEANINGS: tuple[Meaning, ...] = (
    "confounder",  # another machine or image as a whole
    "confounder",
    "other work",
    "may matter",
    "asked",
    "recorded",
)
_BY_DESIGN: Weight = (-1, 0)
# Facts of a machine that bear on energy and speed by themselves.
_BEARING = frozenset({"cpu", "gpus", "kernel", "memory", "nvidia", "power", "numa"})
# Those of them that change energy most, in this order; the rest may matter.
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


class Ranked(NamedTuple):
    """A fact in which two runs differ; the one with the least ``weight`` matters most.

    Attributes:
        fact: its path in the fingerprint, ``spec: `` and its path in the spec, or ``machine`` and
            ``image`` as a whole, whose ``new`` is then how they compare and ``original`` is empty.
    """

    weight: Weight
    fact: str
    original: str
    new: str

    @property
    def meaning(self) -> Meaning:
        """What the difference means for energy and speed."""
        return "by design" if self.weight == _BY_DESIGN else _MEANINGS[self.weight[0]]

    @property
    def is_whole(self) -> bool:
        """Whether it is about the machine or the image as a whole."""
        return self.fact in (design.MACHINE, design.IMAGE)


def ranked(judged: Comparison) -> tuple[Ranked, ...]:
    """Every difference of two runs, the most important first; one of several GPUs only once."""
    return tuple(sorted((*_wholes(judged), *_facts(judged), *_specs(judged))))


def _wholes(judged: Comparison) -> Iterator[Ranked]:
    if judged.likeness in ("elsewhere", "other_model"):
        paths = [path for path, *_ in judged.differences]
        is_meant = bool(judged.by) and (
            design.MACHINE in judged.by
            or (judged.likeness == "other_model" and design.covers_model(judged.by, paths))
        )
        yield Ranked(_BY_DESIGN if is_meant else (0, 0), design.MACHINE, "", judged.likeness)
    if judged.image == "DIFFERENT":
        is_meant = design.covers(judged.by, design.IMAGE)
        yield Ranked(_BY_DESIGN if is_meant else (0, 0), design.IMAGE, "", judged.image)


def _facts(judged: Comparison) -> Iterator[Ranked]:
    meant = [one for one in judged.differences if design.covers_machine(judged.by, one[0])]
    for path, there, here in _alike(meant):
        yield Ranked(_BY_DESIGN, path, there, here)
    for path, there, here in _alike(one for one in judged.differences if one not in meant):
        implied = path.partition(".")[0] in judged.absent
        yield Ranked(_weight(path, implied=implied), path, there, here)


def _specs(judged: Comparison) -> Iterator[Ranked]:
    for difference in judged.asked:
        path, there, here = difference
        weight = (2 if is_work(difference) else 4, 0)
        is_meant = design.covers(judged.by, path)
        yield Ranked(_BY_DESIGN if is_meant else weight, f"{design.SPEC}{path}", there, here)


def _weight(path: str, *, implied: bool) -> Weight:
    """The weight of a fact of the machine: 1 and its rank where it changes energy, else 3 or 5.

    Args:
        implied: one machine has no such device, so that all facts of it differ.
    """
    if path.partition(".")[0] not in _BEARING:
        return (5, 0)
    moves = [n for n, pattern in enumerate(_MOVES_ENERGY) if pattern.search(path)]
    return (1, moves[0]) if moves and not (implied and moves[0] > 1) else (3, 0)


def _alike(differences: Iterable[Difference]) -> list[Difference]:
    """One difference for several GPUs that share it: ``gpus.*.name``."""
    groups: dict[Difference, list[Difference]] = {}
    for path, there, here in differences:
        key = (re.sub(r"^gpus\.gpu\d+\.", "gpus.*.", path), there, here)
        groups.setdefault(key, []).append((path, there, here))
    return [key if len(facts) > 1 else facts[0] for key, facts in groups.items()]
