"""What must not change unless it is meant to: stored beside the tests, compared, and written anew on request."""

import json
import os
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "frozen"

FREEZING = os.environ.get("DYNACP_FREEZE") == "1"
"""Whether what is found is to be written down."""


def check(name: str, found: Any) -> None:
    """Compare plain JSON with frozen/NAME.json; with DYNACP_FREEZE=1 in the environment write it there instead."""
    file, plain = FOLDER / f"{name}.json", json.loads(json.dumps(found))
    if FREEZING:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
    assert plain == stored(name)


def stored(name: str) -> Any:
    """What frozen/NAME.json holds."""
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
