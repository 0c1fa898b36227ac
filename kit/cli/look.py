"""Commands that show and check a run: show, report, verify.

Only the commands that need replay and report import them, so that verify and ls answer at once.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from kit.cli.common import (
    Json,
    Out,
    Run,
    Runs,
    as_folder,
    deliver,
    find_run,
    print_json,
    say,
    store_of,
)
from kit.cli.paths import Named, Written
from kit.core import jsonio
from kit.core.errors import UsageError
from kit.judge import admission
from kit.record import archive
from kit.show import render
from kit.show.documents import steps_of
from kit.store import audit
from kit.store.store import Store

if TYPE_CHECKING:
    from kit.judge.verify import Verdict

_SMALL = 16 << 20
Format = Literal["html", "text", "csv", "csv-metrics"]
_FORMATS = (
    "html: one file for a browser. text: plain, 80 columns. csv: a row per launch, phase and "
    "scope. csv-metrics: a row per metric and launch, with net energies and checks."
)

_FIGURES = (
    "A folder to write the figures into instead: each as SVG, PNG and PDF, and its readings as CSV."
)


def show(run: Run, *, runs: Runs = None, json: Json = False) -> None:
    """Show one run: what it was, what it measured, what to know before believing it.

    Args:
        run: the run: folder, single file, or the beginning of its hash.
    """
    path = find_run(run, runs)
    admission.admit(path)
    with archive.open_source(path) as source:
        documents, steps = _documents(source), steps_of(source)
    if json:
        print_json(documents)
        return
    parts = documents["manifest"], documents["spec"], documents["results"]
    render.run(path.name, *parts, steps, asked=run)


def report(
    run: Run,
    *,
    runs: Runs = None,
    format: Annotated[Format, Parameter(help=_FORMATS)] = "html",
    out: Out = None,
    against: Run = "",
    figures: Annotated[Path | None, Written, Parameter(help=_FIGURES)] = None,
    force: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Write a run's report: a single HTML file, plain text, tidy CSV, or its figures as files.

    HTML goes into a file, whose path is printed; text and CSV to stdout, unless --out names a file.
    Figures go into a folder, and their paths to stdout.

    Args:
        run: the run: folder, single file, or the beginning of its hash.
        against: an original run; the report then shows the replay's verdicts.
        force: overwrite figures that are there already.
    """
    if figures is not None:
        if out or against or format != "html":
            raise UsageError(
                "--figures writes figures alone", "leave --format, --out and --against out"
            )
        as_folder(figures, "--figures", "name a folder: each figure is several files")
        _write_figures(find_run(run, runs), figures, force=force)
        return
    if force:
        raise UsageError(
            "--force overwrites figures, and none are asked for",
            "leave it out, or name a folder with --figures",
        )
    from kit.show.report.written import written

    if against and format.startswith("csv"):
        raise UsageError("CSV holds no verdicts", "leave --against out, or take html or text")
    other = find_run(against, runs) if against else None
    page = written(find_run(run, runs), format, other)
    if out is None and format == "html":
        out = Path(page.file)
    if not deliver(page.text.encode(), out):
        return
    if format == "html":
        say("open it in a browser; it needs nothing else")
    sys.stdout.write(f"{out}\n")


def _write_figures(run: Path, folder: Path, *, force: bool) -> None:
    from kit.show.report import figures

    for path in figures.write(run, folder, force=force):
        sys.stdout.write(f"{path}\n")


def verify(
    run: Run = "",
    *,
    store: Annotated[bool, Parameter(negative="")] = False,
    tokenizer: Annotated[Path | None, Named] = None,
    runs: Runs = None,
    json: Json = False,
) -> int:
    """Check a sealed run: its files and hashes, their form, and every number computed again.

    Args:
        run: the sealed run: folder, single file, or the beginning of its hash.
        store: check the store's ledger instead: its chain, and the runs against its entries.
        tokenizer: the model's tokenizer.json: hold the prompts' token ids and the answers' counts
            against its vocabulary, too.
    """
    if store == bool(run) or (store and tokenizer):
        raise UsageError("name one run, or --store for the ledger", "`kit ls` lists the runs")
    if store:
        return _audit(store_of(runs, is_read=True), json=json)
    path = find_run(run, runs)
    verdict = admission.verify(path)
    if tokenizer and verdict.passed:
        verdict = _with_tokens(verdict, path, tokenizer)
    if json:
        print_json(verdict.as_dict())
    else:
        render.verdict(verdict)
    return verdict.exit_code


def _with_tokens(verdict: Verdict, path: Path, tokenizer: Path) -> Verdict:
    """The verdict, with the check of the run's tokens against a tokenizer.json."""
    import msgspec

    from kit.judge.verify import tokens
    from kit.record import records

    check = tokens.compared(records.read(path), tokenizer)
    if check.status in ("PASS", "SKIP"):  # the verdict names only what is not well
        say(f"{tokenizer.name}: {check.message}")
    return msgspec.structs.replace(verdict, checks=(*verdict.checks, check))


def _audit(store: Store, *, json: bool) -> int:
    ledger_audit = audit.full(store)
    if json:
        print_json(ledger_audit.as_dict())
    else:
        render.audit(ledger_audit)
    return ledger_audit.exit_code


def _documents(source: archive.ArchiveSource) -> dict[str, Any]:
    names = ("manifest", "spec", "results")
    return {n: jsonio.parse(source.read(f"{n}.json", _SMALL), f"{n}.json") for n in names}
