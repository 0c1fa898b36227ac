"""Token ids and counts of a run, held against the model's own tokenizer.json.

The file is no part of a run: whoever has it says so (`kit verify RUN --tokenizer FILE`). Of the
prompts whose ids are sealed, the ids must spell the prompt; of the answers no count may be less
than the fewest tokens that make the text.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from kit.core.limits import PROMPTS_KEPT
from kit.core.model import PromptTokens
from kit.judge.verify import vocabulary
from kit.judge.verify.verdict import Check, check, judged
from kit.judge.verify.vocabulary import Vocabulary
from kit.record.records import RunRecords

CODE = "TOKENIZER_DIFFERS"
_LONGEST = 1 << 15  # characters of an answer that is looked at: a second of work


def compared(records: RunRecords, file: Path) -> Check:
    """The check of a run against the tokenizer in ``file``.

    Raises:
        UsageError: it is no tokenizer.json that kit can read.
    """
    sha256, words = vocabulary.read(file)
    told = [line for line in records.prompts.get(0, ()) if line.ids is not None]
    answers = list(islice(_answers(records, words), PROMPTS_KEPT))
    problems = [*_of_prompts(records, told, words), *_of_answers(answers)]
    counted, least = sum(a.counted for a in answers), sum(a.least for a in answers)
    spelled = f"the ids of {len(told)} prompts spell them" if told else "no prompt's ids are sealed"
    fine = f"{spelled}; {len(answers)} answers have {counted} "
    fine += f"tokens by the server, and {least} at least make them"
    if not told and not answers:
        return check(CODE, "SKIP", "the server told neither ids nor counts")
    files = records.spec.weights.files if records.spec.weights else ()
    if sha256 in {one.sha256 for one in files}:
        return judged(CODE, problems, fine)
    found = "; ".join(problems[:3]) or fine
    return check(CODE, "WARN", f"by a tokenizer that the spec does not pin: {found}")


def _of_prompts(records: RunRecords, told: list[PromptTokens], words: Vocabulary) -> Iterator[str]:
    bodies = {r.index: r.body for r in records.schedule}
    for line in told:
        text = words.spelled(line.ids or ())
        if text is None:
            yield f"prompt {line.index} has an id that the vocabulary lacks"
        elif any(_plain(part) not in _plain(text) for part in _asked(bodies[line.index])):
            yield f"prompt {line.index} is not the text that its {line.count} ids spell"


def _asked(body: dict[str, Any]) -> list[str]:
    """The texts of a request: of each of a chat's messages, or the prompt."""
    messages = body.get("messages")
    if not isinstance(messages, list):
        return [str(body.get("prompt", ""))]
    return [str(m.get("content") if isinstance(m, dict) else m) for m in messages]


def _plain(text: str) -> str:
    """A text as tokenizers and templates may change it: normalised, without space around it."""
    return unicodedata.normalize("NFKC", text).strip()


class _Answer(NamedTuple):
    """An answer, its tokens by the server, and the fewest that make its text."""

    request: int
    counted: int
    least: int


def _answers(records: RunRecords, words: Vocabulary) -> Iterator[_Answer]:
    """The measured answers of the first launch that the server counted, but for very long ones."""
    texts = {r.index: r.text for r in records.responses.get(0, ())}
    for request in records.requests.get(0, ()):
        text = texts.get(request.index, "")
        count = request.output_tokens
        if request.stage == "measured" and count is not None and len(text) <= _LONGEST:
            yield _Answer(request.index, count, words.fewest(text))


def _of_answers(answers: list[_Answer]) -> Iterator[str]:
    for request, counted, least in answers:
        if counted < least:
            yield f"answer {request} has {counted} tokens by the server, {least} at least make it"
