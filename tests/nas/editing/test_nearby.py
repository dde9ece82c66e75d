"""The nearest network that fits, and how many begin like one."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from budget.errors import UserError
from budget.ledger import totals
from budget.limits import Limits
from dynacp.student.architecture import IDENTITY, TABLE1, Architecture, Block
from dynacp.student.layers import layers_of
from nas.editing.edits import edited
from nas.editing.judged import Judged, Terms, after_one_edit
from nas.editing.nearby import block_by_block, in_words, nearest

SHORT = replace(TABLE1, blocks=TABLE1.blocks[:4])
"""Of four blocks, since tables of more take seconds."""


def fits(judged: Judged) -> bool:
    return judged.terms.limits.verdict(judged.ledger, judged.peak).fits


@pytest.mark.parametrize("find", [nearest, block_by_block])
def test_the_nearest_of_what_fits_is_itself(find: Callable[[Judged], Architecture]) -> None:
    assert find(Judged(SHORT, Terms())) == SHORT


def test_of_all_pairs_of_edits_that_fit_the_nearest_is_the_one_that_changes_the_cost_least() -> None:
    few = replace(TABLE1, blocks=TABLE1.blocks[:2])
    terms = Terms(Limits(max_macs=15_000_000))
    space, before = Judged(few, terms).space, cost(few)

    def change(network: Architecture) -> float:
        return float(np.abs((cost(network) - before) / (15e6, 128e3)).sum())

    pairs = [two for one in after_one_edit(few, space) for two in (one, *after_one_edit(one, space))]
    fitting = [each for each in pairs if (cost(each) <= (15e6, 128e3)).all()]
    assert change(nearest(Judged(few, terms))) == pytest.approx(min(map(change, fitting)))
    assert 100 < len(fitting) < len(pairs)


def cost(network: Architecture) -> np.ndarray:
    """MACs and bytes."""
    account = totals(layers_of(network))
    return np.array([int(account.macs), int(account.bytes)])


def test_where_two_edits_are_not_enough_it_is_looked_for_block_by_block() -> None:
    wide = Judged(
        replace(TABLE1, blocks=(Block(232, 112), *[Block(232, 112, residual=IDENTITY)] * 3)),
        Terms(Limits(max_macs=7_000_000)),
    )
    assert nearest(wide) == block_by_block(wide)
    deep = Judged(replace(TABLE1, blocks=(*TABLE1.blocks[:1] * 40,)), Terms())
    assert fits(Judged(nearest(deep), Terms()))


@pytest.mark.parametrize("max_macs", [15_000_000, 8_000_000])
def test_the_nearest_fits_and_keeps_blocks_and_network_wide_choices(max_macs: int) -> None:
    odd = replace(edited(SHORT, "channels_4=50", Judged(SHORT, Terms()).space), pool="maximum")
    terms = Terms(Limits(max_macs=max_macs))
    found = Judged(block_by_block(Judged(odd, terms)), terms)
    assert fits(found)
    assert not found.outside
    assert (len(found.architecture.blocks), found.architecture.pool) == (4, "maximum")


def test_where_nothing_fits_that_is_told() -> None:
    with pytest.raises(UserError, match="nothing fits"):
        nearest(Judged(SHORT, Terms(Limits(max_macs=1_000))))


def test_what_begins_alike_is_counted_with_one_to_three_blocks_open() -> None:
    words = in_words(Judged(SHORT, Terms()))
    assert [part in words for part in ("its first block;", "its first 2 blocks;", "its first 3 blocks.")] == [True] * 3
    odd = edited(SHORT, "channels_4=50", Judged(SHORT, Terms()).space)
    assert "does not hold this network" in in_words(Judged(odd, Terms()))
