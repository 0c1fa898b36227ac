"""What the tests of forgeries share: a careful forger's tools, and what verify then says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from kit.core import jsonio
from kit.judge.verify import Verdict, verify
from kit.record.events import FILE
from tests import golden

Change = Callable[[Path], object]


def failed(verdict: Verdict) -> set[str]:
    """The codes that failed; a verdict that fails says 4 and claims nothing."""
    assert not verdict.passed
    assert verdict.exit_code == 4
    assert verdict.claim.startswith("nothing")
    return {check.code for check in verdict.failures}


def sealed_again(run: Path, mutate: Change, *, derive: bool = False) -> set[str]:
    """Forge, optionally derive the results again, seal, and ask."""
    mutate(run)
    if derive:
        golden.recompute(run)
    return failed(verify(golden.reseal(run)))


def edit_plan(run: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Edit the plan and register it again, as one who forges consistently does."""
    golden.edit_json(run / "plan.json", change)
    register(run)


def edit_spec(run: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Edit the spec, and what names it: plan and registration."""
    golden.edit_json(run / "spec.json", change)
    spec_hash = jsonio.digest((run / "spec.json").read_bytes())
    golden.edit_json(run / "plan.json", lambda p: p.update(spec_hash=spec_hash))
    register(run)


def register(run: Path) -> None:
    """Let the journal's registration name spec and plan as they now are."""
    hashes = {
        f"{name}_hash": jsonio.digest((run / f"{name}.json").read_bytes())
        for name in ("spec", "plan")
    }
    golden.rechain(run / FILE, lambda events: events[0]["data"].update(hashes))


def edit_events(run: Path, change: Callable[[list[dict[str, Any]]], object]) -> None:
    """Edit the journal and chain it again."""
    golden.rechain(run / FILE, change)


def of_kind(events: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """The data of every event of a kind, to be edited."""
    return [event["data"] for event in events if event["kind"] == kind]


def drop_events(run: Path, kind: str, *, keep: int) -> None:
    """Take every event of a kind out of the journal but the first ``keep``."""

    def forge(events: list[dict[str, Any]]) -> None:
        gone = [e for e in events if e["kind"] == kind][keep:]
        events[:] = [e for e in events if e not in gone]

    edit_events(run, forge)


def edit_rows(
    path: Path,
    drop: Callable[[int, list[str]], bool] = lambda _, __: False,
    change: Callable[[list[str]], object] = lambda _: None,
) -> int:
    """Drop and change rows of a sample file and number them again; returns how many went."""
    head, *lines = path.read_text().splitlines()
    rows = [line.split(",") for line in lines]
    rest = [row for n, row in enumerate(rows) if not drop(n, row)]
    for seq, row in enumerate(rest):
        change(row)
        row[0] = str(seq)
    path.write_text("\n".join([head, *(",".join(row) for row in rest)]) + "\n")
    return len(rows) - len(rest)


def reschedule(run: Path) -> None:
    """Let the plan name the schedule as it now is."""
    sha256 = jsonio.digest((run / "inputs/schedule.jsonl").read_bytes())
    edit_plan(run, lambda p: p.update(schedule_sha256=sha256))


def facts_of(plan: dict[str, Any], quantity: str) -> dict[str, Any]:
    """The plan's facts of a quantity, to be edited."""
    for meter in plan["meters"]:
        for device in meter["devices"]:
            if quantity in device["quantities"]:
                facts: dict[str, Any] = device["quantities"][quantity]
                return facts
    raise LookupError(quantity)
