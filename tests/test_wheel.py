"""kit installed from its wheel alone: no clone, no container engine, no GPU.

Its libraries come from this environment (what the lock installed here), by a ``.pth`` line; kit
itself comes from the wheel and from nowhere else.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest

from kit.machine import images
from kit.store import seal
from scripts import manual, sbom
from tests import golden
from tests.elsewhere import ROOT, Elsewhere, built
from tests.elsewhere import wheel as built_wheel

PACKED = {"kit": "kit", "images": "kit/_data/images", "specs": "kit/_data/specs"}


@pytest.fixture(scope="module", name="wheel")
def the_wheel() -> Path:
    return built_wheel()


@pytest.fixture(scope="module")
def elsewhere(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Elsewhere:
    there = Elsewhere(tmp_path_factory.mktemp("elsewhere"))
    there.install("--no-deps", "--no-index", wheel)
    there.with_libraries_of_this_environment()
    return there


@pytest.fixture(scope="module")
def exported(elsewhere: Elsewhere, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A golden run, as somebody would send it."""
    run = golden.copied(tmp_path_factory.mktemp("golden") / "runs")
    return seal.export(run, elsewhere.folder)


def files_in(folder: Path) -> set[Path]:
    return {p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts}


@pytest.mark.parametrize(
    ("room", "least"),
    [
        ("kit/schemas", 5),
        ("kit/measure/meters/pdu_profiles", 2),
        ("kit/spec/workloads", 3),
        ("kit/show/report", 4),
        ("images/base", 1),
        ("images/loopback", 3),
        ("images/llama-server", 4),
        ("images/llama-cpp-python", 5),
        ("specs", 1),
    ],
)
def test_the_wheel_carries_what_the_clone_has(wheel: Path, room: str, least: int) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    top = room.partition("/")[0]
    wanted = {f"{PACKED[top]}/{p.relative_to(ROOT / top)}" for p in files_in(ROOT / room)}
    assert len(wanted) >= least
    assert wanted <= inside


def test_the_wheel_carries_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"kit", "kit_energy"}
    kinds = {Path(name).suffix for name in names if name.startswith("kit/")}
    assert kinds <= {".py", ".typed", ".json", ".css", ".tcss", ".lock", ".in", ""}, kinds
    assert "kit/py.typed" in names
    assert {Path(n).name for n in names if n.startswith("kit/") and not Path(n).suffix} == {
        "Dockerfile"
    }


def test_the_wheel_names_every_library_that_it_may_bring(wheel: Path) -> None:
    (inside,) = (n for n in zipfile.ZipFile(wheel).namelist() if "/sboms/" in n)
    document = json.loads(zipfile.ZipFile(wheel).read(inside))
    assert inside.startswith("kit_energy-") and document == sbom.document()
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    required = {c["name"] for c in document["components"] if c["scope"] == "required"}
    assert {"numpy", "rich", "cyclopts"} <= required
    assert not required & {"scipy", "matplotlib", "textual", "docker", "pysnmp"}
    assert all(c["hashes"] for c in document["components"])


def test_the_bill_of_materials_is_that_of_the_locks() -> None:
    assert sbom.FILE.read_text() == sbom.text(), "`make derived` writes it anew"
    for lock in (sbom.CORE, sbom.EVERYTHING):
        text = (ROOT / lock).read_text()
        assert len(sbom.pins(lock)) == len(re.findall(r"(?m)^[a-z]", text)), lock
        assert sum(len(pin.hashes) for pin in sbom.pins(lock)) == text.count("--hash="), lock


@pytest.fixture(scope="module")
def clones(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two clones in folders of other lengths, with other times and rights of files."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    made = []
    for name, mode in (("one", 0o644), ("another/and/deeper", 0o600)):
        clone = tmp_path_factory.mktemp("clones") / name
        for path in listed.stdout.decode().rstrip("\0").split("\0"):
            if (ROOT / path).is_file():
                (clone / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / path, clone / path)
                (clone / path).chmod(mode)
        made.append(clone)
    return made


@pytest.mark.parametrize("kind", ["--wheel", "--sdist"])
def test_the_same_bytes_from_another_folder(kind: str, clones: list[Path], tmp_path: Path) -> None:
    files = [
        built(tmp_path / str(umask), clone, kind, umask=umask)
        for clone, umask in zip(clones, (0o022, 0o077), strict=True)
    ]
    assert files[0].name == files[1].name
    assert files[0].read_bytes() == files[1].read_bytes()


def test_the_wheel_of_the_sdist_is_the_wheel_of_the_clone(
    clones: list[Path], tmp_path: Path
) -> None:
    """So that a packager who starts from the sdist gets what is published."""
    packed = built(tmp_path / "sdist", clones[0], "--sdist")
    (tmp_path / "unpacked").mkdir()
    subprocess.run(["tar", "-xf", packed, "-C", tmp_path / "unpacked"], check=True)
    (folder,) = (tmp_path / "unpacked").iterdir()
    ours, theirs = (
        built(tmp_path / name, source, "--wheel")
        for name, source in (("a", clones[0]), ("b", folder))
    )
    assert ours.read_bytes() == theirs.read_bytes()


def test_kit_comes_from_the_wheel(elsewhere: Elsewhere) -> None:
    done = elsewhere.run("python", "-c", "import kit, jsonschema; print(kit.__file__)")
    assert done.stdout.startswith(str(elsewhere.folder / "venv")), done.stderr


def test_manual_and_completions_come_with_it(elsewhere: Elsewhere) -> None:
    for name in (manual.MAN, *manual.COMPLETIONS.values()):
        assert (elsewhere.folder / "venv" / name).read_bytes() == (ROOT / name).read_bytes()


def test_verify_says_verified_and_sees_a_flipped_bit(elsewhere: Elsewhere, exported: Path) -> None:
    verdict = json.loads(elsewhere.kit("verify", exported.name, "--json"))
    assert not [check for check in checks(verdict) if check["status"] == "FAIL"]
    assert {"L1", "L3", "L4"} <= {
        check["level"] for check in checks(verdict) if check["status"] == "PASS"
    }
    data = bytearray(exported.read_bytes())
    with zipfile.ZipFile(
        exported
    ) as packed:  # a bit of content: one of a header's time says nothing
        largest = max(packed.infolist(), key=lambda member: member.compress_size)
    data[largest.header_offset + 30 + len(largest.filename) + largest.compress_size // 2] ^= 1
    forged = elsewhere.folder / "forged.kit.zip"
    forged.write_bytes(data)
    assert "NOT VERIFIED" in elsewhere.kit("verify", forged.name, code=4)


def checks(verdict: dict[str, Any]) -> list[dict[str, str]]:
    checks: list[dict[str, str]] = verdict["checks"]
    assert checks
    return checks


def test_show_and_report(elsewhere: Elsewhere, exported: Path) -> None:
    shown = elsewhere.kit("show", exported.name)
    assert "golden" in shown
    assert "23.89" in shown  # joules a token, see tests/test_results.py
    page = elsewhere.folder / elsewhere.kit("report", exported.name).strip()
    html = page.read_text("utf-8")
    assert "<svg" in html
    assert "--accent" in html


def test_import_ls_and_compare(elsewhere: Elsewhere, exported: Path) -> None:
    folder = elsewhere.folder / elsewhere.kit("import", exported.name).strip()
    assert folder.is_dir()
    assert "golden" in elsewhere.kit("ls")
    assert "both are run" in elsewhere.kit("compare", folder.name[:12], exported.name)
    pair = ("compare", folder.name[:12], exported.name)
    assert ",1.0,1.0,1.0," in elsewhere.kit(*pair, "--format", "csv")


@pytest.mark.parametrize("name", ["run-spec", "results"])  # all lie in one room
def test_schema(elsewhere: Elsewhere, name: str) -> None:
    schema = json.loads(elsewhere.kit("schema", name))
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_init_gives_a_spec_that_is_valid(elsewhere: Elsewhere) -> None:
    elsewhere.kit("init", "mine.json")
    assert "valid" in elsewhere.run("kit", "check", "mine.json").stderr


def test_run_and_doctor_say_that_no_engine_answers(elsewhere: Elsewhere) -> None:
    elsewhere.kit("init", "blocked.json", "--force")
    assert "engine" in elsewhere.kit("run", "blocked.json", code=3)
    done = elsewhere.run("kit", "doctor")
    assert "Traceback" not in done.stdout + done.stderr
    assert "engine" in done.stdout + done.stderr


def test_the_recipes_are_there_for_building(elsewhere: Elsewhere) -> None:
    """The same files as in a clone, where a file that recipes share is a symbolic link."""
    each = "(f'{r.name}={r.content}' for r in images.recipes())"
    code = f"from kit.machine import images; print(*{each})"
    done = elsewhere.run("python", "-c", code)
    assert done.stdout.split() == [f"{r.name}={r.content}" for r in images.recipes()], done.stderr
