"""Fetch files of Python packages by their hash, from this host's own package index.

A program of its own, started by `kit.machine.images.wheels` with the Python that has pip:

    python index.py FOLDER        stdin: [{"name": …, "file": …, "sha256": …, "size": …}, …]

pip finds the files and speaks to the index (its settings, certificates, credentials), and does no
more: ``pip download`` would run a source archive's own code to read its metadata. A file is put
into FOLDER under its sha256. One line each is printed; ``missing NAME FILE`` where there is no
such file, or only one with another hash.

For locking, what is asked is ``{"name": …, "version": …, "hashes": […], "source": bool}``, and
FOLDER gets the four facts above as JSON, of the file that fits the image's Python best.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from pip._internal.cli.cmdoptions import make_target_python
from pip._internal.commands import create_command

_GLIBC = (17, 24, 26, 27, 28, 31, 34, 35, 36)
_FOR_IMAGE = [
    "--no-binary=:none:",  # a host's own list of formats would hide what the image needs
    "--only-binary=:none:",
    "--implementation=cp",
    "--python-version=3.11",
    "--platform=manylinux2014_x86_64",
    *(f"--platform=manylinux_2_{minor}_x86_64" for minor in _GLIBC),
]


def main(folder: Path) -> None:
    wanted = json.load(sys.stdin)
    command: Any = create_command("download", isolated=False)
    options, _ = command.parse_args(_FOR_IMAGE)
    with command.main_context(), command._build_session(options) as session:
        finder = command._build_package_finder(
            options=options,
            session=session,
            target_python=make_target_python(options),
            ignore_requires_python=True,
        )
        for package in wanted:
            take = _lock if "hashes" in package else _fetch
            is_found = take(package, finder, session, folder)
            name = package.get("file") or package["version"]
            print("fetched" if is_found else "missing", package["name"], name, flush=True)


def _fetch(file: dict[str, Any], finder: Any, session: Any, folder: Path) -> bool:
    for candidate in finder.find_all_candidates(file["name"]):
        link = candidate.link
        if link.filename == file["file"] and link.hash in (None, file["sha256"]):
            data = _get(session, link.url_without_fragment, file["size"])
            if hashlib.sha256(data).hexdigest() == file["sha256"]:
                (folder / file["sha256"]).write_bytes(data)
                return True
    return False


def _lock(wanted: dict[str, Any], finder: Any, session: Any, folder: Path) -> bool:
    """Write down the facts of the best file among those that the requirement file allows.

    A folder of wheels (pip's ``find-links``) says no hashes: its files are read.
    """
    fitting = [
        candidate
        for candidate in finder.find_all_candidates(wanted["name"])
        if str(candidate.version) == wanted["version"]
        and candidate.link.hash in (None, *wanted["hashes"])
        and candidate.link.is_wheel is not wanted["source"]
    ]
    evaluator = finder.make_candidate_evaluator(wanted["name"])
    while (best := evaluator.sort_best_candidate(fitting)) is not None:
        link = best.link
        data = _get(session, link.url_without_fragment, 1 << 31)
        sha256 = hashlib.sha256(data).hexdigest()
        if sha256 in wanted["hashes"]:
            facts = {"name": wanted["name"], "version": wanted["version"], "file": link.filename}
            text = json.dumps({**facts, "sha256": sha256, "size": len(data)})
            (folder / sha256).write_text(text, "utf-8")
            return True
        fitting.remove(best)
    return False


def _get(session: Any, url: str, size: int) -> bytes:
    """At most one byte more than the file may have."""
    answer = session.get(url, headers={"Accept-Encoding": "identity"}, stream=True)
    answer.raise_for_status()
    return bytes(answer.raw.read(size + 1))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
