"""mistral.rs as an engine of kit's thin server (see `adapter.py`): a GGUF file on the CPU.

    --threads N  --dtype float32|bfloat16|float16  --kv-cache float16|float32

mistral.rs streams chats alone, and keeps what its template makes of them to itself. So the file's
template is applied here, and mistral.rs is given one that writes a message as it is: what
/tokenize tells is what is fed. Its own count of the prompt is held against that each time.

It gives texts and no ids, and none for a token whose character is not whole yet. How many tokens
there were, its last chunk says; those without a text become empty pieces before the last one.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from adapter import Asked, BadRequest, Piece, Row, TextEngine, render_chat
from gguf_header import Header

NAME = "mistralrs"
NEVER = -1e9  # a bias that no logit outweighs
_TYPES = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}
_AS_IT_IS = "{{ messages[0]['content'] }}"


def flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--threads", type=int, default=len(os.sched_getaffinity(0)))
    add("--dtype", choices=list(_TYPES), default="float32")
    add("--kv-cache", choices=["float16", "float32"], default="float16")


def load(args: argparse.Namespace) -> Engine:
    """The model at ``args.model``, having run once.

    Raises:
        OSError, ValueError: it cannot be read, or is no GGUF file that mistral.rs knows.
    """
    os.environ["RAYON_NUM_THREADS"] = str(args.threads)  # read when the first work is given out
    if args.kv_cache == "float32":
        os.environ["MISTRALRS_CPU_KV_F32"] = "1"
    import mistralrs

    path = Path(args.model)
    header = Header(path)
    with tempfile.NamedTemporaryFile("w", suffix=".jinja") as template:
        template.write(_AS_IT_IS)
        template.flush()
        runner = mistralrs.Runner(
            mistralrs.Which.GGUF(
                str(path.parent), path.name, dtype=getattr(mistralrs.ModelDType, _TYPES[args.dtype])
            ),
            max_seqs=1,
            prefix_cache_n=0,
            no_paged_attn=True,
            token_source="none",
            jinja_explicit=template.name,
        )
    limit = header.max_context
    found = Engine(runner, header, args, args.max_context or limit or 2048)
    if limit and found.max_context > limit:
        raise ValueError(f"a context of {found.max_context} tokens; the model has {limit}")
    found.warm_up()
    return found


class Engine(TextEngine):
    """A loaded model."""

    def __init__(
        self, runner: Any, header: Header, args: argparse.Namespace, max_context: int
    ) -> None:
        self._runner, self._header, self._args = runner, header, args
        self.max_context, self.end_tokens = max_context, header.end_tokens
        self.title = f"{header.values['general.architecture']}, {args.dtype}, CPU"

    def encode(self, text: str, special: bool) -> list[int]:
        return list(self._runner.tokenize_text(text, special, None))

    def decode(self, ids: list[int]) -> str:
        return str(self._runner.detokenize_text(ids, True))

    def render(self, messages: list[dict[str, str]]) -> str | None:
        template = self._header.chat_template
        return template and render_chat(template, messages, self._header.special)

    def prepare(self, asked: Asked) -> Row:
        if asked.temperature:
            raise BadRequest("mistral.rs takes no seed on a CPU: temperature must be 0")
        return super().prepare(asked)

    def tokens(self, row: Row) -> Iterator[Piece]:
        given = 0
        for chunk in self._runner.send_chat_completion_request(self._request(row)):
            (choice,) = chunk.choices
            text = choice.delta.content or ""
            if choice.finish_reason is None:
                given += 1
                yield Piece(text)
                continue
            without_text = chunk.usage.completion_tokens - given - 1
            if chunk.usage.prompt_tokens != len(row.ids) or without_text < 0:
                raise RuntimeError(
                    f"mistral.rs counts {chunk.usage.prompt_tokens} prompt tokens and "
                    f"{chunk.usage.completion_tokens} more, not {len(row.ids)} and {given + 1}"
                )
            yield from [Piece("")] * without_text
            yield Piece(text, choice.finish_reason)

    def _request(self, row: Row) -> Any:
        import mistralrs

        asked = row.asked
        said = asked.prompt if asked.messages is None else self.render(asked.messages)
        bias = dict.fromkeys(self.end_tokens, NEVER) if asked.ignore_eos else None
        return mistralrs.ChatCompletionRequest(
            messages=[{"role": "user", "content": said}],
            model="default",
            stream=True,
            max_tokens=row.wanted,
            temperature=0.0,
            logit_bias=bias,
            ignore_eos=asked.ignore_eos,
        )

    def props(self) -> dict[str, Any]:
        header, args = self._header.values, self._args
        template = (self._header.chat_template or "").encode()
        return {
            "architecture": header["general.architecture"],
            "file_type": header.get("general.file_type"),
            "dtype": args.dtype,
            "kv_cache": args.kv_cache,
            "device": "CPU",
            "threads": args.threads,
            "max_context": self.max_context,
            "end_tokens": sorted(self.end_tokens),
            "chat_template_sha256": hashlib.sha256(template).hexdigest() if template else None,
            "prefix_cache": 0,
            "paged_attention": False,
            "mistralrs": version("mistralrs"),
            "python": platform.python_version(),
        }
