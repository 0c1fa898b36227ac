"""Check a spec's model files: do names, sources and hashes belong together?

The hash alone decides which bytes run. If a name or source was edited and the old hash remained,
other bytes would run under the new name. So the hash is compared with what this machine knows of
the name: a file of that name, the hub's cache, shipped specs, earlier fetches. No network is used.

Codes::

    WEIGHTS_SOURCE    fail  the source has none of the three forms
    WEIGHTS_MISMATCH  fail  what the name or source gives here has another hash than the spec says;
                            or the hash is known here as a file of another name
    WEIGHTS_SHARDS    fail  the index of a model in several files does not fit the spec's files
    WEIGHTS_NAME      warn  one file, two names; or nothing here shows that the source gives it
    WEIGHTS_REVISION  warn  repo or revision of the spec, and the source, name different models; or
                            the revision is a branch, and the source a commit
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from kit.core.errors import UsageError, WeightsUnavailable
from kit.core.model import Derivation, Finding, Level, Problem, WeightFile, WeightsSpec
from kit.machine.weights import gguf, hub, origins, shards
from kit.machine.weights.files import find, is_file, known_hash, names_of, store_dir
from kit.machine.weights.source import WeightSource, parse

_SHORT = 7  # digits of a commit: what git itself shows at least


class Doubt(NamedTuple):
    """One doubt: ``where`` is its JSON path in the spec."""

    where: str
    level: Level
    code: str
    message: str
    remedy: str

    @property
    def finding(self) -> Finding:
        """A doubt as preflight's finding. It is sealed, so that it has no path of this host."""
        return Finding(code=self.code, level=self.level, message=self.message, remedy=self.remedy)

    @property
    def problem(self) -> Problem:
        """A doubt as a problem, for the form and `kit check`."""
        return Problem(self.where, self.message, self.remedy)


class _Place(NamedTuple):
    """A file of a source on this machine: its place, its hash, how to check it by hand."""

    words: str
    sha256: str
    look: str


def problems(wanted: WeightsSpec) -> Iterator[Problem]:
    """Problems that no schema can express: files of one name, mounted over each other; a name that
    is a file and a folder; a part that is missing."""
    names = [file.path for file in wanted.files]
    folders = {str(folder) for name in names for folder in PurePosixPath(name).parents}
    for index, name in enumerate(names):
        if name in folders:
            where = f"$.weights.files[{index}].path"
            yield Problem(where, f"{name} is a file, and the folder of another", "rename one")
        if name in names[:index]:
            where = f"$.weights.files[{index}].path"
            yield Problem(where, f"two files are called {name}", "give each file its own name")
    if part := shards.lacking(names):
        message = f"{part}, a part of the model, is not among its files"
        yield Problem("$.weights.files", message, "name every part")


def doubts(
    wanted: WeightsSpec, folders: Iterable[Path] = (), *, remember: bool = True
) -> list[Doubt]:
    """All doubts, worst first; hashes local files that are not in the cache.

    Args:
        remember: whether computed hashes may be written into the cache.
    """
    folders = tuple(folders)
    results: list[Doubt] = []
    sources: set[WeightSource] = set()
    for index, file in enumerate(wanted.files):
        where = f"$.weights.files[{index}]"
        try:
            source = parse(file.source, file.path)
        except WeightsUnavailable as error:
            where = f"{where}.source"
            results.append(Doubt(where, "fail", "WEIGHTS_SOURCE", error.message, error.remedy))
            continue
        sources.add(source._replace(name=""))
        if not wanted.derived:
            results += _of_file(where, file, source, folders, remember)
        results += _self_named(where, file, wanted.repo, folders, remember)
    results += _of_index(wanted, folders, remember)
    results += _of_derived(wanted, folders, remember) if wanted.derived else ()
    results += _of_model(wanted, sources)
    return sorted(results, key=lambda doubt: doubt.level != "fail")


# --- the spec alone -------------------------------------------------------------------------------


def _of_model(wanted: WeightsSpec, sources: set[WeightSource]) -> Iterator[Doubt]:
    """Compare repository and revision with the sources (without files); each pair once."""
    for source in sorted(sources):
        if source.kind == "hf" and source.origin != wanted.repo:
            message = f"the spec calls the model {wanted.repo}, and takes files of {source.origin}"
            yield _doubt("repo", message, "write the repository that the files come from")
        revision = source.revision if source.kind == "hf" else f"{source.origin}=={source.revision}"
        if branch := _branch(wanted, source):
            yield _doubt("revision", branch, f"write {source.revision}")
        elif source.kind != "file" and _differs(source, wanted.revision, revision):
            message = f"the spec gives revision {wanted.revision}, and takes files of {revision}"
            yield _doubt("revision", message, "write the revision that the files come from")


def branches(wanted: WeightsSpec) -> list[str]:
    """What is to be said of a revision that may move, where all files are pinned by hash."""
    sources = sorted({parse(file.source)._replace(name="") for file in wanted.files})
    return [said for source in sources if (said := _branch(wanted, source))]


def _branch(wanted: WeightsSpec, source: WeightSource) -> str:
    """That the spec's revision is none that stays, and the source's is; else empty."""
    stays = hub.is_commit(wanted.revision) or "==" in wanted.revision
    if source.kind != "hf" or stays or not hub.is_commit(source.revision):
        return ""
    moves = "a branch or a tag, which may move"
    if len(wanted.revision) >= _SHORT and source.revision.startswith(wanted.revision):
        moves = "a commit in short, which may come to mean several"
    return (
        f"revision {wanted.revision} is {moves}: the hashes pin the files, those of "
        f"{source.revision}"
    )


def _differs(source: WeightSource, revision: str, of_source: str) -> bool:
    """Whether two revisions contradict; a wheel's version and the commit of its files do not."""
    return revision != of_source and (source.kind == "hf" or "==" in revision)


def _doubt(key: str, message: str, remedy: str) -> Doubt:
    return Doubt(f"$.weights.{key}", "warn", "WEIGHTS_REVISION", message, remedy)


def _of_derived(wanted: WeightsSpec, folders: tuple[Path, ...], remember: bool) -> Iterator[Doubt]:
    """Compare derived files with what their derivation gave here, and check what they were made of.

    Nobody can see in a file what it was made of: a derivation counts if it was done here.
    """
    assert isinstance(wanted.derived, Derivation), "only derived files come here"
    given = origins.of_derivation(wanted.derived)
    for index, file in enumerate(wanted.files):
        if file.path in given and given[file.path] != file.sha256:
            place = _Place(f"{file.path}, as it was derived here,", given[file.path], "`sha256sum`")
            yield _mismatch(f"$.weights.files[{index}]", file, place)
    if any(file.path not in given for file in wanted.files):
        message = f"nothing here shows that these files are {wanted.derived.form} made from "
        message += ", ".join(file.path for file in wanted.derived.files)
        remedy = "`kit weights add SPEC --again` derives them here and compares"
        yield Doubt("$.weights.derived", "warn", "WEIGHTS_NAME", message, remedy)
    for index, file in enumerate(wanted.derived.files):
        where = f"$.weights.derived.files[{index}]"
        try:
            source = parse(file.source, file.path)
        except WeightsUnavailable as error:
            yield Doubt(f"{where}.source", "fail", "WEIGHTS_SOURCE", error.message, error.remedy)
            continue
        yield from _of_file(where, file, source, folders, remember)


def _of_index(wanted: WeightsSpec, folders: tuple[Path, ...], remember: bool) -> Iterator[Doubt]:
    """Compare a model in several files with its index, where that is here."""
    index = next((file for file in wanted.files if file.path == shards.INDEX), None)
    path = index and find(index.sha256, folders, *names_of(index), remember=remember)
    if not path:
        return
    try:
        shards.belonging((f.path for f in wanted.files), shards.index_at(path), "the spec")
    except UsageError as error:
        yield Doubt("$.weights.files", "fail", "WEIGHTS_SHARDS", error.message, error.remedy)


# --- one file -------------------------------------------------------------------------------------


def _of_file(
    where: str, file: WeightFile, source: WeightSource, folders: tuple[Path, ...], remember: bool
) -> Iterator[Doubt]:
    places = list(_places(file, source, folders, remember))
    if not any(place.sha256 == file.sha256 for place in places):
        if places:
            yield _mismatch(where, file, places[0])
            return
        yield from _unproven(where, file, source, folders, remember)
    elif source.kind == "file":
        yield from _renamed(where, file, source)
    if source.name != file.path and source.file != file.path.rpartition("/")[2]:
        message = f"the spec calls a file {file.path}, and takes it from {source.file}"
        yield Doubt(f"{where}.path", "warn", "WEIGHTS_NAME", message, "give both one name")
    yield from _namesakes(where, file, source, folders, remember)


def _places(
    file: WeightFile, source: WeightSource, folders: tuple[Path, ...], remember: bool
) -> Iterator[_Place]:
    """Known files of the file's source on this machine."""
    if noted := _noted(file, source):
        yield _Place(f"{file.source}, by {noted.by},", noted.sha256, "see `kit weights ls`")
    paths = [folder / source.name for folder in folders] if source.kind == "file" else []
    if cached := hub.cached_file(source):
        paths.append(cached)
    for path in paths:
        if is_file(path) and (sha256 := _hash(path, remember)):
            empty = "" if path.stat().st_size else " is empty and"
            where = "in the hub's cache" if source.kind == "hf" else "in a weights folder"
            yield _Place(f"{source.file} {where}{empty}", sha256, f"`sha256sum {path}`")


def _noted(file: WeightFile, source: WeightSource) -> origins.Origin | None:
    """The known hash of the source; a branch may have given these bytes only in the past."""
    own = (k for k in origins.of_hash(file.sha256) if k.source == file.source)
    note = next(own, None) or origins.of_source(file.source)
    moves = source.kind == "hf" and not hub.is_commit(source.revision)
    return None if note and moves and note.sha256 != file.sha256 else note


def _hash(path: Path, remember: bool) -> str:
    """A file's hash; the hub's cache names a large file by it, so that it need not be read."""
    name = path.resolve().name
    return name if hub.is_sha256(name) else known_hash(path, remember=remember)


def _mismatch(where: str, file: WeightFile, place: _Place) -> Doubt:
    message = f"{place.words} has sha256 {place.sha256[:12]}…, and the spec says "
    message += f"{file.sha256[:12]}…: other bytes would run under the name {file.path}"
    remedy = f"correct name, source or sha256 of the file; compare: {place.look}"
    return Doubt(f"{where}.sha256", "fail", "WEIGHTS_MISMATCH", message, remedy)


def _unproven(
    where: str, file: WeightFile, source: WeightSource, folders: tuple[Path, ...], remember: bool
) -> Iterator[Doubt]:
    """Doubt: the bytes are here, but nothing on this machine shows that the source gives them."""
    path = find(file.sha256, folders, *names_of(file), remember=remember)
    sources = origins.of_hash(file.sha256)
    if not sources and (path is None or path.parent != store_dir()):
        return  # not here, or a file that the person gave this same name
    message = f"nothing here shows that {file.source} gives the bytes with sha256 "
    message += f"{file.sha256[:12]}…"
    if sources:
        message += f", which are known as {sources[0].source}"
    remedy = "correct source or sha256, or " + (
        "put the file of that name into a weights folder"
        if source.kind == "file"
        else "let `kit weights add SPEC --again` fetch the source and compare"
    )
    # Known, but never by this name: most likely only the name was edited.
    if sources and source.file not in {parse(other.source).file for other in sources}:
        yield Doubt(f"{where}.sha256", "fail", "WEIGHTS_MISMATCH", message, remedy)
    else:
        yield Doubt(f"{where}.sha256", "warn", "WEIGHTS_NAME", message, remedy)


def _self_named(
    where: str, file: WeightFile, repo: str, folders: tuple[Path, ...], remember: bool
) -> Iterator[Doubt]:
    """Doubt: the name in a GGUF file is not the one in the spec."""
    path = find(file.sha256, folders, *names_of(file), remember=remember)
    name = gguf.own_name(path) if path else ""
    if name and not gguf.fits(name, repo, file.path, file.source):
        message = f"{file.path} calls itself {name!a}, and the spec calls the model {repo}"
        remedy = "correct repo, name or sha256, or accept this if they are one model"
        yield Doubt(f"{where}.path", "warn", "WEIGHTS_NAME", message, remedy)


def _renamed(where: str, file: WeightFile, source: WeightSource) -> Iterator[Doubt]:
    """Doubt: the person's own file has the bytes of a model that is known by another name."""
    sources = origins.of_hash(file.sha256)
    names = {parse(other.source).file for other in sources}
    if names and not names & {file.path, source.name}:
        message = f"the bytes of {source.name} (sha256 {file.sha256[:12]}…) are known as "
        message += sources[0].source
        remedy = "correct the name, or accept this if the file was renamed"
        yield Doubt(f"{where}.path", "warn", "WEIGHTS_NAME", message, remedy)


def _namesakes(
    where: str, file: WeightFile, source: WeightSource, folders: tuple[Path, ...], remember: bool
) -> Iterator[Doubt]:
    """Doubt: a folder has a file of the name in the container, with other bytes."""
    if source.kind == "file" and source.name == file.path:
        return
    paths = [folder / file.path for folder in folders if is_file(folder / file.path)]
    hashes = {path: known_hash(path, remember=remember) for path in paths}
    if hashes and file.sha256 not in hashes.values():
        path, sha256 = next(iter(hashes.items()))
        message = f"{file.path} in a weights folder has sha256 {sha256[:12]}… and is not what "
        message += f"runs: the spec says {file.sha256[:12]}…"
        remedy = f"correct path or sha256 if you meant this file: `sha256sum {path}`"
        yield Doubt(f"{where}.path", "warn", "WEIGHTS_NAME", message, remedy)
