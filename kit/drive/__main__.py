"""``python -m kit.drive CONFIG.json``: the driver process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from kit.drive.client import Client
from kit.host.cpus import parse_set


def say(line: dict[str, Any]) -> None:
    """One JSON line for the engine; an engine that is gone is noticed at stdin's EOF."""
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


async def words() -> asyncio.Queue[str]:
    """Lines of stdin as a queue; ``abort`` stands for EOF."""
    queue: asyncio.Queue[str] = asyncio.Queue()
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)

    async def pump() -> None:
        async for line in reader:
            queue.put_nowait(line.decode().strip())
        queue.put_nowait("end")

    queue.pump = asyncio.create_task(pump())  # type: ignore[attr-defined]
    return queue


async def serve(config: dict[str, Any]) -> None:
    """Do what stdin says until it ends; ``abort`` and EOF cut a running stage off."""
    client = Client(config)
    said = await words()
    say({"event": "ready"})
    while (word := await said.get()) not in ("end", "abort"):
        verb, _, name = word.partition(" ")
        if verb == "stage":
            stage = asyncio.create_task(client.stage(name, say))
            listen = asyncio.create_task(said.get())
            await asyncio.wait({stage, listen}, return_when=asyncio.FIRST_COMPLETED)
            if not stage.done():
                client.abort()
            say({"event": "stage", **await stage})
            if listen.done():
                return
            listen.cancel()
        elif verb == "recount":
            await client.recount()
            say({"event": "recounted"})


def main() -> None:
    config = json.loads(Path(sys.argv[1]).read_text())
    with contextlib.suppress(OSError, ValueError):
        os.sched_setaffinity(0, parse_set(config["cpus"]))
    asyncio.run(serve(config))


if __name__ == "__main__":
    main()
