"""exllamav3 as an engine of kit's thin server (see `adapter.py`). It runs on GPUs alone.

    --cache-bits 2…8

``--model`` is a folder with config.json, safetensors and tokenizer.json, as exllamav3's converter
or the model's maker wrote them. Keys and values are kept in 16 bits, or in as many as asked for.

A batch is given to exllamav3's generator at once: it reads one prompt after another, and decodes
together what it has read. Pages of earlier prompts are forgotten after each batch, so that no
prompt is ever taken from a cache. With ``ignore_eos`` the tokens that end a text are never chosen.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from adapter import TAIL, Detokenizer, Piece, Row, TextEngine, Tokenizer

NAME = "exllamav3"
BATCHES = True
PAGE = 256  # tokens


def flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cache-bits", type=int, choices=range(2, 9))


def load(args: argparse.Namespace) -> Engine:
    """The model and tokenizer at ``args.model``, having run once."""
    path = Path(args.model)
    if not (path / "config.json").is_file():
        raise FileNotFoundError("no folder with a config.json")
    import torch

    if not torch.cuda.is_available():
        raise RuntimeError("PyTorch finds no GPU, and exllamav3 runs on nothing else")
    from exllamav3 import Cache, CacheLayer_fp16, CacheLayer_quant, Config, Generator, Model
    from exllamav3 import Tokenizer as Reader

    config = Config.from_directory(str(path))
    model = Model.from_config(config)
    context = args.max_context or 2048
    bits = {"k_bits": args.cache_bits, "v_bits": args.cache_bits} if args.cache_bits else {}
    cache = Cache(
        model,
        max_num_tokens=args.batch * PAGE * (-(-context // PAGE) + 1),
        layer_type=CacheLayer_quant if bits else CacheLayer_fp16,
        max_batch_size=args.batch,
        **bits,
    )
    model.load(device="cuda:0", progressbar=False)
    generator = Generator(model, cache, Reader.from_config(config), max_batch_size=args.batch)
    found = Engine(path, config, generator, context, args.cache_bits)
    found.warm_up(args.batch)
    return found


class Engine(TextEngine):
    """A loaded model, its tokenizer and its generator."""

    def __init__(
        self, path: Path, config: Any, generator: Any, context: int, bits: int | None
    ) -> None:
        import torch

        self._path, self._generator, self._bits = path, generator, bits
        self._words = Tokenizer(path)
        self.encode, self.decode, self.render = (
            self._words.encode,
            self._words.decode,
            self._words.render,
        )
        self.max_context = context
        self.end_tokens = frozenset(int(i) for i in config.eos_token_id_list if i is not None)
        self.title = f"{config.architecture}, {torch.cuda.get_device_name()}"

    def answer(self, rows: list[Row]) -> Iterator[list[tuple[int, Piece]]]:
        words = [Detokenizer(self.decode, row.ids[-TAIL:]) for row in rows]
        counts = [0] * len(rows)
        for index, row in enumerate(rows):
            self._generator.enqueue(self._job(index, row))
        try:
            while self._generator.num_remaining_jobs():
                made = []
                for index, token in self._new_tokens():
                    row = rows[index]
                    if row.over:
                        continue
                    counts[index] += 1
                    piece = self._piece(row, token, counts[index], words[index])
                    row.over = piece.finish is not None
                    made.append((index, piece))
                if made:
                    yield made
        finally:
            self._generator.clear_queue()
            self._generator.pagetable.reset_page_table()
        if not all(row.over for row in rows):
            raise RuntimeError("exllamav3 stopped before the answer was over")

    def _new_tokens(self) -> Iterator[tuple[int, int]]:
        """One step of the generator: (index of the row, token), the end's token too."""
        for result in self._generator.iterate():
            if "error" in result:
                raise RuntimeError(f"exllamav3 failed: {result['error']}")
            if result["stage"] != "streaming":
                continue
            ids = result.get("token_ids")
            for token in [] if ids is None else ids.flatten().tolist():
                yield result["identifier"], token
            if result.get("eos_reason") == "stop_token":
                yield result["identifier"], result["eos_triggering_token_id"]

    def _job(self, index: int, row: Row) -> Any:
        import torch
        from exllamav3 import ComboSampler, Job

        asked = row.asked
        return Job(
            input_ids=torch.tensor([row.ids], dtype=torch.long),
            max_new_tokens=row.wanted,
            min_new_tokens=row.wanted if asked.ignore_eos else 0,
            sampler=ComboSampler(
                temperature=asked.temperature, top_k=asked.top_k, top_p=asked.top_p
            ),
            seed=asked.seed,
            stop_conditions=sorted(self.end_tokens),
            decode_special_tokens=True,
            identifier=index,
        )

    def props(self) -> dict[str, Any]:
        import torch

        text = (self._path / "config.json").read_text("utf-8")
        said = json.loads(text)
        template = self._words.chat_template
        return {
            "model_type": said.get("model_type"),
            "config_sha256": hashlib.sha256(text.encode()).hexdigest(),
            "quantization_config": said.get("quantization_config"),
            "cache_bits": self._bits or 16,
            "max_context": self.max_context,
            "end_tokens": sorted(self.end_tokens),
            "chat_template_sha256": hashlib.sha256(template.encode()).hexdigest()
            if template
            else None,
            "cache": "paged, forgotten after each batch",
            "exllamav3": version("exllamav3"),
            "torch": torch.__version__,
            "python": platform.python_version(),
            "cuda": torch.version.cuda,
            "device": torch.cuda.get_device_name(),
            "compute_capability": list(torch.cuda.get_device_capability()),
        }
