"""The runs that are committed in ``runs/``, by hash, and a store that has them and nothing else.

A clone's own ``runs/`` also holds what its user sealed (`make demo` alone adds two), so no test
searches it. When the committed runs are made again, their hashes are written here.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path

_CLONE = Path(__file__).parent.parent / "runs"
_H200 = "6395214549083b79921989e3f75f3c125c7cc63f760f011b67454c19b501cc37"
_QUICKSTART = "8177eb3e46ab2aedd7e29bb8723ecaf2aff811627005dfdf08f412fdafb0fdea"
_REPLAY = "2ffc5f7d51c908cc2daa7348304f3d257f9a284228ae3ad8213d740bc1d51c7e"

H200, QUICKSTART, REPLAY = (_CLONE / name for name in (_H200, _QUICKSTART, _REPLAY))
ALL = (H200, QUICKSTART, REPLAY)


def _store() -> Path:
    """A folder with links to the committed runs; gone when the tests end."""
    root = Path(tempfile.mkdtemp(prefix="kit-committed-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    link_into(root)
    return root


def link_into(store: Path) -> None:
    """Put the committed runs into the store at ``store``, as links."""
    for run in ALL:
        (store / run.name).symlink_to(run)


RUNS = _store()
