"""Logs of runtimes that died, written in the forms in which these programs log.

Each is the beginning of a start-up, the fault, and the much that follows it: parent processes that
fail in turn, dumps of stacks, shutdown. The fault stands far above the end.
"""

from __future__ import annotations

CLOCK = "11-26 16:28:"


def numbered(template: str, count: int) -> str:
    return "\n".join(template.format(n=n) for n in range(count))


# --- vLLM: a parent (APIServer), EngineCore, workers ------------------------------------------


def vllm(process: str, error: str, frames: int = 14) -> str:
    """A start-up in which ``process`` raises ``error`` and everything above it fails in turn."""
    return "\n".join(
        [
            _vllm_begins(),
            _vllm_traceback(process, error, frames),
            _vllm_core_fails(),
            _vllm_server_fails(),
        ]
    )


def _api(text: str, level: str = "INFO", at: str = "12") -> str:
    return f"(APIServer pid=1) {level} {CLOCK}{at} [api_server.py:1839] {text}"


def _core(text: str, level: str = "INFO", tag: str = "EngineCore_DP0 pid=71") -> str:
    return f"({tag}) {level} {CLOCK}20 [core.py:866] {text}"


def _vllm_begins() -> str:
    return "\n".join(
        [
            f"INFO {CLOCK}05 [__init__.py:216] Automatically detected platform cuda.",
            f"WARNING {CLOCK}06 [interface.py:171] Failed to import from vllm._C: "
            "ImportError('libcuda.so.1: cannot open shared object file: No such file')",
            _api("vLLM API server version 0.26.0"),
            _api("non-default args: {'model': '/weights', 'max_model_len': 2048}"),
            _api("Resolved architecture: LlamaForCausalLM"),
            _api("Using max model len 2048"),
            _api("Chunked prefill is enabled with max_num_batched_tokens=2048."),
            _core("Waiting for init message from front-end."),
            _core(
                "Initializing a V1 LLM engine (v0.26.0) with config: model='/weights', "
                "speculative_config=None, tokenizer='/weights', dtype=torch.bfloat16"
            ),
            "[Gloo] Rank 0 is connected to 0 peer ranks. Expected number of connected peers: 0",
            *[_core(f"Loading safetensors checkpoint shards: {n}/8") for n in range(9)],
        ]
    )


def _vllm_traceback(process: str, error: str, frames: int) -> str:
    say = lambda text: _core(text, "ERROR", process)  # noqa: E731
    lines = [say("EngineCore failed to start."), say("Traceback (most recent call last):")]
    for n in range(frames):
        path = f"/usr/local/lib/python3.12/site-packages/vllm/v1/worker/part_{n}.py"
        lines.append(say(f'  File "{path}", line {100 + n}, in step_{n}'))
        lines.append(say(f"    self.failed_to_run(step={n})  # raise RuntimeError('not this')"))
        lines.append(say("    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^"))
    return "\n".join([*lines, *[say(part) for part in error.split("\n")]])


def _vllm_core_fails() -> str:
    head = "(EngineCore_DP0 pid=71) "
    frames = [
        f'{head}  File "/usr/lib/python3.12/multiprocessing/process.py", line {n}, in run\n'
        f"{head}    self._target(*self._args, **self._kwargs)"
        for n in range(300, 306)
    ]
    wrapper = f"{head}RuntimeError: WorkerProc initialization failed due to an exception in a "
    wrapper += "background process. See stack trace for root cause."
    return "\n".join(
        [
            f"{head}Process EngineCore_DP0:",
            f"{head}Traceback (most recent call last):",
            *frames,
            wrapper,
            "[rank0]:[W1126 16:28:21.123456789 ProcessGroupNCCL.cpp:1538] Warning: WARNING: "
            "destroy_process_group() was not called before program exit, which can leak resources.",
        ]
    )


def _vllm_server_fails() -> str:
    head = "(APIServer pid=1) "
    frames = "\n".join(
        f'{head}  File "/usr/local/lib/python3.12/site-packages/vllm/entrypoints/cli/serve.py", '
        f"line {n}, in cmd\n{head}    uvloop.run(run_server(args))\n{head}           ^^^^^^^^^^^^^^"
        for n in range(40, 58)
    )
    return "\n".join(
        [
            f"{head}Traceback (most recent call last):",
            frames,
            f"{head}RuntimeError: Engine core initialization failed. See root cause above. "
            "Failed core proc(s): {}",
            "/usr/lib/python3.12/multiprocessing/resource_tracker.py:279: UserWarning: "
            "resource_tracker: There appear to be 1 leaked shared_memory objects to clean up",
            "  warnings.warn('resource_tracker: There appear to be %d '",
        ]
    )


def vllm_old(error: str) -> str:
    """Before processes were named in the log: levels alone."""
    say = lambda text, level="ERROR": f"{level} {CLOCK}20 core.py:396] {text}"  # noqa: E731
    frames = [
        line
        for n in range(20)
        for line in (
            say(f'  File "/opt/vllm/engine/part_{n}.py", line {n}, in run'),
            say("    return func(*args, **kwargs)"),
        )
    ]
    tail = [
        "Process EngineCore_0:",
        "Traceback (most recent call last):",
        *[
            f'  File "/usr/lib/python3.11/multiprocessing/process.py", line {n}, in _bootstrap\n'
            "    self.run()"
            for n in range(20)
        ],
        error,
        "Traceback (most recent call last):",
        '  File "<frozen runpy>", line 198, in _run_module_as_main',
        *['  File "/opt/vllm/entrypoints/openai/api_server.py", line 1, in <module>'] * 8,
        "RuntimeError: Engine core initialization failed. See root cause above.",
    ]
    begins = [say(f"Loading model weights took {n}.1 GiB", "INFO") for n in range(15)]
    head = [say("EngineCore hit an exception: Traceback (most recent call last):")]
    return "\n".join([*begins, *head, *frames, say(error), *tail])


def sglang(error: str) -> str:
    at = "[2026-11-26 16:28:20 TP0]"
    frames = [
        f'  File "/sgl/srt/managers/scheduler.py", line {n}, in run\n    self.step()'
        for n in range(30)
    ]
    return "\n".join(
        [
            *[f"{at} Load weight begin. avail mem={n}.1 GB" for n in range(20)],
            f"{at} Scheduler hit an exception: Traceback (most recent call last):",
            *frames,
            error,
            "",
            "[2026-11-26 16:28:21] Received sigquit from a child process. It usually means the "
            "child failed.",
            "Killed",
        ]
    )


# --- Python servers in one process ------------------------------------------------------------


def transformers(*chain: tuple[str, str]) -> str:
    """``(how it follows from the one before, exception)`` for each exception of a chain."""
    begins = [
        "INFO:     Started server process [1]",
        "INFO:     Waiting for application startup.",
        "`torch_dtype` is deprecated! Use `dtype` instead!",
        *[f"Loading weights: {n}%|████      | {n}/100 [00:0{n % 9}<00:30]\r" for n in range(40)],
    ]
    lines: list[str] = []
    for how, error in chain:
        lines += ["", how, ""] if how else []
        lines.append("Traceback (most recent call last):")
        for n in range(12):
            path = f"/site-packages/transformers/models/auto/part_{n}.py"
            lines += [f'  File "{path}", line {n}, in from_pretrained', "    raise OSError('no')"]
        lines.append(error)
    return "\n".join([*begins, *lines, "", "ERROR:    Application startup failed. Exiting."])


DIRECT = "The above exception was the direct cause of the following exception:"
DURING = "During handling of the above exception, another exception occurred:"

UVICORN_PORT = "\n".join(
    [
        *[f"INFO:     loading module {n}" for n in range(60)],
        "INFO:     Started server process [1]",
        "INFO:     Application startup complete.",
        "ERROR:    [Errno 98] error while attempting to bind on address ('0.0.0.0', 8000): address "
        "already in use",
        "INFO:     Waiting for application shutdown.",
        "INFO:     Application shutdown complete.",
    ]
)


# --- llama.cpp --------------------------------------------------------------------------------


def llama_begins() -> str:
    return "\n".join(
        [
            "ggml_cuda_init: failed to initialize CUDA: no CUDA-capable device is detected",
            "load_backend: loaded CPU backend from /app/libggml-cpu-haswell.so",
            "build: 6500 (0123abcd) with cc (Debian 12.2.0-14) 12.2.0 for x86_64-linux-gnu",
            "system info: n_threads = 2, n_threads_batch = 2, total_threads = 2",
            "main: binding port with default address family",
            "main: HTTP server is listening, hostname: 0.0.0.0, port: 8080, http threads: 3",
            "main: loading model",
            "srv    load_model: loading model '/weights/model.gguf'",
        ]
    )


def llama_loader() -> str:
    return "\n".join(
        [
            "llama_model_loader: loaded meta data with 33 key-value pairs and 272 tensors",
            numbered("llama_model_loader: - kv  {n:2}: tokenizer.ggml.key_{n} str = value", 33),
            "llama_model_loader: - type  f32:   61 tensors",
            numbered("print_info: n_embd_{n} = 576", 40),
        ]
    )


def llama_server(*fault: str, loader: bool = True) -> str:
    """llama-server, from its start to its last words."""
    parts = [llama_begins(), llama_loader() if loader else "", *fault]
    parts += [
        "llama_model_load_from_file_impl: failed to load model",
        "common_init_from_params: failed to load model '/weights/model.gguf'",
        "srv    load_model: failed to load model, '/weights/model.gguf'",
        "srv    operator(): operator(): cleaning up before exit...",
        "main: exiting due to model loading error",
    ]
    return "\n".join(part for part in parts if part)


def gdb(count: int = 60) -> str:
    """What ggml prints of its threads when it aborts."""
    return "\n".join(
        [
            numbered("[New LWP {n}]", count),
            "[Thread debugging using libthread_db enabled]",
            "0x00007f1b2c0ea1b7 in wait4 () from /lib/x86_64-linux-gnu/libc.so.6",
            numbered("#{n}  0x00007f1b2c0ea1b7 in ggml_abort () from /app/libggml-base.so", count),
            "[Inferior 1 (process 1) detached]",
        ]
    )


CUDA_ABORT = "\n".join(
    [
        llama_begins(),
        llama_loader(),
        "CUDA error: an illegal memory access was encountered",
        "  current device: 0, in function ggml_backend_cuda_synchronize at ggml-cuda.cu:2890",
        "  cudaStreamSynchronize(cuda_ctx->stream())",
        "/app/ggml/src/ggml-cuda/ggml-cuda.cu:88: CUDA error",
        gdb(),
        "Aborted (core dumped)",
    ]
)

TERMINATE = "\n".join(
    [
        llama_begins(),
        llama_loader(),
        "terminate called after throwing an instance of 'std::runtime_error'",
        "  what():  the tokens of this vocabulary do not fit together",
        gdb(30),
    ]
)


def llama_cpp_python(*fault: str) -> str:
    """Python's traceback says no more than that it failed; llama.cpp said why above it."""
    frames = [
        f'  File "/site-packages/llama_cpp/server/part_{n}.py", line {n}, in load\n    _llama(x)'
        for n in range(25)
    ]
    return "\n".join(
        [
            llama_loader(),
            *fault,
            "llama_model_load_from_file_impl: failed to load model",
            "Traceback (most recent call last):",
            '  File "<frozen runpy>", line 198, in _run_module_as_main',
            *frames,
            "ValueError: Failed to load model from file: /weights/model.gguf",
        ]
    )


# --- Ollama and mistral.rs --------------------------------------------------------------------


def slog(level: str, message: str, error: str = "") -> str:
    line = f'time=2026-11-26T16:28:12.123Z level={level} source=server.go:475 msg="{message}"'
    return line + (f' error="{error}"' if error else "")


def ollama(*fault: str) -> str:
    return "\n".join(
        [
            slog("INFO", "server config"),
            "[GIN-debug] [WARNING] Running in debug mode. Switch to release mode in production.",
            numbered("[GIN-debug] GET    /api/part{n} --> server.Handler (5 handlers)", 20),
            slog("INFO", "Listening on [::]:11434 (version 0.33.0)"),
            slog("WARN", "unable to refresh free memory, using old values"),
            llama_loader(),
            *fault,
        ]
    )


GO_PANIC = "\n".join(
    [
        slog("INFO", "starting runner"),
        numbered("llama_model_loader: - kv {n}: key u32 = 5", 30),
        "panic: tensor blk.7.attn_q.weight has 3 dimensions, 2 are expected",
        "",
        "goroutine 1 [running]:",
        *[
            f"github.com/ollama/ollama/runner.load{n}(0xc0001, 0x5)\n"
            f"    /go/src/ollama/runner/runner.go:{n} +0x1a5"
            for n in range(40)
        ],
        "goroutine 17 [select, 2 minutes]:",
        "main.main()",
        "exit status 2",
    ]
)

RUST_PANIC = "\n".join(
    [
        numbered("2026-11-26T16:28:1{n}.123456Z  INFO mistralrs_core::pipeline: Loading {n}", 9),
        "thread 'main' panicked at mistralrs-core/src/pipeline/gguf.rs:388:14:",
        "called `Result::unwrap()` on an `Err` value: "
        'DriverError(CUDA_ERROR_OUT_OF_MEMORY, "out of memory")',
        "stack backtrace:",
        numbered(
            "  {n:2}: core::panicking::panic_fmt\n             at ./rustc/core/src/x.rs:5:14", 40
        ),
        "note: Some details are omitted, run with `RUST_BACKTRACE=full` for a verbose backtrace.",
    ]
)

RUST_CAUSES = "\n".join(
    [
        numbered("2026-11-26T16:28:1{n}.123456Z  INFO mistralrs_core::pipeline: Loading {n}", 9),
        "2026-11-26T16:28:19.000000Z  WARN mistralrs_core: no GPU was found, using the CPU",
        "Error: the pipeline could not be built",
        "",
        "Caused by:",
        "    0: cannot load the tokenizer",
        "    1: missing field `rope_theta` at line 5 column 3",
        "",
        "Stack backtrace:",
        numbered("  {n:2}: anyhow::error::from\n             at ./src/error.rs:5:14", 40),
    ]
)
