"""The copy of the cache that a stranger's recipe is built in: what is new stays only on success."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kit import resources
from kit.replay.providing import all_or_nothing

OLD, NEW = "a" * 64, "b" * 64


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("KIT_CACHE", str(folder))
    (folder / "debs").mkdir(parents=True)
    (folder / "debs" / OLD).write_bytes(b"old")
    return folder


def found(cache: Path) -> set[str]:
    return {str(path.relative_to(cache)) for path in cache.rglob("*") if path.is_file()}


def test_what_another_build_is_writing_is_neither_copied_nor_kept(cache: Path) -> None:
    (cache / "debs" / "tmpx8w2").write_bytes(b"half")
    (cache / "layers" / "building-1").mkdir(parents=True)
    (cache / "layers" / "building-1" / "layer.tar").write_bytes(b"half")
    with all_or_nothing():
        staged = resources.cache_dir()
        assert found(staged) == {f"debs/{OLD}"}
        (staged / "debs" / NEW).write_bytes(b"new")
        (cache / "debs" / "tmpx8w2").unlink()
    assert found(cache) == {f"debs/{OLD}", f"debs/{NEW}", "layers/building-1/layer.tar"}


def test_a_failure_leaves_nothing_and_harms_nothing(cache: Path) -> None:
    with pytest.raises(KeyError), all_or_nothing():
        (resources.cache_dir() / "debs" / NEW).write_bytes(b"new")
        (resources.cache_dir() / "debs" / OLD).unlink()
        raise KeyError
    assert found(cache) == {f"debs/{OLD}"}
    assert resources.cache_dir() == cache


@pytest.mark.parametrize(("hours", "stays"), [(1, True), (30, False)])
def test_what_a_killed_replay_left_goes_after_a_day(cache: Path, hours: int, stays: bool) -> None:
    left = cache / "replay-killed" / "debs"
    left.mkdir(parents=True)
    then = left.stat().st_mtime - hours * 3600
    os.utime(left.parent, (then, then))
    with all_or_nothing():
        pass
    assert left.is_dir() is stays
