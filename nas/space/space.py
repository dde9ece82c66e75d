"""The search space: its choices, their encodings, and random networks.

A network has 4 to 8 blocks. Each block chooses a dilation, a form (residual type with its stride), an expansion and
a width. The network chooses once what `nas.space.network_wide` lists, where that is searched: in `Space()` nothing. A
form with a shortcut keeps the channels that enter, so its width changes nothing, nor do the choices of blocks beyond
the chosen number. So encodings are many to one, and candidates are compared as `Architecture`, which is one to one.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import pairwise
from math import ceil, inf
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from budget.errors import UserError
from budget.layers import Count
from dynacp.student.architecture import (
    IDENTITY,
    MOST_WEIGHTS,
    PLAIN,
    POOLED,
    TABLE1,
    Architecture,
    ArchitectureError,
    Block,
)
from nas.space.network_wide import UNVARIED, NetworkWide

IntArray = npt.NDArray[np.int64]
"""An array of 64-bit integers."""

FORMS = {
    f"{residual} {stride[0]}x{stride[1]}": (residual, stride)
    for residual, strides in (
        (PLAIN, ((1, 1), (2, 1), (1, 2), (2, 2))),
        (IDENTITY, ((1, 1),)),
        (POOLED, ((2, 1), (1, 2), (2, 2))),
    )
    for stride in strides
}
"""Name of a form -> (residual type, (frequency, time) stride): `3 2x1` halves frequency and pools the shortcut."""

_RESIDUAL = np.array([residual for residual, _ in FORMS.values()])
_STRIDE = np.array([stride for _, stride in FORMS.values()])


def expanded_channels(channels: Count, expansion: Any) -> Count:
    """`channels * expansion`, elementwise, to the nearest multiple of 8, as MobileNet's `make_divisible` rounds it.

    (`make_divisible` also refuses to lose over a tenth; from 16 channels and expansion 1.5 up it never would.)
    The product is first rounded to a tenth so that 2.1 means twenty-one tenths, whatever its binary digits are.
    """
    return (np.rint(channels * expansion * 10).astype(np.int64) + 40) // 80 * 8


class BlockColumns(NamedTuple):
    """One block of many networks: the fields of `Block`, each an int64 array [networks]; `stride` is two of them."""

    expanded: IntArray
    out: IntArray
    dilation: IntArray
    residual: IntArray
    stride: tuple[IntArray, IntArray]

    @classmethod
    def of(cls, blocks: Sequence[Block]) -> "BlockColumns":
        """The columns of a sequence of blocks, one of each network."""
        fields = np.array([(b.expanded, b.out, b.dilation, b.residual, *b.stride) for b in blocks], dtype=np.int64).T
        expanded, out, dilation, residual, frequency, time = fields
        return cls(expanded, out, dilation, residual, (frequency, time))


class Option(NamedTuple):
    """A block, and the choices that `Space.decode` makes it from: form (of `FORMS`), expansion (expanded over entering
    channels, before rounding to a multiple of 8), width (leaving channels)."""

    form: str
    expansion: float
    width: int
    block: Block


class Change(NamedTuple):
    """A choice of an encoding by name, its value `now`, another `value`, and the architecture with that."""

    name: str
    now: Any
    value: Any
    architecture: Architecture


@dataclass(frozen=True)
class Space:
    """The choices of each block and of the whole network; `frame` gives the rest, such as the input and the classes.

    A network has `min_blocks` to `max_blocks` blocks. `dilations` (of a block's depthwise convolution, along both
    axes), `expansions` (expanded channels over those that enter) and `widths` (channels that leave) may be any
    positive, strictly ascending values. The blocks of `frame` are ignored. Raises `UserError` for other values, and
    where a network of the space would have a block without channels, or sizes beyond what `Architecture` takes.
    """

    frame: Architecture = TABLE1
    min_blocks: int = 4
    max_blocks: int = 8
    dilations: tuple[int, ...] = (1, 2, 3)
    expansions: tuple[float, ...] = (1.5, 2.1, 2.7, 3.3)
    widths: tuple[int, ...] = tuple(range(16, 129, 8))
    network_wide: NetworkWide = UNVARIED

    def __post_init__(self) -> None:
        fewest, most = self.min_blocks, self.max_blocks
        if not (type(fewest) is type(most) is int and 1 <= fewest <= most):
            raise UserError(f"1 <= min_blocks <= max_blocks must hold, but got {fewest} and {most}.")
        _ascending("dilations", self.dilations, int)
        _ascending("expansions", self.expansions, int, float)
        _ascending("widths", self.widths, int)
        self._check_ends()

    def _check_ends(self) -> None:
        """Raise `UserError` unless the narrowest block and the largest network are some."""
        entering = {*self.widths, *(frame.stem[1] for frame in self.frames)}
        least, most = min(entering), max(entering)
        if least * self.expansions[0] < 4:
            raise UserError(
                f"`expansions`: {self.expansions[0]} times {least} channels is nearest to none, of the multiples of 8; "
                f"begin with {ceil(400 / least) / 100:g} or more."
            )
        try:
            block = Block(8, most, self.dilations[-1])
            expanded = min(most * self.expansions[-1] + 4, MOST_WEIGHTS + 1)
            for frame in self.frames:
                replace(frame, blocks=(replace(block, expanded=int(expanded)),) * self.max_blocks)
        except ArchitectureError as error:
            raise UserError(f"the largest network of the space is too large: {error}") from None

    @cached_property
    def frames(self) -> tuple[Architecture, ...]:
        """`frame` with each combination of the network-wide values, and one block that only holds the place."""
        return tuple(self.network_wide.frames(replace(self.frame, blocks=(Block(8, 8),))))

    @property
    def sizes(self) -> range:
        """The numbers of blocks that a network may have."""
        return range(self.min_blocks, self.max_blocks + 1)

    def values(self) -> dict[str, tuple[Any, ...]]:
        """Name of a choice in encodings -> its values: network-wide ones, `blocks`, `form_1` and so on."""
        of_block = {
            "dilation": self.dilations,
            "form": tuple(FORMS),
            "expansion": self.expansions,
            "width": self.widths,
        }
        numbers = range(1, self.max_blocks + 1)
        return {
            **self.network_wide.searched,
            "blocks": tuple(self.sizes),
            **{f"{name}_{number}": values for number in numbers for name, values in of_block.items()},
        }

    def distributions(self) -> dict[str, BaseDistribution]:
        """Every choice as Optuna takes it, by name; all of them for every proposal, as samplers need."""
        return {name: _distribution(values) for name, values in self.values().items()}

    def decode(self, choices: Mapping[str, Any]) -> Architecture:
        """The network of an encoding: `choices` has a value for each name in `values`, or `KeyError` may be raised."""
        network_wide = self.network_wide.fields(choices)
        blocks, channels = [], network_wide.get("stem", self.frame.stem)[1]
        for number in range(1, choices["blocks"] + 1):
            residual, stride = FORMS[choices[f"form_{number}"]]
            out = choices[f"width_{number}"] if residual == PLAIN else channels
            expanded = int(expanded_channels(channels, choices[f"expansion_{number}"]))
            blocks.append(Block(expanded, out, choices[f"dilation_{number}"], residual, stride))
            channels = out
        return replace(self.frame, blocks=tuple(blocks), **network_wide)

    @staticmethod
    def read(choices: Mapping[str, Any]) -> set[str]:
        """Names of the entries of an encoding that change the decoded network.

        They leave out those of blocks beyond `blocks`, and the width of a block with a shortcut, whose output has as
        many channels as its input.
        """
        blocks = range(1, choices["blocks"] + 1)
        plain = {number for number in blocks if FORMS[choices[f"form_{number}"]][0] == PLAIN}
        names = {f"{choice}_{number}" for choice in ("dilation", "form", "expansion") for number in blocks}
        searched = choices.keys() & {field.name for field in fields(NetworkWide)}
        return searched | {"blocks"} | names | {f"width_{number}" for number in plain}

    def encode(self, architecture: Architecture) -> dict[str, Any]:
        """The encoding that `decode` turns into this network; blocks beyond its number repeat the last one's choices.

        Raises `UserError` for a network outside the space.
        """
        choices = self._encode_frame(architecture)
        if not self.min_blocks <= len(architecture.blocks) <= self.max_blocks:
            raise UserError(f"the space holds {self.min_blocks} to {self.max_blocks} blocks, not {architecture}.")
        choices["blocks"] = len(architecture.blocks)
        channels = architecture.stem[1]
        padded = architecture.blocks + architecture.blocks[-1:] * (self.max_blocks - len(architecture.blocks))
        for number, block in enumerate(padded, start=1):
            if number <= len(architecture.blocks):
                choice = self._encode_block(number, block, channels)
                channels = block.out
            choices.update({f"{name}_{number}": value for name, value in choice.items()})
        return choices

    def _encode_frame(self, architecture: Architecture) -> dict[str, Any]:
        choices, other = dict[str, Any](), list[str]()
        for name in (field.name for field in fields(Architecture) if field.name != "blocks"):
            value = getattr(architecture, name)
            known = self.network_wide.values.get(name, {"": getattr(self.frame, name)})
            if value not in known.values():
                other.append(f"`{name}` {value}, not {' or '.join(map(str, known.values()))}")
            elif name in self.network_wide.searched:
                choices[name] = next(text for text, its in known.items() if its == value)
        if other:
            raise UserError(f"the network differs from the space's frame in more than its blocks: {', '.join(other)}.")
        return choices

    def _encode_block(self, number: int, block: Block, channels: int) -> dict[str, Any]:
        for expansion in self.expansions:
            if int(expanded_channels(channels, expansion)) == block.expanded:
                break
        else:
            raise UserError(f"block {number}: no expansion of {self.expansions} takes {channels} to {block.expanded}.")
        read = block.residual == PLAIN  # other blocks keep the channels that enter, which may be no width of the space
        if (read and block.out not in self.widths) or block.dilation not in self.dilations:
            raise UserError(f"block {number}: {block} has a width or dilation outside the space.")
        width = block.out if block.out in self.widths else self.widths[0]
        return {"dilation": block.dilation, "form": block.form, "expansion": expansion, "width": width}

    def single_changes(self, architecture: Architecture) -> list[Change]:
        """Every other network that one choice of the encoding made otherwise gives, each once.

        A choice that changes the channels changes the following blocks that keep them too. Raises `UserError` for a
        network outside the space.
        """
        choices, every = self.encode(architecture), self.values()
        read, changes, seen = self.read(choices), list[Change](), {architecture}
        for name, now in choices.items():
            for value in every[name] if name in read else ():
                changed = self.decode({**choices, name: value})
                if changed not in seen:
                    seen.add(changed)
                    changes.append(Change(name, now, value, changed))
        return changes

    def following(self, channels: int) -> list[Option]:
        """Every block that so many channels may enter, each once, with the first dilation; all take any other too."""
        return [
            Option(form, expansion, out, Block(expanded, out, self.dilations[0], residual, stride))
            for form, (residual, stride) in FORMS.items()
            for out in (self.widths if residual == PLAIN else (channels,))
            for expanded, expansion in self._expansions(channels).items()
        ]

    def _expansions(self, channels: int) -> dict[int, float]:
        """By expanded channels, the first expansion that gives them: few channels make expansions coincide."""
        apart = dict[int, float]()
        for expansion in self.expansions:
            apart.setdefault(int(expanded_channels(channels, expansion)), expansion)
        return apart

    def sample(self, size: int, rng: np.random.Generator) -> dict[str, npt.NDArray[Any]]:
        """`size` uniformly random encodings: name of each choice in `values` -> array [size] of its values."""
        columns: dict[str, npt.NDArray[Any]] = {
            name: rng.choice(values, size) for name, values in self.network_wide.searched.items()
        }
        columns["blocks"] = rng.integers(self.min_blocks, self.max_blocks + 1, size)
        for number in range(1, self.max_blocks + 1):
            columns[f"dilation_{number}"] = rng.choice(self.dilations, size)
            columns[f"form_{number}"] = rng.choice(list(FORMS), size)
            columns[f"expansion_{number}"] = rng.choice(self.expansions, size)
            columns[f"width_{number}"] = rng.choice(self.widths, size)
        return columns

    def networks(self, size: int, rng: np.random.Generator) -> list[Architecture]:
        """`size` random networks, decoded from uniform encodings, whether they fit limits or not."""
        return [self.decode(choices) for choices in encodings(self.sample(size, rng))]

    def columns(self, choices: Mapping[str, npt.NDArray[Any]], blocks: int) -> Iterator[BlockColumns]:
        """`decode` for columns as `sample` gives them: yields each of the first `blocks` blocks of all networks."""
        form_index = {form: index for index, form in enumerate(FORMS)}
        channels: Count = np.array([frame.stem[1] for frame in self.frames])[self.frame_indices(choices)]
        for number in range(1, blocks + 1):
            form = np.array([form_index[form] for form in choices[f"form_{number}"].tolist()], dtype=np.int64)
            residual, stride = _RESIDUAL[form], _STRIDE[form]
            out = np.where(residual == PLAIN, choices[f"width_{number}"], channels)
            expanded = expanded_channels(channels, choices[f"expansion_{number}"])
            yield BlockColumns(expanded, out, choices[f"dilation_{number}"], residual, (stride[:, 0], stride[:, 1]))  # type: ignore[arg-type]
            channels = out

    def frame_indices(self, choices: Mapping[str, npt.NDArray[Any]]) -> IntArray:
        """For encodings in columns, as `sample` gives them: the index of each one's frame in `frames`, [encodings]."""
        indices: IntArray = np.zeros(len(choices["blocks"]), dtype=np.int64)
        for name, values in self.network_wide.searched.items():
            place = {value: index for index, value in enumerate(values)}
            indices *= len(values)
            indices += np.array([place[value] for value in choices[name].tolist()], dtype=np.int64)
        return indices

    def size(self) -> int:
        """The number of distinct networks in the space, whether they fit limits or not."""
        # A block is one of (shortcut forms + plain forms x widths) x dilations x expansions that differ, which depends
        # on the channels that enter; only a plain one lets another width leave.
        plain = sum(residual == PLAIN for residual, _ in FORMS.values())
        size, ways = 0, dict(Counter(frame.stem[1] for frame in self.frames))
        for blocks in range(1, self.max_blocks + 1):
            going = {channels: number * len(self._expansions(channels)) for channels, number in ways.items()}
            everywhere = plain * sum(going.values())
            ways = {channels: number * (len(FORMS) - plain) for channels, number in going.items()}
            ways |= {width: ways.get(width, 0) + everywhere for width in self.widths}
            ways = {channels: number * len(self.dilations) for channels, number in ways.items()}
            size += sum(ways.values()) if blocks in self.sizes else 0
        return size


def encodings(columns: Mapping[str, npt.NDArray[Any]]) -> Iterator[dict[str, Any]]:
    """Yields the encodings of columns, as `Space.sample` gives them, one at a time as name -> value."""
    for row in zip(*(column.tolist() for column in columns.values()), strict=True):
        yield dict(zip(columns, row, strict=True))


def _ascending(name: str, values: tuple[Any, ...], *kinds: type) -> None:
    """Raise `UserError` unless these are positive numbers of these kinds, each greater than the one before."""
    numbers = all(type(value) in kinds and 0 < value < inf for value in values)
    if not (values and numbers and all(one < other for one, other in pairwise(values))):
        what = " or ".join(kind.__name__ for kind in kinds)
        raise UserError(f"`{name}` must be positive, of type {what}, and ascend, but got {values}.")


def _distribution(values: tuple[Any, ...]) -> BaseDistribution:
    """Exactly these values: numbers in steps where they are, so that samplers know their order, else categories."""
    if isinstance(values[0], str):
        return CategoricalDistribution(values)
    low, high = values[0], values[-1]
    step = round(values[1] - low, 6) if len(values) > 1 else 1
    stepped = [low + step * index for index in range(len(values))]
    if step == 0 or tuple(stepped) != values or any(round(value, 6) != value for value in values):
        return CategoricalDistribution(values)
    whole = all(type(value) is int for value in values)
    return IntDistribution(low, high, step=step) if whole else FloatDistribution(low, high, step=step)
