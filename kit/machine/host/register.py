"""Writing host.toml: a folder of model files is registered, all else stays as it is.

The file is replaced in one step. A new one is readable by its owner alone: credentials may follow.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from pathlib import Path
from typing import Any

from kit.core import onestep
from kit.core.errors import UsageError
from kit.core.text import utf8
from kit.machine.host.config import HostConfig, config_path

NEW_MODE = 0o600
_REMEDY = "give write access there"
_SECTION = re.compile(r"^[ \t]*\[[ \t]*weights[ \t]*\][ \t]*(?:#[^\n]*)?\r?$", re.MULTILINE)
_NEXT = re.compile(r"^[ \t]*\[", re.MULTILINE)
_KEY = re.compile(r"^[ \t]*folders[ \t]*=[ \t]*\[", re.MULTILINE)
# A comment, a string of any kind, or one other character of an array.
_TOKEN = re.compile(
    r'#[^\n]*|"""(?:\\.|[^\\])*?"""|\'\'\'.*?\'\'\'|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'|.', re.DOTALL
)


def settings() -> HostConfig:
    """host.toml as it is; the empty one where there is none yet, whatever names its place."""
    path = config_path()
    return HostConfig.load(path) if path.exists() else HostConfig()


def is_registered(folder: Path) -> bool:
    """Whether a run finds the files of this folder."""
    return any(_same(folder, known) for known in settings().weights_folders)


def add_folder(folder: Path) -> Path:
    """Register ``folder`` under ``[weights] folders``; returns the path of host.toml.

    Raises:
        UsageError: the file cannot be read, understood or written; it is then as it was.
    """
    path = config_path()
    if is_registered(folder):
        return path
    name = str(folder.absolute())
    text = _text(path) if path.exists() else ""
    changed = _with_folder(text, name)
    if not _adds(text, changed, name):
        raise UsageError(
            f"{path.name} is written in a way that kit does not change",
            f"add {_quoted(name)} to folders under [weights] in {path} by hand",
        )
    HostConfig.parse(changed, path.name)
    write(path, changed)
    return path


def write(path: Path, text: str) -> None:
    """Write host.toml in one step: the old file or the new one is there, never half of it.

    Raises:
        UsageError: it cannot be written there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}", _REMEDY) from error
    onestep.write(path, text.encode(), _REMEDY, NEW_MODE)


def _same(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _text(path: Path) -> str:
    try:
        return utf8(path.read_bytes()).decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text", "save it as UTF-8") from error
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", "give read access") from error


def _quoted(text: str) -> str:
    """A TOML string."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UsageError(
            f"the folder's name {text!a} is not UTF-8", "make a link of a plain name to it"
        ) from error
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _with_folder(text: str, folder: str) -> str:
    """``text`` with one folder more; whether that is what it says is checked afterwards."""
    end, entry = "\r\n" if "\r\n" in text else "\n", _quoted(folder)
    section = _SECTION.search(text)
    if not section:
        gap = "" if not text else end if text.endswith("\n") else end * 2
        return f"{text}{gap}[weights]{end}folders = [{entry}]{end}"
    following = _NEXT.search(text, section.end())
    key = _KEY.search(text, section.end(), following.start() if following else len(text))
    if not key:
        at = section.end() + (text[section.end() : section.end() + 1] == "\n")
        before = "" if text[:at].endswith("\n") else end
        return f"{text[:at]}{before}folders = [{entry}]{end}{text[at:]}"
    return _with_entry(text, key.end(), entry)


def _with_entry(text: str, at: int, entry: str) -> str:
    """``text`` with an entry at the end of the array whose content begins at ``at``."""
    last = at  # the end of the last thing that is neither a blank nor a comment
    while token := _TOKEN.match(text, at):
        if token[0] == "]":
            comma = "" if text[last - 1] in "[," else ","
            blank = "" if text[last - 1] == "[" else " "
            return f"{text[:last]}{comma}{blank}{entry}{text[last:]}"
        at = token.end()
        if not token[0].isspace() and not token[0].startswith("#"):
            last = at
    return text


def _adds(before: str, after: str, folder: str) -> bool:
    """Whether the new text says what the old one says, and one folder more."""
    try:
        old, new = tomllib.loads(before), tomllib.loads(after)
    except (ValueError, RecursionError):
        return False
    weights: Any = old.setdefault("weights", {})
    if not isinstance(weights, dict):
        return False
    weights["folders"] = [*weights.get("folders", []), folder]
    return bool(old == new)
