"""What every command needs: the configuration, the store, the way a run is named."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from kit import host, jsonio
from kit.errors import UsageError
from kit.store import Store
from kit.units import significant

Json = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON on stdout.")]
Runs = Annotated[
    Path | None,
    Parameter(name="--runs", help="The folder of runs; else host.toml's [store], else ./runs."),
]
Yes = Annotated[bool, Parameter(name=["--yes", "-y"], negative="", help="Do not ask.")]


def store_of(runs: Path | None) -> Store:
    """The store a command works on."""
    return Store(runs or host.HostConfig.load().store_root)


def find_run(name: str, runs: Path | None) -> Path:
    """A run by path (folder or ``.kit.zip``), or by any unique prefix of its hash or id."""
    path = Path(name)
    try:
        if path.is_file() or (path / "manifest.json").is_file():
            return path
    except OSError as error:
        raise UsageError(f"no run can be called that: {error.strerror}", "see `kit ls`") from error
    return store_of(runs).find(path.name)


def rounded(value: Any) -> Any:
    """``value`` with every number to 12 significant digits, as kit stores them."""
    if isinstance(value, float):
        return significant(value)
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return value


def print_json(value: Any) -> None:
    """One canonical JSON document on stdout."""
    sys.stdout.write(jsonio.canonical(value).decode() + "\n")


def say(text: str) -> None:
    """A line of talk on stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
