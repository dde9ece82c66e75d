"""Counting many networks at once."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from architectures import random_architectures
from hypothesis import given, settings
from hypothesis import strategies as st

from budget.conventions import CONVENTIONS, Convention
from budget.dtypes import DTYPES
from budget.ledger import ledger, totals
from budget.limits import Limits
from budget.memory import peak
from dynacp.student.architecture import BASELINE, IDENTITY, PLAIN, POOLED, TABLE1, Architecture, Block
from dynacp.student.layers import layers_of, steps_of
from nas.space.counting import (
    activation_bytes,
    activation_bytes_of_choices,
    count,
    count_choices,
    equal_blocks,
    keep,
    sample_fitting,
    share_that_fits,
)
from nas.space.network_wide import EVERY
from nas.space.space import Space, encodings

SPACE, WIDE = Space(), Space(network_wide=EVERY)


@pytest.mark.parametrize("convention", CONVENTIONS.values(), ids=CONVENTIONS)
def test_many_at_once_count_as_one_by_one_under_every_convention(convention: Convention) -> None:
    mixed = [
        TABLE1,
        BASELINE,
        replace(TABLE1, norm="depthwise", pool="maximum", classes=7),
        *random_architectures(300, seed=7),
    ]
    for dtype in DTYPES:
        wanted = [list(totals(layers_of(network), convention=convention, dtype=dtype)) for network in mixed]
        assert np.transpose(count(mixed, convention=convention, dtype=dtype)).tolist() == wanted


@pytest.mark.parametrize("dtype", DTYPES)
def test_many_count_by_the_convention_of_their_dtype_unless_another_is_named(dtype: str) -> None:
    networks = random_architectures(20, seed=6)
    assert np.transpose(count(networks, dtype=dtype)).tolist() == [
        list(totals(layers_of(each), dtype=dtype)) for each in networks
    ]


@pytest.mark.parametrize("space", [SPACE, WIDE])
@pytest.mark.parametrize("dtype", DTYPES)
def test_encodings_count_as_the_networks_they_decode_to(dtype: str, space: Space) -> None:
    columns = space.sample(500, np.random.default_rng(8))
    networks = [space.decode(choices) for choices in encodings(columns)]
    assert np.array_equal(count_choices(space, columns, dtype=dtype), count(networks, dtype=dtype))
    held = activation_bytes_of_choices(space, columns, dtype=dtype)
    assert held.tolist() == [peak(steps_of(network)).bytes[dtype] for network in networks]


@st.composite
def architectures(draw: st.DrawFn) -> Architecture:
    """Any that are not large, inside the spaces of a search or not."""
    channels, blocks = st.integers(1, 70), list[Block]()
    family = draw(st.sampled_from(("dpcp", "cp")))
    stem = draw(st.tuples(channels, channels))
    entering = stem[1]
    for _ in range(draw(st.integers(1, 5))):
        residual = draw(st.sampled_from((PLAIN, IDENTITY, POOLED)))
        strides = ((1, 1), (2, 1), (1, 2), (2, 2))
        stride = (1, 1) if residual == IDENTITY else draw(st.sampled_from(strides[residual == POOLED :]))
        out = draw(channels) if residual == PLAIN else entering
        blocks.append(Block(draw(channels), out, draw(st.integers(1, 4)), residual, stride))
        entering = out
    return Architecture(
        tuple(blocks), draw(st.tuples(st.integers(1, 140), st.integers(1, 99))), draw(st.integers(1, 300)), stem,
        family, norm="depthwise" if family == "cp" else draw(st.sampled_from(("sum", "depthwise"))),
        response=draw(st.sampled_from(("none", "global"))),
    )  # fmt: skip


@settings(max_examples=200)
@given(st.lists(architectures(), min_size=1, max_size=12), st.sampled_from([*DTYPES]), st.integers(1, 12))
def test_activations_of_many_at_once_are_those_of_each_alone(
    networks: list[Architecture], dtype: str, alike: int
) -> None:
    """Some networks share a frame and a number of blocks, so that they are counted together."""
    frame = networks[0]
    networks += [replace(each, blocks=frame.blocks) for each in networks[:alike] if each.stem[1] == frame.stem[1]]
    networks += random_architectures(alike, seed=alike, space=WIDE)
    wanted = [peak(steps_of(network)).bytes[dtype] for network in networks]
    assert activation_bytes(networks, dtype=dtype).tolist() == wanted


@pytest.mark.parametrize("dtype", DTYPES)
def test_frames_stand_for_each_other_where_their_networks_cost_the_same(dtype: str) -> None:
    networks, first = random_architectures(30, seed=2), equal_blocks(WIDE, dtype)
    pairs = [pair for pair in zip(WIDE.frames, first, strict=True) if pair[0].stem == TABLE1.stem]
    for (frame, kind), (other, its) in combinations(pairs, 2):
        ours, theirs = ([replace(each, blocks=n.blocks) for n in networks] for each in (frame, other))
        assert np.array_equal(count(ours, dtype=dtype), count(theirs, dtype=dtype)) == (kind == its)
        assert kind != its or np.array_equal(activation_bytes(ours, dtype=dtype), activation_bytes(theirs, dtype=dtype))
    assert len({*first}) == (4 if dtype == "int8" else 2), (
        "where the norm can be folded, and where there are more norms"
    )


@pytest.mark.parametrize("max_activation_elements", [None, 200_000])
@pytest.mark.parametrize(("dtype", "max_bytes"), [("float16", 100_000), ("int8", 55_000)])
def test_what_is_sampled_to_fit_fits_and_what_is_left_out_does_not(
    dtype: str, max_bytes: int, max_activation_elements: int | None
) -> None:
    most = max_activation_elements and max_activation_elements * DTYPES[dtype].activation_bytes
    limits = Limits(max_bytes, 12_000_000, most)
    fitting = sample_fitting(SPACE, limits, dtype, proposals=400, rng=np.random.default_rng(9))
    networks = SPACE.networks(400, np.random.default_rng(9))
    fits = [limits.verdict(ledger(layers_of(each), dtype=dtype), peak(steps_of(each))).fits for each in networks]
    assert 0 < sum(fits) < 400
    assert list(fitting) == np.flatnonzero(fits).tolist()
    assert keep(limits, networks, dtype=dtype).tolist() == fits
    assert [SPACE.decode(choices) for choices in fitting.values()] == [networks[place] for place in fitting]


def test_most_of_the_space_does_not_fit_and_longer_networks_fit_less() -> None:
    share = share_that_fits(SPACE, Limits(), "float16", proposals=20_000, rng=np.random.default_rng(0))
    assert sum(drawn for _, drawn in share.values()) == 20_000
    shares = [fit / drawn for fit, drawn in share.values()]
    assert shares == sorted(shares, reverse=True)
    assert sum(fit for fit, _ in share.values()) / 20_000 < 0.3
    bytes_of_float32 = share_that_fits(SPACE, Limits(), "float32", proposals=20_000, rng=np.random.default_rng(0))
    assert all(bytes_of_float32[blocks][0] < share[blocks][0] for blocks in share)
