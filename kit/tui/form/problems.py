"""Problems of a draft, with the words and the places of the form."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from rich.text import Text

from kit.core.errors import KitError
from kit.core.model import Problem, RunSpec
from kit.machine import pinning
from kit.show.render.console import plain
from kit.spec import spec as specs
from kit.tui.form.draft import NoDocumentError, Where, from_text, path_text, place, to_text, words

DROP = "F4 opens it in your editor; ctrl+z drops it and keeps the form's"


def problems(document: Any) -> list[Problem]:
    """All problems of a document; if it cannot be checked, that is one. Slow.

    A valid spec's model files are compared with what this machine knows of their names.
    """
    try:
        return specs.problems(document) or [
            doubt.problem for doubt in pinning.doubts(_parsed(document).weights)
        ]
    except KitError as error:
        return [Problem("$", error.message, error.remedy or "")]
    except Exception as error:  # such as a number that has no canonical form
        return [Problem("$", f"kit cannot check this: {error}", "undo the last edit, or use F4")]


def _parsed(document: Any) -> RunSpec:
    return specs.parse(to_text(document).encode())


class Broken(NamedTuple):
    """Why a text is no document, and in which line of it, if known."""

    problem: Problem
    line: int | None


def of_text(text: str, name: str) -> Broken | None:
    """Why a text is no document; None if it is one."""
    try:
        from_text(text, name)
    except NoDocumentError as error:
        return Broken(Problem("$", error.message, DROP), error.line)
    return None


def by_place(problems: Iterable[Problem]) -> dict[Where, list[str]]:
    """The messages below each field."""
    messages: dict[Where, list[str]] = {}
    for problem in problems:
        messages.setdefault(place(problem), []).append(words(problem))
    return messages


def line(problem: Problem) -> Text:
    """One problem in one line: where, what, and the remedy."""
    text = plain(f"✘ {path_text(place(problem))}  ", "bad").append_text(plain(words(problem)))
    return text.append_text(plain(f"  → {problem.remedy}", "quiet")) if problem.remedy else text
