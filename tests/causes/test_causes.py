"""The root cause is found in the logs of every runtime, far above their ends, and shown safely."""

from __future__ import annotations

from pathlib import Path

import pytest

from kit.core import causes
from tests.causes import logs

MODEL = "llama_model_load: error loading model: "
CASES = {
    "vllm: no room for the cache": (
        logs.vllm(
            "EngineCore_DP0 pid=71",
            "ValueError: No available memory for the cache blocks. Try increasing "
            "`gpu_memory_utilization` when initializing the engine.",
        ),
        "ValueError: No available memory for the cache blocks",
        "kv_cache_mib",
    ),
    "vllm: a worker's GPU is full": (
        logs.vllm(
            "Worker_TP1 pid=88",
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 1 has a "
            "total capacity of 79.10 GiB of which 1.12 GiB is free.",
        ),
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
        "GPU's memory",
    ),
    "vllm: the newer prefix": (
        logs.vllm(
            "EngineCore pid=123",
            "RuntimeError: CUDA error: no kernel image is available "
            "for execution on the device\nCUDA kernel errors might be asynchronous",
        ),
        "RuntimeError: CUDA error: no kernel image is available",
        "no code for this GPU",
    ),
    "vllm: shared memory": (
        logs.vllm(
            "EngineCore_DP0 pid=71",
            "OSError: [Errno 28] No space left on device: "
            "'/dev/shm/psm_1' cannot be made: /dev/shm: No space",
        ),
        "OSError: [Errno 28] No space left",
        "limits.shm_mib",
    ),
    "vllm: an assertion without words": (
        logs.vllm("EngineCore_DP0 pid=71", "AssertionError"),
        "AssertionError",
        "",
    ),
    "vllm: pydantic's two lines": (
        logs.transformers(
            (
                "",
                "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig"
                "\n  Value error, User-specified max_model_len (99999) is greater than the derived "
                "max_model_len (max_position_embeddings=2048.0) [type=value_error]",
            ),
        ),
        "Value error, User-specified max_model_len (99999) is greater",
        "context length",
    ),
    "vllm: before processes had names": (
        logs.vllm_old(
            "ImportError: libnuma.so.1: cannot open shared object file: No such file or directory"
        ),
        "ImportError: libnuma.so.1: cannot open shared object file",
        "lacks this library",
    ),
    "vllm: an unknown argument": (
        "usage: api_server.py [-h] [--host HOST]\n"
        + logs.numbered("    [--option-{n} N]", 90)
        + "\napi_server.py: error: unrecognized arguments: --max-modell-len 5",
        "unrecognized arguments: --max-modell-len 5",
        "runtime.options",
    ),
    "sglang": (
        logs.sglang(
            "RuntimeError: Not enough memory. Please try to increase --mem-fraction-static."
        ),
        "RuntimeError: Not enough memory.",
        "GPU's memory",
    ),
    "transformers: the first of a chain": (
        logs.transformers(
            ("", "socket.gaierror: [Errno -3] Temporary failure in name resolution"),
            (logs.DURING, "httpx.ConnectError: [Errno -3] Temporary failure in name resolution"),
            (logs.DIRECT, "huggingface_hub.errors.LocalEntryNotFoundError: not in the cache"),
            (logs.DIRECT, "OSError: We couldn't connect to 'https://huggingface.co' to load files"),
        ),
        "socket.gaierror: [Errno -3] Temporary failure in name resolution",
        "weights.files",
    ),
    "transformers: a failed look-up is no cause": (
        logs.transformers(
            ("", "KeyError: 'qwen9'"),
            (
                logs.DURING,
                "ValueError: The checkpoint you are trying to load has model type "
                "`qwen9` but Transformers does not recognize this architecture.",
            ),
        ),
        "does not recognize this architecture",
        "cannot read these weights",
    ),
    "transformers: a file is not there": (
        logs.transformers(
            ("", "OSError: /weights does not appear to have a file named config.json")
        ),
        "OSError: /weights does not appear to have a file named config.json",
        "weights.files",
    ),
    "transformers: a package is missing": (
        logs.transformers(("", "ModuleNotFoundError: No module named 'sentencepiece'")),
        "ModuleNotFoundError: No module named 'sentencepiece'",
        "Python package",
    ),
    "uvicorn: the port": (logs.UVICORN_PORT, "address already in use", "ss -ltnp"),
    "llama.cpp: an unknown architecture": (
        logs.llama_server(MODEL + "unknown model architecture: 'qwen9'"),
        "unknown model architecture: 'qwen9'",
        "cannot read these weights",
    ),
    "llama.cpp: a Git LFS pointer": (
        logs.llama_server(
            "gguf_init_from_file_impl: invalid magic characters: 'vers', expected 'GGUF'",
            MODEL + "llama_model_loader: failed to load model from /weights/model.gguf",
            loader=False,
        ),
        "invalid magic characters: 'vers'",
        "Git LFS pointer",
    ),
    "llama.cpp: a file that was cut": (
        logs.llama_server(
            MODEL + "tensor 'blk.3.ffn_up.weight' data is not within the file bounds, "
            "model is corrupted or incomplete"
        ),
        "data is not within the file bounds",
        "cannot read these weights",
    ),
    "llama.cpp: the GPU is full": (
        logs.llama_server(
            "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 8000.00 MiB on device 0: "
            "cudaMalloc failed: out of memory",
            "alloc_tensor_range: failed to allocate CUDA0 buffer of size 8388608000",
            MODEL + "unable to allocate CUDA0 buffer",
        ),
        "cudaMalloc failed: out of memory",
        "GPU's memory",
    ),
    "llama.cpp: a setting that another needs": (
        logs.llama_begins()
        + "\n"
        + logs.llama_loader()
        + "\nllama_init_from_model: V cache quantization requires flash_attn\n"
        "common_init_from_params: failed to create context with model '/weights/model.gguf'\n"
        "srv    load_model: failed to load model, '/weights/model.gguf'",
        "V cache quantization requires flash_attn",
        "",
    ),
    "exceptions in a group": (
        logs.numbered("listening {n}", 60)
        + "\n  + Exception Group Traceback (most recent call last):\n"
        '  |   File "a.py", line 1, in f\n  |     x()\n'
        "  | ExceptionGroup: unhandled errors in a TaskGroup (1 sub-exception)\n"
        "  +-+---------------- 1 ----------------\n"
        "    | Traceback (most recent call last):\n"
        '    |   File "b.py", line 2, in g\n    |     y()\n'
        "    | ValueError: the true reason\n    +------------------------------------\n",
        "ValueError: the true reason",
        "",
    ),
    "mistral.rs: in one line": (
        logs.numbered("2026-11-26T16:28:1{n}.1Z  INFO mistralrs_core: layer {n}", 9)
        + "\n2026-11-26T16:28:12.1Z ERROR mistralrs_core: Model failed: "
        "DriverError(CUDA_ERROR_OUT_OF_MEMORY)",
        "Model failed: DriverError",
        "GPU's memory",
    ),
    "llama.cpp: no memory for the cache": (
        logs.llama_server(
            "ggml_aligned_malloc: insufficient memory (attempted to allocate 90000.00 MB)",
            "ggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate buffer of size 943718",
            "llama_init_from_model: failed to initialize the context: failed to allocate buffer "
            "for kv cache",
        ),
        "(attempted to allocate 90000.00 MB)",
        "limits.memory_mib",
    ),
    "llama.cpp: a CUDA error with all its threads": (
        logs.CUDA_ABORT,
        "CUDA error: an illegal memory access was encountered",
        "nvidia-smi -q",
    ),
    "llama.cpp: what C++ threw": (
        logs.TERMINATE,
        "the tokens of this vocabulary do not fit together",
        "",
    ),
    "llama.cpp: the port": (
        logs.llama_begins()
        + "\n"
        + logs.numbered("srv  init: slot {n}", 50)
        + "\nmain: couldn't bind HTTP server socket, hostname: 0.0.0.0, port: 8080\n"
        "srv    operator(): operator(): cleaning up before exit...",
        "couldn't bind HTTP server socket",
        "ss -ltnp",
    ),
    "llama.cpp: a library": (
        "/app/llama-server: error while loading shared libraries: libcudart.so.12: cannot open "
        "shared object file: No such file or directory",
        "libcudart.so.12",
        "lacks this library",
    ),
    "llama.cpp: no driver": (
        "/app/llama-server: error while loading shared libraries: libcuda.so.1: cannot open "
        "shared object file: No such file or directory",
        "libcuda.so.1",
        "devices.gpus",
    ),
    "llama.cpp: the C library": (
        "/app/llama-server: /lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.38' not found "
        "(required by /app/libllama.so)\n/app/llama-server: /lib/x86_64-linux-gnu/libstdc++.so.6: "
        "version `GLIBCXX_3.4.32' not found (required by /app/libllama.so)",
        "`GLIBC_2.38' not found",
        "newer base",
    ),
    "llama.cpp: an argument": (
        "error: invalid argument: --no-such-thing\n" + logs.numbered("  --flag-{n}  does {n}", 70),
        "error: invalid argument: --no-such-thing",
        "runtime.options",
    ),
    "llama.cpp: the processor": (
        logs.llama_begins() + "\n" + logs.llama_loader() + "\nIllegal instruction (core dumped)",
        "Illegal instruction",
        "this CPU lacks",
    ),
    "llama-cpp-python": (
        logs.llama_cpp_python(MODEL + "unknown model architecture: 'qwen9'"),
        "unknown model architecture: 'qwen9'",
        "cannot read these weights",
    ),
    "llama-cpp-python: permissions": (
        logs.llama_cpp_python(
            "gguf_init_from_file: failed to open GGUF file '/weights/model.gguf': Permission denied"
        ),
        "Permission denied",
        "chmod o+r",
    ),
    "ollama: a runner's GPU": (
        logs.ollama(
            "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 800.00 MiB on device 0: "
            "cudaMalloc failed: out of memory",
            "alloc_tensor_range: failed to allocate CUDA0 buffer of size 838860",
            logs.numbered("[New LWP {n}]", 70),
            logs.slog(
                "ERROR",
                "error loading llama server",
                "llama runner process has terminated: exit status 2",
            ),
            '[GIN] 2026/11/26 - 16:28:20 | 500 |  2.1s | 127.0.0.1 | POST "/api/generate"',
        ),
        "cudaMalloc failed: out of memory",
        "GPU's memory",
    ),
    "ollama: only its own words": (
        logs.ollama(
            logs.slog(
                "ERROR",
                "error loading llama server",
                "model requires more system memory (9.1 GiB) than is available (3.2 GiB)",
            )
        ),
        "model requires more system memory (9.1 GiB)",
        "limits.memory_mib",
    ),
    "ollama: the port": (
        logs.numbered("Couldn't find '/tmp/.ollama/id_{n}'. Generating new private key.", 60)
        + "\nError: listen tcp 0.0.0.0:11434: bind: address already in use",
        "bind: address already in use",
        "ss -ltnp",
    ),
    "ollama: Go's panic": (logs.GO_PANIC, "panic: tensor blk.7.attn_q.weight has 3 dimensions", ""),
    "mistral.rs: a panic": (logs.RUST_PANIC, "CUDA_ERROR_OUT_OF_MEMORY", "GPU's memory"),
    "mistral.rs: a list of causes": (logs.RUST_CAUSES, "missing field `rope_theta`", ""),
}


@pytest.mark.parametrize("name", CASES)
def test_the_root_cause_is_found(name: str) -> None:
    log, words, remedy = CASES[name]
    cause = causes.find(log)
    assert cause is not None
    assert words in " ".join(cause.lines[:2]), cause
    assert remedy in cause.remedy and bool(remedy) == bool(cause.remedy), cause
    assert (
        words[:20].split(":")[0] in log.splitlines()[cause.number - 1] or cause.number <= cause.of
    )


REAL = {
    "kv": ("No available memory for the cache blocks", "kv_cache_mib"),
    "memory": ("Available memory on node 0", "other programs"),
    "toolong": ("1 validation error for ModelConfig", "lower the context"),
    "noweights": ("Couldn't instantiate the backend tokenizer", "weights.files"),
    "ldconfig": ("/sbin/ldconfig: Can't open cache file", "cache of the dynamic linker"),
}


@pytest.mark.parametrize("name", REAL)
def test_in_the_logs_of_a_real_vllm_too(name: str) -> None:
    """vLLM 0.32.0 on a CPU, in kit's image; libnuma complains first, and is no cause.

    "ldconfig": vLLM 0.26.0 on an H200; a full progress bar of safetensors stood first.
    """
    words, remedy = REAL[name]
    cause = causes.read(Path(__file__).with_name("real") / f"vllm-{name}.log")
    assert cause and words in cause.lines[0], cause
    assert remedy in cause.remedy


def test_most_of_these_causes_stand_far_above_the_end() -> None:
    far = [c for c in CASES if (cause := causes.find(CASES[c][0])) and cause.of - cause.number > 25]
    assert len(far) >= 15, far


def test_what_a_cause_led_to_is_shown_below_it() -> None:
    cause = causes.find(CASES["transformers: the first of a chain"][0])
    assert cause and cause.lines[1].startswith("led to: OSError: We couldn't connect")


def test_an_exception_without_words_is_shown_with_its_place() -> None:
    cause = causes.find(CASES["vllm: an assertion without words"][0])
    assert cause and cause.lines[1].startswith("at part_13.py:113: self.failed_to_run")


# --- what is no cause -----------------------------------------------------------------------


SURVIVED = "\n".join(
    [
        "Traceback (most recent call last):",
        '  File "/app/optional.py", line 5, in <module>',
        "    import flash_attn",
        "ModuleNotFoundError: No module named 'flash_attn'",
        logs.numbered("loading layer {n}", 40),
    ]
)


def test_an_error_that_was_survived_is_not_taken_for_the_cause() -> None:
    fatal = 'Traceback (most recent call last):\n  File "/app/x.py", line 5, in y\n    z()\n'
    cause = causes.find(f"{SURVIVED}\n{fatal}RuntimeError: the real one")
    assert cause and cause.lines[0] == "RuntimeError: the real one" and cause.sure


def test_where_nothing_else_is_said_the_last_error_is_doubted() -> None:
    cause = causes.find(SURVIVED)
    assert cause and "flash_attn" in cause.lines[0] and not cause.sure


def test_words_at_the_end_that_point_back_make_it_sure() -> None:
    """However much was logged in between."""
    waits = "\n".join(f"INFO 11-26 16:28:12 [launcher.py:5] waiting {n}" for n in range(60))
    raised = 'Traceback (most recent call last):\n  File "x.py", line 5\nRuntimeError: the first'
    led = 'Traceback (most recent call last):\n  File "x.py", line 5\nRuntimeError: the second'
    log = f"{raised}\n{led}\n{waits}"
    cause = causes.find(log)
    assert cause and cause.lines[0] == "RuntimeError: the first" and not cause.sure
    cause = causes.find(
        f"{log}\nRuntimeError: Engine core initialization failed. See root cause above."
    )
    assert cause and cause.lines[0] == "RuntimeError: the first" and cause.sure


def test_errors_of_another_process_do_not_outlive_their_own() -> None:
    """A parent may log on for long after its child has died."""
    waits = "\n".join(f"(APIServer pid=1) INFO 11-26 16:28:{n} [x.py:5] waiting" for n in range(50))
    head = "(EngineCore pid=7) ERROR 11-26 16:28:12 [core.py:5] "
    raised = (
        f'{head}Traceback (most recent call last):\n{head}  File "x.py", line 5\n{head}OSError: x'
    )
    cause = causes.find(
        f"{raised}\n{waits}\n(APIServer pid=1) RuntimeError: Engine core "
        "initialization failed. See root cause above."
    )
    assert cause and cause.lines[0] == "OSError: x" and cause.sure


BARS = (  # of tqdm in its forms, of rich, of Rust's indicatif: with words that errors have, too
    "Loading safetensors checkpoint shards: 100% Completed | 1/1 [00:00<00:00, 15.35it/s]",
    "Fetching missing files: 100%|██████████| 2/2 [00:01<00:00,  1.7it/s]",
    "Loading failed shards:  33%|###3      | 1/3 [00:00<?, ?it/s]",
    "Downloading shards not found: 100% 5/5 [00:00<00:00, 12.5it/s]",
    "Loading missing tensors: 12it [00:00, 15.35it/s]",
    "model.safetensors:  45%|████▌     | 1.21G/2.69G [1:02:01<00:02, 150MB/s]",
    "Loading weights: 37%|███▋  | 100/272 [00:01<00:02, 15.2it/s, Materializing missing=model.w]",
    "Missing files ━━━━━━━━━━ 100% 5/5 [ 0:00:01 < 0:00:00 , 5 it/s ]",
    "Unsupported layers ━━━━━━╸━━━━  55% -:--:--",
    "failed [00:00:03] [#########>----------] 72/272 (3s)",
)
ORDINARY = (  # lines that name what errors name, too
    *BARS,
    "reading /weights/model.safetensors",
    "[2026-11-26 16:28:12] server_args=ServerArgs(trust_remote_code=False, max_model_len=2048)",
    "[2026-11-26 16:28:12 TP0] KV Cache is allocated. #tokens: 2048, max total 1.2 GB",
    "[2026-11-26 16:28:12] Ignore import error when loading sgl.x: No module named 'vllm'",
    "maximum sequence length: 2048",
)
OF_NAMES = (  # errors that are known by such a name alone
    "safetensors: incomplete metadata, file not fully covered",
    "model.safetensors is truncated",
    "Please pass the argument `trust_remote_code=True` to allow custom code to be run.",
    "User-specified max_model_len (99999) is greater than the derived max_model_len",
    "2.0 GiB KV cache is needed, which is larger than the available KV cache memory (1.0 GiB)",
    "NVRM: Xid (PCI:0000:01:00): 31, Ch 00000010, MMU Fault",
)
LAST = (  # what a process says at its end, and in which words it is found
    ("terminate called after throwing an error\n  what():  no bytes", "what():  no bytes"),
    ("safetensors_rust.SafetensorError: HeaderTooLarge", "safetensors_rust.SafetensorError: "),
    ('Traceback (most recent call last):\n  File "x", line 5\nOSError: x', "OSError: x"),
    ("ERROR 11-28 14:24:57 [core.py:1330] out of memory", "out of memory"),
    ("Killed", "Killed"),
)


@pytest.mark.parametrize("between", ["", " ", "\r", "\n"])
@pytest.mark.parametrize(("said", "found"), LAST)
@pytest.mark.parametrize("bar", BARS)
def test_a_bar_does_not_hide_what_is_said_behind_it(
    bar: str, said: str, found: str, between: str
) -> None:
    """A bar ends without a line break, so that an error may stand in its line."""
    cause = causes.find(f"a server starts\n{bar}{between}{said}")
    assert cause and cause.lines[0].startswith(found), cause


@pytest.mark.parametrize("error", OF_NAMES)
def test_an_error_that_is_known_by_a_name_is_still_found(error: str) -> None:
    cause = causes.find(f"a server starts\n{error}\nKilled")
    assert cause and cause.lines[0] == error and cause.remedy


@pytest.mark.parametrize("line", ORDINARY)
def test_an_ordinary_line_near_the_end_hides_no_cause(line: str) -> None:
    cause = causes.find(
        f'{line}\nTraceback (most recent call last):\n  File "x", line 5\nOSError: x'
    )
    assert cause and cause.lines[0] == "OSError: x"


@pytest.mark.parametrize(
    "log",
    [
        "",
        "\n\n",
        "listening on 8080",
        "INFO: error handlers installed",
        "WARNING 11-26 16:28:06 [x.py:1] Failed to import from vllm._C",
        logs.llama_loader(),
        "loopback: scripted death at start",
        *ORDINARY,
    ],
)
def test_logs_without_a_cause(log: str) -> None:
    assert causes.find(log) is None


# --- hostile and damaged --------------------------------------------------------------------


def test_control_characters_never_reach_the_terminal() -> None:
    evil = 'Traceback (most recent call last):\n  File "x", line 1\n\x1b[2J\x1b]0;owned\x07'
    cause = causes.find(f"{evil}ValueError: \x1b[31m\u202ered\u200b\x9b1m \x00and \x08more")
    assert cause and cause.lines[0] == "ValueError: red and more"


def test_lines_are_short_and_few() -> None:
    cause = causes.find("error: " + "x" * 10_000 + "\n" + "error: y\n" * 99)
    assert cause and len(cause.lines) <= 4 and max(map(len, cause.lines)) <= 300


@pytest.mark.heavy
@pytest.mark.parametrize(
    "unit",
    [
        "(",
        "(a pid=1) ",
        "Traceback (most recent call last):\n",
        '  File "x", line 1\n',
        "error: ",
        "[2026-11-26 16:28:12 ",
        'level=ERROR msg="',
        '\\"',
        "Caused by:\n",
        "a.",
        "\r",
        "| ",
        "The above exception was the direct cause\n",
        "Traceback (most recent call last):\nE: x\n",
    ],
)
def test_no_text_takes_long(unit: str) -> None:
    """Linear in the text, and quick: 400 kB of whatever a program may print."""
    import time

    begun = time.process_time()
    causes.find(unit * (400_000 // len(unit)))
    assert time.process_time() - begun < 30


@pytest.mark.slow
def test_a_large_file_is_read_at_both_ends(tmp_path: Path) -> None:
    path = tmp_path / "container.log"
    noise = b"listening\n" * 1_200_000
    path.write_bytes(b"error: at the beginning\n" + noise)
    cause = causes.read(path)
    assert cause and "at the beginning" in cause.lines[0]
    path.write_bytes(noise + b"error: \xff at the end\n")
    cause = causes.read(path)
    assert cause and "at the end" in cause.lines[0]
    assert causes.read(tmp_path / "missing") is None
