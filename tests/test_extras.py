"""What kit says where an extra is not installed; and that both lists of extras are one."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from kit.core import extras
from kit.core.errors import Blocked, ExtraMissing
from kit.run.runner import as_kit_error

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
# Brought by a library of the extra, and imported by kit.
FOLLOWING = {"requests": "docker", "urllib3": "docker"}


def names(requirements: list[str]) -> set[str]:
    """The distributions that are required, as PyPI writes them; kit's own extras left out."""
    found = {re.split(r"[\[<>=~;! ]", line)[0].lower() for line in requirements}
    return found - {extras.DISTRIBUTION}


def brought(extra: str) -> set[str]:
    """The distributions whose libraries `BROUGHT_BY` gives to an extra."""
    homes = packages_distributions()
    return {
        homes[FOLLOWING.get(library, library)][0].lower().replace("_", "-")
        for library, by in extras.BROUGHT_BY.items()
        if by == extra
    }


@pytest.mark.parametrize("extra", ["run", "tui", "report", "study"])
def test_the_table_names_what_the_extra_brings(extra: str) -> None:
    assert names(EXTRAS[extra]) == brought(extra)


def test_every_extra_is_known_and_all_has_each() -> None:
    assert PROJECT["name"] == extras.DISTRIBUTION
    assert set(EXTRAS) == {"run", "tui", "report", "study", "all", "docs", "dev"}
    (everything,) = EXTRAS["all"]
    inside = set(re.findall(r"[a-z]+", everything.partition("[")[2]))
    assert inside == set(extras.BROUGHT_BY.values()) == set(EXTRAS) - {"all", "docs", "dev"}
    assert f"{extras.DISTRIBUTION}[all,docs]" in EXTRAS["dev"]


def imported() -> Iterator[tuple[str, str]]:
    """Each library that kit imports, and the module that does."""
    for path in (ROOT / "kit").rglob("*.py"):
        for library in re.findall(r"(?m)^ *(?:import|from) (\w+)", path.read_text()):
            yield library, str(path.relative_to(ROOT))


def test_every_library_is_of_the_core_or_of_an_extra() -> None:
    core = {name.replace("-", "_") for name in names(PROJECT["dependencies"])}
    own = {"kit", "pip", "amdsmi"}  # amdsmi comes with ROCm's driver, pip with Python
    known = core | set(extras.BROUGHT_BY) | own | set(sys.stdlib_module_names)
    here = packages_distributions()  # a line of prose may begin with these words, too
    strange = {(lib, at) for lib, at in imported() if lib not in known and lib in here}
    assert not strange


@pytest.mark.parametrize("library", sorted(extras.BROUGHT_BY))
def test_an_absent_library_is_one_sentence_and_the_line_that_installs_it(library: str) -> None:
    error = ModuleNotFoundError(f"No module named '{library}'", name=library)
    said = extras.missing(error)
    assert isinstance(said, ExtraMissing)
    assert isinstance(said, Blocked)
    assert library in said.message
    assert said.remedy == f"pip install 'kit-energy[{extras.BROUGHT_BY[library]}]'"
    assert isinstance(as_kit_error(error), ExtraMissing)


@pytest.mark.parametrize(
    "error",
    [
        ModuleNotFoundError("No module named 'kit.gone'", name="kit.gone"),
        ModuleNotFoundError("no name"),
        ModuleNotFoundError("No module named 'docker.gone'", name="docker.gone"),
        ImportError("cannot import name 'x' from 'docker'", name="docker"),
        ValueError("docker"),
    ],
)
def test_any_other_error_stays_what_it_is(error: Exception) -> None:
    assert extras.missing(error) is None


COMMANDS = {
    "docker": ["doctor"],
    "matplotlib": ["report", "8177eb3e46ab", "--runs", str(ROOT / "runs")],
    "pysnmp": ["pdu", "probe", "127.0.0.1"],
}


@pytest.mark.parametrize("library", COMMANDS)
def test_a_command_without_its_library_says_so(library: str, tmp_path: Path) -> None:
    code = f"import sys; sys.modules[{library!r}] = None\nfrom kit.cli.main import main; main()"
    command = [sys.executable, "-c", code, *COMMANDS[library]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    assert extras.install(extras.BROUGHT_BY[library]) in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
