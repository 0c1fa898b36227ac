"""A sealed recipe is checked whole before anything uses it, and each hostile field is refused."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kit.core import jsonio
from kit.core.errors import ArchiveRefused, ImageUnavailable
from kit.machine import images
from kit.machine.images.configuration import configuration, image_id
from kit.machine.images.locks import base_lock, image_lock
from kit.record import archive

PROGRAM = b"print('hello')\n"
HOSTILE = {
    "an option": "--customize-hook=touch /tmp/canary",
    "a short option": "-rcanary",
    "a path": "pool/../../etc/passwd",
    "an absolute path": "/etc/passwd",
    "the parent": "..",
    "a hidden name": ".netrc",
    "an address": "http://127.0.0.1:1/x",
    "a requirement's address": "x @ file:///etc/passwd",
    "a control character": "x\x1b[2Jy",
    "a line break": "x\ny",
    "a final line break": "x\n",
    "a NUL": "x\0y",
    "a shell's words": "x;touch canary",
    "a right-to-left override": "x\u202ey",
    "huge": "a" * 100_000,
    "empty": "",
}
# An entrypoint is a container's own argument, which no program of the host sees.
IN_CONTAINER = {"an option", "a short option", "a path", "an absolute path", "the parent"}
IN_CONTAINER |= {"a hidden name"}


def base() -> dict[str, Any]:
    deb = {
        "version": "2.36-9+deb12u10",
        "architecture": "amd64",
        "source": "glibc",
        "sha256": "3" * 64,
        "size": 2_700_000,
    }
    return {
        "schema": "kit.base/2",
        "title": "a base",
        "suite": "bookworm",
        "component": "main",
        "architecture": "amd64",
        "include": ["python3"],
        "source_date_epoch": 1750000000,
        "release": {"codename": "bookworm", "version": "12.15", "date": "Sat, 11 Jul 2026"},
        "packages": {"libc6": deb},
        "diff_id": "sha256:" + "1" * 64,
    }


def recipe() -> dict[str, Any]:
    wheel = {
        "name": "xllamacpp",
        "version": "2026.10",
        "file": "xllamacpp-2026.10-cp311-cp311-manylinux_2_28_x86_64.whl",
        "sha256": "4" * 64,
        "size": 34_000_000,
    }
    source = wheel | {"file": "xllamacpp-2026.10.tar.gz"}
    return {
        "schema": "kit.image/2",
        "recipe": "hello",
        "title": "a recipe",
        "licenses": "MIT",
        "platform": "linux/amd64",
        "base": "base",
        "program": ["serve.py"],
        "entrypoint": ["/usr/bin/python3", "/opt/kit/serve.py"],
        "port": 8080,
        "compile": {
            "builder": "builder",
            "settings": ["-DGGML_NATIVE=OFF"],
            "tools": [wheel],
            "source": source,
        },
        "files": {"serve.py": jsonio.digest(PROGRAM)},
        "wheels": [wheel],
        "diff_ids": ["sha256:" + "1" * 64, "sha256:" + "2" * 64],
    }


class Sealed:
    """An archive's source, as far as `images.sealed` asks it."""

    def __init__(self, lock: Any, bases: dict[str, Any], **more: bytes) -> None:
        self.files = {"inputs/image/image.json": jsonio.canonical(lock)}
        for name, base in bases.items():
            self.files[f"inputs/image/{name}/image.json"] = jsonio.canonical(base)
        self.files |= {f"inputs/image/{name}": data for name, data in more.items()}

    def names(self) -> list[str]:
        return ["manifest.json", *sorted(self.files)]

    def read(self, name: str, limit: int) -> bytes:
        if len(self.files[name]) > limit:
            raise archive.refuse("TOO_LARGE", name)
        return self.files[name]


def identified(lock: dict[str, Any], bottom: dict[str, Any]) -> dict[str, Any]:
    """The lock with the id that its fields give, as far as they are valid."""
    try:
        first = base_lock(jsonio.canonical(bottom), "base")
        parsed = image_lock(jsonio.canonical(lock), "lock")
    except Exception:
        return lock | {"image_id": "sha256:" + "5" * 64}
    return lock | {"image_id": image_id(configuration(parsed, first, parsed.diff_ids))}


def source(lock: dict[str, Any] | None = None, bottom: dict[str, Any] | None = None) -> Any:
    lock, bottom = lock or recipe(), bottom or base()
    bases = {"base": bottom, "builder": base()}
    return Sealed(identified(lock, bottom), bases, **{"serve.py": PROGRAM})


def strings(value: Any, where: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The place of each string in a document, keys included (as ``(…, key, None)``)."""
    if isinstance(value, str):
        yield where
    pairs = value.items() if isinstance(value, dict) else ()
    if isinstance(value, list):
        pairs = enumerate(value)
    for key, inner in pairs:
        yield from strings(inner, (*where, key))
    if where in {("files",), ("packages",)}:
        yield from ((*where, key, None) for key in value)


def replaced(document: Any, where: tuple[Any, ...], new: Any) -> Any:
    changed = copy.deepcopy(document)
    inner = changed
    *way, last = where
    if last is None:
        *way, last = way
        for key in way:
            inner = inner[key]
        inner[new] = inner.pop(last)
        return changed
    for key in way:
        inner = inner[key]
    inner[last] = new
    return changed


def words(text: str) -> bool:
    """Whether a title may say it: short printable ASCII, which only people read."""
    return 0 < len(text) < 100 and text.isascii() and text.isprintable()


def code_of(source: Any) -> str:
    with pytest.raises(ArchiveRefused) as caught:
        images.sealed(source)
    assert "\x1b" not in caught.value.message and len(caught.value.message) < 500
    assert caught.value.remedy
    return caught.value.code


def test_a_sealed_recipe_is_read_whole() -> None:
    recipe = images.sealed(source())
    assert (recipe.name, recipe.files) == ("hello", {"serve.py": PROGRAM})
    assert set(recipe.bases) == {"base", "builder"}
    assert recipe.lock.wheels[0].size == 34_000_000
    assert recipe.image_id.startswith("sha256:") and len(recipe.diff_ids) == 2


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("place", list(strings(recipe())), ids=str)
def test_no_field_of_a_recipe_takes_a_hostile_value(place: tuple[Any, ...], kind: str) -> None:
    if place[0] == "entrypoint" and kind in IN_CONTAINER:
        return
    if place[0] in ("title", "licenses") and words(HOSTILE[kind]):
        return
    code = code_of(source(replaced(recipe(), place, HOSTILE[kind])))
    assert code in ("RECIPE_INVALID", "RECIPE_FILES")


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("place", list(strings(base())), ids=str)
def test_no_field_of_a_base_takes_a_hostile_value(place: tuple[Any, ...], kind: str) -> None:
    if place == ("title",) and words(HOSTILE[kind]):
        return
    assert code_of(source(bottom=replaced(base(), place, HOSTILE[kind]))) == "RECIPE_INVALID"


@pytest.mark.parametrize("size", [0, -1, 1 << 50, 1.5, "5", None, True])
def test_sizes_have_bounds(size: Any) -> None:
    places = [("wheels", 0, "size"), ("compile", "source", "size")]
    for place in places:
        assert code_of(source(replaced(recipe(), place, size))) == "RECIPE_INVALID"
    bottom = replaced(base(), ("packages", "libc6", "size"), size)
    assert code_of(source(bottom=bottom)) == "RECIPE_INVALID"


MANY = {
    "wheels": lambda r: r | {"wheels": r["wheels"] * 401},
    "files": lambda r: r | {"files": {f"f{n}.py": "0" * 64 for n in range(40)}},
    "entrypoint": lambda r: r | {"entrypoint": ["x"] * 17},
    "layers": lambda r: r | {"diff_ids": r["diff_ids"] * 3},
    "bytes": lambda r: r | {"wheels": [r["wheels"][0] | {"size": 1 << 31}] * 9},
    "an unknown field": lambda r: r | {"dockerfile": "RUN true"},
    "no platform": lambda r: {k: v for k, v in r.items() if k != "platform"},
    "a foreign platform": lambda r: r | {"platform": "windows/amd64"},
    "a newer schema": lambda r: r | {"schema": "kit.image/3"},
    "a list": lambda r: [r],
}


@pytest.mark.parametrize("change", MANY.values(), ids=MANY)
def test_counts_are_capped_and_nothing_unknown_passes(change: Callable[[Any], Any]) -> None:
    lock = change(recipe())
    archive = source(lock) if isinstance(lock, dict) else Sealed(lock, {"base": base()})
    assert code_of(archive) == "RECIPE_INVALID"


@pytest.mark.parametrize("data", [b"", b"{", b"null", b'{"a":1,"a":2}', b"[" * 99, b"\xff"])
def test_what_is_no_strict_json_is_refused(data: bytes) -> None:
    for name in ("image.json", "base/image.json"):
        archive = source()
        archive.files[f"inputs/image/{name}"] = data
        assert code_of(archive) == "RECIPE_INVALID"


def test_the_files_are_exactly_those_that_the_lock_names() -> None:
    changed, extra, absent, empty, long = source(), source(), source(), source(), source()
    changed.files["inputs/image/serve.py"] += b"#"
    extra.files["inputs/image/more.py"] = b""
    del absent.files["inputs/image/builder/image.json"]
    empty.files.clear()
    long.files["inputs/image/serve.py"] = bytes((1 << 20) + 1)
    codes = [code_of(archive) for archive in (changed, extra, absent, empty, long)]
    assert codes == ["RECIPE_FILES"] * 3 + ["RECIPE_MISSING", "TOO_LARGE"]


def test_a_program_must_be_among_the_files() -> None:
    assert code_of(source(recipe() | {"program": ["other.py"]})) == "RECIPE_FILES"


@pytest.mark.parametrize("field", ["port", "entrypoint", "licenses", "diff_ids"])
def test_a_lock_cannot_claim_the_id_of_another_image(field: str) -> None:
    """Whoever changes what the image is gets another id, by computation."""
    genuine = identified(recipe(), base())
    other = {
        "port": 81,
        "entrypoint": ["/bin/sh"],
        "licenses": "none",
        "diff_ids": ["sha256:" + "1" * 64],
    }[field]
    bases = {"base": base(), "builder": base()}
    forged = Sealed(genuine | {field: other}, bases, **{"serve.py": PROGRAM})
    assert code_of(forged) == "RECIPE_IDENTITY"


def test_the_base_is_the_first_layer() -> None:
    bottom = base() | {"diff_id": "sha256:" + "9" * 64}
    assert code_of(source(bottom=bottom)) == "RECIPE_IDENTITY"


@pytest.mark.parametrize("schema", ["kit.image/1", "kit.base/1"])
def test_a_recipe_of_an_older_kit_is_no_fault_of_the_run(schema: str) -> None:
    bases = {"base": base(), "builder": base()}
    with pytest.raises(ImageUnavailable, match="older recipe format") as caught:
        images.sealed(Sealed(recipe() | {"schema": schema}, bases, **{"serve.py": PROGRAM}))
    assert caught.value.remedy
