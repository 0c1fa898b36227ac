"""L4: the load driver's own report against its records: counts, lateness, duration of a stage.

Also the time that a server reports: no answer can take less time than the server worked on it.

If a driver or a runner stands still at the end of a stage, the stage ends late. That is a doubt if
a standstill of runner or samplers explains the delay; a short delay is usual. A stage never ends
before its requests.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kit.core.model import Request, Response
from kit.core.units import NS
from kit.judge.verify.standstill import Standstills
from kit.judge.verify.verdict import Check, check, judged
from kit.record.records import RunRecords

# From the last byte of a stage to the driver's end of the stage; and until the runner, which
# waits for the driver's report, ends the phase.
_WALL_S, _PHASE_S, _PHASE_SHARE = 0.25, 5.0, 0.1
_ROUNDED_NS = 1_000_000
# A server rounds its times, and may use another clock.
_SERVER_S, _SERVER_SHARE = 0.01, 0.02
# No vocabulary has this many tokens (the largest have some hundred thousand).
_TOKENS = 1 << 24
_STAGES = ("warmup", "measured")
_FIGURES = frozenset({"requests", "ok", "failed", "chunks", "wall_ns", "lag_max_ns", "cpu_share"})
_JOURNALLED = ("ok", "failed", "cpu_share", "lag_p99_ns")


def checks(records: RunRecords, *, is_complete: bool) -> list[Check]:
    """Compare every stage of every launch with its records, and every answer with the server's.

    Args:
        is_complete: the run is complete, so that its driver must have reported everything.
    """
    try:
        problems = [*_stages(records, is_complete), *_answers(records)]
        still = Standstills(records)
        late = list(_late(records, still))
        ends = list(_ends(records, still)) if is_complete else []
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        return [
            check("DRIVER_DIFFERS", "FAIL", f"driver.json is malformed ({type(error).__name__})")
        ]
    problems += [message for message, excused in (*late, *ends) if not excused]
    doubts = [message for message, excused in (*late, *ends) if excused]
    fine = "the driver's counts and times are its records'"
    return [judged("DRIVER_DIFFERS", problems, fine, doubts)]


def _stages(records: RunRecords, is_complete: bool) -> Iterator[str]:
    journal = {
        (e.data["launch"], e.data["stage"]): e.data
        for e in records.events
        if e.kind == "stage.done"
    }
    due = {r.index: r.at_ns or 0 for r in records.schedule}
    for launch, report in records.driver.items():
        stages = report.get("stages", {})
        if strange := set(stages) - set(_STAGES):
            yield f"launch {launch}: the driver reports a stage {min(strange)[:20]!a}"
        for name in _STAGES:
            where = f"launch {launch} {name}"
            own = [r for r in records.requests.get(launch, ()) if r.stage == name]
            figures, journalled = stages.get(name), journal.get((launch, name))
            if figures is None:
                if is_complete and (journalled is not None or own):
                    yield f"{where}: the driver says nothing of it"
                continue
            if is_complete and (gone := _FIGURES - figures.keys()):
                yield f"{where}: the driver does not say its {min(gone)}"
            yield from (f"{where}: {problem}" for problem in _counts(records, launch, own, figures))
            yield from (f"{where}: {problem}" for problem in _times(own, figures, due))
            if journalled is not None and any(
                journalled.get(key) != figures.get(key) for key in _JOURNALLED
            ):
                yield f"{where}: the journal says otherwise than the driver"


def _counts(
    records: RunRecords, launch: int, own: list[Request], figures: Mapping[str, Any]
) -> Iterator[str]:
    good = sum(r.status == "ok" for r in own)
    indices = {r.index for r in own}
    answers = [r for r in records.responses.get(launch, ()) if r.index in indices]
    counted = {
        "requests": len(own),
        "ok": good,
        "failed": len(own) - good,
        "chunks": sum(len(r.chunk_times) for r in answers),
    }
    for key, value in counted.items():
        if figures.get(key, value) != value:
            yield f"{value} {key}, the driver counted {figures[key]!a}"


def _times(own: list[Request], figures: Mapping[str, Any], due: Mapping[int, int]) -> Iterator[str]:
    sent = [r for r in own if r.sent is not None]
    lags = [r.sent - r.intended for r in sent if r.sent is not None]
    latest = figures.get("lag_max_ns")
    if lags and latest is not None and latest != max(lags):
        yield f"requests left up to {max(lags)} ns late, the driver says {latest!a}"
    if not sent or "wall_ns" not in figures:
        return
    begin = min(r.intended - due.get(r.index, 0) for r in own)
    if figures["wall_ns"] < max(r.done for r in sent) - begin - _ROUNDED_NS:
        yield "its last request ends after the driver says that the stage did"


def _late(records: RunRecords, still: Standstills) -> Iterator[tuple[str, bool]]:
    """Stages that ended late by the driver's report, and whether a standstill explains it."""
    due = {r.index: r.at_ns or 0 for r in records.schedule}
    for launch, report in records.driver.items():
        stages = report.get("stages", {})
        for name, figures in ((name, stages[name]) for name in _STAGES if name in stages):
            own = [r for r in records.requests.get(launch, ()) if r.stage == name]
            # A stage that was ended early may still have waited for its next request.
            if not own or any(r.sent is None for r in own) or "wall_ns" not in figures:
                continue
            last = max(r.done for r in own)
            end = min(r.intended - due.get(r.index, 0) for r in own) + figures["wall_ns"]
            if (rest_s := (end - last) * NS) > _WALL_S:
                message = f"its requests end {rest_s:.3f} s before the driver says that it did"
                still_s = still.longest_s(last, end)
                yield f"launch {launch} {name}: {message}", rest_s - still_s <= _WALL_S


def _ends(records: RunRecords, still: Standstills) -> Iterator[tuple[str, bool]]:
    """Phases that went on after their last request, though the runner waits for nothing else;
    and whether a standstill explains it."""
    for phase in records.phases:
        if phase.name not in _STAGES:
            continue
        own = [r for r in records.requests.get(phase.launch, ()) if r.stage == phase.name]
        sent = [r for r in own if r.sent is not None]
        if not sent:
            continue
        last = max(r.done for r in sent)
        rest_s = (phase.t1 - last) * NS
        usual_s = _PHASE_S + _PHASE_SHARE * (phase.t1 - phase.t0) * NS
        if rest_s > usual_s:
            still_s = still.longest_s(last, phase.t1)
            where = f"launch {phase.launch} {phase.name}"
            yield (
                f"{where}: it lasts {rest_s:.1f} s after its last request",
                (rest_s - still_s <= usual_s),
            )


def _answers(records: RunRecords) -> Iterator[str]:
    for launch, answers in records.responses.items():
        requests = {r.index: r for r in records.requests.get(launch, ())}
        size = _vocabulary(records, launch)
        for answer in answers:
            request = requests.get(answer.index)
            problem = _of_server(request, answer) if request else None
            problem = problem or _of_ids(answer, size)
            if problem:
                yield f"launch {launch} request {answer.index}: {problem}"


def _of_server(request: Request, answer: Response) -> str | None:
    """The problem if an answer came sooner than llama.cpp's own times allow; else None."""
    timings = answer.timings or {}
    parts = [timings.get(key) for key in ("prompt_ms", "predicted_ms")]
    times_ms = [p for p in parts if isinstance(p, int | float) and not isinstance(p, bool)]
    if request.sent is None or not times_ms:
        return None
    took, worked = (request.done - request.sent) * NS, sum(times_ms) / 1000
    if took * (1 + _SERVER_SHARE) + _SERVER_S < worked:
        return f"it took {took:.3f} s, and the server worked on it for {worked:.3f} s"
    return None


def _vocabulary(records: RunRecords, launch: int) -> int:
    """The size of the model's vocabulary in tokens; above any known one if it is not reported."""
    reply = records.effective.get(launch, {}).get("/v1/models")
    models = reply.get("data") if isinstance(reply, dict) else None
    for model in models if isinstance(models, list) else ():
        meta = model.get("meta") if isinstance(model, dict) else None
        size = meta.get("n_vocab") if isinstance(meta, dict) else None
        if isinstance(size, int) and 0 < size < _TOKENS:
            return size
    return _TOKENS


def _of_ids(answer: Response, size: int) -> str | None:
    wrong = [i for i in answer.token_ids or () if not 0 <= i < size]
    return f"token {wrong[0]} lies outside the vocabulary of {size}" if wrong else None
