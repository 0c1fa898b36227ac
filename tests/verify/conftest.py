"""A golden run that is built once, and a copy of it for each forgery."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests import golden


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return golden.copied(tmp_path_factory.mktemp("golden") / "runs")


@pytest.fixture
def run(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / original.name))
