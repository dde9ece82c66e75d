"""Which networks of a space fit, exactly and without listing them: whether any does, random ones, the nearest one.

All of it reads the tables of `nas.space.tables`, and builds networks block by block. A network apart from its dilations
is called a walk here: dilations cost nothing, so any may be added.
"""

from bisect import bisect_right
from collections.abc import Generator, Mapping
from dataclasses import replace
from functools import partial
from itertools import accumulate, count
from typing import Any

import numpy as np

from budget.dtypes import DEFAULT_DTYPE
from budget.errors import UserError
from budget.limits import Limits
from dynacp.student.architecture import PLAIN, Architecture, Block
from nas.space.space import FORMS, Space
from nas.space.tables import Price, Start, State, Tables


class Feasible:
    """The architectures of a space that keep the limits at an inference dtype, a name of `budget.dtypes.DTYPES`.

    Raises `UserError` for another dtype. All methods but `walks` raise it where the byte limit is too high for exact
    tables. Where they take a number of blocks, it may not exceed the space's `max_blocks`. `tables` holds what they
    read.
    """

    def __init__(self, space: Space, limits: Limits, dtype: str = DEFAULT_DTYPE) -> None:
        self.space, self.limits, self.dtype = space, limits, dtype
        self.tables = Tables(space, limits, dtype)

    def allows(self, blocks: int) -> bool:
        """Whether any network of so many blocks fits."""
        tables = self.tables
        pairs = zip(tables.starts, tables.budgets, strict=True)
        return any(tables.allows(start.state, blocks, left) for start, left in pairs)

    def walks(self, blocks: int) -> int:
        """The number of walks (networks apart from their dilations) of so many blocks, whether they fit or not."""
        space = replace(self.space, min_blocks=blocks, max_blocks=blocks)
        return space.size() // len(space.dilations) ** blocks

    def sample(
        self, blocks: int, size: int, rng: np.random.Generator, *, tries: int | None = None
    ) -> list[Architecture]:
        """`size` random networks of `blocks` blocks that fit, drawn uniformly; fewer if `tries` draws find no more.

        Networks are drawn exactly uniformly from those whose bytes and activations fit, and those with too many MACs
        thrown away: one in ten of eight blocks is kept under the default limits, hardly any under a low limit of MACs.
        Raises `UserError` where none fits, and where more than 2^64 networks, apart from dilations, have one stem.
        """
        self.tables.check_digits(blocks)
        if not self.allows(blocks):
            raise UserError(f"no network of {blocks} blocks fits {self.limits}.")
        networks: list[Architecture] = []
        for _ in count() if tries is None else range(tries):
            if len(networks) == size:
                break
            start, left = self._drawn_start(blocks, rng)
            if (walk := self._drawn_walk(start.state, left, blocks, rng)) is not None:
                frame = start.frames[rng.integers(len(start.frames))]
                networks.append(replace(frame, blocks=walk))
        return networks

    def _drawn_start(self, blocks: int, rng: np.random.Generator) -> tuple[Start, Price]:
        """A random start and its budget, as likely as its frames have walks whose bytes fit."""
        starts = list(zip(self.tables.starts, self.tables.budgets, strict=True))
        if len(starts) == 1:
            return starts[0]
        ways = [len(start.frames) * sum(self._ways(start.state, left, blocks)) for start, left in starts]
        return starts[_drawn(ways, rng)]

    def _ways(self, state: State, left: Price, blocks: int) -> list[int]:
        """For each move from a state: how many walks of so many blocks begin with it whose bytes fit."""
        return [
            len(move.options) * int(self.tables.suffix_table(move.to, blocks - 1).ways[left.bytes - move.bytes])
            if move.bytes <= left.bytes
            else 0
            for move in self.tables.moves(state)
        ]

    def _drawn_walk(self, state: State, left: Price, blocks: int, rng: np.random.Generator) -> tuple[Block, ...] | None:
        chosen = []
        for to_come in reversed(range(blocks)):
            ways = self._ways(state, left, to_come + 1)
            drawn = int(rng.integers(sum(ways), dtype=np.uint64))
            move = self.tables.moves(state)[bisect_right(list(accumulate(ways)), drawn)]
            state, left = move.to, left.after(move)
            if not self.tables.allows(state, to_come, left):
                return None
            option = move.options[rng.integers(len(move.options))]
            chosen.append(replace(option.block, dilation=int(rng.choice(self.space.dilations))))
        return tuple(chosen)

    def completions(self, begun: Architecture, kept: int) -> int:
        """The number of networks that fit and equal `begun`, a network of the space, but for its blocks after `kept`.

        They have as many blocks. The time grows steeply with the blocks that are open: three take a second. Raises
        `UserError` for a network outside the space.
        """
        self.space.encode(begun)
        state, left = self._begun(begun)
        for block in begun.blocks[:kept]:
            plain = replace(block, dilation=self.space.dilations[0])
            moves = (move for move in self.tables.moves(state) if plain in (option.block for option in move.options))
            if (move := next(moves, None)) is None:
                return 0  # it exceeds the limit of activation memory
            state, left = move.to, left.after(move)
        to_come = len(begun.blocks) - kept
        return self._completed(state, left, to_come) * len(self.space.dilations) ** to_come

    def _begun(self, network: Architecture) -> tuple[State, Price]:
        """The state behind a network's stem, and the budget left there."""
        frame = replace(network, blocks=self.space.frames[0].blocks)
        pairs = zip(self.tables.starts, self.tables.budgets, strict=True)
        return next((start.state, left) for start, left in pairs if frame in start.frames)

    def _completed(self, state: State, left: Price, blocks: int) -> int:
        """The walks of so many blocks from a state that keep what is left."""
        if not self.tables.allows(state, blocks, left):
            return 0
        table = self.tables.suffix_table(state, blocks)
        if left.macs >= table.most[left.bytes]:
            return int(table.ways[left.bytes])
        return sum(
            len(move.options) * self._completed(move.to, left.after(move), blocks - 1)
            for move in self.tables.moves(state)
        )

    def next_choice(self, chosen: Mapping[str, Any]) -> tuple[str, list[Any]] | None:
        """The next choice after `chosen`, part of an encoding: (its name, its values that lead to a network that fits).

        Choices are made in this order: the network-wide ones, the number of blocks, then for each block its form, its
        expansion, its width (of a form without a shortcut) and its dilation. None when all are made. Where no network
        that fits begins with `chosen`, there are no values, or `UserError` is raised.
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
        """An encoding near `choices` whose network fits, in a new dict; equal to `choices` where that does.

        `choices` has a value for each name in `Space.values`. Each choice in the order of `next_choice` takes the
        nearest value that those before it leave open; entries that do not change the network stay as they are. Raises
        `UserError` where nothing fits.
        """
        near, questions = dict(choices), self._questions()
        name, values = next(questions)
        if not values:
            raise UserError(f"nothing fits {self.limits}.")
        while True:
            near[name] = min(values, key=partial(_distance, name, choices[name]))
            try:
                name, values = questions.send(near[name])
            except StopIteration:
                return near

    def _questions(self) -> Generator[tuple[str, list[Any]], Any, None]:
        """Each choice of an encoding in turn, with the values that lead to what fits; takes the value chosen."""
        tables = self.tables
        state, left = yield from self._frame_questions()
        blocks = yield "blocks", [size for size in self.space.sizes if tables.allows(state, size, left)]
        for number in range(1, blocks + 1):
            moves = [
                (option, move)
                for move in tables.moves(state)
                if tables.allows(move.to, blocks - number, left.after(move))
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

    def _frame_questions(self) -> Generator[tuple[str, list[Any]], Any, tuple[State, Price]]:
        """The network-wide choices in turn, as `_questions` gives them; returns where they lead, and the budget."""
        tables = self.tables
        frames = [
            (frame, start.state, left)
            for start, left in zip(tables.starts, tables.budgets, strict=True)
            for frame in start.frames
        ]
        for name in self.space.network_wide.searched:
            known = self.space.network_wide.values[name]
            those_that_lead_on = {
                getattr(frame, name)
                for frame, state, left in frames
                if any(tables.allows(state, size, left) for size in self.space.sizes)
            }
            value = yield name, [text for text, its in known.items() if its in those_that_lead_on]
            frames = [each for each in frames if getattr(each[0], name) == known.get(value)]
            if not frames:
                raise UserError(f"`{name}` must be one of {', '.join(known)}, but got {value}.")
        ((_, state, left),) = frames
        return state, left


def _drawn(ways: list[int], rng: np.random.Generator) -> int:
    """A random place in a list, exactly as likely as the number there says; numbers of any size."""
    ends = list(accumulate(ways))
    bits = ends[-1].bit_length()
    while (drawn := int.from_bytes(rng.bytes(-(-bits // 8))) >> -bits % 8) >= ends[-1]:
        pass
    return bisect_right(ends, drawn)


def _distance(choice: str, value: Any, other: Any) -> float:
    """How unlike two values of a choice are.

    Of numbers, their difference; of stems, the sum of those of their widths. Of forms, the axes that only one of them
    halves, plus 1/2 if only one has a shortcut. Of all others, whether they differ.
    """
    if not isinstance(value, str):
        return abs(value - other)
    if choice == "stem":
        pairs = zip(value.split("-"), other.split("-"), strict=True)
        return sum(abs(int(one) - int(its)) for one, its in pairs)
    if value not in FORMS:
        return value != other
    (residual, stride), (other_residual, other_stride) = FORMS[value], FORMS[other]
    halved = sum(one != another for one, another in zip(stride, other_stride, strict=True))
    return halved + ((residual == PLAIN) != (other_residual == PLAIN)) / 2
