"""What a face reads of a sealed run, in whole and at a glance; what is missing is told."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from kit.core.errors import KitError
from kit.show import glance
from kit.show.documents import documents_of, leaves, recorded, spec_of
from tests.committed import QUICKSTART


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The quickstart run, to be damaged."""
    found = tmp_path / QUICKSTART.name
    shutil.copytree(QUICKSTART, found, copy_function=shutil.copyfile)
    return found


def test_every_document_is_read_and_the_hash_is_the_manifests() -> None:
    found = documents_of(QUICKSTART)
    assert found.run == QUICKSTART.name and not found.faults
    assert found.spec == spec_of(QUICKSTART) and found.results["metrics"]
    assert found.sizes["spec.json"] == (QUICKSTART / "spec.json").stat().st_size


@pytest.mark.parametrize(
    ("written", "why"),
    [(None, "spec.json"), (b"[1]", "spec.json is not an object"), (b"{", "spec.json")],
    ids=["missing", "a list", "cut"],
)
def test_a_damaged_document_is_told_and_the_others_are_there(
    copy: Path, written: bytes | None, why: str
) -> None:
    (copy / "spec.json").unlink() if written is None else (copy / "spec.json").write_bytes(written)
    found = documents_of(copy)
    assert found.spec == {} and found.results["metrics"]
    assert list(found.faults) == ["spec"] and why in found.faults["spec"]
    assert recorded(copy).fault
    assert glance.read(copy).facts == glance.read(QUICKSTART).facts
    with pytest.raises(KitError):
        spec_of(copy)


def test_a_glance_of_a_run_without_its_samples_says_why_there_is_no_power(copy: Path) -> None:
    whole = glance.read(QUICKSTART)
    assert whole.picture.traces and not whole.no_power
    shutil.rmtree(copy / "samples")
    seen = glance.read(copy)
    assert not seen.picture.traces and seen.no_power
    assert dict(seen.facts)["model"] == dict(whole.facts)["model"]


def test_facts_are_told_as_people_write_them() -> None:
    document = {"a": {"b": 1, "c": True}, "d": {"absent": "no"}, "e": [1, 2], "f": {}, "g": None}
    assert dict(leaves(document)) == {
        "a.b": "1",
        "a.c": "yes",
        "d": "absent: no",
        "e": "1, 2",
        "f": "none",
        "g": "none",
    }
