"""Images come out the same twice, and where they cannot, kit says so and records it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kit.core import jsonio, resources
from kit.core.errors import ImageUnavailable, UsageError
from kit.core.model import ImageIdentity, ImageSpec
from kit.machine import containers, images
from kit.machine.images import apt, lockwriter, make, mirror, process, record, wheels
from kit.machine.images.configuration import configuration, image_id
from kit.machine.images.files import file_sha256, same_file
from kit.machine.images.locks import LOCK, Package
from kit.machine.images.recipe import Recipe, own_base, reference
from kit.machine.images.sealed import checked

GENUINE = images.recipe("loopback")
PINNED, LAYERS = GENUINE.image_id, GENUINE.diff_ids
OLDER = ("sha256:" + "a" * 64,)
OTHER = "sha256:" + "2" * 64


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own that already holds the parts fetched on this machine."""
    shared, own = resources.cache_dir(), tmp_path / "cache"
    for part in ("debs", "layers", "packages"):
        (own / part).mkdir(parents=True)
        for file in (shared / part).iterdir() if (shared / part).is_dir() else ():
            if file.is_file():
                os.link(file, own / part / file.name)
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


@pytest.mark.parametrize("recipe", images.recipes(), ids=lambda r: r.name)
def test_every_recipe_is_locked_as_it_stands(recipe: Recipe) -> None:
    assert images.edited_files(recipe) == [], f"run `kit images lock {recipe.name}`"
    assert recipe.reference.startswith(f"kit/{recipe.name}:")
    assert len(recipe.reference.rpartition(":")[2]) == 12
    assert checked(images.context_files(recipe.name)) == msgspec.structs.replace(recipe, own=False)


def test_what_is_compiled_for_any_cpu_says_for_which() -> None:
    """Without native tuning ggml uses the first x86-64's instructions, unless it is told others."""
    wanted = {f"-DGGML_{name}=ON" for name in ("SSE42", "AVX", "AVX2", "BMI2", "FMA", "F16C")}
    compiled = [r for r in images.recipes() if r.lock.compile]
    assert compiled
    for recipe in compiled:
        assert recipe.lock.compile and wanted <= set(recipe.lock.compile.settings), recipe.name


def test_a_file_that_recipes_share_is_sealed_like_any_other() -> None:
    """A link into a folder beside the recipe: its content is hashed, packed and sealed."""
    links = [p for p in resources.images_dir().glob("*/*") if p.is_symlink()]
    assert links, "nothing is shared any more: drop this test"
    for link in links:
        assert link.resolve().parent.parent == resources.images_dir().resolve()
        if not (link.parent / "image.json").is_file():
            continue  # the parts of an image of one's own (exllamav3)
        recipe = images.recipe(link.parent.name)
        assert link.name in recipe.lock.program
        assert images.context_files(recipe.name)[link.name] == link.read_bytes()
        assert recipe.lock.files[link.name] == jsonio.digest(link.read_bytes())


@pytest.mark.parametrize("folder", ["base", "builder"])
def test_every_package_of_a_base_is_locked(folder: str) -> None:
    packages = own_base(folder).packages
    assert "libc6" in packages and "python3" in packages
    assert mirror.place("libc6", packages["libc6"]).startswith("pool/main/g/glibc/libc6_2.36-")


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


def test_clone_and_sealed_recipe_give_the_locked_image_twice(cache: Path) -> None:
    """One from cached layers, one from the packages again: the same bytes, with no engine."""
    recipe = images.recipe("loopback")
    with make.made(recipe) as first:
        data = first.path.read_bytes()
    shutil.rmtree(cache / "layers")
    with make.made(checked(images.context_files("loopback"))) as second:
        assert second.identity == first.identity
        assert second.path.read_bytes() == data
    assert (first.identity.image_id, first.drift) == (recipe.image_id, ())
    assert first.identity.diff_ids == recipe.diff_ids
    assert list((cache / "work").iterdir()) == [], "a build leaves nothing behind"


def test_the_archive_is_a_docker_archive_and_an_oci_layout(cache: Path, tmp_path: Path) -> None:
    recipe = images.recipe("loopback")
    with make.made(recipe) as new, tarfile.open(new.path) as tar:
        read = {m.name: tar.extractfile(m).read() for m in tar if m.size < 1 << 20}  # type: ignore[union-attr]
        sizes = {m.name: m.size for m in tar}
    (docker,) = json.loads(read["manifest.json"])
    (described,) = json.loads(read["index.json"])["manifests"]
    blob = "blobs/sha256/"
    manifest = json.loads(read[blob + described["digest"].removeprefix("sha256:")])
    assert docker["RepoTags"] == [recipe.reference]
    assert docker["Config"] == blob + recipe.image_id.removeprefix("sha256:")
    assert manifest["config"]["digest"] == recipe.image_id == new.identity.config_digest
    assert [layer["digest"] for layer in manifest["layers"]] == list(recipe.diff_ids)
    assert docker["Layers"] == [blob + d.removeprefix("sha256:") for d in recipe.diff_ids]
    for name, data in read.items():
        if name.startswith(blob):
            assert name == blob + jsonio.digest(data)
    described_sizes = {blob + e["digest"][7:]: e["size"] for e in manifest["layers"]}
    assert described_sizes.items() <= sizes.items()


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
    recipe = images.recipe("loopback")
    there = engine.image(recipe.reference)
    assert there is not None
    assert there.diff_ids == loopback_image.diff_ids == recipe.diff_ids
    resolved, match = images.resolve(
        ImageSpec(recipe="loopback", digest=recipe.image_id), engine.image
    )
    assert (resolved.recipe, resolved.source) == ("loopback", "recipe")
    assert match in {"identical", "rewrapped"}
    messages: list[str] = []
    assert images.build("loopback", messages.append).matches_lock
    assert "already in the engine" in messages[0]


@pytest.mark.docker
def test_edited_recipe_is_built_but_does_not_pass_for_the_locked_one(
    copied: Path, engine: containers.Engine
) -> None:
    server = copied / "loopback" / "server.py"
    server.write_text(server.read_text() + "\n# edited\n")
    messages: list[str] = []
    result = images.build("loopback", messages.append)
    try:
        assert not result.matches_lock
        assert result.drift == ("server.py: changed since the image was locked",)
        assert any("is not the locked image" in line for line in messages)
        pin = images.recipe("loopback").image_id
        with pytest.raises(ImageUnavailable, match=r"edited since it was locked: server\.py"):
            images.resolve(ImageSpec(recipe="loopback", digest=pin), lambda _: None)
        codes = {f.code for f in images.check(engine.image) if "loopback" in f.message}
        assert codes == {"IMAGE_RECIPE_EDITED"}
    finally:
        engine.remove_image(result.identity.reference)


@pytest.fixture
def vanished(copied: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """The lock of a day when libc6 was older: today's archive has no such version."""
    lock = json.loads((copied / "base" / LOCK).read_text())
    lock["packages"]["libc6"] |= {"version": "2.36-9", "sha256": "0" * 64}
    edit(copied / "base" / LOCK, packages=lock["packages"], diff_id=PINNED)
    first = images.recipe("loopback")
    diff_ids = (PINNED, *first.diff_ids[1:])
    pin = image_id(configuration(first.lock, first.base, diff_ids))
    edit(copied / "loopback" / LOCK, image_id=pin, diff_ids=diff_ids)
    return images.recipe("loopback")


@pytest.mark.docker
def test_vanished_package_is_said_and_recorded_and_the_build_goes_on(
    vanished: Recipe, copied: Path, engine: containers.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apt.Archive, "snapshot", lambda *_: "http://127.0.0.1:9/debian")
    before = (copied / "base" / LOCK).read_bytes(), (copied / "loopback" / LOCK).read_bytes()
    messages: list[str] = []
    result = images.build("loopback", messages.append)
    assert not result.matches_lock
    assert len(result.drift) == 1
    assert result.drift[0].startswith("base: libc6: locked 2.36-9, today 2.36-9+deb12")
    assert any("trying a snapshot" in line for line in messages)
    assert any("the snapshot gave nothing" in line for line in messages)
    assert result.drift[0] in "\n".join(messages)

    locked_record = record.read(vanished)
    assert locked_record and (locked_record.cause, locked_record.image_id) == (
        "parts",
        result.identity.image_id,
    )
    after = (copied / "base" / LOCK).read_bytes(), (copied / "loopback" / LOCK).read_bytes()
    assert before == after, "the lock never changes by building"

    pin = ImageSpec(recipe="loopback", digest=vanished.image_id)
    resolved, match = images.resolve(pin, engine.image)
    assert (match, resolved.diff_ids) == ("different", result.identity.diff_ids)
    finding = next(f for f in images.check(engine.image) if "loopback" in f.message)
    assert (finding.code, finding.level) == ("IMAGE_DIFFERENT", "warn")
    assert "libc6" in finding.message
    again = images.build("loopback")
    assert again.drift == result.drift, "what was built once is not built again"


def test_a_sealed_recipe_gets_no_other_parts_than_its_own(
    vanished: Recipe, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apt.Archive, "snapshot", lambda *_: None)
    sealed = checked(images.context_files("loopback"))
    with pytest.raises(ImageUnavailable, match="have left the mirrors: libc6") as caught:
        images.build_recipe(sealed)
    assert "KIT_DEBIAN_SNAPSHOT" in caught.value.remedy
    assert not (cache / "substitutes").exists() and not (cache / "images").exists()


@pytest.fixture
def strange(copied: Path) -> Iterator[Recipe]:
    """A sealed recipe that is no recipe of this kit, and its genuine lock."""
    edit(copied / "loopback" / LOCK, licenses="of a stranger")
    with make.made(images.recipe("loopback")) as new:
        edit(copied / "loopback" / LOCK, image_id=new.identity.image_id)
    yield checked(images.context_files("loopback"))


@pytest.mark.docker
def test_a_sealed_recipe_gives_its_locked_image(
    strange: Recipe, cache: Path, engine: containers.Engine
) -> None:
    assert engine.image(strange.reference) is None
    built = images.build_recipe(strange)
    try:
        assert built.matches_lock and built.identity.image_id == strange.image_id
        pin = ImageSpec(recipe="loopback", digest=strange.image_id)
        assert images.resolve(pin, engine.image)[1] == "identical"
        assert record.layers(strange.image_id) == strange.diff_ids
        assert not (cache / "substitutes").exists()
    finally:
        engine.remove_image(strange.reference)


@pytest.mark.docker
def test_a_sealed_recipe_that_gives_another_image_leaves_no_trace(
    strange: Recipe, cache: Path, engine: containers.Engine
) -> None:
    """Its lock is consistent, and its parts give other layers than it names."""
    diff_ids = (strange.diff_ids[0], OTHER)
    pin = image_id(configuration(strange.lock, strange.base, diff_ids))
    lock = msgspec.structs.replace(strange.lock, diff_ids=diff_ids, image_id=pin)
    forged = msgspec.structs.replace(strange, lock=lock)
    with pytest.raises(ImageUnavailable, match="it was not used") as caught:
        images.build_recipe(forged)
    assert caught.value.remedy
    assert engine.image(forged.reference) is None and engine.image(strange.reference) is None
    assert not (cache / "substitutes").exists() and not (cache / "images").exists()
    with pytest.raises(ImageUnavailable):
        images.resolve(ImageSpec(recipe="loopback", digest=pin), engine.image)


def test_no_debian_archive_names_the_remedy(
    copied: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(cache / "layers")
    shutil.rmtree(cache / "debs")
    monkeypatch.setenv("KIT_DEBIAN_MIRROR", "http://127.0.0.1:9/debian")
    with pytest.raises(ImageUnavailable, match="no Debian mirror could be reached") as caught:
        make.made(images.recipe("loopback")).__enter__()
    assert "KIT_DEBIAN_MIRROR" in caught.value.remedy
    assert list((cache / "work").iterdir()) == []


def test_a_package_with_another_hash_is_not_used(
    copied: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mirror that serves other bytes under the right name."""
    deb = own_base("base").packages["hostname"]
    place = tmp_path / "mirror" / mirror.place("hostname", deb)
    place.parent.mkdir(parents=True)
    place.write_bytes(bytes(deb.size))
    files, missing = mirror.collect(
        {"hostname": msgspec.structs.replace(deb, sha256="0" * 64)},
        (f"file://{tmp_path}/mirror",),
        make.nothing,
    )
    assert (files, missing) == ({}, ["hostname"])
    assert [p for p in (cache / "debs").iterdir() if p.read_bytes() == bytes(deb.size)] == []


def test_damaged_part_in_the_cache_is_not_used(cache: Path) -> None:
    damaged = cache / "layers" / "damaged.tar"
    damaged.write_bytes(b"damaged")
    assert not same_file(damaged, "0" * 64)
    assert not damaged.exists()


def test_building_starts_no_program_but_apt_and_pip(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither is given a word of the recipe: apt prints its sources, pip's Python reads stdin."""
    shutil.rmtree(cache / "layers")
    shutil.rmtree(cache / "packages")
    started: list[list[str]] = []
    real = process._started
    monkeypatch.setattr(process, "_started", lambda a, e: (started.append(list(a)), real(a, e))[1])
    with make.made(checked(images.context_files("llama-server"))) as new:
        assert new.identity.image_id == images.recipe("llama-server").image_id
    assert [argv[:2] for argv in started] == [["apt-get", "indextargets"], [sys.executable, "-P"]]
    words = " ".join(" ".join(argv) for argv in started)
    assert not [p for p in ("xllamacpp", "libc6", "bookworm") if p in words]


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


# --- Python packages ----------------------------------------------------------------------------

SMALL = Package(
    name="rfc8785",
    version="0.1.4",
    file="rfc8785-0.1.4-py3-none-any.whl",
    sha256="520d690b448ecf0703691c76e1a34a24ddcd4fc5bc41d589cb7c58ec651bcd48",
    size=9240,
)


def test_a_locked_file_is_fetched_and_kept_by_its_hash(cache: Path) -> None:
    shutil.rmtree(cache / "packages")
    files = wheels.collect([SMALL], make.nothing, make.nothing)
    assert files == {SMALL.file: cache / "packages" / SMALL.sha256}
    assert file_sha256(files[SMALL.file]) == SMALL.sha256
    assert [p.name for p in (cache / "packages").iterdir()] == [SMALL.sha256]


OTHERS = {"sha256": "0" * 64, "file": "rfc8785-0.0.0-py3-none-any.whl", "size": 5}


@pytest.mark.parametrize("field", OTHERS)
def test_another_file_than_the_locked_one_is_not_taken(cache: Path, field: str) -> None:
    shutil.rmtree(cache / "packages")
    other = msgspec.structs.replace(SMALL, **{field: OTHERS[field]})
    with pytest.raises(ImageUnavailable, match="no file of the locked hash for: rfc8785") as caught:
        wheels.collect([other], make.nothing, make.nothing)
    assert "lock the recipe again" in caught.value.remedy
    assert list((cache / "packages").iterdir()) == []


def test_a_requirement_file_is_resolved_for_the_image_not_for_the_host(tmp_path: Path) -> None:
    """The host may have any Python; the image has 3.11."""
    for name, source in (("llama-cpp-python/build.lock", False), ("llama-server", False)):
        path = resources.images_dir() / name
        path = path if path.suffix else path / "requirements.lock"
        recipe = lockwriter.resolve(path, source=source)
        lock = images.recipe(path.parent.name).lock
        assert recipe == (lock.compile.tools if lock.compile else lock.wheels)


# --- which image may stand for a pin ------------------------------------------------------------


@pytest.fixture
def pinned(copied: Path) -> Iterator[Recipe]:
    yield images.recipe("loopback")


SPEC = ImageSpec(recipe="loopback", digest=PINNED)


@pytest.mark.parametrize("name", ["image_id", "config_digest", "manifest_digest", "index_digest"])
def test_any_name_of_the_image_may_be_the_pin(pinned: Recipe, name: str) -> None:
    there = identity(**({"image_id": OTHER} | {name: PINNED}))
    resolved, match = images.resolve(SPEC, {pinned.reference: there}.get)
    assert (match, resolved.recipe) == ("identical", "loopback")


def test_a_name_that_another_image_took_does_not_hide_the_pin(pinned: Recipe) -> None:
    taken = {pinned.reference: identity(OTHER), PINNED: identity()}
    recipe, match = images.resolve(SPEC, taken.get)
    assert (recipe.image_id, match) == (PINNED, "identical")


def test_same_layers_under_another_id_are_rewrapped(pinned: Recipe) -> None:
    assert images.resolve(SPEC, {pinned.reference: identity(OTHER)}.get)[1] == "rewrapped"


def test_same_layers_with_another_configuration_are_refused(pinned: Recipe) -> None:
    """The tag has 12 digits of an id: a stranger's image may have been made to share them."""
    there = identity(OTHER, config_digest=OTHER)
    with pytest.raises(ImageUnavailable):
        images.resolve(SPEC, {pinned.reference: there}.get)


def test_other_layers_under_the_locked_name_are_refused(pinned: Recipe) -> None:
    impostor = identity(OTHER, diff_ids=("sha256:" + "b" * 64,))
    with pytest.raises(ImageUnavailable, match="is not in the engine") as caught:
        images.resolve(SPEC, {pinned.reference: impostor}.get)
    assert caught.value.remedy == "`kit images build loopback`"


def test_pin_of_another_lock_says_both(pinned: Recipe) -> None:
    with pytest.raises(ImageUnavailable, match="locked at " + PINNED) as caught:
        images.resolve(ImageSpec(recipe="loopback", digest=OTHER), lambda _: None)
    assert OTHER in caught.value.message


def test_a_compiler_that_gives_other_bytes_is_recorded_as_such(pinned: Recipe) -> None:
    built = identity(OTHER, reference="kit/loopback:222222222222", diff_ids=("sha256:" + "b" * 64,))
    record.write(record.substitute(pinned, built, "compiled", ("why",)))
    assert images.resolve(SPEC, {built.reference: built}.get)[1] == "different"
    replaced = identity(OTHER, diff_ids=("sha256:" + "c" * 64,))
    with pytest.raises(ImageUnavailable):
        images.resolve(SPEC, {built.reference: replaced}.get)


def test_a_record_speaks_for_the_very_recipe_that_was_built(pinned: Recipe, copied: Path) -> None:
    """Another recipe that claims the genuine digest is not found by the genuine one."""
    forged = msgspec.structs.replace(pinned, files=pinned.files | {"server.py": b"evil"})
    built = identity(OTHER, reference="kit/loopback:222222222222", diff_ids=("sha256:" + "b" * 64,))
    record.write(record.substitute(forged, built, "parts", ("why",)))
    assert record.read(pinned) is None and record.read(forged)
    with pytest.raises(ImageUnavailable):
        images.resolve(SPEC, {built.reference: built}.get)


def test_a_forged_record_is_not_believed(pinned: Recipe, cache: Path) -> None:
    """Layers are found by a configuration whose own hash is the pin, or not at all."""
    config = configuration(pinned.lock, pinned.base, OLDER)
    record.keep(config)
    place = cache / "images" / f"{jsonio.digest(config)}.json"
    assert record.layers(image_id(config)) == OLDER
    place.with_name(f"{'2' * 64}.json").write_bytes(config)
    assert record.layers(OTHER) is None
    place.write_bytes(config + b" ")
    assert record.layers(image_id(config)) is None


def test_older_pin_rebuilt_from_a_sealed_run_is_known_by_its_layers(pinned: Recipe) -> None:
    """The engine keeps images in containerd's store, which does not show the config's digest."""
    config = configuration(pinned.lock, pinned.base, OLDER)
    pin = image_id(config)
    record.keep(config)
    there = identity("sha256:" + "3" * 64, diff_ids=OLDER)
    spec = ImageSpec(recipe="loopback", digest=pin)
    assert images.resolve(spec, {reference("loopback", pin): there}.get)[1] == "rewrapped"


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


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": "kit.base/2", "diff_id": ""}'])
def test_a_malformed_base_is_one_error(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base/image.json").write_text(text)
    monkeypatch.setattr(resources, "images_dir", lambda: tmp_path)
    with pytest.raises(ImageUnavailable, match=r"base/image\.json: "):
        own_base("base")
