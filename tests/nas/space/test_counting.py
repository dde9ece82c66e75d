"""Counting many networks at once."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from architectures import random_architectures

from budget.conventions import CONVENTIONS, Convention
from budget.dtypes import DTYPES
from budget.ledger import ledger, totals
from budget.limits import Limits
from dynacp.student.architecture import BASELINE, TABLE1
from dynacp.student.layers import layers_of
from nas.space.counting import count, count_choices, equal_blocks, sample_fitting, share_that_fits
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


@pytest.mark.parametrize("dtype", DTYPES)
def test_frames_stand_for_each_other_where_their_networks_cost_the_same(dtype: str) -> None:
    networks, first = random_architectures(30, seed=2), equal_blocks(WIDE, dtype)
    pairs = [pair for pair in zip(WIDE.frames, first, strict=True) if pair[0].stem == TABLE1.stem]
    for (frame, kind), (other, its) in combinations(pairs, 2):
        ours, theirs = ([replace(each, blocks=n.blocks) for n in networks] for each in (frame, other))
        assert np.array_equal(count(ours, dtype=dtype), count(theirs, dtype=dtype)) == (kind == its)
    assert len({*first}) == (4 if dtype == "int8" else 2), (
        "where the norm can be folded, and where there are more norms"
    )


@pytest.mark.parametrize(("dtype", "max_bytes"), [("float16", 100_000), ("int8", 55_000)])
def test_what_is_sampled_to_fit_fits_and_what_is_left_out_does_not(dtype: str, max_bytes: int) -> None:
    limits = Limits(max_bytes, max_macs=12_000_000)
    fitting = sample_fitting(SPACE, limits, dtype, proposals=400, rng=np.random.default_rng(9))
    accounts = [ledger(layers_of(network), dtype=dtype) for network in SPACE.networks(400, np.random.default_rng(9))]
    wanted = [place for place, each in enumerate(accounts) if each.bytes <= max_bytes and each.macs <= 12_000_000]
    assert 0 < len(wanted) < 400
    assert list(fitting) == wanted
    for choices in fitting.values():
        cost = totals(layers_of(SPACE.decode(choices)), dtype=dtype)
        assert limits.allow(bytes=cost.bytes, macs=cost.macs)


def test_most_of_the_space_does_not_fit_and_longer_networks_fit_less() -> None:
    share = share_that_fits(SPACE, Limits(), "float16", proposals=20_000, rng=np.random.default_rng(0))
    assert sum(drawn for _, drawn in share.values()) == 20_000
    shares = [fit / drawn for fit, drawn in share.values()]
    assert shares == sorted(shares, reverse=True)
    assert sum(fit for fit, _ in share.values()) / 20_000 < 0.3
    bytes_of_float32 = share_that_fits(SPACE, Limits(), "float32", proposals=20_000, rng=np.random.default_rng(0))
    assert all(bytes_of_float32[blocks][0] < share[blocks][0] for blocks in share)
