"""The ledger: whatever lies in its place, what the chain shows, and attempts that travel along."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from kit.cli.main import dispatch
from kit.core import jsonio
from kit.core.errors import ArchiveRefused, UsageError
from kit.judge.verify import verify
from kit.store import attempts, audit, ledger, seal
from kit.store.store import LEDGER, Store
from tests import golden

Damage = Callable[[Path], object]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with three sealed runs of one spec."""
    root = tmp_path_factory.mktemp("ledger") / "runs"
    for status in ("complete", "failed", "complete"):
        golden.build(root, status, "it died" if status == "failed" else "")
    return root


@pytest.fixture
def store(built: Path, tmp_path: Path) -> Store:
    return Store(Path(shutil.copytree(built, tmp_path / "runs")))


def codes(ledger_audit: audit.Audit) -> set[str]:
    return {doubt.code for doubt in ledger_audit.doubts}


def lines_of(store: Store) -> list[bytes]:
    return (store.root / LEDGER).read_bytes().splitlines(keepends=True)


def test_a_sound_ledger_says_how_many_attempts_there_were(store: Store) -> None:
    ledger_audit = audit.full(store)
    assert ledger_audit.passed and ledger_audit.exit_code == 0
    assert "3 attempts registered" in ledger_audit.findings[-1].message


# --- what somebody did to it ------------------------------------------------------------------


def rewritten(change: Callable[[list[bytes]], object]) -> Damage:
    def damage(path: Path) -> None:
        lines = path.read_bytes().splitlines(keepends=True)
        change(lines)
        path.write_bytes(b"".join(lines))

    return damage


def swap(lines: list[bytes]) -> None:
    lines[1], lines[2] = lines[2], lines[1]


def rechained(lines: list[bytes]) -> None:
    """The entries of the failed attempt are gone, and the rest is chained again."""
    entries, prev = [json.loads(x) for x in (*lines[:2], *lines[4:])], ledger.GENESIS
    for number, entry in enumerate(entries):
        line = jsonio.canonical({**entry, "seq": number, "prev": prev})
        prev = jsonio.digest(line)
        entries[number] = line + b"\n"
    lines[:] = entries


FORGERIES: dict[str, tuple[Callable[[list[bytes]], object], str]] = {
    "edited": (
        lambda x: x.__setitem__(3, x[3].replace(b'"failed"', b'"complete"')),
        "LEDGER_CHAIN",
    ),
    "the last entry edited": (
        lambda x: x.__setitem__(-1, x[-1].replace(b'"complete"', b'"aborted"')),
        "LEDGER_ENTRIES",
    ),
    "exchanged": (swap, "LEDGER_CHAIN"),
    "one cut out": (lambda x: x.pop(1), "LEDGER_CHAIN"),
    "the first cut off": (lambda x: x.pop(0), "LEDGER_CHAIN"),
    "the last cut off": (lambda x: x.pop(), "LEDGER_RUNS"),
    "all cut off": (lambda x: x.clear(), "LEDGER_RUNS"),
    "cut out and chained again": (rechained, "LEDGER_RUNS"),
    "twice": (lambda x: x.append(x[-1]), "LEDGER_CHAIN"),
    "null": (lambda x: x.insert(2, b"null\n"), "LEDGER_CHAIN"),
    "a number": (lambda x: x.append(b"5\n"), "LEDGER_CHAIN"),
    "a list": (lambda x: x.append(b"[1]\n"), "LEDGER_CHAIN"),
    "an empty line": (lambda x: x.append(b"\n"), "LEDGER_CHAIN"),
    "an object": (lambda x: x.append(b'{"seq":0}\n'), "LEDGER_CHAIN"),
    "no UTF-8": (lambda x: x.append(b'{"kind":"\xff"}\n'), "LEDGER_CHAIN"),
    "deep": (lambda x: x.append(b"[" * 50_000 + b"\n"), "LEDGER_CHAIN"),
    "huge": (lambda x: x.append(b'{"kind":"' + b"a" * (2 << 20) + b'"}\n'), "LEDGER_CHAIN"),
    "a path for a hash": (
        lambda x: x.append(
            b'{"kind":"sealed","prev":"","seq":6,"run_hash":"../../etc","status":"complete"}\n'
        ),
        "LEDGER_CHAIN",
    ),
    "other kinds of value": (
        lambda x: x.append(
            b'{"id":[1],"kind":"sealed","prev":"","seq":6,"run_hash":5,"status":{}}\n'
        ),
        "LEDGER_CHAIN",
    ),
    "an end that is no entry": (lambda x: x.append(b"and more"), "LEDGER_CHAIN"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_every_command_reports_an_edited_ledger(
    store: Store, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    change, code = FORGERIES[name]
    rewritten(change)(store.root / LEDGER)
    assert code in codes(audit.full(store))
    at = ["--runs", str(store.root)]
    assert dispatch(["verify", "--store", *at]) == 4
    assert code in capsys.readouterr().out
    assert dispatch(["verify", "--store", "--json", *at]) == 4
    assert code in capsys.readouterr().out
    assert dispatch(["ls", *at]) == 0
    out, err = capsys.readouterr()
    assert (code in err) is (code != "LEDGER_ENTRIES") and out.count("\n") == 4
    assert dispatch(["show", store.runs()[0].name[:12], *at]) == 0


def test_a_torn_last_line_is_what_a_crash_leaves(store: Store) -> None:
    lines = lines_of(store)
    (store.root / LEDGER).write_bytes(b"".join(lines[:-1]) + lines[-1][:40])
    ledger_audit = audit.full(store)
    assert (
        codes(ledger_audit) == {"LEDGER_RUNS"}
        and "cut by a crash" in ledger_audit.findings[0].message
    )
    messages: list[str] = []
    (again,) = seal.recover(store, messages.append)
    assert [again.name[:12] in line and "was not in the ledger" in line for line in messages] == [
        True
    ]
    assert audit.full(store).passed


def test_recover_says_which_run_it_notes(store: Store) -> None:
    """Its entries were cut off: it is noted, and not as if nothing had been."""
    lines = lines_of(store)
    (store.root / LEDGER).write_bytes(b"".join(lines[:4]))
    messages: list[str] = []
    assert seal.recover(store, messages.append) == []
    assert len(messages) == 1 and "nothing shows how it came" in messages[0]
    assert store.ledger()[-1]["kind"] == "imported"
    assert seal.recover(store, messages.append) == [] and len(messages) == 1


def test_noting_does_not_heal_a_broken_chain(store: Store) -> None:
    rewritten(lambda x: x.pop(1))(store.root / LEDGER)
    before = codes(audit.full(store))
    store.note("registered", id="later")
    assert "LEDGER_CHAIN" in before <= codes(audit.full(store))


def test_a_deleted_run_is_ordinary_and_its_attempt_stays(store: Store) -> None:
    shutil.rmtree(store.runs()[0])
    ledger_audit = audit.full(store)
    assert ledger_audit.passed and "1 runs no longer here" in ledger_audit.findings[-1].message
    assert "3 attempts" in ledger_audit.findings[-1].message


def test_an_attempt_without_an_outcome_is_worth_a_question(store: Store) -> None:
    store.note("registered", id="dead0000", spec_hash="a" * 64)
    last = audit.full(store).findings[-1]
    assert last.status == "WARN" and "no outcome of dead0000" in last.message


def test_another_run_under_a_runs_name_is_found(store: Store) -> None:
    first, second, _ = store.runs()
    shutil.rmtree(first)
    shutil.copytree(second, first)
    assert "LEDGER_ENTRIES" in codes(audit.full(store))


def test_copies_of_a_sync_tool_are_reported(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    run = store.runs()[0]
    run.rename(run.with_name(f"{run.name} (1)"))
    assert dispatch(["ls", "--runs", str(store.root)]) == 0
    out, err = capsys.readouterr()
    assert out.count("\n") == 3 and f"'{run.name} (1)'" in err
    assert dispatch(["show", run.name[:12], "--runs", str(store.root)]) == 2
    assert "renamed" in capsys.readouterr().err
    assert dispatch(["show", str(run.with_name(f"{run.name} (1)"))]) == 0


# --- what else may lie in its place -------------------------------------------------------------


def make_socket(path: Path) -> None:
    held = Path.cwd()
    os.chdir(path.parent)  # a socket's path may not be long
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)
    os.chdir(held)


PLACES: dict[str, Damage] = {
    "a folder": lambda p: p.mkdir(),
    "a pipe": os.mkfifo,
    "a socket": make_socket,
    "a link to a device": lambda p: p.symlink_to("/dev/zero"),
    "a link to itself": lambda p: p.symlink_to(p),
    "a link to nowhere": lambda p: p.symlink_to("nowhere"),
    "a link to a file": lambda p: p.symlink_to("/etc/passwd"),
    "a binary file": lambda p: p.write_bytes(os.urandom(1 << 20)),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_file_that_is_no_ledger_is_reported_and_left_alone(
    store: Store, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = store.root / LEDGER
    path.unlink()
    PLACES[place](path)
    before = path.lstat()
    at = ["--runs", str(store.root)]
    assert dispatch(["verify", "--store", *at]) == 4
    assert dispatch(["ls", *at]) == 0
    assert "LEDGER_CHAIN" in capsys.readouterr().err
    with pytest.raises(UsageError):
        seal.recover(store)
    with pytest.raises(UsageError):
        store.note("registered", id="x")
    assert dispatch(["recover", *at]) == 2
    assert path.name in capsys.readouterr().err
    assert dispatch(["show", store.runs()[0].name[:12], *at]) == 0
    assert (before.st_ino, before.st_size) == (path.lstat().st_ino, path.lstat().st_size)


# --- attempts that travel with a run ------------------------------------------------------------


def exported(store: Store, out: Path) -> Path:
    return seal.export(store.runs()[0], out, ledger=store.ledger_read())


def said_of_attempts(path: Path) -> str:
    return next((c.message for c in verify(path).checks if c.code == "ATTEMPTS"), "")


def test_an_export_carries_the_attempts_of_its_spec(store: Store, tmp_path: Path) -> None:
    store.note("registered", id="other000", spec_hash="a" * 64)
    packed = exported(store, tmp_path)
    verdict = verify(packed)
    assert verdict.passed
    sentence = said_of_attempts(packed)
    assert sentence.startswith(
        "3 attempts of this spec are known to the exporter's ledger, 2 complete"
    )
    assert verdict.run_hash == store.runs()[0].name, "they are no part of the hash"
    assert packed.read_bytes() == exported(store, tmp_path / "again.kit.zip").read_bytes()


def test_the_command_line_exports_them_too(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, name in enumerate((store.runs()[0].name, str(store.runs()[0]))):
        out = str(tmp_path / f"{number}.kit.zip")
        assert dispatch(["export", name, out, "--runs", str(store.root)]) == 0
        assert said_of_attempts(Path(out)).startswith("3 attempts")
    capsys.readouterr()


def test_an_import_keeps_them_and_a_later_export_adds_to_them(store: Store, tmp_path: Path) -> None:
    other = Store(tmp_path / "other")
    imported = seal.import_(exported(store, tmp_path), other)
    assert said_of_attempts(imported).startswith("3 attempts")
    spec_hash = other.ledger()[-1]["spec_hash"]
    other.note("registered", id="replay00", spec_hash=spec_hash)
    again = seal.export(imported, tmp_path / "again.kit.zip", ledger=other.ledger_read())
    assert said_of_attempts(again).startswith("4 attempts")
    back = seal.export(imported, tmp_path / "back.kit.zip", ledger=store.ledger_read())
    assert said_of_attempts(back).startswith("3 attempts"), "its own ledger is not counted twice"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not JSON"),
        (b"null", "Expected"),
        (b"{}", "missing"),
        (
            b'{"schema":"kit.attempts/9","spec_hash":"","ledgers":[]}',
            "is not kit.attempts/1",
        ),
        (b'{"schema":"kit.attempts/1","spec_hash":"00","ledgers":[]}', "another spec"),
        (b"[" * 9999, "deeper"),
        (
            b'{"schema":"kit.attempts/1","spec_hash":"00","ledgers":[{"attempts":5}]}',
            "Expected",
        ),
    ],
)
def test_attempts_that_are_malformed_spoil_nothing_and_count_for_nothing(
    store: Store, tmp_path: Path, data: bytes, says: str
) -> None:
    run = store.runs()[0]
    (run / "seal").mkdir()
    (run / "seal/attempts.json").write_bytes(data)
    verdict = verify(run)
    (check,) = [c for c in verdict.checks if c.code == "ATTEMPTS"]
    assert verdict.passed and check.status == "WARN" and says in check.message
    packed = exported(store, tmp_path)
    assert said_of_attempts(packed).startswith("3 attempts"), "and are not carried on"


def test_an_excerpt_names_the_whole_ledger(store: Store) -> None:
    excerpt = attempts.excerpt(store.ledger_read(), store.ledger()[0]["spec_hash"])
    assert excerpt is not None and excerpt.entries == 6
    assert excerpt.head == jsonio.digest(lines_of(store)[-1].rstrip(b"\n"))
    assert [a.status for a in excerpt.attempts] == ["complete", "failed", "complete"]
    assert attempts.excerpt(store.ledger_read(), "0" * 64) is None


# --- an import beside what is there -------------------------------------------------------------


@pytest.mark.parametrize("altered", ["edited", "missing", "extra", "a file", "a link"])
def test_an_import_onto_an_altered_run_is_refused(
    store: Store, tmp_path: Path, altered: str, capsys: pytest.CaptureFixture[str]
) -> None:
    packed, run = exported(store, tmp_path), store.runs()[0]
    changes: dict[str, Callable[[], object]] = {
        "edited": lambda: (run / "results.json").write_bytes(b"{}"),
        "missing": lambda: (run / "results.json").unlink(),
        "extra": lambda: (run / "more.json").write_bytes(b"{}"),
        "a file": lambda: (shutil.rmtree(run), run.write_bytes(b"")),
        "a link": lambda: (run / "results.json").unlink() or (run / "results.json").symlink_to("x"),
    }
    changes[altered]()
    assert dispatch(["import", str(packed), "--runs", str(store.root)]) == 4
    err = capsys.readouterr().err
    assert run.name[:12] in err and "import again" in err
    shutil.rmtree(run) if run.is_dir() else run.unlink()
    assert verify(seal.import_(packed, store)).passed


def test_an_import_onto_a_sound_run_changes_nothing(store: Store, tmp_path: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in store.runs()[0].rglob("*")}
    assert seal.import_(exported(store, tmp_path), store) == store.runs()[0]
    assert {p: p.stat().st_mtime_ns for p in store.runs()[0].rglob("*")} == before


def test_an_archive_cannot_be_exported_by_its_attempts(store: Store, tmp_path: Path) -> None:
    (store.runs()[0] / "results.json").write_bytes(b"{}")
    with pytest.raises(ArchiveRefused):
        exported(store, tmp_path)
