"""Every network of small spaces, listed from the definition of a space alone, and what each costs."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import cache
from itertools import product

import numpy as np

from budget.dtypes import DTYPES
from budget.ledger import totals
from budget.limits import Limits
from budget.memory import peak
from dynacp.student.architecture import PLAIN, Architecture, Block
from dynacp.student.layers import layers_of, steps_of
from nas.space.network_wide import EVERY, NetworkWide
from nas.space.space import FORMS, Space, expanded_channels


def every_network(space: Space, blocks: int) -> Iterator[Architecture]:
    """All networks of so many blocks, from the definition of the space alone."""

    def following(channels: int) -> Iterator[Block]:
        expansions = {int(expanded_channels(channels, each)) for each in space.expansions}
        for (residual, stride), expanded, dilation in product(FORMS.values(), expansions, space.dilations):
            for out in space.widths if residual == PLAIN else (channels,):
                yield Block(expanded, out, dilation, residual, stride)

    def longer(chosen: tuple[Block, ...], channels: int) -> Iterator[tuple[Block, ...]]:
        if len(chosen) == blocks:
            yield chosen
        else:
            for block in following(channels):
                yield from longer((*chosen, block), block.out)

    names = [field.name for field in fields(NetworkWide)]
    values = [getattr(space.network_wide, name) or (getattr(space.frame, name),) for name in names]
    for row in product(*values):
        frame = dict(zip(names, row, strict=True))
        for chosen in longer((), frame["stem"][1]):
            yield replace(space.frame, blocks=chosen, **frame)


@dataclass(frozen=True)
class Listed:
    """All networks of a small space, and what they cost, counted one by one."""

    networks: list[Architecture]
    bytes: np.ndarray
    macs: np.ndarray
    held: np.ndarray
    """Bytes of activations."""

    def fitting(self, limits: Limits) -> set[Architecture]:
        fits = limits.allow(bytes=self.bytes, macs=self.macs, activation_bytes=self.held)
        return {network for network, fit in zip(self.networks, fits, strict=True) if fit}


def listed(space: Space, blocks: int, dtype: str) -> Listed:
    networks = list(every_network(space, blocks))
    _, macs, bytes = np.array([totals(layers_of(network), dtype=dtype) for network in networks], dtype=np.int64).T
    held = np.array([held_by(network) for network in networks]) * DTYPES[dtype].activation_bytes
    return Listed(networks, bytes, macs, held)


@cache
def held_by(network: Architecture) -> int:
    """Elements of activations, counted for one network alone."""
    return peak(steps_of(network)).elements


def keeps(limits: Limits, network: Architecture, dtype: str) -> bool:
    cost, held = totals(layers_of(network), dtype=dtype), held_by(network) * DTYPES[dtype].activation_bytes
    return bool(limits.allow(bytes=cost.bytes, macs=cost.macs, activation_bytes=held))


FRAME = Architecture((Block(16, 16),), input=(64, 23), classes=3, stem=(4, 16))
SMALL = Space(FRAME, 1, 3, dilations=(1, 2), expansions=(1.5, 2.1), widths=(8, 16, 24))
WIDE = replace(
    SMALL,
    dilations=(1, 2),
    expansions=(1.5,),
    widths=(8, 24),
    network_wide=replace(EVERY, activation=("relu",), stem=((4, 8), (4, 16), (8, 16)), pool=("maximum",)),
)
"""Some stems lead to the same state; some frames differ in cost in int8 alone, some nowhere."""

HEADED = replace(SMALL, frame=replace(FRAME, classes=90), dilations=(1,), expansions=(1.5,))
"""With so many classes the head can hold more activations than any block."""

SIZES, SPACES = (1, 2), {"blocks": SMALL, "network-wide": WIDE, "many classes": HEADED}
LISTED = {
    (name, blocks, dtype): listed(space, blocks, dtype)
    for name, space in SPACES.items()
    for blocks in SIZES
    for dtype in DTYPES
}
