"""L4: files agree with one another, and every number is computed again from raw records."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

from msgspec import UNSET

from kit.core import jsonio
from kit.core.errors import UsageError
from kit.core.limits import MOST_TOKEN_IDS, PROMPTS_KEPT
from kit.core.model import Manifest, Request, Response, ScheduledRequest
from kit.energy import Energy, results
from kit.energy.results.older import IN_WORDS, in_words
from kit.judge.verify import older, pictures, streams
from kit.judge.verify.schema import sample_checks
from kit.judge.verify.verdict import Check, check, judged
from kit.judge.verify.versions import ruled_by
from kit.measure.drive.dialects import is_end
from kit.record import events
from kit.record.archive import ArchiveSource
from kit.record.manifest import RECOMPUTED
from kit.record.phases import BLOCKS
from kit.record.records import MalformedRecordError, RunRecords
from kit.record.records import load as load_records
from kit.record.samples import MalformedSamplesError
from kit.spec import runtimes

# Another processor sums in another order, and a fit of nearly nothing (an uncertainty of
# microjoules) amplifies that: 2e-9 was seen between an H200's host and another machine.
RELATIVE = 1e-9
_ABSOLUTE = 1e-9
_LISTED = 8


def load(source: ArchiveSource) -> tuple[RunRecords | None, list[Check]]:
    """The records, or None if they cannot be read; and the check of reading them."""
    try:
        records = load_records(source)
    except (MalformedRecordError, jsonio.JsonRefused) as error:
        return None, [check(_code_of(error), "FAIL", str(error))]
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        # Not UTF-8, too deep, a folder of launches without a number: a fault of the run.
        return None, [check("FILE_INVALID", "FAIL", f"a record cannot be read: {error}")]
    chain = check("JOURNAL_CHAIN", "PASS", f"{len(records.events)} events follow one another")
    return records, [*sample_checks(records), chain]


def _code_of(error: Exception) -> str:
    if isinstance(error.__cause__, events.BrokenChain):
        return "JOURNAL_CHAIN"
    if isinstance(error.__cause__, MalformedSamplesError):
        return "SAMPLES_INVALID"
    return "FILE_INVALID"


def checks(
    records: RunRecords, energy: Energy, source: ArchiveSource, manifest: Manifest
) -> list[Check]:
    """Every check of level 4."""
    is_complete = manifest.status == "complete"
    return [
        judged("JOURNAL_ENDS", _ends(records, manifest), "registered first, ended last"),
        judged("PLAN_HASHES", _plan(records, source, manifest), "spec, plan and schedule fit"),
        judged(
            "LAUNCH_MISSING", _launches(records, is_complete), "every launch with all its phases"
        ),
        judged(
            "REQUEST_MISSING", _requests(records, is_complete), "every request is accounted for"
        ),
        judged("REQUEST_COUNTS", _counts(records), "as many answered as the journal says"),
        ruled_by(records.plan, "FINISH_REASON", _endings(records), "good answers came to an end"),
        judged("TOKEN_COUNTS", _tokens(records), "token counts are the server's"),
        judged("TEXT_HASH", _texts(records), "texts are those that were hashed"),
        *pictures.checks(records, source, manifest),
        *streams.checks(records, source, manifest),
        _results(records, energy, source),
    ]


# --- journal, plan, launches ------------------------------------------------------------------


def _ends(records: RunRecords, manifest: Manifest) -> Iterator[str]:
    journal = records.events
    if not journal or journal[0].kind != "run.registered":
        yield "the journal does not begin with the registration"
        return
    first, last = journal[0].data, journal[-1]
    registered = {
        "id": manifest.run_id,
        "spec_hash": manifest.spec_hash,
        "plan_hash": manifest.plan_hash,
        # Results by later formulas are another run with the same records.
        "parents": [dict(p) for p in manifest.parents if p.get("relation") != RECOMPUTED],
    }
    for key, value in registered.items():
        if first.get(key) != value:
            yield f"the manifest's {key} is not the one registered"
    if last.kind != "run.end":
        yield "the journal does not end with the end of the run"
    elif (last.data["status"], last.data["reason"][:4096]) != (manifest.status, manifest.reason):
        yield f"the journal says {last.data['status']!a}, the manifest {manifest.status}"
    if sum(e.kind in ("run.registered", "run.end") for e in journal) > 2:
        yield "the journal begins or ends twice"


def _plan(records: RunRecords, source: ArchiveSource, manifest: Manifest) -> Iterator[str]:
    spec, plan = records.spec, records.plan
    if plan.spec_hash != manifest.spec_hash:
        yield "the plan is of another spec"
    if plan.schedule_sha256 != jsonio.digest(source.read("inputs/schedule.jsonl")):
        yield "the schedule is not the plan's"
    if [r.index for r in records.schedule] != list(range(len(records.schedule))):
        yield "the schedule does not number its requests"
    if plan.requests != sum(r.stage == "measured" for r in records.schedule):
        yield "the plan counts other measured requests than the schedule has"
    warmups = sum(r.stage == "warmup" for r in records.schedule)
    wanted = spec.workload.options.get("requests")
    if _is_count(wanted) and plan.requests != wanted:
        yield f"the schedule measures {plan.requests} requests, the spec asks for {wanted}"
    if warmups != spec.phases.warmup_requests:
        yield f"the schedule warms up {warmups} times, the spec asks for it otherwise"
    if plan.launches != spec.launches:
        yield "the plan has other launches than the spec"
    if [(m.name, m.alias) for m in plan.meters] != [(m.name, m.alias) for m in spec.meters]:
        yield "the plan has other meters than the spec"
    if plan.model != spec.weights or manifest.model != plan.model or manifest.image != plan.image:
        yield "image or model of spec, plan and manifest differ"


def _launches(records: RunRecords, is_complete: bool) -> Iterator[str]:
    count = records.spec.launches
    for kind in ("launch.begin", "launch.end"):
        numbers = [e.data["launch"] for e in records.events if e.kind == kind]
        expected = list(range(count if is_complete else len(numbers)))
        if numbers != expected:
            yield f"{kind} of launches {numbers[:_LISTED]}, expected {expected[:_LISTED]}"
    if set(records.requests) - set(range(count)) or set(records.responses) - set(range(count)):
        yield f"records of more launches than the {count} asked for"
    if is_complete:
        yield from _phases_missing(records)


def _phases_missing(records: RunRecords) -> Iterator[str]:
    counts: Counter[tuple[int, str, str | None]] = Counter(
        (p.launch, p.name, p.part) for p in records.phases
    )
    for launch in range(records.spec.launches):
        for name, part in BLOCKS:
            times = counts[(launch, name, part)]
            if times != 1:
                yield f"launch {launch} has {name} {part or ''} {times} times".replace("  ", " ")


# --- requests ---------------------------------------------------------------------------------


def _requests(records: RunRecords, is_complete: bool) -> Iterator[str]:
    """Check that issued = completed + failed: exactly one record for each scheduled request."""
    planned = {r.index: (r.stage, r.item) for r in records.schedule}
    launches = range(records.spec.launches) if is_complete else sorted(records.requests)
    for launch in launches:
        requests = records.requests.get(launch, ())
        answered = records.responses.get(launch, ())
        recorded = {r.index: (r.stage, r.item) for r in requests}
        where = f"launch {launch}"
        if len(recorded) < len(requests):
            yield f"{where}: a request is recorded twice"
        if any(planned.get(index) != place for index, place in recorded.items()):
            yield f"{where}: a request that the schedule has not"
        if is_complete and len(recorded) < len(planned):
            yield f"{where}: {len(planned) - len(recorded)} of {len(planned)} requests are missing"
        if sorted((r.index, r.stage) for r in answered) != sorted(
            (r.index, r.stage) for r in requests
        ):
            yield f"{where}: requests and responses do not pair up"


def _counts(records: RunRecords) -> Iterator[str]:
    for event in records.events:
        if event.kind != "stage.done":
            continue
        launch, stage = event.data["launch"], event.data["stage"]
        own = [r for r in records.requests.get(launch, ()) if r.stage == stage]
        good = sum(r.status == "ok" for r in own)
        journalled = (event.data["ok"], event.data["failed"])
        if journalled != (good, len(own) - good):
            yield f"launch {launch} {stage}: {good} of {len(own)}, the journal says {journalled}"


def _endings(records: RunRecords) -> Iterator[str]:
    """Good answers with a finish reason that the load driver takes for a failure, or without one;
    images come without.
    """
    for launch, requests in records.requests.items():
        for request in (r for r in requests if r.status == "ok"):
            reason = request.finish_reason
            is_good = reason is None if request.images is not UNSET else is_end(reason or "")
            if not is_good:
                yield f"launch {launch} request {request.index} ended for the reason {reason!a}"


def _tokens(records: RunRecords) -> Iterator[str]:
    planned = {r.index: r for r in records.schedule}
    recounted = _counts_afterwards(records.spec.runtime.name)
    for launch, requests in records.requests.items():
        answers = {r.index: r for r in records.responses.get(launch, ())}
        for request in requests:
            answer = answers.get(request.index)
            problem = _token_problem(request, answer, planned.get(request.index))
            problem = problem or (None if recounted else _unsupported(request, answer))
            if problem:
                yield f"launch {launch} request {request.index}: {problem}"
    yield from _id_problems(records)


def _id_problems(records: RunRecords) -> Iterator[str]:
    """Prompts' token ids that are not those of the measured prompts, in their order, or not what
    their hash and the server's count say. The first launch's server tells them, until it fails.
    """
    if records.prompts.keys() - {0}:
        yield "token ids of prompts are in another launch than the first"
    told = records.prompts.get(0, ())
    measured = [r.index for r in records.schedule if r.stage == "measured"]
    if [line.index for line in told] != measured[: len(told)]:
        yield "launch 0: its token ids are not of the measured prompts, in their order"
    counted = {r.index: r.prompt_tokens for r in records.requests.get(0, ())}
    for place, line in enumerate(told):
        hashed = None if line.ids is None else (len(line.ids), jsonio.hash_of(line.ids))
        if hashed not in (None, (line.count, line.ids_sha256)):
            yield f"launch 0 prompt {line.index}: its token ids are not those that were hashed"
        if hashed is None and place < PROMPTS_KEPT:
            yield f"launch 0 prompt {line.index}: its token ids are not there, only their hash"
        if not all(0 <= token < MOST_TOKEN_IDS for token in line.ids or ()):
            yield f"launch 0 prompt {line.index}: a token id that no vocabulary has"
        if (count := counted.get(line.index)) not in (None, line.count):
            yield (
                f"launch 0 prompt {line.index}: {line.count} token ids, and the server counted "
                f"{count} when it answered"
            )


def _token_problem(
    request: Request, answer: Response | None, planned: ScheduledRequest | None
) -> str | None:
    """What is wrong with a request's count of tokens, or None.

    It must be the server's, no more than the request allows, and that of the token ids.
    """
    usage = (answer.usage if answer else None) or {}
    for field, key in (("output_tokens", "completion_tokens"), ("prompt_tokens", "prompt_tokens")):
        reported, own = usage.get(key), getattr(request, field)
        if reported is not None and (not _is_count(reported) or own != reported):
            return f"{own} {field.replace('_', ' ')}, the server said {_text(reported)}"
    generated = ((answer.timings if answer else None) or {}).get("predicted_n")
    if generated is not None and usage and generated != request.output_tokens:
        return f"{request.output_tokens} output tokens, the server timed {_text(generated)}"
    limit = planned.body.get("max_tokens") if planned else None
    if limit is not None and _is_count(limit) and (request.output_tokens or 0) > limit:
        return f"{request.output_tokens} output tokens, at most {limit} were asked for"
    ids = answer.token_ids if answer else None
    if ids is not None and len(ids) != request.output_tokens:
        return f"{request.output_tokens} output tokens, {len(ids)} ids"
    return None


def _counts_afterwards(runtime: str) -> bool:
    """Whether a runtime's streams carry no counts, so that texts are counted after the stage."""
    try:
        return not runtimes.get(runtime).streams_usage
    except UsageError:  # a third party's runtime, which this kit does not know
        return True


def _unsupported(request: Request, answer: Response | None) -> str | None:
    """Why no data from the server support a count."""
    if request.status != "ok" or request.output_tokens is None:
        return None
    if answer is None:  # reported as a request without its response
        return None
    if (answer.usage or {}).get("completion_tokens") is not None or answer.token_ids is not None:
        return None
    return f"{request.output_tokens} output tokens, and the server's count is absent"


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _texts(records: RunRecords) -> Iterator[str]:
    for launch, answers in records.responses.items():
        for answer in answers:
            if hashlib.sha256(answer.text.encode()).hexdigest() != answer.text_sha256:
                yield f"launch {launch} response {answer.index}"


# --- results ----------------------------------------------------------------------------------


def _results(records: RunRecords, energy: Energy, source: ArchiveSource) -> Check:
    stored = jsonio.parse(source.read("results.json"), "results.json")
    try:
        computed = results.to_document(results.compute(records, energy))
        is_in_words = isinstance(stored, dict) and stored.get("formulas") == IN_WORDS
        recomputed = jsonio.parse(jsonio.canonical(in_words(computed) if is_in_words else computed))
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # The records may hold anything; any error in the formulas is a finding.
        reason = f"they cannot be computed from these records ({type(error).__name__})"
        return check("RESULTS_DIFFER", "FAIL", reason)
    if not is_in_words and older.is_former(stored):
        return older.judge(stored, recomputed)
    return judged(
        "RESULTS_DIFFER", differences(stored, recomputed, "$"), "every number was computed again"
    )


def differences(stored: Any, computed: Any, where: str) -> Iterator[str]:
    """Differences of two documents by JSON path; numbers beyond RELATIVE and _ABSOLUTE."""
    if isinstance(stored, dict) and isinstance(computed, dict):
        for key in sorted({*stored, *computed}):
            missing = object()
            yield from differences(
                stored.get(key, missing), computed.get(key, missing), f"{where}.{key}"
            )
    elif isinstance(stored, list) and isinstance(computed, list):
        if len(stored) != len(computed):
            yield f"{where} has {len(stored)} items, computed {len(computed)}"
            return
        for index, pair in enumerate(zip(stored, computed, strict=True)):
            yield from differences(*pair, f"{where}[{index}]")
    elif not _same(stored, computed):
        yield f"{where} is {_text(stored)}, computed {_text(computed)}"


def _same(a: Any, b: Any) -> bool:
    if _is_number(a) and _is_number(b):
        return math.isclose(a, b, rel_tol=RELATIVE, abs_tol=_ABSOLUTE)
    return type(a) is type(b) and bool(a == b)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: Any) -> str:
    if isinstance(value, str | int | float | bool) or value is None:
        return ascii(value)[:40]
    return "absent" if type(value) is object else f"a {type(value).__name__}"
