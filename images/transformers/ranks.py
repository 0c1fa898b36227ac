"""One model in several processes, each with a part of every layer (tensor parallelism).

Rank 0 is the server's process. It starts the others, and sends each of them through a pipe what it
runs itself: how to load the model, then one batch after another. In between they wait for the pipe,
not for a collective: on a GPU that would be a kernel that spins. In a batch all ranks take the same
steps. After each, rank 0 gives the others the tokens that it chose, or says that the batch is over.

They meet through a file and the loopback, by NCCL on GPUs and by gloo on a CPU. The ranks live and
die together: the others end when the pipe does, and rank 0 when one of them does.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import pickle
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import Any, NoReturn

OVER = -1  # in place of a token: the batch has ended
ECHO_S = 1.0  # an error may be the echo of another rank's end, which is to be told first


class Ranks:
    """This process among those that share a model; a ``size`` of 1 is a model in one process."""

    def __init__(self, name: str, size: int = 1, rank: int = 0, meeting: str = "") -> None:
        self.size, self.rank = size, rank
        self._name, self._meeting, self._device = name, meeting, ""
        self._pipes: list[Any] = []  # of rank 0, to the others

    def join(self, args: Any, device: str) -> None:
        """Meet the other ranks, which rank 0 starts with its own ``args``."""
        self._device = device
        if self.size == 1:
            return
        import torch

        here = {
            "LOCAL_RANK": str(self.rank),
            "GLOO_SOCKET_IFNAME": "lo",
            "NCCL_SOCKET_IFNAME": "lo",
        }
        os.environ.update(here)
        if self.rank == 0:
            self._meeting = f"file://{tempfile.mkdtemp(prefix='ranks-')}/meeting"
            for rank in range(1, self.size):
                self._start(rank, args)
        if device == "cuda":
            torch.cuda.set_device(self.rank)
        torch.distributed.init_process_group(
            "nccl" if device == "cuda" else "gloo",
            init_method=self._meeting,
            rank=self.rank,
            world_size=self.size,
            timeout=datetime.timedelta(hours=2),  # a rank may load for longer than the others
            device_id=torch.device("cuda", self.rank) if device == "cuda" else None,
        )

    def gathered(self, item: Any) -> list[Any]:
        """What each rank gives, in their order."""
        if self.size == 1:
            return [item]
        import torch

        items = [None] * self.size
        torch.distributed.all_gather_object(items, item)
        return items

    @contextlib.contextmanager
    def batch(self, rows: list[Any]) -> Iterator[None]:
        """Every rank runs the rows, until rank 0 leaves this context."""
        if self.size == 1:
            yield
            return
        import torch

        with self.one_fate():
            for pipe in self._pipes:
                send(pipe, rows)
            try:
                yield
            except GeneratorExit:  # nobody asks for another token
                over = torch.full((len(rows), 1), OVER, device=self._device)
                torch.distributed.broadcast(over, 0)
                raise

    def agree(self, tokens: Any) -> bool:
        """Make ``tokens`` (rows × 1), in place, those of rank 0; whether the batch goes on."""
        if self.size == 1:
            return True
        import torch

        torch.distributed.broadcast(tokens, 0)
        return self.rank == 0 or int(tokens[0, 0]) != OVER

    @contextlib.contextmanager
    def one_fate(self) -> Iterator[None]:
        """An error of one rank is the end of all: they no longer take the same steps."""
        try:
            yield
        except Exception as error:
            if self.size == 1:
                raise
            time.sleep(ECHO_S)
            words = " ".join(str(error).split())[:300]
            self._end(f"rank {self.rank} of {self.size}: {type(error).__name__}: {words}")

    def _start(self, rank: int, args: Any) -> None:
        command = [sys.executable, "-c", "import ranks; ranks.follow()"]
        process = subprocess.Popen(command, stdin=subprocess.PIPE)
        threading.Thread(target=self._watch, args=(rank, process), daemon=True).start()
        self._pipes.append(process.stdin)
        send(process.stdin, (args, (self._name, self.size, rank, self._meeting)))

    def _watch(self, rank: int, process: subprocess.Popen[bytes]) -> None:
        code = process.wait()
        how = f"was killed by signal {-code}" if code < 0 else f"ended with {code}"
        self._end(f"rank {rank} of {self.size} {how}, and its part of the model is gone")

    def _end(self, message: str) -> NoReturn:
        print(f"{self._name}: {message}", file=sys.stderr, flush=True)
        os._exit(1)


def send(pipe: Any, item: Any) -> None:
    pickle.dump(item, pipe)
    pipe.flush()


def follow() -> None:
    """All that a rank other than 0 does."""
    items: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(items,), daemon=True).start()
    import engine

    args, where = items.get()
    ranks = Ranks(*where)
    with ranks.one_fate():
        model = engine.load(args, ranks)
    while True:
        for _ in model.steps(items.get()):
            pass


def _receive(items: queue.SimpleQueue[Any]) -> None:
    """Put what rank 0 sends in line; end the process when rank 0 has ended."""
    try:
        while True:
            items.put(pickle.load(sys.stdin.buffer))
    finally:
        os._exit(0)
