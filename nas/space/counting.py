"""The exact costs of many networks at once, from the formulas that count one, and which random ones fit."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from functools import lru_cache
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from budget.conventions import Convention
from budget.dtypes import DEFAULT_DTYPE, dtype_named
from budget.layers import Count, Shape
from budget.ledger import Totals, totals
from budget.limits import Limits
from budget.memory import Step, most_elements
from dynacp.student.architecture import IDENTITY, PLAIN, POOLED, Architecture, Block
from dynacp.student.layers import (
    BlockLike,
    block_layers,
    block_steps,
    head_layers,
    head_steps,
    network_layers,
    shape_after,
    stem_steps,
)
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
    counts = _empty(len(architectures))
    for indices, frame, blocks in _alike(architectures):
        _fill(counts, indices, totals(network_layers(frame, blocks), convention=convention, dtype=dtype))
    return counts


def count_choices(space: Space, choices: Mapping[str, npt.NDArray[Any]], *, dtype: str = DEFAULT_DTYPE) -> Costs:
    """The exact costs of the networks of many encodings, in their order, counted without decoding them.

    `choices` holds a column [encodings] per choice, as `Space.sample` gives them. `dtype` is that at inference, a name
    of `budget.dtypes.DTYPES`; raises `UserError` for another.
    """
    counts = _empty(len(choices["blocks"]))
    for indices, frame, blocks in _alike_choices(space, choices, dtype):
        _fill(counts, indices, totals(network_layers(frame, blocks), dtype=dtype))
    return counts


def activation_bytes(architectures: Sequence[Architecture], *, dtype: str = DEFAULT_DTYPE) -> IntArray:
    """The peaks of activation memory of networks of any sizes, as `budget.memory.peak` finds that of each.

    They are bytes in the inference dtype, a name of `budget.dtypes.DTYPES`, in the order given: int64 [networks].
    Raises `UserError` for another dtype.
    """
    return _activation_bytes(len(architectures), _alike(architectures), dtype)


def activation_bytes_of_choices(
    space: Space, choices: Mapping[str, npt.NDArray[Any]], *, dtype: str = DEFAULT_DTYPE
) -> IntArray:
    """The peaks of activation memory of the networks of many encodings, as `activation_bytes` gives them.

    `choices` are as `count_choices` takes them. Raises `UserError` for a dtype that is not in `budget.dtypes.DTYPES`.
    """
    return _activation_bytes(len(choices["blocks"]), _alike_choices(space, choices, dtype), dtype)


def block_elements(frame: Architecture, blocks: BlockColumns, shape: Shape) -> IntArray:
    """The elements held at the peaks of blocks in `frame`, for the shapes that enter them: int64 [blocks].

    `shape` is (channels, frequency, time), each a number, or an array [blocks].
    """
    held = np.empty(len(blocks.out), dtype=np.int64)
    for residual in (PLAIN, IDENTITY, POOLED):  # blocks of one residual take the same steps
        chosen = blocks.residual == residual
        channels, frequency, time = (np.broadcast_to(size, len(held))[chosen] for size in shape)
        entering = Step("entering", (), (channels, frequency, time))
        steps = block_steps(frame, "block", _chosen(blocks, chosen, residual), entering)
        held[chosen] = most_elements([entering, *steps])
    return held


def _chosen(blocks: BlockColumns, chosen: npt.NDArray[np.bool_], residual: int) -> BlockLike:
    """Some of the blocks, all of this residual."""
    expanded, out, dilation, _, (frequency, time) = blocks
    of_each = expanded[chosen], out[chosen], dilation[chosen]
    return BlockColumns(*of_each, residual, (frequency[chosen], time[chosen]))  # type: ignore[arg-type]


def head_elements(frame: Architecture, shape: Shape) -> Count:
    """The elements held at the peak of the head of `frame`, for the shape (channels, frequency, time) that enters it.

    Where the shape holds arrays [networks], so is the result.
    """
    entering = Step("entering", (), shape)
    return most_elements([entering, *head_steps(frame, entering)])


def keep(limits: Limits, architectures: Sequence[Architecture], *, dtype: str) -> npt.NDArray[np.bool_]:
    """Whether each network keeps the limits at the inference dtype, a name of `budget.dtypes.DTYPES`: bool [networks].

    Raises `UserError` for another dtype.
    """
    cost, held = count(architectures, dtype=dtype), limited_activation_bytes(limits, architectures, dtype=dtype)
    return limits.allow(bytes=cost.bytes, macs=cost.macs, activation_bytes=held)


def limited_activation_bytes(limits: Limits, architectures: Sequence[Architecture], *, dtype: str) -> IntArray | None:
    """What `activation_bytes` gives where activations have a limit; None, and nothing is counted, where they have none.

    Raises `UserError` for a dtype that is not in `budget.dtypes.DTYPES`.
    """
    return None if limits.max_activation_bytes is None else activation_bytes(architectures, dtype=dtype)


_Alike = Iterator[tuple[Any, Architecture, Iterable[BlockColumns]]]
"""Networks of one frame and as many blocks, by their indices; that frame, or one of equal cost; and their blocks."""


def _alike(architectures: Sequence[Architecture]) -> _Alike:
    alike: dict[Any, list[int]] = defaultdict(list)
    for index, network in enumerate(architectures):
        frame = tuple(getattr(network, name) for name in _FRAME)
        alike[(len(network.blocks), frame)].append(index)
    for indices in alike.values():
        blocks = zip(*(architectures[index].blocks for index in indices), strict=True)
        yield indices, architectures[indices[0]], map(BlockColumns.of, blocks)


def _alike_choices(space: Space, choices: Mapping[str, npt.NDArray[Any]], dtype: str) -> _Alike:
    stands_for = np.array(frames_that_stand_for(space, dtype))[space.frame_indices(choices)]
    for frame, blocks in product(np.unique(stands_for), space.sizes):
        (chosen,) = np.nonzero((stands_for == frame) & (choices["blocks"] == blocks))
        alike = {name: column[chosen] for name, column in choices.items()}
        yield chosen, space.frames[frame], space.columns(alike, blocks)


def _activation_bytes(networks: int, alike: _Alike, dtype: str) -> IntArray:
    held = np.empty(networks, dtype=np.int64)
    for indices, frame, blocks in alike:
        stem = list(stem_steps(frame))
        most, shape = most_elements(stem), stem[-1].output
        for block in blocks:
            most = np.maximum(most, block_elements(frame, block, shape))
            shape = shape_after(block, shape)
        held[indices] = np.maximum(most, head_elements(frame, shape))
    return dtype_named(dtype).activation_bytes * held


def frames_that_stand_for(space: Space, dtype: str) -> list[int]:
    """For each of `space.frames`, the index of the first one with the same stem and blocks and heads of equal cost.

    What their networks cost at the inference dtype, activations included, is then equal; what they compute may differ.
    Raises `UserError` for a dtype not in `budget.dtypes.DTYPES`.
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
    numbers are equal where the sums are on 1 x 1, 2 x 2 and 3 x 3 positions. Compared are the steps as well, since
    those that take the same hold as many activations. Raises `UserError` for a dtype not in `budget.dtypes.DTYPES`.
    """
    entering = sorted({*space.widths, *(frame.stem[1] for frame in space.frames)})
    following = [(channels, option.block) for channels in entering for option in space.following(channels)]
    columns = BlockColumns.of([block for _, block in following] * len(_SIDES))
    side = np.repeat(_SIDES, len(following))
    shape = np.tile([channels for channels, _ in following], len(_SIDES)), side, side
    first = dict[tuple[bytes, tuple[Step, ...]], int]()
    return tuple(
        first.setdefault((_costs(frame, columns, shape, dtype), _steps(frame)), index)
        for index, frame in enumerate(space.frames)
    )


_SIDES = (1, 2, 3)


def _costs(frame: Architecture, columns: BlockColumns, shape: Shape, dtype: str) -> bytes:
    """What blocks of a frame and heads behind the same shapes cost, to be compared."""
    blocks = totals(block_layers(frame, "block", columns, shape), dtype=dtype)
    heads = totals(head_layers(frame, shape), dtype=dtype)
    return np.stack(np.broadcast_arrays(blocks.bytes, blocks.macs, heads.bytes, heads.macs)).tobytes()


def _steps(frame: Architecture) -> tuple[Step, ...]:
    """The steps of a block of each residual and of the head in a frame, on one shape, to be compared."""
    entering = Step("entering", (), (8, 5, 7))
    blocks = Block(24, 16), Block(24, 8, residual=IDENTITY), Block(24, 8, residual=POOLED, stride=(2, 1))
    steps = (step for block in blocks for step in block_steps(frame, "block", block, entering))
    return *steps, *head_steps(frame, entering)


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
    limited = limits.max_activation_bytes is not None
    held = activation_bytes_of_choices(space, choices, dtype=dtype) if limited else None
    return limits.allow(bytes=cost.bytes, macs=cost.macs, activation_bytes=held)


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
