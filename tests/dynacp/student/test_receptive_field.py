"""What a position sees, against the gradients of a real network."""

import pytest
import torch
from torch import Tensor

from dynacp.student.architecture import TABLE1, Architecture, Block
from dynacp.student.model import DynaCP
from dynacp.student.receptive_field import ReceptiveField, receptive_fields

SIDE = 700
"""The input's mel bands and frames: more than any of these networks sees."""


def test_table_1_sees_as_far_as_its_strides_and_dilations_say() -> None:
    # Stem: 1 + 2 + 2 * 2 = 7, then 4 input positions lie between two of the map. Then, by block, (bands, frames):
    # dilation 2: 7 + 2 * 2 * 4 = 23 both; 2x1: 23 + 2 * 4 = 31 both, bands 8 apart; 1x2: 31 + 2 * 8 = 47 and 31 + 2 * 4
    # = 39, frames 8 apart; dilation 2: 47 + 4 * 8 = 79 and 39 + 4 * 8 = 71; 2x1: 95 and 87, bands 16 apart; dilation 2:
    # 95 + 4 * 16 = 159 and 87 + 4 * 8 = 119.
    fields = [(7, 7), (23, 23), (31, 31), (47, 39), (79, 71), (95, 87), (159, 119)]
    assert receptive_fields(TABLE1) == tuple(ReceptiveField(*field) for field in fields)


@pytest.mark.parametrize(
    "blocks",
    [
        (Block(8, 8, dilation=3, residual=2), Block(8, 8, residual=3, stride=(2, 2)), Block(8, 8, dilation=2)),
        (Block(8, 8, stride=(2, 1)), Block(8, 8, dilation=3, residual=3, stride=(1, 2)), Block(8, 8, dilation=1)),
        (Block(8, 8, dilation=5), Block(8, 8, dilation=2, stride=(1, 2)), Block(8, 8, residual=3, stride=(2, 1))),
    ],
)
@pytest.mark.parametrize("pool", ["average", "maximum"])
def test_gradients_reach_exactly_as_far(blocks: tuple[Block, ...], pool: str) -> None:
    architecture = Architecture(blocks, input=(SIDE, SIDE), stem=(8, 8), pool=pool, activation="relu")
    torch.manual_seed(0)
    network = DynaCP(architecture).eval()
    for weight in network.parameters():  # with positive weights no gradient can cancel another
        weight.data.abs_()
    maps = [network.stem, *network.blocks.values()]
    log_mel = 0.1 + torch.rand(1, 1, SIDE, SIDE)
    for number, field in enumerate(receptive_fields(architecture), start=1):
        assert seen(maps[:number], log_mel) == field


def seen(maps: list[torch.nn.Module], log_mel: Tensor) -> tuple[int, int]:
    """The extent of the input that changes the middle of the last map."""
    x = log_mel.clone().requires_grad_()
    out = x
    for part in maps:
        out = part(out)
    out[0, :, out.shape[2] // 2, out.shape[3] // 2].sum().backward()
    assert x.grad is not None
    reached = x.grad[0, 0].abs() > 0
    bands, frames = (reached.any(dim=axis).nonzero().flatten() for axis in (1, 0))
    return int(bands[-1] - bands[0]) + 1, int(frames[-1] - frames[0]) + 1
