"""Which networks of a space fit, exactly and without listing them: dynamic programming over the remaining budget.

A network is a path. It starts at the shape that leaves the stem. Each block leads from one state (channels, frequency,
time) to another, at a cost in bytes and MACs that depends on the state and the block alone; the head ends the path.
Costs add up, so the budget that remains decides how a path can be completed. Dilations cost nothing and are left out.

Costs are multiples of a large unit (32 bytes and 16 MACs in the default space in float16), so a table over all bytes
that may remain is short. A `SuffixTable` holds, for a state and a number of further blocks, what completions cost.
"""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import accumulate, count
from math import gcd
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from budget.dtypes import DEFAULT_DTYPE
from budget.errors import UserError
from budget.layers import Layer
from budget.ledger import totals
from budget.limits import Limits
from dynacp.student.architecture import PLAIN, Architecture, Block
from dynacp.student.layers import block_layers, head_layers, shape_after, stem_layers
from nas.space.space import FORMS, BlockColumns, IntArray, Option, Space

NEVER = 1 << 60
"""More MACs than any network has."""

MOST_UNITS = 16_384
"""The most entries of a table, one per unit of bytes (`Feasible._unit`). Larger byte limits are refused: tables for
this many take 1.3 GB in the default space.
"""


class State(NamedTuple):
    """The shape that enters a block or the head: all that their cost depends on."""

    channels: int
    frequency: int
    time: int


class Price(NamedTuple):
    """A cost of a block or the head, or the budget that is left for them, in units."""

    bytes: int
    macs: int

    def after(self, move: "Move") -> "Price":
        """The budget that a move leaves of this one."""
        return Price(self.bytes - move.bytes, self.macs - move.macs)


class Move(NamedTuple):
    """Blocks that lead from one state to `to` for one price, in units; dilations apart."""

    to: State
    bytes: int
    macs: int
    options: tuple[Option, ...]


@dataclass(frozen=True)
class SuffixTable:
    """The completions from a state with a given number of blocks, by the bytes that remain: arrays [units + 1].

    Entry b is about the completions that take at most b units of bytes. `least` and `most` are the fewest and the most
    MACs among them, in units (about `NEVER` and -`NEVER` where there is none). `ways` is their number, modulo 2^64.
    """

    least: IntArray
    most: IntArray
    ways: npt.NDArray[np.uint64]


class Feasible:
    """The architectures of a space that keep the limits at an inference dtype, counted as that dtype is."""

    def __init__(self, space: Space, limits: Limits, dtype: str = DEFAULT_DTYPE) -> None:
        self.space, self.limits, self.dtype = space, limits, dtype
        stem = list(stem_layers(space.frame))
        self.start = State(*(int(number) for number in stem[-1].output))
        self._stem = self._total(stem)
        self._blocks: dict[int, tuple[list[Option], BlockColumns]] = {}
        self._moves: dict[State, list[Move]] = {}
        self._suffix_tables: dict[tuple[State, int], SuffixTable] = {}
        self._arriving = [Counter({self.start: 1})]
        """By number of blocks: in how many ways so many lead to a state."""

    def moves(self, state: State) -> list[Move]:
        """All blocks that can follow, those of one price together."""
        if state not in self._moves:
            alike = defaultdict[tuple[State, Price], list[Option]](list)
            for option, to, price in self._options[state]:
                alike[to, price].append(option)
            self._moves[state] = [
                Move(to, price.bytes // self._unit.bytes, price.macs // self._unit.macs, tuple(options))
                for (to, price), options in alike.items()
            ]
        return self._moves[state]

    def end(self, state: State) -> Price:
        """What the head costs behind a state, in units, beyond the part that it always costs."""
        bytes, macs = self._ends[state]
        return Price((bytes - self._end.bytes) // self._unit.bytes, (macs - self._end.macs) // self._unit.macs)

    @cached_property
    def budget(self) -> Price:
        """The budget that the limits leave for blocks, and for heads that cost more than the least, in units; perhaps
        negative.

        Raises `UserError` where tables of that many bytes would take too much memory.
        """
        always = self._stem.bytes + self._end.bytes
        left, most = self.limits.max_bytes - always, MOST_UNITS * self._unit.bytes
        if left > most:
            raise UserError(
                f"exact tables in {self.dtype} go up to {always + most:,} bytes, but `max_bytes` is "
                f"{self.limits.max_bytes:,}; take a lower one."
            )
        return Price(left // self._unit.bytes, self.macs_within(self.limits.max_macs))

    def macs_within(self, max_macs: int) -> int:
        """The MACs of `budget`, in units, for another limit of MACs."""
        return (max_macs - self._stem.macs - self._end.macs) // self._unit.macs

    def suffix_table(self, state: State, blocks: int) -> SuffixTable:
        """The table of what `blocks` more blocks and the head can cost from a state."""
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
            if bytes <= self.budget.bytes:
                beyond, left = self.suffix_table(to, blocks - 1), len(ahead.ways) - bytes
                least, most, counted = ahead.least[bytes:], ahead.most[bytes:], ahead.ways[bytes:]
                np.minimum(least, beyond.least[:left] + macs, out=least)
                np.maximum(most, beyond.most[:left] + macs, out=most)
                counted += beyond.ways[:left] * np.uint64(len(options))
        return ahead

    def _nothing(self) -> SuffixTable:
        size = max(self.budget.bytes + 1, 0)
        least = np.full(size, NEVER, dtype=np.int64)
        return SuffixTable(least, -least, np.zeros(size, dtype=np.uint64))

    def allows(self, state: State, blocks: int, left: Price) -> bool:
        """Whether from here, with so much left in units, so many blocks and the head still fit."""
        return min(left) >= 0 and bool(self.suffix_table(state, blocks).least[left.bytes] <= left.macs)

    def sample(
        self, blocks: int, size: int, rng: np.random.Generator, *, tries: int | None = None
    ) -> list[Architecture]:
        """`size` networks of so many blocks (fewer after so many tries), any that fits as likely as any other.

        Walks are drawn exactly uniformly from those whose bytes fit, and those with too many MACs thrown away: one
        in ten of eight blocks under the default limits, nearly all under a low limit of MACs. Raises `UserError`
        where none fits, and for a space of more walks than 2^64.
        """
        self.check_digits(blocks)
        if not self.allows(self.start, blocks, self.budget):
            raise UserError(
                f"no network of {blocks} blocks fits {self.limits.max_bytes:,} bytes and {self.limits.max_macs:,} MACs."
            )
        networks: list[Architecture] = []
        for _ in count() if tries is None else range(tries):
            if len(networks) == size:
                break
            if (walk := self._sampled(blocks, rng)) is not None:
                networks.append(replace(self.space.frame, blocks=walk))
        return networks

    def _sampled(self, blocks: int, rng: np.random.Generator) -> tuple[Block, ...] | None:
        state, left, chosen = self.start, self.budget, []
        for to_come in reversed(range(blocks)):
            moves = [move for move in self.moves(state) if move.bytes <= left.bytes]
            ways = [
                len(move.options) * int(self.suffix_table(move.to, to_come).ways[left.bytes - move.bytes])
                for move in moves
            ]
            drawn = int(rng.integers(sum(ways), dtype=np.uint64))
            move = moves[bisect_right(list(accumulate(ways)), drawn)]
            state, left = move.to, left.after(move)
            if not self.allows(state, to_come, left):
                return None
            option = move.options[rng.integers(len(move.options))]
            chosen.append(replace(option.block, dilation=int(rng.choice(self.space.dilations))))
        return tuple(chosen)

    def next_choice(self, chosen: Mapping[str, Any]) -> tuple[str, list[Any]] | None:
        """After these choices of an encoding: the next one to make, and those of its values that lead to what fits.

        Choices are made in this order: the number of blocks, then for each block its form, its expansion, its width
        (of a plain form) and its dilation. None when all are made. Raises `UserError` after choices that lead to
        nothing that fits.
        """
        questions = self._questions()
        name, values = next(questions)
        while name in chosen:
            try:
                name, values = questions.send(chosen[name])
            except StopIteration:
                return None
        return name, values

    def nearest(self, choices: Mapping[str, Any]) -> dict[str, Any]:
        """The choices nearest to those of an encoding whose network fits: the same where it does.

        Made in the order of `next_choice`, each as near as the choices before it leave open; those that are not read
        stay as they are. Raises `UserError` where nothing fits.
        """
        near, questions = dict(choices), self._questions()
        name, values = next(questions)
        if not values:
            raise UserError(f"nothing fits {self.limits.max_bytes:,} bytes and {self.limits.max_macs:,} MACs.")
        while True:
            near[name] = min(values, key=partial(_distance, choices[name]))
            try:
                name, values = questions.send(near[name])
            except StopIteration:
                return near

    def _questions(self) -> Generator[tuple[str, list[Any]], Any, None]:
        """Each choice of an encoding in turn, with the values that lead to what fits; takes the value chosen."""
        state, left = self.start, self.budget
        blocks = yield "blocks", [size for size in self.space.sizes if self.allows(state, size, left)]
        for number in range(1, blocks + 1):
            moves = [
                (option, move)
                for move in self.moves(state)
                if self.allows(move.to, blocks - number, left.after(move))
                for option in move.options
            ]
            for choice in ("form", "expansion", "width"):
                if choice == "width" and moves and moves[0][0].block.residual != PLAIN:
                    continue
                values = [getattr(option, choice) for option, _ in moves]
                value = yield f"{choice}_{number}", list(dict.fromkeys(values))
                moves = [each for each, its in zip(moves, values, strict=True) if its == value]
            if not moves:
                raise UserError(f"after the choices for block {number} nothing fits any more; the last was {value}.")
            yield f"dilation_{number}", list(self.space.dilations)
            ((_, move),) = moves
            state, left = move.to, left.after(move)

    def check_digits(self, blocks: int) -> None:
        """Raise `UserError` where walks of so many blocks are too many to be counted exactly in 64 bits."""
        if (walks := self.walks(blocks)) > 1 << 64:
            raise UserError(f"{walks:.3g} walks of {blocks} blocks are more than this count has digits for.")

    def walks(self, blocks: int) -> int:
        """How many walks of so many blocks there are, whether they fit or not."""
        while len(self._arriving) <= blocks:
            arriving = Counter[State]()
            for state, number in self._arriving[-1].items():
                for move in self.moves(state):
                    arriving[move.to] += number * len(move.options)
            self._arriving.append(arriving)
        return self._arriving[blocks].total()

    @cached_property
    def _options(self) -> dict[State, list[tuple[Option, State, Price]]]:
        """For each state that can enter a block: every block that can follow, where it leads, and its price in full."""
        options: dict[State, list[tuple[Option, State, Price]]] = {}
        entering = {self.start}
        for _ in range(self.space.max_blocks):
            options |= {state: self._following(state) for state in entering - options.keys()}
            entering = {to for state in entering for _, to, _ in options[state]}
        return options

    def _following(self, state: State) -> list[tuple[Option, State, Price]]:
        options, columns = self._behind(state.channels)
        cost = totals(block_layers(self.space.frame, "block", columns, state), dtype=self.dtype)
        to = np.stack(np.broadcast_arrays(*shape_after(columns, state)), axis=1).tolist()
        prices = np.stack(np.broadcast_arrays(cost.bytes, cost.macs), axis=1).tolist()
        return [(option, State(*t), Price(*p)) for option, t, p in zip(options, to, prices, strict=True)]

    def _behind(self, channels: int) -> tuple[list[Option], BlockColumns]:
        """Each block that can follow so many channels; made once for all states that share them."""
        if channels not in self._blocks:
            options = self.space.following(channels)
            self._blocks[channels] = options, BlockColumns.of([option.block for option in options])
        return self._blocks[channels]

    @cached_property
    def _ends(self) -> dict[State, Price]:
        """For each state that can enter the head: the head's cost."""
        states = {self.start} | {to for options in self._options.values() for _, to, _ in options}
        return {state: self._total(head_layers(self.space.frame, state)) for state in states}

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


def _distance(value: Any, other: Any) -> float:
    """How unlike two values of a choice are.

    Of forms, the axes that only one of them halves, plus 1/2 if only one has a shortcut; of numbers, their difference.
    """
    if isinstance(value, str):
        (residual, stride), (other_residual, other_stride) = FORMS[value], FORMS[other]
        halved = sum(one != another for one, another in zip(stride, other_stride, strict=True))
        return halved + ((residual == PLAIN) != (other_residual == PLAIN)) / 2
    return abs(value - other)
