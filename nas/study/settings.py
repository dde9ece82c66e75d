"""A study's settings as its database holds them: checked when it is opened, so that all readers find what they need."""

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
"""What is read of them, as `dynacp.strict_json.check_shape` takes it."""
