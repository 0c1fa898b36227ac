#!/usr/bin/python3
"""Make model files of another form: one program for every form that kit derives.

    derive.py FORM      reads /weights (read-only), writes into /out (empty)

A form is a module `to_FORM` beside this file with ``convert(source: Path, out: Path)``. The same
files give the same bytes: nothing is sampled, and no time, path or version of the host goes into
them. Ends with 0; with 1 and one line on stderr where the files cannot be converted.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

SOURCE, OUT = Path("/weights"), Path("/out")


def main() -> int:
    os.environ["TQDM_DISABLE"] = "1"  # read when tqdm is imported
    form = sys.argv[1].replace("-", "_")
    convert = importlib.import_module(f"to_{form}").convert
    try:
        convert(SOURCE, OUT)
    except Exception as error:
        words = " ".join(str(error).split())[:300] or "no reason given"
        print(f"derive: {type(error).__name__}: {words}", file=sys.stderr)
        return 1
    for path in OUT.iterdir():
        path.chmod(0o644)  # safetensors writes files that only their owner can read
    return 0


if __name__ == "__main__":
    sys.exit(main())
