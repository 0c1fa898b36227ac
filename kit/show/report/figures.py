"""The figures of a run as files: SVG, PNG and PDF, with the readings behind each as CSV."""

from __future__ import annotations

from pathlib import Path

from kit.core import onestep
from kit.core.errors import UsageError
from kit.judge import admission
from kit.judge import replay as replaying
from kit.record.records import RunRecords
from kit.show.report import chart, tidy

FORMS = ("svg", "png", "pdf")
_GROUND = "white"


def files(records: RunRecords) -> dict[str, bytes]:
    """The content of every file by its name; the same bytes for the same run each time."""
    made: dict[str, bytes] = {}
    for plot in chart.plots(records):
        for form in FORMS:
            made[f"{plot.name}.{form}"] = chart.saved(plot, form, ground=_GROUND)
        made[f"{plot.name}.csv"] = tidy.as_csv(plot.columns, plot.rows()).encode()
    return made


def write(run: Path, folder: Path, *, force: bool = False) -> list[Path]:
    """Write every figure of ``run`` into ``folder``, which is made where it is missing.

    Raises:
        KitError: the run cannot be read or gives no figure, or a file is there already.
    """
    admission.admit(run, records=True)
    with admission.malformed(run):
        records, _ = replaying.computed(run)
        made = files(records)
    if not made:
        raise UsageError("the run gives no figure: no meter reported power", "take the report")
    return onestep.write_all(folder, made, force=force)
