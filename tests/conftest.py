"""What tests of several rooms share: the real container engine and the loopback image in it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.core.model import ImageIdentity
from kit.machine import containers, images, tickets
from tests import golden
from tests import properties as properties  # its profile holds from here on

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's background job ignores Ctrl-C, and so would every kit that the tests interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _own_queue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Runs of tests wait for one another, and for no run of the person whose machine it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(tickets.FOLDER_VARIABLE, str(tmp_path_factory.mktemp("queue")))
        yield


@pytest.fixture(scope="session")
def sound_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sealed golden run, to be copied and not changed."""
    return golden.build(tmp_path_factory.mktemp("sound") / "runs")


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
