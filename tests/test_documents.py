"""What a face reads of a sealed run, in whole and as a summary; what is missing has a reason."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from kit.core.errors import KitError
from kit.show import runsummary
from kit.show.documents import documents_of, leaves, recorded, spec_of
from tests.committed import QUICKSTART


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The quickstart run, to be damaged."""
    path = tmp_path / QUICKSTART.name
    shutil.copytree(QUICKSTART, path, copy_function=shutil.copyfile)
    return path


def test_every_document_is_read_and_the_hash_is_the_manifests() -> None:
    documents = documents_of(QUICKSTART)
    assert documents.run == QUICKSTART.name and not documents.faults
    assert documents.spec == spec_of(QUICKSTART) and documents.results["metrics"]
    assert documents.sizes["spec.json"] == (QUICKSTART / "spec.json").stat().st_size


@pytest.mark.parametrize(
    ("written", "why"),
    [(None, "spec.json"), (b"[1]", "spec.json is not an object"), (b"{", "spec.json")],
    ids=["missing", "a list", "cut"],
)
def test_a_damaged_document_is_told_and_the_others_are_there(
    copy: Path, written: bytes | None, why: str
) -> None:
    (copy / "spec.json").unlink() if written is None else (copy / "spec.json").write_bytes(written)
    documents = documents_of(copy)
    assert documents.spec == {} and documents.results["metrics"]
    assert list(documents.faults) == ["spec"] and why in documents.faults["spec"]
    assert recorded(copy).fault
    assert runsummary.read(copy).facts == runsummary.read(QUICKSTART).facts
    with pytest.raises(KitError):
        spec_of(copy)


def test_a_glance_of_a_run_without_its_samples_says_why_there_is_no_power(copy: Path) -> None:
    before = runsummary.read(QUICKSTART)
    assert before.picture.traces and not before.no_power
    shutil.rmtree(copy / "samples")
    after = runsummary.read(copy)
    assert not after.picture.traces and after.no_power
    assert dict(after.facts)["model"] == dict(before.facts)["model"]


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
