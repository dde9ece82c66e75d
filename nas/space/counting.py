"""The exact costs of many networks at once, from the formulas that count one, and which random ones fit."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import lru_cache
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from budget.conventions import Convention
from budget.dtypes import DEFAULT_DTYPE
from budget.layers import Shape
from budget.ledger import Totals, totals
from budget.limits import Limits
from dynacp.student.architecture import Architecture
from dynacp.student.layers import block_layers, head_layers, network_layers
from nas.space.space import BlockColumns, IntArray, Space, encodings


class Costs(NamedTuple):
    """The exact costs of many networks: arrays of int64 [networks]."""

    parameters: IntArray
    """Numbers of parameters."""
    macs: IntArray
    """MACs for one clip."""
    bytes: IntArray
    """Bytes of the parameters at the inference dtype."""


BATCH = 20_000
"""Networks counted at once: enough to make numpy's overhead vanish, few enough to stay in a few megabytes."""


_FRAME = [field.name for field in fields(Architecture) if field.name != "blocks"]


def count(
    architectures: Sequence[Architecture], *, convention: Convention | None = None, dtype: str = DEFAULT_DTYPE
) -> Costs:
    """The exact costs of networks of any sizes, in the order given: arrays [networks].

    `dtype`, a name of `budget.dtypes.DTYPES`, gives the bytes. `convention` says what counts; None takes that of the
    dtype. Raises `UserError` for another dtype, `UnknownLayerError` for a layer that the convention has no rule for.
    """
    alike: dict[Any, list[int]] = defaultdict(list)
    for index, network in enumerate(architectures):
        frame = tuple(getattr(network, name) for name in _FRAME)
        alike[(len(network.blocks), frame)].append(index)
    counts = _empty(len(architectures))
    for indices in alike.values():
        blocks = zip(*(architectures[index].blocks for index in indices), strict=True)
        layers = network_layers(architectures[indices[0]], map(BlockColumns.of, blocks))
        _fill(counts, indices, totals(layers, convention=convention, dtype=dtype))
    return counts


def count_choices(space: Space, choices: Mapping[str, npt.NDArray[Any]], *, dtype: str = DEFAULT_DTYPE) -> Costs:
    """The exact costs of the networks of many encodings, in their order, counted without decoding them.

    `choices` holds a column [encodings] per choice, as `Space.sample` gives them. `dtype` is that at inference, a name
    of `budget.dtypes.DTYPES`; raises `UserError` for another.
    """
    counts = _empty(len(choices["blocks"]))
    stands_for = np.array(frames_that_stand_for(space, dtype))[space.frame_indices(choices)]
    for frame, blocks in product(np.unique(stands_for), space.sizes):
        (chosen,) = np.nonzero((stands_for == frame) & (choices["blocks"] == blocks))
        alike = {name: column[chosen] for name, column in choices.items()}
        layers = network_layers(space.frames[frame], space.columns(alike, blocks))
        _fill(counts, chosen, totals(layers, dtype=dtype))
    return counts


def frames_that_stand_for(space: Space, dtype: str) -> list[int]:
    """For each of `space.frames`, the index of the first one with the same stem and blocks and heads of equal cost.

    What their networks cost at the inference dtype is then equal; what they compute may differ. Raises `UserError` for
    a dtype not in `budget.dtypes.DTYPES`.
    """
    alike = equal_blocks(space, dtype)
    first = dict[tuple[int, tuple[int, int]], int]()
    return [
        first.setdefault((kind, frame.stem), index)
        for index, (kind, frame) in enumerate(zip(alike, space.frames, strict=True))
    ]


@lru_cache(maxsize=64)
def equal_blocks(space: Space, dtype: str) -> tuple[int, ...]:
    """For each of `space.frames`, the index of the first one whose blocks and heads cost the same, whatever its stem.

    Compared are the costs of every block that any of the space's channels may enter, on three shapes: all conventions
    charge a layer a constant, so much per position that enters, and so much per position that leaves, and these three
    numbers are equal where the sums are on 1 x 1, 2 x 2 and 3 x 3 positions. Raises `UserError` for a dtype not in
    `budget.dtypes.DTYPES`.
    """
    entering = sorted({*space.widths, *(frame.stem[1] for frame in space.frames)})
    following = [(channels, option.block) for channels in entering for option in space.following(channels)]
    columns = BlockColumns.of([block for _, block in following] * len(_SIDES))
    side = np.repeat(_SIDES, len(following))
    shape = np.tile([channels for channels, _ in following], len(_SIDES)), side, side
    first = dict[bytes, int]()
    return tuple(
        first.setdefault(_costs(frame, columns, shape, dtype), index) for index, frame in enumerate(space.frames)
    )


_SIDES = (1, 2, 3)


def _costs(frame: Architecture, columns: BlockColumns, shape: Shape, dtype: str) -> bytes:
    """What blocks of a frame and heads behind the same shapes cost, to be compared."""
    blocks = totals(block_layers(frame, "block", columns, shape), dtype=dtype)
    heads = totals(head_layers(frame, shape), dtype=dtype)
    return np.stack(np.broadcast_arrays(blocks.bytes, blocks.macs, heads.bytes, heads.macs)).tobytes()


def _empty(networks: int) -> Costs:
    return Costs(*(np.empty(networks, dtype=np.int64) for _ in Costs._fields))


def _fill(counts: Costs, networks: Any, cost: Totals) -> None:
    for of_all, of_some in zip(counts, cost, strict=True):
        of_all[networks] = of_some


def sample_fitting(
    space: Space, limits: Limits, dtype: str, *, proposals: int, rng: np.random.Generator
) -> dict[int, dict[str, Any]]:
    """Draws `proposals` uniform encodings; returns those whose networks fit the limits, by their index in the draw.

    The indices, from 0 on, ascend; an encoding is name of a choice -> value, for `Space.decode`. Raises `UserError` for
    a dtype not in `budget.dtypes.DTYPES`.
    """
    choices = space.sample(proposals, rng)
    (places,) = np.nonzero(_fits(space, limits, dtype, choices))
    fitting = encodings({name: column[places] for name, column in choices.items()})
    return dict(zip(places.tolist(), fitting, strict=True))


def _fits(space: Space, limits: Limits, dtype: str, choices: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.bool_]:
    cost = count_choices(space, choices, dtype=dtype)
    return limits.allow(bytes=cost.bytes, macs=cost.macs)


def share_that_fits(
    space: Space, limits: Limits, dtype: str, *, proposals: int, rng: np.random.Generator
) -> dict[int, tuple[int, int]]:
    """Draws `proposals` uniform encodings; returns, by number of blocks, (how many fit, how many were drawn).

    Raises `UserError` for a dtype not in `budget.dtypes.DTYPES`.
    """
    tally = {blocks: np.zeros(2, dtype=np.int64) for blocks in space.sizes}
    for start in range(0, proposals, BATCH):
        choices = space.sample(min(BATCH, proposals - start), rng)
        fits = _fits(space, limits, dtype, choices)
        for blocks, pair in tally.items():
            chosen = choices["blocks"] == blocks
            pair += (int(np.sum(fits & chosen)), int(np.sum(chosen)))
    return {blocks: (int(fit), int(drawn)) for blocks, (fit, drawn) in tally.items()}
