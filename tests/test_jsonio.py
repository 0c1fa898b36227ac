"""Canonical JSON and strict parsing."""

import struct
from collections.abc import Callable

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from kit.core import jsonio

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False).filter(jsonio.is_number),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSON)
def test_canonical_form_round_trips_and_is_a_fixed_point(value: object) -> None:
    data = jsonio.canonical(value)
    assert jsonio.parse(data) == value
    assert jsonio.canonical(jsonio.parse(data)) == data


def outcome(form: Callable[[object], bytes], value: object) -> object:
    """The canonical form, or why there is none."""
    try:
        return form(value)
    except (ValueError, RecursionError) as error:
        return type(error), str(error)


ANY_FLOAT = st.integers(0, 2**64 - 1).map(lambda n: struct.unpack("d", n.to_bytes(8, "little"))[0])
NUMBERS = ANY_FLOAT | st.floats() | st.integers() | st.integers(-9, 9).map(lambda n: 10.0**n)
ANYTHING = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text() | st.binary(max_size=1) | st.just("\ud800"),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.integers() | st.none() | st.floats(), inner)
    ),
    max_leaves=20,
)


@given(ANYTHING | NUMBERS | JSON)
def test_the_canonical_form_is_that_of_the_package(value: object) -> None:
    assert outcome(jsonio.canonical, value) == outcome(rfc8785.dumps, value)


@pytest.mark.parametrize(
    "value",
    [
        *(
            sign * float(f"{digits}e{n}")
            for sign in (1, -1)
            for digits in (0, 1, 5, 1.5, 9.87654321)
            for n in range(-12, 30)
        ),
        *(2**53 - 1, 2**53, -(2**53), 10**15, 10**16, 0.1234567890123456, 123456789012345.6),
        ["1.0 1e-5 12345678901234567890", 1.0, 'a"1.0\\', 2.5],
        {"\ue000": 1, "\U00010000": 2, "\x7f\x1f\\": 3},
        {"1.0": {"a\0b": [1e-7, 12345678901234567]}},
    ],
)
def test_every_form_of_a_number_is_that_of_the_package(value: object) -> None:
    assert outcome(jsonio.canonical, value) == outcome(rfc8785.dumps, value)
    assert outcome(jsonio.canonical, {"a": [value]}) == outcome(rfc8785.dumps, {"a": [value]})


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b'{"a":1,"a":2}', "JSON_DUPLICATE_KEY"),
        (b"[NaN]", "JSON_NOT_FINITE"),
        (b"[-Infinity]", "JSON_NOT_FINITE"),
        (b"[1e400]", "JSON_NOT_FINITE"),
        (b'{"a":-1E+309}', "JSON_NOT_FINITE"),
        (b"[" + b"9" * 400 + b".0]", "JSON_NOT_FINITE"),
        (b"[9007199254740992]", "JSON_INTEGER"),
        (b"[9007199254740992.0]", "JSON_INTEGER"),
        (b"[-1e16]", "JSON_INTEGER"),
        (b"[9007199.254740992E9]", "JSON_INTEGER"),
        (b"[999999999999999900000.0]", "JSON_INTEGER"),
        (b"[-9223372036854775808]", "JSON_INTEGER"),
        (b"[" + b"1" * 5000 + b"]", "JSON_MALFORMED"),
        (b"[" * 33 + b"]" * 33, "JSON_TOO_DEEP"),
        (b"[" * 100_000, "JSON_TOO_DEEP"),
        (b'{"a":', "JSON_MALFORMED"),
        (b'"\xff"', "JSON_MALFORMED"),
        (b"", "JSON_MALFORMED"),
    ],
)
def test_what_is_not_strict_json_is_refused_with_a_code(data: bytes, code: str) -> None:
    with pytest.raises(jsonio.JsonRefused) as caught:
        jsonio.parse(data)
    assert caught.value.code == code


@pytest.mark.parametrize("data", [b"9007199254740991", b"-9007199254740991", b"1e21", b"1e-99"])
def test_numbers_that_have_a_canonical_form_are_read(data: bytes) -> None:
    value = jsonio.parse(data)
    assert jsonio.parse(jsonio.canonical(value)) == value == float(data)


@given(st.floats() | st.integers())
def test_a_number_that_passes_is_read_again(value: float) -> None:
    if jsonio.is_number(value):
        assert jsonio.parse(jsonio.canonical(value)) == value
    else:
        with pytest.raises((jsonio.JsonRefused, ValueError)):
            jsonio.parse(jsonio.canonical(value))


def test_integers_of_any_size_are_read_where_they_are_asked_for() -> None:
    assert jsonio.parse(b"[18446744073709551615]", any_integer=True) == [2**64 - 1]


def test_brackets_inside_strings_do_not_count_as_nesting() -> None:
    assert jsonio.parse(b'["' + b"[{" * 50 + b'\\"["]') == ["[{" * 50 + '"[']


@pytest.mark.parametrize(
    "unit", [b'\\"\\"\\"', b'"\\', b'"', b"\\", b'""\\"', b'["', b'"[{', b'a\\"[', b'"\\"[']
)
def test_hostile_strings_take_time_in_proportion_to_their_length(unit: bytes) -> None:
    """A megabyte is refused within the test's time limit; a quadratic reader needs an hour."""
    with pytest.raises(jsonio.JsonRefused):
        jsonio.parse(unit * (1_000_000 // len(unit)))


def test_nesting_is_counted_after_a_string_of_escapes() -> None:
    with pytest.raises(jsonio.JsonRefused) as caught:
        jsonio.parse(b'["\\"\\\\",' + b"[" * 40 + b"]" * 41)
    assert caught.value.code == "JSON_TOO_DEEP"


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        (rb'"\ud83d\ude00"', "\U0001f600"),
        (rb'"\uD83D\uDE00"', "\U0001f600"),
        (rb'"\\ud800"', r"\ud800"),
        (rb'"\ud7ff\ue000"', "\ud7ff\ue000"),
    ],
)
def test_whole_characters_pass(text: bytes, holds: str) -> None:
    assert jsonio.parse(text) == holds


@pytest.mark.parametrize(
    "text",
    [
        rb'"\ud800"', rb'"\uDFFF"', rb'{"\udc00": 1}', rb'["a", {"b": "x\ud83dy"}]',
        rb'"\ude00\ud83d"', rb'["\ud83d", "\ude00"]', rb'"\\\ud800"',
        '"\ud800"'.encode("utf-8", "surrogatepass"),
    ],
)  # fmt: skip
def test_half_a_character_is_refused(text: bytes) -> None:
    with pytest.raises(jsonio.JsonRefused) as caught:
        jsonio.parse(text)
    assert caught.value.code == "JSON_MALFORMED" and caught.value.remedy
    assert caught.value.message.encode()


@pytest.mark.parametrize("last", [b'"\\ud800"', b"NaN", b'{"a":1,"a":2}', b"9007199254740993"])
def test_the_place_of_a_fault_is_sought_in_a_short_text_alone(last: bytes) -> None:
    """A stranger's archive may hold gigabytes, and to look takes seconds a megabyte."""
    for size, is_placed in ((1000, True), (5 << 20, False)):
        filler = b'"' + b"x" * size + b'",'
        with pytest.raises(jsonio.JsonRefused) as refused:
            jsonio.parse(b"[" + filler + last + b"]")
        assert (refused.value.at is not None) == is_placed
