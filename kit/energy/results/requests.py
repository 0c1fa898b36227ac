"""Numbers from the requests of one launch: counts, latency, throughput, the texts' hash."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

from msgspec import UNSET

from kit.core import stats
from kit.core.model import Makes, Phase, Request, Response
from kit.core.units import NS
from kit.energy.reason import Reason
from kit.energy.results.document import (
    Latencies,
    Latency,
    Percentiles,
    RequestCounts,
    Throughput,
)
from kit.record.records import RunRecords

LATENCIES = ("ttft", "tpot", "e2e")
NONE_COMPLETED = Reason("none_completed")


def measured(records: RunRecords, index: int) -> list[Request]:
    """The requests of a launch's measured stage."""
    return [r for r in records.requests.get(index, ()) if r.stage == "measured"]


def counts(asked: Sequence[Request], good: Sequence[Request]) -> RequestCounts:
    """Requests and tokens; issued = completed + failed, and why they failed."""
    codes = Counter(r.code or r.status for r in asked if r.status != "ok")
    return RequestCounts(
        issued=len(asked),
        completed=len(good),
        failed=len(asked) - len(good),
        failures=dict(sorted(codes.items())),
        prompt_tokens=_sum([r.prompt_tokens for r in good]),
        output_tokens=_sum([r.output_tokens for r in good]),
        images=_sum([r.images or None for r in good]),
        steps=_sum([r.steps or None for r in good]),
    )


def _sum(counts: Sequence[int | None]) -> int | None:
    """The sum; None where one was not counted, because a partial sum would mislead."""
    reported = [c for c in counts if c is not None]
    return sum(reported) if reported and len(reported) == len(counts) else None


def latency(records: RunRecords, index: int, good: Sequence[Request]) -> Latency:
    """TTFT, TPOT and end-to-end from the intended and from the actual sending, ITL by chunk."""
    times = {r.index: r.chunk_times for r in records.responses.get(index, ())}
    gaps = [
        (b - a) * NS
        for r in good
        for a, b in zip(times.get(r.index, ())[:-1], times.get(r.index, ())[1:], strict=True)
    ]
    return Latency(
        sent=_latencies(good, "sent"),
        intended=_latencies(good, "intended"),
        itl=_percentiles(gaps, _why_untimed("itl", good)),
    )


def _latencies(good: Sequence[Request], since: str) -> Latencies:
    values = {name: [_one_latency(name, r, since) for r in good] for name in LATENCIES}
    times = {name: [v for v in of if v is not None] for name, of in values.items()}
    return Latencies(**{n: _percentiles(times[n], _why_untimed(n, good)) for n in LATENCIES})


def _why_untimed(name: str, good: Sequence[Request]) -> Reason:
    """Why a latency has no value, also where requests were completed."""
    return Reason(f"{name}_untimed") if good else NONE_COMPLETED


def ended(r: Request) -> int:
    """When an answer had come: its last token, or where no chunk shows one, its end (ns)."""
    return r.done if r.last_token is None else r.last_token


def _one_latency(name: str, r: Request, since: str) -> float | None:
    start = r.sent if since == "sent" else r.intended
    if start is None:
        return None
    if name == "e2e":
        return (ended(r) - start) * NS
    if r.first_token is None or r.last_token is None:
        return None
    if name == "ttft":
        return (r.first_token - start) * NS
    # Tokens that all came at once do not tell how long one takes: that is no time of 0.
    if r.output_tokens is None or r.output_tokens < 2 or r.last_token == r.first_token:
        return None
    return (r.last_token - r.first_token) * NS / (r.output_tokens - 1)


def _percentiles(values: Sequence[float], none: Reason) -> Percentiles:
    """Percentiles in seconds; one that too few requests support is absent, with the number, or
    with the reason ``none`` where there is no value at all."""
    percentiles, absent = dict[str, float](), dict[str, Reason]()
    for p, needed in stats.PERCENTILE_NEEDS.items():
        value = stats.percentile(values, p) if values else None
        if value is None:
            absent[f"p{p}"] = Reason("needs_requests", requests=needed) if values else none
        else:
            percentiles[f"p{p}"] = value
    return Percentiles(n=len(values), unit="s", absent=absent or None, **percentiles)


def throughput(block: Phase | None, good: Sequence[Request], makes: Makes) -> Throughput:
    """Output tokens or images per second, from the first sending to the last one."""
    begins = [r.sent for r in good if r.sent is not None]
    if block is None or not begins:
        return Throughput(reason=NONE_COMPLETED)
    seconds = (max(map(ended, good)) - min(begins)) * NS
    if makes == "image":
        images = _sum([r.images or None for r in good])
        if not images:
            return Throughput(reason=Reason("no_image"))
        return Throughput(images_per_s=images / seconds, seconds=seconds)
    tokens = _sum([r.output_tokens for r in good])
    if not tokens:
        return Throughput(reason=uncounted(tokens))
    return Throughput(output_tokens_per_s=tokens / seconds, seconds=seconds)


def uncounted(tokens: int | None) -> Reason:
    """Why there are no tokens to divide by, though requests were completed."""
    return Reason("no_token" if tokens == 0 else "not_counted")


def output_hash(response: Response) -> str:
    """SHA-256 of an answer: of its text, or of its images by their own."""
    if response.images is UNSET:
        return response.text_sha256
    return hashlib.sha256("".join(f"{i.sha256}\n" for i in response.images).encode()).hexdigest()


def outputs(records: RunRecords, index: int) -> str | None:
    """SHA-256 over index and text (or images) of the measured answers, in order.

    None where a request has no answer: an incomplete set of answers cannot be compared.
    """
    answers = records.responses.get(index, ())
    texts = {r.index: output_hash(r) for r in answers if r.stage == "measured"}
    asked = measured(records, index)
    if not asked or any(r.status != "ok" or r.index not in texts for r in asked):
        return None
    lines = (f"{i}:{texts[i]}\n" for i in sorted(texts))
    return hashlib.sha256("".join(lines).encode()).hexdigest()
