"""Which blocks can follow each other, at which price, and what all completions cost, by dynamic programming.

A network is a path, and a frame is a network apart from its blocks. A path starts at the shape that leaves the stem.
Each block leads from one state (channels, frequency, time) to another, at a cost in bytes and MACs that depends on the
state and the block alone; the head ends the path. Costs add up, so the budget that remains decides how a path can be
completed. Dilations cost nothing and are left out.

Frames (`Space.frames`) begin paths of their own. Frames that differ in nothing that costs share their paths; those with
different stems, but blocks and heads of equal cost, join where they come to the same state. So tables grow with the
number of different costs of blocks alone.

The peak of activation memory is no sum but a maximum: the most that the stem, a block or the head holds, each of which
depends on the state and the block alone. So a network keeps a limit of it if each of these does, and what exceeds it is
left out of the paths.

Costs are multiples of a large unit (32 bytes and 16 MACs in the default space in float16), so a table over all bytes
that may remain is short. A `SuffixTable` holds, for a state and a number of further blocks, what completions cost.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from math import gcd
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from budget.dtypes import dtype_named
from budget.errors import UserError
from budget.layers import Count, Layer, Shape
from budget.ledger import totals
from budget.limits import Limits
from budget.memory import most_elements
from dynacp.student.architecture import Architecture
from dynacp.student.layers import block_layers, head_layers, shape_after, stem_layers, stem_steps
from nas.space.counting import block_elements, equal_blocks, frames_that_stand_for, head_elements
from nas.space.space import BlockColumns, IntArray, Option, Space

NEVER = 1 << 60
"""Stands for "no completion": more MACs than any network has."""

MOST_UNITS = 16_384
"""The most entries of a table, one per unit of bytes. Larger byte limits are refused: tables for this many take 1.3 GB
in the default space, for each cost that a block may have.
"""


class State(NamedTuple):
    """All that the cost of a block or the head depends on: the shape that enters it, and the frame."""

    channels: int
    """The channels that enter."""
    frequency: int
    """The size along frequency."""
    time: int
    """The size along time."""
    frame: int = 0
    """Index in `Space.frames` of the first frame whose blocks and heads cost the same."""

    @property
    def shape(self) -> Shape:
        """The shape (channels, frequency, time)."""
        return self.channels, self.frequency, self.time


class Price(NamedTuple):
    """Bytes and MACs that a block or the head costs, or that are left for them, in units unless said otherwise."""

    bytes: int
    macs: int

    def after(self, move: "Move") -> "Price":
        """The budget that a move leaves of this one."""
        return Price(self.bytes - move.bytes, self.macs - move.macs)


class Move(NamedTuple):
    """Alternative blocks that lead from one state to `to` and cost the same; dilations are left out."""

    to: State
    """The state behind each."""
    bytes: int
    """The price of each in units of bytes."""
    macs: int
    """The price of each in units of MACs."""
    options: tuple[Option, ...]
    """The blocks, each with the space's first dilation."""


class Start(NamedTuple):
    """Frames whose networks cost the same, and the state in which they start."""

    frames: tuple[Architecture, ...]
    """Those of `Space.frames` that begin here; their one block only holds the place."""
    state: State
    """The state behind the stem, which the first block enters."""
    stem: Price
    """The cost of the stem, in bytes and MACs rather than in units."""
    fits: bool
    """Whether the stem keeps the limit of activation memory."""


@dataclass(frozen=True)
class SuffixTable:
    """The completions from a state with a given number of blocks, by the bytes that remain: arrays [units + 1].

    Entry b is about the completions that take at most b units of bytes.
    """

    least: IntArray
    """The fewest MACs among them, in units; about `NEVER` where there is none."""
    most: IntArray
    """The most MACs among them, in units; about -`NEVER` where there is none."""
    ways: npt.NDArray[np.uint64]
    """Their number, modulo 2^64."""


class Tables:
    """The paths of a space, and tables of what they cost at an inference dtype, computed when first asked for.

    A path is the blocks and the head of a network, from one of `starts` on; a completion is what is left of it from a
    state. Paths that exceed the limit of activation memory are left out. A unit is the greatest number of bytes, or of
    MACs, that divides all costs of blocks and all differences between heads. Methods take the states that they lead to
    within the space's `max_blocks`, and give what is cached and shared: do not change it. Raises `UserError` for a
    dtype not in `budget.dtypes.DTYPES`.
    """

    def __init__(self, space: Space, limits: Limits, dtype: str) -> None:
        self.space, self.limits, self.dtype = space, limits, dtype
        most = limits.max_activation_bytes
        self._most_elements = None if most is None else most // dtype_named(dtype).activation_bytes
        alike = defaultdict[int, list[int]](list)
        for index, first in enumerate(frames_that_stand_for(space, dtype)):
            alike[first].append(index)
        self.starts = [self._start(indices) for indices in alike.values()]
        self._blocks: dict[int, tuple[list[Option], BlockColumns]] = {}
        self._moves: dict[State, list[Move]] = {}
        self._suffix_tables: dict[tuple[State, int], SuffixTable] = {}
        self._paths: dict[tuple[State, int], int] = {}

    def _start(self, indices: list[int]) -> Start:
        frames = tuple(self.space.frames[index] for index in indices)
        stem = list(stem_layers(frames[0]))
        channels, frequency, time = (int(number) for number in stem[-1].output)
        blocks = equal_blocks(self.space, self.dtype)[indices[0]]
        fits = self._holds(lambda: most_elements(stem_steps(frames[0])))
        return Start(frames, State(channels, frequency, time, blocks), self._total(stem), fits)

    def moves(self, state: State) -> list[Move]:
        """All blocks that can follow a state, grouped by where they lead and what they cost.

        Those that exceed the limit of activation memory are left out.
        """
        if state not in self._moves:
            alike = defaultdict[tuple[State, Price], list[Option]](list)
            for (option, to, price), fits in zip(self._options[state], self._kept(state), strict=True):
                if fits:
                    alike[to, price].append(option)
            self._moves[state] = [
                Move(to, price.bytes // self._unit.bytes, price.macs // self._unit.macs, tuple(options))
                for (to, price), options in alike.items()
            ]
        return self._moves[state]

    def end(self, state: State) -> Price:
        """What the head costs behind a state, in units, beyond what the cheapest head costs.

        `NEVER` of both where it exceeds the limit of activation memory.
        """
        if not self._holds(lambda: head_elements(self.space.frames[state.frame], state.shape)):
            return Price(NEVER, NEVER)
        bytes, macs = self._ends[state]
        return Price((bytes - self._end.bytes) // self._unit.bytes, (macs - self._end.macs) // self._unit.macs)

    def budget(self, start: Start, max_macs: int | None = None) -> Price:
        """The budget that the limits leave for blocks behind a start, in units; negative where they leave none.

        They leave none where the stem alone exceeds the limit of activation memory. The cheapest head is already
        deducted; `end` is what others cost beyond it. `max_macs`, in MACs for one clip, not in units, replaces the
        limit of MACs. Raises `UserError` where tables of that many bytes would take too much memory.
        """
        if not start.fits:
            return Price(-1, -1)
        always, most = start.stem.bytes + self._end.bytes, MOST_UNITS * self._unit.bytes
        left = self.limits.max_bytes - always
        if left > most:
            raise UserError(
                f"exact tables in {self.dtype} go up to {always + most:,} bytes, but `max_bytes` is "
                f"{self.limits.max_bytes:,}; take a lower one."
            )
        macs = (self.limits.max_macs if max_macs is None else max_macs) - start.stem.macs - self._end.macs
        return Price(left // self._unit.bytes, macs // self._unit.macs)

    @cached_property
    def budgets(self) -> list[Price]:
        """The budget of each start, in the order of `starts`. Raises `UserError` as `budget` does."""
        return [self.budget(start) for start in self.starts]

    def suffix_table(self, state: State, blocks: int) -> SuffixTable:
        """What `blocks` more blocks and the head can cost from a state. Raises `UserError` as `budget` does."""
        key = (state, blocks)
        if key not in self._suffix_tables:
            self._suffix_tables[key] = self._at_the_end(state) if blocks == 0 else self._one_block_on(state, blocks)
        return self._suffix_tables[key]

    def _at_the_end(self, state: State) -> SuffixTable:
        ahead, (bytes, macs) = self._nothing(), self.end(state)
        ahead.least[bytes:], ahead.most[bytes:], ahead.ways[bytes:] = macs, macs, 1
        return ahead

    def _one_block_on(self, state: State, blocks: int) -> SuffixTable:
        ahead = self._nothing()
        for to, bytes, macs, options in self.moves(state):
            if bytes < len(ahead.ways):
                beyond, left = self.suffix_table(to, blocks - 1), len(ahead.ways) - bytes
                least, most, counted = ahead.least[bytes:], ahead.most[bytes:], ahead.ways[bytes:]
                np.minimum(least, beyond.least[:left] + macs, out=least)
                np.maximum(most, beyond.most[:left] + macs, out=most)
                counted += beyond.ways[:left] * np.uint64(len(options))
        return ahead

    def _nothing(self) -> SuffixTable:
        size = max(*(budget.bytes + 1 for budget in self.budgets), 0)
        least = np.full(size, NEVER, dtype=np.int64)
        return SuffixTable(least, -least, np.zeros(size, dtype=np.uint64))

    def allows(self, state: State, blocks: int, left: Price) -> bool:
        """Whether `blocks` more blocks and a head from a state fit into the budget `left`, in units.

        Raises `UserError` as `budget` does.
        """
        return min(left) >= 0 and bool(self.suffix_table(state, blocks).least[left.bytes] <= left.macs)

    def paths(self, state: State, blocks: int) -> int:
        """The number of completions with `blocks` more blocks, dilations left out, whether they fit or not.

        No block of them exceeds the limit of activation memory; the head behind them may.
        """
        if blocks == 0:
            return 1
        key = (state, blocks)
        if key not in self._paths:
            self._paths[key] = sum(len(move.options) * self.paths(move.to, blocks - 1) for move in self.moves(state))
        return self._paths[key]

    def check_digits(self, blocks: int) -> None:
        """Raise `UserError` if more than 2^64 paths of so many blocks begin at one start."""
        walks = max(self.paths(start.state, blocks) for start in self.starts)
        if walks > 1 << 64:
            raise UserError(f"{walks:.3g} walks of {blocks} blocks are more than this count has digits for.")

    @cached_property
    def _options(self) -> dict[State, list[tuple[Option, State, Price]]]:
        """For each state that can enter a block: every block that can follow, where it leads, and its price in full."""
        options: dict[State, list[tuple[Option, State, Price]]] = {}
        entering = {start.state for start in self.starts}
        for _ in range(self.space.max_blocks):
            options |= {state: self._following(state) for state in entering - options.keys()}
            entering = {to for state in entering for _, to, _ in options[state]}
        return options

    def _following(self, state: State) -> list[tuple[Option, State, Price]]:
        options, columns = self._behind(state.channels)
        layers = block_layers(self.space.frames[state.frame], "block", columns, state.shape)
        cost = totals(layers, dtype=self.dtype)
        to = np.stack(np.broadcast_arrays(*shape_after(columns, state.shape)), axis=1).tolist()
        prices = np.stack(np.broadcast_arrays(cost.bytes, cost.macs), axis=1).tolist()
        return [
            (option, State(channels, frequency, time, state.frame), Price(*price))
            for option, (channels, frequency, time), price in zip(options, to, prices, strict=True)
        ]

    def _kept(self, state: State) -> list[bool]:
        """For each block that can follow a state, whether it keeps the limit of activation memory."""
        options, columns = self._behind(state.channels)
        if self._most_elements is None:
            return [True] * len(options)
        held = block_elements(self.space.frames[state.frame], columns, state.shape)
        return (held <= self._most_elements).tolist()

    def _holds(self, elements: Callable[[], Count]) -> bool:
        """Whether so many elements keep the limit of activation memory; they are not counted where there is none."""
        return self._most_elements is None or bool(elements() <= self._most_elements)

    def _behind(self, channels: int) -> tuple[list[Option], BlockColumns]:
        """Each block that can follow so many channels; made once for all states that share them."""
        if channels not in self._blocks:
            options = self.space.following(channels)
            self._blocks[channels] = options, BlockColumns.of([option.block for option in options])
        return self._blocks[channels]

    @cached_property
    def _ends(self) -> dict[State, Price]:
        """For each state that can enter the head: the head's cost."""
        states = {start.state for start in self.starts} | {to for each in self._options.values() for _, to, _ in each}
        return {state: self._total(head_layers(self.space.frames[state.frame], state.shape)) for state in states}

    @cached_property
    def _end(self) -> Price:
        """The least cost of a head."""
        bytes, macs = zip(*self._ends.values(), strict=True)
        return Price(min(bytes), min(macs))

    @cached_property
    def _unit(self) -> Price:
        """The largest units that divide every price of a block, and every difference between heads."""
        prices = {price for options in self._options.values() for _, _, price in options}
        prices |= {Price(bytes - self._end.bytes, macs - self._end.macs) for bytes, macs in self._ends.values()}
        bytes, macs = zip(*prices, strict=True)
        return Price(gcd(*bytes), gcd(*macs))

    def _total(self, layers: Iterable[Layer]) -> Price:
        cost = totals(layers, dtype=self.dtype)
        return Price(int(cost.bytes), int(cost.macs))
