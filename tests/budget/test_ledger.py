"""Golden totals and rows, and what a ledger must refuse."""

from dataclasses import replace
from typing import Any, NamedTuple

import pytest
from architectures import random_architectures
from hypothesis import given
from hypothesis import strategies as st

from budget.conventions import CONVENTIONS, CONVOLUTIONS, DCASE, FOLDED, XNNPACK, UnknownLayerError
from budget.dtypes import DTYPES
from budget.layers import BatchNorm2d, Conv2d
from budget.ledger import ledger, totals
from dynacp.student.architecture import BASELINE, TABLE1, Architecture
from dynacp.student.layers import layers_of


def count(architecture: Architecture, convention: Any = DCASE) -> tuple[int, int]:
    cost = totals(layers_of(architecture), convention=convention)
    return int(cost.parameters), int(cost.macs)


def test_table_1_costs_what_the_report_says() -> None:
    assert count(TABLE1) == (61_644, 28_938_900)
    assert ledger(layers_of(TABLE1), dtype="float16").bytes == 2 * 61_644 == 123_288


RESPONSIVE = replace(TABLE1, response="global")

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
    rows = [row for row in ledger(layers_of(TABLE1)).rows if row.name.startswith(f"{part}.")]
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


def test_a_global_response_norm_takes_two_parameters_a_channel_and_as_many_macs_by_the_challenge_s_rule() -> None:
    """After the blocks of Table 1: 3 x 32 + 2 x 56 + 104 = 312 channels."""
    for convention in CONVENTIONS.values():
        (before, without), (after, macs) = (count(TABLE1, convention), count(RESPONSIVE, convention))
        assert after - before == 2 * 312
        assert macs - without == (2 * 312 if convention in (DCASE, FOLDED, XNNPACK) else 0)
    assert ledger(layers_of(RESPONSIVE), dtype="int8").bytes == 67_824 + 4 * 2 * 312


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
    rows = ledger(layers_of(TABLE1)).rows
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


@pytest.mark.parametrize(("dtype", "size"), [("float32", 4), ("float16", 2)])
def test_bytes_of_a_float_dtype_are_those_of_its_parameters_by_the_challenge_s_rule(dtype: str, size: int) -> None:
    account = ledger(layers_of(TABLE1), dtype=dtype)
    assert account.convention == "dcase"
    assert account.bytes == size * 61_644 == sum(row.bytes for row in account.rows)


def test_table_1_in_int8_is_folded_and_keeps_biases_and_norms_in_4_bytes() -> None:
    """Kernels by part, stem to head; one bias a channel behind each convolution; the six norms behind D + P."""
    stem = 9 * 8 + 9 * 8 * 32
    narrow = 32 * 64 + 9 * 64 + 64 * 32  # blocks 1 to 3
    fourth = 32 * 64 + 9 * 64 + 64 * 56
    fifth = 56 * 120 + 9 * 120 + 120 * 56
    sixth = 56 * 120 + 9 * 120 + 120 * 104
    kernels = stem + 3 * narrow + fourth + fifth + sixth + 104 * 10
    biases = (8 + 32) + 3 * (64 + 64 + 32) + (64 + 64 + 56) + (120 + 120 + 56) + (120 + 120 + 104) + 10
    norms = 2 * (4 * 64 + 2 * 120)
    assert (kernels, biases, norms) == (58_440, 1_354, 992)
    account = ledger(layers_of(TABLE1), dtype="int8")
    assert account.convention == "folded"
    assert account.parameters == kernels + biases + norms == 60_786
    assert account.macs == 29_496_672
    assert account.bytes == kernels + 4 * (biases + norms) == 67_824
    project = next(row for row in account.rows if row.name == "blocks.6.project")
    assert project.bytes == 120 * 104 + 4 * 104


@given(st.integers(0, 100_000), st.sampled_from(["sum", "depthwise"]))
def test_int8_takes_a_byte_for_each_weight_of_a_kernel_and_four_for_all_else_that_folding_leaves(
    seed: int, norm: str
) -> None:
    (drawn,) = random_architectures(1, seed=seed)
    layers = list(layers_of(replace(drawn, norm=norm)))
    kernels = sum(layer.weights for layer in layers if isinstance(layer, Conv2d))
    folded = totals(layers, convention=FOLDED)
    bytes = kernels + 4 * (folded.parameters - kernels)
    assert totals(layers, dtype="int8") == (folded.parameters, folded.macs, bytes)


@given(st.integers(0, 100_000), st.sampled_from(["sum", "depthwise"]))
def test_xnnpack_computes_each_norm_that_stays_at_every_element_and_else_as_folded(seed: int, norm: str) -> None:
    (drawn,) = random_architectures(1, seed=seed)
    layers = list(layers_of(replace(drawn, norm=norm)))
    folded, xnnpack = (totals(layers, convention=each) for each in (FOLDED, XNNPACK))
    stay = [layer.output for layer in layers if isinstance(layer, BatchNorm2d) and not layer.foldable]
    assert len(stay) == (len(drawn.blocks) if norm == "sum" else 0)
    more = sum(2 * (channels * frequency * time - channels) for channels, frequency, time in stay)
    assert xnnpack == (folded.parameters, folded.macs + more, folded.bytes)


def test_a_convention_that_is_named_goes_before_the_dtype_s_own() -> None:
    account = ledger(layers_of(TABLE1), convention=DCASE, dtype="int8")
    assert (account.convention, account.parameters) == ("dcase", 61_644)
    assert account.bytes == 58_440 + 4 * (61_644 - 58_440)


def test_an_unknown_dtype_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"`dtype` must be one of float32, float16, int8, but got 'float8'"):
        ledger(layers_of(TABLE1), dtype="float8")
    with pytest.raises(ValueError, match="but got 'float8'"):
        totals(layers_of(TABLE1), dtype="float8")


def test_an_unknown_layer_raises_under_every_convention() -> None:
    class Attention(NamedTuple):
        name: str

    for convention in CONVENTIONS.values():
        with pytest.raises(UnknownLayerError, match="no rule for a layer of type Attention"):
            convention.cost(Attention("head.attention"))  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("convention", [None, *CONVENTIONS.values()], ids=["the dtype's", *CONVENTIONS])
def test_totals_are_the_sums_of_the_rows(convention: Any, dtype: str) -> None:
    account = ledger(layers_of(TABLE1), convention=convention, dtype=dtype)
    cost = totals(layers_of(TABLE1), convention=convention, dtype=dtype)
    assert cost == (account.parameters, account.macs, account.bytes)
