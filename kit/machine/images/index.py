"""Fetch files of Python packages by their hash, from this host's own package index.

A program of its own, started by `kit.machine.images.wheels` with the Python that has pip:

    python index.py FOLDER        stdin: [{"name": …, "file": …, "sha256": …, "size": …}, …]

pip finds the files and speaks to the index (its settings, certificates, credentials), and does no
more: ``pip download`` would run a source archive's own code to read its metadata. A file is put
into FOLDER under its sha256. One line each is printed; ``missing NAME FILE`` where there is no
such file, or only one with another hash.

For locking, what is asked is ``{"name": …, "version": …, "hashes": […], "source": bool}``, and
FOLDER gets the file that fits the image's Python best, and beside it the four facts above as JSON.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from pip._internal.cli.cmdoptions import make_target_python
from pip._internal.commands import create_command

_PIECE = 1 << 20
_GLIBC = range(17, 37)  # bookworm has 2.36
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
            name = package.get("file") or f"{package['name']}=={package['version']}"
            print("fetched" if is_found else "missing", package["name"], name, flush=True)


def _fetch(file: dict[str, Any], finder: Any, session: Any, folder: Path) -> bool:
    for candidate in finder.find_all_candidates(file["name"]):
        link = candidate.link
        if link.filename == file["file"] and link.hash in (None, file["sha256"]):
            part = folder / f"{file['sha256']}.part"
            if _get(session, link, part, file["size"])[0] == file["sha256"]:
                part.rename(folder / file["sha256"])
                return True
            part.unlink()
    return False


def _lock(wanted: dict[str, Any], finder: Any, session: Any, folder: Path) -> bool:
    """Write down the facts of the best file among those that the requirement file allows.

    A folder of wheels states no hashes: its files are read to know them.
    """
    fitting = [
        candidate
        for candidate in finder.find_all_candidates(wanted["name"])
        if str(candidate.version) == wanted["version"]
        and candidate.link.hash in (None, *wanted["hashes"])
        and candidate.link.is_wheel is not wanted["source"]
    ]
    evaluator = finder.make_candidate_evaluator(wanted["name"])
    part = folder / "part"
    while best := evaluator.sort_best_candidate(fitting):
        sha256, size = _get(session, best.link, part, 1 << 31)
        if sha256 in wanted["hashes"]:
            part.rename(folder / sha256)
            facts = {"name": wanted["name"], "version": wanted["version"]}
            facts |= {"file": best.link.filename, "sha256": sha256, "size": size}
            (folder / f"{sha256}.json").write_text(json.dumps(facts), "utf-8")
            return True
        part.unlink()
        fitting.remove(best)
    return False


def _get(session: Any, link: Any, target: Path, size: int) -> tuple[str, int]:
    """Write the file to ``target``, at most one byte more than it may have; its hash and size."""
    url = link.url_without_fragment
    answer = session.get(url, headers={"Accept-Encoding": "identity"}, stream=True)
    answer.raise_for_status()
    digest, left = hashlib.sha256(), size + 1
    with target.open("wb") as file:
        while left and (piece := answer.raw.read(min(left, _PIECE))):
            file.write(piece)
            digest.update(piece)
            left -= len(piece)
    return digest.hexdigest(), size + 1 - left


if __name__ == "__main__":
    main(Path(sys.argv[1]))
