"""The nearest network that fits, and how many begin like one."""

from dataclasses import replace

import pytest

from budget.errors import UserError
from budget.limits import Limits
from dynacp.student.architecture import TABLE1
from nas.editing.edits import edited
from nas.editing.judged import Judged, Terms
from nas.editing.nearby import in_words, nearest

SHORT = replace(TABLE1, blocks=TABLE1.blocks[:4])
"""Of four blocks, since tables of more take seconds."""


def fits(judged: Judged) -> bool:
    return judged.terms.limits.verdict(judged.ledger, judged.peak).fits


def test_the_nearest_of_what_fits_is_itself() -> None:
    assert nearest(Judged(SHORT, Terms())) == SHORT


@pytest.mark.parametrize("max_macs", [15_000_000, 8_000_000])
def test_the_nearest_fits_and_keeps_blocks_and_network_wide_choices(max_macs: int) -> None:
    odd = replace(edited(SHORT, "channels_4=50", Judged(SHORT, Terms()).space), pool="maximum")
    terms = Terms(Limits(max_macs=max_macs))
    found = Judged(nearest(Judged(odd, terms)), terms)
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
