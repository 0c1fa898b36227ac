"""What the screens may reach for: no private name of Textual, no knowledge of the lower floors."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import kit.tui

ROOM = Path(kit.tui.__file__).parent
HACKS = "_textual_hacks.py"
MODULES = sorted(p for p in ROOM.rglob("*.py") if p.name != HACKS)
# Public ones whose names begin like private ones: a named tuple's, and the exit without clean-up.
PUBLIC = {"_replace", "_asdict", "_fields", "_exit"}
OURS = {"self", "cls"}
# Measuring, energy, the machine and records are for the floors between: they hand a screen what it
# shows. These names alone come from below, each for its reason.
LOWER = ("kit.measure", "kit.energy", "kit.machine", "kit.record")
ALLOWED = {
    "kit.energy.results.document.Metric": "a type: what a comparison read of a run",
    "kit.energy.results.document.Outputs": "the same, of the texts",
    "kit.energy.value.EnergyValue": "a type: the energy that a tile shows",
    "kit.energy.picture.Band": "what a plot draws",
    "kit.energy.picture.Curve": "what a plot draws",
    "kit.energy.picture.Picture": "what a plot draws",
    "kit.energy.picture.Trace": "what a plot draws",
    "kit.energy.names": "the glossary: how phases, metrics and scopes are called",
    "kit.energy.names.ENERGY_PER": "the same",
    "kit.energy.names.SCOPES": "the same",
    "kit.energy.picture.curve_of": "what a plot draws, of the records that a comparison read",
    "kit.energy.picture.thinned": "only a plot knows how many columns it has",
    "kit.machine.images": "the form offers the recipes by name",
    "kit.measure.meters": "the form offers the meters by name",
    "kit.machine.pinning": "the form asks what this machine knows of a spec's images and files",
    "kit.machine.host.sections.ALIASED": "meters that one can do without when they do not answer",
    "kit.machine.host.config.config_path": "the settings of the UI lie beside host.toml",
    "kit.record.phases.BLOCKS": "the rows of the live view, a block each",
    "kit.record.records.RunRecords": "a type: what the floors below read and a tab lists",
}


def named(path: Path) -> str:
    return path.relative_to(ROOM).as_posix()


def trees() -> Iterator[tuple[str, ast.Module]]:
    for path in MODULES:
        yield named(path), ast.parse(path.read_text("utf-8"))


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in PUBLIC


def test_nobody_reaches_into_another_objects_private_names() -> None:
    places = [
        f"{name}:{node.lineno} {ast.unparse(node)}"
        for name, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and is_private(node.attr)
        and not (isinstance(node.value, ast.Name) and node.value.id in OURS)
    ]
    assert not places


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_no_widget_uses_or_shadows_a_private_name_of_its_textual_bases(path: Path) -> None:
    """``self._x`` is ours only where no base from Textual has an attribute of the name."""
    module = importlib.import_module(".".join(["kit.tui", *_steps(path)]))
    tree = ast.parse(path.read_text("utf-8"))
    for node in (n for n in ast.walk(tree) if isinstance(n, ast.ClassDef)):
        widget = getattr(module, node.name, None)  # a class inside another is a message
        if isinstance(widget, type):
            assert not _own_private(node) & _privates_of_textual(widget), node.name


def test_what_comes_from_the_lower_floors_is_on_the_list() -> None:
    """Not more than is listed, and no line of the list for nothing."""
    imports = {
        imported: name
        for name, tree in trees()
        for imported in _imported(tree)
        if f"{imported}.".startswith(tuple(f"{floor}." for floor in LOWER))
    }
    assert imports.keys() == ALLOWED.keys(), imports


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _steps(path: Path) -> list[str]:
    return [step for step in path.relative_to(ROOM).with_suffix("").parts if step != "__init__"]


def _own_private(tree: ast.ClassDef) -> set[str]:
    names = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
    names |= {n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)}
    return set(filter(is_private, names))


def _privates_of_textual(widget: type) -> set[str]:
    theirs = ("textual", "textual_plotext")
    return {
        name
        for base in widget.__mro__
        if base.__module__.partition(".")[0] in theirs
        for name in _privates(base)
    }


@cache
def _privates(base: type) -> set[str]:
    names = set(vars(base)) | set(re.findall(r"self\.(_\w+)", inspect.getsource(base)))
    return set(filter(is_private, names))
