"""Known causes of a runtime's death: the words in its log, and the remedy."""

from __future__ import annotations

import re

# In order: the first that fits a line gives the remedy.
_CAUSES: tuple[tuple[str, str], ...] = (
    (
        r"invalid magic characters: '?vers|version https://git-lfs",
        "the file is a Git LFS pointer and not the weights: fetch it with `kit weights add`",
    ),
    (
        r"lib(?:cuda|nvidia-ml|nvcuda)\.so[\w.]*: cannot open",
        "the container sees no NVIDIA driver: set devices.gpus in the spec; `kit doctor` looks at "
        "the engine's GPU support",
    ),
    (
        r"ldconfig: Can't open cache file|/sbin/ldconfig', '-p'\]' returned non-zero",
        "the image has no cache of the dynamic linker: take kit's present image, or run `ldconfig` "
        "where yours is made",
    ),
    (
        r"version [`'\"]?(?:GLIBC|GLIBCXX|CXXABI)_[\w.]+'? not found",
        "the program needs a newer C or C++ library than its image has: rebuild the image on a "
        "newer base",
    ),
    (
        r"cannot open shared object file|error while loading shared libraries|undefined symbol:",
        "the image lacks this library, or has another version of it: rebuild the image",
    ),
    (
        r"driver version is insufficient|driver on your system is too old|forward compatibility "
        r"was attempted|unsupported display driver|CUDA_ERROR_SYSTEM_DRIVER_MISMATCH|"
        r"unsatisfied condition: cuda|provided PTX was compiled with an unsupported toolchain",
        "the image needs another NVIDIA driver than this machine has: update the driver, or take "
        "an image for an older CUDA",
    ),
    (
        r"no kernel image is available|compute capability of at least|not compatible with the "
        r"current PyTorch installation|CUDA_ERROR_NO_BINARY_FOR_GPU|Unsupported GPU architecture",
        "the image has no code for this GPU: take one that was built for it, or another dtype",
    ),
    (
        r"no CUDA-capable device|no CUDA GPUs are available|Found no NVIDIA driver|no CUDA devices"
        r"|Failed to infer device type|not compiled with CUDA enabled|No supported GPU|no usable "
        r"GPU|No HIP GPUs|CUDA_ERROR_NO_DEVICE|CUDA is not available",
        "the runtime sees no GPU: set devices.gpus in the spec; `kit doctor` looks at the engine's "
        "GPU support",
    ),
    (
        r"No available memory for the cache blocks|needed, which is larger than the available KV "
        r"cache|KV cache is needed",
        "the cache for keys and values is too small for one sequence, or does not fit: raise or "
        "lower kv_cache_mib, or lower the context, in runtime.options",
    ),
    (
        r"Available memory on node \d+ .* is less than desired",
        "other programs use this machine's memory: end them, or take a smaller model",
    ),
    (
        r"CUDA out of memory|CUDA error: out of memory|cudaMalloc failed|CUDA_ERROR_OUT_OF_MEMORY"
        r"|cudaErrorMemoryAllocation|torch\.(?:cuda\.)?OutOfMemoryError|HIP out of memory"
        r"|Free memory on device|unable to allocate (?:CUDA|ROCm|Vulkan|Metal)"
        r"|failed to allocate (?:CUDA|ROCm|Vulkan)|ErrorOutOfDeviceMemory"
        r"|Not enough memory\. Please try to increase --mem-fraction-static|insufficient VRAM",
        "the GPU's memory is too small or in use: end what uses it (`nvidia-smi`), lower the "
        "context or the share of memory that the runtime claims, or take a smaller model",
    ),
    (
        r"Bus error|insufficient shared memory|/dev/shm.*(?:No space|too small)|shm_open|"
        r"unable to (?:open|mmap|resize).*shared memory|NCCL (?:error|WARN)|ncclSystemError|"
        r"ncclUnhandledCudaError",
        "raise limits.shm_mib in the spec: processes of this runtime share memory",
    ),
    (
        r"\bout of memory\b|insufficient memory|bad_alloc|failed to allocate|cannot allocate memory"
        r"|can't allocate memory|\bMemoryError\b|unable to allocate|memory allocation of \d+ bytes"
        r" failed|ErrnoENOMEM|\bENOMEM\b|^Killed$|requires more system memory|mlock failed",
        "raise limits.memory_mib in the spec, or lower the context",
    ),
    (
        r"address already in use|address in use|EADDRINUSE|couldn'?t bind|error while attempting "
        r"to bind|bind\(\) failed|failed to bind|AddrInUse",
        "stop what uses the port: `ss -ltnp` shows it",
    ),
    (
        r"Illegal instruction|SIGILL|lacks AVX|requires AVX|does not support AVX|AVX2? is not "
        r"supported",
        "this CPU lacks instructions that the image was built for: take an image that was built "
        "for older CPUs",
    ),
    (
        r"exec format error",
        "the image was built for another kind of CPU than this machine has",
    ),
    (
        r"max_model_len|max seq len|maximum model length|maximum sequence length|derived max_model"
        r"|context (?:length|size) .*(?:exceed|too (?:large|long))|KV cache .*max",
        "lower the context length in runtime.options, or give the runtime more memory",
    ),
    (
        r"unrecognized arg|unrecognised arg|invalid argument: -|error: argument|unknown argument"
        r"|unexpected argument|no such option|invalid choice|error while handling argument"
        r"|unknown option|unknown flag|flag provided but not defined|invalid value '"
        r"|unexpected keyword argument|expected one argument|arguments are required",
        "look at runtime.options in the spec: this runtime does not take one of them",
    ),
    (
        r"trust_remote_code",
        "the model brings code of its own, which kit does not run: take another model",
    ),
    (
        r"unknown (?:model )?architecture|invalid magic|not a (?:valid )?GGUF|bad magic|failed to "
        r"(?:read magic|load tensor|read tensor|load model metadata)|wrong number of tensors|"
        r"data is not within the file bounds|corrupted or incomplete|Safetensor|header ?too ?"
        r"(?:large|small)|HeaderTooLarge|MetadataIncompleteBuffer|invalid load key|UnpicklingError"
        r"|are not supported for now|does not recognize this architecture|unknown pre-tokenizer"
        r"|failed to be inspected|cannot serve /weights|missing tensor|tensor '[^']*' (?:not found"
        r"|has wrong shape)|unsupported model|Unrecognized model|unknown quantization|size mismatch"
        r" for |invalid gguf|InvalidHeader|unsupported file (?:version|magic)|key not found in "
        r"model|error loading model (?:architecture|hyperparameters|vocabulary)",
        "the runtime cannot read these weights: look at weights.files, and at whether this version "
        "of the runtime knows the model",
    ),
    (
        r"couldn't connect to|offline mode|LocalEntryNotFound|name resolution|Name or service not "
        r"known|Network is unreachable|gated repo|GatedRepo|RepositoryNotFound|401 Client Error"
        r"|Max retries exceeded|ConnectTimeout|no such host|dial tcp|failed to lookup address"
        r"|cannot find the requested files in the (?:disk|local) cache",
        "the runtime wanted to fetch something and has no way out: list every file that it needs "
        "in weights.files",
    ),
    (
        r"Read-only file system|ReadOnlyFilesystem",
        "a container writes to /tmp alone: point the runtime's caches there in runtime.options",
    ),
    (
        r"No space left on device|StorageFull",
        "the container's /tmp holds 256 MiB; the runtime needs more",
    ),
    (
        r"permission denied|EACCES|cannot read the model|Operation not permitted",
        "make the weights readable for everyone (`chmod o+r`); a container writes to /tmp alone",
    ),
    (
        r"No module named|ModuleNotFoundError|cannot import name|DistributionNotFound|"
        r"PackageNotFoundError",
        "the image lacks a Python package, or has another version of it: rebuild the image",
    ),
    (
        r"can't start new thread|Resource temporarily unavailable|pthread_create|RLIMIT_NPROC"
        r"|libgomp: Thread creation failed",
        "raise limits.pids in the spec: this runtime starts many threads",
    ),
    (
        r"ECC error|\bXid\b|unspecified launch failure|illegal memory access|device-side assert"
        r"|fallen off the bus|uncorrectable|CUDA_ERROR_(?:LAUNCH_FAILED|ECC|ILLEGAL_ADDRESS)",
        "look at the GPU: `nvidia-smi -q`, `dmesg`",
    ),
    (
        r"No such file or directory|FileNotFoundError|does not appear to have a file named"
        r"|file not found|failed to open|model path does not exist|os error 2\b|is not a (?:local "
        r"folder|directory)|Can't load (?:tokenizer|config)|no file named"
        r"|Couldn't instantiate the backend tokenizer",
        "the runtime looks for a file that is not in the container: look at weights.files",
    ),
    (
        r"Bfloat16 is only supported|unsupported dtype|not implemented for '(?:Half|BFloat16)'"
        r"|fp16 is not supported|quantization .*not supported|Unsupported quantization",
        "set another dtype or quantization in runtime.options",
    ),
    (r"Segmentation fault|SIGSEGV", "the runtime crashed: try another version of its image"),
)

# Words that only pass on that something else went wrong.
_PASSING_ON = re.compile(
    r"Engine core initialization failed|root cause above|See stack trace|EngineDeadError"
    r"|EngineCore (?:encountered|failed|died|hit)|Engine process failed to start|background "
    r"(?:process|loop|task)|WorkerProc (?:initialization|failed|hit)|failed core proc|"
    r"ProcessExitedException|process \d+ terminated|ChildFailedError|ChildProcessError|"
    r"exited unexpectedly|died unexpectedly|Failed to load model from file|Failed to create "
    r"(?:llama_)?context|Application startup failed|exiting due to|failed to load model\b"
    r"|unable to load model|could not load model|error loading llama server"
    r"|failed to initialize the context"
    r"|runner process (?:has terminated|no longer running)|ExceptionGroup|unhandled errors in a "
    r"TaskGroup|Received sigquit|child (?:process )?(?:failed|died)|leaked |multiprocessing\."
    r"|resource_tracker|^SystemExit|^KeyboardInterrupt|CancelledError|^BrokenPipeError|"
    r"^ConnectionResetError|^EOFError|ConnectionRefused|shutting down|is dead\b|Exception in "
    r"(?:thread|ASGI|callback|worker)|^Error in |Scheduler hit an exception|Initialization failed\."
    r"|initialize: failed|failed to init(?:ialize)? (?:model|engine)|load_model: failed|Rank 0 "
    r"scheduler is dead|Worker failed with error|raise e\b|failed to start\b|did not start|"
    r"shutdown|Worker proc \S+ died|Failed core|^Aborted(?: \(core dumped\))?$|^error: failed to "
    r"load|init: error|RPC call|loading failed|^load_model_from_file",
    re.IGNORECASE,
)


# Names of settings and formats: the error of one names it, and so do many ordinary lines.
_NAMES = re.compile(
    r"safe_?tensors?(?!\w*Error)|trust_remote_code|max_model_len|max seq len|KV cache"
    r"|maximum (?:model|sequence) length",
    re.IGNORECASE,
)
# What a line says of such a name where it is an error.
_AMISS = re.compile(
    r"\b(?:(?:larger|greater|longer|more|less) than|exceed\w*|too (?:large|small|long)|needed|must"
    r"|cannot|can't|failed|invalid|mismatch|bad|corrupt\w*|truncated|incomplete|requires?|please"
    r"|unsupported|not (?:supported|found|fully)|missing)\b",
    re.IGNORECASE,
)


def is_error(line: str) -> bool:
    """Whether a line by itself is an error that is known: more than a name of what can fail.

    A line that names such a thing is one if it also says what is amiss with it.
    """
    return bool(remedy(_NAMES.sub("", line)) or (_AMISS.search(line) and remedy(line)))


def remedy(line: str) -> str:
    """What to do about a line; empty where nothing is known."""
    # `re` compiles a pattern at its first use: every command imports this module, few read a log.
    return next((text for words, text in _CAUSES if re.search(words, line, re.IGNORECASE)), "")


def passes_on(line: str) -> bool:
    """Whether a line says no more than that something else failed."""
    return bool(_PASSING_ON.search(line)) and not _names_its_cause(line)


def _names_its_cause(line: str) -> bool:
    """``… process has terminated: cudaMalloc failed: out of memory`` does."""
    _, _, rest = line.partition(": ")
    message = re.sub(_PASSING_ON, "", rest)
    return bool(remedy(message))
