"""As `to_onnx`, for GPUs: weights in bfloat16, a graph whose attention runs on CUDA alone."""

from __future__ import annotations

from pathlib import Path

import to_onnx


def convert(source: Path, out: Path) -> None:
    """Write the model of the one GGUF file in ``source`` to ``out``; raises as `to_onnx`."""
    to_onnx.convert(source, out, "bf16", "cuda")
