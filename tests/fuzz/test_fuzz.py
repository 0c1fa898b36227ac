"""A hundred inputs of the fuzzer, always the same ones; `make fuzz` tries many more.

In a process of its own, because the fuzzer changes modules to be quick.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CLONE = Path(__file__).parent.parent.parent


@pytest.mark.heavy
@pytest.mark.parametrize("first", [0, 1_000_000])
@pytest.mark.slow
def test_whatever_an_archive_holds_verify_answers(first: int) -> None:
    asked = f"--first {first} --count 60 --jobs 1 --faces 0 --seconds 240"
    words = [sys.executable, "-m", "tests.fuzz", *asked.split()]
    done = subprocess.run(words, cwd=CLONE, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "60 inputs in" in done.stdout
    assert "sealed again" in done.stdout
