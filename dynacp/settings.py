"""Settings as frozen dataclasses that say where each default comes from."""

from collections.abc import Iterator
from dataclasses import field, fields, is_dataclass
from typing import Any

from budget.errors import UserError


class SettingError(UserError):
    """A setting that does not exist, or a value that it cannot take."""


def sourced(default: Any, source: str) -> Any:
    """A dataclass field with a default and, in its metadata, the source of that default in words."""
    return field(default=default, metadata={"source": source})


def require(holds: bool, name: str, value: Any, what: str) -> None:
    """Raise `SettingError` unless `holds`: "`name` must be `what`, but got `value`"."""
    if not holds:
        raise SettingError(f"`{name}` must be {what}, but got {value!r}")


def named(settings: Any, prefix: str = "", origin: str = "") -> Iterator[tuple[str, Any, str]]:
    """(dotted name, value, source) of every setting in a dataclass (an instance), and of those in nested dataclasses.

    The source is the field's own while it has its default, and otherwise that of the field which holds the dataclass.
    `prefix` and `origin` are the name (with a dot behind it) and the source of that field. A source may be empty.
    """
    for each in fields(settings):
        name, value = f"{prefix}{each.name}", getattr(settings, each.name)
        source = each.metadata.get("source", "")
        if is_dataclass(value):
            yield from named(value, f"{name}.", source or origin)
        else:
            yield name, value, source if source and value == each.default else origin
