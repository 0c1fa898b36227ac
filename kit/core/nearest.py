"""A name that somebody mistyped: what they probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(word: str, names: Iterable[str]) -> str:
    """The name that is most like ``word``, whatever its case; empty where none is like it."""
    folded = {name.casefold(): name for name in names}
    return next((folded[n] for n in difflib.get_close_matches(word.casefold(), folded, n=1)), "")


def one_of(word: str, names: Iterable[str]) -> str:
    """A remedy: the name that was probably meant, and all that there are."""
    known = list(names)
    meant = nearest(word, known)
    listed = f"use one of: {', '.join(known)}"
    if known == [meant]:
        return f"use {meant}"
    return f"did you mean {meant}? Else {listed}" if meant else listed
