"""Choices that a network makes once, for its stem and all of its blocks; the other choices are each block's own."""

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import product
from typing import Any

from budget.cli.command import Add
from budget.errors import UserError
from dynacp.student.architecture import Architecture, as_text

NONE = "none"
"""The value of `--vary` that stands for no choice."""


@dataclass(frozen=True)
class NetworkWide:
    """The values of each network-wide choice, under the name of `Architecture`'s field.

    An empty tuple leaves the field as a space's frame has it, and a single value sets it: neither is searched. Raises
    `UserError` for a value that is given twice.
    """

    stem: tuple[tuple[int, int], ...] = ()
    activation: tuple[str, ...] = ()
    pool: tuple[str, ...] = ()
    norm: tuple[str, ...] = ()
    response: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, values in asdict(self).items():
            if len({*values}) < len(values):
                raise UserError(f"`{name}` must hold each value once, but got {values}.")

    @cached_property
    def values(self) -> dict[str, dict[str, Any]]:
        """For each field that this says anything of: its values, by what an encoding calls them (`8-32` a stem)."""
        return {name: {as_text(value): value for value in values} for name, values in asdict(self).items() if values}

    @cached_property
    def searched(self) -> dict[str, tuple[str, ...]]:
        """The choices that have several values, and what an encoding calls these."""
        return {name: tuple(values) for name, values in self.values.items() if len(values) > 1}

    def fields(self, choices: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of `Architecture` that an encoding sets here."""
        return {
            name: values[choices[name]] if name in self.searched else next(iter(values.values()))
            for name, values in self.values.items()
        }

    def frames(self, frame: Architecture) -> Iterator[Architecture]:
        """The frame with every combination of the values, the last choice changing fastest."""
        for row in product(*(values.values() for values in self.values.values())):
            yield replace(frame, **dict(zip(self.values, row, strict=True)))


UNVARIED = NetworkWide()
"""No network-wide choice: all fields as in a space's frame."""

EVERY = NetworkWide(
    stem=((8, 16), (8, 24), (8, 32), (16, 32)),
    activation=("relu6", "relu"),
    pool=("average", "maximum"),
    norm=("sum", "depthwise"),
    response=("none", "global"),
)
"""What a search varies by default; Table 1 is among it."""


def add_vary_option(add: Add) -> None:
    """Add `--vary`, which `varied` understands."""
    choices = "; ".join(f"{name}: {', '.join(values)}" for name, values in EVERY.searched.items())
    add(
        "--vary",
        nargs="+",
        choices=[*EVERY.searched, NONE],
        default=list(EVERY.searched),
        metavar="CHOICE",
        help="network-wide choices that are searched beside those of each block, or none (default: all). stem: its "
        "two convolutions' channels; activation: throughout; pool: in all blocks; norm: after the sum of a block's two "
        "branches, or on the depthwise one; response: a global response norm at the end of each block, which "
        f"ExecuTorch cannot compute, or none. Their values are {choices}",
    )


def varied(options: argparse.Namespace) -> NetworkWide:
    """The choices that `--vary` names, with all their values. Raises `UserError` where `none` is not alone."""
    if NONE not in options.vary:
        return NetworkWide(**{name: getattr(EVERY, name) for name in options.vary})
    if len(options.vary) > 1:
        raise UserError(f"`--vary {NONE}` leaves no choice, but got {' '.join(options.vary)}; name the choices alone.")
    return UNVARIED
