"""EnergiBridge's CSV: what is in it becomes kit's energy, and what is wrong with it is said."""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit import energy
from kit.cli.main import dispatch
from kit.core.errors import UsageError
from kit.energy.reasons import sentence
from kit.measure.readers import energibridge
from kit.measure.readers.energibridge import counter
from kit.record import samples
from tests.properties import examples

UNIT = 2.0**-16  # J, as on AMD and many Xeons: the counter wraps at 65,536 J
START_MS = 1_697_704_464_320


def recording(
    seconds: float = 20.0, step_ms: int = 200, watts: float = 150.0, start_j: float = 65_000.0
) -> dict[str, list[Any]]:
    """Columns of a file as EnergiBridge's loop writes them: values as of Time, written at
    Time + Delta; sorted by name; the counter a multiple of its unit that wraps at 2^32 units."""
    n = round(seconds * 1000 / step_ms)
    t_ms = [i * step_ms for i in range(n + 1)]
    joules = [start_j + watts * t / 1000 for t in t_ms]
    return {
        "Delta": [step_ms] * (n + 1),
        "Time": [START_MS + t for t in t_ms],
        "CPU_FREQUENCY_0": [3200] * (n + 1),
        "DRAM_ENERGY (J)": [round((j / 10) / UNIT) * UNIT for j in joules],
        "GPU0_MEMORY_USED": [10240] * (n + 1),
        "GPU0_POWER (mWatts)": [300_000] * (n + 1),
        "GPU0_TEMPERATURE": [41] * (n + 1),
        "PACKAGE_ENERGY (J)": [(round(j / UNIT) % 2**32) * UNIT for j in joules],
        "PP0_ENERGY (J)": [round((j / 2) / UNIT) * UNIT for j in joules],
        "PP1_ENERGY (J)": [0] * (n + 1),
        "USED_MEMORY": [10188488704] * (n + 1),
    }


def text_of(columns: dict[str, list[Any]], separator: str = ",") -> str:
    rows = zip(*columns.values(), strict=True)
    lines = [separator.join(columns), *(separator.join(map(str, row)) for row in rows)]
    return "\n".join(lines) + "\n"


def energies(text: str, t0: int | None = None, t1: int | None = None) -> dict[str, Any]:
    recording = energibridge.read(text, "x.csv")
    window = (recording.window[0] if t0 is None else t0, recording.window[1] if t1 is None else t1)
    read = samples.from_csv({"x.csv": recording.csv})
    return {v.scope: v for v in energy.Energy(read, recording.meters).of(*window)}


@pytest.mark.parametrize("separator", [",", ";"])
def test_counter_and_power_become_energy_with_uncertainty(separator: str) -> None:
    """150 W over a wrap of the counter; the GPU's averaged power only over long windows."""
    imported = energies(text_of(recording(), separator), 2 * 10**9, 12 * 10**9)
    cpu, gpu = imported["cpu"], imported["gpu"]
    assert cpu.joules == pytest.approx(1500, rel=2e-3)
    assert cpu.devices.keys() == {"cpu0-package"}
    assert cpu.u_sensor == pytest.approx(1500 * 0.05 / 3**0.5, rel=0.01)
    assert gpu.joules == pytest.approx(3000, rel=2e-3)
    assert (cpu.method, gpu.method) == ("counter", "average")


def test_averaged_power_tells_no_short_window() -> None:
    gpu = energies(text_of(recording()), 2 * 10**9, 4 * 10**9)["gpu"]
    assert gpu.status == "unmeasured"
    assert "average cannot resolve a window of 2 s" in sentence(gpu.reason)


def test_what_was_read_and_where_from() -> None:
    imported = energibridge.read(text_of(recording()), "x.csv")
    devices = {d.device: d for m in imported.meters for d in m.devices}
    assert set(devices) == {"cpu0-package", "cpu0-core", "cpu0-uncore", "cpu0-dram", "gpu0"}
    package = devices["cpu0-package"]
    assert package.description.startswith("imported from EnergiBridge: PACKAGE_ENERGY (J)")
    assert "one socket alone" in package.description
    assert package.quantities["cpu_energy"].wrap == 65_536_000_000
    assert "stands still" in devices["cpu0-uncore"].quantities["cpu_energy"].reason
    read = samples.from_csv({"x.csv": imported.csv})
    used = read.get("gpu0", "gpu_memory_used")
    assert used is not None
    assert used.raw[0] == 10 * 1024**3
    assert (imported.began_ms, imported.rows) == (START_MS, 101)


def test_without_a_gpu_power_alone_stays_unmeasured() -> None:
    columns = recording()
    columns["GPU0_POWER (mWatts)"] = [0] * 101
    assert "no reading" in sentence(energies(text_of(columns))["gpu"].reason)


def broken(change: Callable[[dict[str, list[Any]]], Any]) -> str:
    columns = recording()
    change(columns)
    return text_of(columns)


def set_(name: str, at: int, value: Any) -> Callable[[dict[str, list[Any]]], Any]:
    return lambda columns: columns[name].__setitem__(at, value)


def per_interval(columns: dict[str, list[Any]]) -> None:
    columns["PACKAGE_ENERGY (J)"] = [30.0 + 0.1 * (i % 3) for i in range(101)]


def in_watts(columns: dict[str, list[Any]]) -> None:
    columns["GPU0_POWER (Watts)"] = columns.pop("GPU0_POWER (mWatts)")


def only_system_power(columns: dict[str, list[Any]]) -> None:
    for name in [n for n in columns if "ENERGY" in n or "GPU" in n]:
        del columns[name]
    columns["SYSTEM_POWER (Watts)"] = [11.5] * 101


def back_and_forth(columns: dict[str, list[Any]]) -> None:
    columns["Time"] = [t + (i // 5 % 2) * 3_600_000 for i, t in enumerate(columns["Time"])]


def reset(columns: dict[str, list[Any]]) -> None:
    grown = recording(start_j=30_000)["PACKAGE_ENERGY (J)"]
    columns["PACKAGE_ENERGY (J)"] = [j - (i > 50) * 30_000 for i, j in enumerate(grown)]


def amd_too(columns: dict[str, list[Any]]) -> None:
    columns["CPU_ENERGY (J)"] = columns["PACKAGE_ENERGY (J)"]


def in_seconds(columns: dict[str, list[Any]]) -> None:
    columns["Time"] = [t / 1000 for t in columns["Time"]]


POWER = "GPU0_POWER (mWatts)"


def moved(to: float) -> Callable[[dict[str, list[Any]]], Any]:
    return lambda columns: columns.update(Time=[to + t - START_MS for t in columns["Time"]])


def for_ages(columns: dict[str, list[Any]]) -> None:
    columns["Delta"] = [10**12] * 101
    columns["Time"] = [i * 10**12 for i in range(101)]


TWO_FILES = text_of(recording()) + text_of(recording())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no line with EnergiBridge's titles"),
        ("a,b,c\n1,2,3\n", "no line with EnergiBridge's titles"),
        (text_of(recording()).partition("\n")[2], "no line with EnergiBridge's titles"),
        (broken(back_and_forth), "rows are missing"),
        (broken(in_seconds), "not in milliseconds"),
        (broken(per_interval), "energy per interval"),
        (broken(reset), "it was reset"),
        (broken(set_("PACKAGE_ENERGY (J)", 7, -0.5)), "line 9: PACKAGE_ENERGY (J) is -0.5"),
        (broken(in_watts), "should be in mWatts"),
        (broken(only_system_power), "undocumented averaging"),
        (broken(amd_too), "two machines"),
        (TWO_FILES, "the titles come again in line 103"),
        (text_of(recording()) + TWO_FILES.rpartition("Delta")[2].partition("\n")[2], "line 103"),
        (text_of(recording(0.2)), "too few"),
        (broken(moved(-1e12)), "line 2: Time is -1e+12"),
        (broken(moved(1e15)), "line 2: Time is 1e+15"),
        (broken(for_ages), "more than 30 years"),
        (text_of(recording()).replace(",", '"'), "no line with EnergiBridge's titles"),
        (broken(lambda columns: columns.update(Time=["1.6977E+12"] * 101)), "by a spreadsheet"),
    ],
)
def test_what_is_wrong_is_said_in_one_error(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        energibridge.read(text, "x.csv")
    assert message in caught.value.message
    assert caught.value.remedy


def test_a_byte_order_mark_and_digits_of_another_script_are_no_stumbling_block() -> None:
    assert energibridge.read("\ufeff" + text_of(recording()), "x.csv").rows == 101
    other = energibridge.read(text_of(recording()).replace("GPU0", "GPU٣"), "x.csv")
    assert "nvml" not in {m.name for m in other.meters}


# --- any text at all ------------------------------------------------------------------------

CELLS = st.one_of(
    st.floats().map(repr),
    st.floats(0, 1e6).map(repr),
    st.integers().map(str),
    st.integers(0, 10**6).map(str),
    st.sampled_from(["", "nan", "-inf", "1e30", "-1e17", "1e999", "1_0", "٣", '"', "\r", "\x00"]),
    st.text(max_size=5),
)


def ends_well(text: str) -> None:
    """As the command does: a result, or an error of kit's with its remedy; no other exception."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "e.csv"
        file.write_bytes(text.encode("utf-8", "surrogatepass"))
        output, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            code = dispatch(["import", "energibridge", str(file), "--json"])
    assert code in (0, 2)
    assert json.loads(output.getvalue())["energy"] if code == 0 else "fix:" in errors.getvalue()


@examples(200)
@given(text=st.one_of(st.text(), st.text().map(lambda rest: "Delta,Time" + rest)))
def test_any_text_ends_in_a_result_or_one_error(text: str) -> None:
    ends_well(text)


@examples(200)
@given(data=st.data())
def test_a_recording_with_any_cells_ends_in_a_result_or_one_error(data: st.DataObject) -> None:
    """A true recording, some of whose cells (headings too) are whatever."""
    lines = [line.split(",") for line in text_of(recording(1.0)).splitlines()]
    for _ in range(data.draw(st.integers(0, 4))):
        row = data.draw(st.integers(0, len(lines) - 1))
        column = data.draw(st.integers(0, len(lines[0]) - 1))
        lines[row][column] = data.draw(CELLS)
    ends_well("\n".join(map(",".join, lines)) + "\n")


NUMBERS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(-1e18, 1e18),
    st.floats(0, 1e6),
    st.sampled_from([0.0, -0.0, 1e12, 1e18, 9.99e17, 5e-324]),
)


@examples(200)
@given(data=st.data())
def test_columns_of_any_numbers_end_in_a_result_or_one_error(data: st.DataObject) -> None:
    """Each column altogether of other numbers, the clock's of any steps that fit."""
    columns = recording(2.0)
    rows = len(columns["Time"])
    for name in data.draw(st.lists(st.sampled_from(sorted(set(columns) - {"Time"})), max_size=4)):
        columns[name] = data.draw(st.lists(NUMBERS, min_size=rows, max_size=rows))
    steps = data.draw(st.lists(st.sampled_from([0, 1, 200, 10**4, 10**13]), min_size=rows))[:rows]
    columns["Delta"] = steps
    start = data.draw(st.sampled_from([0, START_MS, 2.5e14]))
    columns["Time"] = [start + sum(steps[:i]) for i in range(rows)]
    ends_well(text_of(columns))


# --- the command ----------------------------------------------------------------------------


def test_the_command_tells_energy_as_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "e.csv"
    file.write_text(text_of(recording()))
    options = ["--from", "2", "--to", "12", "--json", "--out", str(tmp_path / "o")]
    assert dispatch(["import", "energibridge", str(file), *options]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["energy"]["cpu"]["joules"] == pytest.approx(1500, rel=2e-3)
    assert document["window_s"] == [2, 12]
    assert document["source"]["began_utc"] == "2023-10-19T08:34:24.320+00:00"
    rows = samples.from_csv({"a": (tmp_path / "o" / "energibridge.csv").read_bytes()})
    assert rows.get("cpu0-package", "cpu_energy") is not None


def test_the_command_shows_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "e.csv"
    file.write_text(text_of(recording()))
    assert dispatch(["import", "energibridge", str(file)]) == 0
    shown = capsys.readouterr().out
    assert "CPU packages" in shown
    assert "±" in shown
    assert "imported from EnergiBridge" in shown


@pytest.mark.parametrize(
    "options", [["--from", "30"], ["--to", "99"], ["--from", "5", "--to", "4"]]
)
def test_a_window_outside_is_an_error(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "e.csv"
    file.write_text(text_of(recording()))
    assert dispatch(["import", "energibridge", str(file), *options]) == 2
    assert "not within the recording" in capsys.readouterr().err


def test_a_sealed_run_is_still_imported_as_before(capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["import", "/nonexistent.kit.zip"]) != 0
    assert "nonexistent" in capsys.readouterr().err


def test_a_counter_of_which_one_reading_fits_is_unmeasured() -> None:
    series = counter.read("PACKAGE_ENERGY (J)", [1e6, 0.0], [0.0, 0.2], [2, 3], None, "e.csv")
    assert "too few readings" in series.facts.reason
