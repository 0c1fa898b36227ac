"""Write what a person reads and a shell completes, from the text that ``--help`` shows.

The page of commands (docs/commands.md), the man page and the completions of three shells. They are
kept in the repository, since the wheel is built without kit's libraries; a test says whether they
are current.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from kit import __version__
from kit.cli.main import build

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = "docs/commands.md"
MAN = "share/man/man1/kit.1"
COMPLETIONS = {
    "bash": "share/bash-completion/completions/kit",
    "zsh": "share/zsh/site-functions/_cyclopts_kit",
    "fish": "share/fish/vendor_completions.d/kit.fish",
}
_HEAD = (
    "# Commands\n\nWhat `kit --help` and `kit COMMAND --help` say, and `man kit`. `make derived` "
    "writes this page.\n"
)


def main() -> None:
    for name, text in derived().items():
        (ROOT / name).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / name).write_text(text)


def derived() -> dict[str, str]:
    """Every file by its path in the repository."""
    helps = said()
    scripts = {
        path: build().generate_completion(prog_name="kit", shell=shell)  # type: ignore[arg-type]
        for shell, path in COMPLETIONS.items()
    }
    scripts[COMPLETIONS["bash"]] = quoted(scripts[COMPLETIONS["bash"]])
    return {COMMANDS: page(helps), MAN: man(helps), **scripts}


def quoted(bash: str) -> str:
    """Bash's completion with names of files quoted: one may hold a blank, or a command."""
    names = re.compile(r'COMPREPLY=\( \$\(compgen (-[fd]) -- "\$\{cur\}"\) \)')
    put = r'compopt -o filenames; mapfile -t COMPREPLY < <(compgen \1 -- "${cur}")'
    return names.sub(put, bash)


def said() -> str:
    """The help of all commands, as Markdown."""
    app = build()
    text = app.generate_docs("markdown", max_heading_level=2)
    # Before a usage that kit states itself, the library repeats the command.
    text = re.sub(r"(?m)^kit ((?:\w+ )?\w+) \1 ", r"kit \1 ", text)
    before, _, after = text.partition("## Table of Contents")
    lists, _, commands = after.partition("\n## ")
    lists = lists[lists.index("**") :]
    codes = str(app.help_epilogue).removeprefix("Exit codes: ").rstrip(".")
    exits = "".join(f"* `{code}`: {what}\n" for code, what in _exits(codes))
    return f"{before}{lists}\n## {commands.rstrip()}\n\n## Exit codes\n\n{exits}"


def _exits(codes: str) -> Iterator[tuple[str, str]]:
    for part in codes.split(" · "):
        code, _, what = part.partition(" ")
        yield code, what


def page(helps: str) -> str:
    """The page of the documents: the same, with a heading that says what it is."""
    return helps.replace("# kit\n", _HEAD, 1)


# --- the man page -----------------------------------------------------------------------------

_TITLE = re.compile(r"^#+ (.+)$")
_LABEL = re.compile(r"^\*\*(.+)\*\*:$")
_ITEM = re.compile(r"^ *\* (?:\[(`[^`]+`)\]\([^)]+\)|(`[^`]+`)): ?(.*)$")


def man(helps: str) -> str:
    """The man page, in the macros of ``man``, from the Markdown of `said`."""
    top, _, rest = helps.partition("\n## ")
    usage, text, lists = re.split(r"```(?:console)?\n", top)[1], *_described(top)
    lines = [
        '.\\" Written by `make derived` from the text of `kit --help`.',
        f'.TH KIT 1 "" "kit {__version__}" "kit"',
        ".SH NAME",
        f"kit \\- {_roff(text[0].rstrip('.'))}",
        ".SH SYNOPSIS",
        f".B {_roff(usage.strip())}",
        ".SH DESCRIPTION",
        *_roff_of(text[1:]),
        *_roff_of(lists),
        ".SH COMMANDS",
        *_roff_of(f"## {rest}".splitlines()),
    ]
    return "\n".join(lines) + "\n"


def _described(top: str) -> tuple[list[str], list[str]]:
    """The lines of the text under the first usage, and those of the lists of commands."""
    lines = top.rpartition("```")[2].strip().splitlines()
    cut = next(n for n, line in enumerate(lines) if _LABEL.match(line))
    return lines[:cut], lines[cut:]


def _roff_of(markdown: list[str]) -> Iterator[str]:
    is_item = False
    for line in markdown:
        if title := _TITLE.match(line):
            yield (
                f'.SH "{_roff(title[1]).upper()}"'
                if "kit " not in title[1]
                else (f'.SS "{_roff(title[1])}"')
            )
        elif label := _LABEL.match(line):
            yield from (".PP", f".I {_roff(label[1])}")
        elif item := _ITEM.match(line):
            yield from (".TP", f".B {_roff((item[1] or item[2]).strip('`'))}")
            if item[3]:
                yield _roff(item[3])
            is_item = True
            continue
        elif line.startswith("```"):
            continue
        elif line.startswith("kit "):
            yield from (".PP", f".B {_roff(line)}")
        elif not line.strip():
            is_item = False
            continue
        else:
            if not is_item:
                yield ".PP"
            yield _roff(line.strip())
        is_item = is_item and line.startswith(" ")


def _roff(markdown: str) -> str:
    """Text of one line as roff: without Markdown's marks, ASCII alone."""
    text = re.sub(r"\*\*?(\[[^\]]*\])\*\*?", r"\1", markdown)
    text = re.sub(r"\\([\[\]*_<>])", r"\1", text)
    text = text.replace("``", '"').replace("`", "")
    text = text.replace("\\", "\\e").replace("-", "\\-")
    text = "".join(c if c.isascii() else f"\\[u{ord(c):04X}]" for c in text)
    return f"\\&{text}" if text.startswith((".", "'")) else text


if __name__ == "__main__":
    main()
