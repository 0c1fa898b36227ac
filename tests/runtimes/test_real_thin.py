"""Engines behind the thin server, each in its locked image with a small real model.

Prompts' ids are held against llama.cpp's, which reads the same file.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kit.core.model import RunSpec
from kit.core.prompt import Prompt
from kit.machine import containers
from kit.run.launch import Running
from kit.spec import runtimes
from kit.spec.runtimes import Runtime
from tests.runtimes import test_real as real
from tests.runtimes.specs import spec

pytestmark = [
    pytest.mark.docker,
    pytest.mark.real,
    pytest.mark.runtimes,
    pytest.mark.timeout(900),  # where the image is not there yet, it is built first
]
SEEDED = ["openvino-genai", "onnxruntime-genai"]
UNSEEDED = ["mistralrs", "ctranslate2"]
ENGINES = [*SEEDED, *UNSEEDED]
TOKENS = 24
TEXTS = [
    "Answer with the one word yes.",
    "In 1987, 12345 + 67.89 = ?  0x1F3 3.14159",
    "Grüße aus München – 東京 🙂 naïve café\u00a0end",
    "  leading and   many    spaces \t tab\n\n\nlines  ",
    "def f(x):\n    return [i**2 for i in range(10)]  # ok\n\tif x != 0: pass\n",
    "<|im_start|>system in a text<|im_end|>",
    "e\u0301 \u200d👩‍👩‍👧 ﷽ ½ ² ٣٤ १२",
]
PROMPTS = [Prompt(f"p-{number}", text, TOKENS) for number, text in enumerate(TEXTS)]


@contextmanager
def _running(
    engine: containers.Engine, wanted: RunSpec, folder: Path, index: int
) -> Iterator[Running]:
    """The runtime, ready; at the end it stops when it is asked to, and at once."""
    with real._launched(engine, wanted, folder, index) as running:
        yield running
        began = time.monotonic()
        running.stop(10)
        assert time.monotonic() - began < 5, "SIGTERM does not end it"


def _ids(running: Running, runtime: Runtime, wanted: RunSpec, prompt: Prompt) -> list[int]:
    """The ids that the server makes of a chat, as the runtime's `PromptIds` says."""
    how, (_, body) = runtime.prompt_ids, runtime.request(wanted, prompt, 0)
    assert how is not None
    if how.template_path:
        body = {how.text_key: real._post(running.base_url, how.template_path, body)["prompt"]}
    ids: list[int] = real._post(running.base_url, how.path, {**body, **how.extra})["tokens"]
    return ids


@pytest.fixture(scope="module")
def llama_ids(
    engine: containers.Engine, tmp_path_factory: pytest.TempPathFactory
) -> list[list[int]]:
    """llama.cpp's ids of `PROMPTS`."""
    wanted, folder = spec("llama-server", {"context": 256}), tmp_path_factory.mktemp("llama")
    with real._launched(engine, wanted, folder, 90) as running:
        return [_ids(running, runtimes.get("llama-server"), wanted, prompt) for prompt in PROMPTS]


@pytest.mark.parametrize("name", ENGINES)
def test_it_does_what_its_runtime_says(
    name: str, engine: containers.Engine, llama_ids: list[list[int]], tmp_path: Path
) -> None:
    runtime, wanted = runtimes.get(name), spec(name, {"context": 256, "threads": 1})
    with _running(engine, wanted, tmp_path, 0) as running:
        ids = [_ids(running, runtime, wanted, prompt) for prompt in PROMPTS]
        asked = [runtime.request(wanted, PROMPTS[number], number) for number in (0, 2, 0)]
        answers = [real._ask(running.base_url, *one) for one in asked]
        props = running.effective(runtime)["/props"]
    assert ids == llama_ids
    for (_, usage), number in zip(answers, (0, 2, 0), strict=True):
        assert usage["completion_tokens"] == TOKENS, "ignore_eos is not honoured"
        assert usage["prompt_tokens"] == len(ids[number])
        assert usage["prompt_tokens_details"] == {"cached_tokens": 0}
    assert answers[0] == answers[2], "a prompt that came again has another answer"
    _is_told(props, wanted)
    with _running(engine, wanted, tmp_path, 1) as running:
        again = real._ask(running.base_url, *asked[0])
    assert again == answers[0], "two containers differ at temperature 0"


def _is_told(props: dict[str, Any], wanted: RunSpec) -> None:
    """The configuration in effect holds versions, threads, context and every option."""
    name = wanted.runtime.name
    module = name.replace("-", "_")
    assert props["runtime"] == name
    assert props[module][0].isdigit()
    assert (props["threads"], props["max_context"]) == (1, 256)
    assert (props["device"], props["end_tokens"]) == ("CPU", [2])
    told = msgspec.json.encode(props).decode()
    for option, value in wanted.runtime.options.items():
        if option not in ("api", "context", "threads") and not isinstance(value, bool):
            assert f'"{value}"' in told or f":{value}" in told, option


@pytest.mark.parametrize("name", ENGINES)
def test_a_text_may_end_by_itself(name: str, engine: containers.Engine, tmp_path: Path) -> None:
    """… and what ``ignore_eos`` gives instead is no token that ends a text."""
    wanted = spec(name, {"context": 256, "threads": 1})
    free = msgspec.structs.replace(wanted.sampling, ignore_eos=False)
    ending = msgspec.structs.replace(wanted, sampling=free)
    runtime, prompt = runtimes.get(name), Prompt("yes", TEXTS[0], 100)
    with _running(engine, wanted, tmp_path, 2) as running:
        short, usage = real._ask(running.base_url, *runtime.request(ending, prompt, 0))
        text, full = real._ask(running.base_url, *runtime.request(wanted, prompt, 0))
    assert 0 < usage["completion_tokens"] < 100
    assert full["completion_tokens"] == 100
    assert text != short and "<|im_end|>" not in text


@pytest.mark.parametrize("name", SEEDED)
def test_what_is_drawn_follows_the_seed(
    name: str, engine: containers.Engine, tmp_path: Path
) -> None:
    wanted = spec(name, {"context": 256, "threads": 1})
    drawn = msgspec.structs.replace(wanted.sampling, temperature=1.2, top_k=50, top_p=0.95)
    wanted = msgspec.structs.replace(wanted, sampling=drawn)
    runtime = runtimes.get(name)
    assert runtime.problems(wanted) == []
    with _running(engine, wanted, tmp_path, 3) as running:
        texts = [
            real._ask(running.base_url, *runtime.request(wanted, PROMPTS[0], seed))[0]
            for seed in (1, 1, 2)
        ]
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize("name", UNSEEDED)
def test_the_others_draw_nothing(name: str, engine: containers.Engine, tmp_path: Path) -> None:
    wanted = spec(name, {"context": 256, "threads": 1})
    drawn = msgspec.structs.replace(wanted.sampling, temperature=0.5)
    wanted, runtime = msgspec.structs.replace(wanted, sampling=drawn), runtimes.get(name)
    assert [problem.path for problem in runtime.problems(wanted)] == ["$.sampling.temperature"]
    with _running(engine, wanted, tmp_path, 4) as running:
        answer = real._post(running.base_url, *runtime.request(wanted, PROMPTS[0], 0))
    assert "temperature must be 0" in answer["error"]["message"]
