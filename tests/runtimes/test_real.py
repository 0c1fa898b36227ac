"""A real language model in a real container, started and asked as the runtime states."""

from __future__ import annotations

import http.client
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kit.core.model import ArrivalsSpec, ImageSpec, Mount, Plan, RunSpec, WeightFile
from kit.core.prompt import Prompt
from kit.machine import containers, images, weights
from kit.machine.weights import derive
from kit.run.launch import Running, launched
from kit.spec import runtimes
from tests.plans import launch_plan, plan_of
from tests.runtimes.specs import spec

pytestmark = [pytest.mark.docker, pytest.mark.real]
PROMPTS = [Prompt("sky", "Why is the sky blue?", 12), Prompt("sea", "Why is the sea salty?", 12)]


def _plan(wanted: RunSpec, engine: containers.Engine) -> Plan:
    runtime = runtimes.get(wanted.runtime.name)
    network, egress = containers.network_plan(engine.facts())
    built = images.build(wanted.image.recipe or runtime.recipe)
    assert built.matches_lock, built.drift
    listen = "127.0.0.1" if network == "host" else "0.0.0.0"
    launch = launch_plan(
        argv=runtime.argv(wanted, listen),
        env=runtime.env(wanted),
        port=runtime.port,
        mounts=tuple(Mount(target=target, sha256=f.sha256) for target, f in _files(wanted)),
        network=network,
        egress=egress,
        pids=128,
    )
    return plan_of(built.identity, launch, model=wanted.weights)


def _files(wanted: RunSpec) -> list[tuple[str, WeightFile]]:
    """The model's files by their paths in the container."""
    assert wanted.weights
    return [(f"/weights/{file.path}", file) for file in wanted.weights.files]


@contextmanager
def _launched(
    engine: containers.Engine, wanted: RunSpec, folder: Path, index: int
) -> Iterator[Running]:
    """The runtime with the small model, ready for requests."""
    assert wanted.weights
    derive.ensure_derived(wanted.weights, ())
    with launched(
        engine,
        plan=_plan(wanted, engine),
        run_id="real-test",
        index=index,
        mounts={target: weights.ensure(file, ()) for target, file in _files(wanted)},
        log=folder / f"{index}.log",
        emit=lambda *_, **__: None,
    ) as running:
        running.wait_ready(runtimes.get(wanted.runtime.name).ready_path, 120, lambda: False)
        yield running


def _ask(base_url: str, path: str, body: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The streamed text, and the usage at its end."""
    connection = http.client.HTTPConnection(base_url.removeprefix("http://"), timeout=120)
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    response = connection.getresponse()
    data = response.read()
    assert response.status == 200, data
    connection.close()
    lines = [line[6:] for line in data.split(b"\n\n") if line.startswith(b"data: {")]
    chunks = [json.loads(line) for line in lines]
    deltas = [c["choices"][0]["delta"] for c in chunks if c["choices"]]
    usage = next((c["usage"] for c in chunks if c.get("usage")), {})
    return "".join(delta.get("content") or "" for delta in deltas), usage


def _answers(
    engine: containers.Engine, wanted: RunSpec, folder: Path, index: int
) -> tuple[list[str], list[dict[str, Any]], dict[str, Any]]:
    runtime = runtimes.get(wanted.runtime.name)
    with _launched(engine, wanted, folder, index) as running:
        asked = [runtime.request(wanted, p, i) for i, p in enumerate(PROMPTS)]
        answers = [_ask(running.base_url, *request) for request in [*asked, asked[0]]]
        effective = running.effective(runtime)
        running.stop(10)
    return [text for text, _ in answers], [usage for _, usage in answers], effective


@pytest.mark.parametrize(
    "recipe",
    ["llama-server", pytest.param("llama-server-cuda", marks=pytest.mark.runtimes)],
)
def test_llama_server_does_what_its_runtime_says(
    recipe: str, engine: containers.Engine, tmp_path: Path
) -> None:
    wanted = spec("llama-server", {"context": 256}, arrivals=ArrivalsSpec(concurrency=2))
    if recipe.endswith("-cuda"):  # on this CPU; its code for GPUs is loaded where there is one
        if not engine.image(images.recipe(recipe).reference):
            pytest.skip(f"compiling {recipe} takes half an hour: `kit images build {recipe}`")
        wanted = msgspec.structs.replace(wanted, image=ImageSpec(recipe=recipe))
    texts, usages, effective = _answers(engine, wanted, tmp_path, 0)
    again, _, _ = _answers(engine, wanted, tmp_path, 1)
    assert all(usage["completion_tokens"] == 12 for usage in usages), "ignore_eos is not honoured"
    cached = [u.get("prompt_tokens_details", {}).get("cached_tokens", 0) for u in usages]
    assert cached == [0, 0, 0], "a repeated prompt was taken from a cache"
    assert texts[0] == texts[2]
    assert texts == again, "two containers differ at temperature 0"
    assert effective["/props"]["total_slots"] == 2
    assert effective["/props"]["default_generation_settings"]["n_ctx"] == 256
    msgspec.json.encode(effective)


@pytest.mark.runtimes
def test_the_cuda_part_of_llama_server_is_loaded_where_there_is_a_driver(tmp_path: Path) -> None:
    """On a GPU it was left out without a word: it named no driver, and lost where that lies.

    The driver here is a stand-in, in a folder that the engine names, as some do.
    """
    image = _built("llama-server-cuda")
    calls = [f"cuMem{n}" for n in ("AddressFree", "AddressReserve", "Create", "Map", "Release")]
    calls += ["cuMemGetAllocationGranularity", "cuMemSetAccess", "cuMemUnmap"]
    calls += ["cuDeviceGet", "cuDeviceGetAttribute", "cuGetErrorString"]
    source = "".join(f"int {name}(void) {{ return 100; }}\n" for name in calls)
    said = _with_driver(tmp_path, source, image, "--list-devices")
    assert "ggml_cuda_init: failed to initialize CUDA" in said


@pytest.mark.runtimes
@pytest.mark.parametrize("recipe", ["transformers-cuda", "diffusers-cuda", "vllm-cuda"])
def test_triton_finds_the_driver_where_an_engine_makes_no_cache_of_the_linker(
    recipe: str, tmp_path: Path
) -> None:
    """It asks `ldconfig -p` first, and vLLM ended on an H200 when that failed."""
    ask = "from triton.backends.nvidia import driver; print(driver.libcuda_dirs())"
    given = ["--entrypoint", "python3", _built(recipe), "-c", ask]
    assert _with_driver(tmp_path, "int cuInit(int x) { return 100; }", *given) == "['/driver']\n"


def _built(recipe: str) -> str:
    image = images.recipe(recipe).reference
    if subprocess.run(["docker", "image", "inspect", image], capture_output=True).returncode:
        pytest.skip(f"it is large, or takes half an hour: `kit images build {recipe}`")
    return image


def _with_driver(folder: Path, source: str, *given: str) -> str:
    """What a container says that has a stand-in for the GPU's driver, made of C ``source``."""
    compiler = ["gcc", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-x", "c", "-"]
    library = folder / "libcuda.so.1"
    subprocess.run([*compiler, "-o", library], input=source, text=True, check=True)
    folder.chmod(0o755)
    place = ["-v", f"{folder}:/driver:ro", "-e", "LD_LIBRARY_PATH=/driver"]
    command = ["docker", "run", "--rm", "--network", "none", *place, *given]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.stdout + done.stderr


def test_a_text_can_end_by_itself(engine: containers.Engine, tmp_path: Path) -> None:
    wanted = spec("llama-server", {"context": 256})
    open_end = msgspec.structs.replace(wanted.sampling, ignore_eos=False)
    wanted = msgspec.structs.replace(wanted, sampling=open_end)
    short = [Prompt("yes", "Answer with the one word yes.", 100)]
    runtime = runtimes.get("llama-server")
    with _launched(engine, wanted, tmp_path, 2) as running:
        _, usage = _ask(running.base_url, *runtime.request(wanted, short[0], 0))
    assert 0 < usage["completion_tokens"] < 100


@pytest.mark.runtimes
@pytest.mark.timeout(1800)  # where the image is not there yet, it is compiled first
def test_llama_cpp_python_does_what_its_runtime_says(
    engine: containers.Engine, tmp_path: Path
) -> None:
    wanted = spec("llama-cpp-python", {"context": 256, "threads": 1})
    runtime = runtimes.get("llama-cpp-python")
    with _launched(engine, wanted, tmp_path, 3) as running:
        text, usage = _ask(running.base_url, *runtime.request(wanted, PROMPTS[0], 0))
        how = runtime.recount
        assert how is not None
        counted = _post(running.base_url, how["path"], {how["text_key"]: text})
        models = running.effective(runtime)["/v1/models"]
        running.stop(10)
    assert text
    assert "AVX2 = 1" in (tmp_path / "3.log").read_text(), "compiled for a CPU of twenty years ago"
    assert usage == {}, "its streams carry usage now: use it instead of counting again"
    assert 10 <= counted[how["count_key"]] <= 13
    assert [model["id"] for model in models["data"]] == ["model"]


def _post(base_url: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    connection = http.client.HTTPConnection(base_url.removeprefix("http://"), timeout=60)
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    answer: dict[str, Any] = json.loads(connection.getresponse().read())
    connection.close()
    return answer
