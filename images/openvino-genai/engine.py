"""OpenVINO GenAI as an engine of kit's thin server (see `adapter.py`): a GGUF file on the CPU.

    --threads N  --dtype f32|bf16|f16  --kv-cache f16|u8|f32|bf16  --quantise-activations N

OpenVINO reads the file itself, with its tokenizer and its chat template. Whatever it would choose
by looking at the machine is said here. Its plain backend (SDPA) begins each request with an empty
key-value cache; the other one (paged attention) would keep prompts.

OpenVINO calls back for each token and goes on, in a thread of its own.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from threading import Event
from typing import Any

from adapter import Row, TextEngine
from gguf_header import Header

NAME = "openvino-genai"
_TYPES = ("f32", "bf16", "f16")


def flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--threads", type=int, default=len(os.sched_getaffinity(0)))
    add("--dtype", choices=_TYPES, default="f32")
    add("--kv-cache", choices=[*_TYPES, "u8"], default="f16")
    add("--quantise-activations", type=int, default=32)


def load(args: argparse.Namespace) -> Engine:
    """The model at ``args.model``, having run once.

    Raises:
        OSError, ValueError: it is no GGUF file; RuntimeError: OpenVINO cannot read or compile it.
    """
    import openvino_genai

    limit = Header(Path(args.model)).max_context
    context = args.max_context or limit or 2048
    if limit and context > limit:
        raise ValueError(f"a context of {context} tokens; the model has {limit}")
    settings = {
        "ATTENTION_BACKEND": "SDPA",
        "INFERENCE_NUM_THREADS": args.threads,
        "NUM_STREAMS": "1",
        "PERFORMANCE_HINT": "LATENCY",
        "ENABLE_CPU_PINNING": False,
        "INFERENCE_PRECISION_HINT": args.dtype,
        "KV_CACHE_PRECISION": args.kv_cache,
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": args.quantise_activations,
    }
    with writable(Path(args.model)) as copy:
        pipeline = openvino_genai.LLMPipeline(copy, "CPU", **settings)
    found = Engine(pipeline, settings, context)
    found.warm_up()
    return found


@contextmanager
def writable(path: Path) -> Iterator[str]:
    """A copy of a GGUF file in memory while it is read: OpenVINO opens it for writing, too, and
    weights are read-only."""
    memory = os.memfd_create("model")
    with path.open("rb") as source, os.fdopen(memory, "wb") as copy, TemporaryDirectory() as folder:
        shutil.copyfileobj(source, copy, 1 << 20)
        copy.flush()
        link = Path(folder) / "model.gguf"
        link.symlink_to(f"/proc/self/fd/{memory}")
        yield str(link)


class Engine(TextEngine):
    """A loaded model and its tokenizer."""

    def __init__(self, pipeline: Any, settings: dict[str, Any], max_context: int) -> None:
        self._pipeline, self._settings = pipeline, settings
        self._tokenizer = pipeline.get_tokenizer()
        self.max_context = max_context
        own = pipeline.get_generation_config()
        said = {self._tokenizer.get_eos_token_id(), own.eos_token_id, *own.stop_token_ids}
        self.end_tokens = frozenset(said - {-1})
        self.title = f"{settings['INFERENCE_PRECISION_HINT']}, CPU"
        self._worker = ThreadPoolExecutor(1)  # OpenVINO's own; it keeps what belongs to a thread

    def encode(self, text: str, special: bool) -> list[int]:
        ids = self._tokenizer.encode(text, add_special_tokens=special).input_ids
        return [int(i) for i in ids.data.flatten()]

    def decode(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids))

    def render(self, messages: list[dict[str, str]]) -> str | None:
        if not self._tokenizer.chat_template:
            return None
        return str(self._tokenizer.apply_chat_template(messages, add_generation_prompt=True))

    def tokens(self, row: Row) -> Iterator[int]:
        import numpy
        import openvino

        config = self._config(row)
        prompt = openvino.Tensor(numpy.array([row.ids]))

        def generate(give: Callable[[int], bool]) -> None:
            self._pipeline.generate(prompt, config, _streamer(give))

        return called_back(generate, self._worker)

    def _config(self, row: Row) -> Any:
        import openvino_genai

        asked, config = row.asked, openvino_genai.GenerationConfig()
        config.apply_chat_template = False
        config.max_new_tokens = row.wanted
        # The ends get no probability before min_new_tokens; given as stop tokens, they end a text.
        config.stop_token_ids = set(self.end_tokens)
        config.eos_token_id = min(self.end_tokens, default=-1)
        config.min_new_tokens = row.wanted if asked.ignore_eos else 0
        config.do_sample = asked.temperature > 0
        if config.do_sample:
            config.temperature, config.top_p = asked.temperature, asked.top_p
            if asked.top_k:
                config.top_k = asked.top_k
            if asked.seed is not None:
                config.rng_seed = asked.seed
        return config

    def props(self) -> dict[str, Any]:
        import openvino

        template = (self._tokenizer.chat_template or "").encode()
        capabilities = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        return {
            "settings": self._settings,
            "cpu_capabilities": sorted(capabilities),
            "device": "CPU",
            "threads": self._settings["INFERENCE_NUM_THREADS"],
            "max_context": self.max_context,
            "end_tokens": sorted(self.end_tokens),
            "chat_template_sha256": hashlib.sha256(template).hexdigest() if template else None,
            "openvino": openvino.__version__,
            "openvino_genai": version("openvino-genai"),
            "openvino_tokenizers": version("openvino-tokenizers"),
            "python": platform.python_version(),
        }


def _streamer(give: Callable[[int], bool]) -> Any:
    """Gives each id to ``give``, which says whether to go on."""
    from openvino_genai import StreamerBase, StreamingStatus

    class Streamer(StreamerBase):  # type: ignore[misc]
        def write(self, ids: int | list[int]) -> StreamingStatus:
            several = [ids] if isinstance(ids, int) else ids
            going = all([give(i) for i in several])
            return StreamingStatus.RUNNING if going else StreamingStatus.CANCEL

        def end(self) -> None:
            pass

    return Streamer()


def called_back(
    generate: Callable[[Callable[[int], bool]], None], worker: ThreadPoolExecutor
) -> Iterator[int]:
    """What ``generate`` gives to its callback, which returns whether to go on.

    ``generate`` runs in the worker's one thread, and has ended when this has.
    """
    made: SimpleQueue[int | None] = SimpleQueue()
    over = Event()

    def give(token: int) -> bool:
        made.put(token)
        return not over.is_set()

    running: Future[None] = worker.submit(generate, give)
    running.add_done_callback(lambda _: made.put(None))
    try:
        while (token := made.get()) is not None:
            yield token
    finally:
        over.set()
        running.result()
