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

    `stem` holds pairs, the channels of its (first, second) convolution; the others hold names that `Architecture`
    takes, which is checked where it is built. An empty tuple leaves the field as a space's frame has it, and a single
    value sets it: neither is searched. Raises `UserError` for a value that is given twice.
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
        """For each field with values: the text that encodings use (`8-32` for a stem) -> the value.

        Cached and shared, as `searched` is: do not change it.
        """
        return {name: {as_text(value): value for value in values} for name, values in asdict(self).items() if values}

    @cached_property
    def searched(self) -> dict[str, tuple[str, ...]]:
        """For each field with several values: the texts that encodings use for them, in order. Cached too."""
        return {name: tuple(values) for name, values in self.values.items() if len(values) > 1}

    def fields(self, choices: Mapping[str, Any]) -> dict[str, Any]:
        """Keyword arguments for `Architecture` that an encoding selects, fixed single values included.

        Raises `KeyError` where `choices` lacks a field that is searched, or has another value for it.
        """
        return {
            name: values[choices[name]] if name in self.searched else next(iter(values.values()))
            for name, values in self.values.items()
        }

    def frames(self, frame: Architecture) -> Iterator[Architecture]:
        """`frame` with every combination of the values in its fields, the last field changing fastest.

        Raises `ArchitectureError` for a value that `Architecture` does not take.
        """
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
"""What a search varies by default. Table 1's values are among them."""


def add_vary_option(add: Add) -> None:
    """Add the option `--vary`, which `varied` reads; `add` is `add_argument` of a parser or a group."""
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
    """The choices that `--vary` names, each with its values in `EVERY`; `UNVARIED` for `none`.

    `options` are those of a parser with `add_vary_option`. Raises `UserError` where `none` is named beside others.
    """
    if NONE not in options.vary:
        return NetworkWide(**{name: getattr(EVERY, name) for name in options.vary})
    if len(options.vary) > 1:
        raise UserError(f"`--vary {NONE}` leaves no choice, but got {' '.join(options.vary)}; name the choices alone.")
    return UNVARIED
