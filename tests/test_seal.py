"""Sealing, single files and recovery, on runs that kit's own code wrote."""

from __future__ import annotations

import errno
import hashlib
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import msgspec
import pytest

from kit.core import jsonio, resources
from kit.core.errors import ArchiveRefused, DiskFull, RunFailed, UsageError
from kit.judge.verify import verify
from kit.measure.drive.parse import Raw
from kit.measure.drive.spool import SPOOL, Spool
from kit.record import archive, events, manifest
from kit.store import seal
from kit.store.store import Store
from tests import golden


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


@pytest.fixture
def run(store: Store) -> Path:
    return golden.build(store.root)


def crashed(store: Store) -> golden.Script:
    """A run whose runner died after its records and before the seal."""
    script = golden.begin(store.root)
    golden.records_of(script)
    script.flight.release()
    return script


# --- sealing ------------------------------------------------------------------------------------


def test_a_run_is_named_by_its_manifest(store: Store, run: Path) -> None:
    data = (run / "manifest.json").read_bytes()
    assert run.name == hashlib.sha256(b"kit-run-v1\n" + data).hexdigest()
    assert store.runs() == [run]
    assert not list(store.inflight.glob("*[!h]"))  # nothing but scratch folders


def test_the_manifest_follows_its_schema_and_lists_every_file(run: Path) -> None:
    from jsonschema import Draft202012Validator

    document = jsonio.read(run / "manifest.json")
    schema = jsonio.read(resources.schema_path("manifest"))
    Draft202012Validator.check_schema(schema)
    assert list(Draft202012Validator(schema).iter_errors(document)) == []
    files = {p.relative_to(run).as_posix() for p in run.rglob("*") if p.is_file()}
    assert {f["path"] for f in document["files"]} == files - {"manifest.json"}
    for entry in document["files"]:
        data = (run / entry["path"]).read_bytes()
        assert (entry["size"], entry["sha256"]) == (len(data), jsonio.digest(data))
    assert [f["path"] for f in document["files"] if f["withheld"]] == ["private/identity.json"]


def test_the_manifest_names_no_machine(run: Path) -> None:
    assert b"golden-host" not in (run / "manifest.json").read_bytes()
    boot = Path("/proc/sys/kernel/random/boot_id")
    if boot.is_file():
        assert boot.read_text().strip().encode() not in (run / "manifest.json").read_bytes()


def test_the_ledger_has_an_entry_of_the_run(store: Store, run: Path) -> None:
    kinds = [(e["kind"], e.get("run_hash")) for e in store.ledger()]
    assert kinds == [("registered", None), ("sealed", run.name)]
    id_ = jsonio.read(run / "manifest.json")["run_id"]
    assert store.sealed_as(id_) == ("complete", run)


def test_sealing_without_room_loses_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    script = crashed(store)
    flight = store.adopt(script.flight.path)
    script.flight.write("results.json", {})

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        with pytest.raises(DiskFull, match="no space"):
            seal.seal(flight, "failed", "full", ())
    assert script.flight.path.is_dir()
    flight.release()
    assert [p.name for p in seal.recover(store)] == [p.name for p in store.runs()]


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.ENOSPC, DiskFull), (errno.EDQUOT, DiskFull), (errno.EIO, RunFailed)]
)
def test_a_failed_write_has_the_error_of_its_cause(number: int, kind: type[Exception]) -> None:
    assert type(seal.storage_error(OSError(number, "x"))) is kind


# --- single files -------------------------------------------------------------------------------


def test_export_is_deterministic_and_withholds(run: Path, tmp_path: Path) -> None:
    first = seal.export(run, tmp_path)
    shutil.copytree(run, tmp_path / "copy" / run.name)
    second = seal.export(tmp_path / "copy" / run.name, tmp_path / "other.kit.zip")
    assert first.name == f"{run.name}.kit.zip"
    assert first.read_bytes() == second.read_bytes()
    names = archive.open_source(first).names()
    assert "private/identity.json" not in names
    packed = seal.export(run, tmp_path / "whole.kit.zip", with_withheld=True)
    assert "private/identity.json" in archive.open_source(packed).names()
    assert b"golden-host" not in zipfile.ZipFile(first).read(f"{run.name}/manifest.json")


def test_export_stores_what_would_look_like_a_bomb(store: Store, tmp_path: Path) -> None:
    script = golden.begin(store.root)
    golden.records_of(script)
    script.flight.write_bytes("launches/000/container.log", b"a" * (4 << 20))
    script.flight.release()
    (run,) = seal.recover(store)
    packed = seal.export(run, tmp_path)
    assert len(archive.open_source(packed).read("launches/000/container.log")) == 4 << 20
    assert verify(packed).passed


def test_an_altered_run_is_not_exported(run: Path, tmp_path: Path) -> None:
    (run / "results.json").write_bytes(b"{}")
    with pytest.raises(ArchiveRefused) as caught:
        seal.export(run, tmp_path)
    assert caught.value.code == "HASH_MISMATCH"
    assert not list(tmp_path.glob("*.zip*"))


def test_export_refuses_a_missing_run_and_a_folder_that_cannot_be_written(
    run: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="no folder of a sealed run"):
        seal.export(tmp_path, tmp_path)
    with pytest.raises(UsageError, match="cannot write"):
        seal.export(run, tmp_path / "no" / "such" / "file.kit.zip")


def test_a_round_trip_keeps_the_hash(run: Path, tmp_path: Path) -> None:
    other = Store(tmp_path / "other")
    imported = seal.import_(seal.export(run, tmp_path), other)
    assert imported == other.root / run.name
    assert verify(imported).passed
    assert [(e["kind"], e["run_hash"]) for e in other.ledger()] == [("imported", run.name)]
    assert seal.import_(tmp_path / f"{run.name}.kit.zip", other) == imported
    assert len(other.ledger()) == 1
    again = seal.export(imported, tmp_path / "again.kit.zip")
    assert again.read_bytes() == (tmp_path / f"{run.name}.kit.zip").read_bytes()


def of_old_formulas(store: Store, run: Path) -> Path:
    """The same run as an older kit would have sealed it."""
    document = jsonio.read(run / "results.json")
    data = jsonio.canonical({**document, "formulas": "1"})
    (run / "results.json").write_bytes(data)
    listed = jsonio.read(run / "manifest.json")
    listed["result_hash"] = jsonio.digest(data)
    for entry in listed["files"]:
        if entry["path"] == "results.json":
            entry |= {"size": len(data), "sha256": jsonio.digest(data)}
    sealed = jsonio.canonical(listed)
    (run / "manifest.json").write_bytes(sealed)
    return run.rename(store.root / manifest.run_hash(sealed))


def test_results_by_later_formulas_are_another_run_of_the_same_records(
    store: Store, run: Path
) -> None:
    first = jsonio.read(run / "results.json")
    old = of_old_formulas(store, run)
    before = {p: p.read_bytes() for p in old.rglob("*") if p.is_file()}
    assert "kit recompute" in str(verify(old).checks)
    new = seal.recompute(old, store)
    assert jsonio.read(new / "results.json") == first
    assert verify(new).exit_code == 0
    assert {p: p.read_bytes() for p in old.rglob("*") if p.is_file()} == before
    theirs, ours = (jsonio.read(r / "manifest.json") for r in (old, new))
    assert ours["parents"] == [{"run_hash": old.name, "relation": "recomputed-from"}]
    changed = [a["path"] for a, b in zip(theirs["files"], ours["files"], strict=True) if a != b]
    assert changed == ["results.json"]
    assert store.ledger()[-1]["kind"] == "recomputed"
    assert manifest.parent(ours, manifest.RECOMPUTED) == old.name
    assert manifest.parent(ours, manifest.REPLAY) == ""
    with pytest.raises(UsageError, match="present formulas"):
        seal.recompute(new, store)


def test_a_recomputed_run_can_be_recomputed_from_a_file_without_what_was_withheld(
    store: Store, run: Path, tmp_path: Path
) -> None:
    packed = seal.export(of_old_formulas(store, run), tmp_path)
    other = Store(tmp_path / "others")
    new = seal.recompute(packed, other)
    assert verify(new).exit_code == 0
    again = seal.recompute(of_old_formulas(other, new), other)
    assert [p["relation"] for p in jsonio.read(again / "manifest.json")["parents"]] == [
        "recomputed-from"
    ]


def test_an_altered_run_is_not_recomputed(store: Store, run: Path) -> None:
    old = of_old_formulas(store, run)
    with (old / "samples/nvml.csv").open("ab") as file:
        file.write(b"1,2,,gpu0,gpu_energy,0,1\n")
    with pytest.raises(ArchiveRefused):
        seal.recompute(old, store)
    assert store.runs() == [old]


@pytest.mark.slow
def test_imports_at_the_same_time_put_one_run(run: Path, tmp_path: Path) -> None:
    packed = seal.export(run, tmp_path)
    code = (
        "import sys; from pathlib import Path; from kit.store import seal\n"
        "from kit.store.store import Store\n"
        "seal.import_(Path(sys.argv[1]), Store(Path(sys.argv[2])))"
    )
    command = [sys.executable, "-c", code, str(packed), str(tmp_path / "other")]
    for process in [subprocess.Popen(command) for _ in range(4)]:
        assert process.wait() == 0
    other = Store(tmp_path / "other")
    assert [e["run_hash"] for e in other.ledger()] == [run.name]
    assert verify(other.root / run.name).passed
    assert not list(other.inflight.iterdir())


def test_what_a_crashed_import_left_is_removed(run: Path, tmp_path: Path) -> None:
    other = Store(tmp_path / "other")
    seal.import_(seal.export(run, tmp_path), other)
    left = other.inflight / "import-dead.scratch" / "run"
    left.mkdir(parents=True)
    other.forget_orphans()
    assert not left.parent.exists()


@pytest.mark.parametrize("altered", ["edit", "extra", "missing", "renamed"])
def test_import_refuses_what_is_not_the_run(run: Path, tmp_path: Path, altered: str) -> None:
    packed = seal.export(run, tmp_path)
    bad = tmp_path / "bad.kit.zip"
    with zipfile.ZipFile(packed) as old, zipfile.ZipFile(bad, "w") as new:
        for info in old.infolist():
            data = old.read(info)
            if info.filename.endswith("/spec.json"):
                if altered == "missing":
                    continue
                data = data.replace(b"golden", b"forged") if altered == "edit" else data
            if altered == "renamed":
                info.filename = info.filename.replace(run.name, "0" * 64)
            new.writestr(info, data)
        if altered == "extra":
            new.writestr(zipfile.ZipInfo(f"{run.name}/more.json", (1980, 1, 1, 0, 0, 0)), b"{}")
    other = Store(tmp_path / "other")
    with pytest.raises(ArchiveRefused) as caught:
        seal.import_(bad, other)
    codes = {"edit": "HASH_MISMATCH", "extra": "EXTRA_FILE", "missing": "MISSING_FILE"}
    assert caught.value.code == codes.get(altered, "HASH_NAME")
    assert other.runs() == []


# --- recovery -----------------------------------------------------------------------------------


def test_recover_seals_a_dead_run_as_aborted(store: Store) -> None:
    script = crashed(store)
    (run,) = seal.recover(store)
    journal = events.decode((run / events.FILE).read_bytes())
    assert journal[-1].kind == "run.end"
    assert journal[-1].data["status"] == "aborted"
    assert jsonio.read(run / "manifest.json")["status"] == "aborted"
    assert store.sealed_as(script.flight.id) == ("aborted", run)
    assert not store.scratch_folder(script.flight.id).exists()
    assert verify(run).passed
    assert seal.recover(store) == []


@pytest.mark.parametrize("cut", [1, 17, 400, 1500])
def test_recover_cuts_what_is_torn(store: Store, cut: int) -> None:
    """A power loss in the middle of a line of the journal, of samples and of requests."""
    script = crashed(store)
    for name in (events.FILE, "samples/nvml.csv", "launches/001/requests.jsonl"):
        path = script.flight.path / name
        data = path.read_bytes()
        path.write_bytes(data[: max(len(data) - cut, 60)])
    (script.flight.path / "launches/001/responses.jsonl").unlink()
    (script.flight.path / "launches/001/driver.json").write_bytes(b'{"stages":')
    (run,) = seal.recover(store)
    assert jsonio.read(run / "manifest.json")["status"] == "aborted"
    events.decode((run / events.FILE).read_bytes())
    assert (run / "samples/nvml.csv").read_bytes().endswith(b"\n")
    assert not (run / "launches/001/driver.json").exists()
    codes = {c.code for c in verify(run).failures}
    assert codes <= {"REQUEST_MISSING", "REQUEST_COUNTS"}


def test_recover_never_says_complete(store: Store) -> None:
    """Not even when the journal had reached its end."""
    script = crashed(store)
    golden.finish(script, 1, "complete", "")
    (run,) = seal.recover(store)
    assert jsonio.read(run / "manifest.json")["status"] == "aborted"
    assert verify(run).passed


def test_recover_keeps_what_the_driver_had_spooled(store: Store) -> None:
    script = crashed(store)
    launch = script.flight.path / "launches" / "001"
    for name in ("requests.jsonl", "responses.jsonl"):
        (launch / name).unlink()
    raw = Raw(
        index=0,
        stage="warmup",
        item=script.schedule[0].item,
        intended=1,
        sent=1,
        done=2,
        status="aborted",
        error="the run was ended",
        reads=[],
    )
    Spool(launch / SPOOL).add(raw)
    jsonio.write(script.flight.scratch("driver-001.json"), {"out": str(launch), "origin": 0})
    (run,) = seal.recover(store)
    assert b'"index":0' in (run / "launches/001/requests.jsonl").read_bytes()
    assert not (run / "launches/001" / SPOOL).exists()


def test_recover_waits_for_a_sampler_that_outlived_its_runner(store: Store) -> None:
    script = crashed(store)
    path = script.flight.path / "samples/nvml.csv"
    late = "import sys, time; f = open(sys.argv[1], 'a'); print(flush=True); time.sleep(0.5);"
    command = [sys.executable, "-c", late + "f.write('torn')", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        (run,) = seal.recover(store)
        assert process.wait() == 0
    assert verify(run).passed
    assert not (run / "samples/nvml.csv").read_bytes().endswith(b"torn")


def test_recover_leaves_a_run_that_is_still_written(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kit.store.seal.recovery._ORPHANS_S", 0.2)
    script = crashed(store)
    with (script.flight.path / "samples/nvml.csv").open("ab"), pytest.raises(RunFailed):
        seal.recover(store)
    assert len(seal.recover(store)) == 1


def test_recover_leaves_the_living_alone(store: Store) -> None:
    script = golden.begin(store.root)
    golden.records_of(script)
    assert seal.recover(store) == []
    assert script.flight.path.is_dir()


def test_recover_removes_what_never_began(store: Store) -> None:
    flight = store.begin()
    flight.release()
    assert seal.recover(store) == []
    assert store.ids() == []


def test_one_damaged_run_does_not_keep_the_others(store: Store) -> None:
    bad, good = crashed(store), crashed(store)
    (bad.flight.path / "spec.json").write_bytes(b"{")
    with pytest.raises(RunFailed, match=bad.flight.id):
        seal.recover(store)
    assert store.sealed_as(good.flight.id) is not None
    assert store.leftovers() == [bad.flight.id]


def test_a_seal_whose_ledger_entry_was_cut_off_is_noted(store: Store, run: Path) -> None:
    ledger = store.root / "ledger.jsonl"
    ledger.write_bytes(ledger.read_bytes().splitlines(keepends=True)[0])
    assert seal.recover(store) == [run]
    assert store.sealed_as(jsonio.read(run / "manifest.json")["run_id"]) == ("complete", run)
    assert not store.ledger_read().faults


def test_runs_that_came_with_a_clone_are_not_recovered(store: Store, run: Path) -> None:
    """They are noted, because the ledger lists every run, but nobody's crash left them."""
    (store.root / "ledger.jsonl").unlink()
    assert seal.recover(store) == []
    assert [(e["kind"], e["run_hash"]) for e in store.ledger()] == [("imported", run.name)]
    assert seal.recover(store) == []
    assert len(store.ledger()) == 1


def test_the_ledger_tells_recovered_from_sealed(store: Store) -> None:
    crashed(store)
    (run,) = seal.recover(store)
    last = store.ledger()[-1]
    manifest = jsonio.read(run / "manifest.json")
    assert (last["kind"], last["status"], last["run_hash"]) == ("recovered", "aborted", run.name)
    assert {k: last[k] for k in ("spec_hash", "plan_hash")} == {
        k: manifest[k] for k in ("spec_hash", "plan_hash")
    }


# --- the manifest, read strictly ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        (b'{"clock"', b'{ "clock"', "MANIFEST_NOT_CANONICAL"),
        (b'{"clock"', b'{"clock":{},"clock"', "JSON_DUPLICATE_KEY"),
        (b'"critical":[]', b'"critical":[NaN]', "JSON_NOT_FINITE"),
        (b'"critical":[]', b'"critical":[9007199254740992]', "MANIFEST_INTEGER"),
        (b'"critical":[]', b'"critical":[0.5]', "MANIFEST_FLOAT"),
        (b'"critical":[]', b'"critical":["new"]', "MANIFEST_UNSUPPORTED"),
        (b'"kit.run/1"', b'"kit.run/2"', "MANIFEST_UNSUPPORTED"),
        (b'"critical":[]', b'"critical":[' + b"[" * 40 + b"]" * 41, "JSON_TOO_DEEP"),
        (b'"reason":""', b'"reason":7', "MANIFEST_INVALID"),
        (b'"status":"complete"', b'"status":"perfect"', "MANIFEST_INVALID"),
    ],
)
def test_manifests_that_are_refused(run: Path, old: bytes, new: bytes, code: str) -> None:
    data = (run / "manifest.json").read_bytes()
    assert old in data
    with pytest.raises(ArchiveRefused) as caught:
        manifest.parse(data.replace(old, new))
    assert caught.value.code == code


def test_only_private_files_may_be_withheld(run: Path) -> None:
    parsed = manifest.parse((run / "manifest.json").read_bytes())
    hidden = [msgspec.structs.replace(f, withheld=True) for f in parsed.files]
    forged = msgspec.structs.replace(parsed, files=tuple(hidden))
    with pytest.raises(ArchiveRefused) as caught:
        manifest.parse(jsonio.canonical(msgspec.to_builtins(forged)))
    assert caught.value.code == "MANIFEST_INVALID"


@pytest.mark.parametrize(
    "parents",
    [None, 3, [], [3], [{}], [{"relation": "replay-of"}],
     [{"relation": "replay-of", "run_hash": "../../etc"}]],
)  # fmt: skip
def test_a_parent_is_a_hash_or_none(parents: object) -> None:
    assert manifest.parent({"parents": parents}, manifest.REPLAY) == ""
    assert manifest.parent(parents, manifest.REPLAY) == ""
