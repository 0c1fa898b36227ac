"""The report's HTML page: what was run, what was measured, and how to check it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from markupsafe import Markup

from kit import __version__
from kit.energy.results import Results, checks
from kit.judge.compare import Comparison
from kit.record.records import RunRecords
from kit.show.report import chart, energies, headline, surroundings, validity, work
from kit.show.report.parts import contents, facts, figure, join, numbered, section, tag, text

_STYLE = Path(__file__).with_name("style.css")


def html(
    name: str,
    records: RunRecords,
    results: Results,
    judged: Comparison | None = None,
    images: Iterable[tuple[str, bytes]] = (),
) -> str:
    """The whole page, as one file without dependencies.

    Args:
        name: the run's hash.
        results: as computed from ``records`` (never as stored, which may be forged).
        judged: the verdicts, where the run is a replay.
        images: name and PNG file of the images to show.
    """
    details = join(
        [
            headline.verdicts(judged) if judged else "",
            headline.notices(results),
            energies.scopes(results),
            energies.block(results),
            energies.comparators(results),
            validity.split(results),
            surroundings.over_the_run(records),
            validity.checks(results, checks.rule_of(records)),
            energies.phases(results),
            work.latency(results),
            work.launches(results),
            work.pictures(images),
            surroundings.what_ran(records),
            surroundings.environment(records),
            _how_to_check(name),
        ]
    )
    summary = tag("div", _summary(name, records, results, judged), id="summary")
    body = numbered(join([summary, contents(details), details, _footer(results)]))
    title = f"{text(records.spec.name)} · kit"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">"
        f"<title>{title}</title><style>{_STYLE.read_text('utf-8')}</style></head>"
        f"<body><main>{body}</main></body></html>\n"
    )


def _summary(name: str, records: RunRecords, results: Results, judged: Comparison | None) -> Markup:
    """What ran on what, the headline numbers, the power, and what to know: one page of paper."""
    drawn = chart.power(records)
    return join(
        [
            _header(name, records),
            tag("p", judged.primary.line(), class_="lead") if judged else "",
            headline.work(results),
            headline.tiles(results),
            figure(chart.inline(drawn), drawn.caption)
            if drawn
            else tag("p", "No meter reported power.", class_="absent"),
            headline.believe(results),
        ]
    )


def _header(name: str, records: RunRecords) -> Markup:
    last = records.events[-1].data if records.events else {}
    status = str(last.get("status", "unfinished"))
    reason = str(last.get("reason", ""))
    spec = records.spec
    return tag(
        "header",
        tag("p", "kit · sealed run ", tag("code", name[:12]), class_="kicker"),
        tag("h1", spec.name, " ", tag("span", status, class_=f"badge {status}")),
        tag("p", spec.description, class_="lead") if spec.description else "",
        tag("p", reason, class_="fault") if reason else "",
        facts(surroundings.in_short(records)),
    )


def _how_to_check(name: str) -> Markup:
    commands = (text(f"kit {word} {name[:12]}") for word in ("verify", "replay", "show"))
    return section(
        "Check it yourself",
        tag("pre", Markup("\n").join(commands)),
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
