"""Commands against whatever may lie in a store, in a run, or where they write.

Each ends with a documented code and at most one error of two lines: no traceback, no hang, nothing
lost.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kit.cli.main import dispatch
from kit.core.errors import KitError
from kit.judge.verify import verify
from kit.record import archive
from kit.store import seal, verdicts
from kit.store.store import Store
from tests import golden

Damage = Callable[[Path], object]
CODES = {0, 1, 2, 3, 4, 5, 6}
LONGEST_S = 600


@pytest.fixture(autouse=True)
def no_hang() -> Iterator[None]:
    """A pipe or a device must not make a command wait."""

    def ring(*_: object) -> None:
        raise TimeoutError(f"still at it after {LONGEST_S} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(LONGEST_S)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("odd") / "runs"
    golden.build(root)
    golden.build(root)
    return root


@pytest.fixture
def store(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.chdir(tmp_path)
    return Store(Path(shutil.copytree(built, tmp_path / "runs")))


def run_kit(*words: object) -> int:
    """One command in this process: what it does not catch fails the test."""
    code = dispatch([str(word) for word in words])
    assert code in CODES
    return code


def one_error(err: str) -> bool:
    """One error and its remedy, and no traceback."""
    return err.count("error:") == 1 and "Traceback" not in err and len(err.splitlines()) <= 3


# --- files that are no files --------------------------------------------------------------------


def make_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's path may not be long
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)
    os.chdir(here)


KINDS: dict[str, Damage] = {
    "pipe": os.mkfifo,
    "socket": make_socket,
    "folder": lambda p: p.mkdir(),
    "zeros": lambda p: p.symlink_to("/dev/zero"),
    "itself": lambda p: p.symlink_to(p.name),
    "nowhere": lambda p: p.symlink_to("nowhere"),
    "a file elsewhere": lambda p: p.symlink_to("/etc/hostname"),
    "empty": lambda p: p.write_bytes(b""),
    "noise": lambda p: p.write_bytes(os.urandom(4096)),
    "null": lambda p: p.write_bytes(b"null\n"),
    "nested": lambda p: p.write_bytes(b"[" * 100_000),
}
PLACES = [
    ".index.json",
    ".verdicts.json",
    ".gitattributes",
    ".inflight",
    ".inflight/0123abcd",
    ".inflight/0123abcd.scratch",
    ".inflight/0123abcd/events.jsonl",
    ".inflight/0123abcd.scratch/lock",
    ".inflight/0123abcd.scratch/order.json",
    "ab" * 32,
    "cd" * 32 + "/manifest.json",
    "a stray",
    "a stray folder/manifest.json",
]


def put(path: Path, kind: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    KINDS[kind](path)


@pytest.mark.heavy
@pytest.mark.parametrize("place", PLACES)
def test_strays_in_a_store(store: Store, place: str, capsys: pytest.CaptureFixture[str]) -> None:
    runs, at = store.runs(), ("--runs", store.root)
    for kind in KINDS:
        put(store.root / place, kind)
        assert run_kit("ls", *at) == 0, kind
        assert capsys.readouterr().out.count("complete") == len(runs)
        run_kit("verify", "--store", *at)
        try:
            seal.recover(store)
        except KitError as error:
            assert error.message and error.remedy
    assert run_kit("show", runs[0].name[:12], *at) == 0
    for run in runs:
        seal.check_integrity(archive.open_source(run))


LOOKING: list[tuple[str, ...]] = [
    ("show", "RUN"),
    ("show", "RUN", "--json"),
    ("report", "RUN", "--format", "text"),
    ("report", "RUN", "--format", "csv"),
    ("report", "RUN", "--out", "page.html"),
    ("report", "GOOD", "--format", "text", "--against", "RUN"),
    ("compare", "RUN", "GOOD"),
    ("compare", "GOOD", "RUN", "--json"),
    ("verify", "RUN"),
    ("export", "RUN", "OUT"),
    ("recompute", "RUN"),
    ("replay", "RUN", "--yes"),
]


@pytest.mark.heavy
@pytest.mark.parametrize("kind", ["pipe", "folder", "zeros", "itself", "noise", "null"])
@pytest.mark.parametrize("name", ["manifest.json", "results.json", "env"])
def test_strays_in_a_run(
    store: Store, name: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is not what was sealed is refused by every command that would show or use it."""
    run, good = store.runs()
    put(run / name, kind)
    capsys.readouterr()
    for words in LOOKING:
        code = run_kit(*_filled(words, run, good), "--runs", store.root)
        assert code == 4 or (code == 2 and (words[0], name) == ("export", "manifest.json")), words
        out, err = capsys.readouterr()
        assert words[0] in ("verify", "replay") or (not out and one_error(err)), (words, out, err)
    assert run_kit("ls", "--runs", store.root) == 0


def _filled(words: tuple[str, ...], run: Path, good: Path) -> list[str]:
    names = {"RUN": str(run), "GOOD": str(good), "OUT": "out.kit.zip"}
    return [names.get(word, word) for word in words]


VALUES = [None, 5, {"a": {"b": [1, None]}}, {"metrics": {"a": {"value": 1e308}}, "launches": [1]}]
DOCUMENTS = ["spec.json", "plan.json", "results.json", "env/start.json", "env/end.json"]
DOCUMENTS += ["launches/000/driver.json", "launches/000/effective.json"]
COMPUTING = [words for words in LOOKING if words[0] in ("show", "report", "compare", "recompute")]


@pytest.mark.heavy
@pytest.mark.parametrize("name", DOCUMENTS)
def test_malformed_documents_that_were_sealed(
    store: Store, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A forger lists what they like: hashes are right, and the form is not."""
    run, good = store.runs()
    for value in VALUES if name != "plan.json" else VALUES[2:]:
        (run / name).write_bytes(json.dumps(value).encode())
        run = golden.reseal(run)
        _all_commands(run, good, store, capsys)


LINES = [b"null\n", b'{"seq":0}\n', b"\xff\n", b"[" * 9999]
STREAMS = ["events.jsonl", "inputs/schedule.jsonl", "launches/000/requests.jsonl"]
STREAMS += ["launches/000/responses.jsonl", "samples/nvml.csv"]


@pytest.mark.heavy
@pytest.mark.parametrize("name", STREAMS)
def test_malformed_records_that_were_sealed(
    store: Store, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run, good = store.runs()
    before = (run / name).read_bytes()
    for data in (LINES[0], *(before + line for line in LINES)):
        (run / name).write_bytes(data)
        run = golden.reseal(run)
        _all_commands(run, good, store, capsys)


def _all_commands(run: Path, good: Path, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    for words in COMPUTING:
        code = run_kit(*_filled(words, run, good), "--runs", store.root)
        err = capsys.readouterr().err
        assert code in (0, 4) or words[0] == "recompute", words
        assert code != 4 or one_error(err), (words, err)
    assert run_kit("ls", "--runs", store.root) == 0


# --- where they read from and write to ------------------------------------------------------------


@pytest.mark.parametrize("command", ["show", "verify", "report", "export", "recompute"])
@pytest.mark.parametrize(
    "named", ["", "..", "/", "/dev/zero", "/dev/null", "a pipe", "no such", "a\0b", "x" * 5000,
              "\x1b[2J", "../runs", "é"],
)  # fmt: skip
def test_what_is_no_run(
    store: Store, command: str, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo("a pipe")
    assert run_kit(command, named, "--runs", store.root) in (2, 4)
    err = capsys.readouterr().err
    assert one_error(err) and "\x1b" not in err


@pytest.mark.parametrize("kind", ["file", "pipe", "zeros", "nowhere", "itself"])
@pytest.mark.parametrize("command", ["ls", "verify --store", "recover", "show ab", "import x.zip"])
def test_what_is_no_store(
    tmp_path: Path, kind: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    KINDS.get(kind, KINDS["noise"])(tmp_path / "runs")
    assert run_kit(*command.split(), "--runs", tmp_path / "runs") == 2
    assert one_error(capsys.readouterr().err)


@pytest.mark.parametrize(
    "command",
    ["ls", "ls --json", "show ab", "compare ab cd", "report ab", "verify ab", "verify --store",
     "export ab", "recompute ab", "replay ab", "attach"],
)  # fmt: skip
def test_a_store_that_is_not_there_is_an_error_to_whatever_reads(
    tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_kit(*command.split(), "--runs", tmp_path / "none") == 2
    err = capsys.readouterr().err
    assert one_error(err) and "there is no folder" in err and "--runs" in err
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("kind", ["empty", "noise", "null", "folder", "pipe", "zeros", "nowhere"])
def test_imports_of_what_is_no_run(
    store: Store, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(p.name for p in store.root.iterdir())
    KINDS[kind](Path("got.kit.zip"))
    assert run_kit("import", "got.kit.zip", "--runs", store.root) in (2, 4)
    assert one_error(capsys.readouterr().err)
    assert sorted(p.name for p in store.root.iterdir() if p != store.inflight) == [
        name for name in before if name != ".inflight"
    ]


@pytest.mark.parametrize(
    "out",
    ["/proc/x.kit.zip", "/dev/full", "no/such/folder/x.kit.zip", "taken.kit.zip", "/dev/null"],
)
def test_exports_that_cannot_be_written(
    store: Store, out: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("taken.kit.zip").mkdir()
    (Path("taken.kit.zip") / f"{store.runs()[0].name}.kit.zip").mkdir()
    assert run_kit("export", store.runs()[0], out) == 2
    assert one_error(capsys.readouterr().err)
    assert not list(Path.cwd().rglob("*.part"))


def test_an_export_into_a_folder(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    Path("there").mkdir()
    assert run_kit("export", store.runs()[0], "there") == 0
    assert verify(Path(capsys.readouterr().out.strip())).passed


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
@pytest.mark.parametrize("command", ["export RUN FULL", "report RUN --out FULL/page.html"])
@pytest.mark.parametrize("options", ["size=8k", "ro"])
def test_a_full_disk_and_a_read_only_one(
    store: Store, command: str, options: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("full").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", "full"]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this machine does not let a test mount")
    try:
        words = command.replace("FULL", "full").replace("RUN", str(store.runs()[0])).split()
        assert run_kit(*words) == 2
        assert one_error(capsys.readouterr().err)
        assert not list(Path("full").glob("*.part"))
    finally:
        subprocess.run(["umount", "full"], check=True)


@pytest.mark.parametrize(
    ("words", "to"),
    [
        ("ls", "> /dev/full"),
        ("ls", ">&-"),
        ("ls", "> /dev/full 2> /dev/full"),
        ("ls", ">&- 2>&-"),
        ("ls --json", "> /dev/full"),
        ("show RUN", "> /dev/full"),
        ("verify RUN", ">&-"),
        ("report RUN --format text", "> /dev/full"),
        ("report RUN --format csv", "| true"),
        ("schema plan", "| true"),
        ("--help", "> /dev/full"),
    ],
)
def test_output_that_nobody_takes(store: Store, words: str, to: str) -> None:
    command = words.replace("RUN", store.runs()[0].name[:12])
    buffered = "env -u PYTHONUNBUFFERED"  # unwritten output is tried again at exit
    line = f'{buffered} "{sys.executable}" -m kit {command} {to}; echo ${{PIPESTATUS[0]}} >&3'
    done = subprocess.run(
        ["bash", "-c", f"exec 3>code; {line}"], capture_output=True, text=True, check=False
    )
    code, err = int(Path("code").read_text()), done.stderr
    assert code == (1 if "full" in to else 0), (code, err)
    assert "Traceback" not in err and "Exception ignored" not in err
    assert err.count("error:") == (1 if to == "> /dev/full" else 0)


# --- verdicts that are kept -----------------------------------------------------------------------


def checked(store: Store, capsys: pytest.CaptureFixture[str]) -> list[str]:
    capsys.readouterr()
    assert run_kit("ls", "--json", "--runs", store.root) == 0
    return sorted(row["checked"] for row in json.loads(capsys.readouterr().out))


def test_a_list_shows_the_last_verdict_and_never_hashes(
    store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = store.runs()
    assert checked(store, capsys) == ["unchecked", "unchecked"]
    assert run_kit("verify", first) == 0 and run_kit("show", second) == 0
    monkeypatch.setattr("kit.record.manifest.check_listed", None)
    assert checked(store, capsys) == ["intact", "verified"]
    monkeypatch.undo()
    assert run_kit("show", first) == 0
    assert checked(store, capsys) == ["intact", "verified"], "the deeper verdict stays"


@pytest.mark.parametrize("change", ["bytes", "same size and time", "more", "less", "exchanged"])
def test_a_change_makes_a_run_unchecked(
    store: Store, change: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run, _ = store.runs()
    run_kit("verify", run)
    path = run / "results.json"
    data, facts = path.read_bytes(), path.stat()
    if change == "more":
        (run / "more.json").write_bytes(b"{}")
    elif change == "less":
        path.unlink()
    elif change == "exchanged":
        other = run / "other"
        other.write_bytes(data.replace(b"1", b"2"))
        os.utime(other, ns=(facts.st_atime_ns, facts.st_mtime_ns))
        other.replace(path)
    else:
        path.write_bytes(data.replace(b"1", b"2") if change != "bytes" else data + b" ")
        os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert checked(store, capsys) == ["unchecked", "unchecked"]
    assert run_kit("show", run) == 4
    failed = [word for word in checked(store, capsys) if word.startswith("failed: ")]
    assert len(failed) == 1


def test_a_moved_store_keeps_its_verdicts_and_a_copy_has_none(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    run_kit("verify", store.runs()[0])
    moved = Store(store.root.rename(store.root.with_name("moved")))
    assert "verified" in checked(moved, capsys)
    copied = Store(Path(shutil.copytree(moved.root, "copied")).absolute())
    assert checked(copied, capsys) == ["unchecked", "unchecked"]


@pytest.mark.parametrize(
    "data",
    [b"", b"null", b"[]", b'{"kit":"0","runs":{}}', b'{"kit":"0.1.0","runs":{"a":5}}', b"[" * 9999],
)
def test_verdicts_that_kit_did_not_write_are_thrown_away(
    store: Store, data: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (store.root / ".verdicts.json").write_bytes(data)
    assert checked(store, capsys) == ["unchecked", "unchecked"]
    run_kit("verify", store.runs()[0])
    assert checked(store, capsys) == ["unchecked", "verified"]


def test_a_verdict_is_kept_in_a_store_alone(store: Store) -> None:
    Path("mail").mkdir()
    apart = Path(shutil.copytree(store.runs()[0], Path("mail") / store.runs()[0].name))
    assert run_kit("verify", apart) == 0
    assert [p.name for p in Path("mail").iterdir()] == [apart.name]
    packed = seal.export(apart, Path("mail"))
    assert run_kit("verify", packed) == 0 and not verdicts.identity(packed)


def test_a_failure_that_was_found_is_not_forgotten_by_a_shallower_look(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    run, _ = store.runs()
    golden.edit_json(run / "results.json", lambda r: r.update(formulas=r["formulas"], metrics={}))
    forged = golden.reseal(run)
    assert run_kit("verify", forged) == 4
    run_kit("show", forged)
    assert any(word.startswith("failed: ") for word in checked(store, capsys))


# --- sealed runs stay as they are ---------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        "report RUN --format text --out AT/results.json",
        "report RUN --out AT/new/page.html",
        "report RUN --figures AT",
        "report RUN --figures AT/figures",
        "export RUN AT",
        "export RUN AT/results.json",
        "compare RUN RUN --format csv --out AT/a.csv",
        "schema plan --out AT/plan.json",
        "init AT/spec.json --force",
        "images context loopback AT/context",
    ],
)
@pytest.mark.parametrize("link", [False, True])
def test_nothing_is_written_into_a_sealed_run(
    store: Store, command: str, link: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    (sealed, *_) = store.runs()
    at = Path("elsewhere") if link else sealed
    if link:
        at.symlink_to(sealed)
    before = {path: path.read_bytes() for path in sealed.rglob("*") if path.is_file()}
    words = command.replace("AT", str(at)).replace("RUN", sealed.name[:12]).split()
    if sealed.name[:12] in words:
        words += ["--runs", str(store.root)]
    assert run_kit(*words) == 2
    err = capsys.readouterr().err
    assert one_error(err) and "sealed run" in err
    assert {path: path.read_bytes() for path in sealed.rglob("*") if path.is_file()} == before
