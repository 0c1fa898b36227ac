"""What the screens may reach for: no private name of Textual, no knowledge of the lower floors."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import kit.tui

ROOM = Path(kit.tui.__file__).parent
HACKS = "_textual_hacks.py"
MODULES = sorted(p for p in ROOM.rglob("*.py") if p.name != HACKS)
# Public ones whose names begin like private ones: a named tuple's, and the exit without clean-up.
PUBLIC = {"_replace", "_asdict", "_fields", "_exit"}
OURS = {"self", "cls"}


def named(path: Path) -> str:
    return path.relative_to(ROOM).as_posix()


def trees() -> Iterator[tuple[str, ast.Module]]:
    for path in MODULES:
        yield named(path), ast.parse(path.read_text("utf-8"))


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in PUBLIC


def test_nobody_reaches_into_another_objects_private_names() -> None:
    found = [
        f"{name}:{node.lineno} {ast.unparse(node)}"
        for name, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and is_private(node.attr)
        and not (isinstance(node.value, ast.Name) and node.value.id in OURS)
    ]
    assert not found


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_no_widget_uses_or_shadows_a_private_name_of_its_textual_bases(path: Path) -> None:
    """``self._x`` is ours only where no base from Textual has an attribute of the name."""
    module = importlib.import_module(".".join(["kit.tui", *_steps(path)]))
    tree = ast.parse(path.read_text("utf-8"))
    for node in (n for n in ast.walk(tree) if isinstance(n, ast.ClassDef)):
        found = getattr(module, node.name, None)  # a class inside another is a message
        if isinstance(found, type):
            assert not _own_private(node) & _privates_of_textual(found), node.name


def _steps(path: Path) -> list[str]:
    return [step for step in path.relative_to(ROOM).with_suffix("").parts if step != "__init__"]


def _own_private(tree: ast.ClassDef) -> set[str]:
    names = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
    names |= {n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)}
    return set(filter(is_private, names))


def _privates_of_textual(found: type) -> set[str]:
    names: set[str] = set()
    for base in found.__mro__:
        if base.__module__.partition(".")[0] in ("textual", "textual_plotext"):
            names |= set(vars(base)) | set(re.findall(r"self\.(_\w+)", inspect.getsource(base)))
    return set(filter(is_private, names))
