"""What every process of kit loads when it starts: hundreds start in a study, beside what is
measured, and heavy libraries wait until something needs them."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"docker", "jsonschema", "numpy", "textual", "urllib.request"}


@pytest.mark.parametrize(
    "module", ["kit.cli.run", "kit.run.runner", "kit.measure.sample.__main__", "kit.measure.drive"]
)
def test_a_process_starts_without_heavy_libraries(module: str) -> None:
    code = f"import sys, {module}; print(*({HEAVY} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
