"""`kit images verify RECIPE IMAGE`: the first layer and file that differ, in a real engine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import pytest

from kit.cli.main import dispatch
from kit.machine import containers, images
from kit.machine.images import make

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


def test_an_image_that_is_not_there_is_blocked(capsys: pytest.CaptureFixture[str]) -> None:
    assert verified(capsys, "loopback", "nobody/nothing:1")[0] == 3
