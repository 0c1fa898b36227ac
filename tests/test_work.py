"""Whether two runs did the same work, point by point, and what `kit compare` makes of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kit.core import jsonio
from kit.core.model import Derivation, PromptTokens, WeightsSpec
from kit.energy import results
from kit.judge import compare
from kit.judge.compare import work
from kit.record import archive, records
from kit.record.records import RunRecords
from tests import golden
from tests.runtimes.specs import FOLDER, SMOLLM2

GGUF = WeightsSpec(repo="r", revision="1", files=(SMOLLM2,))
MADE = Derivation(
    form="safetensors", recipe="convert", digest="sha256:" + "0" * 64, files=(SMOLLM2,)
)
DERIVED = WeightsSpec(repo="r", revision="1", files=FOLDER, derived=MADE)
ELSE = tuple(msgspec.structs.replace(file, sha256="f" * 64) for file in FOLDER)
OTHERS = WeightsSpec(repo="r", revision="1", files=ELSE)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunRecords:
    """A golden run whose server told the ids of every prompt."""
    sealed = golden.copied(tmp_path_factory.mktemp("work") / "runs")
    loaded = records.load(archive.open_source(sealed))
    return with_ids(loaded, lambda index: (1, 2, 3, index))


def with_ids(of: RunRecords, ids: Any) -> RunRecords:
    indices = [r.index for r in of.schedule if r.stage == "measured"]
    return dataclasses.replace(of, prompts={0: tuple(told(i, ids(i)) for i in indices)})


def told(index: int, ids: tuple[int, ...]) -> PromptTokens:
    digest = jsonio.hash_of(list(ids))
    return PromptTokens(index=index, count=len(ids), ids_sha256=digest, ids=ids)


def with_weights(of: RunRecords, weights: WeightsSpec | None) -> RunRecords:
    return dataclasses.replace(of, spec=msgspec.structs.replace(of.spec, weights=weights))


def with_requests(of: RunRecords, **changes: Any) -> RunRecords:
    """The run with other facts of every request of its launches."""
    changed = {
        n: tuple(msgspec.structs.replace(r, **changes) for r in rs) for n, rs in of.requests.items()
    }
    return dataclasses.replace(of, requests=changed)


def point(a: RunRecords, b: RunRecords, what: str) -> tuple[str, str]:
    found = next(p for p in work.compare(a, b).points if p.what == what)
    return found.same, found.evidence


def test_a_run_did_the_same_work_as_itself(run: RunRecords) -> None:
    done = work.compare(with_requests(run, cached_tokens=0), with_requests(run, cached_tokens=0))
    assert {p.what: p.same for p in done.points} == {
        "prompts": "same",
        "answers": "same",
        "model": "same",
        "caches": "same",
    }
    assert done.same == "same" and not done.ids_differ


def test_other_ids_are_other_work_even_where_there_are_as_many(run: RunRecords) -> None:
    other = with_ids(run, lambda index: (1, 2, 9, index))
    same, evidence = point(run, other, "prompts")
    assert same == "other" and "they part at the 3rd" in evidence and "4 against 4" in evidence
    assert work.compare(run, other).ids_differ == evidence


def test_a_longer_prompt_parts_where_the_shorter_ends(run: RunRecords) -> None:
    other = with_ids(run, lambda index: (1, 2, 3, index, 5))
    assert "4 against 5, they part at the 5th" in point(run, other, "prompts")[1]


def test_ids_that_were_not_kept_are_compared_by_their_hash(run: RunRecords) -> None:
    def hashed(of: RunRecords) -> RunRecords:
        lines = (msgspec.structs.replace(line, ids=None) for line in of.prompts[0])
        return dataclasses.replace(of, prompts={0: tuple(lines)})

    assert point(hashed(run), hashed(run), "prompts")[0] == "same"
    other = hashed(with_ids(run, lambda index: (9,)))
    assert point(hashed(run), other, "prompts") == (
        "other",
        "prompt 0 has other token ids: 4 against 1",
    )


def test_a_server_that_tells_no_ids_leaves_it_open(run: RunRecords) -> None:
    silent = dataclasses.replace(run, prompts={})
    same, evidence = point(run, silent, "prompts")
    assert same == "unknown" and "does not tell token ids; there are as many" in evidence
    more = with_requests(silent, prompt_tokens=77)
    assert point(run, more, "prompts")[0] == "other"
    uncounted = with_requests(silent, prompt_tokens=None)
    assert point(run, uncounted, "prompts")[0] == "unknown"
    assert not work.compare(run, silent).ids_differ


def test_ids_of_some_prompts_are_held_against_those_of_the_same_prompts(run: RunRecords) -> None:
    """A server that failed for the first prompt shifts nothing; other warm-ups shift indices."""
    fewer = dataclasses.replace(run, prompts={0: run.prompts[0][1:]})
    same, evidence = point(run, fewer, "prompts")
    assert same == "unknown" and "does not tell all token ids" in evidence
    later = dataclasses.replace(
        run,
        schedule=tuple(msgspec.structs.replace(r, index=r.index + 7) for r in run.schedule),
        prompts={0: tuple(msgspec.structs.replace(p, index=p.index + 7) for p in run.prompts[0])},
    )
    assert point(run, later, "prompts")[0] == "same"
    stray = dataclasses.replace(run, prompts={**run.prompts, 1: (told(1, (9,)),)})
    assert point(run, stray, "prompts")[0] == "same"


def with_launch(of: RunRecords, launch: int, **changes: Any) -> RunRecords:
    """The run with other facts of one launch's requests."""
    changed = with_requests(of, **changes).requests[launch]
    return dataclasses.replace(of, requests={**of.requests, launch: changed})


def test_every_launch_counts(run: RunRecords) -> None:
    assert point(run, with_launch(run, 1, output_tokens=99), "answers")[0] == "other"
    assert point(run, with_launch(run, 1, cached_tokens=5), "caches")[0] == "other"


def test_work_that_failed_is_not_the_same_work(run: RunRecords) -> None:
    failed = with_launch(run, 1, status="error")
    assert point(run, failed, "answers") == ("other", "0 and 3 requests were not answered")


def test_other_prompts_are_asked_and_no_fault_of_a_tokenizer(run: RunRecords) -> None:
    asked = tuple(
        msgspec.structs.replace(r, body={**r.body, "messages": [{"role": "user", "content": "x"}]})
        for r in run.schedule
    )
    other = with_ids(dataclasses.replace(run, schedule=asked), lambda index: (9,))
    assert point(run, other, "prompts")[0] == "other"
    assert not work.compare(run, other).ids_differ


def test_answers_of_other_lengths_are_other_work(run: RunRecords) -> None:
    ours, theirs = with_requests(run, output_tokens=8), with_requests(run, output_tokens=7)
    assert point(ours, ours, "answers") == ("same", "8 tokens in each answer")
    assert point(ours, theirs, "answers") == (
        "other",
        "answers of 8 tokens against 7 in the mean",
    )
    assert point(ours, with_requests(run, output_tokens=None), "answers")[0] == "unknown"


@pytest.mark.parametrize(
    ("there", "here", "same"),
    [
        (GGUF, GGUF, "same"),
        (GGUF, DERIVED, "same"),
        (DERIVED, GGUF, "same"),
        (GGUF, OTHERS, "other"),
        (DERIVED, OTHERS, "other"),
        (GGUF, None, "other"),
        (None, None, "same"),
    ],
)
def test_a_model_is_the_same_where_one_was_made_of_the_other(
    run: RunRecords, there: WeightsSpec | None, here: WeightsSpec | None, same: str
) -> None:
    assert point(with_weights(run, there), with_weights(run, here), "model")[0] == same


def test_a_cache_is_less_work(run: RunRecords) -> None:
    assert point(with_requests(run, cached_tokens=3), run, "caches")[0] == "other"
    assert point(run, with_requests(run, cached_tokens=None), "caches")[0] == "unknown"


def test_nothing_is_judged_where_the_ids_differ(run: RunRecords) -> None:
    other, numbers = with_ids(run, lambda index: (9, index)), results.compute(run)
    judged = compare.judge(run, numbers, other, numbers, by=("runtime", "weights"))
    reasons = {a.reason for a in judged.axes if a.ratio is not None}
    assert all("not the same work: prompt 0 has other token ids" in why for why in reasons), reasons
    assert {a.verdict for a in judged.axes if a.ratio is not None} == {"NOT-COMPARABLE"}


def test_prompts_are_read_back_from_an_archive(run: RunRecords, tmp_path: Path) -> None:
    sealed = golden.copied(tmp_path / "runs")
    folder = sealed / "launches/000"
    lines = b"".join(jsonio.canonical(msgspec.to_builtins(p)) + b"\n" for p in run.prompts[0])
    (folder / "prompts.jsonl").write_bytes(lines)
    golden.reseal(sealed)
    loaded = records.read(next((tmp_path / "runs").glob("*/manifest.json")).parent)
    assert loaded.prompts == run.prompts
