"""Runs that another version of kit sealed: its own rules may differ, the rest must hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kit.judge.verify import Verdict, verify
from tests import golden
from tests.verify.forging import (
    Change,
    drop_events,
    edit_events,
    edit_plan,
    edit_spec,
    facts_of,
    failed,
    of_kind,
    reschedule,
)

OTHER = "0.9.1"


def of_another_kit(run: Path, change: Change) -> Verdict:
    """``run`` as another version would have sealed it, every file naming that version."""
    change(run)
    golden.edit_json(run / "manifest.json", lambda m: m["kit"].update(version=OTHER))
    for name in ("env/start.json", "env/end.json"):
        golden.edit_json(run / name, lambda d: d["kit"].update(version=OTHER))
    edit_plan(run, lambda p: p.update(kit_version=OTHER))
    edit_events(run, lambda e: e[0]["data"].update(kit_version=OTHER))
    golden.recompute(run)
    return verify(golden.reseal(run))


def launched(**changed: Any) -> Change:
    """Another launch in plan and journal."""

    def forge(run: Path) -> None:
        edit_plan(run, lambda p: p["launch"].update(changed))
        fields = {k: v for k, v in changed.items() if k in ("argv", "network", "egress")}
        edit_events(run, lambda e: [d.update(fields) for d in of_kind(e, "container.created")])

    return forge


def other_bodies(run: Path) -> None:
    golden.edit_lines(
        run / "inputs/schedule.jsonl", lambda lines: [x["body"].update(new_key=1) for x in lines]
    )
    reschedule(run)


def other_end(run: Path) -> None:
    path = run / "launches/000/requests.jsonl"
    golden.edit_lines(path, lambda lines: lines[-1].update(finish_reason="enough"))


def one_more_input(run: Path) -> None:
    (run / "inputs/energy-prices.json").write_bytes(b"{}")


def without_finding(code: str) -> Change:
    def forge(events: list[dict[str, Any]]) -> None:
        gone = [e for e in events if e["kind"] == "finding" and e["data"]["code"] == code]
        assert gone
        events[:] = [e for e in events if e not in gone]

    return lambda run: edit_events(run, forge)


RULES: dict[str, tuple[Change, str]] = {
    "a finding of another name": (without_finding("CPUS"), "FINDINGS_DIFFER"),
    "other arguments": (launched(argv=["--port", "8080", "--new-option"]), "LAUNCH_DIFFERS"),
    "another environment": (launched(env={"NEW": "1"}), "LAUNCH_DIFFERS"),
    "another port": (launched(port=8081), "LAUNCH_DIFFERS"),
    "another network": (launched(network="loopback", egress="open"), "LAUNCH_DIFFERS"),
    "other bodies of requests": (other_bodies, "SCHEDULE_DIFFERS"),
    "another finish reason": (other_end, "FINISH_REASON"),
    "another input": (one_more_input, "FILE_UNNAMED"),
}


@pytest.mark.parametrize(("change", "code"), RULES.values(), ids=RULES)
def test_what_follows_from_rules_of_kit_is_a_doubt(run: Path, change: Change, code: str) -> None:
    verdict = of_another_kit(run, change)
    assert verdict.failures == ()
    (check,) = (c for c in verdict.checks if c.code == code)
    assert check.status == "WARN"
    assert f"sealed by kit '{OTHER}'" in check.message


@pytest.mark.parametrize(("change", "code"), RULES.values(), ids=RULES)
def test_the_same_difference_in_a_run_of_this_version_fails(
    run: Path, change: Change, code: str
) -> None:
    change(run)
    golden.recompute(run)
    assert failed(verify(golden.reseal(run))) == {code}


def test_another_kit_by_the_same_rules_is_no_doubt(run: Path) -> None:
    verdict = of_another_kit(run, lambda r: None)
    statuses = {c.code: c.status for c in verdict.checks}
    codes = ("FINDINGS_DIFFER", "LAUNCH_DIFFERS", "SCHEDULE_DIFFERS", "REGISTERED_DIFFERS")
    assert [statuses[code] for code in codes] == ["PASS"] * 4


def test_a_fact_that_this_kit_does_not_know_is_no_fault(run: Path) -> None:
    """A newer kit, or a meter of another package under an older one, may say more of a quantity."""

    def forge(plan: dict[str, Any]) -> None:
        facts_of(plan, "cpu_energy").update(of_tomorrow={"watts": [1, 2]})

    assert of_another_kit(run, lambda r: edit_plan(r, forge)).passed


@pytest.mark.parametrize(
    ("fact", "value"),
    [("limit_w", "700"), ("summed", 0), ("probe", {"watts": "1"}), ("gain", None)],
)
def test_a_fact_of_a_wrong_type_is_refused_by_its_name(run: Path, fact: str, value: Any) -> None:
    edit_plan(run, lambda p: facts_of(p, "cpu_energy").update({fact: value}))
    verdict = verify(golden.reseal(run))
    assert failed(verdict) == {"FILE_INVALID"}
    (message,) = (c.message for c in verdict.checks if c.status == "FAIL")
    assert f"plan.json $.meters[1].devices[0].quantities.cpu_energy.{fact}" in message


def test_a_runtime_that_is_not_installed_here_is_followed_as_far_as_can_be(run: Path) -> None:
    edit_spec(run, lambda s: s["runtime"].update(name="theirs"))
    golden.recompute(run)
    verdict = verify(golden.reseal(run))
    assert verdict.failures == ()
    statuses = {c.code: c.status for c in verdict.checks}
    assert (statuses["LAUNCH_DIFFERS"], statuses["FINDINGS_DIFFER"]) == ("WARN", "PASS")


def a_failed_preflight(run: Path) -> None:
    edit_events(run, lambda e: of_kind(e, "finding")[0].update(level="fail"))


HELD: dict[str, tuple[Change, str]] = {
    "no finding at all": (lambda r: drop_events(r, "finding", keep=0), "FINDINGS_DIFFER"),
    "a run that preflight forbade": (a_failed_preflight, "FINDINGS_DIFFER"),
    "files that are no weights of the spec": (
        launched(mounts=[{"target": "/weights/x.gguf", "sha256": "0" * 64}]),
        "LAUNCH_DIFFERS",
    ),
    "more memory": (launched(memory_bytes=1 << 40), "LAUNCH_DIFFERS"),
    "more shared memory": (launched(shm_bytes=1 << 40), "LAUNCH_DIFFERS"),
    "more processes": (launched(pids=4096), "LAUNCH_DIFFERS"),
    "no GPU": (launched(gpus=None), "LAUNCH_DIFFERS"),
    "other arguments than were registered": (
        lambda r: edit_events(r, lambda e: of_kind(e, "container.created")[0].update(argv=["x"])),
        "REGISTERED_DIFFERS",
    ),
    "another network than was registered": (
        lambda r: edit_events(
            r, lambda e: of_kind(e, "container.created")[0].update(network="host")
        ),
        "REGISTERED_DIFFERS",
    ),
    "another image than was registered": (
        lambda r: edit_events(
            r, lambda e: of_kind(e, "container.created")[0].update(image="sha256:" + "0" * 64)
        ),
        "IMAGE_DIFFERS",
    ),
    "another schedule than was registered": (
        lambda r: golden.edit_lines(
            r / "inputs/schedule.jsonl", lambda lines: lines[0].update(path="/x")
        ),
        "PLAN_HASHES",
    ),
    "a meter said to be absent": (
        lambda r: edit_plan(r, lambda p: facts_of(p, "cpu_energy").update(reason="no RAPL")),
        "SAMPLES_INVALID",
    ),
}


@pytest.mark.parametrize(("change", "code"), HELD.values(), ids=HELD)
def test_another_version_of_kit_excuses_no_other_difference(
    run: Path, change: Change, code: str
) -> None:
    assert code in failed(of_another_kit(run, change))


@pytest.mark.parametrize("where", ["manifest.json", "env/start.json", "env/end.json"])
def test_a_version_that_one_file_does_not_name_is_refused(run: Path, where: str) -> None:
    edit_plan(run, lambda p: p.update(kit_version=OTHER))
    edit_events(run, lambda e: e[0]["data"].update(kit_version=OTHER))
    for name in {"manifest.json", "env/start.json", "env/end.json"} - {where}:
        golden.edit_json(run / name, lambda d: d["kit"].update(version=OTHER))
    assert "REGISTERED_DIFFERS" in failed(verify(golden.reseal(run)))


def test_other_words_for_what_a_repeat_gives_are_no_difference(run: Path) -> None:
    """A sentence that is put better must not condemn what was sealed before."""
    edit_plan(run, lambda p: p["repeat"].update(why="Measured, said otherwise."))
    golden.recompute(run)
    assert verify(golden.reseal(run)).passed
