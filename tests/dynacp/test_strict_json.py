"""JSON that users and other programs write: read as it is meant, or refused in a line."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynacp.strict_json import MOST_BYTES, JSONError, check_shape, parse_json, read_json, shown

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(VALUES)
def test_what_is_written_is_read(value: object) -> None:
    assert parse_json(json.dumps(value)) == value


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"a": 1, "a": 1}', "holds the name 'a' twice"),
        ('[{"b": {"c": 1, "d": 2, "c": 3}}]', "holds the name 'c' twice"),
        ("NaN", "NaN is no number"),
        ('{"a": [-Infinity]}', "-Infinity is no number"),
        ("1e999", "the number 1e999 is too large"),
        ("9" * 5_000, "not JSON: Exceeds the limit"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ("", "not JSON: Expecting value: line 1"),
        ("{'a': 1}", "not JSON: Expecting property name"),
        ('{"a": 1} x', "not JSON: Extra data"),
    ],
)
def test_what_could_be_read_in_two_ways_or_in_none_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(JSONError, match=complaint) as caught:
        parse_json(text)
    assert len(str(caught.value)) < 150
    assert "\n" not in str(caught.value)


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    file = tmp_path / "marked.json"
    file.write_bytes(b'\xef\xbb\xbf{"a": "\xc3\xa9"}')
    assert read_json(file) == {"a": "é"}


@pytest.mark.parametrize("content", [b"\xff\xfe[\x001\x00]\x00", b'"\xe9"', b"\x80"])
def test_another_encoding_is_named_with_the_byte(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "other.json"
    file.write_bytes(content)
    with pytest.raises(JSONError, match=r"cannot be read as UTF-8 \(byte [01] is 0x"):
        read_json(file)


def test_no_more_of_a_file_is_read_than_a_file_of_ours_can_have(tmp_path: Path) -> None:
    file = tmp_path / "large.json"
    with file.open("wb") as out:
        out.truncate(1 << 40)  # a terabyte, of which the disk holds nothing
    with pytest.raises(JSONError, match="more than 1,048,576 bytes"):
        read_json(file)
    file.write_bytes(b" " * (MOST_BYTES - 1) + b"1")
    assert read_json(file) == 1


SHAPE = {"name": str, "limits": {"macs": int, "share": float}, "widths": [int], "more": {}}
WHOLE = {"name": "a", "limits": {"macs": 3, "share": 1, "other": None}, "widths": [1, 2], "more": {"x": "y"}}


def test_a_value_may_hold_more_than_its_shape_and_whole_numbers_for_floats() -> None:
    check_shape(WHOLE, SHAPE, "it")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"name": None}, "it.name must be of type str, but is None"),
        ({"limits": [3]}, "it.limits must be an object, but is [3]"),
        ({"limits": {"macs": 3}}, "it.limits lacks 'share'"),
        ({"limits": {"macs": True, "share": 1}}, "it.limits.macs must be of type int, but is True"),
        ({"widths": []}, "it.widths must be a list of one or more, but is []"),
        ({"widths": [1, "2"]}, "it.widths.1 must be of type int, but is '2'"),
        ({"more": 5}, "it.more must be an object, but is 5"),
    ],
)
def test_the_first_part_of_another_shape_is_named(changes: dict[str, object], complaint: str) -> None:
    with pytest.raises(JSONError, match=re.escape(complaint)):
        check_shape(WHOLE | changes, SHAPE, "it")


@given(VALUES)
def test_an_error_repeats_a_value_in_a_short_line_without_control_characters(value: object) -> None:
    text = shown(value)
    assert text.isprintable()
    assert len(text) < 500
