"""The engine: found or refused in clear words, its answers read, its leavings reaped."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import platform
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kit.core.errors import EngineUnavailable, LaunchFailed
from kit.core.model import GpuRequest, ImageIdentity
from kit.machine import containers
from kit.machine.containers import Missing, endpoint, enginefacts, faults, logs, owners
from kit.machine.containers import container as container_room
from kit.machine.containers import engine as engine_room
from kit.machine.containers.command import command_line

# --- where the engine is ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["tcp://10.0.0.5:2376", "ssh://user@box", "tcp://127.0.0.1:2375", "npipe:////./pipe/x"]
)
def test_an_engine_elsewhere_is_refused(host: str) -> None:
    with pytest.raises(EngineUnavailable, match="DOCKER_HOST points to") as caught:
        containers.connect({"DOCKER_HOST": host})
    assert "unset DOCKER_HOST" in caught.value.remedy
    assert caught.value.exit_code == 3


def _context(config: Path, name: str, host: str) -> None:
    folder = config / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest()
    folder.mkdir(parents=True)
    meta = {"Name": name, "Metadata": {}, "Endpoints": {"docker": {"Host": host}}}
    (folder / "meta.json").write_text(json.dumps(meta))


def test_the_context_of_the_docker_command_line_is_followed(tmp_path: Path) -> None:
    config = tmp_path / ".docker"
    _context(config, "rootless", "unix:///run/user/7/docker.sock")
    (config / "config.json").write_text(json.dumps({"currentContext": "rootless"}))
    address = endpoint.find({"HOME": str(tmp_path)})
    assert address == (Path("/run/user/7/docker.sock"), "context")


def test_environment_outranks_context(tmp_path: Path) -> None:
    _context(tmp_path, "lab", "ssh://lab")
    environ = {"DOCKER_CONFIG": str(tmp_path), "DOCKER_CONTEXT": "lab"}
    with pytest.raises(EngineUnavailable, match="docker context in use points to"):
        endpoint.find(environ)
    assert endpoint.find({**environ, "DOCKER_HOST": "unix:///a.sock"}).path == Path("/a.sock")
    assert endpoint.find({**environ, "DOCKER_CONTEXT": "default"}).source == "default"


def test_a_context_that_names_nothing_is_said(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match="'gone' is in use, but names no engine"):
        endpoint.find({"DOCKER_CONFIG": str(tmp_path), "DOCKER_CONTEXT": "gone"})


@pytest.mark.parametrize(
    "content",
    [
        b'{"currentContext": "\\ud800"}',
        b'{"currentContext": "x\\udcff"}',
        b"{",
        b"[" * 10**5,
        b"[]",
    ],
)
def test_a_configuration_that_cannot_be_read_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    assert endpoint.find({"DOCKER_CONFIG": str(tmp_path)}).source == "default"


def test_a_context_whose_name_is_no_text_is_said(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match=r"context '\\udcff' is in use") as caught:
        endpoint.find({"DOCKER_CONTEXT": "\udcff", "DOCKER_CONFIG": str(tmp_path)})
    assert caught.value.remedy


def test_a_context_left_over_in_the_file_gives_way_to_the_engine_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of Docker Desktop that was removed, its meta gone or its socket; none is no engine."""
    (tmp_path / "config.json").write_text('{"currentContext": "desktop-linux"}')
    environ = {"DOCKER_CONFIG": str(tmp_path)}
    default = tmp_path / "docker.sock"
    monkeypatch.setattr(endpoint, "DEFAULT_SOCKET", str(default))
    with pytest.raises(EngineUnavailable, match="'desktop-linux' is in use, but names no engine"):
        endpoint.find(environ)
    default.touch()
    assert endpoint.find(environ) == (default, "default")
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as listening:
        default.unlink()
        listening.bind(str(default))
        listening.listen()
        assert endpoint.reach(environ) == (default, "default")
        _context(tmp_path, "desktop-linux", f"unix://{tmp_path}/desktop.sock")
        assert endpoint.find(environ) == (tmp_path / "desktop.sock", "context")
        assert endpoint.reach(environ) == (default, "default")
        with pytest.raises(EngineUnavailable, match=r"desktop\.sock \(named by context\)"):
            endpoint.reach({**environ, "DOCKER_CONTEXT": "desktop-linux"})


@pytest.mark.parametrize(
    ("host", "path"),
    [
        ("unix:///run/a.sock", "/run/a.sock"),
        ("unix:///run/a.sock/", "/run/a.sock"),
        ("unix://run/a.sock", "/run/a.sock"),
        ("UNIX:///run/a.sock", "/run/a.sock"),
        (" unix:///run/a.sock\n", "/run/a.sock"),
        ("http+unix:///run/a.sock", "/run/a.sock"),
        ("/run/a.sock", "/run/a.sock"),
        ("unix://", endpoint.DEFAULT_SOCKET),
        ("", endpoint.DEFAULT_SOCKET),
        (" ", endpoint.DEFAULT_SOCKET),
    ],
)
def test_docker_host_is_read_as_people_write_it(host: str, path: str, tmp_path: Path) -> None:
    environ = {"DOCKER_CONFIG": str(tmp_path), "DOCKER_HOST": host}
    assert endpoint.find(environ).path == Path(path)


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("npipe:////./pipe/docker_engine", "over npipe://"),
        ("ssh://me@box", "over ssh://"),
        ("tcp://127.0.0.1:2375", "over tcp://"),
        ("docker.sock", "DOCKER_HOST is 'docker.sock', which is no address"),
        ("127.0.0.1:2375", "which is no address"),
        ("fd://", "over fd://"),
    ],
)
def test_another_docker_host_is_one_clear_line(host: str, message: str) -> None:
    with pytest.raises(EngineUnavailable) as caught:
        endpoint.find({"DOCKER_HOST": host})
    assert message in caught.value.message
    assert "unset DOCKER_HOST" in caught.value.remedy


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"credsStore": "desktop.exe"}',
        '{"credHelpers": {"registry.example": "nope"}, "auths": {"https://registry.example": {}}}',
        '{"auths": {"x": "y"}}',
        '{"auths": {"x": {"auth": "!"}}}',
        '{"auths": []}',
        '{"proxies": {"default": {"httpProxy": "http://10.0.0.1:3128"}}}',
        '{"proxies": "x", "HttpHeaders": 3}',
        "[]",
        "not json",
        '\ufeff{"currentContext": "default"}',
        '{"currentContext": "desktop-linux"}',
    ],
)
def test_the_engine_is_found_whatever_is_in_dockers_configuration(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And none of it gets into containers or ends kit."""
    (tmp_path / "config.json").write_text(text)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    engine = containers.connect()
    api: Any = engine._client.api
    assert not api._general_configs
    assert api._proxy_configs.inject_proxy_environment([]) == []
    engine.close()


@pytest.mark.parametrize("text", ["", "not json", "[]", '{"currentContext": null}'])
def test_an_unreadable_configuration_is_as_good_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    assert endpoint.find({"DOCKER_CONFIG": str(tmp_path)}).source == "default"


def test_a_missing_socket_is_an_error_with_its_remedy(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match="there is no container engine") as caught:
        containers.connect({"DOCKER_HOST": f"unix://{tmp_path}/none.sock"})
    assert "apt-get install docker.io" in caught.value.remedy


def test_a_socket_without_an_engine_is_an_error_with_its_remedy(tmp_path: Path) -> None:
    path = tmp_path / "dead.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with pytest.raises(EngineUnavailable, match="it is stopped") as caught:
        containers.connect({"DOCKER_HOST": f"unix://{path}"})
    assert "systemctl start docker" in caught.value.remedy


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_socket_without_permission_is_an_error_with_its_remedy(tmp_path: Path) -> None:
    path = tmp_path / "root.sock"
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.getuid() and folder.is_relative_to("/tmp/pytest-of-root"):
            folder.chmod(0o755)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        path.chmod(0o600)
        os.seteuid(65534)
        try:
            with pytest.raises(EngineUnavailable, match="this user may not") as caught:
                containers.connect({"DOCKER_HOST": f"unix://{path}"})
        finally:
            os.seteuid(0)
    assert "usermod -aG docker" in caught.value.remedy
    assert "sudo" in caught.value.remedy


@contextlib.contextmanager
def _answering(path: Path, answers: dict[str, bytes] | None) -> Iterator[dict[str, str]]:
    """Something on a socket that answers like an engine, or accepts and stays silent (None)."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen()
    held = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listening.accept()
                held.append(client)
                if answers is not None and (asked := client.recv(65536)):
                    name = asked.split()[1].decode().rpartition("/")[2]
                    body = answers.get(name, b"")
                    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n"
                    client.sendall(f"{head}Connection: close\r\n\r\n".encode() + body)
                    client.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield {"DOCKER_HOST": f"unix://{path}"}
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        for client in held:
            client.close()


def test_a_silent_engine_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_room, "TIMEOUT_S", 1)
    with (
        _answering(tmp_path / "s.sock", None) as environ,
        pytest.raises(EngineUnavailable, match="did not answer when asked to say what it is"),
    ):
        containers.connect(environ)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"\xff\xfe"])
def test_another_program_on_the_socket_is_an_error(tmp_path: Path, body: bytes) -> None:
    answers = {"version": body, "info": body}
    with (
        _answering(tmp_path / "g.sock", answers) as environ,
        pytest.raises(EngineUnavailable, match="did not answer"),
    ):
        containers.connect(environ)


def test_an_engine_in_a_virtual_machine_is_refused(tmp_path: Path) -> None:
    answers = {
        "version": b'{"ApiVersion": "1.41", "Version": "20.10", "Components": []}',
        "info": b'{"KernelVersion": "6.10.14-linuxkit"}',
    }
    with (
        _answering(tmp_path / "vm.sock", answers) as environ,
        pytest.raises(EngineUnavailable, match=r"another kernel \(6.10.14-linuxkit\)"),
    ):
        containers.connect(environ)


# --- what it says of itself -------------------------------------------------------------------

DOCKER = {"Version": "29.0.1", "ApiVersion": "1.52", "Components": [{"Name": "Engine"}]}


def _facts(info: dict[str, Any], version: dict[str, Any] | None = None) -> dict[str, Any]:
    return containers.facts_of(info, version or DOCKER)


def test_the_image_store_is_told_apart() -> None:
    contained = [["driver-type", "io.containerd.snapshotter.v1"]]
    assert _facts({"DriverStatus": contained})["image_store"] == "containerd"
    assert _facts({"DriverStatus": [["Backing Filesystem", "extfs"]]})["image_store"] == "classic"
    assert _facts({})["image_store"] == "classic"


def test_gpus_by_discovered_cdi_devices() -> None:
    listed = [
        {"Source": "cdi", "ID": "nvidia.com/gpu=0"},
        {"Source": "cdi", "ID": "nvidia.com/gpu=GPU-8a"},
        {"Source": "cdi", "ID": "vendor.com/net=eth0"},
    ]
    facts = _facts({"DiscoveredDevices": listed, "Runtimes": {"nvidia": {}}})
    assert facts["gpu"] == "cdi"
    assert facts["cdi_devices"] == ["nvidia.com/gpu=0", "nvidia.com/gpu=GPU-8a"]


CDI_YAML = """\
---
cdiVersion: 0.5.0
containerEdits:
  hooks:
  - args: [nvidia-ctk, hook, update-ldcache]
    hookName: createContainer
devices:
- containerEdits:
    deviceNodes:
    - path: /dev/nvidia0
  name: "0"
- containerEdits:
    deviceNodes:
    - path: /dev/nvidia0
  name: GPU-8a1b
kind: nvidia.com/gpu
"""
CDI_JSON = '{"cdiVersion": "0.5.0", "kind": "nvidia.com/gpu", "devices": [{"name": "all"}]}'


def test_gpus_by_cdi_spec_files(tmp_path: Path) -> None:
    (tmp_path / "nvidia.yaml").write_text(CDI_YAML)
    (tmp_path / "more.json").write_text(CDI_JSON)
    (tmp_path / "other.yaml").write_text('kind: vendor.com/net\ndevices:\n- name: "eth0"\n')
    facts = _facts({"CDISpecDirs": [str(tmp_path), str(tmp_path / "absent")]})
    assert facts["gpu"] == "cdi"
    assert facts["cdi_devices"] == [
        "nvidia.com/gpu=0",
        "nvidia.com/gpu=GPU-8a1b",
        "nvidia.com/gpu=all",
    ]


def test_empty_cdi_folders_are_no_offer(tmp_path: Path) -> None:
    assert _facts({"CDISpecDirs": [str(tmp_path)]})["gpu"] is None


def test_gpus_by_the_nvidia_runtime() -> None:
    assert _facts({"Runtimes": {"runc": {}, "nvidia": {}}})["gpu"] == "nvidia"
    assert _facts({"Runtimes": {"runc": {}}})["gpu"] is None


def test_podman_is_recognised() -> None:
    assert _facts({}, {"Components": [{"Name": "Podman Engine"}]})["engine"] == "podman"
    assert _facts({})["engine"] == "docker"


@pytest.mark.parametrize(("version", "offer"), [("5.3.2", None), ("5.4.2", "cdi")])
def test_podman_hands_out_gpus_by_cdi_alone(
    version: str, offer: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its Docker API starts without a GPU where another way is asked for."""
    (tmp_path / "nvidia.json").write_text(CDI_JSON)
    monkeypatch.setattr(enginefacts, "_PODMAN_FOLDERS", (str(tmp_path),))
    podman = {"Version": version, "Components": [{"Name": "Podman Engine"}]}
    assert _facts({"Runtimes": {"nvidia": {}}}, podman)["gpu"] == offer


def test_networks_by_what_the_engine_can_do() -> None:
    assert containers.network_plan({"bridges": True}) == ("internal", "host")
    assert containers.network_plan({"bridges": False}) == ("host", "open")
    assert containers.network_plan({"bridges": True, "rootless": True}) == ("loopback", "open")


def test_gpu_requests() -> None:
    assert containers.gpu_request({"gpu": None}, 0) is None
    assert containers.gpu_request({"gpu": "cdi"}, 2) == GpuRequest(driver="cdi", count=2)
    with pytest.raises(EngineUnavailable, match="asks for 1 GPU") as caught:
        containers.gpu_request({"gpu": None}, 1)
    assert "nvidia-ctk cdi generate" in caught.value.remedy


def test_gpus_are_named_by_uuid_where_the_engine_knows_it() -> None:
    uuids = ("GPU-a", "GPU-b")
    cdi, nvidia = GpuRequest(driver="cdi", count=1), GpuRequest(driver="nvidia", count=2)
    facts = {"cdi_devices": ["nvidia.com/gpu=0", "nvidia.com/gpu=GPU-a"]}
    by_index = {"cdi_devices": ["nvidia.com/gpu=0", "nvidia.com/gpu=1"]}
    assert containers.gpu_device_ids(facts, cdi, uuids) == ("nvidia.com/gpu=GPU-a",)
    assert containers.gpu_device_ids(by_index, cdi, uuids) == ("nvidia.com/gpu=0",)
    assert containers.gpu_device_ids({}, nvidia, uuids) == uuids
    assert containers.gpu_device_ids({}, nvidia, ()) == ("0", "1")
    with pytest.raises(EngineUnavailable, match="has 1"):
        containers.gpu_device_ids({}, nvidia, ("GPU-a",))


ATTRS = {
    "Id": "sha256:" + "1" * 64,
    "RepoDigests": ["vllm/vllm-openai@sha256:" + "2" * 64],
    "RootFS": {"Type": "layers", "Layers": ["sha256:" + "3" * 64]},
    "Os": "linux",
    "Architecture": "arm64",
    "Variant": "v8",
}


def test_image_identity_in_the_classic_store() -> None:
    identity = containers.identity("r", ATTRS, "classic")
    assert identity.image_id == identity.config_digest == ATTRS["Id"]
    assert identity.index_digest == "sha256:" + "2" * 64
    assert identity.manifest_digest is None
    assert identity.diff_ids == ("sha256:" + "3" * 64,)
    assert (identity.platform, identity.source) == ("linux/arm64/v8", "registry")


def test_image_identity_in_the_containerd_store() -> None:
    """There Id is a manifest's digest or an index's, and never the config's."""
    manifest = {"mediaType": "application/vnd.oci.image.manifest.v1+json"}
    index = {"mediaType": "application/vnd.oci.image.index.v1+json"}
    by_manifest = containers.identity("r", {**ATTRS, "Descriptor": manifest}, "containerd")
    by_index = containers.identity("r", {**ATTRS, "Descriptor": index}, "containerd")
    assert (by_manifest.config_digest, by_manifest.manifest_digest) == (None, ATTRS["Id"])
    assert (by_index.config_digest, by_index.manifest_digest) == (None, None)
    assert by_index.index_digest == ATTRS["Id"]
    own = {**ATTRS, "RepoDigests": [f"kit/loopback@{ATTRS['Id']}"]}  # of every image there
    assert containers.identity("r", own, "containerd").index_digest is None


def test_a_container_may_write_to_tmp_alone() -> None:
    """Podman adds a writable /var/tmp, and lets programs run from a tmpfs, unless told not to."""
    plain, compiles = (_made(**changes)["tmpfs"] for changes in ({}, {"scratch_bytes": 1 << 30}))
    assert {path for path, options in plain.items() if options.startswith("rw")} == {"/tmp"}
    assert plain["/var/tmp"].startswith("ro,") and "noexec" in plain["/tmp"].split(",")
    assert "exec" in compiles["/tmp"].split(",")


def _made(**changes: Any) -> dict[str, Any]:
    return container_room.arguments(_config("image", "run")._replace(**changes))


@pytest.mark.parametrize(
    ("driver", "ids", "asked"),
    [
        (
            "cdi",
            ("nvidia.com/gpu=GPU-a",),
            {"Driver": "cdi", "DeviceIDs": ["nvidia.com/gpu=GPU-a"], "Capabilities": []},
        ),
        ("nvidia", ("GPU-a",), {"Driver": "", "DeviceIDs": ["GPU-a"], "Capabilities": [["gpu"]]}),
    ],
)
def test_gpus_are_asked_for_as_the_engine_hands_them_out(
    driver: str, ids: tuple[str, ...], asked: dict[str, Any]
) -> None:
    (request,) = _made(gpu_driver=driver, gpu_ids=ids)["device_requests"]
    assert asked.items() <= dict(request).items()
    assert request["Count"] == 0  # a number beside names would be refused
    assert _made()["device_requests"] == []


def test_without_bridges_a_container_shares_the_hosts_network() -> None:
    on_host, on_its_own = _made(network="host"), _made(network="kit-run-0")
    assert on_host["network_mode"] == "host"
    assert "network" not in on_host
    assert on_its_own["network"] == "kit-run-0"
    assert "network_mode" not in on_its_own


def test_an_engine_labelled_for_the_hosts_network_is_not_tried() -> None:
    client: Any = None  # nothing is asked of it
    address = endpoint.Endpoint(Path("/x"), "default")
    made = containers.Engine(client, address, {"Labels": ["a=b", owners.HOST_NETWORK]}, {})
    assert made.bridges() is False
    assert containers.network_plan(made.facts()) == ("host", "open")


def test_a_kernel_that_cannot_join_a_container_to_a_bridge_is_hinted_at() -> None:
    message = "failed to add the host (veth1) <=> sandbox (veth2) pair interfaces: not supported"
    assert f"dockerd --label {owners.HOST_NETWORK}" in faults.hint(message)


# --- the real engine --------------------------------------------------------------------------


def _config(image: str, run: str, **changes: Any) -> containers.ContainerConfig:
    config = containers.ContainerConfig(
        image=image,
        argv=(),
        env={},
        name=f"kit-{run}-0",
        labels=containers.labels(run, 0),
        mounts={},
        network=f"kit-{run}-0",
        cpus="0",
        memory_bytes=64 << 20,
        shm_bytes=16 << 20,
        pids=64,
    )
    return config._replace(**changes)


@pytest.mark.docker
def test_facts_of_the_real_engine(engine: containers.Engine) -> None:
    facts = engine.facts()
    assert facts["engine"] in ("docker", "podman")
    assert facts["kernel"] == platform.release()
    assert facts["ncpu"] >= 1
    assert facts["memory_bytes"] > 1 << 28
    assert isinstance(facts["bridges"], bool)
    assert "/" not in facts["endpoint"]
    json.dumps(facts)


@pytest.mark.docker
def test_an_engine_without_bridges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unable to make one, it gets the host's network; out of addresses, it must be told."""
    words = ["operation not supported"]

    def create_network(*_: Any) -> None:
        raise LaunchFailed(f"the container engine cannot make a network: {words[0]}", "prune")

    fresh = containers.connect()
    monkeypatch.setattr(fresh, "create_network", create_network)
    assert fresh.bridges() is False
    fresh._bridges = None
    words[0] = "could not find an available, non-overlapping IPv4 address pool"
    with pytest.raises(EngineUnavailable, match="non-overlapping"):
        fresh.facts()
    fresh.close()


@pytest.mark.docker
@pytest.mark.parametrize("name", ["kit-no-such:image", "sha256:" + "0" * 64, "not a name@@"])
def test_an_image_that_is_not_there_is_none(engine: containers.Engine, name: str) -> None:
    assert engine.image(name) is None


@pytest.mark.docker
def test_an_image_has_one_identity_by_all_its_names(
    engine: containers.Engine, loopback_image: ImageIdentity, tmp_path: Path
) -> None:
    by_id = engine.image(loopback_image.image_id)
    assert by_id is not None
    assert by_id.diff_ids == loopback_image.diff_ids
    assert by_id.platform.startswith("linux/")
    engine.tag(by_id.image_id, "kit-test-tag:one")
    by_tag = engine.image("kit-test-tag:one")
    assert by_tag is not None and by_tag.image_id == by_id.image_id
    archive = tmp_path / "image.tar"
    with archive.open("wb") as file:
        subprocess.run(["docker", "save", "kit-test-tag:one"], stdout=file, check=True)
    engine.remove_image("kit-test-tag:one")
    engine.remove_image("kit-test-tag:one")
    assert engine.image("kit-test-tag:one") is None
    assert engine.load(archive) == by_id.image_id
    engine.remove_image("kit-test-tag:one")


@pytest.mark.docker
def test_loading_what_is_no_image(engine: containers.Engine, tmp_path: Path) -> None:
    (tmp_path / "no.tar").write_bytes(b"not a tar at all" * 100)
    with pytest.raises(LaunchFailed):
        engine.load(tmp_path / "no.tar")


@pytest.mark.docker
def test_a_container_of_no_image(engine: containers.Engine) -> None:
    with pytest.raises(Missing, match=r"make the container") as caught:
        engine.create(_config("sha256:" + "0" * 64, "noimage", network="bridge"))
    assert "kit images build" in caught.value.remedy


@pytest.mark.docker
def test_reaping_removes_what_the_dead_left_and_keeps_their_log(
    engine: containers.Engine, loopback_image: ImageIdentity, tmp_path: Path
) -> None:
    engine.create_network("kit-reaptest-0", containers.labels("reaptest", 0))
    container = engine.create(_config(loopback_image.image_id, "reaptest"))
    container.start()
    assert container.address("kit-reaptest-0")
    assert engine.reap(lambda run: run == "reaptest") == []
    assert container.exited() is None
    log = tmp_path / "launches" / "container.log"
    removed = engine.reap(
        lambda run: run != "reaptest", lambda run, launch: log if launch == 0 else None
    )
    assert removed == [
        "container kit-reaptest-0 of run reaptest",
        "network kit-reaptest-0 of run reaptest",
    ]
    assert log.exists()
    with pytest.raises(Missing):
        container.exited()
    container.remove()
    engine.remove_network("kit-reaptest-0")


@pytest.mark.docker
def test_a_network_is_removed_when_its_last_container_lets_go(
    engine: containers.Engine, loopback_image: ImageIdentity
) -> None:
    engine.create_network("kit-letgo-0", containers.labels("letgo", 0))
    container = engine.create(_config(loopback_image.image_id, "letgo"))
    container.start()
    threading.Timer(0.5, container.remove).start()
    engine.remove_network("kit-letgo-0")
    assert not [name for name, _ in engine._networks(["kit.run=letgo"])]


OWNED = """
import time
from kit.machine import containers
containers.connect().create_network("kit-owned-0", containers.labels("owned", 0))
print("made", flush=True)
time.sleep(60)
"""


@pytest.mark.docker
def test_what_a_living_process_of_another_checkout_made_is_left_alone(
    engine: containers.Engine,
) -> None:
    with subprocess.Popen([sys.executable, "-c", OWNED], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline() == b"made\n"
        assert engine.reap(lambda run: run != "owned") == []
        other.kill()
    assert engine.reap(lambda run: run != "owned") == ["network kit-owned-0 of run owned"]


def test_a_process_is_named_so_that_no_later_one_is_taken_for_it() -> None:
    mine = owners.owner(os.getpid())
    assert mine.split(":")[1] == str(os.getpid())
    assert owners.owner(os.getpid()) == mine
    assert owners.owner(2**22 + 1) == ""


@pytest.mark.parametrize("size", [1, 3, 7, 26])
def test_long_logs_keep_their_head_and_tail(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, size: int
) -> None:
    monkeypatch.setattr(logs, "HEAD", 4)
    monkeypatch.setattr(logs, "TAIL", 6)
    data, path = bytes(range(65, 91)), tmp_path / "launches" / "000" / "container.log"
    file = logs.LogFile(path)
    for i in range(0, len(data), size):
        file.write(data[i : i + size])
        assert path.stat().st_size <= 4 + 2 * 6 + size + 64, "it is bounded while it grows"
    file.close()
    assert path.read_bytes() == b"ABCD\n[kit: 16 bytes of this log are left out here]\nUVWXYZ"
    assert [p.name for p in path.parent.iterdir()] == ["container.log"]


def test_a_log_that_cannot_be_shortened_leaves_no_other_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(logs, "HEAD", 4)
    monkeypatch.setattr(logs, "TAIL", 6)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(Path, "replace", full)
    log = logs.KeptLog(Stream(bytes(range(65, 91))), tmp_path / "container.log")
    assert not log.is_whole()
    assert isinstance(log.fault, OSError)
    assert [p.name for p in tmp_path.iterdir()] == ["container.log"]


def test_a_log_that_cannot_be_read_again_leaves_the_one_that_is_there(tmp_path: Path) -> None:
    def broken(*_: object, **__: object) -> Iterator[bytes]:
        yield b"again"
        raise OSError("the engine is gone")

    path = tmp_path / "container.log"
    path.write_bytes(b"as streamed")
    client = SimpleNamespace(api=SimpleNamespace(logs=broken))
    made: Any = SimpleNamespace(id="1", name="kit", labels={}, client=client)
    with pytest.raises(EngineUnavailable, match="read the log"):
        containers.Container(made).save_log(path)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [(path.name, b"as streamed")]


@pytest.mark.parametrize("text", [b"", b"AB", b"ABCDEFGHIJ"])
def test_short_logs_are_whole(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: bytes) -> None:
    monkeypatch.setattr(logs, "HEAD", 4)
    monkeypatch.setattr(logs, "TAIL", 6)
    file = logs.LogFile(tmp_path / "log")
    file.write(text)
    assert (tmp_path / "log").read_bytes() == text, "it is there before the file is closed"
    file.close()
    assert (tmp_path / "log").read_bytes() == text


class Stream:
    """A container's log, whose stream ends as it is told."""

    def __init__(self, *chunks: bytes, error: Exception | None = None) -> None:
        self.chunks, self.error = chunks, error

    def stream_log(self) -> Iterator[bytes]:
        yield from self.chunks
        if self.error:
            raise self.error


def test_a_stream_that_breaks_has_left_what_came(tmp_path: Path) -> None:
    log = logs.KeptLog(Stream(b"one\n", b"two\n", error=LaunchFailed("gone")), tmp_path / "log")
    assert not log.is_whole()
    assert (tmp_path / "log").read_bytes() == b"one\ntwo\n"
    assert logs.KeptLog(Stream(b"all\n"), tmp_path / "log").is_whole()
    (tmp_path / "file").touch()
    assert not logs.KeptLog(Stream(b"x"), tmp_path / "file" / "log").is_whole()


@pytest.mark.docker
def test_the_command_line_makes_the_very_same_container(
    engine: containers.Engine, loopback_image: ImageIdentity, tmp_path: Path
) -> None:
    weights = tmp_path / "model"
    weights.write_bytes(b"0")
    config = _config(
        loopback_image.image_id,
        "sametest",
        network="host",
        argv=("--port", "8080"),
        env={"A": "b c"},
        mounts={"/weights/model": weights},
    )
    commands = []
    for way in ("engine", "command"):
        if way == "engine":
            engine.create(config)
        else:
            words = ["create" if w == "run" else w for w in command_line(config)]
            words.remove("--detach")
            subprocess.run(words, check=True, capture_output=True)
        shown = subprocess.run(
            ["docker", "inspect", config.name], check=True, capture_output=True
        ).stdout
        commands.append(_inspected(json.loads(shown)[0]))
        engine.remove_run("sametest", 0)
    assert commands[0] == commands[1]


def _inspected(inspected: dict[str, Any]) -> dict[str, Any]:
    """What makes a container, without what the engine and its clients fill in by themselves."""
    config, host = inspected["Config"], inspected["HostConfig"]
    config["Env"].sort()  # the engine shows variables in any order
    idle = {"AttachStdout", "AttachStderr", "ConsoleSize", "ContainerIDFile", "RestartPolicy"}
    settings = {k: v for k, v in {**config, **host}.items() if k not in idle and v}
    settings["Mounts"] = [{k: v for k, v in m.items() if v} for m in host.get("Mounts") or []]
    return settings
