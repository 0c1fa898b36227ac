"""Build an image archive from a prepared context, so that two builds give the same image ID.

buildah runs the Dockerfile with a fixed timestamp and its own throw-away storage; whatever a step
needs is in the context, nothing is fetched. Where only Docker's BuildKit is at hand, its
``rewrite-timestamp`` does the same, but packs layers its own way: its identities are its own.
"""

from __future__ import annotations

import re
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from kit import jsonio
from kit.errors import ImageUnavailable
from kit.images.process import clean, run
from kit.images.recipe import reference
from kit.model import ImageIdentity

_BUILDAH = re.compile(r"^(?:\[(\d+)/(\d+)\] )?STEP (\d+)/(\d+)")
_BUILDX = re.compile(r"^#\d+ \[\S+ +(\d+)/(\d+)\]")
_REMEDY = "see the lines above; `kit images build` may be repeated at any time"


class Archive(NamedTuple):
    """A docker-archive on disk, the image in it, and the programs that made it."""

    path: Path
    identity: ImageIdentity
    builder: dict[str, str]


def build(
    context: Path, name: str, platform: str, epoch: int, each: Callable[[float, float], None]
) -> Archive:
    """Build ``context``'s Dockerfile into an archive beside it; ``each(done, total)`` as it goes.

    Raises:
        ImageUnavailable: no builder is installed, or a step failed (its last lines are told).
    """
    target = context.with_suffix(".archive.tar")
    chosen = _buildah if shutil.which("buildah") or not _has_buildx() else _buildx
    builder = chosen(context, target, name, platform, epoch, _following(each))
    return Archive(target, read_identity(target, name), builder)


def read_identity(archive: Path, name: str) -> ImageIdentity:
    """The identity of the one image in a docker-archive: its config is hashed here."""
    with tarfile.open(archive) as tar:
        manifest = jsonio.parse(_member(tar, "manifest.json"), "the archive's manifest")[0]
        config_bytes = _member(tar, manifest["Config"])
    config = jsonio.parse(config_bytes, "the image's configuration")
    image_id = f"sha256:{jsonio.digest(config_bytes)}"
    return ImageIdentity(
        reference=reference(name, image_id),
        recipe=name,
        image_id=image_id,
        diff_ids=tuple(config["rootfs"]["diff_ids"]),
        platform=f"{config['os']}/{config['architecture']}",
        config_digest=image_id,
    )


def _member(tar: tarfile.TarFile, name: str) -> bytes:
    stream = tar.extractfile(name)
    assert stream is not None, f"a docker-archive has {name}"
    return stream.read()


def _buildah(
    context: Path, target: Path, name: str, platform: str, epoch: int, each: Callable[[str], None]
) -> dict[str, str]:
    """Storage of its own, gone afterwards: the driver vfs works everywhere, at some cost."""
    store = Path(tempfile.mkdtemp(prefix="buildah-", dir=context.parent))
    base = ["buildah", f"--root={store / 'root'}", f"--runroot={store / 'run'}"]
    base.append("--storage-driver=vfs")
    bud = ["bud", "--isolation=chroot", f"--timestamp={epoch}", "--no-cache"]
    # Both would tell of the building machine: buildah's version, and hashes of copied files that
    # were seen to differ between two machines although the layers were equal.
    bud += ["--omit-history", "--identity-label=false"]
    iid = store / "iid"
    try:
        run(
            [*base, *bud, f"--platform={platform}", f"--iidfile={iid}", str(context)],
            what=f"the image {name} could not be built",
            remedy=_REMEDY,
            env=clean(),
            each=each,
        )
        image_id = iid.read_text().strip()
        run(
            [
                *base,
                "push",
                "--quiet",
                image_id,
                f"docker-archive:{target}:{reference(name, image_id)}",
            ],
            what=f"the image {name} could not be written",
            remedy="make room in kit's cache folder and repeat",
        )
        return {"buildah": _version(["buildah", "--version"])}
    finally:
        # Rootless storage holds files of other user ids, which only buildah may remove.
        if (store / "root").is_dir():
            run([*base, "rmi", "--all", "--force"], what="clean-up", remedy="none")
        shutil.rmtree(store, ignore_errors=True)


def _buildx(
    context: Path, target: Path, name: str, platform: str, epoch: int, each: Callable[[str], None]
) -> dict[str, str]:
    """BuildKit 0.13 or newer, through ``docker buildx``."""
    output = f"type=docker,dest={target},rewrite-timestamp=true"
    run(
        [
            *("docker", "buildx", "build", "--no-cache", "--progress=plain", "--provenance=false"),
            *(f"--platform={platform}", f"--build-arg=SOURCE_DATE_EPOCH={epoch}"),
            *(f"--output={output}", f"--tag=kit/{name}:built", str(context)),
        ],
        what=f"the image {name} could not be built",
        remedy="`apt-get install buildah`, or use a docker buildx with BuildKit ≥ 0.13",
        each=each,
    )
    return {"buildx": _version(["docker", "buildx", "version"])}


def _has_buildx() -> bool:
    """Whether the docker client has the buildx plugin; asks the client alone, no engine."""
    if not shutil.which("docker"):
        return False
    try:
        run(["docker", "buildx", "version"], what="no buildx", remedy="none is needed")
    except ImageUnavailable:
        return False
    return True


def _version(argv: list[str]) -> str:
    """The first thing in a program's version line that looks like a version."""
    text = run(argv, what=f"{argv[0]} fails", remedy=f"reinstall {argv[0]}")
    found = re.search(r"v?(\d+\.\d+[\w.+~-]*)", text)
    return found.group(1) if found else "unknown"


def _following(each: Callable[[float, float], None]) -> Callable[[str], None]:
    """Turn the builder's own step lines into ``each(stages done, stages)``."""

    def line(text: str) -> None:
        if match := _BUILDAH.search(text):
            stage, stages, step, steps = (int(group or 1) for group in match.groups())
            each(stage - 1 + step / steps, stages)
        elif match := _BUILDX.search(text):
            each(int(match[1]), int(match[2]))

    return line
