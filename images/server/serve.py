#!/usr/bin/python3
"""kit's thin HTTP server, in OpenAI's style, for engines that have none.

    serve.py --model PATH [--alias NAME] [--max-context N] [--host ADDRESS] [--port N]
             [--batch N] [--batch-wait-s S] and the engine's own flags

The engine is the module `engine` beside this file; `adapter.py` says what it offers. Answers on
`/health` (503 while loading), `/props` (the configuration in effect), `/v1/models`, the engine's
own paths (`/v1/chat/completions` and `/v1/completions`), streamed with one event a token, or
whole, and on `/tokenize` with the ids that the same body would feed to the model. Every token is
generated anew: no prompt is cached. What a request asks for and this server does not do (stop
words, several choices, penalties, …) is refused with 400, by name.

Requests are served in the order in which they came; who waits, waits without an answer. With
``--batch N`` the server waits for N of them, at most S seconds after the first one, and runs them
together; a later one waits for the end of the batch.

Two threads: the engine's, which does all the work, and the event loop's, which reads requests and
writes answers. After each step the engine's thread hands over all that is new in one go, and
sleeps until it is written. So an event leaves when its token is there, and in between the loop
sleeps: the two never compete for Python's lock or for a processor.

Ends with 0 on SIGTERM or SIGINT, with 1 and one line on stderr where the model cannot be loaded
or the port is taken, with 2 on a bad flag.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import queue
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import engine
import uvicorn
from adapter import Api, BadRequest, Engine, Form, Row
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from text import TEXT, TOKENIZE

MAX_BODY = 16 << 20
WRITTEN_S = 0.05  # longest sleep of the engine after a step, should the loop be held up
KEEP_ALIVE_S = 24 * 3600  # a load driver comes back after a pause of any length
DONE = b"data: [DONE]\n\n"
LOADING = "loading the model"


def compact(document: Any) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def event(document: Any) -> bytes:
    """One server-sent event."""
    return b"data: " + compact(document) + b"\n\n"


def refusal(message: str, kind: str = "invalid_request_error") -> dict[str, Any]:
    return {"error": {"message": message, "type": kind}}


def one_line(error: BaseException) -> str:
    """An exception's words without their line breaks, at most 300 characters."""
    return " ".join(str(error).split())[:300] or "no reason given"


# --- one batch after another --------------------------------------------------------------------


class End:
    """The last item of a job: how it ended, where not well, and in a batch of how many."""

    def __init__(self, status: int = 200, document: Any = None, batch: int = 1) -> None:
        self.status, self.document, self.batch = status, document, batch


class Job:
    """A request on its way: ``asked`` in, items (pieces, then one `End`) out.

    ``row`` is set by the engine's thread before the first piece. ``gone``: who asked hung up.
    """

    def __init__(self, asked: Any, tokenize: bool = False) -> None:
        self.asked, self.tokenize = asked, tokenize
        self.row: Row | None = None
        self.gone = False
        self.items: asyncio.Queue[Any] = asyncio.Queue()


Step = list[tuple[Job, Any]]


class Line:
    """The requests waiting for the engine, which one thread serves in the order of arrival.

    ``ready`` is set once a model is there; before, nothing may be put in line. ``taken`` counts
    those who were.
    """

    def __init__(self, name: str, alias: str, batch: int = 1, wait_s: float = 0.25) -> None:
        self.name, self.alias = name, alias
        self.ready = threading.Event()
        self.props: dict[str, Any] = {}
        self.taken = 0
        self.loop: asyncio.AbstractEventLoop | None = None  # set before the engine's thread starts
        self._batch, self._wait_s = batch, wait_s
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()

    def put(self, job: Job) -> None:
        self._jobs.put(job)
        self.taken += 1

    def serve(self, model: Engine) -> None:
        """Serve for ever, in the engine's own thread."""
        self.begin(model)
        while True:
            self.serve_next(model)

    def begin(self, model: Engine) -> None:
        """From now on requests may be put in line."""
        batching = (
            {"batching": "none: one request after another", "batch": 1}
            if self._batch == 1
            else {"batching": "static", "batch": self._batch, "batch_wait_s": self._wait_s}
        )
        named = {"runtime": self.name, "model_alias": self.alias}
        self.props = {**named, **batching, **model.props()}
        self.ready.set()
        print(f"{self.name}: ready, {model.title}", file=sys.stderr, flush=True)

    def serve_next(self, model: Engine) -> None:
        """Wait for the next batch, and run it to its end."""
        self._run(model, self._together(model))

    def _together(self, model: Engine) -> list[Job]:
        """The next batch: full, or what has come in the time after its first request."""
        jobs: list[Job] = []
        until = None
        while len(jobs) < self._batch:
            try:
                left = None if until is None else max(0.0, until - time.monotonic())
                job = self._jobs.get(timeout=left)
            except queue.Empty:
                break
            if self._prepared(model, job):
                jobs.append(job)
                until = until or time.monotonic() + self._wait_s
        return jobs

    def _prepared(self, model: Engine, job: Job) -> bool:
        """Whether the job is to run; one that only asks for ids is answered here."""
        if job.gone:
            return False
        try:
            if job.tokenize:
                ids = {"tokens": model.prompt_ids(job.asked)}
                self._hand([(job, End(200, ids))])
                return False
            job.row = model.prepare(job.asked)
        except BadRequest as problem:
            self._hand([(job, End(400, refusal(str(problem))))])
        except Exception as error:
            self._hand([(job, self._failed(error))])
        return job.row is not None

    def _run(self, model: Engine, jobs: list[Job]) -> None:
        """One batch to its end; an error ends all its requests, and the server lives."""
        rows = [job.row for job in jobs if job.row is not None]
        steps = model.answer(rows)
        try:
            for made in steps:
                step: Step = []
                for index, piece in made:
                    step.append((jobs[index], piece))
                    if rows[index].over:
                        step.append((jobs[index], End(batch=len(jobs))))
                self._hand(step)
                if all(job.gone or row.over for job, row in zip(jobs, rows, strict=True)):
                    break
        except Exception as error:  # out of memory, say
            failed = self._failed(error)
            self._hand([(j, failed) for j, row in zip(jobs, rows, strict=True) if not row.over])
        finally:
            close = getattr(steps, "close", None)
            if close is not None:
                close()

    def _failed(self, error: Exception) -> End:
        message = f"{type(error).__name__}: {one_line(error)}"
        print(f"{self.name}: {message}", file=sys.stderr, flush=True)
        return End(500, refusal(message, "server_error"))

    def _hand(self, step: Step) -> None:
        """Give the loop all that is new, and sleep until it has written it."""
        assert self.loop is not None
        written = threading.Event()
        self.loop.call_soon_threadsafe(self._deliver, step, written)
        written.wait(WRITTEN_S)

    def _deliver(self, step: Step, written: threading.Event) -> None:
        """In the loop: wake who waits for an item, and then the engine.

        The loop calls what is due in order, so each of those woken here has written (or waits for
        a slow client) when the engine is.
        """
        for job, item in step:
            job.items.put_nowait(item)
        assert self.loop is not None
        self.loop.call_soon(written.set)


# --- HTTP ---------------------------------------------------------------------------------------


class Answer:
    """The ASGI response to one job: a stream of events, or one document."""

    def __init__(self, job: Job, form: Form) -> None:
        self._job, self._form = job, form

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        watch = asyncio.ensure_future(self._hang_up(receive))
        try:
            wanted = self._stream if self._job.asked.stream else self._whole
            await wanted(scope, receive, send)
        finally:
            watch.cancel()

    async def _hang_up(self, receive: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._job.gone = True
        self._job.items.put_nowait(End(499, refusal("gone")))

    async def _stream(self, scope: Any, receive: Any, send: Any) -> None:
        """Each piece's event as soon as there is one; an error before the first is a status."""
        item = await self._job.items.get()
        if isinstance(item, End):
            await json_response(item.status, item.document)(scope, receive, send)
            return
        headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        count = 0
        while not isinstance(item, End):
            count += 1
            await send(body(event(self._form.chunk(item)), more=True))
            item = await self._job.items.get()
        told = item.document
        if told is None and self._job.row is not None:
            told = self._form.last(self._job.row, count, item.batch)
        await send(body((event(told) if told else b"") + DONE, more=False))

    async def _whole(self, scope: Any, receive: Any, send: Any) -> None:
        """The answer at once, after its last piece."""
        pieces = []
        while not isinstance(item := await self._job.items.get(), End):
            pieces.append(item)
        document = item.document
        if document is None and self._job.row is not None:
            document = self._form.whole(self._job.row, pieces, item.batch)
        await json_response(item.status, document)(scope, receive, send)


def body(data: bytes, more: bool) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


def json_response(status: int, document: Any) -> Response:
    return Response(compact(document), status, media_type="application/json")


def application(line: Line, api: Api = TEXT) -> Starlette:
    """The server's paths."""
    numbers = iter(range(1, 1 << 62))

    def when_ready(answer: Callable[[Request], Awaitable[Any]]) -> Any:
        async def endpoint(request: Request) -> Any:
            if not line.ready.is_set():
                return json_response(503, refusal(LOADING, "unavailable_error"))
            return await answer(request)

        return endpoint

    async def health(_: Request) -> Response:
        return json_response(200, {"status": "ok"})

    async def props(_: Request) -> Response:
        return json_response(200, line.props)

    async def models(_: Request) -> Response:
        entry = {"id": line.alias, "object": "model", "owned_by": line.name}
        return json_response(200, {"object": "list", "data": [entry]})

    async def complete(request: Request) -> Any:
        asked = api.read(request.url.path, await short_body(request))
        job = Job(asked)
        line.put(job)
        return Answer(job, api.form(asked, line.alias, next(numbers)))

    async def tokenize(request: Request) -> Response:
        job = Job(api.read(TOKENIZE, await short_body(request)), tokenize=True)
        line.put(job)
        end = await job.items.get()
        return json_response(end.status, end.document)

    async def refuse(_: Request, problem: Exception) -> Response:
        return json_response(400, refusal(str(problem)))

    async def other(request: Request, problem: Exception) -> Response:
        status = getattr(problem, "status_code", 500)
        no_path = f"no such path: {request.url.path}"
        text = no_path if status in (404, 405) else getattr(problem, "detail", "")
        return json_response(404 if status == 405 else status, refusal(text))

    gets = {"/health": health, "/props": props, "/v1/models": models}
    posts = {**dict.fromkeys(api.paths, complete), TOKENIZE: tokenize}
    return Starlette(
        routes=[
            *(Route(path, when_ready(answer), methods=["GET"]) for path, answer in gets.items()),
            *(Route(path, when_ready(answer), methods=["POST"]) for path, answer in posts.items()),
        ],
        exception_handlers={BadRequest: refuse, HTTPException: other},
    )


async def short_body(request: Request) -> bytes:
    """The request's body.

    Raises:
        HTTPException: it has no length, or is too long.
    """
    length = request.headers.get("content-length", "")
    if not length.isdigit() or int(length) > MAX_BODY:
        raise HTTPException(413 if length.isdigit() else 411, "no length, or too long")
    return await request.body()


class Http(threading.Thread):
    """The event loop's thread: `application` on a bound socket."""

    def __init__(self, line: Line, listening: socket.socket, api: Api = TEXT) -> None:
        super().__init__(name="http", daemon=True)
        self._line, self._socket = line, listening
        config = uvicorn.Config(
            application(line, api),
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
        )
        self.server = uvicorn.Server(config)
        self.looping = threading.Event()

    def run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._line.loop = asyncio.get_running_loop()
        self.looping.set()
        await self.server.serve(sockets=[self._socket])


def bound(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        OSError, OverflowError: there is no such address or port, or it is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((host, port))
    listening.listen(128)
    return listening


# --- starting -----------------------------------------------------------------------------------


def flags() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=engine.NAME, allow_abbrev=False)
    add = parser.add_argument
    add("--model", required=True)
    add("--alias", default="model")
    add("--max-context", type=positive, help="tokens of prompt and answer (default: the model's)")
    add("--host", default="0.0.0.0")
    add("--port", type=positive, default=8080)
    if getattr(engine, "BATCHES", False):
        add("--batch", type=positive, default=1, help="requests that run together")
        add("--batch-wait-s", type=seconds, default=0.25, help="longest wait for them")
    else:
        parser.set_defaults(batch=1, batch_wait_s=0.25)
    engine.flags(parser)
    return parser


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 3600:
        raise ValueError
    return value


def work(args: argparse.Namespace, line: Line) -> None:
    """Load the model and serve the line; an error of either ends the process, which would go on
    listening without an engine."""
    try:
        model = engine.load(args)
    except BaseException as error:
        fail(f"cannot serve {args.model}: {type(error).__name__}: {one_line(error)}")
    try:
        line.serve(model)
    except BaseException as error:
        traceback.print_exc()
        fail(f"the engine ended: {type(error).__name__}: {one_line(error)}")


def fail(message: str) -> NoReturn:
    """End with 1 and one line, from whichever thread."""
    print(f"{engine.NAME}: {message}", file=sys.stderr, flush=True)
    os._exit(1)


def main() -> int:
    args = flags().parse_args()
    # Blocked before any thread starts, so that the signal waits for sigwait below, whatever the
    # other threads are doing inside the engine.
    ending = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ending)
    line = Line(engine.NAME, args.alias, args.batch, args.batch_wait_s)
    try:
        listening = bound(args.host, args.port)
    except (OSError, OverflowError) as problem:
        fail(f"cannot listen on {args.host}:{args.port}: {problem}")
    http = Http(line, listening, getattr(engine, "API", TEXT))
    http.start()
    http.looping.wait()
    print(f"{engine.NAME}: listening on {args.host}:{args.port}", file=sys.stderr, flush=True)
    threading.Thread(target=work, args=(args, line), name="engine", daemon=True).start()
    signal.sigwait(ending)
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
