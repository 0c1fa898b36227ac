"""The devices that tests of meters read: a fake NVIDIA driver, a real SNMP agent."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kit.measure.meters.pdu.snmp import Snmp
from tests.meters.fake import Fake, build

AGENT = Path(__file__).with_name("pdu_agent.py")
# What the scripted device answers for: every enterprise, entities and their sensors, sysObjectID.
SERVED = ("1.3.6.1.4.1", "1.3.6.1.2.1.47", "1.3.6.1.2.1.99", "1.3.6.1.2.1.1.2")
OUTLET = "1.3.6.1.4.1.318.1.1.26.9.4.3.1"
COMMUNITY, USER, AUTH, PRIV = "kit-test", "kit", "auth-pass-1", "priv-pass-1"


@pytest.fixture(scope="session")
def nvml_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the fake ``libnvidia-ml.so.1``, freshly compiled."""
    return build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def gpus(nvml_folder: Path) -> Callable[..., Fake]:
    """Fake GPUs with settings (see fake_nvml.c)."""
    return lambda **settings: Fake(nvml_folder, settings)


class Agent:
    """A real snmpd that serves a scripted PDU on a free port of 127.0.0.1."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, _free_port()
        self.state = folder / "state.json"
        self.set({f"{OUTLET}.7.3": {"type": "gauge", "value": 230}})
        self._conf = folder / "snmpd.conf"
        self._conf.write_text(
            f"rocommunity {COMMUNITY} 127.0.0.1\n"
            f"createUser {USER} SHA {AUTH} AES {PRIV}\n"
            f"rouser {USER} priv\n"
            f"createUser {USER}-auth SHA-256 {AUTH}\nrouser {USER}-auth auth\n"
            f"createUser {USER}-none\nrouser {USER}-none noauth\n"
            + "".join(
                f"pass_persist -p 1 .{oid} {sys.executable} {AGENT} {self.state}\n"
                for oid in SERVED
            )
        )
        self._process: subprocess.Popen[bytes] | None = None

    def set(self, values: dict[str, dict[str, Any]]) -> None:
        """What the PDU answers from now on; replaced at once, never half written."""
        new = self.folder / "new.json"
        new.write_text(json.dumps(values))
        new.replace(self.state)

    def start(self) -> None:
        """Start it and wait until it answers."""
        program = shutil.which("snmpd", path=f"{os.environ['PATH']}:/usr/sbin")
        assert program, "Debian's snmpd is needed: apt-get install snmpd"
        persistent = self.folder / "persistent"
        persistent.mkdir(exist_ok=True)
        command = [program, "-f", "-LF", "e", str(self.folder / "log"), "-C", "-c", str(self._conf)]
        env = {**os.environ, "SNMP_PERSISTENT_DIR": str(persistent), "MIBS": ""}
        self._process = subprocess.Popen([*command, f"udp:127.0.0.1:{self.port}"], env=env)
        snmp = Snmp({**self.config(), "timeout_s": 0.5, "retries": 0})
        end = time.monotonic() + 20
        while snmp.get(["1.3.6.1.2.1.1.3.0"])[0][0] != 0:
            assert time.monotonic() < end, (self.folder / "log").read_text()
        snmp.close()

    def stop(self) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait(10)
            self._process = None

    def config(self, **changes: Any) -> dict[str, Any]:
        """host.toml's section for this agent, as `HostConfig.meter` hands it on."""
        usual = {
            "host": "127.0.0.1",
            "port": self.port,
            "profile": "apc-rpdu2",
            "outlets": [3],
            "inlets": [],
            "version": "2c",
            "community": COMMUNITY,
            "timeout_s": 1.0,
            "retries": 0,
        }
        return {**usual, **changes}

    def v3(self, **changes: Any) -> dict[str, Any]:
        """The same by SNMP v3 with authentication and privacy."""
        keys = {"user": USER, "auth_key": AUTH, "auth_protocol": "SHA"}
        keys |= {"priv_key": PRIV, "priv_protocol": "AES"}
        return self.config(**{"version": "3", "community": None, **keys, **changes})


@pytest.fixture(scope="session")
def running_agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    agent = Agent(tmp_path_factory.mktemp("snmp"))
    agent.start()
    yield agent
    agent.stop()


@pytest.fixture
def agent(running_agent: Agent) -> Agent:
    """The agent with one outlet, number 3, at 230 W, as it was at the beginning."""
    running_agent.set(
        {
            f"{OUTLET}.7.3": {"type": "gauge", "value": 230},
            f"{OUTLET}.11.3": {"type": "gauge", "value": 4711},
        }
    )
    return running_agent


@pytest.fixture
def own_agent(tmp_path: Path) -> Iterator[Agent]:
    """An agent that the test may stop."""
    agent = Agent(tmp_path)
    agent.start()
    yield agent
    agent.stop()


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
