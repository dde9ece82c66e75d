"""Settings as a user sees them: changed by name, shown as a table."""

import json
from collections.abc import Sequence
from typing import Any, TypeVar

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.table import Table
from yaml import YAMLError

from dynacp.settings import SettingError, named

Settings = TypeVar("Settings")
"""A dataclass of settings, which may hold others."""


def changed(settings: Settings, assignments: Sequence[str]) -> Settings:
    """The settings with assignments such as `teachers.epochs=5` made, each value checked against its field's type.

    They are new: `settings` stay as they are. Raises `SettingError` that says what is wrong; for an unknown name it
    lists the names that there are.
    """
    known = {name: value for name, value, _ in named(settings)}
    typed = []
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if name not in known:
            raise SettingError(f"`--set {assignment}`: no setting is named {name!r}; there are {', '.join(known)}.")
        if not (equals and value):
            raise SettingError(f"`--set {assignment}`: give a value, as in {name}=VALUE.")
        # Text is meant as it stands: YAML would read a device called 007 as 7, and one called no as False.
        typed.append(f"{name}={json.dumps(value)}" if isinstance(known[name], str) else assignment)
    try:
        return _merged(settings, OmegaConf.from_dotlist(typed))
    except (OmegaConfBaseException, YAMLError, ValueError) as error:
        raise SettingError(f"`--set {' '.join(assignments)}`: {_reason(error)}.") from None


def restored(settings: Settings, stored: dict[str, Any]) -> Settings:
    """New settings with the values that `stored` names, the others as in `settings`.

    `stored` is plain JSON with nested names, as `dataclasses.asdict` gives it. Raises `SettingError` for a name that is
    no setting, and for a value that it cannot take.
    """
    try:
        return _merged(settings, stored)
    except (OmegaConfBaseException, ValueError) as error:
        raise SettingError(f"stored settings that this version does not know: {_reason(error)}.") from None


def _merged(settings: Settings, others: Any) -> Settings:
    return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(settings), others))  # type: ignore[return-value]


def _reason(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".")


def settings_table(settings: Settings, preset: Settings, title: str, *, preset_source: str = "preset") -> Table:
    """A table of every setting, its value, and where that comes from: the default's source, the preset's, or the user.

    `preset` is what the settings were before the user changed them, and `preset_source` is shown for what it changed.
    """
    view = Table(title=title, title_justify="left")
    for name in ("setting", "value", "source"):
        view.add_column(name)
    default = {name: value for name, value, _ in named(type(settings)())}
    expected = {name: value for name, value, _ in named(preset)}
    rows = list(named(settings))
    for (name, value, source), (following, _, _) in zip(rows, [*rows[1:], rows[-1]], strict=True):
        origin = source if value == default[name] else preset_source if value == expected[name] else "given"
        view.add_row(name, str(value), origin, end_section=name.rpartition(".")[0] != following.rpartition(".")[0])
    return view
