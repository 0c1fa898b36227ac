"""The person's settings of the UI: theme, ASCII, keys; a JSON file next to host.toml.

``{"theme": "textual-light", "ascii": false, "bell": false, "keys": {"launch": "f9"}}``; the names
of keys are the bindings' ids, as the help of a screen shows them. ``bell``: whether the terminal
is told when a run ends that is watched; it is, unless that is false.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from kit.core import jsonio
from kit.core.text import utf8
from kit.machine.host.config import config_path

FILE = "ui.json"
_MOST = 64 << 10
MOST_STORES = 9


class Settings(NamedTuple):
    """The settings; ``fault`` says why the file was not used, if so."""

    theme: str = ""
    ascii: bool | None = None
    keys: Mapping[str, str] = {}
    stores: tuple[str, ...] = ()
    bell: bool = True
    fault: str = ""


def load(path: Path | None = None) -> Settings:
    """The settings; the defaults if the file is missing or invalid."""
    path = path or _path()
    try:
        data = path.read_bytes()[: _MOST + 1]
    except FileNotFoundError:
        return Settings()
    except OSError as error:
        return Settings(fault=f"{path.name} cannot be read: {error.strerror}")
    try:
        return _taken(jsonio.parse(utf8(data), path.name))
    except (jsonio.JsonRefused, ValueError) as error:
        return Settings(fault=f"{path.name} is not taken: {error}")


def _taken(settings: Any) -> Settings:
    if not isinstance(settings, dict):
        raise ValueError("it is no JSON object")
    theme, ascii_only, keys = (
        settings.get("theme", ""),
        settings.get("ascii"),
        settings.get("keys", {}),
    )
    if not isinstance(theme, str) or not isinstance(ascii_only, bool | None):
        raise ValueError('"theme" is a word and "ascii" true or false')
    bell = settings.get("bell", True)
    if not isinstance(bell, bool):
        raise ValueError('"bell" is true or false')
    if not isinstance(keys, dict) or not all(isinstance(v, str) for v in keys.values()):
        raise ValueError('"keys" gives each binding its keys as one word')
    stores = settings.get("stores", [])
    if not isinstance(stores, list) or not all(isinstance(v, str) for v in stores):
        raise ValueError('"stores" lists folders')
    return Settings(theme, ascii_only, keys, tuple(stores[:MOST_STORES]), bell)


def keep_theme(theme: str, path: Path | None = None) -> None:
    """Write the theme, and keep the rest of the file.

    Raises:
        OSError: the file cannot be written.
    """
    path = path or _path()
    settings = load(path)
    if not settings.fault and settings.theme != theme:
        _keep(path, settings._replace(theme=theme))


def keep_store(store: Path, path: Path | None = None) -> None:
    """Write a folder of runs as the one that was shown last, and keep the rest of the file.

    Raises:
        OSError: the file cannot be written.
    """
    path = path or _path()
    settings = load(path)
    stores = list(dict.fromkeys([str(store), *settings.stores]))[:MOST_STORES]
    if not settings.fault and stores != list(settings.stores):
        _keep(path, settings._replace(stores=tuple(stores)))


def _keep(path: Path, settings: Settings) -> None:
    document: dict[str, Any] = {"keys": dict(settings.keys)}
    document |= {"theme": settings.theme} if settings.theme else {}
    document |= {"stores": list(settings.stores)} if settings.stores else {}
    document |= {} if settings.ascii is None else {"ascii": settings.ascii}
    document |= {} if settings.bell else {"bell": False}
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".new")
    scratch.write_bytes(jsonio.canonical(document) + b"\n")
    scratch.replace(path)


def _path() -> Path:
    return config_path().with_name(FILE)
