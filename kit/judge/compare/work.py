"""Whether two runs were given the same work, and did it: prompts by token id, answers, model. Pure.

A ratio of energies means something only if the work is the same. What two runtimes make of one
prompt is shown by their token ids: with another template or tokenizer they are others, even where
there are as many.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from kit.core.model import PromptTokens, Record, Request, WeightsSpec
from kit.record.records import RunRecords

Same = Literal["same", "other", "unknown"]


class Point(Record, frozen=True, kw_only=True):
    """One thing that makes work the same: ``what`` it is, how it is here, and the evidence."""

    what: str
    same: Same
    evidence: str


class Work(Record, frozen=True, kw_only=True):
    """How the work of two runs compares, point by point.

    ``ids_differ`` says, with its evidence, that the same prompts became other token ids; it is
    empty where they did not, and where other prompts were asked for.
    """

    points: tuple[Point, ...]
    ids_differ: str = ""

    @property
    def same(self) -> Same:
        """``other`` if a point is, else ``unknown`` if a point is, else ``same``."""
        found = {point.same for point in self.points}
        return "other" if "other" in found else "unknown" if "unknown" in found else "same"


PROMPTS, ANSWERS, MODEL, CACHES = "prompts", "answers", "model", "caches"


def compare(a: RunRecords, b: RunRecords) -> Work:
    """How the work of ``b`` compares with that of ``a``."""
    points: dict[str, Callable[[RunRecords, RunRecords], tuple[Same, str]]] = {
        PROMPTS: _prompts,
        ANSWERS: _answers,
        MODEL: _model,
        CACHES: _caches,
    }
    made = ((what, *judged(a, b)) for what, judged in points.items())
    found = tuple(Point(what=w, same=s, evidence=e) for w, s, e in made)
    prompts = found[0]
    differ = prompts.same == "other" and _asked(a) == _asked(b)
    return Work(points=found, ids_differ=prompts.evidence if differ else "")


def _asked(records: RunRecords) -> list[Any]:
    """The measured prompts as they were asked: a chat's messages, or a text."""
    bodies = (r.body for r in records.schedule if r.stage == "measured")
    return [body.get("messages", body.get("prompt")) for body in bodies]


def _prompts(a: RunRecords, b: RunRecords) -> tuple[Same, str]:
    """The same token ids, in the order in which they are asked."""
    ours, theirs = _reported_ids(a), _reported_ids(b)
    asked = len(_asked(a))
    if _asked(a) != _asked(b):
        return "other", f"other prompts were asked for: {asked} and {len(_asked(b))} of them"
    for number in sorted(ours.keys() & theirs.keys()):
        x, y = ours[number], theirs[number]
        if x.ids_sha256 != y.ids_sha256:
            return "other", f"prompt {number} has other token ids: {_parting(x, y)}"
    if min(len(ours), len(theirs)) < asked:
        return _by_count(a, b)
    counts = sorted({line.count for line in ours.values()})
    span = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return "same", f"{asked} prompts, each the same token ids ({span} of them)"


def _reported_ids(records: RunRecords) -> dict[int, PromptTokens]:
    """The token ids that the server reported for each measured prompt, by its place."""
    reported = {line.index: line for line in records.prompts.get(0, ())}
    places = _places(records)
    return {place: reported[index] for index, place in places.items() if index in reported}


def _places(records: RunRecords) -> dict[int, int]:
    """The place of each measured request among them: indices depend on how many warm up."""
    indices = (r.index for r in records.schedule if r.stage == "measured")
    return {index: place for place, index in enumerate(indices)}


def _parting(a: PromptTokens, b: PromptTokens) -> str:
    counts = f"{a.count} against {b.count}"
    if a.ids is None or b.ids is None:
        return counts
    pairs = enumerate(zip(a.ids, b.ids, strict=False))
    at = next((i for i, (x, y) in pairs if x != y), min(a.count, b.count))
    return f"{counts}, they part at the {_nth(at + 1)}"


def _nth(number: int) -> str:
    ending = (
        "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    )
    return f"{number}{ending}"


def _by_count(a: RunRecords, b: RunRecords) -> tuple[Same, str]:
    """Where a server does not tell ids: whether it counted as many tokens for each prompt."""
    asked = len(_asked(a))
    told = {
        x.spec.runtime.name: len(_reported_ids(x)) for x in (b, a) if len(_reported_ids(x)) < asked
    }
    some = "all " if any(told.values()) else ""
    untold = f"{' and '.join(told)} does not tell {some}token ids"
    ours, theirs = (_counted(x) for x in (a, b))
    both = sorted(ours.keys() & theirs.keys())
    for number in both:
        if ours[number] != theirs[number]:
            counts = f"{ours[number]} against {theirs[number]} of them"
            return "other", f"{untold}; prompt {number} has {counts}"
    if len(both) < asked:
        return "unknown", f"{untold}, nor of every prompt how many there are"
    return "unknown", f"{untold}; there are as many"


def _counted(records: RunRecords) -> dict[int, int]:
    """How many tokens the server counted of each measured prompt, by its place."""
    places, first = _places(records), _measured(records)[:1]
    return {
        places[r.index]: r.prompt_tokens
        for of in first
        for r in of
        if r.index in places and r.prompt_tokens is not None
    }


def _answers(a: RunRecords, b: RunRecords) -> tuple[Same, str]:
    """Every request answered, with as many tokens in each answer."""
    lost = [_lost(x) for x in (a, b)]
    if any(lost):
        return "other", f"{lost[0]} and {lost[1]} requests were not answered"
    if a.makes != b.makes:
        return "other", f"{a.makes}s against {b.makes}s"
    if a.makes == "image":
        return _images(a, b)
    launches = [[[r.output_tokens for r in of] for of in _measured(x)] for x in (a, b)]
    known = [{tuple(sorted(n for n in of if n is not None)) for of in own} for own in launches]
    ours, theirs = ([n for of in own for n in of if n is not None] for own in launches)
    if not ours or not theirs or any(None in of for own in launches for of in own):
        return "unknown", "not every answer has a count of tokens"
    shortest, longest = min(ours + theirs), max(ours + theirs)
    if shortest == longest:
        return "same", f"{shortest} tokens in each answer"
    if known[0] == known[1]:
        return "same", f"{shortest} to {longest} tokens, as many in each answer"
    means = [sum(counts) / len(counts) for counts in (ours, theirs)]
    return "other", f"answers of {means[0]:.4g} tokens against {means[1]:.4g} in the mean"


def _images(a: RunRecords, b: RunRecords) -> tuple[Same, str]:
    """As many images of each request, of the same sides, in as many denoising steps."""
    ours, theirs = (_made(x) for x in (a, b))
    if ours == theirs:
        images = {(images, steps, sides) for images, steps, sides in ours.values()}
        if any(steps is None for _, steps, _ in images):
            return "unknown", "a server does not count its denoising steps"
        return "same", "as many images of each request, in as many steps"
    place = next(n for n in sorted(ours | theirs) if ours.get(n) != theirs.get(n))
    shown = [_shown(of.get(place)) for of in (ours, theirs)]
    return "other", f"request {place} has {shown[0]} against {shown[1]}"


Made = tuple[int, int | None, str]


def _made(records: RunRecords) -> dict[int, Made]:
    """What was made of each measured request of the first launch: images, steps, sides."""
    places, first = _places(records), min(records.responses, default=0)
    steps = {r.index: r.steps or None for r in records.requests.get(first, ())}
    return {
        places[r.index]: (
            len(r.images or ()),
            steps.get(r.index),
            " ".join(sorted({f"{image.width}x{image.height}" for image in r.images or ()})),
        )
        for r in records.responses.get(first, ())
        if r.index in places
    }


def _shown(made: Made | None) -> str:
    if made is None:
        return "no answer"
    images, steps, sides = made
    return f"{images} image(s) of {sides or 'no'} pixels in {steps or 'uncounted'} steps"


def _measured(records: RunRecords) -> list[list[Request]]:
    """The measured requests that were answered well, launch by launch."""
    return [
        [r for r in of if r.stage == "measured" and r.status == "ok"]
        for _, of in sorted(records.requests.items())
    ]


def _lost(records: RunRecords) -> int:
    """How many measured requests were not answered well."""
    of_all = (r for of in records.requests.values() for r in of)
    return sum(r.stage == "measured" and r.status != "ok" for r in of_all)


def _model(a: RunRecords, b: RunRecords) -> tuple[Same, str]:
    """The same files, or files that were made from the same ones."""
    ours, theirs = a.spec.weights, b.spec.weights
    if ours is None or theirs is None:
        return ("same", "none") if ours is theirs else ("other", "one has none")
    if _files(ours) == _files(theirs):
        return "same", f"the same {len(ours.files)} file(s)"
    if _roots(ours) == _roots(theirs):
        forms = " and ".join(_form(weights) for weights in (ours, theirs))
        return "same", f"{forms}, made from the same file: numbers are rounded otherwise"
    return "other", "other files, and neither is made from the other's"


def _files(weights: WeightsSpec) -> frozenset[str]:
    return frozenset(file.sha256 for file in weights.files)


def _roots(weights: WeightsSpec) -> frozenset[str]:
    """What the files were made from; themselves, if they are as published."""
    made_from = weights.derived.files if weights.derived else weights.files
    return frozenset(file.sha256 for file in made_from)


def _form(weights: WeightsSpec) -> str:
    return weights.derived.form if weights.derived else weights.files[0].path.rpartition(".")[2]


def _caches(a: RunRecords, b: RunRecords) -> tuple[Same, str]:
    """No prompt was answered from a cache."""
    counts = [[r.cached_tokens for of in _measured(x) for r in of] for x in (a, b)]
    hits = [sum(count or 0 for count in of) for of in counts]
    if any(hits):
        return "other", f"{hits[0]} and {hits[1]} prompt tokens came from a cache"
    silent = [x.spec.runtime.name for x, of in zip((a, b), counts, strict=True) if None in of]
    if silent or not all(counts):
        return "unknown", f"{' and '.join(dict.fromkeys(silent)) or 'a server'} does not tell"
    return "same", "no prompt token came from a cache"
