"""Host facts, host.toml and the CPU split, on trees of files and on this very machine."""

from __future__ import annotations

import json
import os
import socket
import stat
from pathlib import Path

import pytest

from kit.core import jsonio
from kit.core.errors import UsageError
from kit.machine import host
from kit.machine.host import HostConfig, gpus, kernelfiles, system
from kit.machine.host.config import VARIABLE

CPUINFO = """\
processor\t: {n}
vendor_id\t: GenuineIntel
model name\t: Intel(R) Xeon(R) Platinum 8480C
microcode\t: 0x2b000590
physical id\t: {socket}
core id\t\t: {core}
flags\t\t: fpu sse2 avx2 avx512f amx_tile f16c lm{extra}

"""


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


@pytest.fixture
def server(tmp_path: Path) -> Path:
    """A two-socket host with SMT: 8 threads on 4 cores."""
    blocks = [CPUINFO.format(n=n, socket=n // 2 % 2, core=n % 2, extra="") for n in range(8)]
    base = "sys/devices/system/cpu"
    policies = {
        f"{base}/cpufreq/policy{n}/{file}": value
        for n in range(8)
        for file, value in {
            "scaling_governor": "powersave\n" if n else "performance\n",
            "scaling_driver": "intel_pstate\n",
            "scaling_min_freq": "800000\n",
            "scaling_max_freq": "3800000\n",
        }.items()
    }
    return tree(
        tmp_path,
        {
            "proc/cpuinfo": "".join(blocks),
            "proc/meminfo": "MemTotal:  1000 kB\nMemAvailable: 600 kB\nSwapTotal: 0 kB\n",
            "proc/loadavg": "0.25 0.50 1.00 2/345 6789\n",
            f"{base}/smt/control": "on\n",
            f"{base}/intel_pstate/no_turbo": "1\n",
            "sys/devices/system/node/node0/cpulist": "0-3",
            "sys/devices/system/node/node1/cpulist": "4-7",
            "sys/fs/cgroup/cgroup.controllers": "cpu memory",
            "sys/class/dmi/id/sys_vendor": "Dell Inc.\n",
            "sys/class/dmi/id/product_name": "PowerEdge XE9680\n",
            "sys/class/dmi/id/product_serial": "SECRET123\n",
            **policies,
        },
    )


def test_cpu_layout_is_counted_not_guessed(server: Path) -> None:
    cpu = system.cpu(server)
    assert (cpu["sockets"], cpu["cores"], cpu["threads"]) == (2, 4, 8)
    assert cpu["isa"] == ["amx_tile", "avx2", "avx512f", "f16c"]
    assert cpu["smt"] == "on" and cpu["numa_nodes"] == 2 and cpu["virtual"] is False
    assert cpu["frequency"] == {
        "governors": ["performance", "powersave"],
        "driver": "intel_pstate",
        "minimum_khz": 800_000,
        "maximum_khz": 3_800_000,
        "boost": False,
    }


def test_generic_boost_switch_reads_the_other_way(server: Path) -> None:
    (server / "sys/devices/system/cpu/intel_pstate/no_turbo").unlink()
    tree(server, {"sys/devices/system/cpu/cpufreq/boost": "1\n"})
    assert system.frequency(server)["boost"] is True


def test_memory_says_what_the_kernel_left_out(server: Path) -> None:
    memory = system.memory(server)
    assert memory["total_bytes"] == 1_024_000 and memory["available_bytes"] == 614_400
    assert memory["swap_total_bytes"] == 0
    assert host.is_absent(memory["swap_free_bytes"])


def test_machine_never_reads_a_serial_number(server: Path) -> None:
    machine = system.machine(server)
    assert machine["product"] == "PowerEdge XE9680"
    assert host.is_absent(machine["firmware"])
    assert "SECRET123" not in json.dumps(machine)


def test_load_and_cgroup_version(server: Path, tmp_path: Path) -> None:
    assert system.load(server)["one_minute"] == 0.25
    assert system.cgroup(server) == 2
    (server / "sys/fs/cgroup/cgroup.controllers").unlink()
    assert system.cgroup(server) == 1


def test_an_empty_tree_is_absent_everywhere_and_zero_nowhere(tmp_path: Path) -> None:
    cpu = system.cpu(tmp_path)
    assert all(host.is_absent(cpu[key]) for key in ("model", "sockets", "cores", "frequency"))
    for facts in (system.machine(tmp_path), system.memory(tmp_path), system.load(tmp_path)):
        assert host.is_absent(facts) and facts["absent"]


def test_unreadable_file_is_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "energy_uj"
    path.write_text("1")
    path.chmod(0)
    me = os.geteuid()
    if me == 0:
        os.seteuid(65534)  # root would read it all the same
    try:
        value = kernelfiles.number(path, "missing")
    finally:
        os.seteuid(me)
    assert value == {"absent": "permission denied"}
    assert kernelfiles.number(tmp_path, "missing") == {"absent": "Is a directory"}


def test_fingerprint_of_this_machine_is_canonical_and_anonymous() -> None:
    engine = {
        "engine": "Docker",
        "version": "28.0.0",
        "endpoint": "unix:///home/somebody/docker.sock",
        "name": socket.gethostname(),
        "cdi_devices": ["nvidia.com/gpu=GPU-5ecb7a12-UUID"],
        "security_options": ["name=seccomp,profile=/home/somebody/strict.json", "name=cgroupns"],
    }
    facts = host.fingerprint(engine)
    sealed = jsonio.canonical(facts).decode()
    assert facts["docker"] == {
        "engine": "Docker",
        "version": "28.0.0",
        "security_options": ["name=cgroupns", "name=seccomp"],
    }
    assert "somebody" not in sealed and "/home/" not in sealed
    machine_id = Path("/etc/machine-id")
    if machine_id.exists() and (value := machine_id.read_text().strip()):
        assert value not in sealed
    assert "uuid" not in sealed.lower()
    assert facts["cpu"]["usable"] == len(os.sched_getaffinity(0))


def test_fingerprint_without_an_engine_says_so() -> None:
    assert host.fingerprint(None)["docker"] == {"absent": "no container engine answered"}


def test_identity_holds_what_the_fingerprint_must_not() -> None:
    assert host.identity()["host"] == os.uname().nodename


def test_clock_state_comes_from_the_kernel() -> None:
    clock = system.clock()
    assert isinstance(clock["synchronised"], bool) or host.is_absent(clock["synchronised"])


def test_no_driver_is_a_reason_not_an_empty_list(monkeypatch: pytest.MonkeyPatch) -> None:
    import pynvml

    def missing() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", missing)
    reason = {"absent": "no NVIDIA driver (libnvidia-ml.so.1 not found)"}
    assert gpus.facts() == (reason, reason)
    assert gpus.identities() == gpus.energy_counters() == reason


@pytest.mark.parametrize(
    ("call", "fact"),
    [
        ("nvmlSystemGetDriverVersion", "driver"),
        ("nvmlSystemGetCudaDriverVersion", "cuda_driver"),
        ("nvmlSystemGetNVMLVersion", "nvml"),
    ],
)
def test_a_driver_that_lacks_one_call_still_answers_the_others(
    call: str, fact: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pynvml

    def lacking() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)

    answers = {
        "nvmlInit": None,
        "nvmlShutdown": None,
        "nvmlDeviceGetCount": 0,
        "nvmlSystemGetDriverVersion": "580.159.04",
        "nvmlSystemGetCudaDriverVersion": 13000,
        "nvmlSystemGetNVMLVersion": "13.580.159.04",
    }
    for name, answer in answers.items():
        monkeypatch.setattr(pynvml, name, lambda answer=answer: answer)
    monkeypatch.setattr(pynvml, call, lacking)
    driver, cards = gpus.facts()
    versions = {"driver": "580.159.04", "cuda_driver": "13.0", "nvml": "13.580.159.04"}
    assert driver == versions | {fact: {"absent": "NVML: Function Not Found"}}
    assert cards == {}


@pytest.mark.parametrize("newer", [True, False])
def test_slowdowns_are_told_in_words_and_by_older_drivers_too(
    newer: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pynvml

    def lacking(_: object) -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)

    def reasons(_: object) -> int:
        return 0x01 | 0x04 | 0x40 | 0x80  # idle and the power limit are no slowdowns

    new, old = (
        "nvmlDeviceGetCurrentClocksEventReasons",
        "nvmlDeviceGetCurrentClocksThrottleReasons",
    )
    monkeypatch.setattr(pynvml, new, reasons if newer else lacking)
    monkeypatch.setattr(pynvml, old, lacking if newer else reasons)
    slowdowns = gpus._slowdowns(pynvml, None)
    assert slowdowns == ["hardware thermal slowdown", "power brake"]
    monkeypatch.setattr(pynvml, new, lacking)
    monkeypatch.setattr(pynvml, old, lacking)
    assert gpus._ask(pynvml, None, gpus._slowdowns) == {"absent": "NVML: Function Not Found"}


# --- the CPU split --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cpus", "split"),
    [
        ({0}, ("0", "0", "0")),
        ({0, 1}, ("0", "1", "1")),
        ({0, 1, 2}, ("0", "1", "2")),
        (set(range(16)), ("0-13", "14", "15")),
        ({2, 3, 8, 9, 11}, ("2-3,8", "9", "11")),
    ],
)
def test_cpus_are_split_between_runtime_driver_and_sampler(
    cpus: set[int], split: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: cpus)
    assert host.cpu_split() == split
    assert frozenset().union(*map(host.parse_set, split)) == cpus


def test_cpu_split_of_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)))
    assert host.cpu_split(8) == ("0-5", "6", "7")
    with pytest.raises(ValueError, match="0 CPUs"):
        host.cpu_split(0)


def test_cpu_sets_go_round() -> None:
    for cpus in ((), (3,), (0, 1, 2), (0, 2, 4, 5, 6, 9)):
        assert host.parse_set(host.format_set(cpus)) == frozenset(cpus)


# --- host.toml ------------------------------------------------------------------------------

FULL = """
[store]
runs = "~/runs"

[weights]
folders = ["/srv/models", "~/models"]

[estimate]
idle_w = 35
max_w = 120.5
source = "SPECpower"

[pdu.rack1]
host = "192.0.2.10"
profile = "apc-rpdu2"
outlets = [3, "4"]
community = "top-secret"

[pdu.rack2]
host = "pdu2"
profile = "apc-rpdu"
user = "kit"
auth_key = "top-secret-auth"
priv_key = "top-secret-priv"
"""


def test_config_is_read_with_its_defaults() -> None:
    config = HostConfig.parse(FULL)
    assert config.store_root == Path("~/runs").expanduser()
    assert config.weights_folders == (Path("/srv/models"), Path("~/models").expanduser())
    assert config.meter("estimate") == {"idle_w": 35.0, "max_w": 120.5, "source": "SPECpower"}
    rack1, rack2 = config.meter("pdu", "rack1"), config.meter("pdu", "rack2")
    assert (rack1["version"], rack1["port"], rack1["outlets"]) == ("2c", 161, (3, "4"))
    assert (rack2["version"], rack2["auth_protocol"]) == ("3", "SHA")
    assert config.meter("pdu", "rack9") == config.meter("nvml") == {}
    assert config.has_secrets and not HostConfig().has_secrets


def test_credentials_do_not_show_in_a_repr() -> None:
    assert "top-secret" not in repr(HostConfig.parse(FULL))


def test_no_file_is_the_empty_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert HostConfig.load() == HostConfig()
    assert HostConfig().store_root == Path("runs")


def test_the_variable_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "other.toml"
    monkeypatch.setenv(VARIABLE, str(path))
    with pytest.raises(UsageError, match=r"cannot read .*other\.toml"):
        HostConfig.load()
    path.write_text('[store]\nruns = "/srv/runs"\n')
    path.chmod(stat.S_IRUSR | stat.S_IWUSR)
    assert HostConfig.load().store_root == Path("/srv/runs")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[store", "is not TOML"),
        ("[stoer]\n", r"host.toml:1:1 \[stoer\] is no section .* did you mean store\?"),
        ("store = 3\n", r"\[store\]"),
        (
            '[weights]\nfolders = "a"\n',
            r"host.toml:2:1 \[weights\] `folders` holds a text where a list belongs",
        ),
        ("[estimate]\nidle_w = 9\nmax_w = 3\nsource = 'x'\n", r"\[estimate\] `idle_w` must lie"),
        ("[estimate]\nidle_w = 1\nmax_w = 3\nsource = ' '\n", r"`source` must say"),
        ("[pdu]\nhost = 'x'\n", r"sections of their own, as \[pdu.rack1\]"),
        ("[pdu.a]\nhost = 'x'\nprofile = 'p'\n", r"\[pdu.a\] give `community`"),
        (
            "[pdu.a]\nhost = 'x'\nprofile = 'p'\ncomunity = 'c'\n",
            r"host.toml:4:1 \[pdu.a\] has no key `comunity`: did you mean community\?",
        ),
        ("[estimate]\nmax_w = 3\n", r"host.toml:1:1 \[estimate\] needs the key `idle_w`"),
        ("# a\n\nx = \n", "host.toml:3:5 is not TOML"),
        ("[pdu.a]\nhost='x'\nprofile='p'\ncommunity='c'\nport=0\n", "`port` must lie"),
        ("[pdu.a]\nhost='x'\nprofile='p'\nuser='u'\npriv_key='k'\n", "needs an `auth_key`"),
        ("[pdu.a]\nhost='x'\nprofile='p'\nuser='u'\nauth_protocol='ROT13'\n", "must be one of MD5"),
    ],
)
def test_a_bad_file_is_one_clear_error(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        HostConfig.parse(text)
    assert "docs/host.md" in caught.value.remedy


def test_every_problem_is_listed_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        HostConfig.parse("[stoer]\n[estimate]\nidle_w=9\nmax_w=3\nsource=''\n")
    assert caught.value.message.count(";") == 2


_PDU = 'host = "pdu1"\nprofile = "raritan-px"\ncommunity = "x"\n'
_PLUG = 'url = "http://192.0.2.11"\nprofile = "shelly-gen2"\n'
_BMC = 'url = "https://bmc1"\n'


@pytest.mark.parametrize(
    ("meter", "first", "second", "is_shared"),
    [
        ("pdu", _PDU + "outlets = [1, 2]", _PDU + "outlets = [2, 3]", True),
        ("pdu", _PDU + "outlets = [1, 2]", _PDU + "outlets = [3]", False),
        ("pdu", _PDU + "outlets = [1]", _PDU + "inlets = [1]", False),
        ("plug", _PLUG, _PLUG.replace("192.0.2.11", "192.0.2.11/"), True),
        ("plug", _PLUG, _PLUG + "channel = 1", False),
        (
            "redfish",
            _BMC + 'chassis = ["1"]',
            _BMC.replace("bmc1", "BMC1") + 'chassis = ["1"]',
            True,
        ),
        ("redfish", _BMC + 'chassis = ["1"]', _BMC + 'chassis = ["2"]', False),
    ],
)
def test_no_two_sections_read_the_same(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    meter: str,
    first: str,
    second: str,
    is_shared: bool,
) -> None:
    path = tmp_path / "host.toml"
    path.write_text(f"[{meter}.a]\n{first}\n[{meter}.b]\n{second}\n")
    monkeypatch.setenv(VARIABLE, str(path))
    if is_shared:
        with pytest.raises(UsageError, match=r"would count twice"):
            HostConfig.load()
    else:
        HostConfig.load()
