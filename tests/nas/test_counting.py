"""Counting many networks at once."""

from dataclasses import replace

import numpy as np
import pytest
from layouts import random_layouts

from budget.conventions import CONVENTIONS, Convention
from budget.ledger import totals
from budget.limits import Limits
from dynacp.architecture import BASELINE, TABLE1
from nas.counting import count, count_choices, sample_fitting, share_that_fits
from nas.space import Space, encodings

SPACE = Space()


@pytest.mark.parametrize("convention", CONVENTIONS.values(), ids=CONVENTIONS)
def test_many_at_once_count_as_one_by_one_under_every_convention(convention: Convention) -> None:
    mixed = [
        TABLE1,
        BASELINE,
        replace(TABLE1, norm="depthwise", pool="maximum", classes=7),
        *random_layouts(300, seed=7),
    ]
    wanted = [tuple(totals(network.layers(), convention=convention)) for network in mixed]
    assert count(mixed, convention=convention).tolist() == [list(cost) for cost in wanted]


def test_encodings_count_as_the_networks_they_decode_to() -> None:
    columns = SPACE.sample(500, np.random.default_rng(8))
    networks = [SPACE.decode(choices) for choices in encodings(columns)]
    assert (count_choices(SPACE, columns) == count(networks)).all()


def test_what_is_sampled_to_fit_fits_and_what_is_left_out_does_not() -> None:
    limits = Limits(max_bytes=100_000, max_macs=12_000_000)
    fitting = sample_fitting(SPACE, limits, "float16", proposals=400, rng=np.random.default_rng(9))
    columns = SPACE.sample(400, np.random.default_rng(9))
    parameters, macs = count_choices(SPACE, columns).T
    wanted = np.nonzero((2 * parameters <= 100_000) & (macs <= 12_000_000))[0].tolist()
    assert 0 < len(wanted) < 400
    assert list(fitting) == wanted
    for choices in fitting.values():
        cost = totals(SPACE.decode(choices).layers())
        assert limits.allow(bytes=2 * int(cost.parameters), macs=int(cost.macs))


def test_most_of_the_space_does_not_fit_and_longer_networks_fit_less() -> None:
    share = share_that_fits(SPACE, Limits(), "float16", proposals=20_000, rng=np.random.default_rng(0))
    assert sum(drawn for _, drawn in share.values()) == 20_000
    shares = [fit / drawn for fit, drawn in share.values()]
    assert shares == sorted(shares, reverse=True)
    assert sum(fit for fit, _ in share.values()) / 20_000 < 0.3
    bytes_of_float32 = share_that_fits(SPACE, Limits(), "float32", proposals=20_000, rng=np.random.default_rng(0))
    assert all(bytes_of_float32[blocks][0] < share[blocks][0] for blocks in share)
