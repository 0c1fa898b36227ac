"""The runtime `ollama` on the loopback image, as another package would register it, under a name of
its own and marked as unreal: Ollama itself was not run.
"""

from __future__ import annotations

from pathlib import Path

NAME = "ollama-dialect"
GGUF = b"GGUF\x03\x00\x00\x00" + bytes(16)  # a file without tensors and facts
_MODULE = """
from kit.spec.runtimes.ollama import Ollama

class Dialect(Ollama):
    name, title = "ollama-dialect", "TEST SEAM: Ollama's dialect spoken by the loopback server"
    recipe, real, loads = "loopback", False, ()
    scratch_bytes = 16 << 20

RUNTIME = Dialect()
"""


def install(folder: Path) -> Path:
    """Put the package into ``folder``, which is then for ``PYTHONPATH``."""
    about = folder / "ollama_dialect-1.dist-info"
    about.mkdir(parents=True)
    (folder / "ollama_dialect.py").write_text(_MODULE)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: ollama-dialect\nVersion: 1\n")
    (about / "entry_points.txt").write_text(f"[kit.runtimes]\n{NAME} = ollama_dialect:RUNTIME\n")
    return folder
