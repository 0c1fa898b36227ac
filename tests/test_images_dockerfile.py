"""The Dockerfile beside a recipe gives the files that kit gives, with another builder."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import IO, Any

import pytest

from kit.core import jsonio
from kit.machine import images
from kit.machine.images import make
from kit.machine.images.configuration import configuration

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(
        shutil.which("buildah") is None, reason="buildah is not here: `make tools` installs it"
    ),
]
# What a builder makes by itself, where a container's runtime will mount something.
OF_THE_BUILDER = {"dev", "proc", "sys", "run", "etc/hosts", "etc/resolv.conf", "etc/hostname"}


def entry(tar: tarfile.TarFile, member: tarfile.TarInfo, links: dict[str, Any]) -> Any:
    """What a file is, its time left aside; a hard link is what it links to."""
    if member.islnk():
        return links[member.linkname.removeprefix("./")]
    content = tar.extractfile(member) if member.isreg() else None
    data = jsonio.digest(content.read()) if content else member.linkname
    mode = member.mode & 0o7777 if not member.issym() else 0
    return (member.type, mode, member.uid, member.gid, data)


def files_of(layers: list[IO[bytes]]) -> dict[str, Any]:
    """Every file of an image by its path, from its layers, bottom first."""
    files: dict[str, Any] = {}
    for layer in layers:
        with tarfile.open(fileobj=layer) as tar:
            for member in tar:
                path = member.name.removeprefix("./").strip("/")
                if path not in OF_THE_BUILDER | {"", "."}:
                    files[path] = entry(tar, member, files)
    return files


def image_of(archive: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The configuration and the files of the image in a docker-archive."""
    with tarfile.open(archive) as tar:
        (manifest,) = json.load(tar.extractfile("manifest.json"))  # type: ignore[arg-type]
        config = json.load(tar.extractfile(manifest["Config"]))  # type: ignore[arg-type]
        layers = [tar.extractfile(name) for name in manifest["Layers"]]
        return config["config"], files_of([layer for layer in layers if layer])


def buildah(context: Path, work: Path) -> Path:
    """The image that buildah makes of the Dockerfile in ``context``, as a docker-archive."""
    storage = [f"--root={work / 'root'}", f"--runroot={work / 'run'}", "--storage-driver=vfs"]
    try:
        bud = ["bud", "--isolation=chroot", f"--iidfile={work / 'iid'}", context]
        _run(*storage, *bud)
        image = (work / "iid").read_text().strip()
        _run(*storage, "push", "--quiet", image, f"docker-archive:{work / 'image.tar'}")
    finally:
        _run(*storage, "rmi", "--all", "--force")
    return work / "image.tar"


def _run(*words: object) -> None:
    argv = ["buildah", *map(str, words)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


COMPILED = pytest.param("llama-cpp-python", marks=[pytest.mark.runtimes, pytest.mark.timeout(3600)])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["loopback", "llama-server", COMPILED])
def test_the_dockerfile_gives_the_same_files(name: str, tmp_path: Path) -> None:
    recipe = images.recipe(name)
    images.lay(recipe, tmp_path / "context", make.nothing, make.nothing)
    theirs_config, theirs = image_of(buildah(tmp_path / "context", tmp_path))
    with make.made(recipe) as new:
        _, ours = image_of(new.path)
    assert ours == theirs
    wanted = jsonio.parse(configuration(recipe.lock, recipe.base, recipe.diff_ids), "ours")[
        "config"
    ]
    theirs_config["Labels"].pop("io.buildah.version", None)
    assert {key: theirs_config.get(key) for key in wanted if key != "Env"} == {
        key: wanted[key] for key in wanted if key != "Env"
    }
    assert set(theirs_config["Env"]) == set(wanted["Env"])
