"""A GGUF file as a folder that ONNX Runtime GenAI loads: weights in float32, tokenizer, template."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import to_safetensors

KEPT = ("chat_template.jinja", "tokenizer.json", "tokenizer_config.json")


def convert(source: Path, out: Path, precision: str = "fp32", provider: str = "cpu") -> None:
    """Write the model of the one GGUF file in ``source`` to ``out``.

    Raises:
        ValueError: as `to_safetensors`, or GenAI's builder knows no such architecture.
    """
    dense, made = out / "safetensors", out / "made"  # /tmp is smaller than most models
    dense.mkdir()
    to_safetensors.convert(source, dense)
    builder = [sys.executable, "-m", "onnxruntime_genai.models.builder"]
    builder += ["--input", dense, "--output", made, "--cache_dir", out / "cache"]
    builder += ["--execution_provider", provider, "--precision", precision]
    builder += ["--extra_options", "hf_token=false"]
    done = subprocess.run(
        builder, env=os.environ | {"HF_HUB_OFFLINE": "1"}, capture_output=True, text=True
    )
    if done.returncode:
        raise ValueError(done.stderr.strip().rpartition("\n")[2] or "GenAI's builder failed")
    for name in KEPT:  # the builder rewrites those of the tokenizer
        if (dense / name).is_file():
            (dense / name).rename(made / name)
    for path in made.iterdir():
        path.rename(out / path.name)
    for folder in (dense, made, out / "cache"):
        shutil.rmtree(folder, ignore_errors=True)
