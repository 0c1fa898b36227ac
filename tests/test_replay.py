"""A replay of a stranger's run: everything is listed first, and before a yes nothing is done.

Real kit processes with a home and a cache that are fresh, a hub, a package index and a PDU on this
machine that count who asks them, and a real container engine.
"""

from __future__ import annotations

import hashlib
import json
import os
import pty
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kit.core import jsonio
from kit.core.errors import ArchiveRefused, ImageUnavailable
from kit.core.model import ImageIdentity
from kit.judge.replay import order_of, undertake
from kit.judge.verify import verify
from kit.machine import containers, images
from kit.machine.images import baselayer, tree
from kit.record import archive
from kit.run.runner import Order
from kit.show import render
from kit.store.store import Store
from kit.tui.app import KitApp
from kit.tui.screens.home import HomeScreen
from tests import strangers
from tests.test_images_parts import member, package
from tests.test_images_sealed import base as sealed_base
from tests.test_images_sealed import identified
from tests.test_images_sealed import recipe as sealed_recipe
from tests.tui.conftest import drawn
from tests.tui.waiting import press, settled

pytestmark = pytest.mark.docker

KIT = [sys.executable, "-B", "-m", "kit.cli.main"]
CONTENT = b"weights"
NOWHERE = "sha256:" + "1" * 64  # of no image
COMMIT = "a" * 40
LOCAL = [{"name": "nvml"}, {"name": "rapl"}]
METERS = [*LOCAL, {"name": "pdu", "alias": "rack1"}]
HUB_FILE = {
    "path": "model.gguf",
    "source": f"hf:someone/model@{COMMIT}/model.gguf",
    "sha256": hashlib.sha256(CONTENT).hexdigest(),
    "size": len(CONTENT),
}


_KEPT = ("PATH", "DOCKER_HOST", "LANG", "OPENBLAS_NUM_THREADS")


class Listener:
    """An HTTP server and a UDP port on this machine that remember what reached them."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str | None]] = []
        self.files = {"model.gguf": CONTENT}
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                listener.requests.append((self.path, self.headers.get("Authorization")))
                found = listener.files.get(self.path.rpartition("/")[2])
                self.send_response(404 if found is None else 200)
                self.end_headers()
                self.wfile.write(found or b"")

            def log_message(self, format: str, *args: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 0))
        self.udp.setblocking(False)

    @property
    def datagrams(self) -> int:
        count = 0
        while True:
            try:
                self.udp.recv(2048)
            except BlockingIOError:
                return count
            count += 1

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.udp.close()


class Machine:
    """A person's machine with nothing on it but a host.toml: home, cache, store."""

    def __init__(self, root: Path, listener: Listener) -> None:
        self.root, self.listener = root, listener
        self.home, self.runs = root / "home", root / "home" / "runs"
        self.models = self.home / "models"
        self.models.mkdir(parents=True)
        port = listener.udp.getsockname()[1]
        (self.home / "host.toml").write_text(
            f'[weights]\nfolders = ["{self.models}"]\n[store]\nruns = "{self.runs}"\n'
            f'[pdu.rack1]\nhost = "127.0.0.1"\nport = {port}\nprofile = "apc-rpdu2"\n'
            'outlets = [1]\ncommunity = "s3cret"\ntimeout_s = 0.2\nretries = 0\n'
        )
        kept = {k: v for k, v in os.environ.items() if k in _KEPT}
        self.env = kept | {
            "HOME": str(self.home),
            "KIT_HOST_CONFIG": str(self.home / "host.toml"),
            "HF_ENDPOINT": listener.url,
            "HF_TOKEN": "hf_person",
            "PIP_INDEX_URL": f"{listener.url}/simple",
            "PIP_RETRIES": "0",
            "KIT_DEBIAN_MIRROR": f"{listener.url}/debian",
            "NO_COLOR": "1",
        }

    def tree(self) -> dict[str, tuple[int, str]]:
        """Every path below the home, with its mode and what is in it."""
        found = {}
        for path in sorted(self.home.rglob("*")):
            data = path.read_bytes() if path.is_file() else b""
            found[str(path)] = (path.lstat().st_mode, hashlib.sha256(data).hexdigest())
        return found

    def replay(self, run: Path, *args: str, answer: str = "") -> subprocess.CompletedProcess[str]:
        """``kit replay RUN``; with an ``answer`` it is asked on a terminal."""
        main, side = pty.openpty() if answer else (-1, subprocess.DEVNULL)
        try:
            if answer:
                os.write(main, answer.encode())
            done = subprocess.run(
                [*KIT, "replay", str(run), *args],
                cwd=self.home,
                env=self.env,
                stdin=side,
                capture_output=True,
                text=True,
                timeout=240,
            )
        finally:
            for handle in {main, side} - {-1, subprocess.DEVNULL}:
                os.close(handle)
        assert "Traceback" not in done.stderr, done.stderr
        return done


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    listener = Listener()
    yield Machine(tmp_path, listener)
    listener.close()


@pytest.fixture
def pinned(loopback_image: ImageIdentity) -> str:
    """The digest of the loopback image, which is in the engine."""
    return str(images.recipe("loopback").image_id)


def weights(**file: Any) -> dict[str, Any]:
    return {"repo": "someone/model", "revision": COMMIT, "files": [{**HUB_FILE, **file}]}


def strangers_run(
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    digest: str,
    verified: bool = True,
    **changes: Any,
) -> Path:
    """A run that asks for a hub's file and for the person's PDU."""
    asked = {"meters": METERS, "limits": {"memory_mib": 256}, "weights": weights()}
    asked |= {"devices": {"gpus": 0}, **changes}
    run = strangers.sealed(machine.root / "theirs", monkeypatch, digest=digest, **asked)
    assert verify(run).passed is verified, verify(run).failures
    return run


# --- nothing before the yes -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "rebuild"),
    [("", []), ("n\n", []), ("\x04", []), ("maybe\n", ["--rebuild"]), ("", ["--rebuild"])],
)
def test_without_a_yes_nothing_is_done(
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    pinned: str,
    answer: str,
    rebuild: list[str],
) -> None:
    run = strangers_run(machine, monkeypatch, pinned)
    before = machine.tree()
    done = machine.replay(run, *rebuild, answer=answer)
    assert done.returncode == (130 if answer else 2), done.stderr
    assert "nothing was done" in done.stderr
    assert machine.tree() == before
    assert machine.listener.requests == [] and machine.listener.datagrams == 0
    assert done.stdout == ""


def test_the_list_names_everything(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, pinned: str
) -> None:
    run = strangers_run(machine, monkeypatch, pinned)
    shown = machine.replay(run).stderr
    port = machine.listener.udp.getsockname()[1]
    for words in (
        "golden",
        f"pinned {pinned}",
        f"to be fetched: model.gguf (7 B), {HUB_FILE['source']}, from {machine.listener.url}",
        "WITH YOUR TOKEN",
        f"pdu rack1: 127.0.0.1 port {port}, over SNMP 2c, with the community of [pdu.rack1]",
        "no capabilities",
        "2 launches of 3 requests each",
        "to be fetched, at most",
        "docker run --detach",
        "--script",
    ):
        assert words in shown, words
    assert "s3cret" not in shown and "hf_person" not in shown


def test_the_network_is_said_as_it_will_be(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, pinned: str, engine: containers.Engine
) -> None:
    network, egress = containers.network_plan(engine.facts())
    shown = machine.replay(strangers_run(machine, monkeypatch, pinned)).stderr
    assert containers.EGRESS[egress] in shown
    assert ("THE HOST'S OWN NETWORK" in shown) is (network == "host")


def test_the_rehearsed_network_of_an_engine_without_bridges(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pinned: str
) -> None:
    monkeypatch.setattr(containers.Engine, "bridges", lambda self: False)
    run = strangers.sealed(tmp_path, monkeypatch, digest=pinned)
    found = undertake(run, Store(tmp_path / "mine"))
    assert found.launch.network == "host" and "--network=host" in found.command
    assert render.undertaking_list(found)
    assert not (tmp_path / "mine").exists()


async def test_the_terminal_ui_asks_with_the_same_words_and_a_no_does_nothing(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, pinned: str
) -> None:
    run = strangers_run(machine, monkeypatch, pinned)
    for name, value in machine.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("KIT_CACHE", raising=False)
    app = KitApp(Store(run.parent), first=HomeScreen(), ascii_only=False)
    async with app.run_test(size=(100, 50)) as pilot:
        await settled(pilot)
        before = machine.tree()
        await press(pilot, "r")
        text = " ".join(drawn(app).replace("│", " ").split())
        assert render.QUESTION in text and "WITH YOUR TOKEN" in text and "pdu rack1" in text
        await press(pilot, "n")
        assert machine.tree() == before
    assert machine.listener.requests == [] and machine.listener.datagrams == 0


# --- after the yes, exactly what was listed -------------------------------------------------------


def test_after_a_yes_the_listed_file_is_fetched_and_the_run_goes_on(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, pinned: str
) -> None:
    run = strangers_run(machine, monkeypatch, pinned, meters=LOCAL)
    done = machine.replay(run, "--yes")
    assert done.returncode in (5, 6), done.stderr  # the golden run's words are made up
    assert machine.listener.requests == [
        (f"/someone/model/resolve/{COMMIT}/model.gguf", "Bearer hf_person")
    ]
    kept = machine.home / ".cache" / "kit" / "weights" / str(HUB_FILE["sha256"])
    assert kept.read_bytes() == CONTENT
    assert len(list(machine.runs.glob("*/manifest.json"))) == 1


def test_a_file_of_the_persons_is_used_by_its_hash_alone(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, pinned: str
) -> None:
    (machine.models / "model.gguf").write_bytes(CONTENT)
    run = strangers_run(machine, monkeypatch, pinned, meters=LOCAL)
    shown = machine.replay(run).stderr
    assert f"mounted read-only from {machine.models / 'model.gguf'}" in shown
    assert "to be fetched" not in shown


@pytest.mark.parametrize("source", ["file:model.gguf", "file:host.toml"])
def test_a_file_of_the_persons_with_another_hash_is_not_given_away(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, pinned: str, source: str
) -> None:
    (machine.models / "model.gguf").write_bytes(b"private")
    run = strangers_run(machine, monkeypatch, pinned, weights=weights(source=source))
    before = machine.tree()
    done = machine.replay(run, "--yes", "--weights", str(machine.home))
    assert done.returncode == 3 and "MISSING: model.gguf" in done.stderr
    assert machine.tree() == before


@pytest.mark.parametrize("args", [[], ["--rebuild", "--yes"]])
def test_an_image_that_is_missing_stops_before_the_question(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, args: list[str]
) -> None:
    run = strangers_run(machine, monkeypatch, NOWHERE)
    before = machine.tree()
    done = machine.replay(run, *args)
    assert done.returncode == 3 and "MISSING: loopback" in done.stderr, done.stderr
    assert machine.tree() == before and machine.listener.requests == []


@pytest.mark.parametrize(("args", "answer"), [(["--yes"], ""), ([], "y\n")])
def test_a_hub_file_with_other_bytes_leaves_nothing(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, pinned: str, args: list[str], answer: str
) -> None:
    """A yes on the terminal is one as --yes is: the file is asked for."""
    run = strangers_run(machine, monkeypatch, pinned, weights=weights(sha256="d" * 64))
    done = machine.replay(run, *args, answer=answer)
    assert done.returncode == 3 and "the spec pins" in done.stderr
    assert len(machine.listener.requests) == 1
    assert [p for p in (machine.home / ".cache").rglob("*") if p.is_file()] == []
    assert not machine.runs.exists()


# --- a rebuild ------------------------------------------------------------------------------------

SERVER = b"raise SystemExit('a recipe of the tests: it serves nothing')\n"


class Rebuild:
    """A recipe for an image that no engine has, with its one Debian package on the mirror."""

    def __init__(self, folder: Path, listener: Listener) -> None:
        folder.mkdir()
        control = b"Package: nothing\nVersion: 1-1\nArchitecture: all\nDescription: of a test\n"
        made = package(folder, member("./usr/share/nothing"), control=control)
        self.deb = made.read_bytes()
        self.name = "nothing_1-1_all.deb"
        listener.files[self.name] = self.deb
        self.base = self._locked(folder, made)
        self.program = hashlib.sha256(SERVER + os.urandom(8)).hexdigest()
        self.server = SERVER + f"# {self.program}\n".encode()  # an image of this test alone

    def _locked(self, folder: Path, made: Path) -> dict[str, Any]:
        listed = {
            "version": "1-1",
            "architecture": "all",
            "source": "nothing",
            "sha256": hashlib.sha256(self.deb).hexdigest(),
            "size": len(self.deb),
        }
        bottom = {**sealed_base(), "include": ["nothing"], "packages": {"nothing": listed}}
        with tempfile.TemporaryFile() as spool:
            system = tree.Tree(spool)
            baselayer.fill(system, {"nothing": made})
            layer = tree.write(system, folder / "layer.tar", bottom["source_date_epoch"])
        return {**bottom, "diff_id": layer.diff_id}

    def files(self, **changes: Any) -> tuple[str, dict[str, bytes]]:
        """The image's id, and the recipe as a run seals it; ``changes`` go into its lock."""
        with tempfile.TemporaryFile() as spool, tempfile.NamedTemporaryFile() as file:
            program = tree.Tree(spool)
            program.data("opt/kit/server.py", self.server)
            epoch = self.base["source_date_epoch"]
            layer = tree.write(program, Path(file.name), epoch)
        lock = {
            **sealed_recipe(),
            "recipe": "loopback",
            "program": ["server.py"],
            "compile": None,
            "files": {"server.py": hashlib.sha256(self.server).hexdigest()},
            "wheels": [],
            "diff_ids": [self.base["diff_id"], layer.diff_id],
            **changes,
        }
        lock = identified(lock, self.base)
        found = {"image.json": lock, "base/image.json": self.base}
        return lock["image_id"], {
            "server.py": self.server,
            **{name: jsonio.canonical(document) for name, document in found.items()},
        }


@pytest.fixture
def rebuild(machine: Machine) -> Rebuild:
    return Rebuild(machine.root / "recipe", machine.listener)


def in_engine(engine: containers.Engine, digest: str) -> bool:
    """Whether the engine has this image, by its id or by kit's name for it."""
    short = digest.removeprefix("sha256:")[:12]
    return any(engine.image(name) for name in (digest, f"kit/loopback:{short}"))


def files_of(machine: Machine) -> list[str]:
    return [name for name in machine.tree() if Path(name).is_file()]


def test_a_rebuild_is_listed_with_its_parts_and_not_begun(
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    rebuild: Rebuild,
    engine: containers.Engine,
) -> None:
    digest, recipe = rebuild.files()
    run = strangers_run(machine, monkeypatch, digest, recipe=recipe)
    before = machine.tree()
    for args in ([], ["--rebuild"]):
        for answer in ("", "n\n"):
            done = machine.replay(run, *args, answer=answer)
            assert done.returncode == (130 if answer and args else 2 if args else 3), done.stderr
    assert f"to be built: loopback {digest} from 1 Debian package" in done.stderr
    assert machine.tree() == before and machine.listener.requests == []
    assert not in_engine(engine, digest)


def test_a_rebuild_gives_the_pinned_image_and_keeps_its_parts(
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    rebuild: Rebuild,
    engine: containers.Engine,
) -> None:
    digest, recipe = rebuild.files()
    run = strangers_run(machine, monkeypatch, digest, recipe=recipe, weights=None, meters=LOCAL)
    done = machine.replay(run, "--rebuild", "--yes")
    try:
        assert done.returncode in (1, 3), done.stderr  # there is no Python in that image
        assert in_engine(engine, digest), done.stderr
        assert [path for path, _ in machine.listener.requests] == [
            f"/debian/pool/main/n/nothing/{rebuild.name}"
        ]
        kept = {Path(name).name for name in files_of(machine)}
        assert hashlib.sha256(rebuild.deb).hexdigest() in kept
        assert not [name for name in files_of(machine) if "/replay-" in name]
    finally:
        engine.remove_image(digest)


def test_a_replay_carries_the_recipe_on(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, rebuild: Rebuild
) -> None:
    digest, recipe = rebuild.files()
    run = strangers_run(machine, monkeypatch, digest, recipe=recipe)
    order = order_of(run)
    assert order.recipe == recipe
    again = msgspec.convert(jsonio.parse(jsonio.canonical(msgspec.to_builtins(order))), Order)
    assert again == order, "as the engine reads it"
    other, recipe = rebuild.files(licenses="another")
    assert other != digest
    run = strangers_run(machine, monkeypatch, digest, recipe=recipe, verified=False)
    assert order_of(run).recipe == {}, "it makes another image than the pinned one"


@pytest.mark.parametrize("fault", ["no package", "another package", "another layer", "a record"])
def test_a_rebuild_that_fails_leaves_no_trace(
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    rebuild: Rebuild,
    engine: containers.Engine,
    fault: str,
) -> None:
    false = {"diff_ids": [rebuild.base["diff_id"], "sha256:" + "7" * 64]}
    digest, recipe = rebuild.files(**(false if fault in ("another layer", "a record") else {}))
    if fault == "no package":
        del machine.listener.files[rebuild.name]
    elif fault == "another package":
        machine.listener.files[rebuild.name] = bytes(len(rebuild.deb))
    elif fault == "a record":  # of an earlier kit, that let a digest stand for another image
        old = machine.home / ".cache/kit/images" / f"loopback-{digest[7:19]}.json"
        old.parent.mkdir(parents=True)
        old.write_text(json.dumps({"schema": "kit.build/1", "pinned": digest}))
    run = strangers_run(machine, monkeypatch, digest, recipe=recipe)
    before = files_of(machine)
    done = machine.replay(run, "--rebuild", "--yes")
    assert done.returncode == 3, done.stderr
    assert files_of(machine) == before
    assert not in_engine(engine, digest)
    assert not any("resolve" in path for path, _ in machine.listener.requests), "weights come last"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"title": "x\x1b[2J"}, 4),
        ({"entrypoint": ["a b"]}, 4),
        ({"platform": "--privileged"}, 4),
        ({"base": "../../etc"}, 4),
        ({"program": ["../server.py"]}, 4),
        ({"surprise": 1}, 4),
        ({"schema": "kit.image/1"}, 3),
    ],
)
def test_a_recipe_that_breaks_its_schema_is_not_even_listed(
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    rebuild: Rebuild,
    changes: dict[str, Any],
    code: int,
) -> None:
    digest, recipe = rebuild.files(**changes)
    # verify finds it too; here replay alone is asked
    run = strangers_run(machine, monkeypatch, digest, recipe=recipe, verified=code == 3)
    before = machine.tree()
    with pytest.raises((ArchiveRefused, ImageUnavailable)) as caught:
        found = undertake(run, Store(machine.runs), rebuild=True)
        raise found.obstacle or AssertionError("it was accepted")
    assert caught.value.exit_code == code
    assert machine.tree() == before


# --- what a run may not even ask for --------------------------------------------------------------


def test_a_spec_that_is_not_the_listed_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = strangers.sealed(tmp_path, monkeypatch)
    spec = (run / "spec.json").read_bytes()
    (run / "spec.json").write_bytes(spec.replace(b'"golden"', b'"silver"'))
    with pytest.raises(ArchiveRefused):
        order_of(run)


def test_the_order_names_its_parent_by_the_manifests_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = strangers.sealed(tmp_path, monkeypatch)
    expected = hashlib.sha256(archive.open_source(run).read(archive.MANIFEST)).hexdigest()
    assert order_of(run).parents[0]["run_hash"] == run.name
    assert json.loads((run / "manifest.json").read_bytes())["files"] and len(expected) == 64
