"""A scripted load for one GPU, which says when each of its windows began and ended.

    python -m benchmarks.gpu_meters.load

Prints one JSON line per mark: ``{"t": ns on CLOCK_MONOTONIC, "kind": "begin" | "end", "window":
name}``. A mark is printed once the GPU has finished what came before it. Windows may lie inside
one another. With arguments ``throughput SECONDS`` it instead reads lines from stdin and answers
each with the steps per second that it reached: what a meter costs the measured program.

The blocks are steps of power, square waves, a random telegraph between levels of power, and a
language model of random weights that answers requests (prefill, then decode): loads whose energy
meters of different kinds get wrong in different ways.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

SEED = 20260101
IDLE_S, STEP_S, WAVE_S, TELEGRAPH_S, GENERATE_S = 10.0, 3.0, 10.0, 60.0, 20.0
KINDS = ("tiny", "small", "copies", "large")
WAVES_S = (1.0, 0.4, 0.2, 0.1)
SHORT_S = (0.3, 1.0, 3.0)
PROMPT, ANSWER, BATCH = 2048, 64, 32


def main() -> None:
    if sys.argv[1:2] == ["throughput"]:
        throughput(float(sys.argv[2]))
        return
    work, generate = Work(), Generator()
    generate.once(mute=True)  # the first one compiles and allocates
    with window("all"):
        idle("idle-before")
        steps(work)
        for period_s in WAVES_S:
            wave(work, period_s)
        telegraph(work, random.Random(SEED))
        generation(generate)
        idle("idle-after")


def mark(kind: str, name: str) -> None:
    torch.cuda.synchronize()
    print(json.dumps({"t": time.monotonic_ns(), "kind": kind, "window": name}), flush=True)


@contextmanager
def window(name: str) -> Iterator[None]:
    mark("begin", name)
    yield
    mark("end", name)


# --- blocks ---------------------------------------------------------------------------------


def idle(name: str) -> None:
    with window(name):
        time.sleep(IDLE_S)


def steps(work: Work) -> None:
    with window("steps"):
        for kind in (*KINDS, *reversed(KINDS)):
            with window(f"step-{kind}-{work.number}"):
                work.do(kind, STEP_S)


def wave(work: Work, period_s: float) -> None:
    with window(f"square-{period_s:g}s"):
        for _ in range(round(WAVE_S / period_s)):
            work.do("large", period_s / 2)
            work.do(None, period_s / 2)


def telegraph(work: Work, chance: random.Random) -> None:
    """Random work for random times; short windows follow each other at times of their own."""
    with window("telegraph"):
        end = time.monotonic() + TELEGRAPH_S
        kind, change = None, 0.0
        for number, length in enumerate(_lengths(chance)):
            if time.monotonic() + length > end:
                return
            mark("begin", f"short-{length:g}s-{number}")
            until = time.monotonic() + length
            while (now := time.monotonic()) < until:
                if now >= change:
                    kind = chance.choice((None, *KINDS))
                    change = now + chance.uniform(0.1, 1.5)
                work.do(kind, min(until, change) - now)
            mark("end", f"short-{length:g}s-{number}")


def _lengths(chance: random.Random) -> Iterator[float]:
    while True:
        yield chance.choice(SHORT_S)


def generation(generate: Generator) -> None:
    with window("generation"):
        end = time.monotonic() + GENERATE_S
        while time.monotonic() < end:
            generate.once()
            time.sleep(0.3)


# --- work -----------------------------------------------------------------------------------


class Work:
    """Kernels one after another, of kinds that differ in power; each lasts a millisecond at most.

    Levels are made of kinds, not of pauses: pauses of milliseconds would be a load of its own,
    which the 20 ms power samples alias.
    """

    def __init__(self) -> None:
        def square(size: int) -> torch.Tensor:
            return torch.randn(size, size, dtype=torch.bfloat16, device="cuda")

        tiny, small, large, block = square(256), square(1024), square(4096), square(8192)
        target = torch.empty_like(block)
        self._kernels: dict[str, Callable[[], Any]] = {
            "tiny": lambda: torch.mm(tiny, tiny),
            "small": lambda: torch.mm(small, small),
            "copies": lambda: target.copy_(block),
            "large": lambda: torch.mm(large, large),
        }
        self._counts = {kind: self._count(kind) for kind in KINDS}
        self.number = 0

    def _count(self, kind: str) -> int:
        """How many kernels of a kind take 5 ms."""
        for count in (20, 200):
            begun = time.monotonic()
            self._run(kind, count)
            seconds = time.monotonic() - begun
        return max(1, int(0.005 / (seconds / count)))

    def _run(self, kind: str, count: int) -> None:
        kernel = self._kernels[kind]
        for _ in range(count):
            kernel()
        torch.cuda.synchronize()

    def do(self, kind: str | None, seconds: float) -> None:
        """Work of one kind, or a rest."""
        self.number += 1
        if kind is None:
            time.sleep(max(0.0, seconds))
            return
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._run(kind, self._counts[kind])


class Generator:
    """A Llama-3.2-1B-shaped model of random weights: prefill of a batch, then greedy decoding."""

    def __init__(self) -> None:
        from transformers import LlamaConfig, LlamaForCausalLM

        torch.manual_seed(SEED)
        config = LlamaConfig(
            hidden_size=2048,
            intermediate_size=8192,
            num_hidden_layers=16,
            num_attention_heads=32,
            num_key_value_heads=8,
            vocab_size=128256,
            tie_word_embeddings=True,
        )
        with torch.device("cuda"):
            model = LlamaForCausalLM(config)
        self._model = model.to(torch.bfloat16).eval()
        self._ids = torch.randint(0, 128000, (BATCH, PROMPT), device="cuda")
        self._number = 0

    @torch.inference_mode()
    def once(self, *, mute: bool = False) -> None:
        """One batch of requests, prefill and decode as windows of their own."""
        say: Callable[[str, str], Any] = (lambda *_: None) if mute else mark
        self._number += 1
        say("begin", f"prefill-{self._number}")
        out = self._model(input_ids=self._ids, use_cache=True, logits_to_keep=1)
        say("end", f"prefill-{self._number}")
        say("begin", f"decode-{self._number}")
        for _ in range(ANSWER):
            token = out.logits[:, -1:].argmax(-1)
            out = self._model(input_ids=token, past_key_values=out.past_key_values, use_cache=True)
        say("end", f"decode-{self._number}")


# --- perturbation ---------------------------------------------------------------------------


def throughput(seconds: float) -> None:
    """For each line on stdin, small kernels one after another for ``seconds``; says how fast.

    Small kernels are launched by the CPU as fast as it can: whatever holds the driver's locks or
    the CPU shows here first.
    """
    x = torch.randn(64, 64, device="cuda")
    print(json.dumps({"ready": True}), flush=True)
    for _ in sys.stdin:
        done, begun = 0, time.monotonic()
        while time.monotonic() - begun < seconds:
            for _ in range(200):
                x = torch.tanh(x)
            torch.cuda.synchronize()
            done += 200
        print(json.dumps({"per_s": done / (time.monotonic() - begun)}), flush=True)


if __name__ == "__main__":
    main()
