"""Reason codes: each has one sentence, and each value that one is made with is declared."""

from __future__ import annotations

import ast
import copy
import html
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import kit
from kit.core import jsonio
from kit.energy import reasons, results
from kit.energy.reason import Reason, plain
from kit.energy.reasons import KINDS, Notice, notices, sentence
from kit.energy.results.document import NoticeRecord
from kit.energy.results.formerwords import FORMULAS_4
from kit.energy.results.older import in_words
from kit.record import archive, records
from kit.show import render, report
from kit.show.report import plain as plain_text
from kit.show.report import tidy
from tests.committed import ALL

PACKAGE = Path(kit.__file__).parent
TABLES = ("reasontable.py", "noticetable.py")
_VALUE = re.compile(r"\{(\w+)")


def made() -> Iterator[tuple[str, str, set[str] | None]]:
    """Every `Reason(...)` of kit's source: where, its code, its values (None: not known here)."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Reason"):
                continue
            code = node.args[0]
            if isinstance(code, ast.Constant):
                names = {word.arg for word in node.keywords if word.arg}
                spread = any(word.arg is None for word in node.keywords)
                where = f"{path.name}:{node.lineno}"
                yield where, str(code.value), None if spread else names


@pytest.mark.parametrize("code", KINDS)
def test_a_sentence_says_every_value_that_is_declared(code: str) -> None:
    kind = KINDS[code]
    assert set(_VALUE.findall(kind.sentence)) == set(kind.values)
    assert all(kind.values.values())


@pytest.mark.slow
def test_each_reason_that_is_made_is_registered_with_its_values() -> None:
    found = list(made())
    assert len(found) > 80
    for where, code, values in found:
        assert code in KINDS, where
        # What a loop needs before its value is known is put in afterwards.
        assert values is None or values <= set(KINDS[code].values), where
    named = {code for _, code, _ in found}
    source = "".join(p.read_text() for p in PACKAGE.rglob("*.py") if p.name not in TABLES)
    assert [c for c in KINDS if c not in named and c not in source and not _by_name(c)] == []


def _by_name(code: str) -> bool:
    """Codes that are put together from a latency's name."""
    return code.endswith("_untimed")


def test_a_sentence_is_that_of_the_document() -> None:
    inner = Reason("gap", what="sample", seconds=1.25)
    whole = Reason("of_pieces", missing=2, pieces=8, reason=inner)
    assert sentence(whole) == "2 of its 8 pieces have no energy: no power sample for 1.25 s"
    assert sentence(whole.document()) == sentence(whole) == str(whole) == f"{whole}"
    assert f"{whole:>60}" == str(whole).rjust(60)
    assert sentence("as an older archive has it") == "as an older archive has it"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "GPU energy counter: no reading"),
        ({"failed": 1}, "GPU energy counter: no reading (1 read failed)"),
        ({"failed": 3}, "GPU energy counter: no reading (3 reads failed)"),
        ({"failed": None}, "GPU energy counter: no reading"),
    ],
)
def test_what_stands_in_brackets_needs_its_value(values: dict[str, Any], said: str) -> None:
    assert sentence(Reason("none_read", quantity="gpu_energy", **values)) == said


@pytest.mark.parametrize(
    ("joules", "said"),
    [(0.0234, "23.4 mJ"), (999.94, "999.9 J"), (12_345.6, "12.35 kJ"), (2e9, "2,000 MJ")],
)
def test_energies_have_their_unit_and_no_exponent(joules: float, said: str) -> None:
    wraps = Reason("counter_wraps", wrap_j=joules, poll_s=1234.5)
    assert f"begins again after {said}, too soon for reads 1,234 s apart" in sentence(wraps)


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        (Reason("TOKEN_MISMATCH", answers=1), "1 answer does not"),
        (Reason("TOKEN_MISMATCH", answers=2), "2 answers do not"),
        (Reason("UNTIMED_TOKENS", untimed=1, completed=9), "1 of 9 answers does not show when its"),
        (Reason("view_rejected", ratio=2, believed="counter", confirmed=["average"]), "confirms"),
        (Reason("PHASES_UNRESOLVED", phases=["a", "b", "c"]), "a, b and c: too short"),
    ],
)
def test_one_and_several_are_told_apart(reason: Reason, said: str) -> None:
    assert said in sentence(reason) == sentence(reason.document())


def test_a_journal_without_a_word_is_told_as_formulas_4_did() -> None:
    assert sentence(Reason("SAMPLER_LOST", said="")) == ""


@pytest.mark.parametrize(
    "damaged",
    [
        {"code": "gap"},
        {"code": "gap", "what": ["a", {"b": 1}], "seconds": "long"},
        {"code": "not_resolved", "piece_s": None, "needed_s": {"code": 3}},
        {"code": "nobody_knows", "x": 1, "y": [{"code": "no_block"}]},
        {"code": 7},
        {"code": "driver_late", "late_s": "inf", "limit_s": True},
        None,
        [],
    ],
)
def test_a_damaged_reason_is_shown_and_raises_nothing(damaged: object) -> None:
    assert isinstance(sentence(damaged), str)


def test_no_reader_changes_a_value() -> None:
    reason = Reason("FAILED_REQUESTS", failed=1, issued=2, failures={"timeout": 1}, more=[[1]])
    with pytest.raises(TypeError):
        reason.values["failed"] = 2  # type: ignore[index]
    with pytest.raises(TypeError):
        reason.values["failures"]["timeout"] = 2
    assert reason.values["more"] == ((1,),)


@pytest.mark.parametrize("kind", [Reason, NoticeRecord])
def test_a_copy_is_equal_and_prints_its_sentence_in_another_process(kind: type[Reason]) -> None:
    inner = Reason("mixed_meters", meters=["nvml", "amdsmi"], scope="gpu")
    whole = kind("of_pieces", missing=1, pieces=8, reason=inner, launches=[0])
    assert copy.deepcopy(whole) == whole
    there = "import pickle, sys; print(pickle.load(sys.stdin.buffer))"
    command = [sys.executable, "-c", there]
    told = subprocess.run(command, input=pickle.dumps(whole), capture_output=True, check=True)
    assert told.stdout.decode().strip() == sentence(whole)
    assert "nvml and amdsmi measure GPU boards" in sentence(whole)


def test_infinity_is_a_word_in_json_and_the_same_in_a_sentence() -> None:
    found = Reason("unexplained", longest_s=2.0, share=float("inf"))
    stored = jsonio.parse(jsonio.canonical(plain(found)))
    assert "inf% of their scatter" in sentence(found) == sentence(stored)


def test_launches_share_a_notice_that_reads_alike() -> None:
    def ratio(value: float, *launches: int) -> dict[str, Any]:
        told = {"code": "CROSS_CHECK", "device": "gpu0", "ratio": value}
        return told | ({"launches": list(launches)} if launches else {})

    lost = {"code": "SAMPLER_LOST", "said": "it ended"}
    of = [ratio(1.03, 0), ratio(1.0300001, 2), lost, lost]
    same = "gpu0: power readings give 1.030 times the energy of the counter"
    ended = Notice("SAMPLER_LOST", "it ended")
    assert notices(of, 3) == [Notice("CROSS_CHECK", f"launches 0, 2: {same}"), ended, ended]
    of.append(ratio(1.03, 1))
    assert notices(of, 3)[0].message == f"every launch: {same}"
    former = {"code": "CROSS_CHECK", "message": "launch 0: as told then"}
    assert notices([former], 1) == [Notice("CROSS_CHECK", "launch 0: as told then")]


@pytest.mark.parametrize("run", ALL, ids=lambda p: p.name[:12])
def test_a_committed_run_of_formulas_4_is_its_records_in_words(run: Path) -> None:
    stored = jsonio.read(run / "results.json")
    computed = results.to_document(results.compute(records.load(archive.open_source(run))))
    assert list(_sentences(computed)) == []
    if stored["formulas"] == "4":
        said = in_words(computed)
        assert said["notices"] == stored["notices"]
        assert list(_texts(said)) == list(_texts(stored))


@pytest.mark.parametrize("run", ALL, ids=lambda p: p.name[:12])
def test_no_face_shows_a_reason_as_it_is_stored(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Reports, and `kit show` of a run whose sealed results are of these formulas."""
    loaded = records.load(archive.open_source(run))
    computed = results.compute(loaded)
    document = jsonio.parse(jsonio.canonical(results.to_document(computed)))
    spec = jsonio.read(run / "spec.json")
    render.run(run.name, jsonio.read(run / "manifest.json"), spec, document)
    faces = [capsys.readouterr().out, report.html(run.name, loaded, computed)]
    faces += [plain_text.text(run.name, loaded, computed)]
    faces += [tidy.phases(computed), tidy.metrics(computed)]
    for shown in map(html.unescape, faces):
        assert not re.search(r"""['"]code['"]: ?['"]|Reason\(""", shown)


def _sentences(value: Any, key: str = "") -> Iterator[str]:
    """Texts under the keys where reasons stand."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _sentences(item, name)
    elif isinstance(value, list):
        for item in value:
            yield from _sentences(item, key)
    elif isinstance(value, str) and key in ("reason", "reasons", "doubts", "instead", "message"):
        yield value


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for _, item in sorted(value.items()):
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str):
        yield value


@pytest.mark.parametrize("wording", [reasons.TODAY, FORMULAS_4], ids=["today", "formulas 4"])
def test_vocabularies_know_what_is_said_with_them(wording: reasons.Wording) -> None:
    assert _vocabularies(wording) <= set(wording.words)


def _vocabularies(wording: reasons.Wording) -> set[str]:
    words = re.compile(r"\{\w+:([A-Za-z]+)\}")
    used = {how for said in wording.sentences.values() for how in words.findall(said)}
    return used - {"g", "ms", "upper", "and", *reasons._DIGITS}


@pytest.mark.parametrize("code", KINDS)
def test_a_former_sentence_says_the_same_values(code: str) -> None:
    assert set(_VALUE.findall(FORMULAS_4.sentences[code])) == set(KINDS[code].values)


def test_the_sentences_of_formulas_4_stay_as_they_were() -> None:
    """Archives of formulas 4 hold these sentences, and verify makes them again (`in_words`).

    Whoever rewords one, or a word in it, puts the former wording into
    `kit.energy.results.formerwords`, and leaves this digest alone. A new code changes nothing for
    these archives: put it in, and renew the digest.
    """
    words = {name: FORMULAS_4.words[name] for name in _vocabularies(FORMULAS_4)}
    told = {"sentences": FORMULAS_4.sentences, "words": words}
    digest = jsonio.digest(jsonio.canonical(told))
    assert digest == "3c2adb0cada66f546538c6ab274f924ccdc7361c9230f1b764adc314f9dc8113"
