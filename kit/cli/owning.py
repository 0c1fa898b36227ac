"""A model of one's own on the command line: hashed with a bar, registered after a yes."""

from __future__ import annotations

import sys

from kit.cli import progress
from kit.cli.common import confirmed, say
from kit.core.errors import Interrupted, UsageError
from kit.spec import models


def begun(name: str, yes: bool) -> bytes:
    """The text of a spec for the model called ``name``; its folder is registered after a yes."""
    spec = _begun(name, yes)
    for warning in spec.warnings:
        say(f"warning: {warning}")
    if not _registered(spec, yes):
        say(f"not registered: a run will not find the model until `kit weights add {name}`")
    return spec.text.encode()


def add(name: str, yes: bool) -> None:
    """Hash the model called ``name``, print its files, and register its folder after a yes."""
    spec = _begun(name, yes)
    for file in spec.files:
        sys.stdout.write(f"{file.sha256}  {file.size:>14,}  {file.path}\n")
    sys.stdout.flush()
    if not _registered(spec, yes):
        raise Interrupted("not registered: nothing was changed", "add --yes to be asked nothing")
    say(f"next: `kit init --model {name}` writes a spec for it")


def _begun(name: str, yes: bool) -> models.Begun:
    """The model, hashed; where nobody can be asked, that is said before the hashing."""
    if not yes and not sys.stdin.isatty() and not models.is_registered(name):
        raise UsageError(
            f"no weights folder of host.toml holds {name}, and there is no terminal to ask on",
            "add --yes to register its folder",
        )
    with progress.Tasks() as tasks:
        return models.begun(name, tasks.progress)


def _registered(spec: models.Begun, yes: bool) -> bool:
    """Whether the model's folder is registered, perhaps just now."""
    if spec.is_registered:
        return True
    where = f"[weights] folders of {models.host_file()}"
    if not yes and not confirmed(f"register {spec.folder} under {where}?"):
        return False
    say(f"{spec.folder} is registered in {models.registered(spec.folder)}")
    return True
