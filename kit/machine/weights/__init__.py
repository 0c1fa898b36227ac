"""Model files: found by their sha256, or fetched from the source in the spec.

A file's identity is its hash; a source is only a way to get it (`kit.machine.weights.source`).
Files are kept under ``<cache>/weights/<sha256>`` (`kit.machine.weights.files`). The hashes that
sources gave here are recorded (`kit.machine.weights.origins`), so that a name that contradicts a
hash is reported before anything runs (`kit.machine.weights.naming`).
"""

from kit.machine.weights.fetch import ensure
from kit.machine.weights.files import (
    Stored,
    file_sha256,
    find,
    forget,
    here,
    is_file,
    known_hash,
    require,
    store_dir,
    unreadable,
    verify,
)
from kit.machine.weights.gguf import own_name
from kit.machine.weights.naming import Doubt, branches, doubts, problems
from kit.machine.weights.source import WeightSource, parse

__all__ = [
    "Doubt",
    "Stored",
    "WeightSource",
    "branches",
    "doubts",
    "ensure",
    "file_sha256",
    "find",
    "forget",
    "here",
    "is_file",
    "known_hash",
    "own_name",
    "parse",
    "problems",
    "require",
    "store_dir",
    "unreadable",
    "verify",
]
