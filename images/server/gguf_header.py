"""What a GGUF file says of itself, for engines that read the file but do not pass that on."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, BinaryIO

_FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_TEXT, _LIST = 8, 9
_ENDS = ("eos", "eot", "eom")


class Header:
    """The metadata of a GGUF file (versions 2 and 3, little endian), by key.

    Raises:
        ValueError: it is no such file.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            magic, version, _, count = struct.unpack("<4sIQQ", file.read(24))
            if magic != b"GGUF" or version not in (2, 3):
                raise ValueError("not a GGUF file of version 2 or 3")
            self.values: dict[str, Any] = {}
            for _ in range(count):
                key = _text(file)
                self.values[key] = _value(file, *struct.unpack("<I", file.read(4)))

    @property
    def chat_template(self) -> str | None:
        return self.values.get("tokenizer.chat_template")

    @property
    def max_context(self) -> int | None:
        """The context that the model was made for, in tokens."""
        return self.values.get(f"{self.values.get('general.architecture')}.context_length")

    @property
    def end_tokens(self) -> frozenset[int]:
        """Ids of the tokens that end a text."""
        said = (self.values.get(f"tokenizer.ggml.{end}_token_id") for end in _ENDS)
        return frozenset(token for token in said if token is not None)

    @property
    def special(self) -> dict[str, str]:
        """Texts of the special tokens, by the names that chat templates use."""
        texts = self.values.get("tokenizer.ggml.tokens", [])
        ids = {
            "bos_token": self.values.get("tokenizer.ggml.bos_token_id"),
            "eos_token": self.values.get("tokenizer.ggml.eos_token_id"),
            "unk_token": self.values.get("tokenizer.ggml.unknown_token_id"),
        }
        return {name: texts[i] if i is not None else "" for name, i in ids.items()}


def _value(file: BinaryIO, kind: int) -> Any:
    if kind == _TEXT:
        return _text(file)
    if kind == _LIST:
        of, count = struct.unpack("<IQ", file.read(12))
        return [_value(file, of) for _ in range(count)]
    form = "<" + _FORMATS[kind]
    return struct.unpack(form, file.read(struct.calcsize(form)))[0]


def _text(file: BinaryIO) -> str:
    (length,) = struct.unpack("<Q", file.read(8))
    return file.read(length).decode(errors="replace")
