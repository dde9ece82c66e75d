"""Golden totals and rows, and what a ledger must refuse."""

from dataclasses import replace
from typing import Any, NamedTuple

import pytest

from budget.conventions import CONVENTIONS, CONVOLUTIONS, DCASE, FOLDED, UnknownLayerError
from budget.ledger import ledger, totals
from dynacp.architecture import BASELINE, TABLE1, Architecture


def count(architecture: Architecture, convention: Any = DCASE) -> tuple[int, int]:
    parameters, macs = totals(architecture.layers(), convention=convention)
    return int(parameters), int(macs)


def test_table_1_costs_what_the_report_says() -> None:
    assert count(TABLE1) == (61_644, 28_938_900)
    assert ledger(TABLE1.layers(), dtype="float16").bytes == 2 * 61_644 == 123_288


TABLE1_PARTS = {  # part -> parameters, MACs
    "stem": (2_456, 3_806_288),
    "blocks.1": (5_056, 6_971_712),
    "blocks.2": (5_056, 4_993_344),
    "blocks.3": (5_056, 2_539_840),
    "blocks.4": (6_640, 2_408_816),
    "blocks.5": (15_232, 4_101_712),
    "blocks.6": (21_088, 3_917_488),
    "head": (1_060, 199_700),
}


@pytest.mark.parametrize(("part", "cost"), TABLE1_PARTS.items())
def test_every_row_of_table_1_costs_what_its_arithmetic_gives(part: str, cost: tuple[int, int]) -> None:
    rows = [row for row in ledger(TABLE1.layers()).rows if row.name.startswith(f"{part}.")]
    assert (sum(row.parameters for row in rows), sum(row.macs for row in rows)) == cost


def test_one_block_by_hand() -> None:
    """Block 1 of Table 1: 64 x 23 positions, 32 -> 64 -> 32 channels, a bias on the depthwise convolution alone."""
    positions = 64 * 23
    expand, depthwise, project = 32 * 64, 9 * 64 + 64, 64 * 32
    norms = 2 * 64 + 2 * 64 + 2 * 32
    assert TABLE1_PARTS["blocks.1"] == (
        expand + depthwise + project + norms,
        positions * (expand + depthwise + project) + norms,
    )


def test_the_challenge_baseline_is_expressible_and_fits_only_on_its_own_65_frames() -> None:
    assert count(BASELINE) == (61_148, 29_419_156)
    assert count(replace(BASELINE, input=(256, 89))) == (61_148, 39_526_036)


def test_folding_moves_the_baseline_over_the_limit() -> None:
    assert count(BASELINE, FOLDED) == (59_794, 30_216_768)


def test_a_norm_after_the_sum_of_two_branches_cannot_be_folded() -> None:
    """Folding drops 2 x expanded parameters of the norm behind D, which Table 1 has 2 (4 x 64 + 2 x 120) = 992 of."""
    assert count(TABLE1, FOLDED) == (60_786, 29_496_672)
    on_depthwise = replace(TABLE1, norm="depthwise")
    assert count(on_depthwise, FOLDED) == (60_786 - 992, 29_496_672 - 992) == (59_794, 29_495_680)


def test_convolutions_alone_leave_out_bias_and_norm() -> None:
    """The depthwise biases cost one MAC an output position and channel, the norms two a channel."""
    rows = ledger(TABLE1.layers()).rows
    bias = sum(row.output[0] * row.output[1] * row.output[2] for row in rows if row.name.endswith(".depthwise"))
    norm = sum(row.macs for row in rows if row.kind == "BatchNorm2d")
    assert count(TABLE1, CONVOLUTIONS) == (61_644, 28_938_900 - bias - norm) == (61_644, 28_699_648)


def test_table_1_and_the_baseline_under_the_conventions_of_fvcore_and_thop() -> None:
    assert count(TABLE1, CONVENTIONS["fvcore"])[1] == 30_293_632
    assert count(TABLE1, CONVENTIONS["thop"])[1] == 32_168_842
    assert count(BASELINE, CONVENTIONS["fvcore"])[1] == 31_019_968
    assert count(BASELINE, CONVENTIONS["thop"])[1] == 32_639_050


def test_a_dilation_never_moves_the_budget() -> None:
    dilated = replace(TABLE1, blocks=tuple(replace(block, dilation=3) for block in TABLE1.blocks))
    assert count(dilated) == count(TABLE1)


@pytest.mark.parametrize(("dtype", "size"), [("float32", 4), ("float16", 2), ("int8", 1)])
def test_bytes_follow_the_dtype(dtype: str, size: int) -> None:
    account = ledger(TABLE1.layers(), dtype=dtype)
    assert account.bytes == size * account.parameters == sum(row.bytes for row in account.rows)


def test_an_unknown_dtype_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"`dtype` must be one of float32, float16, int8, but got 'float8'"):
        ledger(TABLE1.layers(), dtype="float8")


def test_an_unknown_layer_raises_under_every_convention() -> None:
    class Attention(NamedTuple):
        name: str

    for convention in CONVENTIONS.values():
        with pytest.raises(UnknownLayerError, match="no rule for a layer of type Attention"):
            convention.cost(Attention("head.attention"))  # type: ignore[arg-type]


@pytest.mark.parametrize("convention", CONVENTIONS.values(), ids=CONVENTIONS)
def test_totals_are_the_sums_of_the_rows(convention: Any) -> None:
    account = ledger(TABLE1.layers(), convention=convention)
    assert count(TABLE1, convention) == (account.parameters, account.macs)
