"""Formats of servers' answers: ends, failures, and the places of texts and counts.

kit asks in OpenAI's dialect (``/v1/chat/completions``, ``/v1/completions``). Seen in sources,
trackers or on the wire: vLLM, SGLang, llama.cpp, llama-cpp-python, Ollama, mistral.rs, TGI,
Transformers, and gateways before them. They agree on good chunks; failures differ:

    {"error": {"message": …, "code": …}}                 OpenAI, vLLM, llama.cpp, llama-cpp-python
    {"error": "…"}  {"error": "…", "error_type": …}      Ollama, TGI
    {"object": "error", "message": …, "code": …}         vLLM before 0.10, FastChat
    {"type": "error", …}  {"type": "response.failed"}    OpenAI's and Anthropic's newer APIs
    {"detail": …}  {"message": …}  {"errors": […]}       FastAPI, Kong, cloud gateways
    {"choices": [{"error": …, "finish_reason": "error"}]}   OpenRouter
    event: error   error: {…}   a bare sentence as data     TGI, older llama.cpp, mistral.rs
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from kit.core.jsonio import MAX_SAFE_INTEGER
from kit.measure.drive.body import one_line

Document = Mapping[str, Any]

END_MARK = b"[DONE]"
# Finish reasons of a normal end. Any other reason fails: servers end requests for reasons of their
# own (abort, repetition, load), and report them in the same field.
ENDS = frozenset(
    (
        *("stop", "stop_sequence", "stop_str", "stop_token", "stop_word"),
        *("eos", "eos_token", "end", "end_of_text", "end_turn"),
        *("length", "limit", "max_length", "max_tokens", "model_length"),
        *("tool_calls", "tool_use", "function_call"),
    )
)
# Data that only keep a connection open.
_IDLE = re.compile(rb"\[?(ping|pong|keep-?alive|heart-?beat)\]?", re.IGNORECASE)
_IDLE_TYPES = ("ping", "pong", "keepalive", "keep-alive", "heartbeat")
_FAILED = ("error", "failed", "failure", "exception", "aborted", "cancelled", "canceled", "timeout")
_KINDS = ("object", "type", "status", "event", "state", "error_type")
_CODES = ("code", "status", "status_code", "statusCode", "http_code")
_MESSAGES = ("message", "detail", "msg", "error", "response", "reason", "title")
_FAULTS = ("errors", "detail", "error_message", "errorMessage", "error_msg", "exception", "fault")
_ABOUT = frozenset(("message", "id", "request_id", "requestId", "created", "model", "timestamp"))
_COMMENT_FAULT = re.compile(rb"((internal|server|upstream|stream)[ _-]?)*error\b", re.IGNORECASE)
_TEXTS = ("text", "content", "thinking", "reasoning", "summary", "refusal", "transcript")
_THOUGHTS = ("reasoning_content", "reasoning", "reasoning_details", "thinking")
_MESSAGE_CHARS = 200
_DEEPEST = 12
_OBJECTS = ("chat.completion.chunk", "text_completion", None)
_PLAIN = frozenset(
    ("id", "object", "created", "model", "system_fingerprint", "service_tier", "choices", "usage")
)
_PLAIN_CHOICE = frozenset(("index", "delta", "logprobs", "finish_reason", "stop_reason"))
_PLAIN_DELTA = frozenset(("role", "content"))
_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens", "images", "steps")


# --- failures ---------------------------------------------------------------------------------


def is_idle(data: bytes) -> bool:
    """Whether data only keep the connection open."""
    return not data or _IDLE.fullmatch(data) is not None


def is_fault_comment(comment: bytes) -> bool:
    """Whether a comment, which a client may ignore, reports an error."""
    return _COMMENT_FAULT.match(comment) is not None


def fault_of(document: Document) -> str | None:
    """The error in a chunk, in any dialect; None without one."""
    choices = _choices(document)
    groq = document.get("x_groq")
    places = (document, groq if isinstance(groq, Mapping) else {}, *choices, *map(part_of, choices))
    for place in places:
        error = place.get("error")
        if any(error.values()) if isinstance(error, Mapping) else error:
            return message_of(place if error is True else error)
    if any(str(document.get(kind, "")).lower().endswith(_FAILED) for kind in _KINDS):
        return message_of(document)
    return None if choices or document.get("usage") else _fault_alone(document)


def _fault_alone(document: Document) -> str | None:
    """Like `fault_of`, for a document that is no part of an answer."""
    if document.get("type") in _IDLE_TYPES or document.get("object") in _IDLE_TYPES:
        return None
    if any(document.get(key) for key in _FAULTS) or document.get("success") is False:
        return message_of(document)
    if any(_is_failing(document.get(key)) for key in _CODES):
        return message_of(document)
    has_code = isinstance(document.get("code"), str) and document["code"] != ""
    alone = isinstance(document.get("message"), str) and (has_code or document.keys() <= _ABOUT)
    return message_of(document) if alone else None


def _is_failing(code: Any) -> bool:
    number = count_of(code)
    return number is not None and 400 <= number < 600


def message_of(fault: Any) -> str:
    """An error's own message, on one line."""
    while isinstance(fault, Mapping):
        inner = next((fault[key] for key in (*_MESSAGES, *_FAULTS, "type") if fault.get(key)), None)
        if inner is None:
            break
        fault = inner
    text = fault if isinstance(fault, str) else json.dumps(fault, default=str)
    return one_line(text.encode("utf-8", "replace"), _MESSAGE_CHARS)


def is_end(reason: str) -> bool:
    """Whether a finish reason means a normal end."""
    return reason.lower() in ENDS


# --- good chunks ------------------------------------------------------------------------------


def plain_text(chunk: Document) -> str | None:
    """The text of the usual chunk: one piece of text of choice 0, and nothing else.

    Returns:
        None for any other chunk. The functions below give the same text, ten times slower.
    """
    choices = chunk.get("choices")
    if (
        not chunk.keys() <= _PLAIN
        or chunk.get("object") not in _OBJECTS
        or chunk.get("usage")
        or type(choices) is not list
        or len(choices) != 1
    ):
        return None
    return _plain_choice(choices[0])


def _plain_choice(choice: Any) -> str | None:
    if not isinstance(choice, dict) or not choice.keys() <= _PLAIN_CHOICE:
        return None
    delta = choice.get("delta")
    if choice.get("index", 0) != 0 or choice.get("finish_reason") or type(delta) is not dict:
        return None
    text = delta.get("content") if delta.keys() <= _PLAIN_DELTA else None
    return text if type(text) is str and text else None


def images_of(document: Document) -> list[str]:
    """The images of an answer of OpenAI's images API, in base64."""
    data = document.get("data")
    entries = [e for e in data if isinstance(e, Mapping)] if isinstance(data, list) else []
    return [e["b64_json"] for e in entries if isinstance(e.get("b64_json"), str)]


def _choices(chunk: Document) -> list[Document]:
    choices = chunk.get("choices")
    return [c for c in choices if isinstance(c, Mapping)] if isinstance(choices, list) else []


def choices_of(chunk: Document) -> Iterator[tuple[int, Document]]:
    """The choices of a chunk by their index."""
    for place, choice in enumerate(_choices(chunk)):
        index = count_of(choice.get("index"))
        yield place if index is None else index, choice


def part_of(choice: Document) -> Document:
    """A choice's addition (``delta``), or the whole of it (``message``); empty for neither."""
    for key in ("delta", "message"):
        if isinstance(choice.get(key), Mapping):
            part: Document = choice[key]
            return part
    return {}


def text_of(choice: Document) -> str | None:
    """The text that a choice adds: thoughts, text and calls all count as output.

    Returns:
        None if it adds none; ``""`` for a token without its own text (a part of a letter, an
        invisible character).
    """
    part = part_of(choice)
    thought = next((t for key in _THOUGHTS if (t := _flat(part.get(key)))), None)
    if thought is None and any(part.get(key) == "" for key in _THOUGHTS):
        thought = ""
    parts = [thought, _flat(part.get("content")), _flat(part.get("refusal")), *_calls(part)]
    texts = [t for t in (*parts, _flat(choice.get("text"))) if t is not None]
    return "".join(texts) if texts else None


def _calls(part: Document) -> Iterator[str | None]:
    """Names and arguments of an answer's tool calls."""
    calls = part.get("tool_calls")
    tool_calls = [c for c in calls if isinstance(c, Mapping)] if isinstance(calls, list) else []
    for function in (part.get("function_call"), *(call.get("function") for call in tool_calls)):
        if isinstance(function, Mapping):
            yield _flat(function.get("name"))
            yield _flat(function.get("arguments"))


def _flat(value: Any, depth: int = 0) -> str | None:
    """The text in a string, a list of parts, or a part; None without one."""
    if isinstance(value, str):
        return value
    if depth > _DEEPEST:
        return None
    if isinstance(value, Mapping):
        inner = [_flat(value.get(key), depth + 1) for key in _TEXTS]
    elif isinstance(value, list):
        inner = [_flat(item, depth + 1) for item in value]
    else:
        return None
    texts = [text for text in inner if text is not None]
    return "".join(texts) if texts else None


def reason_of(choice: Document) -> str | None:
    """Why a choice ended, if it has; some servers say ``""`` until then."""
    reason = choice.get("finish_reason")
    if isinstance(reason, Mapping):
        reason = reason.get("type")
    return one_line(str(reason).encode("utf-8", "replace"), 40) if reason else None


def usage_of(chunk: Document) -> Document:
    """The server's counts in a chunk; empty without any."""
    places = (chunk, chunk.get("x_groq"), *_choices(chunk))
    usages = (place.get("usage") for place in places if isinstance(place, Mapping))
    return next((usage for usage in usages if isinstance(usage, Mapping)), {})


def count_of(value: Any) -> int | None:
    """A count, also if a server writes ``12.0`` or ``"12"``; None for anything else."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 16:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return value if is_count and value <= MAX_SAFE_INTEGER else None


def counted(usage: dict[str, Any]) -> dict[str, Any]:
    """``usage`` with its counts as whole numbers, or null if they are none."""
    return {**usage, **{key: count_of(usage[key]) for key in _COUNTS if key in usage}}


def cached_of(usage: Document, timings: Document) -> int | None:
    """Prompt tokens served from a cache, if the server reports them; llama.cpp: ``cache_n``."""
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, Mapping) else None
    return count_of(cached if cached is not None else timings.get("cache_n"))
