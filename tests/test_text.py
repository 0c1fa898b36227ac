"""Text from outside: what a terminal would obey is gone, what a person would read stays."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.core.text import clean


@pytest.mark.parametrize(
    ("raw", "safe"),
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bP1$r\x1b\\after", "after"),
        ("\x9b2Jafter", "after"),
        ("\x1bcafter", "after"),
        ("a\x1b", "a"),
        ("abc\b\b\bxyz", "abcxyz"),
        ("user\u202etxt.exe", "usertxt.exe"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("one\r\ntwo\tthree", "one two three"),
        ("[bold]Ünïcödé 漢字 → 50 µs[/]", "[bold]Ünïcödé 漢字 → 50 µs[/]"),
    ],
)
def test_unsafe_characters_are_removed(raw: str, safe: str) -> None:
    assert clean(raw) == safe


def test_lines_stay_when_asked_for() -> None:
    assert clean("a\n\tb\x1b[0m", lines=True) == "a\n\tb"


@given(st.text())
def test_nothing_unsafe_is_left_and_cleaning_twice_changes_nothing(text: str) -> None:
    once = clean(text, lines=True)
    kinds = {unicodedata.category(c) for c in once if c not in "\n\t"}
    assert not kinds & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    assert clean(once, lines=True) == once
