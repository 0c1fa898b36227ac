"""Diffusers with a small pipeline in kit's own image: images from `kit init` to replay.

The pipeline's weights are random, made in the image itself (`tiny_pipeline.py`): no model of
images is in a package. Its pictures show nothing, and are the same each time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from kit.cli.main import dispatch
from kit.judge import replay as replaying
from kit.machine import containers, images
from kit.record import records
from kit.show.report.written import written
from kit.store.store import Store
from tests.runtimes.done import once

pytestmark = [
    pytest.mark.docker,
    pytest.mark.real,
    pytest.mark.runtimes,
    pytest.mark.timeout(1800),  # where the image is not there yet, it is built first
]
MAKER = Path(__file__).with_name("tiny_pipeline.py")
WANTED = {"requests": 3, "images": 2, "width": 64, "height": 48, "steps": 6}


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory, engine: containers.Engine) -> Path:
    """A pipeline's folder, made in a container without network."""
    image, out = images.build("diffusers").identity.image_id, tmp_path_factory.mktemp("tiny")
    out.chmod(0o777)
    docker.from_env().containers.run(
        image,
        ["/make.py", "/out"],
        entrypoint="python3",
        network_mode="none",
        remove=True,
        volumes={
            str(MAKER): {"bind": "/make.py", "mode": "ro"},
            str(out): {"bind": "/out", "mode": "rw"},
        },
    )
    for path in (out / "pipeline").rglob("*.safetensors"):
        path.chmod(0o644)  # they are written for their owner alone
    return out / "pipeline"


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    monkeypatch.setenv("KIT_HOST_CONFIG", str(tmp_path / "host.toml"))
    yield tmp_path


def test_images_from_a_folder_to_a_replay(
    pipeline: Path, registered: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with once("diffusers"):
        _from_folder_to_replay(pipeline, registered, capsys)


def _from_folder_to_replay(
    pipeline: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, store = folder / "spec.json", Store(folder / "runs")
    assert dispatch(["init", str(path), "--model", str(pipeline), "--yes"]) == 0
    spec = json.loads(path.read_bytes())
    assert spec["runtime"]["name"] == "diffusers"
    spec["workload"]["options"] = WANTED
    spec |= {"launches": 2, "determinism": "exact"}
    spec["phases"] |= {"idle_s": 1, "loaded_idle_s": 1}
    path.write_text(json.dumps(spec))
    assert dispatch(["run", str(path), "--runs", str(store.root)]) == 0, capsys.readouterr().err
    (run,) = (store.root / name for name in store.hashes())
    assert dispatch(["verify", str(run)]) == 0, capsys.readouterr().out
    _has_images(run)
    code = dispatch(["replay", str(run), "--yes", "--runs", str(store.root)])
    assert code == 0, capsys.readouterr().err
    (again,) = set(store.hashes()) - {run.name}
    judged = replaying.judge(run, store.root / again)
    assert (judged.primary.verdict, judged.primary.reason) == (
        "REPRODUCED",
        "every image is the same",
    )
    assert judged.work is None or judged.work.same == "same", judged.work


def _has_images(run: Path) -> None:
    """What was asked for was made, counted and sealed; the engine's own settings are too."""
    loaded = records.read(run)
    for launch in (0, 1):
        made = [a for a in loaded.responses[launch] if a.stage == "measured"]
        shapes = {(i.width, i.height) for a in made for i in a.images or ()}
        assert ([len(a.images or ()) for a in made], shapes) == ([2, 2, 2], {(64, 48)})
        requests = [r for r in loaded.requests[launch] if r.stage == "measured"]
        assert [(r.images, r.steps, r.cached_tokens) for r in requests] == [(2, 12, 0)] * 3
    first = loaded.responses[0]
    assert len({i.sha256 for a in first for i in a.images or ()}) == 8, "two have one seed"
    props = loaded.effective[0]["/props"]
    assert (props["pipeline"], props["device"]) == ("StableDiffusionPipeline", "cpu")
    assert props["scheduler"]["class"] == "DDIMScheduler"
    assert len(loaded.prompts[0]) == 3
    assert "&lt;img" not in written(run).text and written(run).text.count("<img ") == 6
