"""How fast networks are counted, as ratios to torchinfo in the same run.

    python -m benchmarks.counting

The same random architectures go to every counter, each architecture once, so nothing can be answered from a cache. A
counter of the built network is given the time to build it, since it cannot count without. "totals" counts all
architectures at once (`nas.space.counting.count`); "totals, one by one" and "ledger" count each alone
(`budget.ledger`).

Notes. One by one, most of the time goes into making the layer records that the formulas read. With arrays in the place
of numbers the same records and formulas count thousands of networks at once, and the records cost next to nothing:
converting the descriptions to arrays is then the largest part, and is counted here.
"""

import time
from collections.abc import Callable, Sequence

import numpy as np
from rich.console import Console
from rich.table import Table
from torch import nn

from budget.ledger import ledger, totals
from budget.witness import InputShape, by_fvcore, by_thop, by_torch, by_torchinfo
from dynacp.student.architecture import Architecture
from dynacp.student.layers import layers_of
from dynacp.student.model import DynaCP
from nas.space.counting import count
from nas.space.space import Space

ARCHITECTURES, BUILT = 4_000, 40
"""Architectures for the exact counter, and how many of them the slow counters get."""


def architectures(number: int, *, blocks: int, seed: int) -> list[Architecture]:
    """Random architectures of so many blocks."""
    return Space(min_blocks=blocks, max_blocks=blocks).networks(number, np.random.default_rng(seed))


def on_the_network(counter: Callable[[nn.Module, InputShape], object]) -> Callable[[Sequence[Architecture]], object]:
    """A counter of built networks, as one of descriptions."""
    return lambda networks: [counter(DynaCP(each).eval(), (1, 1, *each.input)) for each in networks]


EXACT: dict[str, Callable[[Sequence[Architecture]], object]] = {
    "totals": count,
    "totals, one by one": lambda networks: [totals(layers_of(each)) for each in networks],
    "ledger": lambda networks: [ledger(layers_of(each)) for each in networks],
}
WITNESSES = {
    "torchinfo": on_the_network(by_torchinfo),
    "torch FlopCounterMode": on_the_network(by_torch),
    "fvcore": on_the_network(by_fvcore),
    "thop": on_the_network(by_thop),
}


def seconds_each(counter: Callable[[Sequence[Architecture]], object], networks: Sequence[Architecture]) -> float:
    """The best of three parts of the architectures, each architecture counted once."""
    third = len(networks) // 3
    times = []
    for part in (networks[:third], networks[third : 2 * third], networks[2 * third : 3 * third]):
        started = time.perf_counter()
        counter(part)
        times.append((time.perf_counter() - started) / third)
    return min(times)


def main() -> None:
    title = "Time to count one network, and how many times faster that is than torchinfo"
    view = Table(title=title, title_justify="left")
    sizes = (4, 6, 8)
    view.add_column("counter")
    for blocks in sizes:
        view.add_column(f"{blocks} blocks", justify="right")
    networks = {blocks: architectures(ARCHITECTURES, blocks=blocks, seed=blocks) for blocks in sizes}
    yardstick = {blocks: seconds_each(WITNESSES["torchinfo"], networks[blocks][:BUILT]) for blocks in sizes}
    for name, counter in (EXACT | WITNESSES).items():
        cells = []
        for blocks in sizes:
            sample = networks[blocks] if name in EXACT else networks[blocks][:BUILT]
            took = yardstick[blocks] if name == "torchinfo" else seconds_each(counter, sample)
            cells.append(f"{took * 1e6:,.1f} µs ({yardstick[blocks] / took:,.1f} x)")
        view.add_row(name, *cells)
    Console(width=120).print(view)


if __name__ == "__main__":
    main()
