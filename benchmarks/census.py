"""How fast networks that fit are counted exactly, against counting each of them in bulk, in one run.

    python -m benchmarks.census

The alternative is what a script would do: list all networks and count them, thousands at once (`nas.space.counting`'s
formulas). Both get the default space cut to three blocks (dilations apart, which cost nothing), and must agree. Then
the census of the whole default space, which no list can hold.

Notes. On two cores the whole space takes about 50 seconds and 1.7 GB: eight blocks two thirds of it, of which the step
to the fifth block is nearly all (24 million budgets, 240 moves each: 5.7 billion steps, of which 15 % go on). Budgets
that are settled by the table of bytes make the rest short: without that rule 845 million would wait behind the
fourth block. Listing ways for less than three blocks to come keeps them out of memory; four would be too many.
"""

import time
from collections.abc import Iterator
from functools import cache

import numpy as np
from rich.console import Console
from rich.table import Table

from budget.ledger import totals
from budget.limits import Limits
from dynacp.student.architecture import Block
from dynacp.student.layers import network_layers
from nas.space.census import Census
from nas.space.feasible import Feasible
from nas.space.space import BlockColumns, Space

BLOCKS = 3


def listed(space: Space, limits: Limits) -> int:
    """How many networks of three blocks fit, by counting each."""
    fitting = 0
    for blocks in every_three_blocks(space):
        cost = totals(network_layers(space.frame, blocks))
        fitting += int(np.sum(limits.allow(bytes=cost.bytes, macs=cost.macs)))
    return fitting


def every_three_blocks(space: Space) -> Iterator[list[BlockColumns]]:
    """The networks in parts of one first block."""

    @cache
    def following(channels: int) -> list[Block]:
        return [option.block for option in space.following(channels)]

    for first in following(space.frame.stem[1]):
        pairs = [(second, third) for second in following(first.out) for third in following(second.out)]
        yield [BlockColumns.of(blocks) for blocks in ([first] * len(pairs), *map(list, zip(*pairs, strict=True)))]


def main() -> None:
    limits = Limits(max_bytes=60_000, max_macs=20_000_000)
    space = Space(min_blocks=BLOCKS, max_blocks=BLOCKS, dilations=(1,))
    Census(Feasible(space, Limits(20_000, 9_000_000))).count(BLOCKS, 9_000_000)  # compiles, once for each machine
    started = time.perf_counter()
    counted = Census(Feasible(space, limits)).count(BLOCKS, limits.max_macs)
    ours, started = time.perf_counter() - started, time.perf_counter()
    assert listed(space, limits) == counted
    theirs = time.perf_counter() - started
    view = Table(title="Networks that fit, counted exactly", title_justify="left")
    for name in ("space", "networks", "fit", "by", "seconds", "times faster"):
        view.add_column(name, justify="left" if name in ("space", "by") else "right")
    walks = Feasible(space, limits).walks(BLOCKS)
    view.add_row("3 blocks", f"{walks:,}", f"{counted:,}", "listing, in bulk", f"{theirs:.1f}", "1")
    view.add_row("3 blocks", f"{walks:,}", f"{counted:,}", "census", f"{ours:.1f}", f"{theirs / ours:.0f}")
    whole = Feasible(Space(), Limits())
    census, started, fitting = Census(whole), time.perf_counter(), 0
    for blocks in whole.space.sizes:
        fitting += census.count(blocks, whole.limits.max_macs)
    seconds = time.perf_counter() - started
    view.add_row("4 to 8 blocks", f"{whole.space.size():.3g}", f"{fitting:,}", "census", f"{seconds:.1f}", "")
    Console(width=140).print(view)


if __name__ == "__main__":
    main()
