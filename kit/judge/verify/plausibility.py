"""L5: records that agree with their hashes and formulas must also agree with one another."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from kit.core.model import Manifest, Phase, Request, Response
from kit.core.units import NS
from kit.energy import Energy
from kit.energy.reasons import sentence
from kit.energy.used import Launch, unused
from kit.judge.verify.verdict import Check, check, judged
from kit.record.phases import BLOCKS
from kit.record.records import RunRecords

Blocks = dict[tuple[str, str | None], Phase]
_TIMER_SHARE = 0.01
_NOT_YET = "counters against power, caps, clocks and throughput are not checked in this version"


def checks(records: RunRecords, energy: Energy, manifest: Manifest) -> list[Check]:
    """Compare windows with requests and spec, and the times of each request with one another."""
    is_complete = manifest.status == "complete"
    return [
        judged("WINDOW_SHIFTED", _windows(records, is_complete), "phases hold what they must hold"),
        judged("TIMES_INCONSISTENT", _times(records), "times of every request fit"),
        _readings(energy),
        *_gpus(records, energy),
        check("PLAUSIBILITY", "SKIP", _NOT_YET),
    ]


def _readings(energy: Energy) -> Check:
    """WARN with doubts that nothing settles: readings beyond what a device can do, or views of
    one device that contradict each other."""
    try:
        doubts = energy.doubts()
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # The plan's facts make no sense; level 4 checks the numbers that follow from them.
        reason = f"the readings cannot be judged by this plan ({type(error).__name__})"
        return check("READINGS_DOUBTED", "WARN", reason)
    doubted = [sentence(doubt.as_reason()) for doubt in doubts if not doubt.settled]
    if not doubted:
        return check("READINGS_DOUBTED", "PASS", "readings are within their devices' limits")
    more = f" (and {len(doubted) - 2} more)" if len(doubted) > 2 else ""
    return check("READINGS_DOUBTED", "WARN", "; ".join(doubted[:2]) + more)


def _gpus(records: RunRecords, energy: Energy) -> Iterator[Check]:
    """WARN if nobody took memory on a GPU between a launch's begin and the end of its last loaded
    idle: the runtime worked on the CPU. A run of today fails then; older kits sealed it."""
    launches = dict(_launches(records))
    if not records.spec.devices.gpus or not launches:
        return
    idle = [
        f"launch {n}: nobody took memory on {gpu}"
        for n, launch in launches.items()
        for gpu in unused(energy.believed, records.plan.meters, launch)
    ]
    if idle:
        yield check("GPU_UNUSED", "WARN", f"{'; '.join(idle[:3])}: its energy is not the work's")
    else:
        yield check("GPU_UNUSED", "PASS", "no GPU is known to have been left unused")


def _launches(records: RunRecords) -> Iterator[tuple[int, Launch]]:
    """The launches with a whole measured block."""
    blocks: dict[int, dict[tuple[str, str | None], Phase]] = {}
    for p in records.phases:
        blocks.setdefault(p.launch, {})[p.name, p.part] = p
    for n, block in sorted(blocks.items()):
        begin, measured = block.get(("startup", None)), block.get(("measured", None))
        if begin is None or measured is None:
            continue
        warmup = block.get(("warmup", None)) if records.spec.phases.warmup_requests else None
        idle = block.get(("idle", "before"), begin)
        end = block.get(("loaded_idle", "after"), measured)
        yield n, Launch(idle.t0, begin.t0, (warmup or measured).t1, end.t1)


def _windows(records: RunRecords, is_complete: bool) -> Iterator[str]:
    for launch in sorted({p.launch for p in records.phases}):
        blocks: Blocks = {(p.name, p.part): p for p in records.phases if p.launch == launch}
        yield from _order(blocks, launch)
        yield from _outside(records, blocks, launch)
        if is_complete:
            yield from _short(records, blocks, launch)


def _order(blocks: Blocks, launch: int) -> Iterator[str]:
    present = [blocks[key] for key in BLOCKS if key in blocks]
    for before, after in pairwise(present):
        if after.t0 < before.t1:
            yield f"launch {launch}: {after.name} begins before {before.name} ends"


def _outside(records: RunRecords, blocks: Blocks, launch: int) -> Iterator[str]:
    for request in records.requests.get(launch, ()):
        block = blocks.get((request.stage, None))
        if block is None or request.sent is None:
            continue
        if request.sent < block.t0 or request.done > block.t1:
            yield f"launch {launch}: request {request.index} lies outside its {block.name} block"


def _short(records: RunRecords, blocks: Blocks, launch: int) -> Iterator[str]:
    least_s = {"idle": records.spec.phases.idle_s, "loaded_idle": records.spec.phases.loaded_idle_s}
    for (name, _), block in blocks.items():
        seconds = (block.t1 - block.t0) * NS
        if seconds < least_s.get(name, 0.0) * (1 - _TIMER_SHARE):
            yield f"launch {launch}: {name} took {seconds:.2f} s, the spec asks {least_s[name]:g} s"


def _times(records: RunRecords) -> Iterator[str]:
    for launch, requests in records.requests.items():
        answers = {r.index: r for r in records.responses.get(launch, ())}
        for request in requests:
            problem = _time_problem(request, answers.get(request.index))
            if problem:
                yield f"launch {launch} request {request.index}: {problem}"


def _time_problem(request: Request, answer: Response | None) -> str | None:
    """What is wrong with a request's times, or None.

    They must be in order, from due to done, and its first and last token its first and last chunk.
    """
    stations = (
        request.sent,
        request.first_byte,
        request.first_token,
        request.last_token,
        request.done,
    )
    present = [t for t in stations if t is not None]
    if present != sorted(present):
        return "its times run backwards"
    if request.sent is not None and request.sent < request.intended:
        return "it was sent before it was due"
    chunks = answer.chunk_times if answer else ()
    if list(chunks) != sorted(chunks):
        return "its chunks run backwards"
    ends = (chunks[0], chunks[-1]) if chunks else (None, None)
    if answer is not None and ends != (request.first_token, request.last_token):
        return "its first and last token are not its first and last chunk"
    return None
