"""Build one wheel from a source archive; this file runs in the sandbox, or in a Dockerfile.

    python3 inside.py FOLDER        FOLDER has source.tar.gz, tools/*.whl and settings.json

Standard library alone. Everything happens below /tmp at fixed paths, so that what the compiler
writes down of them is the same everywhere. The wheel's file name and its bytes in base64 are all
that comes out on stdout; whatever the backend prints goes to stderr. With a second argument, a
folder, the wheel is put there instead.
"""

import base64
import importlib
import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

WORK = Path("/tmp")  # noqa: S108 the sandbox's own
LINE = 6144  # of three bytes to four characters: below what an engine's log splits
JOBS = 8  # at most, side by side: a compiler of CUDA code takes more than a gigabyte


def main(folder: Path, target: Path | None) -> None:
    stdout = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    wheel = build(folder)
    if target:
        (target / wheel.name).write_bytes(wheel.read_bytes())
        return
    data = wheel.read_bytes()
    print(wheel.name, file=stdout)
    for at in range(0, len(data), LINE):
        print(base64.b64encode(data[at : at + LINE]).decode(), file=stdout)
    stdout.flush()


def build(folder: Path) -> Path:
    """Call the backend that the source's pyproject.toml names (PEP 517)."""
    tools, out = WORK / "tools", WORK / "out"
    out.mkdir()
    for wheel in sorted((folder / "tools").iterdir()):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(tools)  # noqa: S202 in a sandbox, where it can harm nothing
    for toolkit in tools.glob("nvidia/cu*"):
        complete(toolkit)
    with tarfile.open(folder / "source.tar.gz") as archive:
        archive.extractall(WORK / "source")  # noqa: S202
    (top,) = (WORK / "source").iterdir()
    settings = json.loads((folder / "settings.json").read_text())
    os.environ |= {"CMAKE_ARGS": " ".join(settings["cmake"]), "HOME": str(WORK)}
    os.environ["SOURCE_DATE_EPOCH"] = str(settings["epoch"])
    os.environ["CMAKE_BUILD_PARALLEL_LEVEL"] = str(min(JOBS, len(os.sched_getaffinity(0))))
    os.chdir(top)
    sys.path.insert(0, str(tools))
    backend = tomllib.loads(Path("pyproject.toml").read_text())["build-system"]["build-backend"]
    module, _, inner = backend.partition(":")
    hook = importlib.import_module(module)
    for name in filter(None, inner.split(".")):
        hook = getattr(hook, name)
    return out / str(hook.build_wheel(str(out), {"build-dir": str(WORK / "build")}))


def complete(toolkit: Path) -> None:
    """Make a CUDA toolkit of NVIDIA's wheels, which lack what a compiler and a linker look for.

    Programs are executable; libraries have the names that one links by, and lie where nvcc looks.
    The driver's library comes from the host that runs the result. Here an empty library replaces
    it, with the function names of cuda.h. Without these names a linker drops the library as
    unused, and the program does not find the driver when it runs.
    """
    for place in (*toolkit.glob("bin/*"), *toolkit.glob("nvvm/bin/*")):
        place.chmod(0o755)
    lib = toolkit / "lib"
    for library in sorted(lib.glob("lib*.so.*")):
        name = lib / f"{library.name.partition('.so.')[0]}.so"
        if not name.exists():  # one library may be there under two of its versions
            name.symlink_to(library.name)
    (toolkit / "lib64").symlink_to("lib")
    stub = lib / "stubs" / "libcuda.so"
    stub.parent.mkdir()
    names = sorted(set(re.findall(r"\bcu[A-Z]\w*", (toolkit / "include" / "cuda.h").read_text())))
    source = "".join(f"void {name}(void) {{}}\n" for name in names)
    linker = ["gcc", "-shared", "-Wl,-soname,libcuda.so.1", "-o", str(stub), "-x", "c", "-"]
    subprocess.run(linker, check=True, input=source, text=True)
    os.environ |= {"CUDACXX": str(toolkit / "bin" / "nvcc"), "CUDAToolkit_ROOT": str(toolkit)}


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
