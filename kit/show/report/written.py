"""A run's report in one of its forms, for whichever face writes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from kit.core import png
from kit.judge import admission
from kit.judge import replay as replaying
from kit.record import archive
from kit.record.records import RunRecords
from kit.show.report.page import html
from kit.show.report.plain import text
from kit.show.report.tidy import metrics, phases


class Written(NamedTuple):
    """The name of the file that holds it where nobody names another, and the text."""

    file: str
    text: str


def written(run: Path, form: str = "html", against: Path | None = None) -> Written:
    """The report of ``run``, with the verdicts on it as a replay of ``against``.

    Args:
        form: ``html``, ``text``, ``csv`` (phases) or ``csv-metrics``.

    Raises:
        KitError: one of the two cannot be read, or is not what was sealed.
    """
    for path in filter(None, (run, against)):
        admission.admit(path, records=True)
    name = replaying.hash_of(run)
    with admission.malformed(run):
        judged = replaying.judge(against, run) if against else None
        records, results = replaying.computed(run)
        if form == "csv":
            content = phases(results)
        elif form == "csv-metrics":
            content = metrics(results)
        elif form == "text":
            content = text(name, records, results, judged)
        else:
            content = html(name, records, results, judged, _images(run, records))
    return Written(f"report-{name[:12]}.html", content)


def _images(run: Path, records: RunRecords) -> Iterator[tuple[str, bytes]]:
    """Name and file of each measured image of the first launch, as far as they are sound."""
    with archive.open_source(run) as source:
        names = set(source.names())
        for answer in records.responses.get(0, ()):
            for image in answer.images or ():
                path = f"launches/000/{image.file}"
                if answer.stage != "measured" or path not in names:
                    continue
                with suppress(ValueError):
                    png.sides(data := source.read(path))
                    yield path, data
