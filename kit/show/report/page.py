"""The report's HTML page: what was run, what was measured, and how to check it."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from kit import __version__
from kit.energy.results import Results, checks
from kit.judge.compare import Comparison
from kit.record.records import RunRecords
from kit.show.report import energies, headline, surroundings, validity, work
from kit.show.report.parts import join, section, tag, text

_STYLE = Path(__file__).with_name("style.css")


def html(name: str, records: RunRecords, results: Results, judged: Comparison | None = None) -> str:
    """The whole page, as one file without dependencies.

    Args:
        name: the run's hash.
        results: as computed from ``records`` (never as stored, which may be forged).
        judged: the verdicts, where the run is a replay.
    """
    body = join(
        [
            _header(name, records),
            headline.tiles(results),
            headline.verdicts(judged) if judged else "",
            headline.notices(results),
            energies.scopes(results),
            energies.block(results),
            energies.comparators(results),
            validity.split(results),
            energies.power(records),
            surroundings.over_the_run(records),
            validity.checks(results, checks.rule_of(records)),
            energies.phases(results),
            work.latency(results),
            work.launches(results),
            surroundings.what_ran(records),
            surroundings.environment(records),
            _how_to_check(name),
            _footer(results),
        ]
    )
    title = f"{text(records.spec.name)} · kit"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">"
        f"<title>{title}</title><style>{_STYLE.read_text('utf-8')}</style></head>"
        f"<body><main>{body}</main></body></html>\n"
    )


def _header(name: str, records: RunRecords) -> Markup:
    first = records.events[0].data if records.events else {}
    last = records.events[-1].data if records.events else {}
    status = str(last.get("status", "unfinished"))
    reason = str(last.get("reason", ""))
    return tag(
        "header",
        tag("p", "kit · sealed run ", tag("code", name[:12]), class_="kicker"),
        tag("h1", records.spec.name, " ", tag("span", status, class_=f"badge {status}")),
        tag("p", records.spec.description, class_="lead") if records.spec.description else "",
        tag("p", reason, class_="fault") if reason else "",
        tag(
            "p",
            f"{records.spec.runtime.name} · {_model(records)} · "
            f"{records.spec.launches} {'launch' if records.spec.launches == 1 else 'launches'} · "
            f"{first.get('utc', '')}",
            class_="note",
        ),
    )


def _model(records: RunRecords) -> str:
    return records.spec.weights.repo if records.spec.weights else "no model"


def _how_to_check(name: str) -> Markup:
    commands = f"kit verify {name[:12]}\nkit replay {name[:12]}\nkit show {name[:12]}"
    return section(
        "Check it yourself",
        tag("pre", commands),
        tag("p", "The run's hash: ", tag("code", name)),
        note="verify needs neither Docker nor GPU: it hashes every file and computes every number "
        "again. replay runs the same spec and judges the two with statistics.",
    )


def _footer(results: Results) -> Markup:
    return tag(
        "footer",
        f"kit {__version__} · formulas {results.formulas} · every number on this page was "
        "computed from the raw records when the page was made",
    )
