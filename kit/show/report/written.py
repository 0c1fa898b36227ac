"""A run's report in one of its forms, for whichever face writes it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from kit.judge import admission
from kit.judge import replay as replaying
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
        else:
            content = (text if form == "text" else html)(name, records, results, judged)
    return Written(f"report-{name[:12]}.html", content)
