"""A draft's file: reading, writing in one step, editing in the person's editor."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import Literal

from kit.core import onestep
from kit.core.errors import UsageError
from kit.spec import spec as specs

Written = Literal["written", "changed", "exists"]
EDITOR = "vi"
ELSEWHERE = "save it under another name"


class SpecFile:
    """A spec's file, and its content when it was last read or written.

    Args:
        path: the file; None if there is none yet.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._held: bytes | None = None

    def read(self) -> str | None:
        """The file's text; None if there is no such file.

        Raises:
            UsageError: it exists but cannot be read.
        """
        if self.path is None or not self.path.exists():
            return None
        data = specs.read(self.path)
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            raise UsageError(
                f"{self.path.name} is not UTF-8 text", "that is no run spec"
            ) from error
        self._held = data
        return text

    def disown(self) -> None:
        """Mark the file as foreign: it is not overwritten without a question."""
        self._held = None

    def write(self, path: Path, text: str, *, force: bool = False) -> Written:
        """Write ``text`` to ``path``, which becomes the draft's file.

        A file that changed since it was read, or another existing file, is not overwritten but
        reported, unless ``force``.

        Raises:
            UsageError: it cannot be written there.
        """
        if not force:
            state = self._state(path)
            if state != "written":
                return state
        onestep.write(path, text.encode(), ELSEWHERE)
        self.path, self._held = path, text.encode()
        return "written"

    def _state(self, path: Path) -> Written:
        if not path.exists():
            return "written"
        if path != self.path or self._held is None:
            return "exists"
        return "written" if specs.read(path) == self._held else "changed"


def edited(text: str, name: str) -> str:
    """``text`` after editing in the person's editor, which has the terminal meanwhile.

    Raises:
        UsageError: the editor cannot be started, or failed.
    """
    chosen = os.environ.get("VISUAL") or os.environ.get("EDITOR") or EDITOR
    with tempfile.TemporaryDirectory(prefix="kit-") as folder:
        file = Path(folder) / name
        file.write_text(text, "utf-8")
        try:
            code = subprocess.run([*shlex.split(chosen), str(file)], check=False).returncode
        except (OSError, ValueError) as error:
            raise UsageError(f"cannot start {chosen}: {error}", "set $EDITOR") from error
        if code:
            raise UsageError(f"{chosen} ended with {code}: nothing is changed", "try again")
        return file.read_text("utf-8", "replace")
