"""Hostile archives, one by one: each breaks one rule and must be refused under its own code."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from kit.core.errors import ArchiveRefused, UsageError
from kit.record import archive
from kit.record.archive import directory
from tests.properties import examples

DATE = (1980, 1, 1, 0, 0, 0)
FILES = {"manifest.json": b"{}", "samples/nvml.csv": b"seq\n0\n" * 50}


def packed(path: Path, members: dict[str, bytes], top: str = "run", **facts: int) -> Path:
    """A plain zip of ``members`` below ``top``; ``facts`` are set on every member."""
    with zipfile.ZipFile(path, "w") as file:
        for name, data in members.items():
            info = zipfile.ZipInfo(f"{top}/{name}" if top else name, DATE)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o100644 << 16
            for key, value in facts.items():
                setattr(info, key, value)
            file.writestr(info, data)
    return path


def folder(path: Path, members: dict[str, bytes]) -> Path:
    for name, data in members.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def refused(path: Path) -> str:
    """The code under which ``path`` is refused, on opening or on reading every file."""
    with pytest.raises(ArchiveRefused) as caught:
        source = archive.open_source(path)
        for name in source.names():
            source.read(name)
    assert caught.value.code in archive.CODES
    assert "\x1b" not in caught.value.message
    return caught.value.code


@pytest.fixture
def good(tmp_path: Path) -> bytes:
    return packed(tmp_path / "good.kit.zip", FILES).read_bytes()


def put(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "bad.kit.zip"
    path.write_bytes(data)
    return path


# --- what is fine -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["zip", "folder"])
def test_reads_a_plain_one(tmp_path: Path, kind: str) -> None:
    path = (
        packed(tmp_path / "a.kit.zip", FILES) if kind == "zip" else folder(tmp_path / "run", FILES)
    )
    source = archive.open_source(path)
    assert (source.kind, source.top) == (kind, "run")
    assert source.names() == sorted(FILES)
    assert {n: source.read(n) for n in source.names()} == FILES
    assert source.size("manifest.json") == 2
    source.close()


@pytest.mark.parametrize("kind", ["zip", "folder"])
def test_reading_has_limits(tmp_path: Path, kind: str) -> None:
    path = (
        packed(tmp_path / "a.kit.zip", FILES) if kind == "zip" else folder(tmp_path / "run", FILES)
    )
    source = archive.open_source(path)
    for name, limit, code in [
        ("samples/nvml.csv", 10, "TOO_LARGE"),
        ("absent.json", 10, "MISSING_FILE"),
        ("../absent.json", 10, "MISSING_FILE"),
    ]:
        with pytest.raises(ArchiveRefused) as caught:
            source.read(name, limit)
        assert caught.value.code == code


def test_zip64_is_read(tmp_path: Path) -> None:
    path = tmp_path / "big.kit.zip"
    with zipfile.ZipFile(path, "w") as file:
        info = zipfile.ZipInfo("run/a.json", DATE)
        with file.open(info, "w", force_zip64=True) as member:
            member.write(b"abc")
    assert archive.open_source(path).read("a.json") == b"abc"


def test_nothing_there_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        archive.open_source(tmp_path / "absent")


# --- names ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "a/../../evil",
        "/etc/passwd",
        "a//b",
        "a/./b",
        "c:\\evil",
        "a\\b",
        ".hidden",
        "a/",
        "a b",
        "-rf",
        "a\x1b[2Jb",
        "e\u0301.json",
        "a\u202eb",
    ],
)
def test_unsafe_names_in_zip(tmp_path: Path, name: str) -> None:
    assert refused(packed(tmp_path / "a.zip", {name: b"x"})) == "NAME_UNSAFE"


def test_name_with_nul(tmp_path: Path) -> None:
    data = packed(tmp_path / "a.zip", {"abcd.json": b"x"}).read_bytes()
    assert refused(put(tmp_path, data.replace(b"abcd", b"ab\0d"))) == "NAME_UNSAFE"


@pytest.mark.parametrize("name", [".hidden", "a b", "a\x1b[2Jb", "\u00e9"])
def test_unsafe_names_in_folder(tmp_path: Path, name: str) -> None:
    assert refused(folder(tmp_path / "run", {name: b"x"})) == "NAME_UNSAFE"


def test_too_deep(tmp_path: Path) -> None:
    assert refused(packed(tmp_path / "a.zip", {"a/b/c/d/e/f": b""})) == "NAME_TOO_DEEP"
    assert refused(folder(tmp_path / "run", {"a/b/c/d/e/f": b""})) == "NAME_TOO_DEEP"


def test_case_twins(tmp_path: Path) -> None:
    twins = {"A.json": b"", "a.json": b""}
    assert refused(packed(tmp_path / "a.zip", twins)) == "NAME_TWINS"
    assert refused(folder(tmp_path / "run", twins)) == "NAME_TWINS"


def test_duplicate_member(tmp_path: Path) -> None:
    data = packed(tmp_path / "a.zip", {"aa.json": b"1", "ab.json": b"2"}).read_bytes()
    assert refused(put(tmp_path, data.replace(b"ab.json", b"aa.json"))) == "NAME_DUPLICATE"


@pytest.mark.parametrize("top", ["", "one"])
def test_one_top_folder(tmp_path: Path, top: str) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(zipfile.ZipInfo("run/a.json", DATE), b"")
        file.writestr(zipfile.ZipInfo(f"{top}/b.json" if top else "b.json", DATE), b"")
    assert refused(path) == "TOP_FOLDER"


# --- kinds of file ----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o120777, 0o020666, 0o060660, 0o010644, 0o040755, 0o140777])
def test_only_regular_members(tmp_path: Path, mode: int) -> None:
    path = packed(tmp_path / "a.zip", {"link": b"/etc/passwd"}, external_attr=mode << 16)
    assert refused(path) == "NOT_A_FILE"


def test_links_and_devices_in_folder(tmp_path: Path) -> None:
    makes: list[Callable[[Path], None]] = [
        lambda p: p.symlink_to("/etc/passwd"),
        lambda p: p.symlink_to(tmp_path),
        os.mkfifo,
    ]
    for number, make in enumerate(makes):
        run = folder(tmp_path / f"run{number}", {"a.json": b"{}"})
        make(run / "b")
        assert refused(run) == "NOT_A_FILE"


def test_a_hard_link_in_a_folder_is_remarked(tmp_path: Path) -> None:
    run = folder(tmp_path / "run", {"a.json": b"{}"})
    (tmp_path / "outside").hardlink_to(run / "a.json")
    source = archive.open_source(run)
    assert source.read("a.json") == b"{}"
    assert [remark.code for remark in source.remarks] == ["HARD_LINK"]


def test_a_link_put_there_after_the_scan_is_not_followed(tmp_path: Path) -> None:
    run = folder(tmp_path / "run", {"sub/a.json": b"{}", "b.json": b"{}"})
    source = archive.open_source(run)
    (run / "b.json").unlink()
    (run / "b.json").symlink_to("/etc/passwd")
    with pytest.raises(ArchiveRefused) as caught:
        source.read("b.json")
    assert caught.value.code == "NOT_A_FILE"
    (run / "sub" / "a.json").unlink()
    (run / "sub").rmdir()
    (run / "sub").symlink_to("/etc")
    with pytest.raises(ArchiveRefused) as caught:
        source.read("sub/a.json")
    assert caught.value.code == "NOT_A_FILE"


# --- zip structure ----------------------------------------------------------------------------


def test_not_a_zip(tmp_path: Path) -> None:
    assert refused(put(tmp_path, b"")) == "NOT_A_ZIP"
    assert refused(put(tmp_path, b"x" * 100)) == "NOT_A_ZIP"


def test_cut_short(tmp_path: Path, good: bytes) -> None:
    for at in range(0, len(good), 7):
        assert refused(put(tmp_path, good[:at])) in {"NOT_A_ZIP", "ZIP_SURROUNDED"}


def test_prefix_and_trailing_bytes(tmp_path: Path, good: bytes) -> None:
    assert refused(put(tmp_path, b"#!/bin/sh\n" + good)) == "ZIP_SURROUNDED"
    assert refused(put(tmp_path, good + b"\0")) == "ZIP_SURROUNDED"
    assert refused(put(tmp_path, good + good)) in {"ZIP_SURROUNDED", "NOT_A_ZIP"}


def test_prefix_with_adjusted_offsets(tmp_path: Path, good: bytes) -> None:
    """A self-extracting stub: every offset is right, and still bytes are not accounted for."""
    prefix = b"#!/bin/sh\nrm -rf /\n"
    with (tmp_path / "sfx.zip").open("wb") as out:
        out.write(prefix)
        with zipfile.ZipFile(out, "a") as file:
            file.writestr(zipfile.ZipInfo("run/a.json", DATE), b"{}")
    assert refused(tmp_path / "sfx.zip") == "ZIP_SURROUNDED"


def test_comment(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", FILES)
    with zipfile.ZipFile(path, "a") as file:
        file.comment = b"hello"
    assert refused(path) == "ZIP_SURROUNDED"


@pytest.mark.parametrize(
    ("offset", "size"),
    [(6, 2), (8, 2), (10, 2), (12, 2), (14, 4), (18, 4), (22, 4), (30, 1)],
    ids=["flags", "method", "time", "date", "crc", "packed", "size", "name"],
)
def test_headers_that_differ(tmp_path: Path, good: bytes, offset: int, size: int) -> None:
    """Every field of the first local header that the directory repeats."""
    data = bytearray(good)
    data[offset : offset + size] = bytes(b ^ 2 for b in data[offset : offset + size])
    assert refused(put(tmp_path, bytes(data))) == "ZIP_HEADERS_DIFFER"


def test_encrypted(tmp_path: Path, good: bytes) -> None:
    assert refused(put(tmp_path, _with_flags(good, 1))) == "ZIP_ENCRYPTED"


@pytest.mark.parametrize("flags", [8, 0x20, 0x2000])
def test_other_features(tmp_path: Path, good: bytes, flags: int) -> None:
    assert refused(put(tmp_path, _with_flags(good, flags))) == "ZIP_FEATURE"


def _with_flags(data: bytes, flags: int) -> bytes:
    """Set the flags of the first member, in both of its headers."""
    changed = bytearray(data)
    struct.pack_into("<H", changed, 6, flags)
    struct.pack_into("<H", changed, data.index(b"PK\1\2") + 8, flags)
    return bytes(changed)


def test_unknown_method(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as file:
        file.writestr("run/a.json", b"{}" * 100)
    assert refused(path) == "ZIP_METHOD"


def test_foreign_extra_field(tmp_path: Path) -> None:
    """The Unicode path extra field gives a member a second name."""
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as file:
        info = zipfile.ZipInfo("run/a.json", DATE)
        info.extra = struct.pack("<2HBL", 0x7075, 5, 1, 0)
        file.writestr(info, b"{}")
    assert refused(path) == "ZIP_FEATURE"


# --- one reading only -------------------------------------------------------------------------

ONE = "run/a.json"
LOCAL_SIZE = 30 + len(ONE)


def zip_of_one(tmp_path: Path, data: bytes) -> tuple[bytes, bytes]:
    """A stored member's local record and its central entry."""
    path = packed(tmp_path / "one.zip", {"a.json": data}, compress_type=zipfile.ZIP_STORED)
    raw = path.read_bytes()
    at = raw.rindex(b"PK\1\2")
    return raw[:at], raw[at : raw.rindex(b"PK\5\6")]


def zip64_end(entry_size: int, offset: int, record_at: int) -> bytes:
    """A zip64 end record for one member, and its locator."""
    record = directory._END64.pack(b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, entry_size, offset)
    return record + directory._LOCATOR.pack(b"PK\6\7", 0, record_at, 1)


def test_two_directories_short_and_zip64(tmp_path: Path) -> None:
    """The short end record names a directory inside a member; the zip64 record the outer one."""
    inner_local, inner_entry = zip_of_one(tmp_path, b"EVIL")
    moved = bytearray(inner_entry)
    struct.pack_into("<L", moved, 42, LOCAL_SIZE)
    local, entry = zip_of_one(tmp_path, inner_local + bytes(moved))
    inner_at = LOCAL_SIZE + len(inner_local)
    fields = (0, 0, 0xFFFF, 0xFFFF, len(moved), inner_at, 0)
    body = local + entry + zip64_end(len(entry), len(local), len(local) + len(entry))
    assert (
        refused(put(tmp_path, body + directory._END.pack(b"PK\5\6", *fields)))
        == "ZIP_HEADERS_DIFFER"
    )


@pytest.mark.parametrize("kind", [0x5455, 0x7875])
def test_a_zip64_locator_hidden_in_an_extra_field(tmp_path: Path, kind: int) -> None:
    """The last 20 bytes before the end: other readers would go where they point."""
    local, entry = zip_of_one(tmp_path, b"GOOD")
    for hidden in (zip64_end(1, 0, 0), zip64_end(1, 0, 0)[-20:]):
        extra = struct.pack("<2H", kind, len(hidden)) + hidden
        fields = bytearray(entry)
        struct.pack_into("<H", fields, 30, len(extra))
        extra_field = bytes(fields) + extra
        end = directory._END.pack(b"PK\5\6", 0, 0, 1, 1, len(extra_field), len(local), 0)
        assert refused(put(tmp_path, local + extra_field + end)) == "ZIP_HEADERS_DIFFER"


def test_an_extra_field_too_long_for_times_and_owners(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as file:
        info = zipfile.ZipInfo(ONE, DATE)
        info.extra = struct.pack("<2H", 0x7875, 40) + bytes(40)
        file.writestr(info, b"{}")
    assert refused(path) == "ZIP_FEATURE"


def test_overlap(tmp_path: Path) -> None:
    """Two entries that share one local header: the quine bomb's trick."""
    data = packed(tmp_path / "a.zip", {"a.json": b"1", "b.json": b"1"}).read_bytes()
    second = data.index(b"PK\1\2", data.index(b"PK\1\2") + 1)
    changed = bytearray(data)
    struct.pack_into("<L", changed, second + 42, 0)
    assert refused(put(tmp_path, bytes(changed))) in {"ZIP_OVERLAP", "ZIP_SURROUNDED"}


def test_hidden_member_between(tmp_path: Path) -> None:
    """A local record that the directory does not list."""
    data = packed(tmp_path / "a.zip", {"a.json": b"1", "b.json": b"2", "c.json": b"3"}).read_bytes()
    first = data.index(b"PK\1\2")
    at = data.index(b"PK\1\2", first + 1)
    length = directory._ENTRY.size + len("run/b.json")
    cut = data[:at] + data[at + length :]
    end = len(cut) - directory._END.size
    fields = list(directory._END.unpack(cut[end:]))
    fields[3], fields[4], fields[5] = 2, 2, fields[5] - length
    assert refused(put(tmp_path, cut[:end] + directory._END.pack(*fields))) == "ZIP_SURROUNDED"


def test_bomb_by_ratio(tmp_path: Path) -> None:
    assert refused(packed(tmp_path / "a.zip", {"zeros": bytes(8 << 20)})) == "BOMB"


def test_bomb_that_lies_about_its_size(tmp_path: Path) -> None:
    """Both headers declare less than comes out; unpacking stops one byte past it."""
    data = packed(tmp_path / "a.zip", {"zeros": bytes(500_000)}).read_bytes()
    for size in (1000, 499_999):
        changed = bytearray(data)
        struct.pack_into("<L", changed, 22, size)
        struct.pack_into("<L", changed, data.index(b"PK\1\2") + 24, size)
        assert refused(put(tmp_path, bytes(changed))) == "BOMB"


def test_member_shorter_than_it_says(tmp_path: Path) -> None:
    data = packed(tmp_path / "a.zip", {"zeros": bytes(5000)}).read_bytes()
    changed = bytearray(data)
    struct.pack_into("<L", changed, 22, 5001)
    struct.pack_into("<L", changed, data.index(b"PK\1\2") + 24, 5001)
    assert refused(put(tmp_path, bytes(changed))) == "ZIP_CORRUPT"


@pytest.mark.slow
def test_too_many_members(tmp_path: Path) -> None:
    many = {f"f{n}": b"" for n in range(archive.MAX_MEMBERS + 1)}
    assert refused(packed(tmp_path / "a.zip", many)) == "TOO_MANY_MEMBERS"
    assert refused(folder(tmp_path / "run", many)) == "TOO_MANY_MEMBERS"


@pytest.mark.slow
def test_too_many_empty_folders(tmp_path: Path) -> None:
    for n in range(archive.MAX_MEMBERS + 1):
        (tmp_path / "run" / f"f{n}").mkdir(parents=True)
    assert refused(tmp_path / "run") == "TOO_MANY_MEMBERS"


@pytest.mark.parametrize("kind", ["zip", "folder"])
def test_reading_in_pieces_needs_no_memory(tmp_path: Path, kind: str) -> None:
    """64 MiB that pack 1:90 pass through in pieces of 1 MiB."""
    import tracemalloc

    line = os.urandom(700)
    data = (line + bytes(65536 - len(line))) * 1024
    members = {"samples/big.csv": data}
    path = folder(tmp_path / "run", members)
    if kind == "zip":
        path = packed(tmp_path / "a.kit.zip", members)
    source = archive.open_source(path)
    want, size = zlib.crc32(data), len(data)
    del data, members
    tracemalloc.start()
    crc = 0
    for piece in source.pieces("samples/big.csv"):
        crc, size = zlib.crc32(piece, crc), size - len(piece)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (crc, size) == (want, 0)
    assert peak < 8 << 20


def test_pieces_of_two_members_at_once(tmp_path: Path) -> None:
    members = {n: os.urandom(3 << 20) for n in ("a", "b")}
    source = archive.open_source(packed(tmp_path / "a.kit.zip", members))
    pairs = list(zip(source.pieces("a"), source.pieces("b"), strict=True))
    assert {"a": b"".join(a for a, _ in pairs), "b": b"".join(b for _, b in pairs)} == members


def test_a_file_that_grows_while_it_is_read(tmp_path: Path) -> None:
    run = folder(tmp_path / "run", {"a.json": b"{}"})
    source = archive.open_source(run)
    (run / "a.json").write_bytes(b"{}" * 10)
    for read in (lambda: source.read("a.json", 2), lambda: list(source.pieces("a.json"))):
        with pytest.raises(ArchiveRefused) as caught:
            read()
        assert caught.value.code == "TOO_LARGE"


def test_too_large_in_sum(tmp_path: Path) -> None:
    run = folder(tmp_path / "run", {"a": b"", "b": b""})
    for name in ("a", "b"):
        os.truncate(run / name, archive.MAX_BYTES // 2 + 1)  # sparse: no byte is written
    assert refused(run) == "TOO_LARGE"


@examples(300, suppress_health_check=list(HealthCheck))
@given(at=st.integers(0, 10_000), value=st.integers(0, 255))
def test_any_changed_byte_is_refused_or_harmless(tmp_path: Path, at: int, value: int) -> None:
    """No single byte can make other contents appear, or end in anything but a refusal."""
    data = bytearray(packed(tmp_path / "good.kit.zip", FILES).read_bytes())
    data[at % len(data)] = value
    path = put(tmp_path, bytes(data))
    try:
        source = archive.open_source(path)
        contents = {name: source.read(name) for name in source.names()}
    except ArchiveRefused as error:
        assert error.code in archive.CODES
    else:
        assert sorted(contents.values()) == sorted(FILES.values())


@examples(200, suppress_health_check=list(HealthCheck))
@given(data=st.binary(max_size=400))
def test_any_bytes_are_refused(tmp_path: Path, data: bytes) -> None:
    assert refused(put(tmp_path, data + b"PK\5\6" + data[:18]))


def test_stored_members_are_checked_by_crc(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", {"a.json": b"12345678"}, compress_type=zipfile.ZIP_STORED)
    data = path.read_bytes()
    assert zlib.crc32(b"12345678") != zlib.crc32(b"12345679")
    assert refused(put(tmp_path, data.replace(b"12345678", b"12345679"))) == "ZIP_CORRUPT"
