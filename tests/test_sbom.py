"""The bill of materials of an image: what its lock lists, in CycloneDX, always the same bytes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from kit.core import jsonio
from kit.judge.verify import image
from kit.machine import images
from kit.machine.images import sbom
from kit.record import archive
from tests import golden

NAMES = [recipe.name for recipe in images.recipes()]


@pytest.mark.parametrize("name", NAMES)
def test_it_lists_every_part_of_the_lock_and_nothing_else(name: str) -> None:
    recipe = images.recipe(name)
    document = json.loads(sbom.document(recipe))
    assert sbom.listed(document) == sbom.parts(recipe)
    lock = recipe.lock
    programs = len(lock.program) + (1 if lock.compile else 0)
    assert len(document["components"]) == len(recipe.base.packages) + len(lock.wheels) + programs
    assert document["metadata"]["component"]["version"] == recipe.image_id


@pytest.mark.parametrize("name", NAMES)
def test_it_follows_the_schema_of_cyclonedx(name: str) -> None:
    text = sbom.document(images.recipe(name)).decode()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None


def test_the_same_lock_gives_the_same_bytes() -> None:
    first, second = (sbom.document(images.recipe("llama-server")) for _ in range(2))
    assert first == second == jsonio.canonical(json.loads(first))


def _of(run: Path) -> list[str]:
    with archive.open_source(run) as source:
        return list(image._of_parts(source))


def test_a_run_whose_bill_lists_other_parts_is_not_its_recipes(tmp_path: Path) -> None:
    run = golden.copied(tmp_path / "runs")
    with archive.open_source(run) as source:
        recipe = images.sealed(source)
    place = run / sbom.FILE
    place.write_bytes(sbom.document(recipe))
    assert _of(golden.reseal(run)) == []
    (run,) = (tmp_path / "runs").glob("[0-9a-f]*")
    golden.edit_json(run / sbom.FILE, lambda bill: bill["components"].pop())
    assert _of(golden.reseal(run)) == [f"{sbom.FILE} lists other parts than the recipe's lock"]
    (run,) = (tmp_path / "runs").glob("[0-9a-f]*")
    (run / sbom.FILE).write_bytes(b"[]")
    assert _of(golden.reseal(run)) == [f"{sbom.FILE} is no bill of materials"]
