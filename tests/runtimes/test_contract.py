"""What every runtime must be, kit's own and those of other packages alike."""

from __future__ import annotations

import re
from importlib.metadata import EntryPoint
from typing import Any, get_args

import msgspec
import pytest
from jsonschema import Draft202012Validator

from kit.core import jsonio, registry
from kit.core.errors import UsageError
from kit.core.model import (
    ArrivalsSpec,
    Determinism,
    DevicesSpec,
    ImageSpec,
    LimitsSpec,
    SamplingSpec,
    WeightsSpec,
    WorkloadSpec,
)
from kit.core.prompt import Picture, Prompt
from kit.machine import images
from kit.spec import runtimes
from kit.spec.runtimes import contract
from kit.spec.runtimes.contract import Runtime
from kit.spec.runtimes.thin import Thin
from tests.runtimes.done import ROOT
from tests.runtimes.specs import FOLDER, GPU_ONLY, SMOLLM2, defaults, spec

PROMPT = Prompt("p-0", "Why is the sky blue?", 16)
NAMES = runtimes.names()
REAL = [name for name in NAMES if runtimes.get(name).real]
OF_TEXTS = [name for name in NAMES if runtimes.get(name).makes == "text"]
WITH_RECIPE = [name for name in NAMES if runtimes.get(name).recipe]
CPU_ONLY = [name for name in REAL if not runtimes.get(name).gpu]
NEVER_ON_GPUS = [
    name
    for name in CPU_ONLY
    if isinstance(runtimes.get(name), Thin) and not runtimes.get(name).gpu_recipe
]


@pytest.mark.parametrize("name", NAMES)
def test_its_facts_are_stated(name: str) -> None:
    runtime = runtimes.get(name)
    assert runtime.name == name
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]*", name)
    assert runtime.title and "\n" not in runtime.title
    assert 1024 <= runtime.port < 65536
    assert all(path.startswith("/") for path in (runtime.ready_path, *runtime.effective_paths))
    assert runtime.streams_usage or set(runtime.recount or {}) == {"path", "text_key", "count_key"}


@pytest.mark.parametrize("name", NAMES)
def test_a_form_can_be_made_from_its_options(name: str) -> None:
    schema = runtimes.get(name).options_schema
    Draft202012Validator.check_schema(schema)
    assert schema["type"] == "object"
    assert schema["additionalProperties"] is False
    for option in schema["properties"].values():
        assert option["description"].endswith(".")
        assert "default" in option
        assert "type" in option
    assert not list(Draft202012Validator(schema).iter_errors(defaults(name)))


@pytest.mark.parametrize("name", NAMES)
def test_its_arguments_are_plain_words(name: str) -> None:
    runtime, wanted = runtimes.get(name), spec(name)
    argv = runtime.argv(wanted)
    assert all(isinstance(word, str) and word for word in argv)
    assert "None" not in argv
    assert argv == runtime.argv(wanted)
    assert all(isinstance(value, str) for value in runtime.env(wanted).values())


@pytest.mark.parametrize("address", ["0.0.0.0", "127.0.0.1"])
@pytest.mark.parametrize("name", NAMES)
def test_it_listens_where_it_is_told(name: str, address: str) -> None:
    runtime, wanted = runtimes.get(name), spec(name)
    argv = runtime.argv(wanted, address)
    if runtime.listen_variable:
        env = contract.environment(runtime, wanted, address)
        assert env[runtime.listen_variable] == f"{address}:{runtime.port}"
        assert address not in argv
    else:
        assert _flag(argv, "--port") == str(runtime.port)
        assert _flag(argv, "--host") == address


@pytest.mark.parametrize("name", NAMES)
def test_what_it_asks_of_its_server_is_plain_data(name: str) -> None:
    runtime, wanted = runtimes.get(name), spec(name)
    for steps in (runtime.preparing(wanted), runtime.closing(wanted)):
        assert len({step.name for step in steps}) == len(steps)
        for step in steps:
            assert re.fullmatch("[a-z]+", step.name) and step.path.startswith("/")
            assert step.body is None or not step.upload
            assert jsonio.parse(jsonio.canonical(step.record)) == step.record
            assert not step.upload or step.upload in {f.sha256 for f in wanted.weights.files}


@pytest.mark.parametrize("name", OF_TEXTS)
def test_its_requests_say_everything(name: str) -> None:
    runtime, wanted = runtimes.get(name), spec(name)
    path, body = runtime.request(wanted, PROMPT, 5)
    assert path == "/v1/chat/completions"
    assert body["messages"] == [{"role": "user", "content": PROMPT.text}]
    assert body["stream"] is True
    assert body["max_tokens"] == 16
    assert body["temperature"] == 0
    assert body["seed"] == wanted.sampling.seed + 5
    assert jsonio.parse(jsonio.canonical(body)) == body
    if runtime.streams_usage:
        assert body["stream_options"] == {"include_usage": True}
    if runtime.equal_work:
        assert body["ignore_eos"] is True


def test_diffusers_asks_for_images_by_size_steps_and_seed() -> None:
    wanted = spec("diffusers")
    picture = Picture(images=2, width=64, height=32, steps=7, guidance=1.5)
    prompt = Prompt("hut", "A hut in the snow.", 0, picture)
    path, body = runtimes.get("diffusers").request(wanted, prompt, 5)
    assert path == "/v1/images/generations"
    assert body == {
        "model": "model",
        "prompt": "A hut in the snow.",
        "n": 2,
        "size": "64x32",
        "response_format": "b64_json",
        "num_inference_steps": 7,
        "guidance_scale": 1.5,
        "seed": wanted.sampling.seed + 10,  # each of the images before had a seed of its own
    }


@pytest.mark.parametrize(
    ("name", "value"), [("temperature", 0.5), ("top_p", 0.9), ("top_k", 5), ("ignore_eos", False)]
)
def test_diffusers_refuses_what_would_do_nothing(name: str, value: Any) -> None:
    assert _paths("diffusers", sampling=SamplingSpec(**{name: value})) == [f"$.sampling.{name}"]


@pytest.mark.parametrize(
    ("options", "paths"),
    [
        ({"width": 1024, "height": 1024, "images": 15}, []),
        ({"width": 1024, "height": 1024, "images": 16}, ["$.workload.options.images"]),
        ({"width": 13, "height": 8}, ["$.workload.options.width"]),
        ({"width": 8, "height": 20}, ["$.workload.options.height"]),
    ],
)
def test_diffusers_asks_for_no_image_that_cannot_come(
    options: dict[str, Any], paths: list[str]
) -> None:
    workload = WorkloadSpec(name="images", options=options)
    assert _paths("diffusers", workload=workload) == paths


@pytest.mark.parametrize("name", NAMES)
def test_what_it_can_run_has_no_problem(name: str) -> None:
    assert runtimes.get(name).problems(spec(name)) == []


def test_only_the_test_seam_is_not_real() -> None:
    assert [name for name in NAMES if not runtimes.get(name).real] == ["loopback"]
    assert "not a real runtime" in runtimes.get("loopback").title


@pytest.mark.parametrize("name", WITH_RECIPE)
def test_its_recipe_exists(name: str) -> None:
    recipe = runtimes.get(name).recipe
    assert recipe is not None
    assert images.recipe(recipe).name == recipe


@pytest.mark.parametrize("name", NAMES)
def test_it_states_what_a_repeat_gives(name: str) -> None:
    stated = runtimes.get(name).repeat
    assert stated != Runtime.repeat, "a runtime of kit says what was measured, or who promises it"
    assert stated.kind in get_args(Determinism)
    assert stated.why.startswith(("Measured: ", "Its makers ", "Nobody ", "It is scripted"))
    assert stated.why.endswith(".")
    table = (ROOT / "docs/runtimes.md").read_text()
    row = rf"^\| `{name}` \|.*\| {stated.kind} \|$"
    assert name == "loopback" or re.search(row, table, re.MULTILINE), "docs/runtimes.md has another"


# --- what it cannot do ------------------------------------------------------------------------


def _paths(name: str, options: dict[str, Any] | None = None, **changes: Any) -> list[str]:
    problems = runtimes.get(name).problems(spec(name, options, **changes))
    assert all(problem.message and problem.remedy for problem in problems)
    return [problem.path for problem in problems]


@pytest.mark.parametrize("name", REAL)
def test_two_gguf_files_are_no_model(name: str) -> None:
    two = WeightsSpec(repo="r", revision="1", files=(SMOLLM2, SMOLLM2))
    assert _paths(name, weights=None) == ["$.weights"]
    assert _paths(name, weights=two) == ["$.weights"]


@pytest.mark.parametrize("name", CPU_ONLY)
def test_kits_images_have_no_gpu_code(name: str) -> None:
    upstream = ImageSpec(reference="ghcr.io/x/y@sha256:" + "1" * 64)
    assert _paths(name, devices=DevicesSpec(gpus=1)) == ["$.devices.gpus"]
    wrong = _paths(name, devices=DevicesSpec(gpus=1), image=upstream)
    assert wrong in (
        [["$.devices.gpus"]] if name in NEVER_ON_GPUS else [[], ["$.weights.derived.form"]]
    )


@pytest.mark.parametrize("name", CPU_ONLY)
def test_the_remedy_for_a_gpu_in_an_image_without_gpu_code_is_one_that_works(name: str) -> None:
    runtime = runtimes.get(name)
    (problem,) = runtime.problems(spec(name, devices=DevicesSpec(gpus=1)))
    assert "gpus to 0" in problem.remedy
    assert ("by digest" in problem.remedy) == (
        name not in NEVER_ON_GPUS and runtime.gpu_recipe is None
    )
    if runtime.gpu_recipe:
        assert f'use the image "{runtime.gpu_recipe}"' in problem.remedy


@pytest.mark.parametrize("form", ["onnx", "onnx-int4", "onnx-cuda"])
@pytest.mark.parametrize("gpus", [0, 1, 2])
def test_a_graph_that_was_made_for_one_device_is_not_loaded_on_the_other(
    form: str, gpus: int
) -> None:
    derived = spec("onnxruntime-genai").weights
    assert derived is not None and derived.derived is not None
    weights = msgspec.structs.replace(
        derived, derived=msgspec.structs.replace(derived.derived, form=form)
    )
    image = ImageSpec(recipe="onnxruntime-genai-cuda" if gpus else "onnxruntime-genai")
    found = runtimes.get("onnxruntime-genai").problems(
        spec("onnxruntime-genai", weights=weights, image=image, devices=DevicesSpec(gpus=gpus))
    )
    if gpus == 2:
        assert [p.path for p in found] == ["$.devices.gpus"]
    elif (form == "onnx-cuda") == bool(gpus):
        assert found == []
    else:
        (problem,) = found
        assert problem.path == "$.weights.derived.form"
        assert problem.remedy.endswith("--to onnx-cuda" if gpus else "--to onnx")


@pytest.mark.parametrize(
    ("gpus", "shm_mib", "few"), [(0, 160, True), (0, 161, False), (1, 64, False), (2, 64, True)]
)
def test_vllms_processes_need_shared_memory_to_meet(gpus: int, shm_mib: int, few: bool) -> None:
    """Seen: it ends at start, "160 MiB required, 64 MiB free"."""
    image = ImageSpec(reference="ghcr.io/x/y@sha256:" + "1" * 64)
    limits = LimitsSpec(shm_mib=shm_mib)
    found = _paths("vllm", devices=DevicesSpec(gpus=gpus), limits=limits, image=image)
    assert found == (["$.limits.shm_mib"] if few else [])


def test_a_gguf_file_where_a_folder_belongs_is_to_be_derived() -> None:
    gguf = WeightsSpec(repo="r", revision="1", files=(SMOLLM2,))
    (problem,) = runtimes.get("vllm").problems(spec("vllm", weights=gguf))
    assert "`kit weights derive`" in problem.remedy
    (problem,) = runtimes.get("vllm").problems(spec("vllm", weights=None))
    assert "derive" not in problem.remedy


@pytest.mark.parametrize("name", GPU_ONLY)
def test_some_run_on_a_gpu_alone(name: str) -> None:
    assert _paths(name, devices=DevicesSpec(gpus=0)) == ["$.devices.gpus"]
    four = _paths(name, devices=DevicesSpec(gpus=4))
    assert four == (["$.devices.gpus"] if name == "exllamav3" else [])


@pytest.mark.parametrize("name", NAMES)
def test_the_image_must_be_its_own(name: str) -> None:
    other = ImageSpec(recipe="something-else", digest="sha256:" + "0" * 64)
    assert _paths(name, image=other) == ["$.image.recipe"]


@pytest.mark.parametrize("name", [name for name in REAL if name in OF_TEXTS])
def test_the_context_must_hold_the_answer(name: str) -> None:
    assert _paths(name, {"context": 64}) == ["$.runtime.options.context"]
    assert _paths(name, {"context": 65}) == []


def test_some_serve_one_at_a_time() -> None:
    two = ArrivalsSpec(concurrency=2)
    assert _paths("llama-cpp-python", arrivals=two) == ["$.arrivals.concurrency"]
    assert _paths("transformers", arrivals=two) == ["$.arrivals.concurrency"]
    assert _paths("llama-server", arrivals=two) == []


@pytest.mark.parametrize(
    ("device", "gpus", "bad"),
    [
        ("auto", 0, False),
        ("auto", 1, False),
        ("auto", 2, False),
        ("cuda", 0, True),
        ("cuda", 1, False),
        ("cpu", 0, False),
        ("cpu", 1, True),
        ("cpu", 2, True),
    ],
)
def test_transformers_wants_the_device_that_the_spec_gives(
    device: str, gpus: int, bad: bool
) -> None:
    own = ImageSpec(reference="example/transformers@sha256:" + "1" * 64)  # kit's has no GPU code
    devices = DevicesSpec(gpus=gpus)
    problems = _paths("transformers", {"device": device}, devices=devices, image=own)
    assert problems == (["$.devices.gpus"] if bad else [])


def test_transformers_batches_as_many_as_there_are_at_once() -> None:
    two = ArrivalsSpec(concurrency=2)
    assert _paths("transformers", {"batch": 1}, arrivals=two) == ["$.arrivals.concurrency"]
    assert _paths("transformers", {"batch": 2}, arrivals=two) == []
    assert _paths("transformers", {"batch": 16}, arrivals=two) == []
    argv = runtimes.get("transformers").argv(spec("transformers", {"batch": 2}))
    assert _flag(argv, "--batch") == "2"
    assert _flag(runtimes.get("transformers").argv(spec("transformers")), "--batch") is None


def test_transformers_in_int4_on_a_gpu_wants_bfloat16() -> None:
    own = ImageSpec(reference="example/transformers@sha256:" + "1" * 64)
    gpu = {"devices": DevicesSpec(gpus=1), "image": own}
    quantised = {"quantisation": "int4"}
    assert _paths("transformers", {**quantised, "dtype": "float16"}, **gpu) == [
        "$.runtime.options.dtype"
    ]
    assert _paths("transformers", {**quantised, "dtype": "bfloat16"}, **gpu) == []
    assert _paths("transformers", {**quantised, "dtype": "float32"}) == []
    argv = runtimes.get("transformers").argv(spec("transformers", quantised))
    assert _flag(argv, "--quantise") == "int4"


def test_diffusers_runs_on_one_gpu() -> None:
    own = ImageSpec(reference="example/diffusers@sha256:" + "1" * 64)
    assert _paths("diffusers", devices=DevicesSpec(gpus=1), image=own) == []
    assert _paths("diffusers", devices=DevicesSpec(gpus=2), image=own) == ["$.devices.gpus"]


@pytest.mark.parametrize(
    ("options", "gpus", "paths", "flag"),
    [
        ({}, 0, [], None),
        ({}, 1, [], None),
        ({}, 4, [], "4"),
        ({"tensor_parallel": 4}, 4, [], "4"),
        ({"tensor_parallel": 1}, 4, ["$.runtime.options.tensor_parallel"], None),
        ({"tensor_parallel": 2}, 1, ["$.runtime.options.tensor_parallel"], "2"),
        ({"tensor_parallel": 3}, 0, [], "3"),
        (
            {"tensor_parallel": 3, "quantisation": "int8"},
            0,
            ["$.runtime.options.quantisation"],
            "3",
        ),
        ({"quantisation": "int4"}, 2, ["$.runtime.options.quantisation"], "2"),
    ],
)
def test_transformers_takes_a_process_for_each_gpu(
    options: dict[str, Any], gpus: int, paths: list[str], flag: str | None
) -> None:
    own = ImageSpec(reference="example/transformers@sha256:" + "1" * 64)
    changes = {"devices": DevicesSpec(gpus=gpus), **({"image": own} if gpus else {})}
    assert _paths("transformers", options, **changes) == paths
    argv = runtimes.get("transformers").argv(spec("transformers", options, **changes))
    assert _flag(argv, "--tensor-parallel") == flag


def test_transformers_loads_a_folder_with_its_config() -> None:
    names = ("config.json", "model.safetensors", "tokenizer.json")
    files = tuple(msgspec.structs.replace(SMOLLM2, path=name) for name in names)
    weights = WeightsSpec(repo="r", revision="1", files=files)
    part = WeightsSpec(repo="r", revision="1", files=files[1:])
    assert _paths("transformers", weights=weights) == []
    assert _paths("transformers", weights=part) == ["$.weights"]
    argv = runtimes.get("transformers").argv(spec("transformers", weights=weights))
    assert _flag(argv, "--model") == "/weights"


# --- arguments by spec ------------------------------------------------------------------------


def _flag(argv: tuple[str, ...], name: str) -> str | None:
    return argv[argv.index(name) + 1] if name in argv else None


def test_llama_server_shares_its_context_over_the_slots() -> None:
    argv = runtimes.get("llama-server").argv(
        spec("llama-server", {"context": 512}, arrivals=ArrivalsSpec(concurrency=4))
    )
    assert _flag(argv, "--ctx-size") == "2048"
    assert _flag(argv, "--parallel") == "4"
    assert _flag(argv, "--model") == f"/weights/{SMOLLM2.path}"
    assert _flag(argv, "--threads") is None
    assert "--no-cache-prompt" in argv
    assert "--offline" not in argv


@pytest.mark.parametrize(
    ("gpus", "asked", "layers"), [(0, None, "0"), (1, None, "999"), (1, 5, "5")]
)
def test_llama_server_keeps_all_layers_on_the_gpu_it_asked_for(
    gpus: int, asked: int | None, layers: str
) -> None:
    wanted = spec("llama-server", {"gpu_layers": asked}, devices=DevicesSpec(gpus=gpus))
    assert _flag(runtimes.get("llama-server").argv(wanted), "--n-gpu-layers") == layers


@pytest.mark.parametrize(("gpus", "device"), [(0, "cpu"), (1, "cuda")])
def test_transformers_is_told_its_device_and_never_finds_one(gpus: int, device: str) -> None:
    wanted = spec("transformers", {"dtype": "bfloat16"}, devices=DevicesSpec(gpus=gpus))
    argv = runtimes.get("transformers").argv(wanted)
    assert _flag(argv, "--device") == device
    assert _flag(argv, "--dtype") == "bfloat16"
    assert _flag(argv, "--attn") == "sdpa"
    assert _flag(argv, "--max-context") == "2048"
    assert _flag(argv, "--model") == f"/weights/{SMOLLM2.path}"


def test_transformers_fetches_and_tells_nothing() -> None:
    env = runtimes.get("transformers").env(spec("transformers"))
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    assert offline.items() <= env.items()
    assert env["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


@pytest.mark.parametrize(
    ("gpus", "options", "threads"),
    [
        (0, {}, {}),
        (1, {}, {}),
        (2, {}, {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}),
        (0, {"tensor_parallel": 3}, {"OPENBLAS_NUM_THREADS": "1"}),
    ],
)
def test_processes_that_share_a_model_do_not_start_threads_for_every_cpu_each(
    gpus: int, options: dict[str, Any], threads: dict[str, str]
) -> None:
    wanted = spec("transformers", options, devices=DevicesSpec(gpus=gpus))
    env = runtimes.get("transformers").env(wanted)
    assert {k: v for k, v in env.items() if "THREADS" in k} == threads


def _vllm(options: dict[str, Any] | None = None, **changes: Any) -> tuple[str, ...]:
    return runtimes.get("vllm").argv(spec("vllm", options, **changes))


def test_vllm_caches_no_prompt_and_finds_nothing_out_by_itself() -> None:
    argv = _vllm({"context": 512}, arrivals=ArrivalsSpec(concurrency=4))
    assert {"--no-enable-prefix-caching", "--enable-prompt-tokens-details"} <= set(argv)
    assert _flag(argv, "--max-num-seqs") == "4"
    assert _flag(argv, "--max-model-len") == "512"
    assert _flag(argv, "--kv-cache-memory-bytes") == str(1 << 30)
    assert _flag(argv, "--generation-config") == "vllm"
    assert _flag(argv, "--tensor-parallel-size") == "1"
    assert _flag(argv, "--quantization") is None


def test_vllm_compiles_only_where_it_can() -> None:
    theirs = ImageSpec(reference="ghcr.io/x/y@sha256:" + "1" * 64)
    assert "--enforce-eager" in _vllm()
    assert "--enforce-eager" not in _vllm({"eager": False}, image=theirs)
    assert _paths("vllm", {"eager": False}) == ["$.runtime.options.eager"]
    assert _paths("vllm", {"eager": False}, image=theirs) == []


def test_vllm_spreads_a_model_over_the_gpus_of_the_spec() -> None:
    theirs = ImageSpec(reference="ghcr.io/x/y@sha256:" + "1" * 64)
    argv = _vllm(devices=DevicesSpec(gpus=4), image=theirs)
    assert _flag(argv, "--tensor-parallel-size") == "4"


@pytest.mark.parametrize(
    ("name", "number"), [("vllm", 4), ("sglang", 5), ("mlx-lm", 2), ("exllamav3", 1)]
)
def test_every_cache_lies_where_programs_may_run(name: str, number: int) -> None:
    runtime = runtimes.get(name)
    caches = {k: v for k, v in runtime.env(spec(name)).items() if "CACHE" in k}
    assert len(caches) >= number
    assert all(f"{path}/".startswith("/tmp/") for path in caches.values())
    assert runtime.scratch_bytes >= 1 << 30


def test_sglang_of_its_makers_image_is_started_as_a_module() -> None:
    """Their entry point is no server: it runs what it is given."""
    sglang = runtimes.get("sglang")
    own, theirs = (sglang.argv(spec("sglang", {"start": start})) for start in ("image", "module"))
    assert spec("sglang").runtime.options["start"] == "image"
    assert theirs == ("python3", "-m", "sglang.launch_server", *own)
    assert own[0] == "--model-path"


def test_sglang_caches_no_prompt_and_probes_no_token() -> None:
    wanted = spec("sglang", {"context": 512}, arrivals=ArrivalsSpec(concurrency=4))
    argv = runtimes.get("sglang").argv(wanted)
    assert {"--disable-radix-cache", "--enable-cache-report"} <= set(argv)
    assert "--disable-decode-cuda-graph" not in argv
    assert _flag(argv, "--cuda-graph-max-bs-decode") == "4"
    assert _flag(argv, "--max-running-requests") == "4"
    assert _flag(argv, "--max-total-tokens") == "2048"
    assert _flag(argv, "--sampling-defaults") == "openai"
    assert _flag(argv, "--tp-size") == "1"
    assert _flag(argv, "--attention-backend") is None
    env = runtimes.get("sglang").env(wanted)
    assert env["SGLANG_ENABLE_HEALTH_ENDPOINT_GENERATION"] == "0"
    eager = runtimes.get("sglang").argv(spec("sglang", {"eager": True, "kv_cache_tokens": 4096}))
    assert {"--disable-decode-cuda-graph", "--disable-prefill-cuda-graph"} <= set(eager)
    assert _flag(eager, "--max-total-tokens") == "4096"


@pytest.mark.parametrize(("asked", "sent"), [(0, -1), (40, 40)])
def test_sglang_is_told_that_there_is_no_top_k(asked: int, sent: int) -> None:
    wanted = spec("sglang", sampling=SamplingSpec(top_k=asked))
    assert runtimes.get("sglang").request(wanted, PROMPT, 0)[1]["top_k"] == sent


def test_exllamav3_decodes_together_what_comes_together() -> None:
    wanted = spec("exllamav3", {"cache_bits": 4}, arrivals=ArrivalsSpec(concurrency=16))
    argv = runtimes.get("exllamav3").argv(wanted)
    assert _flag(argv, "--batch") == "16"
    assert _flag(argv, "--cache-bits") == "4"
    assert _flag(runtimes.get("exllamav3").argv(spec("exllamav3")), "--cache-bits") is None


def test_mlx_lm_has_no_room_for_a_prompt_and_one_model() -> None:
    wanted = spec("mlx-lm", arrivals=ArrivalsSpec(concurrency=4))
    argv = runtimes.get("mlx-lm").argv(wanted)
    assert _flag(argv, "--prompt-cache-size") == "0"
    assert _flag(argv, "--decode-concurrency") == _flag(argv, "--prompt-concurrency") == "4"
    _, body = runtimes.get("mlx-lm").request(wanted, PROMPT, 0)
    assert body["model"] == "default_model"
    assert "ignore_eos" not in body
    assert runtimes.get("mlx-lm").env(wanted)["MLX_MPI_LIBNAME"] == "none"


def test_mlx_lm_batches_only_without_a_seed() -> None:
    four = ArrivalsSpec(concurrency=4)
    one_body = runtimes.get("mlx-lm").request(spec("mlx-lm"), PROMPT, 3)[1]
    four_body = runtimes.get("mlx-lm").request(spec("mlx-lm", arrivals=four), PROMPT, 3)[1]
    assert one_body["seed"] == 3
    assert "seed" not in four_body
    warm = SamplingSpec(temperature=0.7)
    assert _paths("mlx-lm", sampling=warm) == []
    assert _paths("mlx-lm", sampling=warm, arrivals=four) == ["$.sampling.temperature"]
    assert _paths("mlx-lm", {"kv_bits": 8}) == []
    assert _paths("mlx-lm", {"kv_bits": 8}, arrivals=four) == ["$.runtime.options.kv_bits"]
    theirs = ImageSpec(reference="ghcr.io/x/y@sha256:" + "1" * 64)
    assert _paths("mlx-lm", devices=DevicesSpec(gpus=2), image=theirs) == ["$.devices.gpus"]


@pytest.mark.parametrize("name", ["vllm", "sglang", "mlx-lm", "exllamav3"])
@pytest.mark.parametrize("lacking", ["config.json", "tokenizer.json", "model.safetensors"])
def test_some_load_a_whole_folder(name: str, lacking: str) -> None:
    part = tuple(file for file in FOLDER if file.path != lacking)
    assert _paths(name, weights=WeightsSpec(repo="r", revision="1", files=part)) == ["$.weights"]


@pytest.mark.parametrize("name", REAL)
def test_what_a_log_tells_is_one_group(name: str) -> None:
    for fact, pattern in runtimes.get(name).log_facts.items():
        assert re.compile(pattern).groups == 1, fact


def test_an_upstream_llama_server_is_told_what_kits_image_implies() -> None:
    upstream = ImageSpec(reference="ghcr.io/x/y@sha256:" + "1" * 64)
    argv = runtimes.get("llama-server").argv(spec("llama-server", image=upstream))
    assert _flag(argv, "--cache-ram") == "0"
    assert "--offline" in argv


def test_llama_cpp_python_never_cuts_a_request_short() -> None:
    argv = runtimes.get("llama-cpp-python").argv(spec("llama-cpp-python"))
    assert _flag(argv, "--interrupt_requests") == "false"
    assert _flag(argv, "--n_ctx") == "2048"
    assert _flag(argv, "--n_gpu_layers") == "0"
    assert _flag(argv, "--n_threads") == _flag(argv, "--n_threads_batch") == "2"


@pytest.mark.parametrize("name", [name for name in REAL if name in OF_TEXTS])
def test_a_base_model_is_asked_without_a_template(name: str) -> None:
    path, body = runtimes.get(name).request(spec(name, {"api": "completion"}), PROMPT, 0)
    assert path == "/v1/completions"
    assert body["prompt"] == PROMPT.text
    assert "messages" not in body


# --- the registry -----------------------------------------------------------------------------


def test_an_unknown_runtime_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="kit knows no runtime 'vllm9'") as caught:
        runtimes.get("vllm9")
    assert "llama-server" in caught.value.remedy


def test_other_packages_register_runtimes(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [
        EntryPoint("theirs", "kit.spec.runtimes.loopback:RUNTIME", runtimes.GROUP),
        EntryPoint("broken", "kit.no_such_module:RUNTIME", runtimes.GROUP),
    ]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: entries)
    fresh = registry.Registry("runtime", runtimes.GROUP, "", (), "RUNTIME")
    assert fresh.names() == ("broken", "theirs")
    assert fresh.knows("theirs") and not fresh.knows("nobodys")
    theirs: Runtime = fresh.get("theirs")
    assert theirs.name == "loopback"
    with pytest.raises(UsageError, match="'broken' is registered, but cannot be loaded"):
        fresh.get("broken")
