"""What has passed on the sources as they are now, so that a broken-off suite can go on.

``KIT_TESTS_RESUME=1`` (``make test-runtimes RESUME=1``) skips it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILE = ROOT / ".cache/runtimes-done.json"
_SOURCES = ("kit", "images", "specs", "tests/runtimes")


@contextmanager
def once(name: str) -> Iterator[None]:
    """Skip a test that has passed on the same sources; note it when it passes."""
    if os.environ.get("KIT_TESTS_RESUME") == "1" and name in passed():
        pytest.skip("it has passed on these sources")
    yield
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(json.dumps({"sources": sources(), "passed": sorted({*passed(), name})}))


def passed() -> list[str]:
    """The tests that have passed on these sources."""
    try:
        noted = json.loads(FILE.read_text())
    except (OSError, ValueError):
        return []
    return list(noted["passed"]) if noted.get("sources") == sources() else []


@cache
def sources() -> str:
    """One hash over every file that a run of a runtime depends on."""
    digest = hashlib.sha256()
    files = (path for part in _SOURCES for path in (ROOT / part).rglob("*") if path.is_file())
    for path in sorted(files):
        if "__pycache__" not in path.parts:
            digest.update(f"{path.relative_to(ROOT)}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
