"""`kit weights pin`: weights completed from the hub, shown as a difference, written after a yes."""

from __future__ import annotations

import sys
from difflib import unified_diff
from pathlib import Path
from typing import Annotated

from kit.cli import progress
from kit.cli.common import Yes, confirmed, say
from kit.cli.paths import Named
from kit.core import jsonio, jsonplace, onestep
from kit.core.errors import Interrupted, SpecInvalid, UsageError
from kit.core.text import clean
from kit.machine import weights
from kit.machine.weights import pin
from kit.machine.weights.fetch import Progress
from kit.spec import spec as specs
from kit.spec import template

_PINS = ("revision", "files", "source", "sha256", "size")


def weights_pin(*spec: Annotated[Path, Named], yes: Yes = False) -> None:
    """Complete the weights of specs from the hub: commit, files, sizes, SHA-256, licence.

    What changes is printed, and written after a yes; all of the specs, or none. What a spec has
    pinned already is never replaced. Without a revision the newest one is taken. $HF_ENDPOINT and
    $HF_TOKEN (for gated models) are honoured.

    Args:
        spec: run specs, or templates such as those of specs/models.
    """
    if not spec:
        raise UsageError("weights pin takes a spec", "name one, such as specs/models/*.json")
    with progress.Tasks() as tasks:
        texts = {path: _completed(path, tasks.progress) for path in spec}
    changed = {path: new for path, (old, new) in texts.items() if old != new}
    for path in texts.keys() - changed.keys():
        say(f"{path}: nothing lacks")
    if not changed:
        return
    for path, new in changed.items():
        _show_difference(path, texts[path][0], new)
    names = ", ".join(map(str, changed))
    if not yes and not confirmed(f"write {names}?"):
        raise Interrupted("nothing was changed", "add --yes to be asked nothing")
    for path in changed:
        if specs.read(path).decode() != texts[path][0]:
            raise UsageError(f"{path} was changed meanwhile", "pin it again")
    data = {path: new.encode() for path, new in changed.items()}
    onestep.write_each(data, "copy the spec to where it can be written, and pin that")
    say(f"pinned: {names}; next: `kit weights add {next(iter(changed))}`")


def _completed(path: Path, progress: Progress) -> tuple[str, str]:
    """The spec's text, and that with complete weights.

    Raises:
        SpecInvalid: more is wrong with it than pins that lack, or it would be no run spec.
    """
    text = specs.read(path).decode()
    if not path.is_file():
        raise UsageError(f"{path} is no file that can be changed", "save it to a file, name that")
    try:
        document = jsonio.parse(text.encode(), str(path))
    except jsonio.JsonRefused as error:
        raise error.of_own(str(path)) from error
    faults = [p for p in specs.problems(document) if not (p.missing and p.key in _PINS)]
    if faults:
        raise SpecInvalid(faults, str(path), jsonplace.of_problems(text, faults))
    if not document["weights"]:
        raise UsageError(f"{path} needs no weights", "leave it out")
    if pin.is_pinned(document["weights"]):
        wanted = specs.parse(text.encode(), str(path)).weights
        for branch in weights.branches(wanted) if wanted else ():
            say(f"{path}: {branch}")
        return text, text
    new = template.with_weights(text, pin.completed(document["weights"], progress))
    pinned = specs.parse(new.encode(), f"{path}, pinned,").weights
    if pinned and not pinned.licence:
        say(f"{path}: no licence is recorded: neither the model card nor its tags name one")
    return text, new


def _show_difference(path: Path, old: str, new: str) -> None:
    lines = unified_diff(old.splitlines(), new.splitlines(), str(path), f"{path}, pinned", n=1)
    sys.stdout.writelines(clean(line.rstrip("\n"), lines=True) + "\n" for line in lines)
    sys.stdout.flush()
