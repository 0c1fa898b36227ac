"""A test server, **not a real runtime**: its words, timing and failures are scripted.

Its image (``images/loopback``) streams made-up words. It tests what kit does when a runtime is
slow, dies, hangs, miscounts or answers nonsense. Every face must mark it as unreal (`real` is
false). Its options are the script, with the same names and defaults as in the server.
"""

from __future__ import annotations

from typing import Any

from kit.core import jsonio
from kit.core.model import Problem, Repeat, RunSpec
from kit.core.prompt import Prompt
from kit.spec.runtimes.contract import (
    ANY_ADDRESS,
    Runtime,
    flags,
    image_problems,
    openai_request,
    option,
    options_schema,
)


def _indices(description: str) -> dict[str, Any]:
    return option("array", [], description, items={"type": "integer", "minimum": 0})


def _flag(description: str) -> dict[str, Any]:
    return option("boolean", False, description)


def _count(default: int, description: str, minimum: int = 0) -> dict[str, Any]:
    return option("integer", default, description, minimum=minimum, maximum=1 << 20)


def _count_or_null(description: str) -> dict[str, Any]:
    return option(["integer", "null"], None, description, minimum=0)


class Loopback(Runtime):
    name = "loopback"
    title = "TEST SEAM, not a real runtime: scripted words, timing and failures"
    recipe = "loopback"
    gpu = True  # it uses none, but a request for one can be tested with it
    port = 8080
    ready_path = "/health"
    effective_paths = ("/props",)
    equal_work = True
    streams_usage = True
    recount = None
    real = False
    repeat = Repeat(
        kind="batch-invariant",
        why=(
            "It is scripted: its words follow from the request alone, unless the script says "
            "otherwise."
        ),
    )
    options_schema = options_schema(
        ready_delay_s=option("number", 0, "Seconds until it is ready.", minimum=0),
        never_ready=_flag("Never become ready."),
        ttft_s=option("number", 0.01, "Seconds from a request to its first token.", minimum=0),
        tokens_per_s=option(
            "number", 500, "Tokens a second of each stream; 0: no pace.", minimum=0
        ),
        tokens_per_chunk=_count(1, "Tokens in one chunk of a stream.", minimum=1),
        natural_tokens=_count(12, "Where an answer ends by itself when EOS is not ignored."),
        prompt_tokens=_count_or_null("Reported length of every prompt; null: count its words."),
        cached_tokens=_count(0, "Reported as taken from a cache."),
        wrong_token_count=option("integer", 0, "Added to the reported count of output tokens."),
        no_usage=_flag("Streams end without usage."),
        nondeterministic=_flag("Texts differ from one container to the next."),
        exit_code=option("integer", 3, "Exit code of a scripted death.", minimum=0, maximum=255),
        die_at_start=_flag("Die before listening."),
        fail_after_requests=_count_or_null(
            "Answer so many requests (warm-up included) and die in the middle of the next."
        ),
        hang_after_tokens=_count_or_null("Streams stop there and stay open."),
        http_500_on=_indices("Indices of requests answered with HTTP 500, warm-up included."),
        garbage_on=_indices("Indices of requests answered with nonsense, warm-up included."),
        ignore_sigterm=_flag("Do not end on SIGTERM."),
        allocate_mib=_count(0, "Memory to fill at start (MiB)."),
        log_kib=_count(0, "Noise to write to the log at start (KiB)."),
    )

    def argv(self, spec: RunSpec, listen: str = ANY_ADDRESS) -> tuple[str, ...]:
        script = jsonio.canonical(spec.runtime.options).decode()
        return flags({"host": listen, "port": self.port, "script": script})

    def env(self, spec: RunSpec) -> dict[str, str]:  # noqa: ARG002 the same for every spec
        return {"HOME": "/tmp"}  # noqa: S108 the container's

    def request(self, spec: RunSpec, prompt: Prompt, index: int) -> tuple[str, dict[str, Any]]:
        extra = {
            "stream_options": {"include_usage": True},
            "ignore_eos": spec.sampling.ignore_eos,
        }
        return openai_request(spec, prompt, index, extra)

    def problems(self, spec: RunSpec) -> list[Problem]:
        return image_problems(self, spec)


RUNTIME = Loopback()
