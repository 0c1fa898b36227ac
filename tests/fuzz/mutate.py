"""Changes of a run's files, by layer. Each is drawn from a seeded generator, so that it repeats.

A run is a dictionary of its files. What a change gives is the same with some files replaced; the
forger's part, sealing it again, comes after that.
"""

from __future__ import annotations

import contextlib
import copy
import json
import random
import re
import struct
from collections.abc import Callable
from typing import Any

import msgspec

from kit.core import jsonio
from kit.record import manifest
from kit.record.archive import MANIFEST
from kit.record.events import FILE, GENESIS

Files = dict[str, bytes]
Change = Callable[[random.Random, Files], Files]

_DEEP: Any = [[[[[[[[[[[[{}]]]]]]]]]]]]
VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        2,
        255,
        1000,
        2**31,
        2**53 - 1,
        2**53,
        -(2**63),
        10**30,
        10**400,
    ),
    *(0.0, -0.0, 0.5, 1e-9, 5e-324, 1e308, -1e308, float("inf"), float("nan")),
    *("", "x", "0", "-1", "1e999", "A" * 5000, "\x1b[2J\x1b]0;x\x07", "[bold]x[/]", "\u202e\u200b"),
    *(
        "../../etc/passwd",
        "\ud800",
        "\x00",
        "<script>x</script>",
        "=cmd()",
        "gpu0",
        "sha256:" + "0" * 64,
    ),
    *([], {}, [None], [[]], [1, "x"], {"": None}, {"a": {"b": []}}, _DEEP, [0] * 3000),
)
_CELLS = (
    *(b"", b"0", b"-1", b"1", b"999999999999999999", b"9999999999999999999", b"1" * 400, b"1.5"),
    *(b"1e9", b"nan", b"x", b" 1", b"+1", b"0x1", b"\xff", b"\x00", b'"1"', b"gpu0", b"gpu_energy"),
    *(b"-0", b"00012", b"\n", b",", b"\r"),
)
_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+"')
_ODD_NUMBER = re.compile(r"\.0\b|[0-9]e|[0-9]{16}|[NI]")
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")


def named(files: Files, *suffixes: str) -> list[str]:
    """Files by their endings, without the manifest."""
    return sorted(n for n in files if n.endswith(suffixes) and n != MANIFEST)


# --- JSON -------------------------------------------------------------------------------------


def node(rng: random.Random, files: Files) -> Files:
    """A value of a document is replaced, dropped, doubled or exchanged."""
    name = rng.choice(named(files, ".json"))
    document = json.loads(files[name])
    return files | {name: dumped(changed(rng, document))}


def line(rng: random.Random, files: Files) -> Files:
    """The same in a line of a file of lines; or lines are dropped, doubled, exchanged."""
    name = rng.choice(named(files, ".jsonl"))
    lines = files[name].splitlines()
    index = rng.randrange(len(lines))
    how = rng.random()
    if how < 0.7:
        lines[index] = dumped(changed(rng, json.loads(lines[index])))
    elif how < 0.8:
        del lines[index]
    elif how < 0.9:
        lines.insert(index, rng.choice(lines))
    else:
        rng.shuffle(lines)
    data = b"".join(line + b"\n" for line in lines)
    if name == FILE and rng.random() < 0.85:
        data = rechained(data)
    return files | {name: data}


def changed(rng: random.Random, document: Any) -> Any:
    """``document`` with one to three changes at random places."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        places = list(_places(document, ()))
        if not places:
            return copy.deepcopy(rng.choice(VALUES))
        document = _with(rng, document, rng.choice(places))
    return document


def _places(value: Any, path: tuple[Any, ...]) -> Any:
    if not isinstance(value, dict | list):
        return
    for key in value if isinstance(value, dict) else range(len(value)):
        yield (*path, key)
        yield from _places(value[key], (*path, key))


def _with(rng: random.Random, document: Any, path: tuple[Any, ...]) -> Any:
    *way, last = path
    parent = document
    for key in way:
        parent = parent[key]
    how = rng.random()
    if how < 0.55:
        parent[last] = copy.deepcopy(rng.choice(VALUES))
    elif how < 0.7:
        parent[last] = nudged(rng, parent[last])
    elif how < 0.8:
        del parent[last]
    elif how < 0.9 and isinstance(parent, dict):
        parent[rng.choice(("x", "reason", "poll_s", "t", "\x1b[1m"))] = copy.deepcopy(
            rng.choice(VALUES)
        )
    elif isinstance(parent, list):
        parent.append(parent[last])
    else:
        parent[last] = [parent[last]]
    return document


def nudged(rng: random.Random, value: Any) -> Any:
    """A number a little or far away; another text of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        factor = rng.choice((-1, 0, 0.5, 0.9, 1.000001, 2, 1e3, 1e-3, 1e12))
        with contextlib.suppress(OverflowError):
            return type(value)(value * factor) + rng.choice((-1, 0, 1))
        return 0
    if isinstance(value, str) and value:
        at = rng.randrange(len(value))
        return value[:at] + rng.choice(("", "0", "f", "\u00e9", " ")) + value[at + 1 :]
    return value


def dumped(value: Any) -> bytes:
    """The canonical form, or what comes next to it for values that have none."""
    try:
        plain = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        # Both forms are alike but for some numbers, and `json` is ten times as quick.
        odd = _ODD_NUMBER.search(_STRING.sub("", plain)) or not plain.isascii()
        return jsonio.canonical(value) if odd else plain.encode()
    except (ValueError, TypeError, RecursionError):
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def rechained(data: bytes) -> bytes:
    """A journal's lines numbered and chained again, as far as they are objects."""
    prev, out = GENESIS, b""
    for seq, text in enumerate(data.splitlines()):
        event = json.loads(text)
        line = dumped({**event, "seq": seq, "prev": prev}) if isinstance(event, dict) else text
        prev = jsonio.digest(line)
        out += line + b"\n"
    return out


# --- CSV and bytes ----------------------------------------------------------------------------


def cell(rng: random.Random, files: Files) -> Files:
    """Cells, rows or columns of samples."""
    name = rng.choice(named(files, ".csv") or named(files, ".jsonl"))
    rows = [row.split(b",") for row in files[name].splitlines()]
    for _ in range(rng.choice((1, 1, 2, 5))):
        if not rows:
            break
        index = rng.randrange(len(rows))
        how = rng.random()
        if how < 0.6 and rows[index]:
            rows[index][rng.randrange(len(rows[index]))] = rng.choice(_CELLS)
        elif how < 0.7:
            del rows[index]
        elif how < 0.8:
            rows.insert(index, list(rng.choice(rows)))
        elif how < 0.9:
            other = rng.randrange(len(rows))
            rows[index], rows[other] = rows[other], rows[index]
        else:
            column = rng.randrange(8)
            value = rng.choice(_CELLS)
            rows = [[*row[:column], value, *row[column + 1 :]] for row in rows]
    if rng.random() < 0.5:
        rows = [rows[0], *([b"%d" % n, *row[1:]] for n, row in enumerate(rows[1:]))] if rows else []
    return files | {name: b"".join(b",".join(row) + b"\n" for row in rows)}


def number(rng: random.Random, files: Files) -> Files:
    """One to three numbers anywhere in a text, whatever they are."""
    name = rng.choice(sorted(files))
    data = files[name]
    for _ in range(rng.choice((1, 2, 3))):
        matches = list(_NUMBER.finditer(data))
        if not matches:
            break
        match = rng.choice(matches)
        data = data[: match.start()] + _another(rng, match.group()) + data[match.end() :]
    if name == FILE and rng.random() < 0.85:
        data = _rechained_if_sound(data)
    return files | {name: data}


def _another(rng: random.Random, digits: bytes) -> bytes:
    if rng.random() < 0.4:
        return rng.choice(
            (b"0", b"-1", b"1e308", b"5e-324", b"9007199254740992", b"1" * 30, b"0.1")
        )
    try:
        return str(nudged(rng, json.loads(digits))).encode()
    except (ValueError, OverflowError):
        return b"7"


def _rechained_if_sound(data: bytes) -> bytes:
    try:
        return rechained(data)
    except ValueError:
        return data


def raw(rng: random.Random, files: Files) -> Files:
    """Bytes of any file: flipped, cut, doubled, put in."""
    name = rng.choice(sorted(files))
    return files | {name: scrambled(rng, files[name])}


def scrambled(rng: random.Random, data: bytes) -> bytes:
    """One to eight changes of bytes."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 8))):
        at = rng.randrange(len(changed) + 1)
        how = rng.random()
        if how < 0.4 and at < len(changed):
            changed[at] ^= 1 << rng.randrange(8)
        elif how < 0.6:
            del changed[at : at + rng.choice((1, 2, 4, 40, 4000))]
        elif how < 0.8:
            changed[at:at] = rng.choice(
                (b"\x00", b"{", b'"', b"\\", b"PK\x03\x04", bytes(64), b"\n")
            )
        elif how < 0.9:
            changed[at:at] = changed[at : at + rng.choice((4, 46, 400))]
        else:
            width, form = rng.choice(((2, "<H"), (4, "<L"), (8, "<Q")))
            value = rng.choice((0, 1, 0xFF, 0xFFFF, 0xFFFFFFFF, 2**63)) % (1 << 8 * width)
            changed[at : at + width] = struct.pack(form, value)
    return bytes(changed)


def names(rng: random.Random, files: Files) -> Files:
    """Files are dropped, exchanged, copied under another name."""
    name, other = rng.choice(sorted(files)), rng.choice(sorted(files))
    how = rng.random()
    if how < 0.35:
        return {k: v for k, v in files.items() if k != name}
    if how < 0.6:
        return files | {name: files[other]}
    if how < 0.8:
        return files | {name: b""}
    place = rng.choice(
        ("launches/001", "launches/7", "samples", "env", "inputs", "inputs/calibration")
    )
    return files | {f"{place}/{name.rpartition('/')[2]}": files[name]}


def root(rng: random.Random, files: Files) -> Files:
    """The manifest itself: its values, or its bytes."""
    data = files[MANIFEST]
    if rng.random() < 0.7:
        return files | {MANIFEST: dumped(changed(rng, json.loads(data)))}
    return files | {MANIFEST: scrambled(rng, data)}


CONTENT: dict[str, Change] = {
    "json": node,
    "lines": line,
    "csv": cell,
    "number": number,
    "bytes": raw,
    "names": names,
}


# --- sealing again ----------------------------------------------------------------------------


def registered(files: Files) -> Files:
    """Journal and plan that name spec, schedule and plan as they now are."""
    try:
        plan = json.loads(files["plan.json"])
        plan["spec_hash"] = jsonio.digest(files["spec.json"])
        plan["schedule_sha256"] = jsonio.digest(files["inputs/schedule.jsonl"])
        files = files | {"plan.json": dumped(plan)}
        first, *rest = [json.loads(line) for line in files[FILE].splitlines()]
        for kind in ("spec", "plan"):
            first["data"][f"{kind}_hash"] = jsonio.digest(files[f"{kind}.json"])
        journal = b"".join(dumped(event) + b"\n" for event in (first, *rest))
        return files | {FILE: rechained(journal)}
    except (ValueError, LookupError, TypeError, AttributeError):
        return files


def sealed(files: Files, sound: bytes) -> Files:
    """The manifest of the files as they now are: every hash fits.

    Args:
        sound: the manifest before anything was changed.
    """
    document = json.loads(sound)
    old = {entry["path"]: entry for entry in document["files"]}
    own = {"role": "other", "media_type": "text/plain", "withheld": False}
    document["files"] = [
        {
            **old.get(name, own),
            "path": name,
            "size": len(data),
            "sha256": jsonio.digest(data),
        }
        for name, data in sorted(files.items())
        if name != MANIFEST
    ]
    hashes = {entry["path"]: entry["sha256"] for entry in document["files"]}
    for key, name in (("spec", "spec"), ("plan", "plan"), ("result", "results")):
        document[f"{key}_hash"] = hashes.get(f"{name}.json", "0" * 64)
    document |= _of_plan(files.get("plan.json", b"{}"))
    data = dumped(document)
    try:
        manifest.parse(data)
    except Exception:  # what the plan holds is no image: the manifest keeps its own
        manifest_before = json.loads(sound)
        data = dumped(
            {**document, "image": manifest_before["image"], "model": manifest_before["model"]}
        )
    return files | {MANIFEST: data}


def _of_plan(data: bytes) -> dict[str, Any]:
    try:
        plan = msgspec.json.decode(data)
        return {"image": plan["image"], "model": plan["model"]}
    except (ValueError, LookupError, TypeError):  # no JSON, or not UTF-8
        return {}
