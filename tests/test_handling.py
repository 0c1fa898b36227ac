"""Sealed runs after ordinary handling: clones, file managers, sync tools, backups, other packers.

What systems and tools leave behind is a warning; a file that nobody knows stays a fault.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from kit.judge.verify import Verdict, verify
from kit.record import archive
from kit.store import seal
from kit.store.store import Store
from tests import golden
from tests.verify.forging import failed

PROJECT = Path(__file__).parent.parent
DATE = (1980, 1, 1, 0, 0, 0)
Names = Callable[[str], str]


@pytest.fixture
def run(sound_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound_run, tmp_path / "runs" / sound_run.name))


def warned(verdict: Verdict) -> set[str]:
    """The codes of the container's warnings of a run that is sound."""
    assert verdict.failures == ()
    return {c.code for c in verdict.checks if c.status == "WARN" and c.level == "L0"}


# --- files that lie in a run --------------------------------------------------------------------

DROPPINGS = [
    ".DS_Store",
    "samples/.DS_Store",
    "Thumbs.db",
    "launches/000/Thumbs.db",
    "desktop.ini",
    "._spec.json",
    "samples/._nvml.csv",
    "._.DS_Store",
    "__MACOSX/any thing",
    ".nfs000000000001",
    ".fuse_hidden0000000100000002",
    ".results.json.swp",
    ".results.json.swo",
    "results.json~",
    "results.json.bak",
    "#results.json#",
    ".#results.json",
    "spec (conflicted copy).json",
    "spec (Ann's conflicted copy 2026-01-02).json",
    "spec (SFConflict ann@x.org 2026-01-02-03-04-05).json",
    "spec.sync-conflict-20260102-030405-ABCDEFG.json",
    "spec (1).json",
    "manifest.json:Zone.Identifier",
    ".~lock.results.csv#",
    ".directory",
    ".ipynb_checkpoints/nvml-checkpoint.csv",
    "@eaDir/spec.json@SynoEAStream",
    "seal/.DS_Store",
]


@pytest.mark.parametrize("name", DROPPINGS)
def test_what_tools_leave_in_a_run_is_set_aside(tmp_path: Path, name: str) -> None:
    run = tmp_path / "run"
    for path in ("spec.json", name):
        (run / path).parent.mkdir(parents=True, exist_ok=True)
        (run / path).write_bytes(b"{}")
    source = archive.open_source(run)
    assert source.names() == ["spec.json"]
    assert [remark.code for remark in source.remarks] == ["STRAY_FILES"]


def test_a_run_with_strays_is_sound_and_they_are_not_carried_on(run: Path, tmp_path: Path) -> None:
    for name in DROPPINGS:
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_bytes(b"\0\5\26\7")
    assert warned(verify(run)) == {"STRAY_FILES"}
    packed = seal.export(run, tmp_path)
    assert not warned(verify(packed))
    imported = seal.import_(packed, Store(tmp_path / "other"))
    assert not any((imported / name).exists() for name in DROPPINGS)


@pytest.mark.parametrize(
    "name",
    [
        "more.json",
        "results2.json",
        "samples/x.csv",
        "launches/002/requests.jsonl",
        "inputs/image/Dockerfile2",
        "private/more.json",
        "env/DS_Store",
        "Thumbs.db.json",
        "seal/x.json",
    ],
)
def test_an_unknown_file_is_a_fault(run: Path, name: str) -> None:
    (run / name).parent.mkdir(parents=True, exist_ok=True)
    (run / name).write_bytes(b"{}")
    assert failed(verify(run)) == {"EXTRA_FILE"}


@pytest.mark.parametrize("name", [".hidden", "my notes.txt", ".git/config"])
def test_an_unknown_file_with_another_name_is_refused(run: Path, name: str) -> None:
    (run / name).parent.mkdir(parents=True, exist_ok=True)
    (run / name).write_bytes(b"{}")
    assert failed(verify(run)) == {"NAME_UNSAFE"}


@pytest.mark.parametrize("make", [os.mkfifo, lambda p: p.symlink_to("/etc/passwd")])
def test_a_stray_name_hides_no_link_and_no_pipe(run: Path, make: Callable[[Path], None]) -> None:
    make(run / ".DS_Store")
    assert not verify(run).passed


def test_a_sealed_file_with_a_strays_name_is_missed(run: Path) -> None:
    """Nothing that the manifest lists can be set aside."""
    (run / "env/end.json").rename(run / "env/._end.json")
    golden.edit_json(
        run / "manifest.json",
        lambda m: next(f for f in m["files"] if f["path"] == "env/end.json").update(
            path="env/._end.json"
        ),
    )
    assert not verify(run).passed


def test_empty_folders_links_to_the_run_and_tight_modes_change_nothing(
    run: Path, tmp_path: Path
) -> None:
    (run / "empty").mkdir()
    (tmp_path / "link").symlink_to(run)
    for path in run.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    assert not warned(verify(run)) and not warned(verify(tmp_path / "link"))


def test_a_hard_linked_backup(run: Path, tmp_path: Path) -> None:
    backup = tmp_path / "backup" / run.name
    shutil.copytree(run, backup, copy_function=os.link)
    assert warned(verify(run)) == warned(verify(backup)) == {"HARD_LINK"}
    assert not warned(verify(seal.export(run, tmp_path)))
    shutil.rmtree(backup)
    assert not warned(verify(run))


# --- other packers ------------------------------------------------------------------------------


def files_of(run: Path) -> list[Path]:
    return sorted(p for p in run.rglob("*") if p.is_file())


def packed(
    run: Path, out: Path, top: str, *, folders: bool = False, streamed: bool = False
) -> Path:
    """A zip of ``run`` below ``top``, as `zip -r` writes it into a file or a pipe."""
    written = io.BytesIO()
    target = Unseekable(written) if streamed else written
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(run.rglob("*")) if folders else files_of(run):
            file.write(path, top + path.relative_to(run).as_posix())
    out.write_bytes(written.getvalue())
    return out


class Unseekable(io.RawIOBase):
    """A pipe: sizes cannot be written once the bytes are out."""

    def __init__(self, into: io.BytesIO) -> None:
        self._into = into

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        return self._into.write(data)


@pytest.mark.parametrize("top", ["", "HASH/", "runs/HASH/", "HASH (1)/", "my run/HASH/"])
@pytest.mark.parametrize("folders", [True, False])
@pytest.mark.parametrize("streamed", [True, False])
def test_a_run_packed_by_another_tool_is_a_warning(
    run: Path, tmp_path: Path, top: str, folders: bool, streamed: bool
) -> None:
    top = top.replace("HASH", run.name)
    out = packed(run, tmp_path / "a.zip", top, folders=folders, streamed=streamed)
    plain = top == f"{run.name}/" or top == f"{run.name} (1)/"
    expected = set() if plain and not folders and not streamed else {"ZIP_REPACKED"}
    assert warned(verify(out)) == expected
    assert seal.import_(out, Store(tmp_path / "other")).name == run.name


TOOLS = {
    "zip of the content": "cd RUN && zip -qr OUT .",
    "zip of the folder": "cd RUN/.. && zip -qr OUT HASH",
    "zip of a path": "cd RUN/../.. && zip -qr OUT */HASH",
    "zip to a pipe": "cd RUN/.. && zip -qr - HASH | cat > OUT",
    "zip, stored": "cd RUN/.. && zip -0qr OUT HASH",
    "bsdtar": "cd RUN/.. && bsdtar --format zip -cf OUT HASH",
    "jar": "cd RUN/.. && jar cMf OUT HASH",
    "7z": "cd RUN/.. && 7z a -bd -tzip OUT HASH",
    "python": "cd RUN/.. && python3 -m zipfile -c OUT HASH",
}


@pytest.mark.parametrize("tool", TOOLS)
def test_packed_again_by_a_tool_of_this_machine(run: Path, tmp_path: Path, tool: str) -> None:
    out = tmp_path / "out.kit.zip"
    command = TOOLS[tool].replace("RUN", str(run)).replace("HASH", run.name)
    program = command.split("&& ")[1].split()[0]
    if not shutil.which(program):
        pytest.skip(f"{program} is not here")
    subprocess.run(command.replace("OUT", str(out)), shell=True, check=True, capture_output=True)
    assert warned(verify(out)) <= {"ZIP_REPACKED"}


def test_packed_by_the_macos_finder(run: Path, tmp_path: Path) -> None:
    out = packed(run, tmp_path / "a.kit.zip", f"{run.name}/", folders=True)
    with zipfile.ZipFile(out, "a") as file:
        for path in files_of(run):
            name = path.relative_to(run.parent)
            file.writestr(f"__MACOSX/{name.parent.as_posix()}/._{name.name}", b"\0\5\26\7")
        file.writestr(f"{run.name}/.DS_Store", b"\0\0\0\1Bud1")
    assert warned(verify(out)) == {"STRAY_FILES", "ZIP_REPACKED"}


def test_a_known_file_in_a_zip_excuses_no_unknown_one(run: Path, tmp_path: Path) -> None:
    out = packed(run, tmp_path / "a.kit.zip", f"{run.name}/", folders=True)
    with zipfile.ZipFile(out, "a") as file:
        file.writestr(f"{run.name}/samples/x.csv", b"")
    assert failed(verify(out)) == {"EXTRA_FILE"}


@pytest.mark.parametrize(
    ("name", "data"),
    [("empty/", b"hidden"), ("../x/", b""), ("/x/", b""), ("a b/", b""), ("x\\y/", b"")],
)
def test_an_entry_of_a_folder_is_a_plain_name_without_bytes(
    run: Path, tmp_path: Path, name: str, data: bytes
) -> None:
    out = packed(run, tmp_path / "a.kit.zip", f"{run.name}/")
    with zipfile.ZipFile(out, "a") as file:
        info = zipfile.ZipInfo("x", DATE)
        info.filename = name if name.startswith(("/", "..")) else f"{run.name}/{name}"
        info.external_attr = 0o40755 << 16 if not data else 0
        file.writestr(info, data)
    assert failed(verify(out)) == {"NAME_UNSAFE"}


@pytest.mark.parametrize("change", ["crc", "packed", "size", "signature", "gone"])
def test_sizes_behind_a_member_must_be_those_of_the_directory(
    run: Path, tmp_path: Path, change: str
) -> None:
    out = packed(run, tmp_path / "a.kit.zip", f"{run.name}/", streamed=True)
    data = bytearray(out.read_bytes())
    at = data.index(b"PK\x07\x08")
    place = {"signature": 0, "crc": 4, "packed": 8, "size": 12}
    if change == "gone":
        del data[at : at + 16]
    else:
        data[at + place[change]] ^= 1
    out.write_bytes(data)
    assert failed(verify(out)) <= {"ZIP_FEATURE", "ZIP_SURROUNDED"}


def test_a_streamed_member_without_an_end_of_its_own_is_refused(run: Path, tmp_path: Path) -> None:
    written = io.BytesIO()
    with zipfile.ZipFile(Unseekable(written), "w", zipfile.ZIP_STORED) as file:
        for path in files_of(run):
            file.write(path, f"{run.name}/{path.relative_to(run).as_posix()}")
    (tmp_path / "a.zip").write_bytes(written.getvalue())
    assert failed(verify(tmp_path / "a.zip")) == {"ZIP_FEATURE"}


# --- what is no zip of a run --------------------------------------------------------------------


def gzipped(run: Path) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as file:
        file.add(run, run.name)
    return out.getvalue()


def tarred(run: Path) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as file:
        file.add(run, run.name)
    return out.getvalue()


def zipped(*members: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, data in members:
            file.writestr(name, data)
    return out.getvalue()


OTHERS: dict[str, tuple[Callable[[Path], bytes], str, str]] = {
    "empty": (lambda run: b"", "NOT_A_ZIP", "it is empty"),
    "a web page": (lambda run: b"<!DOCTYPE html><html>sign in", "NOT_A_ZIP", "web page"),
    "a web page after a blank": (lambda run: b"\n  <html>" + b" " * 99, "NOT_A_ZIP", "web page"),
    "a git-lfs pointer": (
        lambda run: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12345\n",
        "NOT_A_ZIP",
        "git lfs pull",
    ),
    "a tar.gz": (gzipped, "NOT_A_ZIP", "unpack it"),
    "a tar": (tarred, "NOT_A_ZIP", "unpack it"),
    "a JSON document": (lambda run: (run / "spec.json").read_bytes(), "NOT_A_ZIP", "JSON document"),
    "text": (lambda run: b"hello\n" * 40, "NOT_A_ZIP", "no end record"),
    "a zip in a zip": (
        lambda run: zipped(("run.kit.zip", seal.export(run, run.parent).read_bytes())),
        "TOP_FOLDER",
        "unpack the outer one",
    ),
    "an empty zip": (lambda run: zipped(), "TOP_FOLDER", "no file at all"),
    "two runs": (
        lambda run: zipped(("a/manifest.json", b"{}"), ("b/manifest.json", b"{}")),
        "TOP_FOLDER",
        "2 runs",
    ),
    "backslashes": (
        lambda run: zipped(("manifest.json", b"{}"), ("env/end.json", b"{}")).replace(
            b"env/end", b"env\\end"
        ),
        "NAME_UNSAFE",
        "Windows packer",
    ),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_another_file_gets_one_line_with_its_remedy(run: Path, tmp_path: Path, kind: str) -> None:
    made, code, says = OTHERS[kind]
    (tmp_path / "got.kit.zip").write_bytes(made(run))
    verdict = verify(tmp_path / "got.kit.zip")
    assert failed(verdict) == {code} and says in verdict.failures[0].message


@pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
def test_a_download_that_was_cut_short(run: Path, tmp_path: Path, part: float) -> None:
    data = seal.export(run, tmp_path).read_bytes()
    (tmp_path / "part (1).kit.zip").write_bytes(data[: int(len(data) * part)])
    verdict = verify(tmp_path / "part (1).kit.zip")
    assert failed(verdict) == {"NOT_A_ZIP"} and "cut short" in verdict.failures[0].message


def test_a_file_renamed_by_a_browser_still_verifies(run: Path, tmp_path: Path) -> None:
    assert not warned(verify(seal.export(run, tmp_path).rename(tmp_path / "run (1).zip")))


# --- clones -------------------------------------------------------------------------------------


@pytest.mark.parametrize("setting", ["core.autocrlf=true", "core.autocrlf=input", "core.eol=crlf"])
@pytest.mark.slow
def test_a_clone_that_converts_line_ends_has_the_same_bytes(tmp_path: Path, setting: str) -> None:
    """Git for Windows converts by default; what is hashed or compared must not change."""
    clone = tmp_path / "clone"
    git = ["git", "-c", setting, "clone", "-q", "--depth", "1", f"file://{PROJECT}", str(clone)]
    subprocess.run(git, check=True)
    paths = [PROJECT / name for name in ("images", "specs", "kit/schemas", "tests/data")]
    names = subprocess.run(
        ["git", "ls-files", "-z", *map(str, paths)], cwd=PROJECT, check=True, capture_output=True
    ).stdout.decode()
    for name in filter(None, names.split("\0")):
        path = clone / name
        data = os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes()
        same = data == _committed(name)
        assert same, name
    runs = Store(clone / "runs").runs()
    assert runs
    for run in runs:
        assert not {c.code for c in verify(run).failures} & {
            "HASH_MISMATCH",
            "MANIFEST_NOT_CANONICAL",
        }


def _committed(name: str) -> bytes:
    return subprocess.run(
        ["git", "show", f"HEAD:{name}"], cwd=PROJECT, check=True, capture_output=True
    ).stdout


def test_kit_writes_the_setting_into_a_store(tmp_path: Path) -> None:
    """A store that people commit keeps its bytes in every clone."""
    store = Store(tmp_path / "mine" / "runs")
    run = golden.build(store.root)
    assert (store.root / ".gitattributes").read_text() == (
        PROJECT / "runs/.gitattributes"
    ).read_text()
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "core.autocrlf=true"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "runs"]):
        subprocess.run([*git, *command], cwd=tmp_path / "mine", check=True, capture_output=True)
    subprocess.run([*git, "clone", "-q", "mine", "clone"], cwd=tmp_path, check=True)
    assert verify(tmp_path / "clone" / "runs" / run.name).passed


def test_a_setting_of_ones_own_in_a_store_stays(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (tmp_path / ".gitattributes").write_text("*.csv filter=lfs\n")
    golden.build(store.root)
    assert (tmp_path / ".gitattributes").read_text() == "*.csv filter=lfs\n"
