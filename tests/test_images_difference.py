"""`kit images verify RECIPE IMAGE`: the first layer and file that differ, in a real engine."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kit.cli.main import dispatch
from kit.core import jsonio
from kit.core.errors import ImageUnavailable
from kit.machine import containers, images
from kit.machine.images import difference, make
from kit.machine.images.configuration import configuration

pytestmark = pytest.mark.docker
SERVER = "opt/kit/server.py"


@contextmanager
def loaded(engine: containers.Engine, recipe: images.Recipe) -> Iterator[str]:
    """The image of a recipe, whatever it became, in the engine; removed afterwards."""
    with make.made(recipe) as new:
        engine.load(new.path)
    try:
        yield new.identity.reference
    finally:
        engine.remove_image(new.identity.reference)


def verified(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = dispatch(["images", "verify", *words])
    return code, capsys.readouterr().out


@pytest.fixture(scope="module")
def recipe(engine: containers.Engine) -> images.Recipe:
    images.build("loopback")
    return images.recipe("loopback")


def edited(recipe: images.Recipe, data: bytes) -> images.Recipe:
    return msgspec.structs.replace(recipe, files={**recipe.files, "server.py": data})


def test_the_locked_image_has_no_difference(
    recipe: images.Recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out = verified(capsys, "loopback")
    assert code == 0 and "is what loopback makes, layer by layer" in out
    code, out = verified(capsys, "loopback", "--json")
    assert json.loads(out)["difference"] is None and code == 0


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda data: data + b"\n", "its size is"),
        (lambda data: b"#" + data[1:] if data[:1] != b"#" else b"!" + data[1:], "its content is"),
    ],
)
def test_the_first_file_that_differs_is_named(
    engine: containers.Engine,
    recipe: images.Recipe,
    change: object,
    what: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert callable(change)
    with loaded(engine, edited(recipe, change(recipe.files["server.py"]))) as reference:
        code, out = verified(capsys, "loopback", reference)
    assert code == 4
    assert f"layer 2 (program): {SERVER}: {what}" in out


def test_a_layer_more_and_a_layer_less_are_named(
    engine: containers.Engine, recipe: images.Recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = msgspec.structs.replace(recipe, lock=msgspec.structs.replace(recipe.lock, program=()))
    with loaded(engine, bare) as reference:
        assert (
            "layer 2 (program): the image has no such layer"
            in (verified(capsys, "loopback", reference)[1])
        )


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"Entrypoint": ["/bin/sh"]}, 'Entrypoint is ["/bin/sh"]'),
        ({"User": "0:0"}, 'User is "0:0"'),
        ({"Env": ["LD_PRELOAD=/x.so"]}, 'Env is ["LD_PRELOAD=/x.so"]'),
        ({"Volumes": {"/opt/kit": {}}}, 'Volumes is {"/opt/kit": {}}'),
    ],
)
def test_the_same_layers_that_run_otherwise_are_named(
    engine: containers.Engine,
    recipe: images.Recipe,
    change: dict[str, object],
    what: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def changed(*parts: Any) -> bytes:
        document = jsonio.parse(configuration(*parts))
        return jsonio.canonical({**document, "config": {**document["config"], **change}})

    monkeypatch.setattr(make, "configuration", changed)
    with loaded(engine, recipe) as reference:
        code, out = verified(capsys, "loopback", reference)
    assert code == 4
    assert f"configuration: {what}, and in the recipe" in out


def test_an_image_that_is_not_there_is_blocked(capsys: pytest.CaptureFixture[str]) -> None:
    assert verified(capsys, "loopback", "nobody/nothing:1")[0] == 3


def entry(**facts: object) -> tarfile.TarInfo:
    made = tarfile.TarInfo("opt/kit/x")
    for name, value in facts.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize(
    ("facts", "what"),
    [
        ({"pax_headers": {"SCHILY.xattr.security.capability": "x"}}, "its extended attributes"),
        ({"type": tarfile.SYMTYPE}, "a symbolic link, and in the recipe a file"),
        ({"type": tarfile.CHRTYPE}, "a device or pipe, and in the recipe a file"),
    ],
)
def test_what_a_file_is_besides_its_bytes_counts(facts: dict[str, object], what: str) -> None:
    with tarfile.open(fileobj=io.BytesIO(), mode="w") as tar:
        assert what in difference._unlike(tar, entry(), tar, entry(**facts))


def _archive(path: Path, **members: bytes) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name.replace("__", "."))
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


@pytest.mark.parametrize(
    "members",
    [
        {"manifest__json": b"[]"},
        {"manifest__json": b"{"},
        {"manifest__json": b'[{"Config": "gone", "Layers": []}]'},
        {"manifest__json": b'[{"Config": "c", "Layers": []}]', "c": b'{"rootfs": 3}'},
        {
            "manifest__json": b'[{"Config": "c", "Layers": ["l"]}]',
            "c": b'{"rootfs": {"diff_ids": ["sha256:x"]}}',
            "l": b"\x1f\x8bnot gzip",
        },
    ],
)
def test_an_odd_archive_is_one_error(members: dict[str, bytes], tmp_path: Path) -> None:
    """What the engine saved is no image, or packed in a way that is not read."""
    saved = _archive(tmp_path / "image.tar", **members)
    ours = _archive(tmp_path / "ours.tar", a=b"x")
    with (
        pytest.raises(ImageUnavailable, match="saved"),
        difference._an_image("x:1"),
    ):
        difference._first_file(ours, saved, "sha256:x", tmp_path)


def test_a_layer_of_zstd_is_said_to_be_one(tmp_path: Path) -> None:
    members = {
        "manifest__json": b'[{"Config": "c", "Layers": ["l"]}]',
        "c": b'{"rootfs": {"diff_ids": ["sha256:x"]}}',
        "l": b"\x28\xb5\x2f\xfdzstd",
    }
    saved, ours = _archive(tmp_path / "image.tar", **members), _archive(tmp_path / "o.tar", a=b"x")
    with pytest.raises(ImageUnavailable, match="zstd") as caught, difference._an_image("x:1"):
        difference._first_file(ours, saved, "sha256:x", tmp_path)
    assert "gzip" in caught.value.remedy
