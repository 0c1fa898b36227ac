"""What extends kit is a file in its folder, and its name in the one list beside it."""

from __future__ import annotations

from pathlib import Path

import kit
from kit.spec import meters, runtimes, workloads

PACKAGE = Path(kit.__file__).parent
# Folder, the object in each file, and the list of names.
KINDS = (
    ("spec/runtimes", "RUNTIME", runtimes.OWN),
    ("measure/meters", "METER", meters.OWN),
    ("spec/workloads", "WORKLOAD", workloads.OWN),
)


def test_a_file_that_extends_kit_is_listed() -> None:
    """A file without its name in `OWN` is never imported, and no contract test runs over it."""
    for folder, attribute, listed in KINDS:
        files = [*(PACKAGE / folder).glob("*.py"), *(PACKAGE / folder).glob("*/__init__.py")]
        there = {
            path.parent.name if path.stem == "__init__" else path.stem
            for path in files
            if f"\n{attribute} = " in path.read_text()
        }
        known = {name.replace("-", "_") for name in listed}
        assert there == known, f"OWN names each file of kit/{folder}"
