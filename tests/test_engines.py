"""kit on the engines that newer Debians have: containerd's image store, and Podman's socket.

One image has one identity on all of them, and a run that was sealed on one is replayed on another.
What kit asks of an engine is tested by the same tests as on this machine's own. `make test-images`.
"""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kit.core import jsonio, resources
from kit.machine import images
from tests import engines
from tests.engines import Machine
from tests.journey.conftest import Workplace, loopback_spec

pytestmark = [
    pytest.mark.debians,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(bool(engines.missing()), reason=engines.missing()),
]
# Debian 13 has Docker 26.1 and Podman 5.4; the next one has those after.
OTHERS = [(suite, engine) for suite in ("trixie", "forky") for engine in engines.ENGINES]
# What a driver, a socket, a container and a run need of an engine.
SAME = ["tests/test_containers.py", "tests/test_launch.py", "tests/hostile"]
SAME += ["tests/journey/test_journey.py", "tests/test_images_difference.py"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Path]]:
    """The root filesystem of a suite, made when it is first asked for."""
    folder = tmp_path_factory.mktemp("roots")
    folder.chmod(0o755)

    def made(suite: str) -> Path:
        if not (folder / suite).exists():
            engines.debian(suite, folder / suite)
        return folder / suite

    yield made
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module", params=OTHERS, ids="-".join)
def other(
    request: pytest.FixtureRequest,
    root: Callable[[str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Machine]:
    suite, engine = request.param
    place = tmp_path_factory.mktemp("engine")
    machine = Machine(root(suite), place, engine)
    # What the store says of an image is asked of this engine, not remembered of another.
    shutil.rmtree(resources.cache_dir() / "manifests", ignore_errors=True)
    yield machine
    machine.close()
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture(scope="module")
def built(other: Machine) -> str:
    """The digest that kit prints of the image it built there."""
    return other.kit("images", "build", "loopback").strip()


@pytest.fixture(scope="module")
def run(other: Machine, built: str) -> Path:
    return sealed_there(other, built)


@pytest.fixture(scope="module")
def classic(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """A run sealed with this machine's own engine."""
    images.build("loopback")
    place = Workplace(tmp_path_factory.mktemp("classic"))
    done = place.kit("run", place.spec(loopback_spec()), "--runs", place.runs)
    assert done.returncode == 0, done.stderr
    return place


def sealed_there(machine: Machine, digest: str) -> Path:
    spec = loopback_spec(image={"recipe": "loopback", "digest": digest})
    path = machine.place / "spec.json"
    path.write_text(json.dumps(spec))
    return Path(machine.kit("run", path, "--runs", machine.place / "runs").strip())


def compared(machine: Machine, *runs: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(machine.kit("compare", *runs, "--json", code=None))
    return found


def test_an_image_has_one_identity_in_every_store(other: Machine, built: str) -> None:
    locked = images.recipe("loopback").image_id
    assert built == locked
    assert other.kit("images", "build", "loopback").strip() == locked, "it is there already"
    anew = json.loads(other.kit("images", "build", "loopback", "--anew", "--json"))
    assert other.docker("inspect", "--format={{.Id}}", anew["image_id"]).endswith(anew["image_id"])
    assert ": identical" in other.kit("images", "verify", code=None)
    assert "layer by layer" in other.kit("images", "verify", "loopback")


def test_an_index_of_which_one_platform_is_here_is_followed(other: Machine) -> None:
    """As a registry's image comes: its id is the index's, and the engine fetched our part of it."""
    if not other.contained:
        pytest.skip("Podman's id is the configuration's digest")
    path = other.place / "index.tar"
    index, manifest, config = index_of_two(path)
    other.docker("load", "-i", str(path))
    found = json.loads(other.run([engines.KIT[0], "-c", IDENTITY, "two:1"]).stdout)
    other.docker("rmi", "two:1")
    assert found == [index, index, manifest, config]


IDENTITY = """
import json, sys
from kit.machine import containers
with containers.connect() as engine:
    i = engine.image(sys.argv[1])
    print(json.dumps([i.image_id, i.index_digest, i.manifest_digest, i.config_digest]))
"""


def index_of_two(path: Path) -> tuple[str, str, str]:
    """An OCI archive of an index of two platforms, one of which is not in it; its digests."""
    blobs: dict[str, bytes] = {}

    def part(kind: str, document: Any, **more: Any) -> dict[str, Any]:
        data = document if isinstance(document, bytes) else jsonio.canonical(document)
        name = jsonio.digest(data)
        blobs[name] = data
        media = f"application/vnd.oci.image.{kind}"
        return {"mediaType": media, "digest": f"sha256:{name}", "size": len(data), **more}

    on = [{"platform": {"os": "linux", "architecture": a}} for a in ("arm64", "amd64")]
    gone = part("manifest.v1+json", {"gone": 1}, **on[0])
    blobs.clear()
    layer = part("layer.v1.tar", bytes(10_240))  # an empty archive
    rootfs = {"type": "layers", "diff_ids": [layer["digest"]]}
    about = {"os": "linux", "architecture": "amd64", "config": {"Cmd": ["/x"]}, "rootfs": rootfs}
    config = part("config.v1+json", about)
    media = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json"}
    manifest = part("manifest.v1+json", {**media, "config": config, "layers": [layer]}, **on[1])
    media = {**media, "mediaType": "application/vnd.oci.image.index.v1+json"}
    name = {"annotations": {"io.containerd.image.name": "docker.io/library/two:1"}}
    index = part("index.v1+json", {**media, "manifests": [gone, manifest]}, **name)
    files = {f"blobs/sha256/{digest}": data for digest, data in blobs.items()}
    files["oci-layout"] = jsonio.canonical({"imageLayoutVersion": "1.0.0"})
    files["index.json"] = jsonio.canonical({**media, "manifests": [index]})
    with tarfile.open(path, "w") as tar:
        for place, data in files.items():
            member = tarfile.TarInfo(place)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return index["digest"], manifest["digest"], config["digest"]


def test_a_run_is_sealed_verified_and_replayed(other: Machine, run: Path) -> None:
    plan = json.loads((run / "plan.json").read_text())
    locked = images.recipe("loopback").image_id
    assert (plan["image_match"], plan["image"]["config_digest"]) == ("identical", locked)
    assert json.loads((run / "inputs/sbom.cdx.json").read_text())["bomFormat"] == "CycloneDX"
    other.kit("verify", run)
    said = other.kit("replay", run, "--yes", "--runs", other.place / "runs")
    assert "REPRODUCED" in said
    again = Path(said.splitlines()[0])
    assert compared(other, run, again)["image"] == "IDENTICAL"


def test_a_run_goes_from_one_store_to_another_and_back(
    other: Machine, run: Path, classic: Workplace
) -> None:
    (ours,) = classic.sealed()
    shutil.copytree(ours, other.place / "ours" / ours.name)
    theirs = other.place / "there"
    said = other.kit("replay", other.place / "ours" / ours.name, "--yes", "--runs", theirs)
    there = Path(said.splitlines()[0])
    assert compared(other, ours, there)["image"] == "IDENTICAL"
    done = classic.kit("replay", run, "--yes", "--runs", classic.folder / "back")
    assert done.returncode == 0, done.stdout + done.stderr
    assert compared(other, run, Path(done.stdout.splitlines()[0]))["image"] == "IDENTICAL"


GPUS = [f"GPU-aaaaaaaa-0000-0000-0000-00000000000{n}" for n in range(1, 4)]
SPEC = {
    "cdiVersion": "0.6.0",
    "kind": "nvidia.com/gpu",
    "devices": [
        {
            "name": name,
            "containerEdits": {
                "env": [f"GOT_{n}=1"],
                "deviceNodes": [{"path": f"/dev/kit-gpu{n}", "hostPath": "/dev/null"}],
            },
        }
        for n, name in enumerate(GPUS, 1)
    ],
}
ASKED = """
import json, sys
from kit.machine import containers
from kit.machine.containers import ContainerConfig
from kit.core.model import GpuRequest
with containers.connect() as engine:
    facts = engine.facts()
    wanted = tuple(sys.argv[2:])
    ids = containers.gpu_device_ids(facts, GpuRequest(driver="cdi", count=len(wanted)), wanted)
    box = engine.create(ContainerConfig(
        sys.argv[1], (), {}, "kit-gpus", containers.labels("gpus", 0), {}, "none", "", 64 << 20,
        16 << 20, 64, gpu_driver=facts["gpu"], gpu_ids=ids,
    ))
    try:
        box.start()
        box.wait()
        print(box.output(1 << 20).decode())
    finally:
        box.remove()
"""
LOOKS = """["/usr/bin/python3", "-c", "import glob, os; print(sorted(glob.glob('/dev/kit-gpu*')), \
sorted(k for k in os.environ if k.startswith('GOT_') or 'proxy' in k.lower()))"]"""


@pytest.mark.parametrize("wanted", [(2,), (1, 3)], ids=str)
def test_a_container_gets_the_gpus_that_are_named_and_no_other(
    other: Machine, built: str, wanted: tuple[int, ...]
) -> None:
    """By CDI, from a made-up specification: no GPU is needed to hand out null devices."""
    path = other.place / "nvidia.json"
    path.write_text(json.dumps(SPEC))
    other.run(["cp", str(path), str(engines.CDI / "nvidia.json")])
    made = other.docker("create", images.recipe("loopback").reference).splitlines()[-1]
    other.docker("commit", "--change", f"ENTRYPOINT {LOOKS}", made, "looks:1")
    other.docker("rm", made)
    names = [GPUS[n - 1] for n in wanted]
    try:
        said = other.run([engines.KIT[0], "-c", ASKED, "looks:1", *names]).stdout
    finally:
        other.docker("rmi", "looks:1")
        other.run(["rm", str(engines.CDI / "nvidia.json")])
    devices, variables = [f"/dev/kit-gpu{n}" for n in wanted], [f"GOT_{n}" for n in wanted]
    assert said.strip() == f"{devices} {variables}"


def test_whatever_kit_asks_of_an_engine_it_does(other: Machine, built: str) -> None:
    other.kit("images", "build", "llama-server")  # for a real model
    words = ["-m", "docker and not runtimes and not heavy", "-q", "--tb=short"]
    where = [f"--basetemp={other.place / 'tests'}", "-p", "no:cacheprovider", "-rs"]
    done = other.run([engines.KIT[0], "-m", "pytest", *words, *where, *SAME], None)
    assert done.returncode == 0, done.stdout[-9000:] + done.stderr[-1000:]
