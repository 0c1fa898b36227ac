"""What the documents name is there: paths, commands, packages; and every name in a docstring."""

from __future__ import annotations

import importlib
import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.cli.main import build

ROOT = Path(__file__).parent.parent
DOCUMENTS = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md")
DECISIONS = sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").rglob("*.md"))
PAGES = sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").glob("*.md"))
KIT = ROOT / "kit"
# Files that a person or a run makes: they lie in no clone.
MADE = {"host.toml", "ui.json", "my-run.json", "spec.json", "calibrations/"}
MADE |= {"seal/attempts.json", "inputs/calibration/", ".venv/bin", "PWD/.venv/bin"}
MADE |= {"./runs.", "meters.json"}
MADE |= {f".venv/bin/{tool}" for tool in ("kit", "python")}
# Names with a dot that are no module: groups of entry points, and labels of containers.
NO_MODULES = {"kit.meters", "kit.runtimes", "kit.workloads", "kit.run", "kit.owner"}
# Pages of documents that show no command on a line of its own, and no target of make.
NO_COMMANDS = {"docs/api.md", "docs/phases.md"}
_CODE = re.compile(r"^```\w*\n(.*?)^```|`([^`]+)`", re.DOTALL | re.MULTILINE)
_PATH = re.compile(
    r"(?<![\w/.~<>-])((?:[\w.-]+/)+[\w.-]*|[\w-]+\.(?:py|json|md|toml|sh|png))(?![\w/<*])"
)
_LINK = re.compile(r"\]\(([^)#]+)\)")


def code(document: str) -> Iterator[str]:
    """Every piece of a document that is set as code."""
    for block, span in _CODE.findall((ROOT / document).read_text()):
        yield block or span


def files() -> frozenset[str]:
    """Every file and folder of the project, as ``/a/b.py`` and ``/a/b/``."""
    paths = set()
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in (".git", ".venv", ".cache")]
        at = Path("/") / Path(folder).relative_to(ROOT)
        paths |= {f"{at / name}/" for name in folders} | {str(at / name) for name in names}
    return frozenset(paths)


def is_there(path: str, every: frozenset[str]) -> bool:
    """A path of a document may leave out where it begins: ``energy/curve.py``, ``curve.py``."""
    ends = (f"/{path}",) if path.endswith("/") else (f"/{path}", f"/{path}/", f"/{path}.py")
    return any(existing.endswith(ends) for existing in every)


@pytest.mark.parametrize("document", [*DOCUMENTS, *DECISIONS])
def test_every_path_is_there(document: str) -> None:
    every = files()
    text = (ROOT / document).read_text()
    named = {path for piece in code(document) for path in _PATH.findall(piece)}
    named |= {link for link in _LINK.findall(text) if ":" not in link}
    placeholders = {
        p for p in named if re.search(r"NAME|FILE|ORG|NNN|RUN|OUT|\d{12}|^runs/|^kit\.[a-z]+/\d", p)
    }
    assert len(named) > 5 or document in DECISIONS
    missing = {p for p in named - placeholders - MADE if not is_there(p, every)}
    assert not missing


@pytest.mark.parametrize("document", [*DOCUMENTS, *PAGES])
def test_every_command_is_there(document: str) -> None:
    app = build()
    commands = {
        (tuple(words.split()))
        for piece in code(document)
        for words in re.findall(r"(?m)^(?:\.venv/bin/)?kit +([a-z-]+(?: [a-z]+)?)", piece)
    }
    assert commands or document in NO_COMMANDS
    for words in commands:
        room = app[words[0]]
        names = set(room) - {"--help", "-h", "--version"}
        assert len(words) == 1 or not names or words[1] in names, f"kit {' '.join(words)}"


def test_each_usage_names_its_command_once() -> None:
    commands = (ROOT / "docs/commands.md").read_text()
    usages = re.findall(r"(?m)^#+ kit (.+)\n\n```console\nkit \1(.*)$", commands)
    assert len(usages) > 30
    assert [name for name, rest in usages if rest.startswith(f" {name} ")] == []


@pytest.mark.parametrize("document", [*DOCUMENTS, *PAGES])
def test_every_option_is_there(document: str) -> None:
    """Each option in a line of kit is one that the command's help names."""
    sections = (ROOT / "docs/commands.md").read_text().split("\n## kit ")
    helps = {section.partition("\n")[0]: section for section in sections}
    helps |= {s.partition("\n")[0]: s for s in "\n".join(sections).split("\n### kit ")}
    lines = [line for piece in code(document) for line in piece.splitlines()]
    for line in lines:
        words = re.match(r"(?:\.venv/bin/)?kit ([a-z-]+(?: [a-z]+)?)", line)
        if words is None:
            continue
        name = words[1] if words[1] in helps else words[1].partition(" ")[0]
        options = set(re.findall(r"(?<!\S)--[a-z][\w-]*", line.partition(" #")[0]))
        assert {o for o in options - {"--help", "--version"} if o not in helps[name]} == set(), line


@pytest.mark.parametrize("document", [*DOCUMENTS, *PAGES])
def test_every_make_target_is_there(document: str) -> None:
    targets = set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text()))
    named = {t for piece in code(document) for t in re.findall(r"(?m)^make ([a-z-]+)", piece)}
    assert named <= targets
    assert named or document in PAGES


def test_the_first_page_is_what_ls_kit_shows() -> None:
    """Packages and modules, ARCHITECTURE's first table and the import contract are one list."""
    here = {p.name for p in KIT.iterdir() if [*p.glob("*.py"), *p.glob("*.json")]}
    here |= {p.stem for p in KIT.glob("[a-z]*.py")}
    first = (ROOT / "ARCHITECTURE.md").read_text().partition("\n```")[0]
    assert set(re.findall(r"(?m)^\| `kit/(\w+)(?:/|\.py)`", first)) == here
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (layers,) = (c["layers"] for c in contracts["contracts"] if c["type"] == "layers")
    assert {layer.removeprefix("kit.") for layer in layers} == here - {"schemas"}
    assert (
        f"`{' > '.join(layer.removeprefix('kit.') for layer in layers)}`"
        in (ROOT / "ARCHITECTURE.md").read_text()
    )


def references() -> Iterator[tuple[str, str]]:
    """Each `kit.…` name in kit's docstrings and comments, with its file."""
    for path in sorted(KIT.rglob("*.py")):
        for name in re.findall(r"`(kit\.[\w.]+)(?:\(\))?`", path.read_text()):
            yield str(path.relative_to(ROOT)), name


def resolved(name: str) -> object:
    """The module, or what is inside one, that a dotted name names."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            thing: object = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            thing = getattr(thing, part)
        return thing
    raise AssertionError(name)


def test_names_in_docstrings_lead_somewhere() -> None:
    lost = []
    for path, name in references():
        if name in NO_MODULES:
            continue
        try:
            resolved(name)
        except (AssertionError, AttributeError):
            lost.append(f"{path}: {name}")
    assert not lost, "\n".join(lost)
