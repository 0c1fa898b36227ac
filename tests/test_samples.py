"""Sample files as columns: what is accepted, what is refused, what is told."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.record import samples

HEAD = samples.HEADER + "\n"


def parse(body: str) -> samples.Samples:
    return samples.from_csv({"x.csv": (HEAD + body).encode()})


def test_the_header_is_the_published_one() -> None:
    assert samples.HEADER == "seq,t0,t1,t_dev,device,quantity,rc,raw"


def test_rows_become_series_by_device_and_quantity() -> None:
    table = parse(
        "0,10,20,,gpu0,gpu_energy,0,5\n"
        "1,30,50,,gpu0,gpu_energy,0,9\n"
        "2,30,50,17,gpu1,gpu_power_sample,0,70000\n"
        "3,60,70,,gpu0,gpu_energy,15,\n"
    )
    counter = table.series["gpu0", "gpu_energy"]
    assert counter.t.tolist() == [15, 40]
    assert (counter.t0.tolist(), counter.t1.tolist()) == ([10, 30], [20, 50])
    assert counter.raw.tolist() == [5, 9]
    assert (counter.errors, counter.error_times.tolist()) == (1, [65])
    assert table.series["gpu1", "gpu_power_sample"].t.tolist() == [17]
    assert (table.gaps, table.spans["gpu0", "gpu_energy"]) == ((), (15, 40))


def test_an_empty_file_holds_nothing() -> None:
    assert parse("") == samples.EMPTY


def test_missing_rows_and_a_row_cut_short_are_told() -> None:
    table = parse("0,1,2,,g,q,0,5\n2,3,4,,g,q,0,6\n3,5,6,,g,q")
    assert table.gaps == (
        "x.csv: row 1 is numbered 2",
        "x.csv ends in the middle of row 2",
    )
    assert table.series["g", "q"].raw.tolist() == [5, 6]


def test_the_devices_own_times_put_rows_in_order() -> None:
    table = parse("0,9,9,7,g,q,0,1\n1,9,9,3,g,q,0,2\n2,9,9,5,g,q,0,3\n").series["g", "q"]
    assert (table.t.tolist(), table.raw.tolist()) == ([3, 5, 7], [2, 3, 1])


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("0,1,2,,g,q,0,\n", "a value must stand exactly where the code is 0"),
        ("0,1,2,,g,q,1,5\n", "a value must stand exactly where the code is 0"),
        ("0,1,2,g,q,0,5\n", "not every row has 8 columns"),
        ("0,1,2,,g,q,0,5,6\n", "not every row has 8 columns"),
        ("0,1,2,,g,q,0,5\n1,1,2,,g,q,0,5,6\n2,2,,g,q,0,5\n", "not every row has 8 columns"),
        ("0,1,2,,g,q,0,x\n", "line 2: a cell is not an integer"),
        ("0,1,2,,g,q,0,5 \n", "line 2: a cell is not an integer"),
        ("0,,2,,g,q,0,5\n", "an integer is missing"),
        ("0,1,2,,g,q,0,-\n", "an integer is missing"),
        ("0,1,2,,g,q,0,5\n1,1,2,,g,q,0,9999999999999999999\n", "line 3: an integer is too large"),
        ("0,2,1,,g,q,0,5\n", "a read ends before it begins"),
        ("0,1,2,,gé,q,0,5\n", "not ASCII"),
    ],
)
def test_what_kit_did_not_write_is_refused(body: str, why: str) -> None:
    with pytest.raises(samples.MalformedSamplesError, match=why):
        parse(body)


def test_a_file_without_its_header_is_refused() -> None:
    with pytest.raises(samples.MalformedSamplesError, match="does not begin"):
        samples.from_csv({"x.csv": b"0,1,2,,g,q,0,5\n"})


def test_one_series_in_two_files_is_refused() -> None:
    data = (HEAD + "0,1,2,,g,q,0,5\n").encode()
    with pytest.raises(samples.MalformedSamplesError, match="two files"):
        samples.from_csv({"a.csv": data, "b.csv": data})


_ROW = st.tuples(
    st.integers(0, 10**15),
    st.integers(0, 10**9),
    st.none() | st.integers(0, 10**15),
    st.sampled_from(["gpu0", "gpu1", "host", "pdu:rack1:3"]),
    st.sampled_from(["gpu_energy", "cpu_busy"]),
    st.integers(-9, 999),
    st.integers(-(10**17), 10**17),
)


@given(st.lists(_ROW, max_size=40))
def test_every_row_is_found_again(
    rows: list[tuple[int, int, int | None, str, str, int, int]],
) -> None:
    lines = [
        f"{i},{t0},{t0 + dt},{'' if own is None else own},{device},{quantity},{rc},"
        f"{raw if rc == 0 else ''}\n"
        for i, (t0, dt, own, device, quantity, rc, raw) in enumerate(rows)
    ]
    table = parse("".join(lines))
    for key in {(row[3], row[4]) for row in rows}:
        mine = [row for row in rows if (row[3], row[4]) == key]
        good = [
            (row[2] if row[2] is not None else row[0] + row[1] // 2, row[6])
            for row in mine
            if row[5] == 0
        ]
        series = table.series[key]
        assert sorted(zip(series.t.tolist(), series.raw.tolist(), strict=True)) == sorted(good)
        assert series.errors == len(mine) - len(good)


@pytest.mark.slow
def test_a_gpu_hour_is_read_in_moments() -> None:
    """Not timed against a clock: against a plain pass of Python over the same bytes."""
    body = "".join(f"{i},{i}000,{i}999,,gpu0,gpu_power_instant,0,{i}\n" for i in range(100_000))
    data = (HEAD + body).encode()
    begin = time.process_time()
    rows = [line.split(b",") for line in data.split(b"\n")[1:-1]]
    columns = np.array([[int(row[0]), int(row[1]), int(row[2]), int(row[7])] for row in rows])
    plain = time.process_time() - begin
    begin = time.process_time()
    table = samples.from_csv({"x.csv": data})
    fast = time.process_time() - begin
    assert table.series["gpu0", "gpu_power_instant"].raw.tolist() == columns[:, 3].tolist()
    assert fast < plain


def many(rows: int) -> bytes:
    lines = (f"{n},{n * 1000},{n * 1000 + 300},,gpu{n % 3},x,0,{n % 77}\n" for n in range(rows))
    return (samples.HEADER + "\n" + "".join(lines)).encode()


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_a_file_in_pieces_is_the_file(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever pieces and blocks are cut."""
    data = many(500)
    together = samples.from_csv({"a": data})
    monkeypatch.setattr(samples, "_BLOCK", 100)
    read = samples.from_pieces({"a": (data[n : n + size] for n in range(0, len(data), size))})
    assert read.gaps == together.gaps == ()
    for key, series in together.series.items():
        for own, other in zip(series, read.series[key], strict=True):
            assert np.array_equal(own, other)


def test_blocks_know_which_row_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "_BLOCK", 100)
    lines = many(500).splitlines(keepends=True)
    del lines[401]
    read = samples.from_csv({"a": b"".join(lines) + b"9"})
    assert read.gaps == ("a: row 400 is numbered 401", "a ends in the middle of row 499")
    lines[300] = lines[300].replace(b",x,", b",x,z")
    with pytest.raises(samples.MalformedSamplesError, match="line 301"):
        samples.from_csv({"a": b"".join(lines)})


def test_a_line_without_an_end_is_not_gathered_for_ever() -> None:
    head = samples.HEADER.encode() + b"\n"
    endless = (b"1" * (1 << 20) for _ in range(1 << 20))
    with pytest.raises(samples.MalformedSamplesError, match="longer than"):
        samples.from_pieces({"a": (piece for part in ([head], endless) for piece in part)})


@pytest.mark.slow
def test_memory_is_that_of_what_is_kept() -> None:
    """Parsing a file at once took six times its size."""
    data = many(400_000)
    tracemalloc.start()
    samples.from_pieces({"a": (data[n : n + (1 << 20)] for n in range(0, len(data), 1 << 20))})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 48 * 400_000 + 20 * samples._BLOCK
