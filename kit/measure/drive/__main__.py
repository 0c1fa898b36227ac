"""``python -m kit.measure.drive CONFIG.json``: the driver process; see `kit.measure.drive`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

from kit.machine.host.cpus import format_set, parse_set
from kit.measure.drive.client import Client

_ENDS = ("abort", "end")


def say(line: dict[str, Any]) -> None:
    """Print one JSON line for the runner; the EOF of stdin shows when the runner is gone."""
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


class Commands:
    """The runner's commands on stdin, one a line; ``end`` means EOF."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[str] = asyncio.Queue()

    async def listen(self) -> None:
        """Read stdin until its end."""
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        async for line in reader:
            self._queue.put_nowait(line.decode().strip())
        self._queue.put_nowait("end")

    async def next(self) -> str:
        """The next line."""
        return await self._queue.get()


async def serve(client: Client) -> None:
    """Execute the commands of stdin until it ends; ``abort`` and EOF stop a running stage."""
    commands = Commands()
    listening = asyncio.create_task(commands.listen())
    say({"event": "ready"})
    ended = False
    while not ended and (command := await commands.next()) not in _ENDS:
        verb, _, name = command.partition(" ")
        if verb == "stage":
            ended = await run_stage(client, name, commands)
        elif verb == "recount":
            await client.recount()
            say({"event": "recounted"})
    listening.cancel()
    client.close()


async def run_stage(client: Client, name: str, commands: Commands) -> bool:
    """Send a stage and report it; returns whether the runner stopped it.

    ``sent`` is printed when the last request is done, ``stage`` when everything is parsed and on
    disk: the runner ends its phase in between.
    """
    stage = asyncio.create_task(client.send(name, say))
    end = asyncio.create_task(commands.next())
    await asyncio.wait({stage, end}, return_when=asyncio.FIRST_COMPLETED)
    cut_off = end.done()
    if cut_off:
        client.abort()
    else:
        end.cancel()
    await stage
    say({"event": "sent", "stage": name})
    say({"event": "stage", **client.report(name)})
    return cut_off


def settle(cpus: str) -> dict[str, Any]:
    """Set the CPUs and the limit of open connections; returns the outcome."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 1 << 20)), hard))
    problem: dict[str, str] = {}
    try:
        os.sched_setaffinity(0, parse_set(cpus))
    except (OSError, ValueError) as error:
        problem = {"problem": str(error)}
    return {"asked": cpus, "got": format_set(os.sched_getaffinity(0)), **problem}


def main() -> int:
    """Drive until the runner ends it; an error is the last line of stderr."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        config = json.loads(Path(sys.argv[1]).read_text())
        asyncio.run(serve(Client(config, settle(config["cpus"]))))
    except OSError as error:
        sys.stderr.write(f"the requests cannot be recorded: {error.strerror or error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
