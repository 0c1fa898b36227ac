"""Who uses a GPU, for whoever watches: over the fake driver, and a /proc of our own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kit.core.errors import EngineUnavailable
from kit.machine import containers
from kit.show.live.occupants import Occupants
from tests.meters.fake import Fake

Gpus = Callable[..., Fake]
READ = """
import dataclasses, json, sys
from pathlib import Path
from kit.show.live.occupants import Occupants
occupants = Occupants(Path(sys.argv[1]))
occupants._id = lambda container: {"mine": "c0ffee", "unknown": None}[container]
seen = occupants.read(sys.argv[2])
occupants.close()
print(json.dumps({name: dataclasses.asdict(gpu) for name, gpu in seen.items()}))
"""


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """Process 1 is the container's, process 2 another's; process 3 is hidden."""
    for pid, name, group in ((1, "llama-server", "docker-c0ffee.scope"), (2, "Xorg", "user.slice")):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "comm").write_text(f"{name}\n")
        (tmp_path / str(pid) / "cgroup").write_text(f"0::/{group}\n")
    return tmp_path


@pytest.mark.parametrize(
    ("container", "own"),
    [
        ("mine", [True, False, None]),
        ("unknown", [None, None, None]),
        ("", [False, False, False]),  # none of the run's can be there
    ],
)
def test_processes_have_names_and_an_owner(
    gpus: Gpus, proc: Path, container: str, own: list[bool | None]
) -> None:
    seen: dict[str, Any] = gpus(gpus=2, processes=3, graphics=1).python(READ, str(proc), container)
    assert list(seen) == ["gpu0", "gpu1"]
    listed = sorted(seen["gpu0"]["processes"], key=lambda process: process["pid"])
    assert [process["name"] for process in listed] == ["llama-server", "Xorg", "?"]
    assert [process["own"] for process in listed] == own
    assert isinstance(seen["gpu0"]["utilisation"], int)


@pytest.mark.parametrize(("old_memory", "reserve"), [(0, 480 << 20), (1, 0)])
def test_used_memory_is_without_the_drivers_reserve(
    gpus: Gpus, proc: Path, old_memory: int, reserve: int
) -> None:
    seen = gpus(gpus=1, old_memory=old_memory).python(READ, str(proc), "mine")["gpu0"]
    assert (seen["memory_used"], seen["memory_total"]) == ((10 << 30) - reserve, 150 << 30)


def test_an_empty_gpu_has_no_process(gpus: Gpus, proc: Path) -> None:
    seen = gpus(gpus=1).python(READ, str(proc), "mine")
    assert seen["gpu0"]["processes"] == []


class Engine:
    """An engine that names every container."""

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None: ...

    def container_id(self, name: str) -> str:
        return "c0ffee"


def unread(proc: Path) -> Occupants:
    """The reader without a driver."""
    occupants = Occupants.__new__(Occupants)
    occupants._proc, occupants._groups = proc, {}
    return occupants


def test_a_container_that_is_not_there_yet_is_asked_for_again(
    proc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stranger may use the GPU before the run's container is made."""
    answers: list[Any] = [EngineUnavailable("stopped", "start it"), OSError(), Engine(), None]

    def connect() -> Engine:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(containers, "connect", connect)
    occupants = unread(proc)
    assert [occupants._id("run") for _ in range(4)] == [None, None, "c0ffee", "c0ffee"]


def test_a_group_of_any_bytes_is_read(proc: Path) -> None:
    (proc / "2" / "cgroup").write_bytes(b"0::/\xff\xfe\n")
    assert unread(proc)._is_own(2, "c0ffee") is False
