"""Edits of a network: the search space's own changes, what lies beyond it, and texts that are no edits."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budget.errors import UserError
from dynacp.student.architecture import BASELINE, TABLE1, Architecture
from nas.editing.edits import MOVES, edited
from nas.editing.judged import space_around
from nas.space.network_wide import EVERY
from nas.space.space import Space

SPACE = Space(network_wide=EVERY)
SEEDS = st.integers(0, 2**32 - 1)


def random_network(seed: int) -> Architecture:
    return SPACE.networks(1, np.random.default_rng(seed))[0]


@settings(max_examples=25)
@given(SEEDS)
def test_every_single_change_of_the_space_is_an_edit(seed: int) -> None:
    network = random_network(seed)
    for change in SPACE.single_changes(network):
        if change.name != "blocks":
            assert edited(network, f"{change.name}={change.value}", SPACE) == change.architecture


@settings(max_examples=25)
@given(SEEDS, st.data())
def test_what_is_added_or_moved_can_be_taken_back(seed: int, data: st.DataObject) -> None:
    network = random_network(seed)
    number = data.draw(st.integers(1, len(network.blocks) - 1))
    after = number + 1
    for there, back in (("add", "remove"), ("duplicate", "remove"), ("down", "up")):
        changed = edited(network, f"{there}_{number}=", SPACE)
        assert edited(changed, f"{back}_{after}=", SPACE) == network


def test_a_network_outside_the_space_keeps_what_is_not_edited() -> None:
    odd = edited(edited(TABLE1, "channels_4=50", SPACE), "width_4=57", SPACE)
    assert [block.expanded for block in odd.blocks] == [64, 64, 64, 50, 120, 120]
    assert [block.out for block in odd.blocks] == [32, 32, 32, 57, 57, 104]
    turned = edited(odd, "dilation_4=7", SPACE)
    assert turned == replace(odd, blocks=(*odd.blocks[:3], replace(odd.blocks[3], dilation=7), *odd.blocks[4:]))


def test_a_wider_block_keeps_the_expansion_of_those_behind_it() -> None:
    # 56 to 112 channels: block 5 goes from 2.1 * 56 = 117.6, nearest 120, to 2.1 * 112 = 235.2, nearest 232 or 240
    wider = edited(TABLE1, "width_4=112", SPACE)
    assert [block.expanded for block in wider.blocks[3:]] == [64, 232, 232]
    assert [block.out for block in wider.blocks[3:]] == [112, 112, 104]


def test_the_whole_network_can_be_edited_too() -> None:
    assert edited(TABLE1, "input=128x44", SPACE).input == (128, 44)
    assert edited(TABLE1, "classes=7", SPACE).classes == 7
    assert edited(TABLE1, "pool=maximum", SPACE).pool == "maximum"
    assert edited(TABLE1, "family=cp", SPACE).norm == "depthwise"
    assert edited(BASELINE, "stem=8-16", space_around(BASELINE)).blocks[0].out == 16


def test_a_network_never_loses_its_last_block_nor_grows_beyond_bounds() -> None:
    single = replace(TABLE1, blocks=TABLE1.blocks[:1])
    with pytest.raises(UserError, match="one block at least"):
        edited(single, "remove_1=", SPACE)
    with pytest.raises(UserError, match="at most 256 blocks"):
        edited(replace(single, blocks=single.blocks * 256), "duplicate_1=", SPACE)


@pytest.mark.parametrize(
    "text",
    [
        "", "=", "width_4", "width=4", "width_4=", "width_4=wide", "width_0=8", "width_7=8", "width_4=-8",
        "width_4=8.5",
        "width_4=9999999999999", "width_4=\N{ARABIC-INDIC DIGIT THREE}", "width_1=64", "form_1=9 1x1", "form_1=2",
        "expansion_1=nan", "expansion_1=0", "expansion_1=inf", "dilation_1=0", "dilation_1=1e3", "input=256",
        "input=0x0", "input=axb", "classes=0", "family=mobile", "pool=median", "blocks=()", "__class__=1", "up_1=",
        "down_6=", "remove_9=", "add_7=", "norm=", "stem=8-16-32",
    ],
)  # fmt: skip
def test_a_text_that_is_no_edit_says_what_is_wrong(text: str) -> None:
    with pytest.raises(UserError) as refused:
        edited(TABLE1, text, SPACE)
    assert str(refused.value)


@given(st.text(max_size=40) | st.sampled_from(MOVES).map(lambda move: f"{move}_3="))
def test_any_text_gives_a_network_or_a_clear_error(text: str) -> None:
    try:
        network = edited(TABLE1, text, SPACE)
    except UserError:
        return
    assert network == Architecture.from_json(network.to_json())
