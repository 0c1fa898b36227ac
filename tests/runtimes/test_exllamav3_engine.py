"""exllamav3's adapter, on a stand-in for exllamav3's generator: no GPU is here."""

from __future__ import annotations

import sys
from importlib import util
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

IMAGE = Path(__file__).parents[2] / "images" / "exllamav3"
END = 2


class Job:
    def __init__(self, **given: Any) -> None:
        self.__dict__.update(given)


class Generator:
    """Gives each job the ids 10, 11, …; at ``ends_at`` tokens an end, unless that is forbidden."""

    def __init__(self, ends_at: int = 99) -> None:
        self.jobs: list[Any] = []
        self.ends_at, self.resets = ends_at, 0
        self.pagetable = SimpleNamespace(reset_page_table=self._reset)

    def _reset(self) -> None:
        self.resets += 1

    def enqueue(self, job: Any) -> None:
        job.made = 0
        self.jobs.append(job)

    def num_remaining_jobs(self) -> int:
        return len(self.jobs)

    def clear_queue(self) -> None:
        self.jobs.clear()

    def iterate(self) -> list[dict[str, Any]]:
        results: list[dict[str, Any]] = [{"stage": "prefill", "eos": False}]
        for job in list(self.jobs):
            result: dict[str, Any] = {"stage": "streaming", "identifier": job.identifier}
            if job.made == self.ends_at and job.made >= job.min_new_tokens:
                result |= {"eos_reason": "stop_token", "eos_triggering_token_id": END}
                self.jobs.remove(job)
            else:
                ids = SimpleNamespace(
                    flatten=lambda made=job.made: SimpleNamespace(tolist=lambda: [10 + made])
                )
                result["token_ids"] = ids
                job.made += 1
                if job.made == job.max_new_tokens:
                    self.jobs.remove(job)
            results.append(result)
        return results


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The adapter's module, with stand-ins where it imports."""
    fake = ModuleType("exllamav3")
    fake.Job, fake.ComboSampler = Job, lambda **given: given  # type: ignore[attr-defined]
    torch = ModuleType("torch")
    torch.tensor, torch.long = lambda rows, dtype: rows, int  # type: ignore[attr-defined]
    for name, module in (("exllamav3", fake), ("torch", torch)):
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.syspath_prepend(str(IMAGE))
    for name in ("adapter", "text"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    found = util.spec_from_file_location("exllamav3_engine", IMAGE / "engine.py")
    assert found is not None and found.loader is not None
    module = util.module_from_spec(found)
    found.loader.exec_module(module)
    yield module
    for name in ("adapter", "text"):
        sys.modules.pop(name, None)


def _ready(engine: Any, generator: Generator) -> Any:
    ready = engine.Engine.__new__(engine.Engine)
    ready._generator = generator
    ready.encode = lambda text, special: [ord(c) for c in text]
    ready.decode = lambda ids: "".join(chr(i + 87) for i in ids)
    ready.render = lambda messages: messages[0]["content"]
    ready.max_context, ready.end_tokens = 64, frozenset({END})
    return ready


def _asked(tokens: int, ignore_eos: bool = True, temperature: float = 0.0) -> Any:
    from adapter import Asked

    return Asked(None, "ab", True, True, tokens, temperature, 1.0, 0, 7, ignore_eos)


def _run(ready: Any, asked: list[Any]) -> tuple[list[str], list[int], list[str | None]]:
    rows = [ready.prepare(one) for one in asked]
    texts, counts, ends = [""] * len(rows), [0] * len(rows), [None] * len(rows)
    for made in ready.answer(rows):
        for index, piece in made:
            texts[index] += piece.text
            counts[index] += 1
            ends[index] = piece.finish
    return texts, counts, ends


def test_every_request_of_a_batch_gets_its_tokens(engine: Any) -> None:
    generator = Generator()
    texts, counts, ends = _run(_ready(engine, generator), [_asked(2), _asked(4), _asked(3)])
    assert texts == ["ab", "abcd", "abc"]
    assert counts == [2, 4, 3]
    assert ends == ["length"] * 3


def test_an_end_counts_and_is_not_chosen_where_it_is_ignored(engine: Any) -> None:
    asked = [_asked(6, ignore_eos=False), _asked(6)]
    texts, counts, ends = _run(_ready(engine, Generator(ends_at=3)), asked)
    assert texts == ["abc", "abcdef"]
    assert counts == [4, 6]
    assert ends == ["stop", "length"]


def test_no_prompt_outlives_its_batch(engine: Any) -> None:
    generator = Generator()
    ready = _ready(engine, generator)
    _run(ready, [_asked(2)])
    assert generator.resets == 1
    answer = ready.answer([ready.prepare(_asked(9))])
    next(answer)
    answer.close()
    assert (generator.resets, generator.jobs) == (2, [])


def test_a_job_says_how_tokens_are_chosen(engine: Any) -> None:
    ready = _ready(engine, Generator())
    job = ready._job(3, ready.prepare(_asked(5, temperature=0.5)))
    assert job.sampler == {"temperature": 0.5, "top_k": 0, "top_p": 1.0}
    assert (job.min_new_tokens, job.max_new_tokens, job.seed, job.identifier) == (5, 5, 7, 3)
    assert job.input_ids == [[97, 98]]
    assert job.stop_conditions == [END]


def test_the_configuration_names_the_installed_version(
    engine: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real module has no __version__ of its own."""
    about = tmp_path / "exllamav3-1.6.5.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Name: exllamav3\nVersion: 1.6.5\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    torch: Any = sys.modules["torch"]
    torch.__version__, torch.version = "2.11.0", SimpleNamespace(cuda="13.0")
    torch.cuda = SimpleNamespace(
        get_device_name=lambda: "NVIDIA H200", get_device_capability=lambda: (9, 0)
    )
    ready = _ready(engine, Generator())
    ready._path, ready._bits, ready._words = tmp_path, None, SimpleNamespace(chat_template=None)
    props = ready.props()
    assert (props["exllamav3"], props["device"]) == ("1.6.5", "NVIDIA H200")
    assert (props["cache_bits"], props["model_type"]) == (16, "llama")
