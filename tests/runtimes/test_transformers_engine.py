"""The engine of Transformers behind the thin server, with a real model of random weights."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kit.core import resources
from tests.runtimes.thin import ASKED, CHAT, SERVER, events, get, post, said

FOLDER = resources.images_dir() / "transformers"
torch = pytest.importorskip("torch", reason="PyTorch is not installed here")
transformers = pytest.importorskip("transformers", reason="Transformers is not installed here")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of two small layers and a tokenizer of one token a byte, saved as a folder."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    folder = tmp_path_factory.mktemp("tiny")
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"<end>": 0, **{letter: i for i, letter in enumerate(alphabet, 1)}}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>")
    fast.chat_template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    fast.save_pretrained(folder)
    torch.manual_seed(1)
    config = transformers.LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        bos_token_id=None,
        eos_token_id=0,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """The server's process, ready; ``port`` is where it answers."""

    def __init__(self, model: Path, *flags: str) -> None:
        self.port = _free_port()
        where = ("--host", "127.0.0.1", "--port", str(self.port), "--device", "cpu")
        self.process = subprocess.Popen(
            [sys.executable, str(SERVER / "serve.py"), "--model", str(model), *where, *flags],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(FOLDER)},
        )
        assert self.process.stderr is not None
        assert "listening" in self.process.stderr.readline()
        assert "ready" in self.process.stderr.readline()

    def ask(self, content: str = "a b", **changes: Any) -> bytes:
        messages = [{"role": "user", "content": content}]
        wanted = ASKED | {"messages": messages, "ignore_eos": True, "max_tokens": 40} | changes
        status, stream = post(self.port, CHAT, wanted)
        assert status == 200, stream
        return stream

    def close(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(10)


@pytest.fixture(scope="module")
def running(tiny: Path) -> Iterator[Server]:
    server = Server(tiny)
    yield server
    assert server.close() == 0


def test_a_model_generates_what_is_asked_for(running: Server) -> None:
    *tokens, usage = events(running.ask())
    assert len(tokens) == usage["usage"]["completion_tokens"] == 40
    assert usage["usage"]["prompt_tokens"] == len("user: a b\n")
    assert tokens[-1]["choices"][0]["finish_reason"] == "length"
    props = get(running.port, "/props")[1]
    assert (props["device"], props["attention"], props["max_context"]) == ("CPU", "sdpa", 128)
    assert (props["dtype"], props["end_tokens"]) == ("float32", [0])
    over = ASKED | {"max_tokens": 128}
    assert b"over the context of 128" in post(running.port, CHAT, over)[1]


def test_greedy_repeats_itself_and_sampling_follows_the_seed(running: Server) -> None:
    assert said(running.ask()) == said(running.ask())
    sampled = {"temperature": 1.5, "top_k": 50, "top_p": 0.95}
    first = said(running.ask(seed=1, **sampled))
    assert said(running.ask(seed=1, **sampled)) == first
    assert said(running.ask(seed=2, **sampled)) != first


def test_the_cache_changes_nothing(running: Server, tiny: Path) -> None:
    """The tokens are those of the model run over the whole text for each of them."""
    model = transformers.AutoModelForCausalLM.from_pretrained(tiny)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny)
    ids = tokenizer("user: a b\n")["input_ids"]
    told = post(running.port, "/tokenize", ASKED)[1]
    assert json.loads(told) == {"tokens": ids}
    start = len(ids)
    with torch.inference_mode():
        for _ in range(12):
            logits = model(input_ids=torch.tensor([ids])).logits[0, -1]
            logits[0] = -torch.inf  # the end is never chosen
            ids.append(int(logits.argmax()))
    assert said(running.ask(max_tokens=12)) == tokenizer.decode(ids[start:])


def test_a_batch_gives_each_request_what_it_gets_alone(running: Server, tiny: Path) -> None:
    """Prompts and answers of unequal lengths, one sampled, one that may end by itself."""
    wanted: list[dict[str, Any]] = [
        {"content": "a b"},
        {"content": "a much longer prompt than the other ones", "max_tokens": 7},
        {"content": "c", "temperature": 1.5, "top_k": 50, "seed": 3, "max_tokens": 25},
        {"content": "c", "ignore_eos": False, "max_tokens": 100},
    ]
    alone = [running.ask(**one) for one in wanted]
    server = Server(tiny, "--batch", "4", "--batch-wait-s", "60")
    together: dict[int, bytes] = {}

    def ask(number: int) -> None:
        together[number] = server.ask(**wanted[number])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(wanted))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert server.close() == 0
    for number, before in enumerate(alone):
        now = together[number]
        assert said(now) == said(before)
        assert events(now)[-1]["batch"] == 4
        assert events(now)[-1]["usage"] == events(before)[-1]["usage"]


@pytest.fixture(scope="module")
def shared(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(tmp_path_factory.mktemp("meetings")))
        server = Server(tiny, "--tensor-parallel", "2", "--batch", "2", "--batch-wait-s", "0")
    yield server
    server.process.kill()
    server.process.wait(10)


def _others(server: Server) -> list[int]:
    """Handles on the processes of the ranks that the server started; readable once they ended."""
    threads = Path(f"/proc/{server.process.pid}/task").iterdir()
    return [
        os.pidfd_open(int(child))
        for thread in threads
        for child in (thread / "children").read_text().split()
    ]


def test_two_ranks_say_what_one_says(running: Server, shared: Server) -> None:
    """Also a sampled text, and one that ends by itself, after which the ranks go on."""
    for wanted in (
        {"content": "a b"},
        {"content": "c", "temperature": 1.5, "top_k": 50, "seed": 3},
        {"content": "c", "ignore_eos": False, "max_tokens": 100},
        {"content": "a much longer prompt", "max_tokens": 7},
    ):
        alone, together = running.ask(**wanted), shared.ask(**wanted)
        assert said(together) == said(alone)
        assert events(together)[-1]["usage"] == events(alone)[-1]["usage"]
    one, two = get(running.port, "/props")[1], get(shared.port, "/props")[1]
    assert (one["tensor_parallel"], two["tensor_parallel"]) == (1, 2)
    assert one["config_sha256"] == two["config_sha256"]
    assert [rank["device"] for rank in two["ranks"]] == ["CPU", "CPU"]
    assert all(rank["parameter_bytes"] < 0.6 * one["parameter_bytes"] for rank in two["ranks"])


def test_ranks_live_and_die_together(shared: Server, tiny: Path) -> None:
    (other,) = _others(shared)
    signal.pidfd_send_signal(other, signal.SIGKILL)
    assert shared.process.wait(30) == 1
    assert shared.process.stderr is not None
    assert shared.process.stderr.read() == (
        "transformers: rank 1 of 2 was killed by signal 9, and its part of the model is gone\n"
    )
    again = Server(tiny, "--tensor-parallel", "2")
    (other,) = _others(again)
    again.process.kill()
    assert select.select([other], [], [], 30)[0], "a rank outlived the server"
    again.process.wait(10)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--tensor-parallel", "3"), "4 attention heads with 2 of keys and values cannot be"),
        (("--tensor-parallel", "2", "--quantise", "int8"), "torchao cannot quantise layers that"),
    ],
)
def test_what_ranks_cannot_share_is_said_in_one_line(
    tiny: Path, flags: tuple[str, ...], words: str
) -> None:
    model = ("--model", str(tiny), "--host", "127.0.0.1", "--port", str(_free_port()))
    ended = subprocess.run(
        [sys.executable, str(SERVER / "serve.py"), *model, *flags],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(FOLDER)},
        timeout=120,
    )
    assert ended.returncode == 1
    _, line = ended.stderr.splitlines()
    assert line.startswith(f"transformers: cannot serve {tiny}: ValueError: {words}")
