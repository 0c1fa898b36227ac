"""Forgeries of what ran: another image, another recipe, and numbers that no plan can hold."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kit.core import jsonio
from kit.judge.verify import verify
from tests import golden
from tests.verify.forging import (
    edit_events,
    edit_plan,
    edit_spec,
    facts_of,
    failed,
    of_kind,
    sealed_again,
)

OTHER = "sha256:" + "2" * 64
Document = dict[str, Any]


def swap(document: Document, *keys: str) -> None:
    document["image"].update(dict.fromkeys(keys, OTHER))


IMAGES: dict[str, Callable[[Path], object]] = {
    "47 plan of another image": lambda r: edit_plan(
        r, lambda p: swap(p, "image_id", "config_digest")
    ),
    "47b pinned elsewhere": lambda r: edit_plan(r, lambda p: p.update(image_pinned=OTHER)),
    "47c pinned elsewhere in the spec": lambda r: edit_spec(
        r, lambda s: s["image"].update(digest=OTHER)
    ),
    "another recipe": lambda r: edit_plan(r, lambda p: p["image"].update(recipe="llama-server")),
    "called rewrapped": lambda r: edit_plan(r, lambda p: p.update(image_match="rewrapped")),
    "c30 another one was made": lambda r: edit_events(
        r, lambda e: of_kind(e, "container.created")[-1].update(image=OTHER)
    ),
}


@pytest.mark.parametrize("forge", IMAGES.values(), ids=IMAGES)
def test_another_image_than_the_spec_pins_is_found(
    run: Path, forge: Callable[[Path], object]
) -> None:
    assert "IMAGE_DIFFERS" in sealed_again(run, forge, derive=True)


def edit_lock(run: Path, **changed: Any) -> None:
    golden.edit_json(run / "inputs/image/image.json", lambda lock: lock.update(changed))


RECIPES: dict[str, Callable[[Path], object]] = {
    "edited": lambda r: (r / "inputs/image/server.py").write_bytes(b"evil\n"),
    "one more file": lambda r: (r / "inputs/image/more.sh").write_bytes(b"x"),
    "one file less": lambda r: (r / "inputs/image/server.py").unlink(),
    "no lock": lambda r: (r / "inputs/image/image.json").unlink(),
    "no recipe": lambda r: shutil.rmtree(r / "inputs/image"),
    "lock of another image": lambda r: edit_lock(r, image_id=OTHER),
    "lock of another recipe": lambda r: edit_lock(r, recipe="other"),
    "lock that is no object": lambda r: (r / "inputs/image/image.json").write_bytes(b"[]"),
    "lock with half a character": lambda r: (r / "inputs/image/image.json").write_bytes(
        (r / "inputs/image/image.json").read_bytes().replace(b'"title": "', b'"title": "\\ud800')
    ),
    "lock that is no JSON": lambda r: (r / "inputs/image/image.json").write_bytes(b"\xff{"),
}


@pytest.mark.parametrize("named", [True, False], ids=["named by the plan", "older plan"])
@pytest.mark.parametrize("forge", RECIPES.values(), ids=RECIPES)
def test_a_recipe_that_is_not_the_plans_is_found(
    run: Path, forge: Callable[[Path], object], named: bool
) -> None:
    """An older plan names no hash: then what the lock says of its own files must hold."""
    unseen = not named and forge is RECIPES["no recipe"]
    if not named:
        edit_plan(run, lambda p: p.update(image_recipe_sha256=None))
    forge(run)
    verdict = verify(golden.reseal(run))
    assert verdict.passed if unseen else failed(verdict) == {"RECIPE_DIFFERS"}


def test_a_plan_of_an_older_kit_is_not_blamed_for_what_it_could_not_name(run: Path) -> None:
    edit_plan(run, lambda p: p.pop("image_recipe_sha256"))
    verdict = verify(golden.reseal(run))
    assert ("RECIPE_DIFFERS", "SKIP") in {(c.code, c.status) for c in verdict.checks}
    assert verdict.passed


# --- numbers that would trip the formulas -------------------------------------------------------

HUGE = [1e300, -1e300, 1.7e308, 5e-324, -5e-324, 1e-300]


FACTS = (
    *("period_s", "poll_s", "call_s", "scale", "wrap", "gain", "offset", "correction", "squelch"),
    *("gain_correction", "offset_correction_w", "lag_s", "lag_u_s", "slots", "of_no_name"),
)


@pytest.mark.parametrize("value", HUGE)
@pytest.mark.parametrize("fact", FACTS)
def test_facts_lie_within_limits(run: Path, fact: str, value: float) -> None:
    edit_plan(run, lambda p: facts_of(p, "gpu_energy").update({fact: value}))
    assert failed(verify(golden.reseal(run))) == {"FILE_INVALID"}


@pytest.mark.parametrize("value", [*HUGE, {"deep": [1e300]}])
@pytest.mark.parametrize("name", ["env/start.json", "env/end.json", "launches/000/driver.json"])
def test_fingerprints_and_the_drivers_words_lie_within_limits(
    run: Path, name: str, value: object
) -> None:
    golden.edit_json(run / name, lambda d: d.update(of_no_name=value))
    assert failed(verify(golden.reseal(run))) == {"FILE_INVALID"}


@pytest.mark.parametrize(
    "folder",
    ["launches/0", "launches/0000", "launches/ab", "launches/1", "launches/002", "launches/999"],
)
def test_a_launch_has_a_folder_of_three_digits(run: Path, folder: str) -> None:
    (run / folder).mkdir()
    (run / folder / "requests.jsonl").write_bytes(b"")
    assert failed(verify(golden.reseal(run))) == {"FILE_INVALID"}


def test_the_plans_recipe_hash_is_that_of_its_files() -> None:
    from kit.machine import images

    hashes = {
        name: jsonio.digest(data) for name, data in golden.recipe(golden.run_spec().image).items()
    }
    assert images.files_digest(hashes) == jsonio.hash_of(hashes)
    assert images.files_digest(dict(reversed(hashes.items()))) == images.files_digest(hashes)


def test_only_a_recipe_that_is_locked_at_the_pin_is_sealed() -> None:
    from kit.machine import images

    document = images.recipe("loopback")
    assert images.sealable_files("loopback", document.image_id) == images.context_files("loopback")
    assert images.sealable_files("loopback", OTHER) == {}
    assert images.sealable_files("no-such-recipe", document.image_id) == {}
