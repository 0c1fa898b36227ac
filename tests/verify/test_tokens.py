"""Token ids and counts of a run, held against a tokenizer.json: `kit verify RUN --tokenizer`."""

from __future__ import annotations

import dataclasses
import json
from itertools import product
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.cli.main import dispatch
from kit.core import jsonio
from kit.core.errors import UsageError
from kit.core.model import PromptTokens, WeightFile, WeightsSpec
from kit.judge.verify import tokens, vocabulary
from kit.record import archive, records
from kit.record.records import RunRecords
from tests import golden

LETTERS = {byte: letter for letter, byte in vocabulary._LETTERS.items()}
CODE = "TOKENIZER_DIFFERS"


def level(*words: str) -> dict[str, Any]:
    """A byte-level tokenizer: every byte, these words, and two special tokens before them."""
    pieces = [*(bytes([byte]) for byte in range(256)), *(word.encode() for word in words)]
    vocab = {"".join(LETTERS[b] for b in p): n + 2 for n, p in enumerate(pieces)}
    added = [{"id": n, "content": text} for n, text in enumerate(("<|im_start|>", "<|im_end|>"))]
    return {
        "added_tokens": added,
        "decoder": {"type": "ByteLevel"},
        "model": {"type": "BPE", "vocab": vocab, "merges": []},
    }


def sentence(*words: str) -> dict[str, Any]:
    """A tokenizer as SentencePiece's: bytes as <0x41>, words with ▁ for a space."""
    tokens_ = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *words]
    decoders = [{"type": "Replace"}, {"type": "ByteFallback"}, {"type": "Fuse"}]
    vocab = {token: number for number, token in enumerate(tokens_)}
    return {"decoder": {"type": "Sequence", "decoders": decoders}, "model": {"vocab": vocab}}


def written(folder: Path, document: Any) -> Path:
    path = folder / "tokenizer.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


# --- a vocabulary -----------------------------------------------------------------------------


def test_byte_level_tokens_spell_text(tmp_path: Path) -> None:
    _, words = vocabulary.read(written(tmp_path, level("Grü", "ße", " ☕")))
    assert words.spelled([0, 258, 259, 260, 1]) == "<|im_start|>Grüße ☕<|im_end|>"
    assert words.spelled([*(2 + b for b in "東".encode())]) == "東"
    assert words.spelled([9999]) is None
    assert (words.fewest("Grüße ☕"), words.fewest("aGrü"), words.fewest("")) == (3, 2, 0)


def test_sentencepiece_tokens_spell_text(tmp_path: Path) -> None:
    _, words = vocabulary.read(written(tmp_path, sentence("\u2581Hello", "\u2581world")))
    assert words.spelled([257, 258]) == " Hello world"
    assert words.spelled([1 + 0xE2, 1 + 0x98, 1 + 0x95]) == "☕"
    assert words.fewest("Hello world") == 2, "the space in front of a text is not in it"


def test_a_list_of_pieces_with_scores_is_a_vocabulary(tmp_path: Path) -> None:
    document = {"decoder": {"type": "Metaspace"}, "model": {"vocab": [["\u2581a", 0], ["b", -1.5]]}}
    _, words = vocabulary.read(written(tmp_path, document))
    assert words.spelled([0, 1]) == " ab"
    assert words.fewest("ab") == 2
    assert words.fewest("xyz") == 0, "what no tokens make has no least number"


@given(st.text("abc", max_size=6), st.sets(st.text("abc", min_size=1, max_size=3), max_size=5))
def test_the_fewest_are_those_of_every_way_to_cut(text: str, known: set[str]) -> None:
    words = vocabulary.Vocabulary({n: w.encode() for n, w in enumerate(known)})
    ways = []
    for cuts in product([False, True], repeat=max(0, len(text) - 1)):
        pieces = [text[:1]]
        for letter, cut in zip(text[1:], cuts, strict=True):
            pieces = [*pieces, letter] if cut else [*pieces[:-1], pieces[-1] + letter]
        ways += [len(pieces)] if text and set(pieces) <= known else []
    assert words.fewest(text) == min(ways, default=0)


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ("", "is not JSON"),
        ("[]", "has no model"),
        ("{}", "has no model"),
        ({"model": {}}, "no vocabulary that kit knows"),
        ({"model": {"vocab": {}}}, "no vocabulary that kit knows"),
        ({"model": {"vocab": {"a": "1"}}}, "no vocabulary that kit knows"),
        ({"model": {"vocab": [1, 2]}}, "no vocabulary that kit knows"),
        ({"model": {"vocab": [[7, 0]]}}, "no vocabulary that kit knows"),
    ],
)
def test_what_is_no_tokenizer_is_one_error(document: Any, says: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        vocabulary.read(written(tmp_path, document))
    assert "tokenizer.json" in caught.value.remedy


@pytest.mark.parametrize("added", [5, True, "a", {"id": 0}, [7, {"id": True, "content": "x"}]])
def test_odd_added_tokens_are_none(added: Any, tmp_path: Path) -> None:
    document = {"model": {"vocab": {"a": 0, "b": 1}}, "added_tokens": added}
    _, words = vocabulary.read(written(tmp_path, document))
    assert words.spelled([0, 1]) == "ab"


# --- a run ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return golden.copied(tmp_path_factory.mktemp("tokens") / "runs")


@pytest.fixture
def file(run: Path, tmp_path: Path) -> Path:
    """A tokenizer that has each answer's text as one token, so that no count is too small."""
    answers = {r.text for r in loaded(run).responses[0]}
    return written(tmp_path, level(*answers))


def loaded(run: Path) -> RunRecords:
    return records.load(archive.open_source(run))


def told(run: Path, file: Path) -> RunRecords:
    """The run as if its server had told ids that spell its prompts; its spec pins ``file``."""
    of, lines = loaded(run), []
    for request in of.schedule:
        if request.stage == "measured":
            text = request.body["messages"][0]["content"]
            ids = (0, *(2 + byte for byte in text.encode()), 1)
            digest = jsonio.hash_of(list(ids))
            line = PromptTokens(index=request.index, count=len(ids), ids_sha256=digest, ids=ids)
            lines.append(line)
    pin = WeightFile(
        path=file.name,
        source=f"file:{file.name}",
        sha256=jsonio.digest(file.read_bytes()),
        size=file.stat().st_size,
    )
    weights = WeightsSpec(repo="r", revision="1", files=(pin,))
    spec = msgspec.structs.replace(of.spec, weights=weights)
    return dataclasses.replace(of, spec=spec, prompts={0: tuple(lines)})


def test_ids_that_spell_their_prompts_pass(run: Path, file: Path) -> None:
    found = tokens.compared(told(run, file), file)
    assert (found.code, found.status) == (CODE, "PASS")
    assert f"the ids of {len(told(run, file).prompts[0])} prompts spell them" in found.message


@pytest.mark.parametrize(
    ("ids", "says"),
    [
        ((2 + ord("x"),), "is not the text that its 1 ids spell"),
        ((1 << 20,), "has an id that the vocabulary lacks"),
        ((), "is not the text that its 0 ids spell"),
    ],
)
def test_ids_of_another_text_fail(ids: tuple[int, ...], says: str, run: Path, file: Path) -> None:
    of = told(run, file)
    first = msgspec.structs.replace(of.prompts[0][0], ids=ids, count=len(ids))
    forged = dataclasses.replace(of, prompts={0: (first, *of.prompts[0][1:])})
    found = tokens.compared(forged, file)
    assert found.status == "FAIL" and says in found.message


@pytest.mark.parametrize("messages", [5, [7], [{"role": "user"}], [{"content": None}]])
def test_a_request_of_another_form_fails(messages: Any, run: Path, file: Path) -> None:
    """Of another version of kit, whose requests verify does not hold against its own."""
    of = told(run, file)
    schedule = tuple(msgspec.structs.replace(r, body={"messages": messages}) for r in of.schedule)
    found = tokens.compared(dataclasses.replace(of, schedule=schedule), file)
    assert found.code == CODE and found.status in ("PASS", "FAIL")
    assert found.status == "FAIL" or messages == 5, "no message is in what the ids spell"


def test_a_server_that_counts_too_few_fails(run: Path, tmp_path: Path) -> None:
    """Chunks that are counted instead of tokens, for instance: by bytes alone, more are needed."""
    bytes_alone = written(tmp_path, level())
    found = tokens.compared(told(run, bytes_alone), bytes_alone)
    assert found.status == "FAIL" and "at least make it" in found.message


def test_a_tokenizer_that_the_spec_does_not_pin_only_warns(
    run: Path, tmp_path: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dispatch(["verify", str(run), "--tokenizer", str(file), "--json"]) == 0
    (found,) = (c for c in json.loads(capsys.readouterr().out)["checks"] if c["code"] == CODE)
    assert found["status"] == "WARN" and "that the spec does not pin" in found["message"]
    assert dispatch(["verify", str(run)]) == 0
    assert CODE not in capsys.readouterr().out


def test_what_cannot_be_read_is_one_error(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dispatch(["verify", str(run), "--tokenizer", str(tmp_path / "none.json")]) == 2
    assert "No such file" in capsys.readouterr().err
