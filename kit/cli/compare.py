"""`kit compare`: two runs, or several against the first, as a table, JSON, CSV or LaTeX."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from string import ascii_uppercase
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from kit.cli.common import Json, Out, Run, Runs, as_json, deliver, find_run, say
from kit.cli.paths import STDOUT
from kit.core.errors import EXIT_INCONCLUSIVE, EXIT_OK, UsageError
from kit.judge import admission
from kit.show import render

if TYPE_CHECKING:
    from kit.judge.compare import Comparison
    from kit.judge.contrast import Contrast

Format = Literal["table", "json", "csv", "latex"]
By = Annotated[
    tuple[str, ...],
    Parameter(
        help="A field that differs by design, such as arrivals.concurrency, runtime, weights, "
        "image or machine; may be given several times. It does not stand in the way of a verdict.",
        negative="",
    ),
]


def compare(
    original: Run,
    *new: Run,
    by: By = (),
    runs: Runs = None,
    format: Format = "table",
    json: Json = False,
    out: Out = None,
) -> int:
    """Compare runs: their differences, and the ratio of every metric with its interval.

    Ends with 6 where the runs' prompts are not the same token ids: then nothing compares.

    Args:
        original: the run to compare with; its spec registered the margins.
        new: the run to judge. Several runs are shown side by side, a column for each.
        format: csv is a row per metric and run; latex is a tabular with a column per run.
    """
    if not 1 <= len(new) < len(ascii_uppercase):
        raise UsageError(
            "compare takes 2 to 26 runs", "name the original first: `kit ls` lists them"
        )
    format = "json" if json else format
    if format == "table" and out not in (None, STDOUT):
        raise UsageError("a table is drawn on standard output", "add --format csv, latex or json")
    paths = [find_run(name, runs) for name in (original, *new)]
    for path in paths:
        admission.admit(path, records=True)
    hashes = _hashes(paths)
    if len(paths) == 2 and len(hashes) == 1 and format == "table":
        _report_same(hashes[0])
        return EXIT_OK
    if len(hashes) < len(paths) and len(paths) > 2:
        raise UsageError("a run is named twice", "name each run once")
    shown = _pair if len(paths) == 2 and format in ("table", "json") else _several
    judged = shown(paths, by, format, out)
    others = any(one.work and one.work.ids_differ for one in judged)
    return EXIT_INCONCLUSIVE if others else EXIT_OK


def _hashes(paths: Sequence[Path]) -> list[str]:
    from kit.judge import replay as replaying

    return list(dict.fromkeys(replaying.hash_of(path) for path in paths))


def _report_same(run: str) -> None:
    sys.stdout.write(f"both are run {run}: every ratio is 1, and nothing was reproduced\n")
    say("name another run; `kit replay` makes one")


def _pair(
    paths: Sequence[Path], by: Sequence[str], format: Format, out: Path | None
) -> list[Comparison]:
    from kit.judge import replay as replaying

    original, new = paths
    with admission.malformed(new):
        judged = replaying.judge(original, new, by)
    if format == "json":
        deliver(as_json(replaying.as_dict(judged)), out)
    else:
        render.comparison(judged)
        _hint(judged)
    return [judged]


def _several(
    paths: Sequence[Path], by: Sequence[str], format: Format, out: Path | None
) -> list[Comparison]:
    from kit.show import sidebyside

    found = _contrast(paths, by)
    if format == "json":
        deliver(as_json(sidebyside.as_dict(found)), out)
    elif format == "table":
        from kit.show.render.sidebyside import sidebyside as put

        put(found)
        _hint(*found.judged.values())
    else:
        text = sidebyside.as_csv(found) if format == "csv" else sidebyside.as_latex(found)
        deliver(text.encode(), out)
    return list(found.judged.values())


def _contrast(paths: Sequence[Path], by: Sequence[str]) -> Contrast:
    from kit.judge import contrast
    from kit.judge import replay as replaying

    sides = []
    for letter, path in zip(ascii_uppercase, paths, strict=False):
        with admission.malformed(path):
            sides.append(contrast.Side(path, letter, *replaying.computed(path)))
    with admission.malformed(paths[-1]):
        return contrast.contrast(sides, sides[0], by)


def _hint(*comparisons: Comparison) -> None:
    """Which fields keep runs from being compared, and how to say that they are meant."""
    if fields := dict.fromkeys(field for judged in comparisons for field in _in_the_way(judged)):
        options = " ".join(f"--by {field}" for field in fields)
        say(f"if these differ by design, say so and the ratios get their verdicts: {options}")


def _in_the_way(judged: Comparison) -> list[str]:
    from kit.judge.compare import ranked

    works = [
        one.fact.removeprefix("spec: ") for one in ranked(judged) if one.meaning == "other work"
    ]
    fields = [fact.partition(".")[0] if len(works) > 3 else fact for fact in works]
    if judged.likeness == "other_model" and any("another model" in a.reason for a in judged.axes):
        fields.append("machine")
    return fields
