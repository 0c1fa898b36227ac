"""One forgery a row: change a golden run's container or files and ask for the reason code by name.

The numbers are those of the table in the format's specification; deeper rows stand in
``test_mutations_records.py``.
"""

from __future__ import annotations

import re
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kit.core import jsonio
from kit.judge.verify import LEVELS, verify
from kit.record import archive
from kit.record.events import FILE
from kit.record.manifest import run_hash
from kit.store import seal
from tests import golden
from tests.verify.forging import failed

Change = Callable[[Path], object]
GPU = "samples/nvml.csv"


def test_the_golden_run_passes(original: Path, tmp_path: Path) -> None:
    for path in (original, seal.export(original, tmp_path)):
        verdict = verify(path)
        assert verdict.failures == ()
        assert (verdict.exit_code, verdict.run_hash) == (0, original.name)
        assert {c.level for c in verdict.checks} == {"L0", "L1", "L2", "L3", "L4", "L5", "L6"}
        assert verdict.claim.startswith("consistent")
    assert ("IDENTITY", "WITHHELD") in {(c.code, c.status) for c in verdict.checks}


def test_sealing_again_without_a_change_still_passes(run: Path) -> None:
    """The forger's tools below do not themselves leave a trace that the tests would see."""
    golden.rechain(run / FILE, lambda events: None)
    golden.recompute(run)
    again = golden.reseal(run)
    assert verify(again).passed
    assert again.name == run.name


# --- L0: rows 1 to 7 --------------------------------------------------------------------------


def info(name: str, mode: int = 0o100644) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    info.external_attr = mode << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    return info


def with_member(path: Path, name: str, data: bytes = b"x", mode: int = 0o100644) -> None:
    """Add a member below the top folder (or anywhere, for a name with a leading slash)."""
    top = path.name.partition(".")[0]
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(info(name if name.startswith(("/", "..")) else f"{top}/{name}", mode), data)


def duplicate(path: Path) -> None:
    with_member(path, "spec.jsom")
    data = path.read_bytes()
    path.write_bytes(data.replace(b"spec.jsom", b"spec.json"))


def headers_differ(path: Path) -> None:
    data = bytearray(path.read_bytes())
    struct.pack_into("<L", data, 14, 0xDEADBEEF)
    path.write_bytes(data)


def nul(path: Path) -> None:
    with_member(path, "abcd.json")
    path.write_bytes(path.read_bytes().replace(b"abcd.json", b"ab\0d.json"))


def trailing(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def prefixed(path: Path) -> None:
    path.write_bytes(b"#!/bin/sh\n" + path.read_bytes())


@pytest.mark.parametrize(
    ("row", "mutate", "code"),
    [
        (1, lambda p: with_member(p, "../evil"), "NAME_UNSAFE"),
        (1, lambda p: with_member(p, "/etc/cron.d/evil"), "NAME_UNSAFE"),
        (2, lambda p: with_member(p, "link", b"/etc/passwd", 0o120777), "NOT_A_FILE"),
        (2, lambda p: with_member(p, "device", b"", 0o020666), "NOT_A_FILE"),
        (3, duplicate, "NAME_DUPLICATE"),
        (4, headers_differ, "ZIP_HEADERS_DIFFER"),
        (5, trailing, "ZIP_SURROUNDED"),
        (5, prefixed, "ZIP_SURROUNDED"),
        (6, lambda p: with_member(p, "bomb.json", bytes(20 << 20)), "BOMB"),
        (7, nul, "NAME_UNSAFE"),
        (7, lambda p: with_member(p, "SPEC.json"), "NAME_TWINS"),
        (7, lambda p: with_member(p, "spe\u0441.json"), "NAME_UNSAFE"),
    ],
)
def test_each_fault_of_the_container_has_its_code(
    original: Path, tmp_path: Path, row: int, mutate: Change, code: str
) -> None:
    packed = seal.export(original, tmp_path)
    mutate(packed)
    verdict = verify(packed)
    assert failed(verdict) == {code}
    assert verdict.failures[0].level == "L0"


def test_row_2_a_hard_link_in_a_folder_is_a_warning(run: Path, tmp_path: Path) -> None:
    """A hard-linked backup; what somebody writes through the other name shows by its hash."""
    (tmp_path / "twin").hardlink_to(run / "spec.json")
    verdict = verify(run)
    assert verdict.passed and ("HARD_LINK", "WARN") in {(c.code, c.status) for c in verdict.checks}
    (tmp_path / "twin").write_bytes(b"{}")
    assert failed(verify(run)) == {"HASH_MISMATCH"}


# --- output: row 8 ------------------------------------------------------------------------------

EVIL = "\x1b[2J\x1b]0;owned\x07[bold green]VERIFIED[/]\u202e\u200b"


def test_row_8_escapes_in_any_string_never_reach_a_message(run: Path) -> None:
    """A forger's texts stand in the spec, the journal, the results, the manifest."""

    def poison(events: list[dict[str, Any]]) -> None:
        events[-1]["data"]["reason"] = EVIL
        events[1]["kind"] = EVIL

    golden.rechain(run / FILE, poison)
    golden.edit_json(run / "results.json", lambda r: r.update({EVIL: EVIL}))
    golden.edit_json(run / "spec.json", lambda s: s.update({EVIL: EVIL}))
    golden.edit_json(run / "manifest.json", lambda m: m.update(reason=EVIL))
    verdict = verify(golden.reseal(run))
    assert not verdict.passed
    output = jsonio.canonical(verdict.as_dict()).decode() + "".join(
        c.message for c in verdict.checks
    )
    assert not any(c in output for c in "\x1b\x07\u202e\u200b")


@pytest.mark.parametrize("name", ["schema", "critical"])
def test_row_8_escapes_in_a_refused_manifest_never_reach_a_message(run: Path, name: str) -> None:
    evil: Any = [EVIL] if name == "critical" else EVIL
    golden.edit_json(run / "manifest.json", lambda m: m.update({name: evil}))
    message = verify(golden.reseal(run)).failures[0].message
    assert "\x1b" not in message
    assert "\u202e" not in message


# --- L1: rows 9 to 13 ---------------------------------------------------------------------------


def test_row_9_bit_flip_in_samples(run: Path) -> None:
    data = bytearray((run / GPU).read_bytes())
    data[-3] ^= 1
    (run / GPU).write_bytes(data)
    assert failed(verify(run)) == {"HASH_MISMATCH"}


@pytest.mark.parametrize(
    "name", ["more.json", "seal/x.json", "seal/sub/a.sshsig", "private/b.json"]
)
def test_row_10_extra_file(run: Path, name: str) -> None:
    (run / name).parent.mkdir(parents=True, exist_ok=True)
    (run / name).write_bytes(b"{}")
    assert failed(verify(run)) == {"EXTRA_FILE"}


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("alice.sshsig", "SIGNATURE"),
        ("alice.sigstore.json", "SIGNATURE"),
        ("end.tsr", "REGISTRATION"),
    ],
)
@pytest.mark.parametrize("data", [b"", b"x", b"-----BEGIN SSH SIGNATURE-----\nU1NIU0lH\n"])
def test_what_lies_under_seal_is_present_and_not_checked(
    run: Path, name: str, code: str, data: bytes
) -> None:
    """It may be added later; whatever it is, nobody is said to have signed or stamped anything."""
    (run / "seal").mkdir()
    (run / "seal" / name).write_bytes(data)
    verdict = verify(run)
    assert verdict.passed
    (check,) = [c for c in verdict.checks if c.code == code]
    assert check.status == "SKIP"
    assert "present, not checked" in check.message
    assert verdict.levels["L2"] == "SKIP"
    assert not any(
        word in c.message.lower() for c in verdict.checks for word in ("signed;", "stamped;")
    )


def test_without_a_seal_nobody_is_said_to_vouch(original: Path) -> None:
    messages = {c.code: c.message for c in verify(original).checks}
    assert "unsigned" in messages["SIGNATURE"]
    assert "unproven" in messages["REGISTRATION"]


@pytest.mark.parametrize("name", [GPU, "spec.json", "launches/000/container.log"])
def test_row_11_missing_file(run: Path, name: str) -> None:
    (run / name).unlink()
    assert failed(verify(run)) == {"LISTED_FILE_MISSING"}


def test_row_11_missing_manifest(run: Path) -> None:
    (run / "manifest.json").unlink()
    assert failed(verify(run)) == {"MISSING_FILE"}


def test_row_12_file_and_manifest_both_edited(run: Path, tmp_path: Path) -> None:
    (run / "launches/000/container.log").write_bytes(b"nothing happened\n")
    forged = golden.reseal(run)
    assert verify(forged).passed  # consistent; but it is another run, and says so by its name
    back = forged.rename(tmp_path / run.name)
    assert failed(verify(back)) == {"HASH_NAME"}


def test_row_12_a_folder_without_a_hash_for_a_name_is_told(run: Path, tmp_path: Path) -> None:
    verdict = verify(run.rename(tmp_path / "my-run"))
    assert verdict.passed
    assert ("HASH_NAME", "WARN") in {(c.code, c.status) for c in verdict.checks}


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        (b'{"clock"', b'{\n"clock"', "MANIFEST_NOT_CANONICAL"),
        (b'"reason":""', b'"reason":"","reason":""', "JSON_DUPLICATE_KEY"),
        (b'"critical":[]', b'"critical":[NaN]', "JSON_NOT_FINITE"),
        (b'"critical":[]', b'"critical":[9007199254740992]', "MANIFEST_INTEGER"),
        (b'"critical":[]', b'"critical":["newer"]', "MANIFEST_UNSUPPORTED"),
        (b'"kit.run/1"', b'"kit.run/0"', "MANIFEST_UNSUPPORTED"),
    ],
    ids=["13-whitespace", "13-twice", "13-nan", "14-integer", "20-critical", "20-downgraded"],
)
def test_rows_13_14_20_an_edited_manifest_has_the_code_of_its_fault(
    run: Path, old: bytes, new: bytes, code: str
) -> None:
    path = run / "manifest.json"
    path.write_bytes(path.read_bytes().replace(old, new))
    assert failed(verify(run)) == {code}


def test_row_20_a_run_of_a_newer_kit_is_unsupported(run: Path) -> None:
    golden.edit_json(run / "manifest.json", lambda m: m.update(schema="kit.run/2"))
    verdict = verify(golden.reseal(run))
    assert (verdict.outcome, verdict.exit_code) == ("UNSUPPORTED", 4)
    assert "too old" in verdict.claim
    assert verdict.as_dict()["levels"]["L4"] == "NOT_REACHED"


def test_rows_13_a_lone_surrogate_in_the_manifest(run: Path) -> None:
    path = run / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"reason":""', b'"reason":"\\ud800"'))
    assert failed(verify(run)) == {"JSON_MALFORMED"}


def test_a_verdict_says_level_by_level_what_was_checked(original: Path) -> None:
    verdict = verify(original)
    assert verdict.outcome == "PASS"
    assert {verdict.levels[level] for level in LEVELS if level != "L2"} == {"PASS"}
    assert verdict.levels["L2"] == "SKIP"
    assert "registration unproven" in verdict.claim


@pytest.mark.parametrize("name", ["spec", "plan", "result"])
def test_a_manifest_whose_own_hashes_name_other_files_is_found(run: Path, name: str) -> None:
    path = run / "manifest.json"
    golden.edit_json(path, lambda m: m.update({f"{name}_hash": "0" * 64}))
    named = run.rename(run.with_name(run_hash(path.read_bytes())))
    assert failed(verify(named)) == {"ROOT_HASHES"}


def test_all_codes_have_a_meaning_and_one_level() -> None:
    from kit.judge.verify import codes

    tables = [codes.L0, codes.L1, codes.L2, codes.L3, codes.L4, codes.L5, codes.L6]
    every = [code for table in tables for code in table]
    assert len(every) == len(set(every))
    assert set(archive.CODES) <= set(every)
    assert all(codes.MEANING[code] and codes.level_of(code) in codes.LEVELS for code in every)


def test_every_code_is_asked_for_by_a_test() -> None:
    """A check whose code no test names was never seen to find anything."""
    from kit.judge.verify import codes

    passing = {"CONTAINER", "PLAUSIBILITY"}  # these never fail: the one passes, the other skips
    tests = "".join(path.read_text() for path in Path(__file__).parents[1].rglob("test_*.py"))
    asked = set(re.findall(r'"([A-Z_0-9]+)"', tests))
    unasked = sorted(set(codes.MEANING) - asked - passing)
    assert not unasked, f"forge a run in tests/verify that gives {', '.join(unasked)}"
