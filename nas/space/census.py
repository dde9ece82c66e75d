"""How many networks of a space fit: the exact number, without listing them.

A walk is a network apart from its dilations, built block by block. We propagate remaining budgets, not networks.
Partial networks that reach the same state with the same bytes and MACs left have the same completions, so they are
stored once, with their number as a weight. Three rules keep them few:

- a budget that no completion keeps is dropped;
- a budget whose MACs suffice for every completion that its bytes allow is settled by the table of bytes;
- where more budgets wait in a state than there are completions, the completions are listed instead, and the pairs of a
  budget and a completion that keeps it are counted: both in order of MACs, with a Fenwick tree over the bytes.

The number of networks is that of walks, times the choices of a dilation for each block, times the frames (a frame is a
network apart from its blocks) that share the walks. All starts are counted together, as far as 64 bits hold the number.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from dynacp.compiled import compiled
from nas.space.feasible import Feasible
from nas.space.space import IntArray
from nas.space.tables import Move, Price, State

Progress = Callable[[int], None]
"""Called with the number of blocks done so far, 1 after the first."""

LISTING = 4
"""The time to list one completion of a partial network, as a multiple of the time to carry one budget a block on."""

LISTED_AHEAD = 2
"""The longest completions, in blocks, that are listed before the threads that share the lists start."""

TOGETHER = 1 << 64
"""The most walks (networks apart from their dilations) from several `nas.space.tables.Start`s that are counted
together: so many can be counted modulo 2^64, where 0 stands for 2^64."""

MARGIN_BITS = 10
"""Bits of a packed 64-bit integer left free above a weight, since one more block multiplies the weight by its
choices.
"""


@dataclass(frozen=True)
class Packing:
    """Packs a budget and its weight into one 64-bit integer: MACs, bytes, weight, from the highest bits down.

    So sorting sorts by MACs, and equal budgets come to stand together. The price of a completion is packed alike.
    MACs and bytes are in the units of `nas.space.tables.Tables`; a weight is how many partial networks leave a budget.
    """

    byte_bits: int
    """Bits for the bytes, in units (`nas.space.tables`)."""
    weight_bits: int
    """Bits for the weight: how many partial networks leave this budget."""

    def one(self, bytes: int, macs: int) -> IntArray:
        """A packed int64 array [1] of one budget, in units, with weight 1."""
        return np.array([(macs << self.byte_bits | bytes) << self.weight_bits | 1])

    def macs(self, packed: IntArray) -> IntArray:
        """The MACs of packed budgets [budgets], in units: int64 [budgets]."""
        return packed >> self.byte_bits + self.weight_bits

    def bytes(self, packed: IntArray) -> IntArray:
        """The bytes of packed budgets [budgets], in units: int64 [budgets]."""
        return packed >> self.weight_bits & (1 << self.byte_bits) - 1

    def merge(self, packed: IntArray) -> IntArray:
        """The packed budgets in ascending order, equal ones merged into one with the sum of their weights.

        A new array, but for an empty one. Sorts `packed` in place. Raises `ValueError` where a sum comes too close to
        the bits that hold it.
        """
        packed.sort()
        kind = packed >> self.weight_bits
        first = np.flatnonzero(np.diff(kind, prepend=-1))
        if not len(first):
            return packed
        weights = np.add.reduceat(packed & (1 << self.weight_bits) - 1, first)
        if int(weights.max()) >> max(self.weight_bits - MARGIN_BITS, 0):
            raise ValueError("more walks leave one budget than there is room to count beside it.")
        return kind[first] << self.weight_bits | weights


@dataclass
class _Walks:
    """Walks that are counted together, at most 2^64 of them: each is that of as many `frames`."""

    frames: int
    most: int = 0
    """No fewer than fit."""
    fitting: int = 0
    """How many are known to fit, modulo 2^64 once all are walked."""
    waiting: dict[State, IntArray] = field(default_factory=dict)
    """The budgets that are left where they go on."""

    @property
    def networks(self) -> int:
        """How many networks fit, once all are walked; dilations apart. Some do, so 0 can only be 2^64."""
        return (self.fitting % (1 << 64) or 1 << 64) * self.frames


class Census:
    """Counts the networks that fit the limits of `feasible`. Tables made for one count serve the next.

    `bytes` and `macs` are the most that can be spent on blocks, in units, and `packing` holds so much. Raises
    `UserError` where the byte limit is too high for exact tables.
    """

    def __init__(self, feasible: Feasible) -> None:
        self.feasible, self.tables = feasible, feasible.tables
        starts = [
            (start, budget)
            for start, budget in zip(self.tables.starts, self.tables.budgets, strict=True)
            if min(budget) >= 0
        ]
        most = [
            int(self.tables.suffix_table(start.state, size).most[budget.bytes])
            for start, budget in starts
            for size in feasible.space.sizes
        ]
        self.bytes = max((budget.bytes for _, budget in starts), default=0)
        self.macs = min(
            max((budget.macs for _, budget in starts), default=0), max(most, default=0)
        )  # more is left over
        byte_bits, macs_bits = (max(number, 1).bit_length() for number in (self.bytes, self.macs))
        self.packing = Packing(byte_bits, 63 - byte_bits - macs_bits)
        self._lists: dict[tuple[State, int], IntArray] = {}

    def count(self, blocks: int, max_macs: int, progress: Progress = lambda _: None) -> int:
        """The exact number of networks of `blocks` blocks within the byte limit and `max_macs`, in MACs for one clip.

        `blocks` may not exceed the space's `max_blocks`, nor `max_macs` the limit of MACs that `feasible` has; neither
        is checked. `progress` is called with the number of blocks done, and not where nothing fits. Raises `UserError`
        where more than 2^64 networks of so many blocks, apart from dilations, have one stem.
        """
        self.tables.check_digits(blocks)
        walks = list(self._begun(blocks, max_macs))
        if not walks:
            return 0
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            for walked in range(1, blocks + 1):
                for each in walks:
                    self._one_block_on(each, blocks - walked, threads)
                progress(walked)
        return sum(each.networks for each in walks) * len(self.feasible.space.dilations) ** blocks

    def _begun(self, blocks: int, max_macs: int) -> Iterator["_Walks"]:
        """All starts with a network that fits: those in one piece that stand for as many frames, and whose walks within
        the bytes, which are no fewer than those that fit, are at most 2^64 together.
        """
        pieces = dict[int, _Walks]()
        for start in self.tables.starts:
            bytes, macs = self.tables.budget(start, max_macs)
            budget, frames = Price(bytes, min(macs, self.macs)), len(start.frames)
            if not self.tables.allows(start.state, blocks, budget):
                continue
            within = int(self.tables.suffix_table(start.state, blocks).ways[bytes]) or 1 << 64  # one fits, so not none
            if frames in pieces and pieces[frames].most + within > TOGETHER:
                yield pieces.pop(frames)
            piece = pieces.setdefault(frames, _Walks(frames))
            piece.most += within
            before = piece.waiting.get(start.state, np.empty(0, dtype=np.int64))
            piece.waiting[start.state] = np.concatenate([before, self.packing.one(*budget)])
        yield from pieces.values()

    def _one_block_on(self, walks: "_Walks", left: int, threads: ThreadPoolExecutor) -> None:
        """Walk a block, after which `left` are left."""
        arriving = self._arriving(walks.waiting, left)
        walk = [threads.submit(self._walk, to, left, come) for to, come in arriving.items()]
        walks.waiting = {}
        for to, arrived in zip(arriving, walk, strict=True):
            settled, budgets = arrived.result()
            walks.fitting += settled
            if len(budgets):
                walks.waiting[to] = budgets

    def _arriving(self, waiting: dict[State, IntArray], left: int) -> dict[State, list[tuple[IntArray, Move]]]:
        """By state, what comes there by which moves; the states with most to do first, so that threads end together.

        Makes the tables and lists that the threads share.
        """
        arriving = defaultdict(list)
        for state, budgets in waiting.items():
            for move in self.tables.moves(state):
                arriving[move.to].append((budgets, move))
        for to in arriving:
            self.tables.suffix_table(to, left)
            for move in self.tables.moves(to) if 0 < left <= LISTED_AHEAD + 1 else ():
                self._listed(move.to, left - 1)
        return dict(sorted(arriving.items(), key=lambda each: -sum(len(budgets) for budgets, _ in each[1])))

    def _walk(self, to: State, left: int, come: list[tuple[IntArray, Move]]) -> tuple[int, IntArray]:
        """One block on, to one state: how many ways from there are settled, and the budgets that go on."""
        table, packing, settled = self.tables.suffix_table(to, left), self.packing, 0
        budgets, size = np.empty(sum(len(each) for each, _ in come), dtype=np.int64), 0  # most of it is never touched
        for each, move in come:
            size, more = _spend(
                each, *_price(move), *_bits(packing), table.least, table.most, table.ways, budgets, size
            )
            settled += int(more)
        budgets = budgets[:size].copy()
        if not size:
            return settled, budgets
        bytes, moves = int(packing.bytes(budgets).max()), len(self.tables.moves(to)) if left else 1
        if LISTING * int(table.ways[bytes]) > moves * size:
            return settled, packing.merge(budgets)
        budgets.sort()
        ways = self._ways(to, left, bytes, int(packing.macs(budgets[-1])))
        return settled + int(_pairs(budgets, ways, *_bits(packing), len(table.ways))), np.empty(0, dtype=np.int64)

    def _listed(self, state: State, blocks: int) -> IntArray:
        key = (state, blocks)
        if key not in self._lists:
            self._lists[key] = self._ways(state, blocks, self.bytes, self.macs)
        return self._lists[key]

    def _ways(self, state: State, blocks: int, bytes: int, macs: int) -> IntArray:
        """What the ways to go on from here take, of those that take at most so much."""
        if blocks == 0:
            end = self.tables.end(state)
            fits = end.bytes <= bytes and end.macs <= macs
            return self.packing.one(*end) if fits else np.empty(0, dtype=np.int64)
        beyond = [(self._listed(move.to, blocks - 1), move) for move in self.tables.moves(state)]
        ways, size = np.empty(sum(len(each) for each, _ in beyond), dtype=np.int64), 0
        for each, move in beyond:
            size = _prepend(each, *_price(move), *_bits(self.packing), bytes, macs, ways, size)
        return self.packing.merge(ways[:size])


def _bits(packing: Packing) -> tuple[int, int]:
    return packing.byte_bits, packing.weight_bits


def _price(move: Move) -> tuple[int, int, int]:
    """The bytes, MACs and number of blocks of a move."""
    return move.bytes, move.macs, len(move.options)


@compiled(nogil=True)
def _spend(
    budgets: IntArray,
    bytes: int,
    macs: int,
    ways: int,
    byte_bits: int,
    weight_bits: int,
    least: IntArray,
    most: IntArray,
    table: npt.NDArray[np.uint64],
    left: IntArray,
    size: int,
) -> tuple[int, np.uint64]:
    """Take a move's price from budgets: the ways that are settled, and in `left`, from `size` on, what goes on."""
    settled = np.uint64(0)
    for budget in budgets:
        m = (budget >> byte_bits + weight_bits) - macs
        b = (budget >> weight_bits & (1 << byte_bits) - 1) - bytes
        if b < 0 or m < least[b]:
            continue
        weight = (budget & (1 << weight_bits) - 1) * ways
        if m >= most[b]:
            settled += np.uint64(weight) * table[b]
        else:
            left[size] = (m << byte_bits | b) << weight_bits | weight
            size += 1
    return size, settled


@compiled(nogil=True)
def _prepend(
    beyond: IntArray,
    bytes: int,
    macs: int,
    ways: int,
    byte_bits: int,
    weight_bits: int,
    max_bytes: int,
    max_macs: int,
    longer: IntArray,
    size: int,
) -> int:
    """A move and then each of the ways beyond it, in order of MACs, as far as they keep the maxima."""
    for way in beyond:
        m = (way >> byte_bits + weight_bits) + macs
        if m > max_macs:
            break
        b = (way >> weight_bits & (1 << byte_bits) - 1) + bytes
        if b <= max_bytes:
            longer[size] = (m << byte_bits | b) << weight_bits | (way & (1 << weight_bits) - 1) * ways
            size += 1
    return size


@compiled(nogil=True)
def _pairs(budgets: IntArray, ways: IntArray, byte_bits: int, weight_bits: int, size: int) -> np.uint64:
    """Pairs of a budget and a way that keeps it, by weight; both in order of MACs, bytes below `size`."""
    tree = np.zeros(size + 1, np.uint64)  # tree[i]: ways so far with bytes in [i - (i & -i), i)
    pairs, listed = np.uint64(0), 0
    for budget in budgets:
        macs = budget >> byte_bits + weight_bits
        while listed < len(ways) and ways[listed] >> byte_bits + weight_bits <= macs:
            at = (ways[listed] >> weight_bits & (1 << byte_bits) - 1) + 1
            while at <= size:
                tree[at] += np.uint64(ways[listed] & (1 << weight_bits) - 1)
                at += at & -at
            listed += 1
        at, within = (budget >> weight_bits & (1 << byte_bits) - 1) + 1, np.uint64(0)
        while at > 0:
            within += tree[at]
            at -= at & -at
        pairs += within * np.uint64(budget & (1 << weight_bits) - 1)
    return pairs
