"""What the thin server costs: an engine served, against kit's loop over it and the engine's own.

    python benchmarks/thin_server.py [--engine NAME] [--cpus 0-1] [--threads N] [--batch N]
                                     [--tokens N] [--rounds N]

Runs in the engine's image on the CPU, as specs/runtimes/NAME.json says. All three ways use
one loaded model in one thread of one process, and take turns, since figures of different moments
cannot be compared; the client is a process of its own. Prints tokens/s and, as the median over the
rounds, each way's ratio to the other two. 0.95 is what the server must reach. The second part is
the same without a model: steps of a stated length that hold Python's lock or do not.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

TEXTS = ["Why is the sky blue?", "Name three reasons why the water of the sea tastes of salt."]
PORT = 8080
IN_IMAGE = "/bench/thin_server.py"
ROOT = Path(__file__).resolve().parents[1]


# --- outside: start the image --------------------------------------------------------------------


def outside(args: argparse.Namespace) -> int:
    import msgspec

    from kit.machine import images, weights
    from kit.machine.weights import derive
    from kit.spec import runtimes
    from kit.spec import spec as specs

    wanted = specs.load(ROOT / f"specs/runtimes/{args.engine}.json")
    assert wanted.weights and wanted.image.recipe
    derive.ensure_derived(wanted.weights, ())
    image = images.build(wanted.image.recipe).identity.reference
    mounts = {f"/weights/{file.path}": weights.ensure(file, ()) for file in wanted.weights.files}
    mounts[IN_IMAGE] = Path(__file__).resolve()
    runtime = runtimes.get(args.engine)
    options = {**wanted.runtime.options, **({"threads": args.threads} if args.threads else {})}
    named = msgspec.structs.replace(wanted.runtime, options=options)
    wanted = msgspec.structs.replace(wanted, runtime=named)
    command = ["docker", "run", "--rm", "--init", "--network=none", "--read-only", "--tmpfs=/tmp"]
    command += [f"--cpuset-cpus={args.cpus}", "--entrypoint=/usr/bin/python3"]
    command += [f"--volume={here}:{there}:ro" for there, here in mounts.items()]
    command += [f"--env={name}={value}" for name, value in runtime.env(wanted).items()]
    flags = [f"--{name}={getattr(args, name)}" for name in ("engine", "batch", "tokens", "rounds")]
    flags += [] if args.steps else ["--no-steps"]
    flags += [f"--argv={json.dumps(runtime.argv(wanted))}"]
    return subprocess.run([*command, image, IN_IMAGE, "inside", *flags]).returncode


# --- inside: three ways, in turn ------------------------------------------------------------------


class Client:
    """A process that sends a batch of requests and says how long it took."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, "client"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, batch: int, tokens: int) -> None:
        assert self._process.stdin is not None
        print(json.dumps([batch, tokens]), file=self._process.stdin, flush=True)

    def seconds(self) -> float:
        assert self._process.stdout is not None
        return float(self._process.stdout.readline())


def client() -> int:
    for line in sys.stdin:
        batch, tokens = json.loads(line)
        threads = [threading.Thread(target=ask, args=(i, tokens)) for i in range(batch)]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(time.perf_counter() - began, flush=True)
    return 0


def body(number: int, tokens: int) -> dict[str, Any]:
    return {
        "messages": [{"role": "user", "content": TEXTS[number % len(TEXTS)]}],
        "max_tokens": tokens,
        "temperature": 0,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def ask(number: int, tokens: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=600)
    connection.request("POST", "/v1/chat/completions", json.dumps(body(number, tokens)))
    data = connection.getresponse().read()
    assert data.count(b"data: {") == tokens + 1, data
    connection.close()


def inside(args: argparse.Namespace) -> int:
    sys.path.insert(0, "/opt/kit")
    import serve
    import text

    line = serve.Line("bench", "model", args.batch, wait_s=30)
    http_thread = serve.Http(line, serve.bound("127.0.0.1", PORT))
    http_thread.start()
    http_thread.looping.wait()
    asked = [
        text.read_request(text.CHAT, json.dumps(body(i, args.tokens)).encode())
        for i in range(args.batch)
    ]
    peer = Client()

    def served(model: Any) -> float:
        peer.start(args.batch, args.tokens)
        line.serve_next(model)
        return peer.seconds()

    def bare(model: Any) -> float:
        began = time.perf_counter()
        for _ in model.answer([model.prepare(one) for one in asked]):
            pass
        return time.perf_counter() - began

    def work() -> None:
        import engine

        batch = ["--batch", str(args.batch)] if args.batch > 1 else []
        model = engine.load(serve.flags().parse_args([*json.loads(args.argv), *batch]))
        line.begin(model)
        own = OWN.get(args.engine, stepping)(asked, args.tokens)
        ways = {"served": served, "bare loop": bare, "own loop": own}
        measure(f"{args.engine}, SmolLM2, batch {args.batch}", model, ways, args)
        for milliseconds in (2, 10) if args.steps else ():
            for holds in (False, True):
                title = f"steps of {milliseconds} ms {'with' if holds else 'without'} Python's lock"
                measure(
                    title, steps_of(milliseconds / 1000, holds), {**ways, "own loop": None}, args
                )

    thread = threading.Thread(target=work)  # the one thread of the engine
    thread.start()
    thread.join()
    return 0


Way = Callable[[Any], float]


def generating(asked: list[Any], tokens: int) -> Way:
    """Transformers' own loop, over the same prompts and with the same settings."""

    def generate(model: Any) -> float:
        import torch

        began = time.perf_counter()
        rows = [model.prepare(one).ids for one in asked]
        longest = max(len(ids) for ids in rows)
        padded = torch.tensor([[0] * (longest - len(ids)) + ids for ids in rows])
        mask = torch.tensor([[0] * (longest - len(ids)) + [1] * len(ids) for ids in rows])
        with torch.inference_mode():
            made = model._model.generate(
                padded,
                attention_mask=mask,
                max_new_tokens=tokens,
                min_new_tokens=tokens,
                do_sample=False,
                pad_token_id=0,
            )
        assert made.shape[1] == longest + tokens
        return time.perf_counter() - began

    return generate


def openvino(asked: list[Any], tokens: int) -> Way:
    """OpenVINO's own loop: one call, without calling back."""

    def generate(model: Any) -> float:
        import numpy
        from openvino import Tensor

        began = time.perf_counter()
        row = model.prepare(asked[0])
        made = model._pipeline.generate(Tensor(numpy.array([row.ids])), model._config(row))
        assert len(made.tokens[0]) == tokens
        return time.perf_counter() - began

    return generate


def stepping(asked: list[Any], tokens: int) -> Way:
    """The loop over an engine's tokens that its own examples show, without text."""

    def generate(model: Any) -> float:
        began = time.perf_counter()
        made = model.tokens(model.prepare(asked[0]))
        assert sum(1 for _ in made) == tokens
        return time.perf_counter() - began

    return generate


OWN = {"transformers": generating, "openvino-genai": openvino}


def steps_of(seconds: float, holds: bool) -> Any:
    """An engine whose steps take a time of their own, in Python or outside it."""
    from adapter import Row, TextEngine

    class Steps(TextEngine):
        def encode(self, text: str, special: bool) -> list[int]:  # noqa: ARG002
            return list(text.encode())

        def decode(self, ids: list[int]) -> str:
            return bytes(ids).decode("latin1")

        def render(self, messages: list[dict[str, str]]) -> str:
            return messages[-1]["content"]

        def steps(self, rows: list[Row]) -> Iterator[list[int]]:
            while True:
                until = time.perf_counter() + seconds
                if not holds:
                    time.sleep(seconds)
                while time.perf_counter() < until:
                    pass
                yield [65] * len(rows)

    return Steps()


def measure(title: str, model: Any, ways: dict[str, Way | None], args: argparse.Namespace) -> None:
    real = {name: way for name, way in ways.items() if way}
    taken: dict[str, list[float]] = {name: [] for name in real}
    for number in range(args.rounds + 1):
        order = list(real)[number % len(real) :] + list(real)[: number % len(real)]
        for name in order:
            seconds = real[name](model)
            if number:  # the first round warms up
                taken[name].append(seconds)
    rates = ", ".join(
        f"{name} {args.batch * args.tokens / statistics.median(s):.1f}" for name, s in taken.items()
    )
    print(f"{title}: tokens/s {rates}")
    for name in list(real)[1:]:
        pairs = [b / a for a, b in zip(taken["served"], taken[name], strict=True)]
        print(
            f"    served / {name}: {statistics.median(pairs):.3f} "
            f"(from {min(pairs):.3f} to {max(pairs):.3f}, {len(pairs)} pairs)",
            flush=True,
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", nargs="?", choices=["inside", "client"])
    parser.add_argument("--engine", default="transformers")
    parser.add_argument("--argv", help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, help="of an engine that has the option")
    parser.add_argument("--cpus", default="0-1")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--no-steps", dest="steps", action="store_false")
    args = parser.parse_args()
    if args.role == "client":
        return client()
    return inside(args) if args.role else outside(args)


if __name__ == "__main__":
    sys.exit(main())
