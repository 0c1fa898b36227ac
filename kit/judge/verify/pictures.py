"""L4 of a run of images: each image is a file that was hashed, and counts are the server's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import UNSET

from kit.core import png
from kit.core.model import ImageFile, Manifest, Request, Response
from kit.judge.verify.verdict import Check, judged
from kit.record.archive import ArchiveSource
from kit.record.records import RunRecords


def checks(records: RunRecords, source: ArchiveSource, manifest: Manifest) -> list[Check]:
    """The check of images, where the schedule asks for some or an answer has some."""
    answers = [answer for of in records.responses.values() for answer in of]
    if records.makes == "text" and all(answer.images is UNSET for answer in answers):
        return []
    problems = _problems(records, source, manifest)
    return [judged("IMAGE_HASH", problems, "images are those that were hashed and counted")]


def _problems(records: RunRecords, source: ArchiveSource, manifest: Manifest) -> Iterator[str]:
    sealed = {file.path: file.sha256 for file in manifest.files}
    named: set[str] = set()
    for launch, answers in records.responses.items():
        requests = {r.index: r for r in records.requests.get(launch, ())}
        for answer in answers:
            where = f"launch {launch} request {answer.index}"
            if problem := _count_problem(records, requests.get(answer.index), answer):
                yield f"{where}: {problem}"
            for number, image in enumerate(answer.images or ()):
                path = f"launches/{launch:03d}/images/{answer.index:05d}-{number}.png"
                named.add(path)
                if problem := _file_problem(path, image, sealed, source):
                    yield f"{where} image {number}: {problem}"
    folders = {f"launches/{launch:03d}/images/" for launch in range(records.spec.launches)}
    others = [p for p in sealed if p[: p.rfind("/") + 1] in folders and p not in named]
    if others:
        yield f"{len(others)} images are of no answer, such as {others[0]!a}"


def _count_problem(records: RunRecords, request: Request | None, answer: Response) -> str | None:
    """What is wrong with an answer's numbers of images and steps, or None."""
    if records.makes == "text":
        return "images, and the schedule asks for texts"
    if answer.images is UNSET or request is None or request.images is UNSET:
        return "no account of its images"
    if request.images != len(answer.images):
        return f"{request.images} images counted, {len(answer.images)} named"
    if request.status == "ok" and not answer.images:
        return "answered without an image"
    told: Mapping[str, Any] = answer.usage or {}
    if request.steps != told.get("steps") and request.steps is not None:
        return f"{request.steps} denoising steps, the server said {told.get('steps')!a}"[:100]
    return None


def _file_problem(
    path: str, image: ImageFile, sealed: Mapping[str, str], source: ArchiveSource
) -> str | None:
    """What is wrong with one image's file, or None."""
    if not path.endswith(f"/{image.file}"):
        return f"it is called {image.file!a}"[:100]
    if path not in sealed:
        return "its file is not there"
    if sealed[path] != image.sha256:
        return "its file is another one than was hashed"
    try:
        found = png.sides(source.read(path))
    except ValueError as problem:
        return f"it is no PNG: {problem}"
    sides = (image.width, image.height)
    return None if found == sides else f"it has {found} pixels, and {sides} are written"
