"""Compile a source archive in a container that cannot reach this host.

A build backend is a stranger's program. It runs in a container of the builder base, hardened like
every container of kit (`kit.machine.containers.container.arguments`): no network, no capability, no
new privileges, the engine's seccomp filter, user nobody, a read-only root, and limits of processes,
memory, scratch space and time. Nothing of the host is mounted: its inputs are a layer of a
temporary image, and the wheel comes back as text on stdout, which is parsed as hostile.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from kit.core import jsonio
from kit.core.errors import ImageUnavailable
from kit.machine import containers
from kit.machine.containers import LOG_FILE_MIB, Container, ContainerConfig, Engine
from kit.machine.images import bundle, inside
from kit.machine.images.configuration import document
from kit.machine.images.locks import BaseLock, Compile, Package
from kit.machine.images.tree import Layer, Tree, write
from kit.machine.images.wheels import Progress, Say

MEMORY_BYTES, SCRATCH_BYTES, PIDS = 16 << 30, 6 << 30, 2048
TIME_S = 2 * 3600
MAX_WHEEL = 512 << 20
_MAX_OUTPUT = MAX_WHEEL * 3 // 2  # in base64, with what the engine's log adds to a line
_PLACE = "kit"
_STEP = re.compile(r"^\[(\d{1,6})/(\d{1,6})\]", re.MULTILINE)  # ninja's progress


def compiled(
    wanted: Compile,
    builder: tuple[BaseLock, Layer],
    files: Mapping[str, Path],
    work: Path,
    say: Say,
    progress: Progress,
) -> tuple[str, Path]:
    """The wheel of ``wanted.source``: its file name, and its path in ``work``.

    Args:
        builder: the base with the compilers, and its layer.
        files: the source archive and the tools, by file name.

    Raises:
        ImageUnavailable: the compilation failed, took too long, or gave no such wheel.
        EngineUnavailable, LaunchFailed: from the engine.
    """
    assert wanted.source is not None, "a locked recipe names its source"
    with containers.connect() as engine:
        layer = _layer(wanted, builder[0], files, work)
        reference = f"kit/compile:{os.getpid()}-{time.monotonic_ns()}"
        image = work / "compile.tar"
        layers = (builder[1], layer)
        diff_ids = tuple(part.diff_id for part in layers)
        bundle.write(image, reference, document({}, builder[0], diff_ids), layers)
        say(f"compiling {wanted.source.file} in a sandbox")
        with _loaded(engine, image, reference), _container(engine, reference) as box:
            output = _output(box, progress)
    return _wheel(output, wanted.source, work)


def inputs(wanted: Compile, epoch: int, files: Mapping[str, Path]) -> dict[str, bytes | Path]:
    """The inputs of the compilation, by their path in the folder for `inside`."""
    assert wanted.source is not None, "a locked recipe names its source"
    settings = {"cmake": list(wanted.settings), "epoch": epoch}
    return {
        "inside.py": Path(inside.__file__).read_bytes(),
        "settings.json": jsonio.canonical(settings),
        "source.tar.gz": files[wanted.source.file],
        **{f"tools/{tool.file}": files[tool.file] for tool in wanted.tools},
    }


def _layer(wanted: Compile, base: BaseLock, files: Mapping[str, Path], work: Path) -> Layer:
    """The inputs as a layer."""
    epoch = base.source_date_epoch
    with tempfile.TemporaryFile(dir=work) as spool:
        tree = Tree(spool)
        tree.folder(f"{_PLACE}/tools")
        for place, content in inputs(wanted, epoch, files).items():
            tree.data(f"{_PLACE}/{place}", content_of(content))
        return write(tree, work / "compile-layer.tar", epoch)


def content_of(content: bytes | Path) -> bytes:
    return content if isinstance(content, bytes) else content.read_bytes()


@contextmanager
def _loaded(engine: Engine, image: Path, reference: str) -> Iterator[None]:
    engine.load(image)
    try:
        yield
    finally:
        engine.remove_image(reference)


@contextmanager
def _container(engine: Engine, reference: str) -> Iterator[Container]:
    """The container, started; it is always removed afterwards."""
    box = engine.create(
        ContainerConfig(
            image=reference,
            argv=("/usr/bin/python3", "-B", f"/{_PLACE}/inside.py", f"/{_PLACE}"),
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0"},
            name=reference.replace("/", "-").replace(":", "-"),
            labels=containers.labels("compile", 0),
            mounts={},
            network="none",
            cpus="",
            memory_bytes=MEMORY_BYTES,
            shm_bytes=64 << 20,
            pids=PIDS,
            scratch_bytes=SCRATCH_BYTES,
            log_files=(_MAX_OUTPUT >> 20) // LOG_FILE_MIB + 1,
        )
    )
    try:
        box.start()
        yield box
    finally:
        box.remove()


def _output(box: Container, progress: Progress) -> bytes:
    """Wait for the end; returns the stdout."""
    began = time.monotonic()
    while (ended := box.exited()) is None:
        steps = _STEP.findall(box.tail(3))
        progress("compiling", *(map(int, steps[-1]) if steps else (0, None)))
        if time.monotonic() - began > TIME_S:
            raise ImageUnavailable(
                f"compiling took more than {TIME_S // 3600} hours", "use a faster machine"
            )
        time.sleep(1)
    if ended.code or ended.out_of_memory:
        reason = "it ran out of memory" if ended.out_of_memory else box.tail(8).strip()
        raise ImageUnavailable(
            f"the source archive could not be compiled: {reason!a:.800}",
            "`kit images build` may be repeated; compiling needs up to 16 GiB of memory",
        )
    return box.output(_MAX_OUTPUT)


def _wheel(output: bytes, source: Package, work: Path) -> tuple[str, Path]:
    """The wheel in the container's output, which may be anything."""
    first, _, rest = output.partition(b"\n")
    name = first.decode("ascii", "replace")
    start = f"{source.name.replace('-', '_')}-{source.version}-"
    try:
        if not re.fullmatch(
            re.escape(start) + r"[A-Za-z0-9_.]{1,80}-[a-z0-9_]+-[a-z0-9_.]+\.whl", name
        ):
            raise ValueError("another file than the wheel")
        data = base64.b64decode(b"".join(rest.split()), validate=True)
    except (ValueError, binascii.Error) as error:
        raise ImageUnavailable(
            f"compiling {source.file} gave no wheel of it: {error!a:.200}", "lock the recipe again"
        ) from error
    path = work / "compiled.whl"
    path.write_bytes(data)
    return name, path
