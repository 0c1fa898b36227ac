"""What happens to EnergiBridge's files: the joules stay right, or the file is refused once.

Files here have the shape that its loop gives them: the first row's values are older than its Time,
the second row shares that Time, the last one is written at once.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit import energy
from kit.cli.main import dispatch
from kit.core.errors import UsageError
from kit.energy.reasons import sentence
from kit.energy.value import EnergyValue
from kit.measure.readers import Recording, energibridge
from kit.record import samples
from tests.properties import examples

T0 = 1_735_689_000_000
COUNT_J = 2.0**-14
WATTS = 80.0
PACKAGE, GPU = "PACKAGE_ENERGY (J)", "GPU0_POWER (mWatts)"

Row = dict[str, Any]


def rows(
    seconds: float = 20.0,
    step_ms: int = 200,
    watts: float = WATTS,
    joules: Callable[[float], Any] | None = None,
    more: dict[str, Callable[[float], Any]] | None = None,
) -> list[Row]:
    """A recording, row by row; joules on the counter's grid as of seconds."""
    jitter = random.Random(4)
    at, deltas = [0, 0], [0]
    for _ in range(round(seconds * 1000 / step_ms)):
        deltas.append(step_ms + jitter.randint(0, 3))
        at.append(at[-1] + deltas[-1])
    deltas.append(1)
    columns = {"CPU_USAGE_0": lambda _: 12.5, PACKAGE: joules or counter(watts)} | (more or {})
    read_s = [-0.008, *((ms + 2) / 1000 for ms in at[1:])]
    return [
        {"Delta": d, "Time": T0 + ms} | {name: f(s) for name, f in columns.items()}
        for d, ms, s in zip(deltas, at, read_s, strict=True)
    ]


def counter(watts: float, start: float = 41_000.0, k: int = 14) -> Callable[[float], float]:
    return lambda s: (round((start + watts * s) * 2**k) % 2**32) / 2**k


def text(of: list[Row], separator: str = ",") -> str:
    lines = [of[0], *(row.values() for row in of)]
    return "".join(separator.join(map(str, line)) + "\n" for line in lines)


def read(written: str | list[Row]) -> tuple[Recording, dict[str, EnergyValue]]:
    recording = energibridge.read(written if isinstance(written, str) else text(written), "x.csv")
    read_ = samples.from_csv({"x": recording.csv})
    values = energy.Energy(read_, recording.meters).of(*recording.window)
    return recording, {value.scope: value for value in values}


def right(written: str | list[Row], watts: float = WATTS) -> Recording:
    """The recording, whose joules must be ``watts`` over its window, and little in doubt."""
    recording, values = read(written)
    cpu = values["cpu"]
    assert cpu.joules is not None, cpu.reason
    assert cpu.u_reading is not None
    seconds = (recording.window[1] - recording.window[0]) * 1e-9
    assert cpu.joules == pytest.approx(watts * seconds, rel=2e-3, abs=0.02 * watts)
    assert cpu.u_reading < 0.2 * watts
    return recording


# --- rows that share a time -----------------------------------------------------------------


@pytest.mark.parametrize("grown", [0.05, 3.0, 40.0], ids=lambda g: f"{g} J")
def test_two_first_rows_of_one_millisecond_leave_little_in_doubt(grown: float) -> None:
    written = rows()
    written[0][PACKAGE] = written[1][PACKAGE] - grown
    assert right(written).window[1] > 20e9


@pytest.mark.parametrize("at", [1, 2, 50, 99, 100])
@pytest.mark.parametrize("apart_ms", [0, 1, 20])
def test_rows_that_share_a_time_anywhere_leave_little_in_doubt(at: int, apart_ms: int) -> None:
    """As after a stall: one row comes late, and the next one right after it."""
    written = rows()
    written[at]["Time"] = written[at + 1]["Time"] - apart_ms
    right(written)


@examples(60)
@given(data=st.data())
@pytest.mark.slow
def test_no_doubt_is_larger_than_what_grew_near_the_marks(data: st.DataObject) -> None:
    """Whatever the powers and however the rows jitter."""
    powers = data.draw(st.lists(st.floats(1.0, 300.0), min_size=30, max_size=30))
    late = data.draw(st.lists(st.integers(0, 199), min_size=30, max_size=30))
    joules, written = 1000.0, []
    for i, (watts, ms) in enumerate(zip(powers, late, strict=True)):
        joules += watts * 0.2
        value = round(joules / COUNT_J) * COUNT_J
        written.append({"Delta": 200, "Time": T0 + 200 * i + ms, PACKAGE: value})
    for row, after in pairwise(written):
        row["Delta"] = after["Time"] - row["Time"]
    cpu = read(written)[1]["cpu"]
    assert cpu.joules is not None, cpu.reason
    assert cpu.u_reading is not None
    assert cpu.u_reading < 0.6 * max(powers)


# --- rows that are late, out of order, torn, or by another clock ----------------------------


def shifted(at: int, ms: int) -> list[Row]:
    return [row | {"Time": row["Time"] + ms * (i > at)} for i, row in enumerate(rows())]


def stalled(at: int, ms: int) -> list[Row]:
    """The process stood still for ``ms`` while it wrote row ``at``."""
    drawn = counter(WATTS)
    late = [ms * (i > at) for i in range(102)]
    return [
        row | {"Time": row["Time"] + d, PACKAGE: drawn((row["Time"] - T0 + d + 2) / 1000)}
        for row, d in zip(rows(), late, strict=True)
    ]


@pytest.mark.parametrize("ms", [174, 600, 900, 3000, 30_000])
def test_a_late_row_costs_nothing(ms: int) -> None:
    recording = right(stalled(40, ms))
    assert any("line 43 comes" in note for note in recording.notes)
    assert recording.window[1] == pytest.approx((20.151 + ms / 1000) * 1e9, rel=1e-3)


@pytest.mark.parametrize("ms", [-80, -300, -1000, -3_600_000, 2000, 3_600_000])
def test_a_clock_that_was_set_is_corrected_by_delta(ms: int) -> None:
    recording = right(shifted(40, ms))
    assert ms == -80 or recording.notes
    assert recording.window[1] == pytest.approx(20.151e9, rel=0.03)


@pytest.mark.parametrize("at", [2, 50, 100])
@pytest.mark.parametrize("ms", [-5000, -300, 5000, 10**9])
def test_one_row_out_of_order_is_left_out(at: int, ms: int) -> None:
    written = rows()
    written[at]["Time"] += ms
    recording = right(written)
    assert recording.notes


@pytest.mark.parametrize(("a", "b"), [(30, 31), (30, 60), (1, 2), (100, 101)])
def test_rows_that_changed_places_are_sorted(a: int, b: int) -> None:
    written = rows()
    written[a], written[b] = written[b], written[a]
    assert "rows are out of order: sorted by Time" in right(written).notes
    right(rows()[::-1])


@pytest.mark.parametrize(
    ("change", "noted"),
    [
        (lambda t: "sep=,\n" + t, ""),
        (lambda t: "\ufeff" + t, ""),
        (lambda t: t.replace("\n", "\r\n"), ""),
        (lambda t: '"' + t[:-1].replace(",", '","').replace("\n", '"\n"') + '"\n', ""),
        (lambda t: t.replace(",", ";").replace(".", ","), ""),
        (lambda t: t.replace(",", "\t"), ""),
        (lambda t: "Loading model ...\n" + t, ""),
        (lambda t: with_line(t, 30, "Loading model, 7B, done"), "line 31"),
        (lambda t: with_line(t, 30, "50%|##  | 200,173568900"), "line 31"),
        (lambda t: t + "Energy consumption in joules: 1601.2 for 20 sec of execution.\n", "104"),
        (lambda t: t[:-4], "line 103 has no end"),
        (lambda t: t[:-30], "line 103 is left out"),
        (lambda t: with_cell(t, 30, "n/a"), "no number in 1 rows (the first is line 31)"),
        (lambda t: with_cell(t, 30, "nan"), "no number in 1 rows"),
        (lambda t: with_cell(t, 30, "0"), "line 31"),
        (lambda t: with_cell(t, 30, "1.7e308"), "line 31"),
        (lambda t: with_cell(t, 1, "0"), ""),
        (lambda t: with_cell(t, 2, "0"), "line 3"),
        (lambda t: with_cell(t, 102, "99999"), "line 103"),
        (lambda t: t.replace("12.5", "NaN"), ""),
        (lambda t: t.replace("12.5", "32\r00"), ""),
        (lambda t: t.replace("12.5", "-inf"), ""),
    ],
)
def test_what_programs_and_spreadsheets_do_to_a_file(
    change: Callable[[str], str], noted: str
) -> None:
    recording = right(change(text(rows())))
    assert any(noted in note for note in recording.notes) if noted else not recording.notes


def with_line(of: str, at: int, line: str) -> str:
    lines = of.split("\n")
    return "\n".join([*lines[:at], line, *lines[at:]])


def with_cell(of: str, at: int, cell: str) -> str:
    """The package's cell of a line, which is the last."""
    lines = of.split("\n")
    lines[at] = lines[at].rpartition(",")[0] + "," + cell
    return "\n".join(lines)


def test_utf16_as_powershell_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "e.csv"
    file.write_bytes(text(rows()).encode("utf-16"))
    assert dispatch(["import", "energibridge", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["energy"]["cpu"]["joules"] > 1600


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t + t, "two recordings: the titles come again in line 104"),
        (lambda t: t + later(t), "two recordings: the second begins in line 104"),
        (lambda t: grown_wider(t), "have more cells than there are titles"),
        (lambda t: t.replace("(J)", "(W)"), "versions 0.0.1 and 0.0.2"),
    ],
)
def test_what_is_ambiguous_is_refused(change: Callable[[str], str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        energibridge.read(change(text(rows())), "x.csv")
    assert message in caught.value.message
    assert caught.value.remedy


def later(of: str) -> str:
    return of.partition("\n")[2].replace(str(T0)[:6], str(int(str(T0)[:6]) + 1))


def grown_wider(of: str) -> str:
    lines = of.splitlines()
    return "\n".join([*lines[:40], *(f"{line},55,71234" for line in lines[40:])]) + "\n"


# --- gaps -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("gap_s", "is_known"), [(5, True), (60, True), (600, False)])
def test_a_counter_bridges_a_gap_in_which_it_cannot_wrap(gap_s: int, is_known: bool) -> None:
    """As of a machine that slept: Delta says it too."""
    written = stalled(40, gap_s * 1000)
    written[40]["Delta"] += gap_s * 1000
    cpu = read(written)[1]["cpu"]
    if is_known:
        right(written)
    else:
        assert "no reading for 600" in sentence(cpu.reason)


def test_a_window_begins_in_no_gap(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "e.csv"
    file.write_text(text(stalled(40, 30_000)))
    command = ["import", "energibridge", str(file)]
    assert dispatch([*command, "--from", "20"]) == 2
    assert "30.2 s have no reading" in capsys.readouterr().err
    assert dispatch([*command, "--from", "2", "--to", "45"]) == 0


def test_a_reset_while_the_machine_slept_is_no_wrap() -> None:
    written = stalled(40, 60_000)
    written[40]["Delta"] += 60_000
    for row in written[41:]:
        row[PACKAGE] -= 45_700
    cpu = read(written)[1]["cpu"]
    assert cpu.joules is None


# --- what a counter counts ------------------------------------------------------------------


def micro(joules: Callable[[float], float], unit: float) -> Callable[[float], Any]:
    """As versions 0.0.5 and 0.0.6 write a counter of 2^-14 J: counts by a million."""
    return lambda s: round(joules(s) / unit) / 1e6


@pytest.mark.parametrize("watts", [1.5, 15.0, 250.0])
@pytest.mark.parametrize(
    ("joules", "noted"),
    [
        (lambda w: counter(w), ""),
        (lambda w: counter(w, k=16), ""),
        (lambda w: lambda s: round(counter(w)(s), 6), ""),
        (lambda w: micro(counter(w, 100.0), COUNT_J), "0.0.5 and 0.0.6"),
        (lambda w: micro(counter(w, 250_000.0), COUNT_J), "0.0.5 and 0.0.6"),
        (lambda w: lambda s: counter(w, k=16)(s) / 1e6, "joules / 10^6"),
        (lambda w: lambda s: round(counter(w)(s) / COUNT_J), "holds counts"),
    ],
    ids=["2^-14", "2^-16", "six decimals", "0.0.6", "0.0.6 high", "0.0.6 at 2^-16", "0.0.4"],
)
def test_the_grid_of_the_numbers_shows_what_they_are(
    joules: Callable[[float], Callable[[float], Any]], noted: str, watts: float
) -> None:
    recording = right(rows(joules=joules(watts)), watts)
    assert any(noted in note for note in recording.notes) if noted else not recording.notes


def test_counts_wrap_at_their_own_range() -> None:
    written = rows(joules=micro(counter(80.0, 2.0**18 - 300), COUNT_J))
    assert {row[PACKAGE] > 4000 for row in written} == {True, False}
    right(written)


def test_the_old_titles_are_read() -> None:
    written = text(rows(more={GPU: lambda _: 70_000}))
    right(written.replace(PACKAGE, "PACAKGE_ENERGY (J)").replace(GPU, "GPU0_POWER"))


def test_joules_of_amd_are_never_taken_for_counts() -> None:
    written = text(rows(joules=micro(counter(80.0, 100.0), COUNT_J)))
    cpu = read(written.replace(PACKAGE, "CPU_ENERGY (J)"))[1]["cpu"]
    assert cpu.joules == pytest.approx(80 * 20.15 / 61.035, rel=0.01)


def test_rounded_numbers_are_labelled_or_refused() -> None:
    """Where rounding took away what shows joules from counts."""
    recording = right(rows(watts=8.0, joules=lambda s: round(500 + 8.0 * s, 3)), 8.0)
    assert any("rounded" in note and "61 times" in note for note in recording.notes)
    with pytest.raises(UsageError, match="cannot be decided"):
        read(rows(joules=lambda s: round(500 + 0.13 * s, 4)))


def test_a_broken_part_of_the_package_is_no_reason_to_refuse_it() -> None:
    noise = random.Random(1)
    right(rows(more={"DRAM_ENERGY (J)": lambda _: noise.random() * 1e5, "PP0_ENERGY (J)": str}))


# --- a GPU's power --------------------------------------------------------------------------


def powered(
    first: list[float], watts: float = 8.0, busy: float = 0.0, memory: int = 8192, at: int = 0
) -> list[Row]:
    written = rows(
        more={
            "GPU0_MEMORY_TOTAL": lambda _: memory,
            GPU: lambda _: watts * 1000,
            "GPU0_USAGE": lambda _: busy,
        }
    )
    for row, value in zip(written[at:], first, strict=False):
        row[GPU] = value * 1000
    return written


@pytest.mark.parametrize("first", [[590.0] * 2, [590.0] * 3, [8.0, 590.0, 8.0, 590.0], [1e6] * 2])
@pytest.mark.parametrize("at", [0, 50])
@pytest.mark.parametrize("busy", [0.0, 100.0])
def test_more_than_such_a_board_draws_is_left_out(first: list[float], at: int, busy: float) -> None:
    recording, values = read(powered(first, busy=busy, at=at))
    gpu = values["gpu"]
    assert gpu.joules == pytest.approx(8.0 * 19.65, rel=0.01), gpu.reason
    assert any(GPU in note and "left out as garbage" in note for note in recording.notes)


@pytest.mark.parametrize("first", [[590.0] * 2, [350.0] * 4])
def test_a_card_that_wakes_up_at_rest_draws_no_hundred_times_more(first: list[float]) -> None:
    recording, values = read(powered(first, memory=24_564))
    assert values["gpu"].joules == pytest.approx(8.0 * 19.65, rel=0.01)
    assert recording.notes


def test_a_load_that_ends_is_no_garbage() -> None:
    """A trailing mean falls over a second; and a busy card may draw what it likes."""
    falling = [300.0, 300.0, 240.0, 180.0, 120.0, 60.0]
    assert not read(powered(falling, memory=24_564))[0].notes
    assert not read(powered([300.0] * 5, busy=90.0, memory=24_564))[0].notes


def test_a_sensor_that_is_garbage_throughout_measures_nothing() -> None:
    gpu = read(powered([590.0, 8.0] * 40))[1]["gpu"]
    assert gpu.joules is None
    assert "more than a card draws" in sentence(gpu.reason)


def test_a_short_recording_of_both_keeps_its_cpu() -> None:
    recording, values = read(rows(3.0, more={GPU: lambda _: 70_000}))
    assert values["gpu"].joules is None
    assert recording.window[1] > 3e9
