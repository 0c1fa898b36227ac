"""Model files made from others by a program of one of kit's images, which has no network.

The program gives the same bytes for the same files, so that a spec can pin what it makes by hash,
and any machine can make it again. What comes out counts only by its hash: a spec's files are taken
from it, and nothing else is.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import Any

import msgspec

from kit.core import causes
from kit.core.errors import UsageError, WeightsUnavailable
from kit.core.model import Derivation, WeightFile, WeightsSpec
from kit.core.text import clean
from kit.machine import containers, images
from kit.machine.containers import Container, ContainerConfig, Engine
from kit.machine.weights import origins
from kit.machine.weights.fetch import Progress, Say, ensure, nothing
from kit.machine.weights.files import file_sha256, here, store_dir

RECIPE = "convert"
FORMS = ("safetensors", "ctranslate2", "onnx", "onnx-int4", "onnx-cuda")
TIME_S = 2 * 3600
SHM_BYTES, PIDS = 64 << 20, 512
_OWN_BYTES, _FACTOR = 2 << 30, 8  # memory: 4 bits become 32, and the program itself
_LINE_CHARS = 300
_FAILED = "the files could not be converted"


def derivation(form: str, files: tuple[WeightFile, ...]) -> Derivation:
    """How this kit makes ``form`` of ``files``: with its own locked image.

    Raises:
        UsageError: it makes no such form, or not of such files.
    """
    if form not in FORMS:
        raise UsageError(f"kit derives no {form!a}", f"name one of {', '.join(FORMS)}")
    if [PurePath(file.path).suffix.lower() for file in files] != [".gguf"]:
        named = ", ".join(file.path for file in files[:3]) + (", …" if len(files) > 3 else "")
        raise UsageError(f"kit derives from one .gguf file, not from {named}", "name a .gguf file")
    digest = images.recipe(RECIPE).image_id
    return Derivation(form=form, recipe=RECIPE, digest=digest, files=files)


def weights_of(folder: Path, origin: WeightsSpec, derived: Derivation) -> dict[str, Any]:
    """A spec's ``weights`` for the files in ``folder``, which were derived here just now."""
    files = tuple(
        WeightFile(
            path=path.name,
            source=f"file:{path.name}",
            sha256=file_sha256(path),
            size=path.stat().st_size,
        )
        for path in sorted(folder.iterdir())
    )
    spec = WeightsSpec(
        repo=origin.repo,
        revision=f"{origin.revision}, {derived.form}",
        licence=origin.licence,
        files=files,
        derived=derived,
    )
    origins.note_derived(derived, {file.path: file.sha256 for file in files})
    document: dict[str, Any] = msgspec.to_builtins(spec)
    return document


def ensure_derived(
    wanted: WeightsSpec,
    folders: Iterable[Path],
    say: Say = nothing,
    progress: Progress = nothing,
    *,
    again: bool = False,
) -> None:
    """Make the files of ``wanted`` that are not on this machine, and keep them in the store.

    With ``again`` they are made even if they are here, to check that they come out so.

    Raises:
        WeightsUnavailable: a source is missing, or the program makes other files than pinned.
        ImageUnavailable, EngineUnavailable: its image cannot be built, or no engine answers.
    """
    folders = tuple(folders)
    if not wanted.derived or not (again or any(not here(f, folders) for f in wanted.files)):
        return
    with made(wanted.derived, folders, say, progress) as out:
        for file in wanted.files:
            path = out / file.path
            sha256 = file_sha256(path) if path.is_file() and not path.is_symlink() else "nothing"
            if sha256 != file.sha256:
                raise WeightsUnavailable(
                    f"deriving {file.path} gave {sha256}, and the spec pins {file.sha256}",
                    "ask whoever wrote the spec for the files, or derive them anew and pin those",
                )
            if not here(file, folders):
                path.rename(store_dir() / file.sha256)
    origins.note_derived(wanted.derived, {file.path: file.sha256 for file in wanted.files})


@contextmanager
def made(
    derived: Derivation, folders: Iterable[Path], say: Say = nothing, progress: Progress = nothing
) -> Iterator[Path]:
    """A folder with what the program makes; it is deleted at the context's end."""
    sources = {f.path: ensure(f, folders, say, progress) for f in derived.files}
    image = _image(derived, say, progress)
    store_dir().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="deriving-", dir=store_dir()) as work:
        out = Path(work) / "out"
        out.mkdir()
        out.chmod(0o777)  # the container's user is nobody
        say(f"deriving {derived.form} from {', '.join(sources)}")
        memory = _OWN_BYTES + _FACTOR * sum(file.size for file in derived.files)
        with (
            containers.connect() as engine,
            _box(engine, image, derived, sources, out, memory) as b,
        ):
            _wait(b, Path(work) / "log", lambda s: progress(derived.form, s, None))
        _own(out)
        _refuse_odd(out)
        yield out


def _image(derived: Derivation, say: Say, progress: Progress) -> str:
    """The id of the program's image. A spec may come from anyone: only kit's own image runs."""
    if derived.recipe != RECIPE or derived.digest != images.recipe(RECIPE).image_id:
        raise WeightsUnavailable(
            f"the files were derived by another image than this kit's ({derived.digest[:19]}…)",
            "use the kit that derived them, or get the files themselves",
        )
    built = images.build(RECIPE, say, progress)
    if not built.matches_lock:
        raise WeightsUnavailable(
            f"the image {RECIPE} is not the locked one: {'; '.join(built.drift)}",
            f"`kit images build {RECIPE}` on a machine that reaches its parts",
        )
    return built.identity.image_id


@contextmanager
def _box(
    engine: Engine,
    image: str,
    derived: Derivation,
    sources: dict[str, Path],
    out: Path,
    memory: int,
) -> Iterator[Container]:
    """The program's container, started; it is always removed afterwards."""
    box = engine.create(
        ContainerConfig(
            image=image,
            argv=(derived.form,),
            env={"HOME": "/tmp", "USER": "nobody", "PYTHONHASHSEED": "0"},  # noqa: S108
            name=f"kit-derive-{os.getpid()}-{time.monotonic_ns()}",
            labels=containers.labels("derive", 0),
            mounts={f"/weights/{name}": path for name, path in sources.items()},
            network="none",
            cpus="",
            memory_bytes=memory,
            shm_bytes=SHM_BYTES,
            pids=PIDS,
            output=out,
        )
    )
    try:
        box.start()
        yield box
    finally:
        box.remove()


def _wait(box: Container, log: Path, told: Callable[[float], None]) -> None:
    """Wait for the program's end.

    Raises:
        WeightsUnavailable: it failed, or took too long.
    """
    began = time.monotonic()
    while (ended := box.exited()) is None:
        took_s = time.monotonic() - began
        told(took_s)
        if took_s > TIME_S:
            raise WeightsUnavailable(
                f"deriving took more than {TIME_S // 3600} hours", "use a faster machine"
            )
        time.sleep(0.2)
    if ended.out_of_memory:
        raise WeightsUnavailable(f"{_FAILED}: memory ran out", "use a machine with more memory")
    if ended.code:
        box.save_log(log)
        cause = causes.read(log)
        reason = cause.lines[0] if cause else _last_line(log) or f"exit code {ended.code}"
        raise WeightsUnavailable(f"{_FAILED}: {reason}", "derive them from files that it knows")


def _last_line(log: Path) -> str:
    lines = log.read_text("utf-8", "replace").split("\n") if log.is_file() else []
    return next((clean(line)[:_LINE_CHARS] for line in reversed(lines) if line.strip()), "")


def _refuse_odd(out: Path) -> None:
    """A program that reads a stranger's file may be made to write links to files of ours."""
    for path in out.iterdir():
        if path.is_symlink() or not path.is_file():
            raise WeightsUnavailable(
                f"{_FAILED}: {clean(path.name)[:_LINE_CHARS]} is no plain file",
                "derive them from files that you trust",
            )


def _own(out: Path) -> None:
    """Make what was written ours, as far as we may: root would keep files of nobody."""
    out.chmod(0o755)
    if os.geteuid() == 0:
        for path in (out, *out.iterdir()):
            os.chown(path, 0, 0, follow_symlinks=False)
