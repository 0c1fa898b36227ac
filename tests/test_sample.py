"""The sampler: deadlines, rows on disk, and its end in each of the ways it can come."""

from __future__ import annotations

import json
import os
import resource
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from kit.core.errors import SamplerFailed
from kit.measure.meters import Reading, Tier
from kit.measure.sample import SamplerProcess
from kit.measure.sample.loop import Lane, Schedule, lanes_of
from kit.measure.sample.writer import Writer
from kit.record import events, samples
from kit.record.events import Clock, Journal
from kit.run.journey import stop_sampler
from tests.meters.fake import Sampled

ESTIMATE: list[dict[str, Any]] = [{"name": "estimate", "alias": None, "config": {}}]


def config(out: Path, meters: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {
        "origin": time.monotonic_ns(),
        "out": str(out),
        "cpus": "",
        "meters": ESTIMATE if meters is None else meters,
    }


def stored(out: Path) -> samples.Samples:
    return samples.from_csv({p.name: p.read_bytes() for p in out.glob("*.csv")})


@pytest.fixture
def sampler(tmp_path: Path) -> Iterator[SamplerProcess]:
    with SamplerProcess(config(tmp_path / "out"), tmp_path / "sampler.json") as process:
        process.wait_ready()
        yield process


def rapl(folder: Path) -> dict[str, Any]:
    """A meter with one package, whose counter is the file ``energy_uj``."""
    root = folder / "powercap" / "intel-rapl:0"
    root.mkdir(parents=True)
    for name, text in (("name", "package-0"), ("energy_uj", "1"), ("max_energy_range_uj", "9" * 9)):
        (root / name).write_text(text)
    return {"name": "rapl", "alias": None, "config": {"root": str(root.parent)}}


def pid_of(sampler: SamplerProcess) -> int:
    process = sampler._child._process
    assert process is not None
    return process.pid


def wait_until(what: Any, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


# --- the runner's side ----------------------------------------------------------------------


def test_it_reads_until_it_is_stopped_and_reports(sampler: SamplerProcess, tmp_path: Path) -> None:
    lines: list[dict[str, Any]] = []
    wait_until(lambda: lines.extend(sampler.poll()) or [x for x in lines if "values" in x])
    report = sampler.stop()
    readings = stored(tmp_path / "out").series["host", "cpu_busy"]
    assert lines[-1]["values"].keys() == {"host"}
    assert report["rows"] == len(readings.t)
    assert report["late_p99_ns"] >= 0
    assert report["overruns"].keys() == {"estimate.cpu"}
    assert report["tiers"]["estimate.cpu"]["reads"] > 0
    assert sampler.stop() == report
    assert sampler.poll() == []


@pytest.mark.slow
def test_the_last_row_lies_after_the_stop(tmp_path: Path) -> None:
    wanted = config(tmp_path / "out")
    with SamplerProcess(wanted, tmp_path / "sampler.json") as sampler:
        sampler.wait_ready()
        ready = time.monotonic_ns() - wanted["origin"]
        time.sleep(0.05)
        asked = time.monotonic_ns() - wanted["origin"]
        sampler.stop()
    times = stored(tmp_path / "out").series["host", "cpu_busy"]
    assert times.t0[0] < ready
    assert times.t0[-1] > asked


def test_credentials_are_on_disk_for_us_alone_and_only_until_it_is_ready(tmp_path: Path) -> None:
    path = tmp_path / "sampler.json"
    path.write_text("from before")
    path.chmod(0o644)
    with SamplerProcess(config(tmp_path / "out"), path) as sampler:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        sampler.wait_ready()
        assert not path.exists()


@pytest.mark.slow
def test_a_sampler_that_was_killed_is_told_once(sampler: SamplerProcess, tmp_path: Path) -> None:
    time.sleep(2.5)
    before = time.monotonic()
    os.kill(pid_of(sampler), signal.SIGKILL)
    with pytest.raises(SamplerFailed, match="ended early"):
        wait_until(lambda: sampler.poll() and False)
    assert time.monotonic() - before < 10
    assert sampler.stop() == {"event": "stopped", "lost": True}
    readings = stored(tmp_path / "out").series["host", "cpu_busy"]
    assert readings.t[-1] * 1e-9 > 0.5  # it ran for 2.5 s: at most two of them are lost


@pytest.mark.slow
def test_a_death_that_nobody_noticed_is_told_at_the_stop(sampler: SamplerProcess) -> None:
    os.kill(pid_of(sampler), signal.SIGKILL)
    with pytest.raises(SamplerFailed):
        sampler.stop()


@pytest.mark.slow
def test_a_meter_that_is_gone_is_its_last_word(tmp_path: Path) -> None:
    wanted = [{"name": "rapl", "alias": None, "config": {"root": str(tmp_path / "none")}}]
    path = tmp_path / "sampler.json"
    process = SamplerProcess(config(tmp_path / "out", wanted), path)
    with process as sampler, pytest.raises(SamplerFailed, match="no RAPL") as caught:
        sampler.wait_ready()
    assert "Traceback" not in caught.value.message
    assert not path.exists()


@pytest.mark.slow
def test_what_fails_between_the_last_poll_and_the_stop_is_journalled(tmp_path: Path) -> None:
    wanted = config(tmp_path / "out", [rapl(tmp_path)])
    journal = Journal(tmp_path / "events.jsonl", Clock(wanted["origin"]))
    with SamplerProcess(wanted, tmp_path / "sampler.json") as sampler:
        sampler.wait_ready()
        assert sampler.pending_errors() == []
        sampler.poll()
        (tmp_path / "powercap" / "intel-rapl:0" / "energy_uj").write_text("gone")
        stop_sampler(sampler, "local", journal)
        assert sampler.pending_errors() == []
    journal.close()
    lost, stopped = events.decode((tmp_path / "events.jsonl").read_bytes())
    assert (lost.kind, stopped.kind) == ("sampler.lost", "sampler.stopped")
    assert lost.data["meter"] == "rapl"
    assert "cpu_energy can no longer be read" in lost.data["message"]
    assert stopped.data["rows"] > 0


@pytest.mark.slow
def test_it_ends_when_its_runner_dies(tmp_path: Path) -> None:
    """The runner is killed with no chance to say goodbye: its end of the pipe closes."""
    code = (
        "import sys, json; from pathlib import Path\n"
        "from kit.measure.sample import SamplerProcess\n"
        "s = SamplerProcess(json.loads(sys.argv[1]), Path(sys.argv[2])); s.__enter__()\n"
        "s.wait_ready(); print(s._child._process.pid, flush=True); sys.stdin.read()"
    )
    arguments = [json.dumps(config(tmp_path / "out")), str(tmp_path / "sampler.json")]
    runner = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert runner.stdout is not None
    pid = int(runner.stdout.readline())
    runner.kill()
    runner.wait()
    wait_until(lambda: not Path(f"/proc/{pid}").exists())
    assert len(stored(tmp_path / "out").series["host", "cpu_busy"].t) > 1


@pytest.mark.slow
def test_ctrl_c_on_a_terminal_does_not_end_the_sampler(sampler: SamplerProcess) -> None:
    os.kill(pid_of(sampler), signal.SIGINT)
    time.sleep(0.3)
    sampler.poll()
    assert sampler.stop()["rows"] > 0


@pytest.mark.slow
def test_a_full_disk_ends_it_with_one_sentence(tmp_path: Path) -> None:
    """A limit on the size of files stands for the full disk: writing fails half-way."""
    root = tmp_path / "powercap" / "intel-rapl:0"
    root.mkdir(parents=True)
    for name, text in (
        ("name", "package-0"),
        ("energy_uj", "1"),
        ("max_energy_range_uj", "999999999"),
    ):
        (root / name).write_text(text)

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))

    wanted = [{"name": "rapl", "alias": None, "config": {"root": str(root.parent)}}]
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config(tmp_path / "out", wanted)))
    done = run_limited(path, limited)
    assert done.returncode == 1
    assert "the samples cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
    readings = stored(tmp_path / "out")
    assert readings.gaps == ()  # the row that did not fit is not there in part
    assert len(readings.series["cpu0-package", "cpu_energy"].t) > 10


def run_limited(path: Path, limited: Any) -> subprocess.CompletedProcess[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "kit.measure.sample", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=limited,
    )
    assert process.stdout is not None and process.stderr is not None
    out, err = process.stdout.read(), process.stderr.read()
    return subprocess.CompletedProcess([], process.wait(30), out, err)


@pytest.mark.slow
def test_several_meters_share_a_process_and_have_a_file_each(tmp_path: Path) -> None:
    run = Sampled(tmp_path / "out", [*ESTIMATE, rapl(tmp_path)])
    t0, t1 = run.run(1.0)
    assert list(run.files()) == ["estimate.csv", "rapl.csv"]
    spans = samples.from_csv(run.files()).spans
    for first, last in spans.values():
        assert first <= t0 and last >= t1


# --- deadlines ------------------------------------------------------------------------------


def reading(clock: Clock) -> list[Reading]:
    now = clock.now()
    return [Reading(now, now, None, "host", "cpu_busy", 0, 1)]


def lane(
    tiers: list[Tier], clock: Clock, taken: list[Reading]
) -> tuple[list[Schedule], list[Lane]]:
    schedules = [Schedule(t, "test", clock, taken.extend, lambda *_: None) for t in tiers]
    return schedules, lanes_of(schedules, clock, threading.Event())


def run_for(lanes: list[Lane], seconds: float) -> None:
    for lane in lanes:
        lane.start()
    time.sleep(seconds)
    for lane in lanes:
        lane._stop.set()
        lane.join(5)


def test_overruns_are_counted_and_never_caught_up() -> None:
    clock, taken = Clock(), []
    slow_once = iter([0.0, 0.0, 0.25])

    def read() -> list[Reading]:
        time.sleep(next(slow_once, 0.0))
        return reading(clock)

    (schedule,), lanes = lane([Tier("t", 0.05, read)], clock, taken)
    run_for(lanes, 1.0)
    accounts = schedule.kept
    assert accounts.overruns >= 4  # the quarter of a second that one read took
    assert accounts.reads + accounts.overruns <= 21  # the grid's deadlines, no more
    gaps = [b.t0 - a.t0 for a, b in pairwise(taken[1:-1])]
    assert min(gaps) > 20_000_000  # nothing is read in haste afterwards


def test_deadlines_are_absolute() -> None:
    """The time that a read takes does not add up: 20 reads of 10 ms in 50 ms steps take 1 s."""
    clock, taken = Clock(), []

    def read() -> list[Reading]:
        time.sleep(0.01)
        return reading(clock)

    (schedule,), lanes = lane([Tier("t", 0.05, read)], clock, taken)
    run_for(lanes, 1.5)
    accounts = schedule.kept
    assert accounts.reads + accounts.overruns == pytest.approx(30, abs=2)


def test_a_slow_tier_delays_no_quick_one() -> None:
    clock, taken = Clock(), []

    def blocked() -> list[Reading]:
        time.sleep(0.4)
        return []

    tiers = [Tier("quick", 0.02, lambda: reading(clock)), Tier("slow", 0.1, blocked, slow=True)]
    (quick, slow), lanes = lane(tiers, clock, taken)
    assert len(lanes) == 2
    run_for(lanes, 1.0)
    assert slow.kept.overruns >= 3
    assert quick.kept.reads > 3 * slow.kept.reads


def test_a_tier_that_sets_its_own_pace_is_asked_when_it_says() -> None:
    clock, taken, due = Clock(), [], []

    def next_due() -> int:
        due.append(clock.now() + 100_000_000)
        return due[-1]

    own = Tier("own", 5.0, lambda: reading(clock), slow=True, due=next_due)
    (schedule,), lanes = lane([own], clock, taken)
    begin = clock.now()
    run_for(lanes, 1.0)
    assert schedule.kept.overruns == 0
    assert 5 <= schedule.kept.reads <= 1 + (clock.now() - begin) / 100_000_000


def test_closing_readings_are_taken_after_the_stop() -> None:
    clock, taken, stops = Clock(), [], []

    def last(stopped_at: int) -> list[Reading]:
        stops.append(stopped_at)
        return reading(clock)

    tier = Tier("t", 0.02, lambda: reading(clock), last=last)
    _, lanes = lane([tier], clock, taken)
    run_for(lanes, 0.1)
    assert len(stops) == 1
    assert taken[-1].t0 >= stops[0]


def test_a_tier_that_breaks_is_told_and_the_others_go_on() -> None:
    clock, taken, messages = Clock(), [], []

    def broken() -> list[Reading]:
        raise RuntimeError("a bug in a meter")

    tiers = [Tier("bad", 0.02, broken), Tier("good", 0.02, lambda: reading(clock))]
    schedules = [
        Schedule(t, "test", clock, taken.extend, lambda tier, error: messages.append((tier, error)))
        for t in tiers
    ]
    run_for(lanes_of(schedules, clock, threading.Event()), 0.3)
    assert {tier.name for tier, _ in messages} == {"bad"}
    assert len(taken) > 5


@pytest.mark.parametrize("period_s", [0.0, -1.0, 1e-12, float("nan"), float("inf")])
def test_a_tier_without_a_usable_period_is_read_and_stops_no_other(period_s: float) -> None:
    clock, taken = Clock(), []
    tiers = [Tier("odd", period_s, list), Tier("good", 0.02, lambda: reading(clock))]
    _, lanes = lane(tiers, clock, taken)
    run_for(lanes, 0.3)
    assert [other.fault for other in lanes] == [""]
    assert len(taken) > 5


def _raise(error: BaseException) -> Any:
    raise error


ERRORS = [
    ZeroDivisionError("0"),
    KeyError("gpu9"),
    OSError(5, "I/O"),
    MemoryError(),
    TypeError("x"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("where", ["read", "due", "last"])
def test_whatever_a_tier_raises_stops_no_other(error: Exception, where: str) -> None:
    clock, taken, messages = Clock(), [], []

    def odd() -> Any:
        return _raise(error)

    tier = Tier("odd", 0.02, odd if where == "read" else list)
    if where == "due":
        tier = tier._replace(due=odd)
    if where == "last":
        tier = tier._replace(last=lambda _: _raise(error))
    schedules = [
        Schedule(t, "test", clock, taken.extend, lambda tier, e: messages.append((tier.name, e)))
        for t in (tier, Tier("good", 0.02, lambda: reading(clock)))
    ]
    lanes = lanes_of(schedules, clock, threading.Event())
    run_for(lanes, 0.3)
    assert {name for name, _ in messages} == {"odd"}
    assert type(error).__name__ in schedules[0].failure
    assert len(taken) > 5


def test_a_lane_that_ends_early_says_so() -> None:
    clock = Clock()
    _, (only,) = lane([Tier("t", 0.02, lambda: _raise(SystemExit()))], clock, [])
    run_for([only], 0.1)
    assert only.ready.is_set()
    assert "test.t stopped: SystemExit" in only.fault


ODD = """
import sys
from kit.measure import meters
from kit.measure.meters import MeterUnavailable, Reading, Tier
from kit.core.model import MeterDevice
from kit.measure.sample.__main__ import main

class Odd:
    devices = (MeterDevice(device="odd0", description="", quantities={"gpu_energy": {}}),)
    def __init__(self, clock):
        how = {"raises": lambda: 1 / 0, "no-number": lambda: "x", "huge": lambda: 2**64 - 1,
               "nan": lambda: float("nan"), "true": lambda: True}[sys.argv.pop(2)]
        def read():
            now = clock.now()
            return [Reading(now, clock.now(), None, "odd0", "gpu_energy", 0, how())]
        self.tiers = (Tier("odd", 0.05, read),)
    def explain(self, rc): raise ValueError(rc)
    def close(self): raise RuntimeError("cannot close")

class Meter:
    def open(self, alias, config, clock):
        if config.get("gone"):
            raise IndexError("the device is gone")
        return Odd(clock)

real = meters.get
meters.get = lambda name: Meter() if name == "odd" else real(name)
sys.exit(main())
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["raises", "no-number", "huge", "nan", "true", "gone"])
def test_a_meter_that_does_anything_stops_no_other_and_shows_in_the_exit_code(
    tmp_path: Path, how: str
) -> None:
    """Two meters in one process: the odd one is said by name, the other one is read to the end."""
    odd = {"name": "odd", "alias": None, "config": {"gone": how == "gone"}}
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config(tmp_path / "out", [odd, *ESTIMATE])))
    process = subprocess.Popen(
        [sys.executable, "-c", ODD, str(path), "raises" if how == "gone" else how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    lines = [json.loads(process.stdout.readline())]
    while lines[-1]["event"] != "ready":
        lines.append(json.loads(process.stdout.readline()))
    time.sleep(1.0)
    out, err = process.communicate("stop\n", timeout=30)
    lines += [json.loads(line) for line in out.splitlines()]
    report = lines[-1]
    assert any(line["event"] == "error" and line["meter"] == "odd" for line in lines), lines
    broken = how in ("raises", "gone")
    assert process.returncode == (4 if broken else 0), err
    assert bool(report.get("failed")) is broken
    readings = stored(tmp_path / "out")  # what is written can be read again
    assert len(readings.series["host", "cpu_busy"].t) > 5
    if not broken:
        assert readings.series["odd0", "gpu_energy"].errors > 5


def test_what_the_plan_does_not_read_is_not_written(tmp_path: Path) -> None:
    """A zone that stood still at planning and grows since has no facts to be read by."""
    meter = {
        **rapl(tmp_path),
        "planned": {"cpu0-package": ["cpu_energy"], "cpu1-package": ["cpu_energy"]},
    }
    other = tmp_path / "powercap" / "intel-rapl:0:0"
    other.mkdir()
    for name, text in (("name", "dram"), ("energy_uj", "1"), ("max_energy_range_uj", "9" * 9)):
        (other / name).write_text(text)
    run = Sampled(tmp_path / "out", [meter])
    run.run(0.5)
    assert set(stored(tmp_path / "out").series) == {("cpu0-package", "cpu_energy")}
    lost = [line["message"] for line in run.said if line["event"] == "error"]
    assert lost == ["cpu1-package is no longer there"]


# --- rows -----------------------------------------------------------------------------------


def test_rows_are_numbered_without_a_gap_from_many_threads(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "out" / "x.csv")

    def add(device: str) -> None:
        for n in range(500):
            writer.add([Reading(n, n, n, device, "gpu_energy", 0, n)])

    threads = [threading.Thread(target=add, args=(f"gpu{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        writer.flush()
    writer.close()
    writer.close()
    readings = stored(tmp_path / "out")
    assert (readings.gaps, writer.rows) == ((), 2000)
    for i in range(4):
        assert readings.series[f"gpu{i}", "gpu_energy"].raw.tolist() == list(range(500))


def test_a_failed_read_has_its_code_and_an_empty_value(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "x.csv")
    writer.add([Reading(1, 2, None, "gpu0", "gpu_energy", 15, None)])
    writer.close()
    assert (tmp_path / "x.csv").read_text().splitlines()[1] == "0,1,2,,gpu0,gpu_energy,15,"
