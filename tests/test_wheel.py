"""kit installed from its wheel alone: no clone, no container engine, no GPU.

Its libraries come from this environment (what the lock installed here), by a ``.pth`` line; kit
itself comes from the wheel and from nowhere else.
"""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest

from kit.store import seal
from tests import golden

ROOT = Path(__file__).resolve().parent.parent
PACKED = {"kit": "kit", "images": "kit/_data/images", "specs": "kit/_data/specs"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    build = ["build", "--wheel", "--no-isolation", "--outdir", folder, ROOT]
    done = subprocess.run([sys.executable, "-m", *map(str, build)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return built


class Elsewhere:
    """Another machine, as far as a folder can be one: kit from the wheel, no engine, no clone."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        self.folder, self.bin = folder, folder / "venv/bin"
        venv.create(folder / "venv", with_pip=False, symlinks=True)
        pip = [sys.executable, "-m", "pip", "--python", self.bin / "python", "-q", "install"]
        alone = ["--no-deps", "--no-index", "--disable-pip-version-check", wheel]
        subprocess.run([str(a) for a in (*pip, *alone)], check=True, capture_output=True)
        (site,) = (folder / "venv").glob("lib/python*/site-packages")
        (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
        self.env = {
            "PATH": str(self.bin),
            "HOME": str(folder),
            "DOCKER_HOST": f"unix://{folder}/no.sock",
            "NO_COLOR": "1",
            "LC_ALL": "C.UTF-8",
        }

    def run(self, *command: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.bin / str(command[0])), *map(str, command[1:])],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def kit(self, *arguments: object, code: int = 0) -> str:
        """What kit says on stdout; its exit code is checked, and no traceback is ever shown."""
        done = self.run("kit", *arguments)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr
        return done.stdout + (done.stderr if code else "")


@pytest.fixture(scope="module")
def elsewhere(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Elsewhere:
    return Elsewhere(tmp_path_factory.mktemp("elsewhere"), wheel)


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
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"kit"}
    kinds = {Path(name).suffix for name in names if name.startswith("kit/")}
    assert kinds <= {".py", ".typed", ".json", ".css", ".tcss", ".lock", ".in", ""}, kinds
    assert "kit/py.typed" in names
    assert {Path(n).name for n in names if n.startswith("kit/") and not Path(n).suffix} == {
        "Dockerfile"
    }


def test_kit_comes_from_the_wheel(elsewhere: Elsewhere) -> None:
    done = elsewhere.run("python", "-c", "import kit, jsonschema; print(kit.__file__)")
    assert done.stdout.startswith(str(elsewhere.folder / "venv")), done.stderr


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
    code = "from kit.machine import images; print(*sorted(r.name for r in images.recipes()))"
    done = elsewhere.run("python", "-c", code)
    assert done.stdout.split() == ["llama-cpp-python", "llama-server", "loopback"], done.stderr
