"""host.toml as an example: every section and key, all of it commented out.

A line that begins with ``# `` belongs to the shortest section that works; ``## `` is optional.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from kit.core.errors import UsageError
from kit.machine.host import register
from kit.machine.host.config import config_path, sections
from kit.machine.host.sections import Section

PURPOSE = (
    "folders of your models, where runs are kept, the watts of the estimator, and where meters of "
    "the network are"
)
_HEAD = """\
#: host.toml: what kit needs to know of this machine, and seals into no run:
#: {purpose}.
#: All is optional. To use a section, delete the "# " before its lines; "## " are further keys.
"""


def text() -> str:
    """The whole file; it says nothing until a line is uncommented."""
    parts = [_HEAD.format(purpose=PURPOSE.replace("estimator, and", "estimator,\n#: and"))]
    parts += ["\n".join(_section(name, kind)) + "\n" for name, kind in sections().items()]
    return "\n".join(parts)


def write() -> Path:
    """Write the example where host.toml is looked for; returns its path.

    Raises:
        UsageError: there is a host.toml, or it cannot be written.
    """
    path = config_path()
    if path.exists() or path.is_symlink():
        raise UsageError(f"{path} exists and stays as it is", "edit it; docs/host.md has all keys")
    register.write(path, text())
    return path


def _section(name: str, kind: type[Section]) -> Iterator[str]:
    yield f"#: {kind.about}"
    yield f"# [{name}]"
    for key, (sample, words, begins) in sorted(kind.keys.items(), key=lambda k: not k[1].begins):
        line = f"{'# ' if begins else '## '}{key} = {json.dumps(sample, ensure_ascii=False)}"
        yield f"{line:<44}  # {words}"
