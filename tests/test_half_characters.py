r"""Half a character (``"\ud800"``, JSON's escape for an unpaired surrogate) in every JSON file.

Python's parser takes it, and then the text can be neither printed nor encoded nor hashed. Every
command answers with one error; a run in which it stands fails verification.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from kit.cli.main import dispatch
from kit.core import jsonio
from kit.judge.verify import verify
from kit.record import manifest
from tests.verify.forging import failed

VALUE = rb'(:\s*"|"/props)'  # where the first text begins; effective.json has only a name
HALVES = {
    "value": lambda data: re.sub(VALUE, rb"\1\\ud800", data, count=1),
    "later half": lambda data: re.sub(VALUE, rb"\1\\uDFFF", data, count=1),
    "turned round": lambda data: re.sub(VALUE, rb"\1\\ude00\\ud83d", data, count=1),
    "name": lambda data: re.sub(rb'(\{\s*")', rb"\1\\udc00", data, count=1),
}
FILES = (
    "env/end.json", "env/start.json", "events.jsonl", "inputs/image/base/image.json",
    "inputs/image/image.json", "inputs/schedule.jsonl", "launches/000/driver.json",
    "launches/000/effective.json", "launches/000/requests.jsonl", "launches/000/responses.jsonl",
    "manifest.json", "plan.json", "private/identity.json", "results.json", "spec.json",
)  # fmt: skip
NEEDED = (
    "events.jsonl", "inputs/schedule.jsonl", "launches/000/requests.jsonl",
    "launches/000/responses.jsonl", "plan.json", "spec.json",
)  # fmt: skip
LOOKS = (
    ["verify"], ["verify", "--json"], ["show"], ["show", "--json"], ["report", "--out=-"],
    ["report", "--format=text", "--out=-"], ["report", "--format=csv", "--out=-"],
    ["export", "--out=x.kit.zip"], ["replay", "--yes"], ["recompute"],
)  # fmt: skip


@pytest.fixture
def run(sound_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound_run, tmp_path / "runs" / sound_run.name))


def break_and_seal(run: Path, name: str, change: Callable[[bytes], bytes]) -> Path:
    """Put half a character into a file, and list it as it now is."""
    data = change((run / name).read_bytes())
    assert data != (run / name).read_bytes()
    (run / name).write_bytes(data)
    if name == "manifest.json":
        return run.rename(run.with_name(manifest.run_hash(data)))
    document = jsonio.read(run / "manifest.json")
    for file in document["files"]:
        if file["path"] == name:
            file.update(sha256=jsonio.digest(data), size=len(data))
            stem = {"results": "result"}.get(Path(name).stem, Path(name).stem)
            if f"{stem}_hash" in document:
                document[f"{stem}_hash"] = jsonio.digest(data)
    sealed = jsonio.write(run / "manifest.json", document)
    return run.rename(run.with_name(manifest.run_hash(sealed)))


def asked(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[int, str]:
    """A command's exit code and what it prints, all of which can be encoded."""
    code = dispatch([str(part) for part in argv])
    out, errors = capsys.readouterr()
    assert (out + errors).encode()
    if code not in (0, 6):
        assert "fix:" in errors or "FAIL" in out or "NOT VERIFIED" in out, errors
    return code, out + errors


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("half", HALVES)
def test_a_run_with_half_a_character_fails_verification(run: Path, name: str, half: str) -> None:
    verdict = verify(break_and_seal(run, name, HALVES[half]))
    wanted = {"manifest.json": "JSON_MALFORMED"}.get(name, "FILE_INVALID")
    if name.startswith("inputs/image/"):
        wanted = "RECIPE_DIFFERS"  # it is not the plan's any more; tests/verify forges that too
    assert failed(verdict) == {wanted}


@pytest.mark.parametrize("name", FILES)
def test_every_command_answers(
    run: Path, sound_run: Path, name: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(run.parent.parent)
    broken = break_and_seal(run, name, HALVES["value"])
    for look, *more in LOOKS:
        code, errors = asked(capsys, look, broken, *more)
        assert code in (0, 2, 3, 4), (look, errors)
    recipe = name.startswith("inputs/image/")  # which a comparison does not read
    assert asked(capsys, "compare", broken, sound_run)[0] == (0 if recipe else 4)
    assert asked(capsys, "ls", "--runs", broken.parent)[0] == 0
    assert asked(capsys, "ls", "--json", "--runs", broken.parent)[0] == 0


@pytest.mark.parametrize("name", [n for n in FILES if n != "manifest.json"])
def test_what_a_crash_left_is_recovered_or_refused(
    run: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    left = Path(shutil.copytree(run, store / ".inflight" / "deadbeef"))
    (left / "manifest.json").unlink()
    (left / name).write_bytes(HALVES["value"]((left / name).read_bytes()))
    code, errors = asked(capsys, "recover", "--runs", store)
    sealed = [path for path in store.iterdir() if len(path.name) == 64]
    if name in NEEDED:
        assert code == 1 and not sealed, errors
        assert (left / name).exists()
    else:
        assert code == 0 and len(sealed) == 1, errors


@pytest.mark.parametrize("command", ["check", "plan", "run"])
@pytest.mark.parametrize("half", HALVES)
def test_a_spec(
    run: Path, tmp_path: Path, command: str, half: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = tmp_path / "spec.json"
    spec.write_bytes(HALVES[half]((run / "spec.json").read_bytes()))
    code, errors = asked(capsys, command, spec)
    assert code == 2 and "half a character" in errors
