"""OpenAI's two text APIs: what a request asks for, and the documents that answer it."""

from __future__ import annotations

import json
import time
from typing import Any

from adapter import Api, Asked, BadRequest, Piece, Row

CHAT, BARE = "/v1/chat/completions", "/v1/completions"
TOKENIZE = "/tokenize"

_FIELDS = {
    "stream": (bool, False),
    "temperature": (float, 1.0),
    "top_p": (float, 1.0),
    "top_k": (int, 0),
    "seed": (int, None),
    "ignore_eos": (bool, False),
    "max_tokens": (int, None),
}
_RANGES = {
    "temperature": (0, 100),
    "top_p": (0, 1),
    "top_k": (0, 1 << 31),
    "seed": (0, (1 << 63) - 1),
    "max_tokens": (1, 1 << 31),
}


def read_request(path: str, body: bytes) -> Asked:
    """The completion that ``body`` asks for on ``path``; on /tokenize either of the two.

    Raises:
        BadRequest: it is no such request, or asks for what this server does not do.
    """
    try:
        asked = json.loads(body)
    except ValueError as problem:
        raise BadRequest(f"not JSON: {problem}") from problem
    if not isinstance(asked, dict):
        raise BadRequest("not a JSON object")
    chat = "messages" in asked if path == TOKENIZE else path == CHAT
    text = "messages" if chat else "prompt"
    unknown = sorted(set(asked) - {*_FIELDS, text, "model", "stream_options"})
    if unknown:
        raise BadRequest(f"not supported: {', '.join(unknown)}")
    options = asked.get("stream_options") or {}
    if not isinstance(options, dict):
        raise BadRequest("stream_options is not an object")
    values = {name: _field(asked, name) for name in _FIELDS}
    messages = _messages(asked.get("messages")) if chat else None
    prompt = asked.get("prompt")
    if not chat and not isinstance(prompt, str):
        raise BadRequest("prompt is not a text")
    return Asked(
        messages=messages,
        prompt=prompt,
        include_usage=options.get("include_usage") is True,
        **values,
    )


def _field(asked: dict[str, Any], name: str) -> Any:
    """One value of the right kind and within its range; its default where it is not given."""
    kind, default = _FIELDS[name]
    value = asked.get(name)
    if value is None:
        return default
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise BadRequest(f"{name} is not of type {kind.__name__}")
    low, high = _RANGES.get(name, (False, True))
    if not low <= value <= high:
        raise BadRequest(f"{name} is not between {low} and {high}")
    return value


def _messages(value: Any) -> list[dict[str, str]]:
    good = isinstance(value, list) and value and all(isinstance(m, dict) for m in value)
    if not good or not all(
        set(m) == {"role", "content"} and all(isinstance(v, str) for v in m.values()) for m in value
    ):
        raise BadRequest("messages is not a list of {role, content}, each a text")
    return value


class TextForm:
    """The JSON documents of one completion, in the words of its API."""

    def __init__(self, asked: Asked, model: str, number: int) -> None:
        self._chat, self._usage, self._first = asked.messages is not None, asked.include_usage, True
        kind = "chatcmpl" if self._chat else "cmpl"
        self._frame = {"id": f"{kind}-{number}", "created": int(time.time()), "model": model}

    def chunk(self, piece: Piece) -> dict[str, Any]:
        """The event of one token; a chat's first one names the role."""
        choice: dict[str, Any] = {"index": 0, "finish_reason": piece.finish}
        if self._chat:
            role = {"role": "assistant"} if self._first else {}
            choice["delta"] = {**role, "content": piece.text}
        else:
            choice["text"] = piece.text
        self._first = False
        return self._document([choice], streamed=True)

    def last(self, row: Row, count: int, batch: int) -> dict[str, Any] | None:
        """The usage, if it is asked for, and how many requests ran together."""
        if not self._usage:
            return None
        return {**self._document([], streamed=True), "usage": _usage(row, count), "batch": batch}

    def whole(self, row: Row, pieces: list[Piece], batch: int) -> dict[str, Any]:
        text, finish = "".join(piece.text for piece in pieces), pieces[-1].finish
        said = {"message": {"role": "assistant", "content": text}} if self._chat else {"text": text}
        document = self._document([{"index": 0, "finish_reason": finish, **said}], streamed=False)
        return {**document, "usage": _usage(row, len(pieces)), "batch": batch}

    def _document(self, choices: list[dict[str, Any]], streamed: bool) -> dict[str, Any]:
        if self._chat:
            kind = "chat.completion.chunk" if streamed else "chat.completion"
        else:
            kind = "text_completion"
        return {**self._frame, "object": kind, "choices": choices}


def _usage(row: Row, count: int) -> dict[str, Any]:
    """Token counts, from token ids; no prompt is ever taken from a cache."""
    return {
        "prompt_tokens": len(row.ids),
        "completion_tokens": count,
        "total_tokens": len(row.ids) + count,
        "prompt_tokens_details": {"cached_tokens": 0},
    }


TEXT = Api((CHAT, BARE), read_request, TextForm)
