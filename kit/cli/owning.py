"""A model of one's own on the command line: hashed with a bar, registered after a yes."""

from __future__ import annotations

import json
import sys

from kit.cli import progress
from kit.cli.common import confirmed, say
from kit.core.errors import Interrupted, UsageError
from kit.machine import host
from kit.machine.host import register
from kit.machine.weights import own, room
from kit.spec import begin


def begun(name: str, yes: bool) -> bytes:
    """The text of a spec for the model called ``name``; its folder is registered after a yes."""
    model = _described(name, yes)
    here = room.of_this_machine(register.settings().store_root)
    document = begin.spec_for(model, here)
    for warning in begin.warnings(model, document, here):
        say(f"warning: {warning}")
    if not _registered(model, yes):
        say(f"not registered: a run will not find the model until `kit weights add {name}`")
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def add(name: str, yes: bool) -> None:
    """Hash the model called ``name``, print its files, and register its folder after a yes."""
    model = _described(name, yes)
    for file in model.files:
        sys.stdout.write(f"{file.sha256}  {file.size:>14,}  {file.path}\n")
    sys.stdout.flush()
    if not _registered(model, yes):
        raise Interrupted("not registered: nothing was changed", "add --yes to be asked nothing")
    say(f"next: `kit init --model {name}` writes a spec for it")


def _described(name: str, yes: bool) -> own.OwnModel:
    """The model, hashed; where nobody can be asked, that is said before the hashing."""
    found = own.find(name)
    if not yes and not sys.stdin.isatty() and not register.is_registered(found.folder):
        raise UsageError(
            f"host.toml does not list {found.folder}, and there is no terminal to ask on",
            "add --yes to register it",
        )
    with progress.Tasks() as tasks:
        return own.described(found, tasks.progress)


def _registered(model: own.OwnModel, yes: bool) -> bool:
    """Whether the model's folder is registered, perhaps just now."""
    if register.is_registered(model.folder):
        return True
    where = f"[weights] folders of {host.config_path()}"
    if not yes and not confirmed(f"register {model.folder} under {where}?"):
        return False
    say(f"{model.folder} is registered in {register.add_folder(model.folder)}")
    return True
