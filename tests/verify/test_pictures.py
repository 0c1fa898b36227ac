"""A run of images: its numbers, and every forgery of an image or its count is found."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kit.core.limits import LONGEST_SIDE
from kit.energy.names import OF_IMAGES, OF_TEXTS
from kit.judge import verify
from kit.judge.compare import work
from kit.judge.compare.outputs import outputs
from kit.record import records
from kit.show.render import rows
from kit.show.report.written import written
from kit.show.rounding import four
from kit.show.runlist import listing, runrow
from tests import golden

Change = Callable[[Path], None]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return golden.build(tmp_path_factory.mktemp("images") / "runs", asked=golden.image_spec())


@pytest.fixture
def run(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / sound.name))


def failed(run: Path) -> dict[str, str]:
    return {c.code: c.message for c in verify.verify(run).checks if c.status == "FAIL"}


def results_of(run: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((run / "results.json").read_bytes())
    return document


def test_an_honest_run_of_images_is_verified_and_has_energy_by_image_and_step(sound: Path) -> None:
    assert failed(sound) == {}
    metrics = results_of(sound)["metrics"]
    assert metrics.keys() >= OF_IMAGES
    assert not metrics.keys() & OF_TEXTS
    per_image, per_step, per_request = (
        metrics[f"gpu_energy_per_{work}"]["value"] for work in ("image", "step", "request")
    )
    assert per_image == pytest.approx(per_request / 2)  # two images each
    assert per_step == pytest.approx(per_image / 4)  # four steps each
    counts = results_of(sound)["launches"][0]["requests"]
    assert (counts["images"], counts["steps"], counts["output_tokens"]) == (6, 24, None)


def test_the_page_shows_the_images_that_were_sealed(sound: Path) -> None:
    page = written(sound).text
    assert page.count('<img src="data:image/png;base64,') == 6
    assert "GPU energy per image" in page
    words = page + written(sound, "text").text
    for of_texts in ("per output token", "output texts", "decode token", "DECODE TOKEN", "TTFT"):
        assert of_texts not in words
    assert "energy per image" in written(sound, "text").text


def test_the_page_unpacks_no_more_pixels_than_a_browser_holds(run: Path) -> None:
    for path in (run / "launches/000/images").iterdir():
        path.write_bytes(golden.png_file(LONGEST_SIDE, LONGEST_SIDE // 2))
    page = written(golden.reseal(run)).text
    assert page.count('<img src="data:image/png;base64,') == 1


def test_the_list_of_runs_has_joules_per_image_as_a_number(sound: Path) -> None:
    (document,) = listing.as_list([runrow.read(sound)])
    value = results_of(sound)["metrics"]["gpu_energy_per_image"]["value"]
    assert (document["energy_j_per_image"], document["energy_scope"]) == (value, "gpu")
    assert document["energy_j_per_output_token"] is None


@pytest.mark.parametrize("columns", ["160", "100"])
def test_the_list_of_runs_shows_joules_per_image_with_their_unit(
    sound: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    columns: str,
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    rows.runs([runrow.read(sound)])
    value = results_of(sound)["metrics"]["gpu_energy_per_image"]["value"]
    assert f" {four(value)} J/image GPU " in capsys.readouterr().out


def test_texts_and_images_are_no_equal_work(sound: Path, tmp_path: Path) -> None:
    pair = records.read(sound), records.read(golden.copied(tmp_path))
    assert "images against texts" in str(work.compare(*pair))


# --- forgeries ----------------------------------------------------------------------------------


def rewritten(run: Path, change: Callable[[dict[str, Any]], None], name: str) -> None:
    """Change the first line of a launch's records."""
    path = run / f"launches/000/{name}.jsonl"
    first, *rest = path.read_text().splitlines()
    line = json.loads(first)
    change(line)
    path.write_text("\n".join([golden.jsonio.canonical(line).decode(), *rest]) + "\n")


def other_pixels(run: Path) -> None:
    (run / "launches/000/images/00000-0.png").write_bytes(golden.png_file(16, 8, shade=99))


def no_file(run: Path) -> None:
    (run / "launches/000/images/00000-1.png").unlink()


def one_more_file(run: Path) -> None:
    (run / "launches/000/images/00000-7.png").write_bytes(golden.png_file(16, 8))


def no_png(run: Path) -> None:
    data = b"<svg onload=alert(1)>"
    (run / "launches/000/images/00000-0.png").write_bytes(data)

    def change(line: dict[str, Any]) -> None:
        line["images"][0]["sha256"] = golden.jsonio.digest(data)

    rewritten(run, change, "responses")


def other_sides(run: Path) -> None:
    rewritten(run, lambda line: line["images"][0].update(width=1024), "responses")


def other_place(run: Path) -> None:
    rewritten(run, lambda line: line["images"][0].update(file="../../spec.json"), "responses")


def more_images_counted(run: Path) -> None:
    rewritten(run, lambda line: line.update(images=20), "requests")


def more_steps_counted(run: Path) -> None:
    rewritten(run, lambda line: line.update(steps=800), "requests")


def other_count_of_server(run: Path) -> None:
    rewritten(run, lambda line: line["usage"].update(images=7), "responses")


def no_account(run: Path) -> None:
    rewritten(run, lambda line: line.pop("images"), "requests")
    rewritten(run, lambda line: line.pop("images"), "responses")


def short_name(run: Path) -> None:
    rewritten(run, lambda line: line["images"][0].update(file="00000-0.png"), "responses")


def hidden_text(run: Path) -> None:
    told = {"text": "hidden", "text_sha256": golden.jsonio.digest(b"hidden")}
    rewritten(run, lambda line: line.update(told), "responses")


def hidden_steps(run: Path) -> None:
    rewritten(run, lambda line: line.update(steps=None), "requests")


def images_of_a_failure(run: Path) -> None:
    rewritten(run, lambda line: line.update(status="error", error="x", code="cut"), "requests")


def more_images_than_asked(run: Path) -> None:
    data = golden.png_file(16, 8)
    name = "images/00000-2.png"
    (run / "launches/000" / name).write_bytes(data)
    image = {"file": name, "sha256": golden.jsonio.digest(data), "width": 16, "height": 8}
    rewritten(run, lambda line: line["images"].append(image), "responses")
    rewritten(run, lambda line: line.update(images=3), "requests")


FORGERIES: dict[str, tuple[Change, str]] = {
    "pixels": (other_pixels, "another one than was hashed"),
    "missing": (no_file, "not there"),
    "more": (one_more_file, "1 images are of no answer"),
    "no png": (no_png, "no PNG"),
    "sides": (other_sides, "pixels"),
    "place": (other_place, "it is called"),
    "images": (more_images_counted, "20 images counted, 2 named"),
    "server's images": (other_count_of_server, "2 images, the server said 7"),
    "steps": (more_steps_counted, "800 denoising steps"),
    "no account": (no_account, "no account"),
    "name": (short_name, "it is called '00000-0.png'"),
    "text": (hidden_text, "a text, and images were asked for"),
    "no steps": (hidden_steps, "None denoising steps, the server said 8"),
    "failed": (images_of_a_failure, "2 images, and it failed"),
    "too many": (more_images_than_asked, "3 images, 2 were asked for"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_image_or_count_is_found(run: Path, name: str) -> None:
    forge, words = FORGERIES[name]
    forge(run)
    found = failed(golden.reseal(run))
    assert words in found.get("IMAGE_HASH", ""), found


def test_a_finish_reason_of_images_is_found(run: Path) -> None:
    rewritten(run, lambda line: line.update(finish_reason="stop"), "requests")
    assert "reason 'stop'" in failed(golden.reseal(run))["FINISH_REASON"]


def test_images_in_a_run_of_texts_are_found(tmp_path: Path) -> None:
    run = golden.copied(tmp_path)
    image = {"file": "images/00000-0.png", "sha256": "0" * 64, "width": 1, "height": 1}
    rewritten(run, lambda line: line.update(images=[image]), "responses")
    assert "asks for a text" in failed(golden.reseal(run))["IMAGE_HASH"]


def test_a_count_of_images_in_a_run_of_texts_is_found(tmp_path: Path) -> None:
    run = golden.copied(tmp_path)
    rewritten(run, lambda line: line.update(images=9), "requests")
    assert "asks for a text" in failed(golden.reseal(run))["IMAGE_HASH"]


def unplanned(line: dict[str, Any]) -> None:
    line["index"] += 50


def other_size(line: dict[str, Any]) -> None:
    line["body"]["size"] = ["16x8"]


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("launches/000/requests.jsonl", unplanned),
        ("inputs/schedule.jsonl", other_size),
    ],
)
def test_results_are_computed_of_records_that_do_not_fit_the_schedule(
    run: Path, name: str, change: Callable[[dict[str, Any]], None]
) -> None:
    golden.edit_lines(run / name, lambda lines: [change(line) for line in lines])
    golden.recompute(run)
    codes = {notice["code"] for notice in results_of(run)["notices"]}
    assert "IMAGE_MISMATCH" in codes


@pytest.mark.parametrize(
    ("dropped", "is_cut"), [(2, True), (0, False), (None, False), ("x", False)]
)
def test_a_prompt_was_cut_where_the_server_counts_dropped_tokens(
    run: Path, dropped: Any, is_cut: bool
) -> None:
    details = {"dropped_tokens": dropped}
    golden.edit_lines(
        run / "launches/000/responses.jsonl",
        lambda lines: [line["usage"].update(prompt_tokens_details=details) for line in lines],
    )
    golden.recompute(run)
    codes = {notice["code"] for notice in results_of(run)["notices"]}
    assert ("PROMPT_CUT" in codes) is is_cut


# --- the same images, and others ----------------------------------------------------------------


def test_the_same_images_are_reproduced_and_others_differ(sound: Path, run: Path) -> None:
    original = records.read(sound)
    assert outputs(original, records.read(run)).verdict == "REPRODUCED"
    lines = (run / "launches/000/responses.jsonl").read_text().splitlines()
    measured = json.loads(lines[1])
    measured["images"][1]["sha256"] = "f" * 64
    lines[1] = json.dumps(measured)
    (run / "launches/000/responses.jsonl").write_text("\n".join(lines) + "\n")
    axis = outputs(original, records.read(run))
    assert axis.verdict == "DIFFERENT"
    assert "request 1 parts at image 2" in axis.reason


@pytest.mark.parametrize(
    ("status", "spool", "codes"),
    [
        ("aborted", True, set()),
        ("aborted", False, {"IMAGE_HASH"}),
        ("complete", True, {"IMAGE_HASH", "FILE_UNNAMED"}),
    ],
)
def test_images_without_answers_are_those_of_a_full_disk_alone(
    tmp_path: Path, status: str, spool: bool, codes: set[str]
) -> None:
    """Images are written before the answers that name them, out of the driver's spool."""
    run = golden.build(tmp_path / "runs", status, "the disk is full", golden.image_spec())
    last = run / "launches/000"
    (last / "images/00099-0.png").write_bytes(b"half")
    if spool:
        (last / "driver.spool").write_bytes(b"half")
    assert failed(golden.reseal(run)).keys() == codes
