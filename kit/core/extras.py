"""The extras of the distribution, and which of them brings a library.

Whoever checks a run installs the core alone; what measures, draws and serves is in extras. A
command imports its libraries when it needs them. One that is absent is a ModuleNotFoundError, which
each face (command line, terminal UI, runner) hands to `missing` before it calls an error a bug.
"""

from __future__ import annotations

from importlib.util import find_spec

from kit.core.errors import ExtraMissing

DISTRIBUTION = "kit-energy"
# The top-level packages that each extra of pyproject.toml brings; tests hold the two together.
_BRINGS = {
    "run": (
        "cryptography",
        "cyclonedx",
        "docker",
        "installer",
        "packageurl",
        "prometheus_client",
        "pynvml",
        "pysnmp",
        "requests",
        "urllib3",
    ),
    "tui": ("textual", "textual_plotext"),
    "report": ("matplotlib",),
    "study": ("codecarbon",),
}
BROUGHT_BY = {library: extra for extra, libraries in _BRINGS.items() for library in libraries}


def install(extra: str) -> str:
    """The line that installs an extra."""
    return f"pip install '{DISTRIBUTION}[{extra}]'"


def require(library: str) -> None:
    """Raise ExtraMissing where ``library`` is absent, without importing it."""
    if not _is_here(library):
        raise _without(library)


def missing(error: BaseException) -> ExtraMissing | None:
    """What to install, where ``error`` says that an extra's library is absent; else None.

    A library that is here and lacks a part is of another version: that is no missing extra.
    """
    library, _, part = (getattr(error, "name", None) or "").partition(".")
    if not isinstance(error, ModuleNotFoundError) or library not in BROUGHT_BY:
        return None
    return None if part and _is_here(library) else _without(library)


def _is_here(library: str) -> bool:
    """A folder of that name in the current one is no package."""
    try:
        spec = find_spec(library)
    except ValueError:  # something holds its place in sys.modules
        return False
    return spec is not None and spec.loader is not None


def _without(library: str) -> ExtraMissing:
    extra = BROUGHT_BY[library]
    return ExtraMissing(
        f"this needs kit's extra {extra!r}: the Python package {library} is not installed",
        install(extra),
    )
