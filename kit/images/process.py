"""Start the programs that build images, follow what they print, and explain their failures."""

from __future__ import annotations

import os
import subprocess
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from kit.errors import ImageUnavailable

KEEP_LINES = 8
_PASSED = (
    "HOME",
    "TMPDIR",
    "XDG_RUNTIME_DIR",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
)
_SBIN = ":/usr/local/sbin:/usr/sbin:/sbin"
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

    ``env`` is the whole environment where given (see `clean`), else the program has kit's own.
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


def clean(**extra: str) -> dict[str, str]:
    """An environment without this person's settings, which would get into what is built.

    A PYTHONDONTWRITEBYTECODE seen by one machine and not by another is enough to make two images.
    """
    passed = {key: os.environ[key] for key in _PASSED if key in os.environ}
    path = os.environ.get("PATH", "/usr/bin:/bin") + _SBIN
    fixed = {"LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0"}
    return {**passed, **fixed, "PATH": path, **extra}


def _started(
    argv: Sequence[str], cwd: Path | None, env: dict[str, str] | None
) -> subprocess.Popen[str]:
    """``argv`` started with no stdin: a question would hang the build.

    The umask is fixed: a file that its group may write makes another layer.
    """
    try:
        return subprocess.Popen(
            list(argv),
            cwd=cwd,
            env={**os.environ, "LC_ALL": "C.UTF-8"} if env is None else env,
            umask=0o022,
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
