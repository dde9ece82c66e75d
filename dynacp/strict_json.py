"""Reads JSON that people or other programs wrote, perhaps only half: strictly, in bounded memory, or not at all."""

import json
from math import isfinite
from pathlib import Path
from reprlib import Repr
from typing import Any

from budget.errors import UserError

MOST_BYTES = 1 << 20
"""The most bytes of a file that is read; a larger one is refused. An architecture takes about a hundred bytes a block,
a run's settings a few thousand."""

_SHORT = Repr()
_SHORT.maxlevel, _SHORT.maxstring = 2, 60


class JSONError(UserError):
    """Text that is no JSON, or that two readers could read differently; says what and where."""


def parse_json(text: str) -> Any:
    """The value that a JSON text holds.

    Raises `JSONError` for a syntax error, a name that an object holds twice, a number that is not finite or too long,
    and nesting that is too deep for Python.
    """
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_refused, parse_float=_finite)
    except JSONError:
        raise
    except RecursionError:
        raise JSONError("not JSON that can be read: lists or objects are nested too deeply.") from None
    except ValueError as error:  # a syntax error, or an integer of more digits than Python converts
        raise JSONError(f"not JSON: {str(error).partition(';')[0]}.") from None


def read_json(path: Path) -> Any:
    """The value in a JSON file in UTF-8, with or without a byte order mark.

    Raises `JSONError` as `parse_json` does, for other encodings and for more than `MOST_BYTES`, and `OSError` for a
    file that cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise JSONError(f"more than {MOST_BYTES:,} bytes, which is no file of this program.")
    try:
        return parse_json(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        byte = f"byte {error.start} is {content[error.start]:#04x}"
        raise JSONError(f"cannot be read as UTF-8 ({byte}); save it as that.") from None


def check_shape(value: Any, shape: Any, path: str) -> None:
    """Raise `JSONError` that names the first part of a parsed value that is missing or of another type.

    `shape` is a type, a dict of shapes by name (more names may stand in the value), or a list of one shape, which all
    of one or more entries have. `float` also takes whole numbers. `path` is what errors call the value.
    """
    if isinstance(shape, dict):
        _require(isinstance(value, dict), path, "an object", value)
        for name, inner in shape.items():
            if name not in value:
                raise JSONError(f"{path} lacks {name!r}")
            check_shape(value[name], inner, f"{path}.{name}")
    elif isinstance(shape, list):
        _require(isinstance(value, list) and len(value) > 0, path, "a list of one or more", value)
        for number, each in enumerate(value):
            check_shape(each, shape[0], f"{path}.{number}")
    else:
        allowed = (int, float) if shape is float else shape
        _require(isinstance(value, allowed) and type(value) is not bool, path, f"of type {shape.__name__}", value)


def _require(holds: bool, path: str, what: str, value: object) -> None:
    if not holds:
        raise JSONError(f"{path} must be {what}, but is {shown(value)}")


def shown(value: object) -> str:
    """A value as text that an error may repeat: one line, shortened, without control characters."""
    return _SHORT.repr(value)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict[str, Any]()
    for name, value in pairs:
        if name in content:
            raise JSONError(f"an object holds the name {shown(name)} twice.")
        content[name] = value
    return content


def _refused(constant: str) -> None:
    raise JSONError(f"{constant} is no number of JSON.")


def _finite(digits: str) -> float:
    if not isfinite(number := float(digits)):
        raise JSONError(f"the number {shown(digits)[1:-1]} is too large.")
    return number
