"""What was meant to differ is stated, keeps nothing from being compared, and its ratio is given."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kit.cli.main import dispatch
from kit.core.errors import UsageError
from kit.energy import results
from kit.judge import compare
from kit.judge.compare import Comparison
from kit.judge.compare.design import covers
from kit.judge.contrast import contrast, side_of
from kit.record import archive, records
from kit.record.records import RunRecords
from kit.show import sidebyside
from tests import golden
from tests.committed import H200, QUICKSTART, REPLAY
from tests.test_compare import GPU, axis, card
from tests.test_compare import H200 as H200_FACTS

# Each way in which a person varies a run on purpose: the fields, and the change.
WAYS = (
    "arrivals.concurrency",
    "runtime",
    "runtime.options",
    "image",
    "workload",
    "machine",
    "gpus",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunRecords:
    sealed = golden.copied(tmp_path_factory.mktemp("design") / "runs")
    loaded = records.load(archive.open_source(sealed))
    return dataclasses.replace(loaded, env_start=H200_FACTS, env_end=H200_FACTS)


def varied(run: RunRecords, field: str) -> RunRecords:
    """The run with another value of ``field``."""
    if field in ("machine", "gpus"):
        return dataclasses.replace(run, env_start=card(name="NVIDIA A100"))
    spec: dict[str, Any] = msgspec.to_builtins(run.spec)
    place, _, name = field.partition(".")
    change: dict[str, Any] = {
        "arrivals": {"concurrency": 8},
        "runtime": {"name": "vllm"} if not name else {"options": {"another": 1}},
        "image": {"digest": "sha256:" + "0" * 64},
        "workload": {"options": {"requests": 9}},
    }[place]
    spec[place] = {**spec[place], **change}
    return dataclasses.replace(run, spec=msgspec.convert(spec, type(run.spec)))


def judged(run: RunRecords, field: str, by: Sequence[str]) -> Comparison:
    found = results.compute(run)
    return compare.judge(run, found, varied(run, field), found, by=by)


@pytest.mark.parametrize("field", WAYS)
def test_what_differs_by_design_is_compared(run: RunRecords, field: str) -> None:
    without, meant = judged(run, field, ()), judged(run, field, [field])
    for metric in (GPU, "ttft_p50", "output_throughput"):
        assert axis(without, metric).verdict == "NOT-COMPARABLE"
        found = axis(meant, metric)
        assert found.verdict in ("EQUIVALENT", "INCONCLUSIVE") and found.ratio == 1.0
        assert found.ci90 and found.margin
    assert not without.by_design and meant.by_design
    first = compare.ranked(meant)[0]
    assert first.meaning == "by design"
    assert "by design" not in {one.meaning for one in compare.ranked(without)}


def test_another_difference_still_stands_in_the_way(run: RunRecords) -> None:
    other = varied(varied(run, "image"), "arrivals.concurrency")
    found = results.compute(run)
    comparison = compare.judge(run, found, other, found, by=["arrivals"])
    latency = axis(comparison, "ttft_p50")
    assert latency.verdict == "NOT-COMPARABLE" and "(image.digest)" in latency.reason
    meanings = {one.fact: one.meaning for one in compare.ranked(comparison)}
    assert meanings["spec: arrivals.concurrency"] == "by design"
    assert meanings["spec: image.digest"] == "other work"


@pytest.mark.parametrize("field", ["*", "*.concurrency", "spec: *", "**"])
def test_no_field_covers_everything_that_differs(run: RunRecords, field: str) -> None:
    """Else any two runs would be comparable."""
    found = results.compute(run)
    with pytest.raises(UsageError, match="would cover everything"):
        compare.judge(run, found, run, found, by=[field])


@pytest.mark.parametrize(
    ("short", "path"),
    [
        ("concurrency", "arrivals.concurrency"),
        ("digest", "image.digest"),
        ("temperature", "sampling.temperature"),
    ],
)
def test_the_last_words_of_a_path_name_it(run: RunRecords, short: str, path: str) -> None:
    assert judged(run, "arrivals.concurrency", [short]).by == (path,)


def test_a_short_name_of_several_fields_lists_them(run: RunRecords) -> None:
    with pytest.raises(UsageError, match="several fields are called 'options'") as error:
        judged(run, "arrivals.concurrency", ["options"])
    assert {"runtime.options", "workload.options"} <= set(error.value.remedy[10:].split(", "))


@pytest.mark.parametrize("field", ["arival", "arrivals.concurency", "", "runtime.name.x"])
def test_a_field_that_no_run_has_is_an_error(run: RunRecords, field: str) -> None:
    with pytest.raises(UsageError, match="have the field"):
        judged(run, "arrivals.concurrency", [field])


@pytest.mark.parametrize(
    ("field", "fact", "does"),
    [
        ("runtime", "runtime.name", True),
        ("runtime", "runtime", True),
        ("run", "runtime.name", False),
        ("runtime.name", "runtime", False),
        ("gpus.*.name", "gpus.gpu3.name", True),
        ("gpus.*.name", "gpus.gpu3.ecc", False),
        ("spec: runtime", "runtime.name", True),
    ],
)
def test_a_field_holds_all_below_it(field: str, fact: str, does: bool) -> None:
    assert covers([field], fact) == does


# --- the command ----------------------------------------------------------------------------


def asked(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = dispatch(["compare", *map(str, words)])
    return code, *capsys.readouterr()


def test_the_command_states_what_is_by_design_and_hints_at_the_rest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, err = asked(capsys, H200, QUICKSTART, "--by", "runtime", "--by", "launches")
    assert code == 0 and "* by design  runtime.name: transformers → llama-server" in out
    assert "launches: the two runs do not differ in it" in out
    assert "--by image" not in err and "--by devices" in err and "--by runtime" not in err


def test_a_run_with_itself_is_a_clear_answer(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _err = asked(capsys, QUICKSTART, QUICKSTART)
    assert code == 0 and out.startswith(f"both are run {QUICKSTART.name}")
    assert "nothing was reproduced" in out and "NOT-COMPARABLE" not in out


@pytest.mark.parametrize("words", [[QUICKSTART], [QUICKSTART, REPLAY, QUICKSTART]])
def test_too_few_or_equal_runs_are_an_error(
    capsys: pytest.CaptureFixture[str], words: list[Path]
) -> None:
    code, _, err = asked(capsys, *words)
    assert code == 2 and err.count("error:") == 1


def test_a_column_a_run_named_by_spec_and_by_hash_where_names_collide() -> None:
    sides = [
        side_of(path, letter)
        for path, letter in zip((QUICKSTART, REPLAY, H200), "ABC", strict=False)
    ]
    found = contrast(sides, sides[0])
    assert [column.name for column in sidebyside.columns(found)] == [
        f"quickstart {QUICKSTART.name[:8]}",
        f"quickstart {REPLAY.name[:8]}",
        "h200-smollm2",
    ]
    rows = list(csv.DictReader(io.StringIO(sidebyside.as_csv(found))))
    metrics = {line.metric for line in sidebyside.lines(found)}
    assert len(rows) == 3 * len(metrics)
    ratios = [row for row in rows if row["ratio"]]
    assert ratios and all(float(row["ratio"]) > 0 and row["is_baseline"] == "0" for row in ratios)
    latex = sidebyside.as_latex(found)
    widths = {line.count("&") for line in latex.splitlines() if line.endswith(r"\\")}
    assert widths == {4} and r"\begin{tabular}{llrrr}" in latex
    assert "±" not in latex.partition("begin")[2]
    void = [r for r in ratios if r["verdict"] in ("NOT-COMPARABLE", "FAILED")]
    assert void and latex.count("] (") == sum(bool(row["ci90_low"]) for row in void)


def test_every_format_of_several_runs(capsys: pytest.CaptureFixture[str]) -> None:
    runs = (QUICKSTART, REPLAY, H200)
    code, out, _ = asked(capsys, *runs)
    assert code == 0 and out.count("h200-smollm2") >= 2 and "! confounder" in out
    code, out, _ = asked(capsys, *runs, "--json")
    document = json.loads(out)
    assert document["baseline"]["run"] == QUICKSTART.name
    assert [one["run"] for one in document["runs"]] == [REPLAY.name, H200.name]
    assert document["runs"][1]["comparison"]["ranked"][0]["meaning"] == "confounder"
    for form, begins in (("csv", "metric,unit,"), ("latex", "% mean")):
        code, out, _ = asked(capsys, *runs[:2], "--format", form)
        assert code == 0 and out.startswith(begins)
