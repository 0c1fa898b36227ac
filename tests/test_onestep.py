"""A file is written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kit.core import onestep
from kit.core.errors import UsageError


def test_a_file_is_replaced_and_keeps_its_mode(tmp_path: Path) -> None:
    file, link = tmp_path / "page.html", tmp_path / "link.html"
    file.write_bytes(b"old")
    file.chmod(0o600)
    link.symlink_to(file)
    onestep.write(link, b"new", "")
    assert file.read_bytes() == b"new" and link.is_symlink()
    assert file.stat().st_mode & 0o777 == 0o600
    assert {path.name for path in tmp_path.iterdir()} == {"page.html", "link.html"}


def test_a_new_file_obeys_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        onestep.write(tmp_path / "page.html", b"new", "")
    finally:
        os.umask(before)
    assert (tmp_path / "page.html").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("allowed", [True, False])
def test_a_file_is_readable_by_its_old_group_and_by_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allowed: bool
) -> None:
    given: list[tuple[object, ...]] = []

    def chown(*words: object) -> None:
        given.append(words[2:])
        if not allowed:
            raise PermissionError(1, "Operation not permitted")

    (tmp_path / "host.toml").write_bytes(b"old")
    (tmp_path / "host.toml").chmod(0o640)
    group = (tmp_path / "host.toml").stat().st_gid
    monkeypatch.setattr(os, "chown", chown)
    onestep.write(tmp_path / "host.toml", b"new", "")
    assert given == [(group,)]
    assert (tmp_path / "host.toml").stat().st_mode & 0o777 == (0o640 if allowed else 0o600)


@pytest.mark.parametrize("fault", ["touch", "replace", "open"])
def test_a_fault_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    (tmp_path / "page.html").write_bytes(b"old")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, fault, full)
    with pytest.raises(UsageError, match="No space left"):
        onestep.write(tmp_path / "page.html", b"new", "name another file")
    with pytest.raises(UsageError):
        onestep.write(tmp_path / "other.html", b"new", "name another file")
    monkeypatch.undo()
    assert (tmp_path / "page.html").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_a_device_is_written_into() -> None:
    onestep.write(Path("/dev/null"), b"page", "")
    assert not Path("/dev/null").is_file()


def test_several_files_are_not_written_over_others(tmp_path: Path) -> None:
    folder, files = tmp_path / "new" / "figures", {"a.svg": b"1", "a.csv": b"2"}
    assert {path.name for path in onestep.write_all(folder, files)} == set(files)
    (folder / "a.svg").write_bytes(b"mine")
    (folder / "a.csv").unlink()
    with pytest.raises(UsageError, match="is there already"):
        onestep.write_all(folder, files)
    assert [path.name for path in folder.iterdir()] == ["a.svg"]
    onestep.write_all(folder, files, force=True)
    assert (folder / "a.svg").read_bytes() == b"1"
    assert {path.name for path in folder.iterdir()} == set(files)


def test_a_pipe_that_has_a_name_only_here_is_written_into() -> None:
    """``--out /dev/stdout`` where the output is a pipe: its link leads to no name."""
    reading, writing = os.pipe()
    try:
        onestep.write(Path(f"/dev/fd/{writing}"), b"all of it", "name another file")
        assert os.read(reading, 100) == b"all of it"
    finally:
        os.close(reading)
        os.close(writing)


def test_a_folder_that_is_missing_is_named_and_can_be_made(tmp_path: Path) -> None:
    target = tmp_path / "no" / "such" / "file"
    with pytest.raises(UsageError) as caught:
        onestep.write(target, b"", "name another file")
    assert f"there is no folder {target.parent}" in caught.value.message
    assert "make the folder" in caught.value.remedy
