"""What tests of several rooms share: the real container engine and the loopback image in it."""

from __future__ import annotations

import gc
import signal
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest

from kit.core.model import ImageIdentity
from kit.judge.verify import schema
from kit.machine import containers, images, tickets
from tests import golden
from tests import properties as properties  # its profile holds from here on

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's background job ignores Ctrl-C, and so would every kit that the tests interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)


# Modules whose tests take long: they draw screens, start processes, ask an SNMP agent or sample.
# Those that take longest come first.
_SLOW = (
    "tests/test_install_sets.py",
    "tests/tui/test_spec.py",
    "tests/tui/test_compare.py",
    "tests/tui/test_live.py",
    "tests/meters/test_nvml",
    "tests/test_wheel.py",
    "tests/tui/",
    "tests/verify/test_standstill.py",
    "tests/cli/test_oddities.py",
    "tests/test_images.py",
    "tests/test_left_open.py",
    "tests/test_energy_window.py",
    "tests/test_energy_window_error.py",
    "tests/meters/test_codecarbon.py",
    "tests/test_handling.py",
    "tests/meters/test_pdu_odd.py",
    "tests/meters/test_pdu_numbers.py",
    "tests/meters/test_pdu_energy.py",
    "tests/meters/test_pdu.py",
    "tests/cli/test_pdu.py",
    "tests/drive/test_process.py",
    "tests/report/test_paper.py",
    "tests/report/test_mean.py",
    "tests/test_energy_calibration.py",
    "tests/runtimes/test_loopback_server.py",
    "tests/journey/",
    "tests/fuzz/",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what ``make test-fast`` leaves out, and begin with the files that take longest."""
    _mark_slow(items)
    _order(items)


def pytest_collection_finish() -> None:
    """Keep what was collected out of the garbage collector's rounds: it lives to the end.

    The rounds become rarer too. They took a sixth of the time of tests that draw screens.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def _mark_slow(items: list[pytest.Item]) -> None:
    """What stays is the first case of each test, and of a module of `_SLOW` its first test."""
    seen = set()
    for item in items:
        test = item.nodeid.partition("[")[0]
        kind = _module(item) if _module(item).startswith(_SLOW) else test
        if kind in seen:
            item.add_marker(pytest.mark.slow)
        seen.add(kind)


def _order(items: list[pytest.Item]) -> None:
    """A file that waits for containers, then two that compute, and so on; short ones at the end.

    xdist hands out whole files in this order: no worker is left alone with a long one, and while
    one waits the others compute.
    """
    modules = dict.fromkeys(map(_module, items))
    waiting = {_module(item) for item in items if item.get_closest_marker("docker")}
    long = [m for m in modules if m.startswith(_SLOW) and m not in waiting]
    long.sort(key=lambda m: next(n for n, name in enumerate(_SLOW) if m.startswith(name)))
    place = {module: len(modules) for module in modules}
    place |= {module: 3 * n for n, module in enumerate(m for m in modules if m in waiting)}
    place |= {module: 3 * (n // 2) + 1 + n % 2 for n, module in enumerate(long)}
    items.sort(key=lambda item: place[_module(item)])


def _module(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]


@pytest.fixture(scope="session", autouse=True)
def _own_queue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Runs of tests wait for one another, and for no run of the person whose machine it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(tickets.FOLDER_VARIABLE, str(tmp_path_factory.mktemp("queue")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _known_files() -> Iterator[None]:
    """The form of a file is looked at once: hundreds of forgeries leave most files as they were.

    The function is pure, and name and bytes are the whole key.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schema, "file_problems", lru_cache(1024)(schema.file_problems))
        yield


@pytest.fixture(scope="session")
def sound_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sealed golden run, to be copied and not changed."""
    return golden.copied(tmp_path_factory.mktemp("sound") / "runs")


@pytest.fixture(scope="session")
def engine() -> Iterator[containers.Engine]:
    """The container engine of this machine."""
    found = containers.connect()
    yield found
    found.close()


@pytest.fixture(scope="session")
def loopback_image(engine: containers.Engine) -> ImageIdentity:
    """kit's loopback image, built where it is not there yet."""
    return images.build("loopback").identity
