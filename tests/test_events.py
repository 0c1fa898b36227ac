"""The hash-chained journal: append, check, recover, tail."""

import resource
from pathlib import Path

import pytest

from kit.record import events


def journal(path: Path, count: int = 5) -> bytes:
    clock = events.Clock()
    journal = events.Journal(path, clock)
    for number in range(count):
        journal.add("live", number=number)
    journal.close()
    return path.read_bytes()


def test_a_journal_reads_back_in_order(tmp_path: Path) -> None:
    records = events.decode(journal(tmp_path / "e"))
    assert [e.data["number"] for e in records] == [0, 1, 2, 3, 4]
    assert [e.seq for e in records] == [0, 1, 2, 3, 4]


def swap(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[2], lines[1], *lines[3:]]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (swap, 1),
        (lambda lines: lines[1:], 0),
        (lambda lines: lines[:2] + lines[3:], 2),
        (lambda lines: [lines[0].replace(b'"number":0', b'"number":9'), *lines[1:]], 1),
        (lambda lines: [*lines[:3], b"{}", *lines[4:]], 3),
    ],
)
def test_every_change_breaks_the_chain_where_it_is(tmp_path: Path, change, line: int) -> None:
    lines = journal(tmp_path / "e").splitlines()
    with pytest.raises(events.BrokenChain) as caught:
        events.decode(b"\n".join(change(lines)) + b"\n")
    assert caught.value.line == line


def test_a_line_that_a_full_disk_cuts_short_is_taken_back(tmp_path: Path) -> None:
    """A limit on a file's size writes a part and then fails, as a full disk does."""
    path = tmp_path / "e"
    writer = events.Journal(path, events.Clock())
    writer.add("live", number=0)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            writer.add("live", number=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes().endswith(b"\n")
    writer.add("fault", code="DiskFull")
    writer.close()
    assert [event.kind for event in events.decode(path.read_bytes())] == ["live", "fault"]


@pytest.mark.parametrize("cut", [1, 10, 200])
def test_a_torn_journal_keeps_its_sound_lines(tmp_path: Path, cut: int) -> None:
    data = journal(tmp_path / "e")
    prefix = events.valid_prefix(data[:-cut])
    assert data.startswith(prefix)
    assert 0 < len(events.decode(prefix)) < 5


def test_tailing_sees_what_was_there_and_what_comes(tmp_path: Path) -> None:
    path = tmp_path / "e"
    writer = events.Journal(path, events.Clock())
    writer.add("live", number=0)
    going = iter([True, True, False])
    records = []
    for event in events.tail(path, lambda: next(going, False), poll_s=0):
        records.append(event.data["number"])
        if len(records) < 3:
            writer.add("live", number=len(records))
    assert records == [0, 1, 2]


def test_tailing_reads_a_journal_that_is_moved_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "e"
    writer = events.Journal(path, events.Clock())
    writer.add("live", number=0)
    records = []
    for event in events.tail(path, iter([True, False]).__next__, poll_s=0):
        records.append(event.data["number"])
        if len(records) == 1:
            path.rename(tmp_path / "sealed")
            writer.add("live", number=1)
    assert records == [0, 1]


def test_a_broken_line_is_named_by_its_place_in_the_journal(tmp_path: Path) -> None:
    """Not by its place in what was read at once."""
    path = tmp_path / "e"
    writer = events.Journal(path, events.Clock())
    writer.add("live", number=0)
    tail = events.tail(path, lambda: True, poll_s=0)
    assert next(tail).data["number"] == 0
    with path.open("ab") as file:
        file.write(b"{}\n")
    with pytest.raises(events.BrokenChain) as caught:
        next(tail)
    assert caught.value.line == 1


def test_a_reader_goes_on_where_it_was_and_passes_over_what_is_broken(tmp_path: Path) -> None:
    path = tmp_path / "e"
    reader = events.Reader(path)
    assert reader.read() == []
    writer = events.Journal(path, events.Clock())
    writer.add("live", number=0)
    assert [e.data["number"] for e in reader.read()] == [0]
    writer.add("live", number=1)
    data = path.read_bytes()
    half = data.rindex(b"{") + 5
    path.write_bytes(data[:half])
    assert reader.read() == []
    path.write_bytes(data + b"nonsense\n")
    assert [e.data["number"] for e in reader.read()] == [1]
    assert reader.broken == [3]
    reader.path = path.rename(tmp_path / "sealed")
    assert reader.read() == []


def test_a_few_kinds_are_read_without_the_others(tmp_path: Path) -> None:
    journal = events.Journal(tmp_path / events.FILE, events.Clock())
    for kind, data in (
        ("launch.begin", {"launch": 0}),
        ("startup.step", {"launch": 0, "name": "load"}),
        ("mark", {"text": '"kind":"startup.step"'}),
    ):
        journal.add(kind, **data)
    journal.close()
    data = (tmp_path / events.FILE).read_bytes() + b'{"kind":"startup.step"'
    assert [e.data["name"] for e in events.of_kinds(data, ["startup.step"])] == ["load"]
