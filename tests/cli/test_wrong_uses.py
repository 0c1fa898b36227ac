"""Wrong uses of the command line: each is told what is wrong, where, and what to do instead.

A row is one kind of mistake: the words, the exit code, and what the answer must hold. Every answer,
whatever the mistake, keeps the rules of `answer`.
"""

from __future__ import annotations

import ast
import io
import json
import re
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import kit
from kit.cli.main import dispatch
from kit.core import resources
from kit.machine import containers
from kit.machine.host.config import VARIABLE
from kit.run.session import Session
from tests import golden

QUICKSTART = json.loads((resources.specs_dir() / "quickstart.json").read_text())
_PLACE = r"[^ ]+\.json:\d+:\d+"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("wrong") / "runs"
    golden.build(root)
    golden.build(root)
    return root


@pytest.fixture
def here(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a store, odd files beside it, and no way to a container or a run."""

    def never(*_: Any, **__: Any) -> Any:
        pytest.fail("a wrong use started something")

    monkeypatch.setattr(Session, "start", never)
    monkeypatch.setattr(containers, "connect", never)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "host.toml"))
    monkeypatch.setattr("sys.stdin", io.StringIO())
    Path("host.toml").write_text("")
    Path("runs").symlink_to(runs)
    Path("folder").mkdir()
    Path("x.zip").write_bytes(b"no zip")
    Path("rec.csv").write_text("Time,Foo\n1,2\n")
    Path("good.json").write_text(json.dumps(QUICKSTART, indent=2))
    for name, text in BROKEN.items():
        Path(name).write_text(text)
    for name, change in SPECS.items():
        Path(name).write_text(json.dumps({**QUICKSTART, **change}, indent=2))
    return tmp_path


BROKEN = {
    "comma.json": '{\n  "launches": 3,,\n}',
    "trailing.json": '{\n  "launches": 3,\n}',
    "comment.json": '{\n  // mine\n  "launches": 3\n}',
    "twice.json": '{\n  "launches": 3,\n  "launches": 4\n}',
    "nan.json": '{\n  "launches": NaN\n}',
    "empty.json": "",
    "cut.json": '{"name": "quick',
    "list.json": "[]",
    "profile.json": '{"name": }',
}
SPECS: dict[str, dict[str, Any]] = {
    "type.json": {"launches": "three"},
    "types.json": {"launches": 2.5, "phases": {"idle_s": "long"}},
    "range.json": {"launches": 0},
    "near.json": {"arrivals": {"kind": "closed", "concurency": 3}},
    "lacks.json": {"arrivals": {"concurrency": 3}},
    "choice.json": {"determinism": "exakt"},
    "form.json": {"name": "My Run"},
    "object.json": {"runtime": "llama-server"},
    "runtime.json": {"runtime": {"name": "lama-server"}},
    "option.json": {"runtime": {"name": "llama-server", "options": {"contxt": 512}}},
    "meter.json": {"meters": [{"name": "nvlm"}]},
}
LONG = "/".join(f"a-folder-with-a-long-name-{n:02d}" for n in range(9))

Row = tuple[str, int, str]
# The words; the exit code; what the answer must hold, parts of it in order and apart by " … ".
ROWS: list[Row] = [
    # --- the words of a command line -----------------------------------------------------------
    ("shw", 2, "`kit` has no command 'shw' … did you mean `kit show`? … compare"),
    ("frobnicate", 2, "no command 'frobnicate' … use one of: init, … import"),
    ("--frobnicate", 2, "`kit` has no option '--frobnicate'"),
    ("images bild", 2, "`kit images` has no command 'bild' … `kit images build`"),
    ("show", 2, "`kit show` needs RUN … write `kit show RUN`"),
    ("check", 2, "`kit check` needs SPEC … write `kit check SPEC`"),
    ("run", 2, "`kit run` needs SPEC"),
    ("compare", 2, "`kit compare` needs ORIGINAL"),
    ("weights add", 2, "`kit weights add` needs SPEC"),
    ("pdu calibrate", 2, "`kit pdu calibrate` needs ALIAS"),
    ("import energibridge", 2, "`kit import energibridge` needs FILE"),
    ("show @run extra", 2, "`kit show` has no use for 'extra' … `kit show --help`"),
    ("show @run --jsn", 2, "`kit show` has no option --jsn … did you mean --json?"),
    ("show @run --runs", 2, "--runs of `kit show` needs a value … --runs PATH"),
    ("show @run --json --json", 2, "--json is given twice … give it once"),
    ("show @run --json=maybe", 2, "--json of `kit show` takes no value … write --json alone"),
    ("ls --sort size", 2, "--sort of `kit ls` cannot be 'size' … use one of: started, name"),
    ("report @run --format htm", 2, "--format of `kit report` cannot be 'htm' … html?"),
    ("run good.json --wait-s soon", 2, "--wait-s of `kit run` needs a number … 'soon'"),
    ("run good.json --wait-s -1", 2, "--wait-s of `kit run` cannot be '-1' … 0 or more"),
    ("run good.json --wait-s nan", 2, "--wait-s of `kit run` cannot be 'nan'"),
    ("run good.json --concurrency a,b", 2, "'a,b' is no list of concurrency levels … 1,4,16"),
    ("run good.json --concurrency 0", 2, "1…4096"),
    ("run good.json --detach --no-wait --concurrency 1,2", 2, "--no-wait forbids … leave out"),
    ("monitor --prometheus abc", 2, "--prometheus of `kit monitor` needs a whole number"),
    ("monitor --prometheus 99", 2, "--prometheus 99 is no port … 1024"),
    ("monitor --period-s 0", 2, "--period-s 0 is too short … give 0.1"),
    ("check EMPTY", 2, "SPEC of `kit check` is empty"),
    ("ls --runs EMPTY", 2, "--runs of `kit ls` is empty"),
    ("report @run --out EMPTY", 2, "--out of `kit report` is empty"),
    ("report @run --out --force", 2, "--out of `kit report` needs a value … --out PATH"),
    ("export @run --forc", 2, "`kit export` has no option --forc"),
    ("check -", 2, "`kit check` reads no standard input … save it to a file"),
    ("verify -", 2, "`kit verify` reads no standard input"),
    ("import -", 2, "`kit import` reads no standard input"),
    # --- runs and stores -----------------------------------------------------------------------
    ("show zz", 2, "no sealed run begins with 'zz' in @here/runs … `kit ls`"),
    ("show EMPTY", 2, "the run's name is empty … `kit ls`"),
    ("show no/such", 2, "there is nothing at no/such … .kit.zip"),
    ("show folder", 2, "the folder 'folder' here holds no manifest.json"),
    ("show ./folder/", 2, "the folder folder is no run: it holds no manifest.json"),
    ("show zz --runs folder", 2, "there is no sealed run in @here/folder … `kit run SPEC`"),
    ("show @run --runs none", 2, "there is no folder none … --runs"),
    ("ls --runs good.json", 2, "the store @here/good.json is not a folder"),
    ("show good.json", 4, "good.json is no run: … a JSON document … .kit.zip"),
    ("compare @run x.zip", 4, "x.zip is no run: … name a run's folder"),
    ("import x.zip", 4, "x.zip: the archive is refused: … `kit export`"),
    ("import folder", 4, "folder: the archive is refused: … 'manifest.json'"),
    ("import none.zip", 2, "there is no run at none.zip"),
    ("attach", 2, "no run is in progress in @here/runs … `kit ls`"),
    ("attach zz", 2, "no run is in progress in @here/runs"),
    ("attach @run", 2, "run @run is over … `kit show @short`"),
    ("compare @run", 2, "compare takes 2 to 26 runs … the original first"),
    ("compare @run @other --by foo", 2, "the field 'foo' … arrivals.concurrency"),
    ("compare @run @other --out x.csv", 2, "a table … --format csv"),
    ("verify", 2, "name one run, or --store"),
    ("note @run/x text", 2, "is a path … the beginning of its hash"),
    ("tag @run a_b!", 2, "'a_b!' is no tag … up to 40 letters"),
    ("rm @run", 2, "nothing was done: … add --yes"),
    # --- specs ---------------------------------------------------------------------------------
    ("check none.json", 2, "cannot read the spec none.json: No such file … `kit init`"),
    ("plan folder", 2, "cannot read the spec folder: Is a directory"),
    ("check comma.json", 2, "comma.json:2:17 is not JSON: … remove this comma"),
    ("run trailing.json", 2, "trailing.json:3:1 is not JSON: … remove the comma before this }"),
    ("plan comment.json", 2, "comment.json:2:3 is not JSON: … remove the comment"),
    ("check twice.json", 2, "twice.json:3:3 names one key twice … remove one"),
    ("check nan.json", 2, "nan.json:2:15 holds NaN … write a number"),
    ("check empty.json", 2, "empty.json:1:1 is not JSON: it is empty"),
    ("weights ls cut.json", 2, "cut.json:1:10 is not JSON: … no closing quote … close it"),
    ("check comma.json --json", 2, "comma.json:2:17"),
    ("check list.json", 2, "list.json:1:1 … a list stands where an object belongs"),
    ("check type.json", 2, '"three" stands where a whole number … at least 1, … such as 3'),
    ("run types.json", 2, "has 2 problems … 2.5 stands where a whole number … idle_s"),
    ("weights add range.json", 2, "0 is less than 1 … a whole number, at least 1"),
    ("check near.json", 2, 'unknown key "concurency" … did you mean "concurrency"?'),
    ("check lacks.json", 2, 'the key "kind" is missing … add "kind": "closed" or "constant"'),
    ("check choice.json", 2, '"exakt" is not one … did you mean exact?'),
    ("check form.json", 2, '"My Run" does not have the right form … write it like quickstart'),
    ("check object.json", 2, '"llama-server" stands where an object … {"name": …}'),
    ("check runtime.json", 2, "no runtime 'lama-server' … did you mean llama-server?"),
    ("check option.json", 2, 'unknown key "contxt" … did you mean "context"?'),
    ("check meter.json", 2, "no meter 'nvlm' … did you mean nvml?"),
    # --- what is written -----------------------------------------------------------------------
    ("init good.json", 2, "good.json exists … --force"),
    ("init folder --force", 2, "folder is a folder … folder/run-spec.json"),
    ("init no/such.json", 2, "cannot write no/such.json: there is no folder @here/no … make the"),
    ("init y.json --template quikstart", 2, "no template 'quikstart' … did you mean quickstart?"),
    ("init y.json --model none.gguf", 2, "there is no model at none.gguf"),
    ("report @run --out no/x.html", 2, "cannot write no/x.html: there is no folder @here/no"),
    ("report @run --out folder", 2, "cannot write folder: it is a folder"),
    ("report @run --figures good.json", 2, "cannot write into good.json: it is no folder"),
    ("report @run --figures -", 2, "--figures names a folder … each figure"),
    ("report @run --figures f --out x", 2, "--figures writes figures alone … leave"),
    ("report @run --force", 2, "--force overwrites figures … --figures"),
    ("report @run --format csv --against @run", 2, "CSV holds no verdicts"),
    ("export @run no/x.kit.zip", 2, "cannot write no/x.kit.zip: there is no folder @here/no"),
    ("export @run /dev/full", 2, "/dev/full is there and is no file"),
    ("images context llama-server -", 2, "FOLDER names a folder … does not exist yet"),
    ("import energibridge rec.csv --out -", 2, "--out names a folder … --json"),
    ("schema plans", 2, "there is no schema 'plans' … did you mean plan?"),
    ("schema runtime:lama", 2, "no schema 'runtime:lama' … runtime:llama-server"),
    ("schema plan --out no/x.json", 2, "cannot write no/x.json"),
    # --- other files, and this machine ---------------------------------------------------------
    ("import energibridge rec.csv", 2, "rec.csv has no line with EnergiBridge's titles"),
    ("import energibridge folder", 2, "cannot read folder: Is a directory"),
    ("images build lama-server", 3, "no image recipe called 'lama-server' … llama-server?"),
    ("weights add none.gguf", 2, "there is no model at none.gguf"),
    ("pdu probe", 2, "`kit pdu probe` needs HOST … --alias"),
    ("pdu probe --alias x", 2, "@here/host.toml has no section [pdu.x] … `kit pdu probe HOST"),
    ("pdu calibrate x", 2, "@here/host.toml has no section [pdu.x]"),
    ("pdu probe 127.0.0.1 --port 99999", 2, "--port must lie in 1…65535"),
    ("pdu probe 127.0.0.1 --timeout-s 0", 2, "--timeout-s must lie in"),
    ("pdu probe 127.0.0.1 --profile foo", 3, "no PDU profile 'foo' … leave --profile out"),
    ("pdu probe 127.0.0.1 --profile profile.json", 3, "profile.json is not JSON … (line 1, column"),
    ("tui", 2, "the UI needs a terminal … `kit --help`"),
]  # fmt: skip


def call(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    capsys.readouterr()
    code = dispatch(words)
    return (code, *capsys.readouterr())


def filled(text: str, runs: Path) -> str:
    first, second = sorted(path.name for path in runs.iterdir() if len(path.name) == 64)
    names = {"@short": first[:12], "@run": first, "@other": second, "@here": str(Path.cwd())}
    return re.sub(r"@[a-z]+", lambda word: names[word[0]], text)


def answer(line: str, err: str) -> None:
    """What holds of every answer: one error, its remedy, and no sign of the program's insides."""
    assert err.count("error:") == 1 and err.startswith("error:"), err
    assert "fix:" in err, "no remedy"
    assert not re.search(r"Traceback|File \"|<class|object at 0x|╭|NoneType", err), err
    assert not re.search(r"[\w./-]/[^\s]*…|…[\w]*/", err), f"a path is cut: {err}"
    fixes = [text.partition("fix:")[2].strip() for text in err.splitlines() if "fix:" in text]
    for fix in fixes:
        assert fix and f"`kit {line}`" != fix and not fix.startswith("--help"), fix
    problems = [text for text in err.splitlines() if re.match(r"^\S+ at ", text)]
    assert all(re.search(_PLACE, text) for text in problems), err


@pytest.mark.parametrize(("line", "code", "holds"), ROWS, ids=[row[0] for row in ROWS])
def test_a_wrong_use_says_what_where_and_what_to_do(
    here: Path, runs: Path, capsys: pytest.CaptureFixture[str], line: str, code: int, holds: str
) -> None:
    before = sorted(here.iterdir())
    words = [filled(word.replace("EMPTY", ""), runs) for word in line.split(" ")]
    got, out, err = call(words, capsys)
    assert (got, out) == (code, ""), err
    answer(" ".join(words), err)
    parts = [re.escape(part) for part in filled(holds, runs).split(" … ")]
    assert re.search(".*".join(parts), err, re.DOTALL), err
    assert sorted(here.iterdir()) == before, "something was written"


@pytest.mark.parametrize("length", [1, 12, 63])
def test_an_ambiguous_prefix_lists_the_runs_and_a_name_that_works(
    here: Path, capsys: pytest.CaptureFixture[str], length: int
) -> None:
    store, common = here / "twins", "ab" * 32
    names = [common[:length] + digit * (64 - length) for digit in "cd"]
    for name in names:
        (store / name).mkdir(parents=True)
        (store / name / "manifest.json").write_text("{}")
    asked = common[:length]
    code, _, err = call(["show", asked, "--runs", str(store)], capsys)
    assert code == 2 and f"2 runs of {store} begin with {asked!r}: " in err
    answer("show", err)
    shown = err.splitlines()[0].partition("': ")[2].split(", ")
    assert [name.startswith(part) for name, part in zip(names, shown, strict=True)] == [True, True]
    meant = err.strip().rpartition(" ")[2]
    assert sum(name.startswith(meant) for name in names) == 1


@pytest.mark.parametrize(
    "line",
    [
        "check LONG/s.json", "plan LONG/s.json", "run LONG/s.json", "weights ls LONG/s.json",
        "show LONG/x", "verify LONG/x.kit.zip", "replay LONG/x", "recompute LONG/x",
        "export LONG/x", "export @run LONG/x", "import LONG/x.zip", "init LONG/x.json",
        "report @run --out LONG/x", "ls --runs LONG/x", "import energibridge LONG/x.csv",
        "weights add LONG/x.gguf", "schema plan --out LONG/x", "report @run --against LONG/x",
    ],
)  # fmt: skip
def test_a_long_path_is_given_whole(
    here: Path, runs: Path, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    words = [filled(word, runs).replace("LONG", LONG) for word in line.split()]
    code, _, err = call(words, capsys)
    [path] = [word for word in words if LONG in word]
    assert code == 2 and path in err
    answer(" ".join(words), err)


HOSTS = [
    ("[weights\n", ":1:9 is not TOML"),
    ('[weights]\nfolder = ["a"]\n', ":2:1 [weights] has no key `folder`: use folders"),
    ('# mine\n[weight]\nfolders = ["a"]\n', ":2:1 [weight] is no section … did you mean weights?"),
    ('[store]\n\nruns = 3\n', ":3:1 [store] `runs` holds a whole number where a text belongs"),
    ("[estimate]\nidle_w = 35\n", ":1:1 [estimate] needs the key `max_w`, such as max_w = 120"),
    ("[pdu]\nhost = 'x'\n", ":1:1 [pdu] … as [pdu.rack1]"),
    ("[pdu.a]\nhost='x'\nprofile='p'\ncommunity='c'\nport=0\n", ":5:1 [pdu.a] `port` must lie"),
    ('[weights]\nfolders = "a"\n[store]\nruns = 3\n', ":2:1 … host.toml:4:1"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "holds"), HOSTS, ids=[holds for _, holds in HOSTS])
@pytest.mark.parametrize("line", ["ls", "show zz"])
def test_a_bad_host_toml_is_said_with_its_path_and_the_line(
    here: Path, capsys: pytest.CaptureFixture[str], text: str, holds: str, line: str
) -> None:
    (here / "host.toml").write_text(text)
    code, _, err = call(line.split(), capsys)
    assert code == 2
    answer(line, err)
    parts = [re.escape(part) for part in f"{here}/host.toml{holds}".split(" … ")]
    assert re.search(".*".join(parts), err), err


# --- standard output ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "name", "begins"),
    [
        ("report @run --format text --out NAME", "x.txt", b"golden: complete"),
        ("report @run --out NAME", "x.html", b"<!doctype html>"),
        ("export @run --out NAME", "x.kit.zip", b"PK"),
        ("export @run NAME", "x.kit.zip", b"PK"),
        ("compare @run @other --format csv --out NAME", "x.csv", b"metric,"),
        ("compare @run @other --json --out NAME", "x.json", b"{"),
        ("schema plan --out NAME", "x.json", b"{"),
        ("init NAME", "x.json", b"{"),
    ],
)
def test_a_dash_is_standard_output_with_the_bytes_of_the_file(
    here: Path,
    runs: Path,
    capsysbinary: pytest.CaptureFixture[bytes],
    line: str,
    name: str,
    begins: bytes,
) -> None:
    words = filled(line, runs).split()
    assert dispatch([name if word == "NAME" else word for word in words]) == 0
    before = sorted(here.iterdir())
    capsysbinary.readouterr()
    assert dispatch(["-" if word == "NAME" else word for word in words]) == 0
    written = capsysbinary.readouterr().out
    assert (
        written[: len(begins)].lower() == begins.lower() and written == (here / name).read_bytes()
    )
    assert sorted(here.iterdir()) == before
    if begins == b"PK":
        assert zipfile.ZipFile(io.BytesIO(written)).testzip() is None


# --- every error of kit -------------------------------------------------------------------------

# Classes that make their message and remedy themselves, and where theirs is among the arguments.
_OWN = {"PreflightFailed", "SpecInvalid", "JsonRefused", "ArchiveRefused"}


@cache
def modules() -> tuple[tuple[Path, ast.Module], ...]:
    paths = sorted(Path(kit.__file__).parent.rglob("*.py"))
    return tuple((path, ast.parse(path.read_text())) for path in paths)


@cache
def errors() -> frozenset[str]:
    """Names of `KitError` and of everything below it."""
    bases = {
        node.name: {getattr(base, "id", getattr(base, "attr", "")) for base in node.bases}
        for _, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    found = {"KitError"}
    while more := {name for name, above in bases.items() if above & found} - found:
        found |= more
    return frozenset(found)


@cache
def raised() -> tuple[tuple[str, str, ast.Call], ...]:
    """Every place where an error of kit is made, with its class."""
    return tuple(
        (f"{path}:{node.lineno}", name, node)
        for path, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and (name := getattr(node.func, "id", getattr(node.func, "attr", ""))) in errors()
    )


def test_every_error_that_kit_raises_has_a_remedy() -> None:
    without = []
    for where, name, node in raised():
        remedy = next((k.value for k in node.keywords if k.arg == "remedy"), None)
        remedy = remedy or (node.args[1] if len(node.args) > 1 else None)
        is_empty = remedy is None or (isinstance(remedy, ast.Constant) and not remedy.value)
        if name not in _OWN and is_empty and not any(isinstance(a, ast.Starred) for a in node.args):
            without.append(where)
    assert not without


def test_no_remedy_sends_to_a_bare_option_or_an_unnamed_help() -> None:
    texts = [
        (where, text.value)
        for where, _, node in raised()
        for argument in node.args[1:]
        for text in ast.walk(argument)
        if isinstance(text, ast.Constant) and isinstance(text.value, str)
    ]
    poor = re.compile(r"^(see )?--?help\b|^see --\w+$|^fix |^add it$|^remove it$|\bsays where$")
    assert not [one for one in texts if poor.search(one[1])]


def test_no_word_of_the_house_is_in_a_message() -> None:
    """Words that only who wrote kit understands; `split` is a key of results.json."""
    words = re.compile(r"`split`|thesis|\bexit 0\b|\bexits 0\b|stdout\b(?!\.)|in flight")
    texts = [
        (where, text.value)
        for where, _, node in raised()
        for text in ast.walk(node)
        if isinstance(text, ast.Constant) and isinstance(text.value, str)
    ]
    assert not [one for one in texts if words.search(one[1])]


def test_every_argument_has_its_name_in_the_usage(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("init", "schema", "attach", "tui", "compare", "verify", "note", "tag", "export",
                    "pdu probe", "weights ls", "check", "run", "images build"):  # fmt: skip
        _, out, _ = call([*command.split(), "--help"], capsys)
        usage = out.splitlines()[0]
        assert usage.startswith(f"Usage: kit {command} ") and "ARGS" not in usage, usage
