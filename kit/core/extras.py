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
    "run": ("docker", "installer", "prometheus_client", "pynvml", "pysnmp", "requests", "urllib3"),
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
    if find_spec(library) is None:
        raise _without(library)


def missing(error: BaseException) -> ExtraMissing | None:
    """What to install, where ``error`` says that an extra's library is absent; else None."""
    library = (getattr(error, "name", None) or "").partition(".")[0]
    if not isinstance(error, ModuleNotFoundError) or library not in BROUGHT_BY:
        return None
    return _without(library)


def _without(library: str) -> ExtraMissing:
    extra = BROUGHT_BY[library]
    return ExtraMissing(
        f"this needs kit's extra {extra!r}: the Python package {library} is not installed",
        install(extra),
    )
