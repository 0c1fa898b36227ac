"""Images come out the same twice, and where they cannot, kit says so and records it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kit import containers, images, resources
from kit.errors import ImageUnavailable, UsageError
from kit.images import base, make, record, wheels
from kit.images.builder import Archive
from kit.images.recipe import LOCK, Recipe
from kit.model import ImageIdentity, ImageSpec

PINNED = "sha256:" + "1" * 64
OTHER = "sha256:" + "2" * 64
LAYERS = ("sha256:" + "a" * 64,)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own that already holds the base systems made on this machine."""
    shared, own = resources.cache_dir() / "rootfs", tmp_path / "cache"
    (own / "rootfs").mkdir(parents=True)
    for tar in shared.glob("*.tar") if shared.is_dir() else ():
        wheels.link(tar, own / "rootfs" / tar.name)
    monkeypatch.setenv("KIT_CACHE", str(own))
    return own


@pytest.fixture
def copied(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of ``images/`` that a test may change; kit takes its recipes from there."""
    folder = tmp_path / "images"
    shutil.copytree(resources.images_dir(), folder)
    monkeypatch.setattr(resources, "images_dir", lambda: folder)
    return folder


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def identity(image_id: str = PINNED, **changes: Any) -> ImageIdentity:
    facts = {"reference": "x", "recipe": None, "diff_ids": LAYERS, "platform": "linux/amd64"}
    return ImageIdentity(**(facts | {"image_id": image_id} | changes))


# --- recipes and their locks --------------------------------------------------------------------


@pytest.mark.parametrize("found", images.recipes(), ids=lambda r: r.name)
def test_every_recipe_is_locked_as_it_stands(found: Recipe) -> None:
    assert images.edited_files(found) == [], f"run `kit images lock {found.name}`"
    assert found.reference.startswith(f"kit/{found.name}:")
    assert len(found.reference.rpartition(":")[2]) == 12
    for folder, sha256 in found.lock["base"].items():
        lock = json.loads((found.base_dir(folder) / LOCK).read_text())
        assert lock["rootfs_sha256"] == sha256, f"{folder} was locked anew after {found.name}"


@pytest.mark.parametrize("folder", ["base", "builder"])
def test_every_package_of_a_base_is_locked_by_version_and_hash(folder: str) -> None:
    packages = json.loads((resources.images_dir() / folder / LOCK).read_text())["packages"]
    assert "libc6" in packages and "python3" in packages
    assert all(" sha256:" in entry for entry in packages.values())


@pytest.mark.parametrize("path", sorted(resources.images_dir().glob("*/*.lock")), ids=str)
def test_every_python_package_is_locked_by_hash(path: Path) -> None:
    text = path.read_text()
    assert text.count("==") and text.count("==") <= text.count("--hash=sha256:")
    assert "://" not in text, "an index's address would tie the lock to a network"


def test_unknown_recipe_lists_those_there_are() -> None:
    with pytest.raises(ImageUnavailable, match="no image recipe called 'nope'") as caught:
        images.recipe("nope")
    assert "llama-server" in caught.value.remedy


def test_locks_are_not_written_outside_a_clone(copied: Path) -> None:
    with pytest.raises(UsageError, match="clone of kit"):
        images.lock("loopback")


# --- building -----------------------------------------------------------------------------------


@pytest.mark.docker
def test_clone_and_sealed_context_give_the_locked_image(cache: Path, tmp_path: Path) -> None:
    found = images.recipe("loopback")
    with make.made(found) as first:
        assert first.archive.path.is_file()
    sealed = tmp_path / "sealed"
    for name, data in images.context_files("loopback").items():
        (sealed / name).parent.mkdir(parents=True, exist_ok=True)
        (sealed / name).write_bytes(data)
    with make.made(images.at(sealed)) as second:
        assert second.archive.identity == first.archive.identity
    if first.drift == () and first.archive.builder == found.lock["builder"]:
        assert first.archive.identity.image_id == found.image_id
        assert first.archive.identity.diff_ids == tuple(found.lock["diff_ids"])
    assert list((cache / "work").iterdir()) == [], "a build leaves nothing behind"


def test_leftovers_of_a_killed_build_are_swept_and_a_running_one_is_not(tmp_path: Path) -> None:
    for name in ("dead", "running"):
        (tmp_path / name / "context").mkdir(parents=True)
    os.utime(tmp_path / "dead", (0, 0))
    make._sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["running"]


@pytest.mark.docker
def test_built_image_is_in_the_engine_under_its_own_id(
    engine: containers.Engine, loopback_image: ImageIdentity
) -> None:
    found = images.recipe("loopback")
    there = engine.image(found.reference)
    assert there is not None
    assert there.diff_ids == loopback_image.diff_ids == tuple(found.lock["diff_ids"])
    resolved, match = images.resolve(
        ImageSpec(recipe="loopback", digest=found.image_id), engine.image
    )
    assert (resolved.recipe, resolved.source) == ("loopback", "recipe")
    assert match in {"identical", "rewrapped"}
    said: list[str] = []
    assert images.build("loopback", said.append).matches_lock
    assert "already in the engine" in said[0]


@pytest.mark.docker
def test_edited_recipe_is_built_but_does_not_pass_for_the_locked_one(
    copied: Path, engine: containers.Engine
) -> None:
    server = copied / "loopback" / "server.py"
    server.write_text(server.read_text() + "\n# edited\n")
    said: list[str] = []
    result = images.build("loopback", said.append)
    try:
        assert not result.matches_lock
        assert result.drift == ("server.py: changed since the image was locked",)
        assert any("is not the locked image" in line for line in said)
        pin = images.recipe("loopback").image_id
        with pytest.raises(ImageUnavailable, match=r"edited since it was locked: server\.py"):
            images.resolve(ImageSpec(recipe="loopback", digest=pin), lambda _: None)
        codes = {f.code for f in images.check(engine.image) if "loopback" in f.message}
        assert codes == {"IMAGE_RECIPE_EDITED"}
    finally:
        engine.remove_image(result.identity.reference)


@pytest.mark.docker
def test_vanished_package_is_said_and_recorded_and_the_build_goes_on(
    copied: Path, cache: Path, engine: containers.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock of a day when libc6 was older: today's archive has no such version."""
    lock = json.loads((copied / "base" / LOCK).read_text())
    packages = lock["packages"] | {"libc6": f"2.36-9 amd64 sha256:{'0' * 64}"}
    edit(copied / "base" / LOCK, packages=packages, rootfs_sha256="0" * 64)
    edit(copied / "loopback" / LOCK, image_id=PINNED, diff_ids=list(LAYERS))
    monkeypatch.setenv("KIT_DEBIAN_SNAPSHOT", "http://127.0.0.1:9/debian")
    before = (copied / "base" / LOCK).read_bytes(), (copied / "loopback" / LOCK).read_bytes()

    said: list[str] = []
    result = images.build("loopback", said.append)
    assert not result.matches_lock
    assert len(result.drift) == 1 and result.drift[0].startswith(
        "base: libc6: locked 2.36-9, today"
    )
    assert any("trying a snapshot" in line for line in said)
    assert any("the snapshot gave nothing" in line for line in said)
    assert result.drift[0] in "\n".join(said)

    known = record.read("loopback", PINNED)
    assert known and (known.cause, known.image_id) == ("parts", result.identity.image_id)
    after = (copied / "base" / LOCK).read_bytes(), (copied / "loopback" / LOCK).read_bytes()
    assert before == after, "the lock never changes by building"

    resolved, match = images.resolve(ImageSpec(recipe="loopback", digest=PINNED), engine.image)
    assert (match, resolved.diff_ids) == ("different", result.identity.diff_ids)
    finding = next(f for f in images.check(engine.image) if "loopback" in f.message)
    assert (finding.code, finding.level) == ("IMAGE_DIFFERENT", "warn")
    assert "libc6" in finding.message
    again = images.build("loopback")
    assert again.drift == result.drift, "what was built once is not built again"


def test_no_debian_archive_names_the_remedy(
    copied: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(copied / "base" / LOCK, rootfs_sha256="0" * 64)
    monkeypatch.setenv("KIT_DEBIAN_MIRROR", "http://127.0.0.1:9/debian")
    with pytest.raises(ImageUnavailable, match="could not build the base system") as caught:
        base.ensure(copied / "base", make.nothing, make.nothing)
    assert "KIT_DEBIAN_MIRROR" in caught.value.remedy
    assert list((cache / "rootfs").glob("building-*")) == []


def test_damaged_base_in_the_cache_is_not_used(cache: Path, copied: Path) -> None:
    sha256 = "0" * 64
    (cache / "rootfs" / f"{sha256}.tar").write_bytes(b"damaged")
    assert base._cached(sha256) is None
    assert not (cache / "rootfs" / f"{sha256}.tar").exists()


def test_missing_builder_names_the_remedy(
    cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    rootfs = json.loads((resources.images_dir() / "base" / LOCK).read_text())["rootfs_sha256"]
    if not (cache / "rootfs" / f"{rootfs}.tar").is_file():
        pytest.skip("no base system was made on this machine yet")
    with (
        pytest.raises(ImageUnavailable, match="buildah is not installed") as caught,
        make.made(images.recipe("loopback")),
    ):
        pass
    assert "make engine" in caught.value.remedy


@pytest.mark.docker
def test_llama_server_says_in_one_line_that_it_cannot_serve(engine: containers.Engine) -> None:
    built = images.build("llama-server").identity
    argv = ["docker", "run", "--rm", "--network=none", "--read-only", built.reference]
    absent = subprocess.run([*argv, "-m", "/nope"], capture_output=True, text=True, check=False)
    assert (absent.returncode, absent.stderr) == (1, "llama-server: cannot read the model /nope\n")
    garbage = subprocess.run(
        [*argv, "-m", "/etc/passwd"], capture_output=True, text=True, check=False
    )
    assert garbage.returncode == 1
    assert "llama-server: cannot serve /etc/passwd: " in garbage.stderr


# --- the wheelhouse -----------------------------------------------------------------------------


def collect(tmp_path: Path, text: str) -> tuple[tuple[str, ...], list[str], str]:
    """The drift, the files fetched, and the requirement file as the build would see it."""
    asked, context = tmp_path / "asked" / "requirements.lock", tmp_path / "context"
    asked.parent.mkdir()
    asked.write_text(text)
    context.mkdir()
    drift = wheels.collect(asked, context / "wheels", make.nothing, make.nothing)
    rewritten = context / "requirements.lock"
    files = sorted(p.name for p in (context / "wheels").iterdir())
    return drift, files, rewritten.read_text() if rewritten.exists() else text


def test_locked_wheel_is_fetched_for_the_image_not_for_the_host(
    cache: Path, tmp_path: Path
) -> None:
    text = (resources.images_dir() / "installer" / "requirements.lock").read_text()
    drift, files, seen = collect(tmp_path, text)
    assert (drift, len(files), seen) == ((), 1, text)
    assert len(list((cache / "wheels").iterdir())) == 1, "kept for the next build"


def test_wheel_with_another_hash_is_refused(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(ImageUnavailable, match="DO NOT MATCH THE HASHES"):
        collect(tmp_path, f"rfc8785==0.1.4 --hash=sha256:{'0' * 64}\n")
    assert list((cache / "wheels").iterdir()) == []


def test_version_gone_from_the_index_is_replaced_and_said(cache: Path, tmp_path: Path) -> None:
    drift, files, seen = collect(tmp_path, f"rfc8785==0.0.0.1 --hash=sha256:{'0' * 64}\n")
    assert drift == ("rfc8785: locked 0.0.0.1, no longer in the index; took the newest",)
    assert len(files) == 1 and "rfc8785==0.0.0.1" not in seen
    assert wheels.file_sha256(tmp_path / "context" / "wheels" / files[0]) in seen
    assert list((cache / "wheels").iterdir()) == [], "what is not as locked is not kept"


# --- which image may stand for a pin ------------------------------------------------------------


@pytest.fixture
def pinned(copied: Path) -> Iterator[Recipe]:
    edit(copied / "loopback" / LOCK, image_id=PINNED, config_digest=PINNED, diff_ids=list(LAYERS))
    yield images.recipe("loopback")


SPEC = ImageSpec(recipe="loopback", digest=PINNED)


@pytest.mark.parametrize("name", ["image_id", "config_digest", "manifest_digest", "index_digest"])
def test_any_name_of_the_image_may_be_the_pin(pinned: Recipe, name: str) -> None:
    there = identity(**({"image_id": OTHER} | {name: PINNED}))
    resolved, match = images.resolve(SPEC, {pinned.reference: there}.get)
    assert (match, resolved.recipe) == ("identical", "loopback")


def test_same_layers_under_another_id_are_rewrapped(pinned: Recipe) -> None:
    assert images.resolve(SPEC, {pinned.reference: identity(OTHER)}.get)[1] == "rewrapped"


def test_other_layers_under_the_locked_name_are_refused(pinned: Recipe) -> None:
    impostor = identity(OTHER, diff_ids=("sha256:" + "b" * 64,))
    with pytest.raises(ImageUnavailable, match="is not in the engine") as caught:
        images.resolve(SPEC, {pinned.reference: impostor}.get)
    assert caught.value.remedy == "`kit images build loopback`"


def test_pin_of_another_lock_says_both(pinned: Recipe) -> None:
    with pytest.raises(ImageUnavailable, match="locked at " + PINNED) as caught:
        images.resolve(ImageSpec(recipe="loopback", digest=OTHER), lambda _: None)
    assert OTHER in caught.value.message


def test_other_builder_with_equal_parts_is_recorded_as_such(pinned: Recipe) -> None:
    built = identity(OTHER, reference="kit/loopback:222222222222", diff_ids=("sha256:" + "b" * 64,))
    known = record.of(pinned, Archive(Path("none"), built, {"buildah": "9.9"}), [], ())
    record.write(known)
    assert known.cause == "builder" and "buildah 9.9" in known.drift[0]
    assert images.resolve(SPEC, {built.reference: built}.get)[1] == "different"
    replaced = identity(OTHER, diff_ids=("sha256:" + "c" * 64,))
    with pytest.raises(ImageUnavailable):
        images.resolve(SPEC, {built.reference: replaced}.get)


def test_older_pin_rebuilt_from_a_sealed_run_is_known_by_its_layers(pinned: Recipe) -> None:
    """The engine keeps images in containerd's store, which does not tell the config's digest."""
    older = pinned._replace(lock=pinned.lock | {"image_id": OTHER})
    built = identity(OTHER, reference=f"kit/loopback:{'2' * 12}")
    record.write(record.of(older, Archive(Path("none"), built, {"buildah": "1"}), [], ()))
    there = identity("sha256:" + "3" * 64)
    spec = ImageSpec(recipe="loopback", digest=OTHER)
    assert images.resolve(spec, {built.reference: there}.get)[1] == "rewrapped"


def test_upstream_image_is_known_by_its_digest_alone() -> None:
    spec = ImageSpec(reference="example/server", digest=PINNED)
    name = f"example/server@{PINNED}"
    resolved, match = images.resolve(spec, {name: identity(OTHER, index_digest=PINNED)}.get)
    assert (match, resolved.source, resolved.reference) == ("identical", "registry", name)
    with pytest.raises(ImageUnavailable, match="is not in the engine") as caught:
        images.resolve(spec, {name: identity(OTHER)}.get)
    assert caught.value.remedy.startswith(f"`docker pull {name}`, ")


def test_an_image_imported_here_is_known_by_its_id_and_comes_from_no_registry() -> None:
    spec = ImageSpec(reference=f"mine/server@{PINNED}")
    resolved, match = images.resolve(spec, {PINNED: identity(PINNED)}.get)
    assert (match, resolved.source, resolved.image_id) == ("identical", "archive", PINNED)
    assert resolved.reference == f"mine/server@{PINNED}"
    with pytest.raises(ImageUnavailable, match="is not in the engine"):
        images.resolve(spec, {PINNED: identity(OTHER)}.get)


@pytest.mark.parametrize("path", sorted(resources.specs_dir().glob("*.json")), ids=lambda p: p.name)
def test_example_specs_pin_the_locked_images(path: Path) -> None:
    image = json.loads(path.read_text())["image"]
    if "recipe" in image:
        assert image["digest"] == images.recipe(image["recipe"]).image_id
