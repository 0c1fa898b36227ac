"""CTranslate2 as an engine of kit's thin server (see `adapter.py`): a converted folder on the CPU.

    --threads N  --compute float32|bfloat16|int8  --mkl 0|1

``--model`` is a folder that kit's form ctranslate2 made (`images/convert`): CTranslate2's own
files, and beside them tokenizer.json with what belongs to it. CTranslate2 begins each request with
an empty key-value cache. Each of its threads is seeded when it starts and never again, so that no
request can be repeated that draws: none is drawn.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from adapter import Asked, BadRequest, Row, TextEngine, Tokenizer

NAME = "ctranslate2"
_TYPES = {"float32": "float32", "bfloat16": "bfloat16", "int8": "int8_float32"}


def flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--threads", type=int, default=len(os.sched_getaffinity(0)))
    add("--compute", choices=list(_TYPES), default="float32")
    add("--mkl", choices=["0", "1"], default="0")


def load(args: argparse.Namespace) -> Engine:
    """The model at ``args.model``, having run once.

    Raises:
        OSError: a file is missing; ValueError, RuntimeError: CTranslate2 cannot load them.
    """
    os.environ["CT2_USE_MKL"] = args.mkl  # read when it is first needed, as is the next one
    os.environ["CT2_VERBOSE"] = "1"  # its log tells the kernels in effect
    import ctranslate2

    folder, kind = Path(args.model), _TYPES[args.compute]
    source = json.loads((folder / "transformers.json").read_text("utf-8"))
    limit = source.get("max_position_embeddings")
    context = args.max_context or limit or 2048
    if limit and context > limit:
        raise ValueError(f"a context of {context} tokens; the model has {limit}")
    generator = ctranslate2.Generator(
        str(folder), device="cpu", compute_type=kind, inter_threads=1, intra_threads=args.threads
    )
    if generator.compute_type != kind:  # CTranslate2 takes another one where a CPU has it not
        raise ValueError(f"this CPU cannot compute in {kind}: {generator.compute_type}")
    found = Engine(generator, folder, args, context)
    found.warm_up()
    return found


class Engine(TextEngine):
    """A loaded model and its tokenizer."""

    def __init__(
        self, generator: Any, folder: Path, args: argparse.Namespace, max_context: int
    ) -> None:
        self._generator, self._args, self.max_context = generator, args, max_context
        self._tokenizer = tokenizer = Tokenizer(folder)
        self.encode, self.decode = tokenizer.encode, tokenizer.decode  # type: ignore[method-assign]
        self.render = tokenizer.render  # type: ignore[method-assign]
        self._words: list[str] = json.loads((folder / "vocabulary.json").read_text("utf-8"))
        said = json.loads((folder / "transformers.json").read_text("utf-8"))["eos_token_id"]
        self.end_tokens = frozenset(said if isinstance(said, list) else [said])
        self.title = f"{generator.compute_type}, CPU"

    def prepare(self, asked: Asked) -> Row:
        if asked.temperature:
            raise BadRequest("CTranslate2 takes no seed with a request: temperature must be 0")
        return super().prepare(asked)

    def tokens(self, row: Row) -> Iterator[int]:
        ends = sorted(self.end_tokens)
        never = [[self._words[i]] for i in ends] if row.asked.ignore_eos else None
        steps = self._generator.generate_tokens(
            [self._words[i] for i in row.ids],
            max_length=row.wanted,
            sampling_topk=1,
            suppress_sequences=never,
            end_token=ends,
        )
        for step in steps:
            yield step.token_id

    def props(self) -> dict[str, Any]:
        import ctranslate2

        template = (self._tokenizer.chat_template or "").encode()
        return {
            "compute": self._generator.compute_type,
            "device": "CPU",
            "mkl": self._args.mkl == "1",
            "threads": self._args.threads,
            "max_context": self.max_context,
            "end_tokens": sorted(self.end_tokens),
            "chat_template_sha256": hashlib.sha256(template).hexdigest() if template else None,
            "cache": "empty at the start of each request",
            "ctranslate2": ctranslate2.__version__,
            "python": platform.python_version(),
        }
