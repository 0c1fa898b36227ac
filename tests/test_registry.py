"""What extends kit is a file in its folder, and its name in the one list beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

import kit
from kit.spec import meters, runtimes, workloads

PACKAGE = Path(kit.__file__).parent


@pytest.mark.parametrize(
    ("folder", "attribute", "listed"),
    [
        ("spec/runtimes", "RUNTIME", runtimes.OWN),
        ("measure/meters", "METER", meters.OWN),
        ("spec/workloads", "WORKLOAD", workloads.OWN),
    ],
)
def test_a_file_that_extends_kit_is_listed(
    folder: str, attribute: str, listed: tuple[str, ...]
) -> None:
    """A file without its name in `OWN` is never imported, and no contract test runs over it."""
    files = [*(PACKAGE / folder).glob("*.py"), *(PACKAGE / folder).glob("*/__init__.py")]
    there = {
        path.parent.name if path.stem == "__init__" else path.stem
        for path in files
        if f"\n{attribute} = " in path.read_text()
    }
    assert there == {name.replace("-", "_") for name in listed}, f"OWN names each file of {folder}"
