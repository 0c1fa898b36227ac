"""The copy of the cache that a stranger's recipe is built in: what is new stays only on success."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from kit.core import resources
from kit.judge.replay.provision import all_or_nothing
from kit.machine.images import mirror
from kit.machine.images.locks import Deb

OLD, NEW = "a" * 64, "b" * 64


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("KIT_CACHE", str(folder))
    (folder / "debs").mkdir(parents=True)
    (folder / "debs" / OLD).write_bytes(b"old")
    return folder


def files_in(cache: Path) -> set[str]:
    return {str(path.relative_to(cache)) for path in cache.rglob("*") if path.is_file()}


def test_what_another_build_is_writing_is_neither_copied_nor_kept(cache: Path) -> None:
    (cache / "debs" / "tmpx8w2").write_bytes(b"half")
    (cache / "layers" / "building-1").mkdir(parents=True)
    (cache / "layers" / "building-1" / "layer.tar").write_bytes(b"half")
    with all_or_nothing():
        staged = resources.cache_dir()
        assert files_in(staged) == {f"debs/{OLD}"}
        (staged / "debs" / NEW).write_bytes(b"new")
        (cache / "debs" / "tmpx8w2").unlink()
    assert files_in(cache) == {f"debs/{OLD}", f"debs/{NEW}", "layers/building-1/layer.tar"}


def test_a_failure_leaves_nothing_and_harms_nothing(cache: Path) -> None:
    with pytest.raises(KeyError), all_or_nothing():
        (resources.cache_dir() / "debs" / NEW).write_bytes(b"new")
        (resources.cache_dir() / "debs" / OLD).unlink()
        raise KeyError
    assert files_in(cache) == {f"debs/{OLD}"}
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


def test_another_thread_keeps_its_cache_meanwhile(cache: Path) -> None:
    """In the UI a list, a check or a download works while a rebuild does."""
    before = dict(os.environ)
    with ThreadPoolExecutor(1) as other, ThreadPoolExecutor(1) as early:
        early.submit(resources.cache_dir).result()  # its thread is there before the rebuild
        with all_or_nothing():
            assert resources.cache_dir().parent == cache
            assert other.submit(resources.cache_dir).result() == cache
            assert early.submit(resources.cache_dir).result() == cache
            assert os.environ == before  # nor does any program that is started meanwhile see it
    assert resources.cache_dir() == cache


def test_two_rebuilds_at_once_do_not_see_one_another(cache: Path) -> None:
    with ThreadPoolExecutor(1) as other, all_or_nothing():

        def rebuild() -> Path:
            with all_or_nothing():
                (resources.cache_dir() / "debs" / NEW).write_bytes(b"new")
                return resources.cache_dir()

        mine = resources.cache_dir()
        theirs = other.submit(rebuild).result()
        assert theirs.parent == mine.parent == cache
        assert files_in(mine) == {f"debs/{OLD}"}
    assert files_in(cache) == {f"debs/{OLD}", f"debs/{NEW}"}


@pytest.mark.parametrize("fails", [True, False])
def test_what_a_pool_of_threads_fetches_goes_into_the_copy(
    cache: Path, tmp_path: Path, fails: bool
) -> None:
    data = b"a package"
    sha256 = hashlib.sha256(data).hexdigest()
    deb = Deb(version="1", architecture="all", source="hello", sha256=sha256, size=len(data))
    place = tmp_path / "mirror" / mirror.place("hello", deb)
    place.parent.mkdir(parents=True)
    place.write_bytes(data)
    with suppress(KeyError), all_or_nothing():
        got, _ = mirror.collect({"hello": deb}, (f"file://{tmp_path}/mirror",), lambda: None)
        assert got["hello"].read_bytes() == data
        assert not (cache / "debs" / sha256).exists()
        if fails:
            raise KeyError
    assert (cache / "debs" / sha256).exists() is not fails
