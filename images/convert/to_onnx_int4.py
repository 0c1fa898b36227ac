"""As `to_onnx`, with the weights of matrices rounded to 4 bits in blocks of 32."""

from __future__ import annotations

from pathlib import Path

import to_onnx


def convert(source: Path, out: Path) -> None:
    """Write the model of the one GGUF file in ``source`` to ``out``; raises as `to_onnx`."""
    to_onnx.convert(source, out, "int4")
