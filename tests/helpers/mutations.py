"""Damage to files, as disks, editors, other programs and people do it; the same generator does the same damage."""

import json
import struct
from collections.abc import Callable
from random import Random
from typing import Any

NUMBERS = (0, 1, 2, 7, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 44_099, 44_101, 999_983)
"""For fields of a header."""

VALUES: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 2, 3, 8, 64, 2.0, 1.5, 10**9, 10**30, 1e300, "relu", [1, 1], [2, 1],
    "", "x", "nan", "int8", "../x", "a" * 300, "\u0000",
    "${oc.env:HOME}", [], [1], [1, 2], [[[[]]]], {}, {"a": 1}, float("nan"), float("inf"),
)  # fmt: skip
"""In place of what stands in a JSON file."""

CELLS = (
    "", " ", "nan", "x", "../x", "audio", "a" * 300, "ä\u2028", '"', "-1", "\x00", "\ud800",
    "audio/hum-here-1-2-3-a.wav", "audio/hum-here-1-2-3-A.wav", "iPhone.6", "keys",
)  # fmt: skip
"""In place of what stands in a table."""

ENCODINGS = ("utf-16", "utf-8-sig", "utf-32", "cp037")


def damaged_bytes(content: bytes, random: Random) -> bytes:
    """A file with a few of its bytes changed, lost, repeated or added."""
    for _ in range(random.choice((1, 1, 2, 8))):
        content = random.choice(_OF_BYTES)(bytearray(content), random)
    return content


def damaged_header(content: bytes, random: Random) -> bytes:
    """A wav whose header says something else in one or two fields."""
    changed = bytearray(content)
    for _ in range(random.choice((1, 1, 2))):
        width, form = random.choice(((2, "<H"), (4, "<I")))
        number = random.choice(NUMBERS) % (1 << 8 * width)
        struct.pack_into(form, changed, random.randrange(0, 44 - width + 1, 2), number)
    return bytes(changed)


def damaged_json(content: bytes, random: Random) -> bytes:
    """A JSON text with another value somewhere, or damaged as a text."""
    if random.random() < 0.3:
        return random.choice(_OF_JSON_TEXT)(content, random)
    parsed = json.loads(content)
    place = random.choice(_places(parsed))
    return json.dumps(_replaced(parsed, place, random.choice(VALUES))).encode("utf-8", "surrogatepass")


def damaged_table(content: bytes, random: Random) -> bytes:
    """A tab-separated table with other cells, rows, columns, separators or another encoding."""
    if random.random() < 0.2:
        return damaged_bytes(content, random)
    rows = [line.split("\t") for line in content.decode().splitlines()]
    for _ in range(random.choice((1, 1, 3))):
        random.choice(_OF_ROWS)(rows, random)
    separator, ending = random.choice(("\t",) * 9 + (",", ";", "  ")), random.choice(("\n", "\n", "\r\n", "\r"))
    text = ending.join(separator.join(row) for row in rows)
    encoding = random.choice(ENCODINGS) if random.random() < 0.1 else "utf-8"
    return text.encode(encoding, "replace")


def _flip(content: bytearray, random: Random) -> bytes:
    if content:
        content[random.randrange(len(content))] ^= 1 << random.randrange(8)
    return bytes(content)


def _cut(content: bytearray, random: Random) -> bytes:
    return bytes(content[: random.randrange(len(content) + 1)])


def _drop(content: bytearray, random: Random) -> bytes:
    start = random.randrange(len(content) + 1)
    del content[start : start + random.choice((1, 2, 16, 512))]
    return bytes(content)


def _insert(content: bytearray, random: Random) -> bytes:
    start = random.randrange(len(content) + 1)
    content[start:start] = random.choice((b"\0" * 64, b"\xff" * 3, random.randbytes(16), bytes(content[:100])))
    return bytes(content)


def _overwrite(content: bytearray, random: Random) -> bytes:
    start, size = random.randrange(len(content) + 1), random.choice((1, 4, 64, 4096))
    content[start : start + size] = random.choice((bytes(size), b"\xff" * size, random.randbytes(size)))
    return bytes(content)


def _other(_content: bytearray, random: Random) -> bytes:
    return random.choice(
        (b"", b"\0", b"\n", b"<html></html>", b"PK\x03\x04", b"RIFF\0\0\0\0WAVE", random.randbytes(999))
    )


_OF_BYTES: tuple[Callable[[bytearray, Random], bytes], ...] = (_flip, _flip, _cut, _drop, _insert, _overwrite, _other)


def _encoded(content: bytes, random: Random) -> bytes:
    return content.decode().encode(random.choice(ENCODINGS))


def _nested(content: bytes, random: Random) -> bytes:
    return random.choice((b"[", b'{"blocks": ')) * random.choice((10, 100_000)) + content


def _doubled(content: bytes, random: Random) -> bytes:
    """With a name twice."""
    start = content.find(b'"', random.randrange(len(content)))
    name = content[start : content.find(b",", start) + 1]
    return content[:start] + name + content[start:]


def _swapped(content: bytes, random: Random) -> bytes:
    """With another number in place of one, as a text."""
    digits = [place for place, byte in enumerate(content) if chr(byte).isdigit()]
    place = random.choice(digits) if digits else 0
    number = random.choice((b"NaN", b"1e999", b"-0", b"9" * 5_000, b"2.0", b"0x10", b"01", b"1_0"))
    return content[:place] + number + content[place + 1 :]


_OF_JSON_TEXT: tuple[Callable[[bytes, Random], bytes], ...] = (
    damaged_bytes,
    _encoded,
    _nested,
    _doubled,
    _swapped,
    _swapped,
)


def _places(content: Any) -> list[tuple[Any, ...]]:
    """Where something stands in parsed JSON, as keys and numbers from the outside in."""
    inside = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [(), *((name, *place) for name, value in inside for place in _places(value))]


def _replaced(content: Any, place: tuple[Any, ...], value: Any) -> Any:
    if not place:
        return value
    first, *others = place
    changed = content.copy()
    changed[first] = _replaced(content[first], tuple(others), value)
    return changed


def _cell(rows: list[list[str]], random: Random) -> None:
    if row := random.choice(rows):
        row[random.randrange(len(row))] = random.choice(CELLS)


def _exchanged(rows: list[list[str]], random: Random) -> None:
    """Two cells of a column."""
    first, second = random.choice(rows), random.choice(rows)
    if column := min(len(first), len(second)):
        column = random.randrange(column)
        first[column], second[column] = second[column], first[column]


def _lost_row(rows: list[list[str]], random: Random) -> None:
    if len(rows) > 1:
        del rows[random.randrange(len(rows))]


def _twice(rows: list[list[str]], random: Random) -> None:
    rows.insert(random.randrange(len(rows) + 1), list(random.choice(rows)))


def _lost_column(rows: list[list[str]], random: Random) -> None:
    column = random.randrange(4)
    for row in rows:
        del row[column : column + 1]


def _one_for_all(rows: list[list[str]], random: Random) -> None:
    """One value in a whole column."""
    column, value = random.randrange(4), random.choice(CELLS)
    for row in rows[1:]:
        row[column : column + 1] = [value] * (column < len(row))


_OF_ROWS: tuple[Callable[[list[list[str]], Random], None], ...] = (
    _cell, _cell, _exchanged, _exchanged, _lost_row, _twice, _lost_column, _one_for_all,
)  # fmt: skip
