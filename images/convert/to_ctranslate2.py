"""A GGUF file as a folder that CTranslate2 loads: weights in bfloat16, tokenizer, chat template.

Transformers' configuration is in transformers.json, since CTranslate2's own is called config.json.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import to_safetensors

KEPT = {
    "chat_template.jinja": "chat_template.jinja",
    "config.json": "transformers.json",
    "tokenizer.json": "tokenizer.json",
    "tokenizer_config.json": "tokenizer_config.json",
}


def convert(source: Path, out: Path) -> None:
    """Write the model of the one GGUF file in ``source`` to ``out``.

    Raises:
        ValueError: as `to_safetensors`, or CTranslate2 knows no such architecture.
    """
    from ctranslate2.converters import TransformersConverter

    dense, made = out / "safetensors", out / "made"  # /tmp is smaller than most models
    dense.mkdir()
    to_safetensors.convert(source, dense)
    TransformersConverter(str(dense)).convert(str(made), quantization="bfloat16")
    for path in made.iterdir():
        path.rename(out / path.name)
    for name, kept in KEPT.items():
        if (dense / name).is_file():
            (dense / name).rename(out / kept)
    made.rmdir()
    shutil.rmtree(dense)
