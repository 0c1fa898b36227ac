"""A GGUF file as a folder that Hugging Face's libraries load: safetensors in bfloat16, tokenizer.

Transformers dequantises the tensors and names them. Its tokenizer is held against the GGUF's own
words, since it leaves out how the text is cut before it is merged: with another cut, numbers are
other tokens, and two runtimes would do other work on one prompt.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

# How llama.cpp's pre-tokenizers cut a text; one that is not here is refused, never guessed.
_BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
_DIGITS = {"type": "Digits", "individual_digits": True}
CUTS: dict[str, dict[str, Any]] = {
    "gpt-2": _BYTES,
    "smollm": {"type": "Sequence", "pretokenizers": [_DIGITS, _BYTES]},
}
_DECODER = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}


def convert(source: Path, out: Path) -> None:
    """Write the model of the one GGUF file in ``source`` to ``out``.

    Raises:
        ValueError: there is not one GGUF file, or its text is cut in a way that is not known here.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    files = sorted(source.glob("*.gguf"))
    if len(files) != 1:
        raise ValueError(f"{len(files)} .gguf files, and one is needed")
    facts = _facts(files[0])
    given = {"gguf_file": files[0].name, "local_files_only": True}
    tokenizer = AutoTokenizer.from_pretrained(source, **given)
    model = AutoModelForCausalLM.from_pretrained(
        source, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True), **given
    )
    vars(model.config).pop("quantization_config", None)  # it is dequantised
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    _correct_config(out / "config.json", facts)
    _correct_config(out / "generation_config.json", facts)
    _correct_tokenizer(out, facts)


def _facts(path: Path) -> dict[str, Any]:
    """What the GGUF says of its tokenizer: its kind, its cut, and its special tokens by id."""
    from gguf import GGUFReader

    fields = GGUFReader(path).fields

    def value(name: str) -> Any:
        field = fields.get(f"tokenizer.ggml.{name}")
        return None if field is None else field.contents()

    facts = {"kind": value("model"), "cut": value("pre"), "tokens": value("tokens")}
    facts |= {name: value(f"{name}_token_id") for name in ("bos", "eos", "unknown", "padding")}
    if facts["kind"] != "gpt2" or facts["cut"] not in CUTS:
        raise ValueError(
            f"the tokenizer {facts['kind']} with the cut {facts['cut']} is not known here; known "
            f"are gpt2 with {', '.join(CUTS)}"
        )
    return facts


def _correct_config(path: Path, facts: dict[str, Any]) -> None:
    """The GGUF's special tokens; ``rope_theta`` also where older libraries look for it."""
    config = json.loads(path.read_text("utf-8"))
    for key, name in (("bos_token_id", "bos"), ("eos_token_id", "eos")):
        if facts[name] is not None:
            config[key] = int(facts[name])
    for key in ("_name_or_path", "_model_name_or_path", "_from_model_config"):
        config.pop(key, None)
    theta = (config.get("rope_parameters") or {}).get("rope_theta")
    if theta is not None:
        config["rope_theta"] = theta
    _write(path, config)


def _correct_tokenizer(out: Path, facts: dict[str, Any]) -> None:
    tokenizer = json.loads((out / "tokenizer.json").read_text("utf-8"))
    tokenizer |= {"pre_tokenizer": CUTS[facts["cut"]], "decoder": _DECODER, "normalizer": None}
    _write(out / "tokenizer.json", tokenizer)
    about = json.loads((out / "tokenizer_config.json").read_text("utf-8"))
    for key, name in (("bos_token", "bos"), ("eos_token", "eos"), ("unk_token", "unknown")):
        if facts[name] is not None:
            about[key] = facts["tokens"][int(facts[name])]
    for key in ("backend", "is_local", "local_files_only"):
        about.pop(key, None)
    about["tokenizer_class"] = "PreTrainedTokenizerFast"
    _write(out / "tokenizer_config.json", about)


def _write(path: Path, document: dict[str, Any]) -> None:
    text = json.dumps(document, indent=2, ensure_ascii=False, sort_keys=True)
    path.write_text(text + "\n", "utf-8")
