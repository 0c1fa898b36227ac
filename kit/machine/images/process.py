"""Start apt and pip for images, follow what they print, and explain their failures."""

from __future__ import annotations

import os
import subprocess
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

from kit.core.errors import ImageUnavailable

KEEP_LINES = 8
KEEP_CHARS = 200


def run(
    argv: Sequence[str],
    *,
    failure: str,
    remedy: str,
    env: dict[str, str] | None = None,
    on_line: Callable[[str], None] | None = None,
    stdin: str = "",
) -> str:
    """Run ``argv`` to its end and return what it printed (stdout and stderr together).

    ``env`` is the whole environment; without it the program has kit's own. ``stdin`` is its input.
    ``on_line`` is called with every line as it comes. The program ends with kit, however kit ends,
    so that nothing continues in the background.

    Raises:
        ImageUnavailable: the program is not installed, or failed; the message is ``failure`` and
            the last lines, the remedy ``remedy``.
    """
    lines: list[str] = []
    with _started(argv, env) as process:
        try:
            assert process.stdout is not None and process.stdin is not None
            with suppress(BrokenPipeError):
                process.stdin.write(stdin)
            process.stdin.close()
            for line in process.stdout:
                lines.append(line)
                if on_line:
                    on_line(line.rstrip())
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        raise ImageUnavailable(f"{failure}: {_last(lines)}", remedy)
    return "".join(lines)


def _started(argv: Sequence[str], env: dict[str, str] | None) -> subprocess.Popen[str]:
    """``argv`` started without a terminal: a question would hang the build."""
    try:
        return subprocess.Popen(
            list(argv),
            env={**os.environ, "LC_ALL": "C.UTF-8"} if env is None else env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
    except FileNotFoundError as error:
        raise ImageUnavailable(
            f"{argv[0]} is not installed, and kit needs it to build an image",
            "install it, or load a saved image into the engine",
        ) from error


def _last(lines: list[str]) -> str:
    """The last lines that are not empty, joined to one."""
    last_lines = deque(
        (line.strip()[:KEEP_CHARS] for line in lines if line.strip()), maxlen=KEEP_LINES
    )
    return " / ".join(last_lines) or "it printed nothing"
