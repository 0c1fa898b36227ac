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
_H200 = "31e36fe350fb06985f3a3609947d1dabf615df0f84559b0f6b421f4330702a3c"
_QUICKSTART = "baf16ac796d952e86aaf7a55433d4a489c47f3ff291ff0316eb9f2da4ebeef75"
_REPLAY = "e1a135eff90b05dc1a68100fc71b012f886325ad9f8f962e1e89a1944fb68ad8"

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
