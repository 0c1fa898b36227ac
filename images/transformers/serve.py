#!/usr/bin/python3
"""A small OpenAI-compatible HTTP server over Hugging Face Transformers and PyTorch.

    serve.py --model PATH [--alias NAME] [--device auto|cpu|cuda] [--attn sdpa|eager]
             [--dtype auto|bfloat16|float16|float32] [--max-context N] [--host ADDRESS] [--port N]

``--model`` is a folder with config.json, safetensors and tokenizer, or one GGUF file, which
Transformers dequantises (see `lm.py` beside this file, which holds everything about the model).

Answers on `/health` (503 while loading), `/props` (the configuration in effect), `/v1/models`,
`/v1/chat/completions` and `/v1/completions`, streamed with one event a token, or whole. Every
token is generated anew: no prompt is cached. Requests are served one after another in the order
in which they came, never as a batch; who waits, waits without an answer. What a request asks for
and this server does not do (stop words, several choices, penalties, …) is refused with 400.

Ends with 0 on SIGTERM or SIGINT, with 1 and one line on stderr where the model cannot be loaded
or the port is taken, with 2 on a bad flag. Standard library, PyTorch and Transformers only.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from typing import Any, NamedTuple

import lm
from lm import Asked, BadRequest, Piece

MAX_BODY = 16 << 20
CHAT, BARE = "/v1/chat/completions", "/v1/completions"
HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    b"Cache-Control: no-store\r\nTransfer-Encoding: chunked\r\n\r\n"
)


class Usage(NamedTuple):
    """Token counts, from token ids."""

    prompt_tokens: int
    completion_tokens: int

    def document(self) -> dict[str, Any]:
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": 0},
        }


# --- what is asked ------------------------------------------------------------------------------

_FIELDS = {
    "stream": (bool, False),
    "temperature": (float, 1.0),
    "top_p": (float, 1.0),
    "top_k": (int, 0),
    "seed": (int, None),
    "ignore_eos": (bool, False),
    "max_tokens": (int, None),
}
_TEXTS = {CHAT: "messages", BARE: "prompt"}
_RANGES = {
    "temperature": (0, 100),
    "top_p": (0, 1),
    "top_k": (0, 1 << 31),
    "seed": (0, (1 << 63) - 1),
    "max_tokens": (1, 1 << 31),
}


def read_request(path: str, body: bytes) -> Asked:
    """The completion that ``body`` asks for on ``path``.

    Raises:
        BadRequest: it is no such request, or asks for what this server does not do.
    """
    try:
        asked = json.loads(body)
    except ValueError as problem:
        raise BadRequest(f"not JSON: {problem}") from problem
    if not isinstance(asked, dict):
        raise BadRequest("not a JSON object")
    text = _TEXTS[path]
    unknown = sorted(set(asked) - {*_FIELDS, text, "model", "stream_options"})
    if unknown:
        raise BadRequest(f"not supported: {', '.join(unknown)}")
    options = asked.get("stream_options") or {}
    if not isinstance(options, dict):
        raise BadRequest("stream_options is not an object")
    values = {name: _field(asked, name) for name in _FIELDS}
    messages = _messages(asked.get("messages")) if path == CHAT else None
    prompt = asked.get("prompt")
    if path == BARE and not isinstance(prompt, str):
        raise BadRequest("prompt is not a text")
    return Asked(
        messages=messages, prompt=prompt, include_usage=options.get("include_usage") is True, **values
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


# --- what is answered ---------------------------------------------------------------------------


class Form:
    """The JSON documents of one completion, in the words of its API."""

    def __init__(self, chat: bool, model: str, number: int) -> None:
        self._chat, self._first = chat, True
        kind = "chatcmpl" if chat else "cmpl"
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

    def usage(self, usage: Usage) -> dict[str, Any]:
        """The event after the last token."""
        return {**self._document([], streamed=True), "usage": usage.document()}

    def whole(self, text: str, finish: str | None, usage: Usage) -> dict[str, Any]:
        """The answer that is not streamed."""
        said = {"message": {"role": "assistant", "content": text}} if self._chat else {"text": text}
        choice = {"index": 0, "finish_reason": finish, **said}
        return {**self._document([choice], streamed=False), "usage": usage.document()}

    def _document(self, choices: list[dict[str, Any]], streamed: bool) -> dict[str, Any]:
        if self._chat:
            kind = "chat.completion.chunk" if streamed else "chat.completion"
        else:
            kind = "text_completion"
        return {**self._frame, "object": kind, "choices": choices}


def event(document: dict[str, Any]) -> bytes:
    """One server-sent event, as a chunk of HTTP's chunked transfer encoding."""
    return framed(b"data: " + compact(document) + b"\n\n")


def framed(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


END = framed(b"data: [DONE]\n\n") + b"0\r\n\r\n"


def compact(document: Any) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def refusal(message: str, kind: str = "invalid_request_error") -> dict[str, Any]:
    return {"error": {"message": message, "type": kind}}


def whole_reply(status: int, document: Any) -> bytes:
    data = compact(document)
    head = f"HTTP/1.1 {status} -\r\nContent-Type: application/json\r\nContent-Length: {len(data)}"
    return head.encode() + b"\r\n\r\n" + data


# --- one after another --------------------------------------------------------------------------


class Job(NamedTuple):
    asked: Asked
    write: Callable[[bytes], None]
    done: threading.Event


class Line:
    """The requests waiting for the model, which one thread serves in the order of arrival.

    That thread writes to the socket itself: between a token and its bytes stands no other thread.
    ``ready`` is set once a model is there; before, nothing may be put in line.
    """

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self.ready = threading.Event()
        self.props: dict[str, Any] = {}
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._served = 0

    def complete(self, asked: Asked, write: Callable[[bytes], None]) -> None:
        """Wait for the turn of ``asked`` and for its end."""
        job = Job(asked, write, threading.Event())
        self._jobs.put(job)
        job.done.wait()

    def serve(self, model: Any) -> None:
        """Serve for ever; ``model`` is a `lm.Model`, or what has its ``props`` and ``answer``."""
        self.props = {"runtime": "transformers", "model_alias": self.alias, **model.props()}
        self.ready.set()
        while True:
            job = self._jobs.get()
            try:
                self._serve(model, job)
            except OSError:
                pass  # who asked is gone
            finally:
                job.done.set()

    def _serve(self, model: Any, job: Job) -> None:
        """One request to its end; an error before the first token is a status, later an event."""
        self._served += 1
        form = Form(job.asked.messages is not None, self.alias, self._served)
        send = stream if job.asked.stream else whole
        begun = False

        def write(data: bytes) -> None:
            nonlocal begun
            begun = True
            job.write(data)

        try:
            send(form, job.asked, *model.answer(job.asked), write)
        except BadRequest as problem:
            job.write(whole_reply(400, refusal(str(problem))))
        except OSError:
            raise
        except Exception as error:  # out of memory, say: the request fails, the server lives
            told = refusal(f"{type(error).__name__}: {one_line(error)}", "server_error")
            print(f"transformers: {told['error']['message']}", file=sys.stderr, flush=True)
            job.write(event(told) + END if begun else whole_reply(500, told))


Pieces = Iterator[Piece]
Write = Callable[[bytes], None]


def stream(form: Form, asked: Asked, prompt_tokens: int, pieces: Pieces, write: Write) -> None:
    """Each token's event as soon as there is one; the head goes out with the first."""
    count, head = 0, HEAD
    for count, piece in enumerate(pieces, 1):
        write(head + event(form.chunk(piece)))
        head = b""
    told = event(form.usage(Usage(prompt_tokens, count))) if asked.include_usage else b""
    write(head + told + END)


def whole(form: Form, asked: Asked, prompt_tokens: int, pieces: Pieces, write: Write) -> None:
    """The answer at once, after its last token."""
    made = list(pieces)
    usage = Usage(prompt_tokens, len(made))
    text, finish = "".join(piece.text for piece in made), made[-1].finish
    write(whole_reply(200, form.whole(text, finish, usage)))


def one_line(error: BaseException) -> str:
    """An exception's words without their line breaks, at most 300 characters."""
    return " ".join(str(error).split())[:300] or "no reason given"


# --- HTTP ---------------------------------------------------------------------------------------


class Server(ThreadingMixIn, TCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], line: Line) -> None:
        self.line = line
        super().__init__(address, Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no news; anything else is one line."""
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, OSError):
            print(f"transformers: {type(error).__name__}: {one_line(error)}", file=sys.stderr)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def log_message(self, *_: Any) -> None:
        """No line a request: writing one would be work of ours in what is measured."""

    def do_GET(self) -> None:
        line, path = self.server.line, self.path.partition("?")[0]
        if path not in ("/health", "/props", "/v1/models"):
            return self._reply(404, refusal(f"no such path: {path}"))
        if not line.ready.is_set():
            return self._reply(503, refusal("loading the model", "unavailable_error"))
        if path == "/props":
            return self._reply(200, line.props)
        if path == "/v1/models":
            entry = {"id": line.alias, "object": "model", "owned_by": "transformers"}
            return self._reply(200, {"object": "list", "data": [entry]})
        return self._reply(200, {"status": "ok"})

    def do_POST(self) -> None:
        line, path = self.server.line, self.path.partition("?")[0]
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > MAX_BODY:
            self.close_connection = True
            return self._reply(413 if length.isdigit() else 411, refusal("no length, or too long"))
        body = self.rfile.read(int(length))
        if path not in _TEXTS:
            return self._reply(404, refusal(f"no such path: {path}"))
        if not line.ready.is_set():
            return self._reply(503, refusal("loading the model", "unavailable_error"))
        try:
            asked = read_request(path, body)
        except BadRequest as problem:
            return self._reply(400, refusal(str(problem)))
        return line.complete(asked, self.wfile.write)

    def _reply(self, status: int, document: Any) -> None:
        self.wfile.write(whole_reply(status, document))


# --- starting -----------------------------------------------------------------------------------


def flags() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="transformers", allow_abbrev=False)
    add = parser.add_argument
    add("--model", required=True)
    add("--alias", default="model")
    add("--device", choices=["auto", "cpu", "cuda"], default="auto")
    add("--dtype", choices=["auto", "bfloat16", "float16", "float32"], default="auto")
    add("--attn", choices=["sdpa", "eager"], default="sdpa")
    add("--max-context", type=positive, help="tokens of prompt and answer (default: the model's)")
    add("--host", default="0.0.0.0")
    add("--port", type=positive, default=8080)
    return parser


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def work(args: argparse.Namespace, line: Line) -> None:
    """Load the model and serve the line; ends the process where it cannot be loaded."""
    try:
        model = lm.load(args.model, args.device, args.dtype, args.attn, args.max_context)
    except BaseException as error:
        fail(f"cannot serve {args.model}: {type(error).__name__}: {one_line(error)}")
    else:
        print(f"transformers: ready, {model.title}", file=sys.stderr, flush=True)
        line.serve(model)


def fail(message: str) -> None:
    """End with 1 and one line, from whichever thread."""
    print(f"transformers: {message}", file=sys.stderr, flush=True)
    os._exit(1)


def main() -> int:
    args = flags().parse_args()
    # Blocked before any thread starts, so that the signal waits for sigwait below, whatever the
    # other threads are doing inside PyTorch.
    ending = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ending)
    line = Line(args.alias)
    try:
        server = Server((args.host, args.port), line)
    except (OSError, OverflowError) as problem:
        fail(f"cannot listen on {args.host}:{args.port}: {problem}")
    print(f"transformers: listening on {args.host}:{args.port}", file=sys.stderr, flush=True)
    threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
    threading.Thread(target=work, args=(args, line), name="model", daemon=True).start()
    signal.sigwait(ending)
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
