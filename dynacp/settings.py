"""Settings as frozen dataclasses that say where each default comes from."""

from collections.abc import Iterator
from dataclasses import field, fields, is_dataclass
from typing import Any

from budget.errors import UserError


class SettingError(UserError):
    """A setting that does not exist, or a value that it cannot take."""


def sourced(default: Any, source: str) -> Any:
    """A dataclass field with a default, and where that default comes from."""
    return field(default=default, metadata={"source": source})


def require(holds: bool, name: str, value: Any, what: str) -> None:
    """Raise `SettingError` unless it holds: `name` must be `what`, but got `value`."""
    if not holds:
        raise SettingError(f"`{name}` must be {what}, but got {value!r}")


def named(settings: Any, prefix: str = "", origin: str = "") -> Iterator[tuple[str, Any, str]]:
    """(dotted name, value, source) of every setting, those of nested dataclasses too.

    A field's own source speaks for its default; where a dataclass that holds it took another value, its source does.
    """
    for each in fields(settings):
        name, value = f"{prefix}{each.name}", getattr(settings, each.name)
        source = each.metadata.get("source", "")
        if is_dataclass(value):
            yield from named(value, f"{name}.", source or origin)
        else:
            yield name, value, source if source and value == each.default else origin
