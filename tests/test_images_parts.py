"""Packages are read as hostile: nothing escapes, nothing is believed, and the tar is canonical."""

from __future__ import annotations

import io
import lzma
import os
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from kit.core.errors import ImageUnavailable
from kit.machine import images
from kit.machine.images import baselayer, deb, inside, tree, wheels
from kit.machine.images.tree import Tree

EPOCH = 1750000000
CONTROL = b"Package: evil\nVersion: 1\nArchitecture: all\nDescription: x\n more\n"
Make = Callable[[tarfile.TarFile], None]


@pytest.fixture
def system() -> Iterator[Tree]:
    with tempfile.TemporaryFile() as spool:
        yield Tree(spool)


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644) -> Make:
    def add(tar: tarfile.TarFile) -> None:
        info = tarfile.TarInfo(name)
        info.type, info.linkname, info.mode = kind, link, mode
        info.uid, info.uname = 1000, "me"
        info.size = 4 if kind == tarfile.REGTYPE else 0
        tar.addfile(info, io.BytesIO(b"data"))

    return add


def packed(*makes: Make) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for make in makes:
            make(tar)
    return data.getvalue()


def ar(**members: bytes) -> bytes:
    archive = b"!<arch>\n"
    for name, data in members.items():
        head = f"{name.replace('_', '.'):<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n"
        archive += head.encode()
        archive += data + b"\n" * (len(data) % 2)
    return archive


def package(folder: Path, *makes: Make, control: bytes = CONTROL) -> Path:
    path = folder / "evil.deb"
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w") as tar:
        info = tarfile.TarInfo("./control")
        info.size = len(control)
        tar.addfile(info, io.BytesIO(control))
    parts = {"debian-binary": b"2.0\n", "control_tar_xz": lzma.compress(inner.getvalue())}
    path.write_bytes(ar(**parts, data_tar_xz=lzma.compress(packed(*makes))))
    return path


def test_a_package_is_merged_under_usr_and_made_canonical(tmp_path: Path, system: Tree) -> None:
    deb = package(
        tmp_path,
        member("./", tarfile.DIRTYPE),
        member("./lib/x/", tarfile.DIRTYPE, mode=0o755),
        member("./lib/x/one", mode=0o4755),
        member("./bin/two", tarfile.LNKTYPE, "./lib/x/one"),
        member("./bin/sh", tarfile.SYMTYPE, "dash"),
        member("./usr/share/man/man1/x.1"),
        member("./usr/share/doc/evil/copyright"),
        member("./usr/share/doc/evil/changelog.gz"),
        member("./var/cache/x"),
        member("./tmp/", tarfile.DIRTYPE, mode=0o1777),
    )
    baselayer.fill(system, {"evil": deb})
    layer = tree.write(system, tmp_path / "layer.tar", EPOCH)
    with tarfile.open(layer.path) as tar:
        members = {m.name: m for m in tar}
        names = [m.name for m in tar]
        assert tar.extractfile("usr/bin/two").read() == b"data"  # type: ignore[union-attr]
        status = tar.extractfile("var/lib/dpkg/status").read()  # type: ignore[union-attr]
    assert names == sorted(names) and "." not in names
    assert {(m.uid, m.gid, m.uname, m.gname, m.mtime) for m in members.values()} == {
        (0, 0, "", "", EPOCH)
    }
    assert members["usr/lib/x/one"].islnk() and members["usr/lib/x/one"].linkname == "usr/bin/two"
    assert members["usr/bin/two"].mode == 0o755, "no set-uid bit"
    assert members["bin"].linkname == "usr/bin" and members["usr/bin/sh"].linkname == "dash"
    assert members["tmp"].mode == 0o1777
    assert "usr/share/doc/evil/copyright" in members
    assert not [n for n in names if "man" in n or "changelog" in n or n.startswith("var/cache/")]
    assert status == CONTROL.rstrip() + b"\nStatus: install ok installed\n"


def test_the_order_of_packages_and_entries_changes_nothing(tmp_path: Path) -> None:
    made = [member("./b"), member("./a/x"), member("./a/", tarfile.DIRTYPE, mode=0o755)]
    ids = set()
    for order in (made, made[::-1], made[1:] + made[:1]):
        with tempfile.TemporaryFile() as spool:
            system = Tree(spool)
            deb.add(package(tmp_path, *order), system)
            ids.add(tree.write(system, tmp_path / "layer.tar", EPOCH).diff_id)
    assert len(ids) == 1


@pytest.mark.parametrize("order", ["ab", "ba", "abc", "bca", "cab", "aabbcc"])
@pytest.mark.parametrize("empty", ["a", "b", "c", "abc", ""])
def test_a_layer_holds_every_files_own_content(
    tmp_path: Path, system: Tree, order: str, empty: str
) -> None:
    """An empty file and the one after it begin at the same place of the spool."""
    for name in order:
        system.data(name, b"" if name in empty else name.encode() * 3)
    system.same("z", order[0])
    tree.write(system, tmp_path / "layer.tar", EPOCH)
    with tarfile.open(tmp_path / "layer.tar") as tar:
        contents = {m.name: tar.extractfile(m).read() for m in tar}  # type: ignore[union-attr]
    assert contents == {name: system.read(name) for name in (*order, "z")}


UNSAFE = {
    "a name that climbs": [member("../canary")],
    "a name that climbs inside": [member("./usr/../../canary")],
    "a control character": [member("./a\x1b[2J")],
    "a line break": [member("./a\nb")],
    "a long segment": [member("./" + "a" * 300)],
    "a long name": [member("./" + "/".join(["a" * 100] * 20))],
    "a device": [member("./dev/null", tarfile.CHRTYPE)],
    "a pipe": [member("./pipe", tarfile.FIFOTYPE)],
    "a hard link outside": [member("./x", tarfile.LNKTYPE, "../canary")],
    "a hard link to nothing": [member("./x", tarfile.LNKTYPE, "./etc/passwd")],
    "a hard link to a link": [
        member("./l", tarfile.SYMTYPE, "/etc/passwd"),
        member("./x", tarfile.LNKTYPE, "./l"),
    ],
    "an empty link": [member("./l", tarfile.SYMTYPE, "")],
    "a file below a link": [member("./l", tarfile.SYMTYPE, "/etc"), member("./l/passwd")],
    "a file below a file": [member("./f"), member("./f/passwd")],
    "a folder that becomes a link": [
        member("./d/x"),
        member("./d", tarfile.SYMTYPE, "/etc"),
    ],
}


@pytest.mark.parametrize("makes", UNSAFE.values(), ids=UNSAFE)
def test_an_unsafe_entry_is_refused(tmp_path: Path, system: Tree, makes: list[Make]) -> None:
    with pytest.raises(ImageUnavailable) as caught:
        deb.add(package(tmp_path, *makes), system)
    assert "\x1b" not in caught.value.message and len(caught.value.message) < 400
    assert caught.value.remedy
    assert [p.name for p in tmp_path.iterdir()] == ["evil.deb"]


def test_an_absolute_name_stays_inside(tmp_path: Path, system: Tree) -> None:
    deb.add(package(tmp_path, member("/etc/canary")), system)
    assert list(system.entries) == ["etc", "etc/canary"]


def header(name: str, kind: bytes, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


def sparse() -> bytes:
    """A header of GNU's sparse files that says that more of it follows, and nothing does."""
    block = bytearray(header("x", tarfile.GNUTYPE_SPARSE, 0))
    block[482], block[148:156] = 1, b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


DAMAGED = {
    "nothing": b"",
    "no ar archive": b"PK\x03\x04" * 50,
    "a cut header": b"!<arch>\ndebian-binary",
    "no data": ar(debian_binary=b"2.0\n"),
    "another packing": ar(data_tar_zst=b"(\xb5/\xfd"),
    "broken xz": ar(data_tar_xz=b"\xfd7zXZ\0garbage"),
    "xz cut off": ar(data_tar_xz=lzma.compress(bytes(100_000))[:-20]),
    "broken gz": ar(data_tar_gz=b"\x1f\x8bgarbage"),
    "no tar": ar(data_tar=b"x" * 1024),
    "a header of names that claims gigabytes": ar(
        data_tar_xz=lzma.compress(header("x", tarfile.GNUTYPE_LONGNAME, 1 << 30) + bytes(8 << 20))
    ),
    "a pax header that claims gigabytes": ar(
        data_tar_xz=lzma.compress(header("x", tarfile.XHDTYPE, 1 << 30) + bytes(8 << 20))
    ),
    "a negative size": ar(
        data_tar=header("x", tarfile.REGTYPE, 1).replace(b"00000000001\0", b"-0000000001\0")
    ),
    # In binary: tarfile then goes back by that much, and would read the same entry for ever.
    "a negative size in binary": ar(
        control_tar=header("y", tarfile.DIRTYPE, 0) + header("x", tarfile.REGTYPE, -512),
        data_tar=header("y", tarfile.DIRTYPE, 0) + header("x", tarfile.REGTYPE, -512) + bytes(1024),
    ),
    "a sparse file cut off": ar(data_tar=sparse()),
    "a member beyond the end": ar(data_tar_xz=b"x").replace(b"1         `", b"9999999   `"),
}


@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_package_is_one_clear_error(tmp_path: Path, system: Tree, data: bytes) -> None:
    path = tmp_path / "evil.deb"
    path.write_bytes(data)
    with pytest.raises(ImageUnavailable):
        deb.add(path, system)
    with pytest.raises(ImageUnavailable):
        deb.control(path)


@pytest.mark.slow
def test_a_package_that_unpacks_without_end_is_stopped(
    tmp_path: Path, system: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deb, "MAX_BYTES", 1 << 20)
    path = tmp_path / "evil.deb"
    path.write_bytes(ar(data_tar_xz=lzma.compress(bytes(64 << 20))))
    with pytest.raises(ImageUnavailable, match="unpack to more than"):
        deb.add(path, system)


def test_too_many_entries_are_refused(
    tmp_path: Path, system: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "MAX_ENTRIES", 20)
    with pytest.raises(ImageUnavailable, match="more than 20 files"):
        deb.add(package(tmp_path, *(member(f"./f{n}") for n in range(30))), system)


def test_a_package_under_another_name_is_refused(tmp_path: Path, system: Tree) -> None:
    with pytest.raises(ImageUnavailable, match="called libc6 is another one"):
        baselayer.fill(system, {"libc6": package(tmp_path, member("./x"))})


@pytest.mark.skipif(not shutil.which("ldconfig", path="/sbin:/usr/sbin"), reason="no ldconfig here")
def test_a_base_may_have_an_empty_cache_of_the_dynamic_linker(system: Tree, tmp_path: Path) -> None:
    """glibc's own program reads it; without one it fails, and with it Triton."""
    cache, ask = tmp_path / "cache", ["/sbin/ldconfig", "-p", "-C", str(tmp_path / "cache")]
    baselayer.fill(system, {})
    assert not system.read("etc/ld.so.cache")
    assert subprocess.run(ask, capture_output=True).returncode
    baselayer.fill(system, {}, linker_cache=True)
    cache.write_bytes(system.read("etc/ld.so.cache"))
    assert cache.stat().st_size == 48  # the whole header: `ldconfig` itself forgives a shorter one
    done = subprocess.run(ask, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("0 libs found")


@pytest.mark.parametrize("wanted", [True, False])
def test_the_lock_says_whether_a_base_has_that_cache(
    wanted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KIT_CACHE", str(tmp_path))
    lock = msgspec.structs.replace(images.recipe("vllm-cuda").base, linker_cache=wanted)
    with tarfile.open(baselayer._made({}, lock).path) as layer:
        assert ("etc/ld.so.cache" in layer.getnames()) is wanted


def test_images_with_triton_have_that_cache() -> None:
    """It asks `ldconfig -p` for the driver's place, which ends with an error without one."""
    asking = [r for r in images.recipes() if any(w.name == "triton" for w in r.lock.wheels)]
    assert {"diffusers-cuda", "transformers-cuda", "vllm-cuda"} <= {r.name for r in asking}
    assert all(recipe.base.linker_cache for recipe in asking)


# --- wheels -------------------------------------------------------------------------------------


NAME = "evil-1.0-py3-none-any.whl"


def wheel(folder: Path, **files: bytes) -> Path:
    path = folder / "by-hash"
    info = {
        "evil-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\n",
        "evil-1.0.dist-info/METADATA": b"Name: evil\nVersion: 1.0\n",
        "evil-1.0.dist-info/entry_points.txt": b"[console_scripts]\nevil = evil:main\n",
    }
    contents = {name.replace("__", "/"): data for name, data in files.items()}
    record = "".join(f"{name},,\n" for name in (*info, *contents))
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in {
            **info,
            **contents,
            "evil-1.0.dist-info/RECORD": record.encode(),
        }.items():
            archive.writestr(name, data)
    return path


def test_a_wheel_gives_its_modules_and_nothing_that_names_the_installing_machine(
    tmp_path: Path, system: Tree
) -> None:
    files = {
        "evil__main.py": b"1",
        "lib__cmake": b"2",
        "evil-1.0.data__scripts__run": b"3",
        "evil-1.0.data__purelib__pure.py": b"4",
    }
    wheels.unpack(wheel(tmp_path, **files), NAME, system, leave_out=("lib/",))
    paths = {
        name.removeprefix("opt/kit/") for name, e in system.entries.items() if e.at is not None
    }
    info = {f"evil-1.0.dist-info/{n}" for n in ("METADATA", "WHEEL", "entry_points.txt")}
    assert paths == {"evil/main.py", "pure.py", *info}
    assert {e.mode for e in system.entries.values() if e.at is not None} == {0o644}


def test_a_wheel_s_record_is_kept_as_its_maker_wrote_it_where_the_recipe_says_so(
    tmp_path: Path, system: Tree
) -> None:
    """TVM's FFI finds the libraries of xgrammar by it."""
    path = wheel(tmp_path, evil__main=b"1", lib__evil=b"2")
    wheels.unpack(path, NAME, system, record=True)
    place = "opt/kit/evil-1.0.dist-info/RECORD"
    with zipfile.ZipFile(path) as archive:
        said = archive.read("evil-1.0.dist-info/RECORD")
    assert (system.read(place), system.entries[place].mode) == (said, 0o644)


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (
            ["torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl"],
            "PyTorch keeps its CPU builds",
        ),
        (["numpy-2.4.6-cp311-cp311-manylinux_2_28_x86_64.whl"], "connect this machine"),
    ],
)
def test_a_package_that_no_index_has_is_named_with_where_to_look(
    files: list[str], told: str
) -> None:
    with pytest.raises(ImageUnavailable) as caught:
        wheels.refuse_missing("".join(f"missing name {file}\n" for file in files))
    assert files[0] in caught.value.message
    assert caught.value.remedy.startswith(told)


def test_of_a_compiled_wheel_only_what_is_asked_for_is_kept(tmp_path: Path, system: Tree) -> None:
    files = {"bin__server": b"1", "bin__bench": b"2", "lib__liba.so": b"3", "evil__main.py": b"4"}
    wheels.unpack(wheel(tmp_path, **files), NAME, system, keep=("bin/server", "lib/lib"))
    paths = {name for name, e in system.entries.items() if e.at is not None}
    assert paths == {"opt/kit/bin/server", "opt/kit/lib/liba.so"}
    with pytest.raises(ImageUnavailable, match="nothing in it begins with bin/other"):
        wheels.unpack(wheel(tmp_path, **files), NAME, system, keep=("bin/other",))


@pytest.mark.skipif(not shutil.which("gcc"), reason="no linker here: the sandbox has one")
def test_a_cuda_toolkit_of_wheels_is_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toolkit = tmp_path / "nvidia/cu13"
    libraries = ["cudart.so.13", "cublasLt.so.13", "nvrtc.alt.so.13", "nvrtc.so.13"]
    libraries += ["nvrtc.so.13.0"]
    for name in ("bin/nvcc", "nvvm/bin/cicc", *(f"lib/lib{library}" for library in libraries)):
        (toolkit / name).parent.mkdir(parents=True, exist_ok=True)
        (toolkit / name).write_text("#!/bin/sh\necho ran\n")
    (toolkit / "include").mkdir()
    (toolkit / "include/cuda.h").write_text(
        "typedef int CUresult;\n#define cuMemAlloc cuMemAlloc_v2\n"
        "CUresult CUDAAPI cuMemCreate(int a);\nCUresult CUDAAPI cuMemAlloc_v2(int a);\n"
    )
    for name in ("CUDACXX", "CUDAToolkit_ROOT"):
        monkeypatch.setenv(name, "")  # so that what is set is taken back
    inside.complete(toolkit)
    for program in ("bin/nvcc", "nvvm/bin/cicc"):
        assert subprocess.check_output([toolkit / program]) == b"ran\n"
    assert (toolkit / "lib64/libcublasLt.so").resolve() == toolkit / "lib/libcublasLt.so.13"
    assert (toolkit / "lib64/libcudart.so").exists()
    assert (toolkit / "lib64/libnvrtc.so").resolve().name == "libnvrtc.so.13"
    assert (toolkit / "lib64/libnvrtc.alt.so").resolve().name == "libnvrtc.alt.so.13"
    assert os.environ["CUDACXX"] == str(toolkit / "bin/nvcc")
    made = tmp_path / "libmade.so"
    source = "int cuMemCreate(int); int cuMemAlloc_v2(int); int f(void) { return cuMemCreate(1); }"
    linked = ["gcc", "-shared", "-fPIC", "-Wl,--as-needed", "-o", made, "-x", "c", "-", "-xnone"]
    linked += [f"-L{toolkit / 'lib64/stubs'}", "-lcuda", "-Wl,-z,defs"]
    subprocess.run(linked, input=source, text=True, check=True)
    assert b"\0libcuda.so.1\0" in made.read_bytes(), "it would find no driver"


@pytest.mark.parametrize("name", ["../canary", "evil/../../canary", "a\x1b", "a\nb", "x" * 300])
def test_an_unsafe_name_in_a_wheel_is_refused(tmp_path: Path, system: Tree, name: str) -> None:
    with pytest.raises(ImageUnavailable) as caught:
        wheels.unpack(wheel(tmp_path, **{name: b"x"}), NAME, system)
    assert "\x1b" not in caught.value.message


@pytest.mark.parametrize("data", [b"", b"PK\x05\x06" + bytes(18), b"garbage" * 100])
def test_what_is_no_wheel_is_one_clear_error(tmp_path: Path, system: Tree, data: bytes) -> None:
    path = tmp_path / "by-hash"
    path.write_bytes(data)
    with pytest.raises(ImageUnavailable, match="cannot be unpacked"):
        wheels.unpack(path, NAME, system)


def test_a_wheel_that_unpacks_without_end_is_stopped(
    tmp_path: Path, system: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "MAX_BYTES", 1 << 20)
    with zipfile.ZipFile(tmp_path / "by-hash", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("evil-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n")
        archive.writestr("evil-1.0.dist-info/RECORD", "zeros,,\n")
        archive.writestr("zeros", bytes(32 << 20))
    with pytest.raises(ImageUnavailable, match="unpack to more than"):
        wheels.unpack(tmp_path / "by-hash", NAME, system)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", ["RECORD", "WHEEL", "entry_points.txt"])
def test_what_a_wheel_says_of_itself_is_never_read_without_end(
    tmp_path: Path, system: Tree, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wheels, "_MAX_WORDS", 1 << 20)
    path = wheel(tmp_path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"evil-1.0.dist-info/{name}", b" " * (2 << 20))
    with pytest.raises(ImageUnavailable, match="too large"):
        wheels.unpack(path, NAME, system)
