"""Nothing stays open: what opens a run's files or the container engine closes it, on errors too."""

from __future__ import annotations

import ast
import gc
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import docker.errors
import pytest

from kit.cli.main import dispatch
from kit.core.errors import EXIT_VERIFY, EngineUnavailable, KitError
from kit.judge import replay
from kit.judge.verify.integrity import altered as altered_files
from kit.machine import containers
from kit.machine.containers import endpoint
from kit.machine.containers import engine as engine_room
from kit.show import documents, runsummary
from kit.store import seal
from kit.store.store import Store
from tests.committed import QUICKSTART, REPLAY

KIT = Path(__file__).parent.parent / "kit"
OPENERS = ("open_source", "FolderSource", "ZipSource", "connect")
# Opened, and left to the caller to close: path in kit/, and what opens.
HANDED_ON = {
    ("record/archive/__init__.py", "FolderSource"),
    ("record/archive/__init__.py", "ZipSource"),
}


# --- every place in kit ---------------------------------------------------------------------------


def opener(node: ast.AST) -> str:
    """The name of what opens something, where ``node`` is such a name; else empty."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name, value=ast.Name(id="archive")):
            return name if name in OPENERS else ""
        case ast.Attribute(attr="connect", value=ast.Name(id="containers")):
            return "connect"
        case ast.alias(name=name, asname=str()):
            return name if name in OPENERS else ""
    return ""


def left_open(tree: ast.AST) -> Iterator[str]:
    """Every use of an opener but as the item of a ``with`` or what ``enter_context`` is given."""
    closed: set[int] = set()
    for node in ast.walk(tree):
        match node:
            case ast.withitem(context_expr=ast.Call(func=func)):
                closed.add(id(func))
            case ast.Call(func=ast.Attribute(attr="enter_context"), args=[ast.Call(func=func)]):
                closed.add(id(func))
    for node in ast.walk(tree):
        name = opener(node)
        if name and id(node) not in closed:
            yield name


@pytest.mark.slow
def test_whatever_is_opened_is_closed_by_a_with() -> None:
    opened = {
        (str(path.relative_to(KIT)), name)
        for path in KIT.rglob("*.py")
        if any(name in (text := path.read_text("utf-8")) for name in OPENERS)
        for name in left_open(ast.parse(text))
    }
    assert opened == HANDED_ON


@pytest.mark.parametrize(
    "code",
    [
        "records.load(archive.open_source(run))",
        "source = open_source(run)\nsource.close()",
        "with closing(archive.open_source(run)) as source: pass",
        "engine = containers.connect()",
        "with load(containers.connect()) as found: pass",
        "sources = map(archive.open_source, runs)",
        "from kit.record.archive import open_source as opened",
    ],
)
def test_the_guard_sees_what_is_left_open(code: str) -> None:
    assert list(left_open(ast.parse(code)))


@pytest.mark.parametrize(
    "code",
    [
        "with archive.open_source(a) as one, archive.open_source(b) as two: pass",
        "with containers.connect(): pass",
        "source = held.enter_context(open_source(run))",
        "socket.connect(address)",
    ],
)
def test_the_guard_lets_a_with_pass(code: str) -> None:
    assert not list(left_open(ast.parse(code)))


# --- what really happens --------------------------------------------------------------------------


class Client:
    """docker-py's client, of an engine that has no image; counts those that are open."""

    open = 0

    def __init__(self, kernel: str = "") -> None:
        self.kernel = kernel
        self.api = self.images = self.containers = self
        Client.open += 1

    def info(self) -> dict[str, Any]:
        return {"Labels": [containers.owners.HOST_NETWORK], "KernelVersion": self.kernel}

    def version(self) -> dict[str, Any]:
        return {"Version": "29.0.1", "ApiVersion": "1.52"}

    def get(self, name: str) -> None:
        raise docker.errors.ImageNotFound(name)

    def list(self, **_: object) -> tuple[()]:
        return ()

    networks = list

    def close(self) -> None:
        Client.open -= 1


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine without images, and no host.toml or cache of the person who tests."""
    for name in ("KIT_HOST_CONFIG", "KIT_CACHE", "KIT_RUNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(Client, "open", 0)
    monkeypatch.setattr(endpoint, "knock", lambda _: None)
    monkeypatch.setattr(engine_room, "_client", lambda *_: Client())


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A committed run in a single file, which is held open while it is read."""
    return seal.export(QUICKSTART, tmp_path_factory.mktemp("packed"))


@pytest.fixture(scope="module")
def altered(packed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`packed` with a bit of its first member turned: it opens, and its files are refused."""
    data = bytearray(packed.read_bytes())
    data[4096] ^= 1
    path = tmp_path_factory.mktemp("altered") / packed.name
    path.write_bytes(data)
    return path


@contextmanager
def nothing_left_open() -> Iterator[None]:
    """No descriptor, no client, and no file that only the collector closed."""
    gc.collect()
    gc.freeze()  # what there was before is not looked through again
    before = _descriptors()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        try:
            with suppress(KitError):
                yield
            gc.collect()
        finally:
            gc.unfreeze()
    assert [str(w.message) for w in caught if w.category is ResourceWarning] == []
    assert _descriptors() - before == set()
    assert Client.open == 0


def _descriptors() -> set[str]:
    opened = set()
    for handle in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the listing's own
            opened.add(f"{handle.name} {handle.readlink()}")
    return opened


OF_A_RUN = {
    "verify {run}": 0,
    "show {run} --json": 0,
    "report {run} --format text": 0,
    "compare {run} {other}": 0,
    "replay {run} --rebuild --runs {store}": 2,  # listed; nobody is there to say yes
    "import {run} --runs {store}": 0,
}
OF_THE_ENGINE = {"images verify": 0, "recover --runs {store}": 0, "doctor --runs {store}": None}


@pytest.mark.parametrize("command", [*OF_A_RUN, *OF_THE_ENGINE])
def test_a_command_leaves_nothing_open(command: str, packed: Path, tmp_path: Path) -> None:
    words = command.format(run=packed, other=REPLAY, store=tmp_path / "runs").split()
    with nothing_left_open():
        code = dispatch(words)
    assert code == {**OF_A_RUN, **OF_THE_ENGINE}[command] or command.startswith("doctor")


@pytest.mark.parametrize("command", OF_A_RUN)
def test_a_refused_run_leaves_nothing_open(command: str, altered: Path, tmp_path: Path) -> None:
    words = command.format(run=altered, other=REPLAY, store=tmp_path / "runs").split()
    with nothing_left_open():
        assert dispatch(words) == EXIT_VERIFY


@pytest.mark.parametrize("fixture", ["packed", "altered"])
def test_what_screens_read_leaves_nothing_open(
    fixture: str, request: pytest.FixtureRequest
) -> None:
    run, store = request.getfixturevalue(fixture), Store(QUICKSTART.parent)
    for read in (
        runsummary.read,
        documents.documents_of,
        documents.recorded,
        documents.spec_of,
        altered_files,
        replay.order_of,
        lambda path: replay.parent_in(store, path),
        lambda path: replay.same_cards(path, QUICKSTART),
    ):
        with nothing_left_open():
            read(run)


def test_an_engine_that_is_refused_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_room, "_client", lambda *_: Client("6.10.14-linuxkit"))
    with pytest.raises(EngineUnavailable, match="another kernel"):
        containers.connect({})
    assert Client.open == 0
