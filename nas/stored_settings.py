"""A study's settings as its database holds them: checked once, so that whatever reads them finds what it expects."""

from typing import Any

SETTINGS: dict[str, Any] = {
    "identity": {
        "data": str,
        "sampler": str,
        "seed": int,
        "dtype": str,
        "limits": {"max_bytes": int, "max_macs": int},
        "rungs": [int],
        "teachers": {},
        "score": {"recipe": {"batch": int, "peak_rate": float}},
        "space": {
            "min_blocks": int,
            "max_blocks": int,
            "dilations": [int],
            "expansions": [float],
            "widths": [int],
            "classes": int,
            "stem": [int],
        },
    },
    "command": str,
    "classes": [str],
    "clips": {"training": int, "validation": int},
    "threads": int,
    "versions": {},
}
"""What is read of them: types by name, `[type]` for a list of one or more, and `{}` for any object."""


def check_settings(stored: Any, expected: Any = SETTINGS, path: str = "settings") -> None:
    """Raise `ValueError` that names a value that is missing or of another type. More than expected may stand there."""
    if isinstance(expected, dict):
        _require(isinstance(stored, dict), path, "an object", stored)
        for name, inner in expected.items():
            if name not in stored:
                raise ValueError(f"{path} lacks {name!r}")
            check_settings(stored[name], inner, f"{path}.{name}")
    elif isinstance(expected, list):
        _require(isinstance(stored, list | tuple) and len(stored) > 0, path, "a list", stored)
        for number, each in enumerate(stored):
            check_settings(each, expected[0], f"{path}.{number}")
    else:
        allowed = (int, float) if expected is float else expected
        _require(isinstance(stored, allowed) and type(stored) is not bool, path, f"of type {expected.__name__}", stored)


def _require(holds: bool, path: str, what: str, value: object) -> None:
    if not holds:
        raise ValueError(f"{path} must be {what}, but is {str(value)[:60]!r}")
