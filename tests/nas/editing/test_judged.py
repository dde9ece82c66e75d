"""What a network and all single edits of it cost, against counting each alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budget.conventions import CONVENTIONS
from budget.errors import UserError
from budget.ledger import totals
from budget.limits import Limits
from budget.memory import peak
from dynacp.student.architecture import BASELINE, TABLE1, Architecture
from dynacp.student.layers import layers_of, steps_of
from nas.editing.edits import edited
from nas.editing.judged import Judged, Terms, Value
from nas.space.network_wide import EVERY
from nas.space.space import Space

SPACE = Space(network_wide=EVERY)
NETWORKS = st.integers(0, 2**32 - 1).map(lambda seed: SPACE.networks(1, np.random.default_rng(seed))[0])
TERMS = st.builds(
    Terms,
    st.builds(
        Limits,
        st.integers(60_000, 200_000),
        st.integers(8_000_000, 50_000_000),
        st.none() | st.integers(200_000, 2_000_000),
    ),
    st.sampled_from(["float16", "int8", "float32"]),
    st.sampled_from(["", *CONVENTIONS]),
)


def values(judged: Judged) -> list[Value]:
    choices = [*judged.network_choices, *(choice for block in judged.block_choices for choice in block)]
    return [value for choice in choices for value in choice.values]


@settings(max_examples=25)
@given(NETWORKS | st.sampled_from([TABLE1, BASELINE]), TERMS)
def test_every_value_costs_what_its_network_costs_alone(network: Architecture, terms: Terms) -> None:
    judged = Judged(network, terms)
    for value in values(judged):
        if value.possible:
            alone = totals(layers_of(value.network), convention=terms.rule, dtype=terms.dtype)
            assert alone.macs - judged.ledger.macs == value.more_macs
            assert alone.bytes - judged.ledger.bytes == value.more_bytes
            held = peak(steps_of(value.network)).bytes[terms.dtype]
            assert value.fits == (
                alone.macs <= terms.limits.max_macs
                and alone.bytes <= terms.limits.max_bytes
                and held <= (terms.limits.max_activation_bytes or held)
            )
            more = None if terms.limits.max_activation_bytes is None else held - judged.peak.bytes[terms.dtype]
            assert value.more_activation_bytes == more
            assert value.chosen or value.network == edited(network, value.edit, judged.space)


@settings(max_examples=25)
@given(NETWORKS)
def test_each_choice_shows_every_value_of_the_space_and_marks_the_present_one(network: Architecture) -> None:
    judged = Judged(network, Terms())
    assert not judged.outside
    assert all(value.inside for value in values(judged))
    changed = {change.architecture for change in SPACE.single_changes(network) if change.name != "blocks"}
    moves = {value.network for block in judged.block_choices for value in block[-1].values}
    assert {value.network for value in values(judged) if value.possible} - moves >= changed - moves
    for choice in (*judged.network_choices, *(each for block in judged.block_choices for each in block[:-1])):
        assert sum(value.chosen for value in choice.values) == 1


def test_a_value_outside_the_space_is_shown_and_marked() -> None:
    odd = edited(edited(TABLE1, "width_6=100", SPACE), "channels_6=50", SPACE)
    judged = Judged(odd, Terms())
    assert "no expansion" in judged.outside
    _, _, expansion, width, _ = judged.block_choices[5]
    assert [(value.text, value.inside) for value in expansion.values if value.chosen] == [("50", False)]
    assert [(value.text, value.inside) for value in width.values if value.chosen] == [("100", False)]
    assert [value.text for value in width.values if value.inside] == [str(each) for each in SPACE.widths]


def test_the_nearest_fitting_edits_come_first() -> None:
    judged = Judged(TABLE1, Terms(Limits(max_macs=28_000_000)))
    first, second = judged.fitting[:2]
    assert first.more_macs <= -938_900  # 28,938,900 - 28,000,000
    near = [abs(each.more_macs) / 28e6 + abs(each.more_bytes) / 128e3 for each in (first, second)]
    assert near == sorted(near)


def test_terms_that_nobody_knows_are_refused() -> None:
    with pytest.raises(UserError, match="convention"):
        Terms(convention="fvcores")
    with pytest.raises(UserError, match="bfloat8"):
        Terms(dtype="bfloat8")
