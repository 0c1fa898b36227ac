"""ONNX Runtime GenAI as an engine of kit's thin server (see `adapter.py`): a folder on CPU or GPU.

    --device cpu|cuda  --threads N  --spinning 0|1

``--model`` is a folder that kit made (`images/convert`), for the CPU in the form onnx or onnx-int4,
for a GPU in the form onnx-cuda: a graph, genai_config.json, and tokenizer.json with what belongs to
it. GenAI's own tokenizer is not used: it knows fewer kinds. Each request has a generator of its
own, with an empty key-value cache.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from adapter import Row, TextEngine, Tokenizer

NAME = "onnxruntime-genai"
PACKAGES = {  # of each device
    "cpu": {"onnxruntime": "onnxruntime", "onnxruntime_genai": "onnxruntime-genai"},
    "cuda": {"onnxruntime": "onnxruntime-gpu", "onnxruntime_genai": "onnxruntime-genai-cuda"},
}


def flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--device", choices=["cpu", "cuda"], default="cpu")
    add("--threads", type=int, default=len(os.sched_getaffinity(0)))
    add("--spinning", choices=["0", "1"], default="1")


def load(args: argparse.Namespace) -> Engine:
    """The model at ``args.model``, having run once.

    Raises:
        OSError, KeyError: a file is missing, or is another one; RuntimeError: it cannot be loaded.
    """
    if args.device == "cuda":
        import onnxruntime

        onnxruntime.preload_dlls()  # GenAI does not look where wheels lay CUDA's libraries
    import onnxruntime_genai as genai

    folder = Path(args.model)
    own = json.loads((folder / "genai_config.json").read_text("utf-8"))["model"]
    limit = own["context_length"]
    context = args.max_context or limit
    if context > limit:
        raise ValueError(f"a context of {context} tokens; the model has {limit}")
    session = {
        "intra_op_num_threads": args.threads,
        "inter_op_num_threads": 1,
        "session.intra_op.allow_spinning": args.spinning,
    }
    config = genai.Config(str(folder))
    config.clear_providers()
    if args.device == "cuda":
        config.append_provider("cuda")
    config.overlay(json.dumps({"model": {"decoder": {"session_options": session}}}))
    found = Engine(genai.Model(config), folder, own, session, context, args.device)
    found.warm_up()
    return found


class Engine(TextEngine):
    """A loaded model and its tokenizer."""

    def __init__(
        self,
        model: Any,
        folder: Path,
        own: dict[str, Any],
        session: dict[str, Any],
        context: int,
        device: str,
    ) -> None:
        self._model, self._own, self._session, self.max_context = model, own, session, context
        self._device = device
        self._tokenizer = tokenizer = Tokenizer(folder)
        self.encode, self.decode = tokenizer.encode, tokenizer.decode  # type: ignore[method-assign]
        self.render = tokenizer.render  # type: ignore[method-assign]
        said = own["eos_token_id"]
        self.end_tokens = frozenset(said if isinstance(said, list) else [said])
        self.title = f"{own['type']}, {model.device_type}"

    def tokens(self, row: Row) -> Iterator[int]:
        import onnxruntime_genai as genai

        asked, length = row.asked, len(row.ids) + row.wanted
        # The ends get no probability before min_length, which counts the prompt, too.
        options = {"max_length": length, "min_length": length if asked.ignore_eos else 0}
        options |= {"do_sample": asked.temperature > 0, "num_beams": 1, "repetition_penalty": 1.0}
        if asked.temperature:
            options |= {"temperature": asked.temperature, "top_p": asked.top_p}
            options |= {"top_k": asked.top_k}
            options |= {} if asked.seed is None else {"random_seed": asked.seed}
        params = genai.GeneratorParams(self._model)
        params.set_search_options(**options)
        generator = genai.Generator(self._model, params)
        generator.append_tokens(row.ids)
        while not generator.is_done():
            generator.generate_next_token()
            yield int(generator.get_next_tokens()[0])

    def props(self) -> dict[str, Any]:
        template = (self._tokenizer.chat_template or "").encode()
        return {
            "model": self._own["type"],
            "session": self._session,
            "device": self._model.device_type.upper(),
            "threads": self._session["intra_op_num_threads"],
            "max_context": self.max_context,
            "end_tokens": sorted(self.end_tokens),
            "chat_template_sha256": hashlib.sha256(template).hexdigest() if template else None,
            "cache": "empty at the start of each request",
            **{name: version(package) for name, package in PACKAGES[self._device].items()},
            "python": platform.python_version(),
        }
