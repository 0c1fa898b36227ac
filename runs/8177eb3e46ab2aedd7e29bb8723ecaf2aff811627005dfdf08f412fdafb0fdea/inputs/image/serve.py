#!/usr/bin/python3
"""llama.cpp's native HTTP server, started from the xllamacpp wheel with llama-server's own flags.

The wheel carries llama.cpp's C++ server (the code behind `llama-server`) as a library; this
script is the little main() that it lacks. Flags, all with llama-server's names and meanings::

    -m,  --model PATH          the GGUF file (required)
    -a,  --alias NAME          the model's name in answers
    -c,  --ctx-size N          context in tokens, over all slots (default: the model's own)
    -np, --parallel N          slots decoded side by side (default 1)
    -t,  --threads N           threads that decode (default: the CPUs this process may use)
    -tb, --threads-batch N     threads that prefill (default: --threads)
    -b,  --batch-size N        logical batch (default 2048)
    -ub, --ubatch-size N       physical batch (default 512)
    -s,  --seed N              default sampling seed (default: random)
    -ngl, --n-gpu-layers N     layers kept on the GPU (default: -1, as many as fit)
    -fa, --flash-attn MODE     on | off | auto (default auto)
         --no-cache-prompt     no prompt is reused by a later request, in a slot or in RAM
         --host ADDRESS        where to listen (default 0.0.0.0)
         --port N              (default 8080)

Two things differ from llama-server on purpose: nothing is fitted to the free memory of the
moment (`--fit off`), and there is no web page, so that equal flags mean equal work.

Answers on `/health` (503 while loading), `/props`, `/v1/chat/completions`, `/v1/completions`,
`/tokenize`, … Ends with 0 on SIGTERM or SIGINT, with 1 and one line on stderr where the model
cannot be loaded or the port is taken, with 2 on a bad flag.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys


def flags() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="llama-server", allow_abbrev=False)
    add = parser.add_argument
    add("-m", "--model", required=True)
    add("-a", "--alias")
    add("-c", "--ctx-size", type=int, default=0)
    add("-np", "--parallel", type=int, default=1)
    add("-t", "--threads", type=int, default=len(os.sched_getaffinity(0)))
    add("-tb", "--threads-batch", type=int)
    add("-b", "--batch-size", type=int, default=2048)
    add("-ub", "--ubatch-size", type=int, default=512)
    add("-s", "--seed", type=int)
    add("-ngl", "--n-gpu-layers", type=int, default=-1)
    add("-fa", "--flash-attn", choices=("on", "off", "auto"), default="auto")
    add("--no-cache-prompt", action="store_true")
    add("--host", default="0.0.0.0")
    add("--port", type=int, default=8080)
    return parser


def params(args: argparse.Namespace):
    """llama.cpp's parameters for these flags."""
    import xllamacpp

    p = xllamacpp.CommonParams()
    p.model.path = args.model
    if args.alias:
        p.model_alias = {args.alias}
    p.hostnames, p.port = [args.host], args.port
    p.n_ctx, p.n_parallel = args.ctx_size, args.parallel
    p.n_batch, p.n_ubatch = args.batch_size, args.ubatch_size
    p.cpuparams.n_threads = args.threads
    p.cpuparams_batch.n_threads = args.threads_batch or args.threads
    p.n_gpu_layers = args.n_gpu_layers
    p.flash_attn_type = getattr(
        xllamacpp.llama_flash_attn_type,
        {"on": "LLAMA_FLASH_ATTN_TYPE_ENABLED", "off": "LLAMA_FLASH_ATTN_TYPE_DISABLED"}.get(
            args.flash_attn, "LLAMA_FLASH_ATTN_TYPE_AUTO"
        ),
    )
    if args.seed is not None:
        p.sampling.seed = args.seed
    if args.no_cache_prompt:
        p.cache_prompt, p.cache_ram_mib, p.cache_idle_slots = False, 0, False
    p.fit_params = False
    p.ui = False
    return p


def main() -> int:
    args = flags().parse_args()
    # Blocked before the server starts its threads, so that they inherit it and the signal waits
    # for sigwait below instead of killing a thread of the server.
    ending = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ending)
    if not os.access(args.model, os.R_OK):
        print(f"llama-server: cannot read the model {args.model}", file=sys.stderr)
        return 1
    import xllamacpp

    try:
        server = xllamacpp.Server(params(args))
    except Exception as error:
        print(f"llama-server: cannot serve {args.model}: {error}", file=sys.stderr)
        return 1
    print(f"llama-server: listening on {server.listening_address}", file=sys.stderr, flush=True)
    signal.sigwait(ending)
    # Its destructor waits for idle connections; the requests are over, so end at once.
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
