"""Start the programs that build images, follow what they print, and explain their failures."""

from __future__ import annotations

import os
import subprocess
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from kit.errors import ImageUnavailable

KEEP_LINES = 8
KEEP_CHARS = 200


def run(
    argv: Sequence[str],
    *,
    what: str,
    remedy: str,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    each: Callable[[str], None] | None = None,
) -> str:
    """Run ``argv`` to its end and return what it printed (stdout and stderr together).

    ``each`` is called with every line as it comes. The program is ended with kit, whatever
    ends kit, so that no half-built image goes on in the background.

    Raises:
        ImageUnavailable: the program is not installed, or failed; the message is ``what`` and
            the last lines, the remedy ``remedy``.
    """
    lines: list[str] = []
    with _started(argv, cwd, env) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line)
                if each:
                    each(line.rstrip())
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        raise ImageUnavailable(f"{what}: {_last(lines)}", remedy)
    return "".join(lines)


def _started(
    argv: Sequence[str], cwd: Path | None, env: dict[str, str] | None
) -> subprocess.Popen[str]:
    """``argv`` started in the C locale, with no stdin: a question would hang the build."""
    try:
        return subprocess.Popen(
            list(argv),
            cwd=cwd,
            env={**os.environ, "LC_ALL": "C.UTF-8", **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
    except FileNotFoundError as error:
        raise ImageUnavailable(
            f"{argv[0]} is not installed, and kit needs it to build an image",
            "`make engine` installs it on Debian; or `apt-get install buildah mmdebstrap`",
        ) from error


def _last(lines: list[str]) -> str:
    """The last lines that say something, in one line."""
    kept = deque((line.strip()[:KEEP_CHARS] for line in lines if line.strip()), maxlen=KEEP_LINES)
    return " / ".join(kept) or "it printed nothing"
