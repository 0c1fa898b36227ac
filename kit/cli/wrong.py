"""A command line that kit cannot read: what is wrong with it, and how to write it.

cyclopts finds what is wrong; it calls an argument by the option that it could be, shows half of a
list and draws a frame. The sentences here call things as the usage does.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from cyclopts import CycloptsError
from cyclopts.exceptions import (
    CoercionError,
    MissingArgumentError,
    RepeatArgumentError,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
    ValidationError,
)

from kit.core.errors import UsageError
from kit.core.nearest import nearest

_PROGRAM = "kit"
_KINDS = {int: "a whole number", float: "a number"}
_SAMPLES = {int: "1161", float: "2.5", Path: "PATH"}
# Commands whose output is what another one writes with --out.
_PRINTING = "it prints to standard output: leave --out away, or add > FILE"


def usage_error(error: CycloptsError) -> UsageError:
    """What cyclopts refused, in the words of the usage."""
    command = " ".join((_PROGRAM, *(error.command_chain or ())))
    match error:
        case UnknownCommandError():
            return _no_command(error, command)
        case UnknownOptionError():
            return _no_option(error, command)
        case UnusedCliTokensError():
            extra = " ".join(f"{word!a}" for word in error.unused_tokens or ())
            return UsageError(f"`{command}` has no use for {extra}", _help(command))
        case RepeatArgumentError():
            return UsageError(f"{error.token.keyword} is given twice", "give it once")
        case MissingArgumentError() if error.argument is not None:
            return _missing(error, command)
        case CoercionError():
            return _no_value(error, command)
        case ValidationError() if error.argument is not None and error.argument.tokens:
            token = error.argument.tokens[0]
            name = token.keyword or positional(error.argument)
            return UsageError(
                f"{name} of `{command}` cannot be {token.value!a}", error.exception_message
            )
    error.verbose = False
    return UsageError(str(error), _help(command))


def _help(command: str) -> str:
    return f"`{command} --help` shows how to write it"


def _no_command(error: UnknownCommandError, command: str) -> UsageError:
    word = next(iter(error.unused_tokens or ()), "")
    app: Any = error.app
    names = [name for name in app if not name.startswith("-")] if app else []
    is_option = word.startswith("-")
    what = f"`{command}` has no {'option' if is_option else 'command'} {word!a}"
    meant = "" if is_option else nearest(word, names)
    remedy = f"did you mean `{command} {meant}`? Else use one of: " if meant else "use one of: "
    return UsageError(what, remedy + ", ".join(names))


def _no_option(error: UnknownOptionError, command: str) -> UsageError:
    word = error.token.keyword or error.token.value
    if word == "-":
        return UsageError(
            f"`{command}` reads no standard input: it takes no - here",
            "save it to a file, name that",
        )
    what = f"`{command}` has no option {word.partition('=')[0]!s}"
    options = [name for one in error.argument_collection for name in one.names if name[0] == "-"]
    meant = nearest(word.partition("=")[0], options)
    if word.partition("=")[0] == "--out":
        return UsageError(what, _PRINTING)
    return UsageError(what, f"did you mean {meant}?" if meant else _help(command))


def _missing(error: MissingArgumentError, command: str) -> UsageError:
    argument: Any = error.argument
    name = error.keyword or next((t.keyword for t in argument.tokens if t.keyword), None)
    if name:
        return UsageError(
            f"{name} of `{command}` needs a value", f"write it as {name} {_sample(argument)}"
        )
    word = positional(argument)
    return UsageError(
        f"`{command}` needs {word}",
        f"write `{command} {word}`; `{command} --help` says what {word} is",
    )


def _no_value(error: CoercionError, command: str) -> UsageError:
    argument: Any = error.argument
    token = error.token
    value = token.value if token else ""
    name = (token and token.keyword) or (positional(argument) if argument else "a value")
    if not value:
        return UsageError(f"{name} of `{command}` is empty", "name a file or a folder")
    if value.startswith("-") and argument and Path in _types(argument.hint):
        if token and token.keyword:
            return UsageError(f"{name} of `{command}` needs a value", f"write it as {name} PATH")
        return UsageError(f"`{command}` has no option {value}", _help(command))
    choices = _choices(error.target_type)
    if choices:
        meant = nearest(value, choices)
        remedy = f"use one of: {', '.join(choices)}"
        return UsageError(
            f"{name} of `{command}` cannot be {value!a}",
            f"did you mean {meant}? Else {remedy}" if meant else remedy,
        )
    if error.target_type is bool:
        return UsageError(f"{name} of `{command}` takes no value", f"write {name} alone")
    kind = next((words for one, words in _KINDS.items() if one in _types(error.target_type)), "")
    if kind:
        return UsageError(
            f"{name} of `{command}` needs {kind}, and {value!a} is none",
            f"write it as {name} {_sample(argument)}",
        )
    error.verbose = False
    return UsageError(str(error), _help(command))


def positional(argument: Any) -> str:
    """An argument as the usage calls it: SPEC."""
    return str(argument.name).lstrip("-").upper()


def _types(hint: Any) -> Sequence[Any]:
    if get_origin(hint) in (Union, types.UnionType):
        return [part for one in get_args(hint) for part in _types(one)]
    return [hint]


def _choices(hint: Any) -> list[str]:
    return [str(v) for one in _types(hint) if get_origin(one) is Literal for v in get_args(one)]


def _sample(argument: Any) -> str:
    """What could stand behind an option."""
    hints: Iterable[Any] = _types(argument.hint) if argument else ()
    for hint in hints:
        if hint in _SAMPLES:
            return _SAMPLES[hint]
        if choices := _choices(hint):
            return choices[0]
    return "VALUE" if not argument or str not in hints else "TEXT"
