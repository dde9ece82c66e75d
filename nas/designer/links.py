"""A network as a short JSON text, for the page's address and its memory."""

import json
from dataclasses import fields

from dynacp.student.architecture import Architecture, Block


def to_text(architecture: Architecture) -> str:
    """The JSON text of a network without what has its default; `Architecture.from_json` reads it."""
    content = _without_defaults(architecture)
    content["blocks"] = [_without_defaults(block) for block in architecture.blocks]
    return json.dumps(content, separators=(",", ":"))


def _without_defaults(part: Architecture | Block) -> dict[str, object]:
    return {
        field.name: getattr(part, field.name) for field in fields(part) if getattr(part, field.name) != field.default
    }
