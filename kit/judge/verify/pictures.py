"""L4 of a run of images: each image is a file that was hashed, and counts are the server's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec import UNSET, UnsetType

from kit.core import png
from kit.core.model import ImageFile, Manifest, Request, Response
from kit.judge.verify.verdict import Check, judged
from kit.measure.drive.spool import SPOOL
from kit.record.archive import ArchiveSource
from kit.record.records import RunRecords


def checks(records: RunRecords, source: ArchiveSource, manifest: Manifest) -> list[Check]:
    """The check of images, where the schedule asks for some or a record has some."""
    answers = [answer.images for of in records.responses.values() for answer in of]
    counts = [request.images for of in records.requests.values() for request in of]
    if records.makes == "text" and all(account is UNSET for account in (*answers, *counts)):
        return []
    problems = _problems(records, source, manifest)
    return [judged("IMAGE_HASH", problems, "images are those that were hashed and counted")]


def _problems(records: RunRecords, source: ArchiveSource, manifest: Manifest) -> Iterator[str]:
    sealed = {file.path: file.sha256 for file in manifest.files}
    due = {r.index: r.expect_images for r in records.schedule}
    named: set[str] = set()
    for launch, answers in records.responses.items():
        requests = {r.index: r for r in records.requests.get(launch, ())}
        for answer in answers:
            where = f"launch {launch} request {answer.index}"
            if problem := _count_problem(requests.get(answer.index), answer, due.get(answer.index)):
                yield f"{where}: {problem}"
            for number, image in enumerate(answer.images or ()):
                path = f"launches/{launch:03d}/images/{answer.index:05d}-{number}.png"
                named.add(path)
                if problem := _file_problem(path, image, sealed, source):
                    yield f"{where} image {number}: {problem}"
    folders = {f"{f}images/" for f in _launches(records) if not _cut_short(f, manifest, sealed)}
    others = [p for p in sealed if p[: p.rfind("/") + 1] in folders and p not in named]
    if others:
        yield f"{len(others)} images are of no answer, such as {others[0]!a}"


def _launches(records: RunRecords) -> Iterator[str]:
    yield from (f"launches/{launch:03d}/" for launch in range(records.spec.launches))


def _cut_short(folder: str, manifest: Manifest, sealed: Mapping[str, str]) -> bool:
    """Whether images may lie in a launch's folder before their answers: the disk was full when
    these were to be written, and what the driver spooled is sealed in their place."""
    return manifest.status != "complete" and f"{folder}{SPOOL}" in sealed


def _count_problem(
    request: Request | None, answer: Response, due: int | UnsetType | None
) -> str | None:
    """What is wrong with an answer to a request that asks for ``due`` images, or None."""
    if due is None or due is UNSET:
        is_text = answer.images is UNSET and (request is None or request.images is UNSET)
        return None if is_text else "images, and the schedule asks for a text"
    if answer.images is UNSET or request is None or request.images is UNSET:
        return "no account of its images"
    if answer.text:
        return "a text, and images were asked for"
    if request.images != len(answer.images):
        return f"{request.images} images counted, {len(answer.images)} named"
    if request.status == "ok" and not answer.images:
        return "answered without an image"
    if request.status != "ok" and answer.images:
        return f"{request.images} images, and it failed"
    if request.images > due:
        return f"{request.images} images, {due} were asked for"
    usage = answer.usage or {}
    if request.status == "ok" and usage.get("images") not in (None, request.images):
        return f"{request.images} images, the server said {usage['images']!a}"[:100]
    if request.steps != usage.get("steps"):
        return f"{request.steps} denoising steps, the server said {usage.get('steps')!a}"[:100]
    return None


def _file_problem(
    path: str, image: ImageFile, sealed: Mapping[str, str], source: ArchiveSource
) -> str | None:
    """What is wrong with one image's file, or None."""
    if path.split("/", 2)[2] != image.file:
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
