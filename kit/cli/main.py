"""The entry point: the table of commands, and how an error becomes an exit code.

A command's module is imported only when the command is called, so that ``kit --help`` is quick.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TextIO

from cyclopts import App, CycloptsError, Group

from kit import __version__
from kit.cli.paths import Named
from kit.core import extras
from kit.core.errors import EXIT_INTERRUPTED, EXIT_OK, KitError, UsageError

_HELP = (
    "A containerised reproducibility kit for the energy of LLM inference.\n\n"
    "Write a run spec, run it in a pinned container while energy is measured from the host, and "
    "seal the run into a hashed archive that anyone can verify without a GPU and replay with one."
)

_EXITS = (
    "Exit codes: 0 ok · 1 run failed · 2 usage or invalid spec · 3 blocked (preflight, image, "
    "weights, engine) · 4 verification failed · 5 replay DIFFERENT · 6 replay INCONCLUSIVE or "
    "NOT-COMPARABLE · 130 interrupted."
)

_COMMANDS: dict[str, dict[str, tuple[str, str]]] = {
    "Specify": {
        "init": ("kit.cli.specify:init", "Write a run spec to start from."),
        "check": ("kit.cli.specify:check", "List everything wrong with a run spec."),
        "plan": ("kit.cli.specify:plan", "Show what a spec resolves to here, and preflight it."),
        "schema": ("kit.cli.specify:schema", "Print a JSON Schema: the public contract."),
    },
    "Run": {
        "run": ("kit.cli.run:run", "Run a spec, measure it and seal it."),
        "attach": ("kit.cli.run:attach", "Watch a run in progress."),
        "replay": ("kit.cli.run:replay", "Run a sealed run again and judge if it reproduced."),
        "recover": ("kit.cli.run:recover", "Seal the records of a crashed run, as aborted."),
    },
    "Look": {
        "tui": ("kit.cli.run:tui", "Show the terminal UI, as a bare `kit` does."),
        "ls": ("kit.cli.list:ls", "List the runs."),
        "show": ("kit.cli.look:show", "Show one run."),
        "compare": ("kit.cli.compare:compare", "Compare runs with the first of them."),
        "report": ("kit.cli.look:report", "Write a run's report."),
        "verify": ("kit.cli.look:verify", "Check a sealed run; needs neither Docker nor GPU."),
    },
    "Keep": {
        "note": ("kit.cli.notes:note", "Note a line of text on a run."),
        "tag": ("kit.cli.notes:tag", "Add tags to a run, or remove them."),
        "rm": ("kit.cli.notes:rm", "Delete a run of the store."),
    },
    "Share": {
        "export": ("kit.cli.share:export", "Pack a sealed run into a single file."),
        "recompute": ("kit.cli.share:recompute", "Seal a run again with this kit's formulas."),
    },
    "This machine": {
        "doctor": ("kit.cli.machine:doctor", "Report what this machine can run and measure."),
        "monitor": ("kit.cli.machine:monitor", "Show this host's power, live."),
    },
}

_IMAGES = {
    "ls": ("kit.cli.machine:images_ls", "List kit's image recipes and what is built."),
    "build": ("kit.cli.machine:images_build", "Build a recipe's image."),
    "lock": ("kit.cli.machine:images_lock", "Build a recipe and record its identity."),
    "context": (
        "kit.cli.machine:images_context",
        "Write the files that a recipe's Dockerfile reads.",
    ),
    "verify": ("kit.cli.machine:images_verify", "Check the images here against their locks."),
}
_PDU = {
    "probe": (
        "kit.cli.pdu:probe",
        "Identify a PDU, list its outlets, print its host.toml section.",
    ),
    "calibrate": ("kit.cli.pdu:calibrate", "Measure a PDU's lag and gain with a step of load."),
}
_WEIGHTS = {
    "ls": ("kit.cli.machine:weights_ls", "List the weights a spec needs or the store holds."),
    "add": (
        "kit.cli.machine:weights_add",
        "Fetch a spec's weights and check them; or register a model of your own.",
    ),
    "pin": (
        "kit.cli.pinning:weights_pin",
        "Complete the weights of specs from the hub: commit, files, hashes, licence.",
    ),
    "derive": (
        "kit.cli.machine:weights_derive",
        "Make model files of another form, as a spec can pin them.",
    ),
    "verify": ("kit.cli.machine:weights_verify", "Hash the weights in the store again."),
}


_ENERGIBRIDGE = (
    "Show the energy of an EnergiBridge recording.\n\n"
    "Reads versions 0.0.3 to 0.0.7, from Linux and Windows: CPUs of Intel and AMD by RAPL, one "
    "socket; GPUs of NVIDIA by their power. Files of Intel before 0.0.7 hold raw counts: kit "
    "detects them, converts them and says so. Files of macOS are refused: they hold powers "
    "whose averaging is documented nowhere. Impossible readings are left out with a note; an "
    "ambiguous file is refused."
)
_IMPORT = {"energibridge": ("kit.cli.energibridge:energibridge", _ENERGIBRIDGE)}


# Where the usage would say ARGS of what has a name.
_USAGE = {
    "init": "[FILE]",
    "schema": "[NAME]",
    "attach": "[ID]",
    "tui": "[SPEC]",
    "compare": "ORIGINAL NEW...",
    "verify": "[RUN]",
    "note": "RUN [TEXT]",
    "tag": "RUN [CHANGES...]",
    "export": "RUN [OUT]",
    "pdu probe": "[HOST]",
    "weights ls": "[SPEC]",
    "weights pin": "SPEC...",
}


def _usage(command: str) -> dict[str, str]:
    arguments = _USAGE.get(command)
    return {"usage": f"Usage: kit {command} [OPTIONS] {arguments}"} if arguments else {}


def _import(file: Annotated[Path, Named], *, runs: Annotated[Path | None, Named] = None) -> None:
    """Check a single-file run and add it to the store; or read another tool's recording.

    Args:
        file: a .kit.zip.
        runs: the folder of runs; else host.toml's [store], else ./runs.
    """
    from kit.cli import share

    share.import_(file, runs=runs)


def build() -> App:
    """The whole command line; no command's module is imported yet."""
    app = App(
        name="kit",
        help=_HELP,
        help_epilogue=_EXITS,
        help_format="plaintext",
        version=__version__,
        result_action="return_value",
    )
    groups = {name: Group(name, sort_key=place) for place, name in enumerate(_COMMANDS)}
    for title, commands in _COMMANDS.items():
        group = groups[title]
        for name, (target, text) in commands.items():
            app.command(target, name=name, help=text, group=group, **_usage(name))
    for name, text, commands in (
        ("images", "Container images that kit builds.", _IMAGES),
        ("pdu", "Metered outlets over SNMP.", _PDU),
        ("weights", "Model files, by hash.", _WEIGHTS),
    ):
        sub = App(name=name, help=text, group=groups["This machine"])
        for command, (target, line) in commands.items():
            sub.command(target, name=command, help=line, **_usage(f"{name} {command}"))
        app.command(sub)
    imports = App(name="import", group=groups["Share"], default_command=_import)
    for command, (target, line) in _IMPORT.items():
        imports.command(target, name=command, help=line)
    app.command(imports)
    return app


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its exit code."""
    sys.exit(dispatch(sys.argv[1:] if argv is None else argv))


def dispatch(argv: Sequence[str]) -> int:
    """Run one command; an error of kit becomes two lines on stderr and an exit code."""
    _open_streams()
    try:
        words = list(argv) or _default_command()
        code = build()(words, exit_on_error=False, print_error=False)
        sys.stdout.flush()
    except CycloptsError as error:
        from kit.cli.wrong import usage_error

        return _complain(usage_error(error))
    except KitError as error:
        return _complain(error)
    except ModuleNotFoundError as error:
        if lacking := extras.missing(error):
            return _complain(lacking)
        raise
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # `kit ls | head`: the reader has closed the pipe
        _forget(sys.stdout)
        return EXIT_OK
    except OSError as error:
        return _complain(_of_system(error))
    return code if isinstance(code, int) else EXIT_OK


def _open_streams() -> None:
    """Replace a stream that the caller closed (``>&-``) by one that discards its output."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))


def _forget(stream: TextIO) -> None:
    """Discard what is not written, so that Python does not try to write it again at exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


_REMEDIES = {
    errno.EACCES: "check who may read and write there",
    errno.EPERM: "check who may read and write there",
    errno.EROFS: "name a place that can be written",
    errno.ENOSPC: "free some space, or name another place",
    errno.ENAMETOOLONG: "give it a shorter name",
}


def _of_system(error: OSError) -> KitError:
    """An error of the operating system as kit's: about a file, or the output (``> /dev/full``)."""
    why = error.strerror or type(error).__name__
    if error.filename is None and error.errno in (errno.ENOSPC, errno.EIO, errno.EBADF):
        _forget(sys.stdout)
        return KitError(f"the output cannot be written: {why}", "write it to another place")
    where = ascii(str(error.filename or "a file"))[1:-1]
    return UsageError(
        f"{where}: {why}", _REMEDIES.get(error.errno or 0, "name another file or folder")
    )


def _default_command() -> list[str]:
    """A bare ``kit``: the UI on a terminal, help elsewhere."""
    return ["tui"] if sys.stdin.isatty() and sys.stdout.isatty() else ["--help"]


def _complain(error: KitError) -> int:
    from kit.show import render

    try:
        render.error(error)
    except OSError:  # nobody reads stderr: the code says it
        _forget(sys.stderr)
    return error.exit_code


if __name__ == "__main__":
    main()
