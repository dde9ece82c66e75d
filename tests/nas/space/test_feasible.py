"""What fits, against listing every network of small spaces."""

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from listed_spaces import FRAME, LISTED, SIZES, SMALL, SPACES, WIDE, every_network, held_by, keeps
from scipy.stats import chisquare

from budget.dtypes import DEFAULT_DTYPE, DTYPES
from budget.limits import Limits
from budget.memory import most_elements
from dynacp.student.architecture import TABLE1, Architecture, Block
from dynacp.student.layers import stem_steps
from nas.space import census
from nas.space.census import Census
from nas.space.counting import activation_bytes, count, count_choices
from nas.space.feasible import Feasible
from nas.space.network_wide import NetworkWide
from nas.space.space import Space, encodings

of_all_spaces = pytest.mark.parametrize("name", SPACES)


def fitting_in(name: str, dtype: str, limits: Limits) -> set[Architecture]:
    """All of one and two blocks."""
    return LISTED[name, 1, dtype].fitting(limits) | LISTED[name, 2, dtype].fitting(limits)


@st.composite
def limits(draw: st.DrawFn, name: str, dtype: str = DEFAULT_DTYPE) -> Limits:
    """From less than the smallest of two blocks to more than the largest; activations also without a limit."""
    known = LISTED[name, 2, dtype]
    return Limits(
        draw(st.integers(int(known.bytes.min()) - 99, int(known.bytes.max()) + 99)),
        draw(st.integers(int(known.macs.min()) - 999, int(known.macs.max()) + 999)),
        draw(st.none() | st.integers(int(known.held.min()) - 99, int(known.held.max()) + 99)),
    )


@of_all_spaces
@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=40)
@given(st.data(), st.sampled_from(SIZES), st.sampled_from([0, 4, 10**12]))
def test_as_many_fit_as_listing_every_network_finds(
    dtype: str, name: str, data: st.DataObject, blocks: int, listing: int
) -> None:
    within = data.draw(limits(name, dtype))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(census, "LISTING", listing)  # from always listing ways to always walking on
        counted = Census(Feasible(SPACES[name], within, dtype)).count(blocks, within.max_macs)
    assert counted == len(LISTED[name, blocks, dtype].fitting(within))


@of_all_spaces
@settings(max_examples=60)
@given(st.data(), st.sampled_from(SIZES))
def test_as_many_begin_like_a_network_as_listing_every_network_finds(
    name: str, data: st.DataObject, blocks: int
) -> None:
    within = data.draw(limits(name))
    begun = data.draw(st.sampled_from(LISTED[name, blocks, DEFAULT_DTYPE].networks))
    kept = data.draw(st.integers(0, blocks))
    alike = {
        network
        for network in LISTED[name, blocks, DEFAULT_DTYPE].fitting(within)
        if network.blocks[:kept] == begun.blocks[:kept]
        and replace(network, blocks=FRAME.blocks) == replace(begun, blocks=FRAME.blocks)
    }
    assert Feasible(SPACES[name], within).completions(begun, kept) == len(alike)


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_walks_too_many_for_64_bits_together_are_counted_apart(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    known = LISTED["network-wide", 2, dtype]
    within = Limits(int(np.quantile(known.bytes, 0.5)), int(np.quantile(known.macs, 0.5)))
    for most in (1, 300, 1 << 64):
        monkeypatch.setattr(census, "TOGETHER", most)
        counted = Census(Feasible(WIDE, within, dtype)).count(2, within.max_macs)
        assert counted == len(known.fitting(within)) > 0


@pytest.mark.parametrize("dtype", ["float16", "int8"])
@pytest.mark.parametrize("listing", [0, 4, 10**12])
def test_networks_of_the_default_choices_count_as_in_bulk(
    listing: int, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(census, "LISTING", listing)
    space = Space(min_blocks=3, max_blocks=3, dilations=(1,), expansions=(1.5, 3.3), widths=(16, 48, 128))
    _, macs, bytes = count(list(every_network(space, 3)), dtype=dtype)
    limits = Limits(int(np.quantile(bytes, 0.6)), int(np.quantile(macs, 0.4)))
    counting = Census(Feasible(space, limits, dtype))
    for max_macs in (limits.max_macs, limits.max_macs // 2):  # what was found out for one serves the other
        fitting = np.sum(limits.allow(bytes=bytes, macs=macs) & (macs <= max_macs))
        assert 0 < counting.count(3, max_macs) == fitting < len(macs)


@of_all_spaces
@pytest.mark.parametrize("dtype", ["float16", "int8"])
@settings(max_examples=25)
@given(st.data())
def test_choices_are_offered_where_an_architecture_that_fits_has_them_and_nowhere_else(
    dtype: str, name: str, data: st.DataObject
) -> None:
    space, within = replace(SPACES[name], max_blocks=2), data.draw(limits(name, dtype))
    feasible, fitting = Feasible(space, within, dtype), fitting_in(name, dtype, within)
    reached = set()

    def follow(chosen: dict[str, object]) -> None:
        following = feasible.next_choice(chosen)
        if following is None:
            reached.add(space.decode(chosen))
            return
        choice, values = following
        assert values or not chosen  # a choice that was offered leads on
        for value in values:
            follow({**chosen, choice: value})

    follow({})
    assert reached == fitting


def test_choices_that_lead_to_nothing_are_refused_with_the_block() -> None:
    feasible = Feasible(Space(max_blocks=4), Limits(max_macs=6_000_000))
    chosen = {"blocks": 4, "form_1": "1 1x1", "expansion_1": 3.3, "width_1": 128}
    with pytest.raises(ValueError, match="block 1 nothing fits"):
        feasible.next_choice(chosen)


def test_a_network_wide_value_that_the_space_lacks_is_refused() -> None:
    with pytest.raises(ValueError, match="`norm` must be one of sum, depthwise, but got after"):
        Feasible(WIDE, Limits()).next_choice({"stem": "4-8", "norm": "after"})


@of_all_spaces
@pytest.mark.parametrize("dtype", ["float16", "int8"])
@pytest.mark.parametrize("share_of_held", [None, 0.05])
def test_sampled_architectures_fit_and_each_is_as_likely_as_any_other(
    share_of_held: float | None, dtype: str, name: str
) -> None:
    known = LISTED[name, 2, dtype]
    shares = (0.3, 0.05) if share_of_held is None else (0.9, 0.2)
    most = None if share_of_held is None else int(np.quantile(known.held, share_of_held))
    limits = Limits(int(np.quantile(known.bytes, shares[0])), int(np.quantile(known.macs, shares[1])), most)
    fitting = known.fitting(limits)
    assert most is None or len(fitting) < len(known.fitting(replace(limits, max_activation_bytes=None)))
    sampled = Counter(Feasible(SPACES[name], limits, dtype).sample(2, 40 * len(fitting), np.random.default_rng(3)))
    assert 10 < len(fitting) < 1_000
    assert set(sampled) == fitting
    assert chisquare(list(sampled.values())).pvalue > 1e-3  # one seed, so one outcome: no test by chance


def test_nothing_is_sampled_where_nothing_fits() -> None:
    with pytest.raises(ValueError, match="no network of 2 blocks fits 30,000,000 MACs and 1,000 bytes"):
        Feasible(SMALL, Limits(max_bytes=1_000)).sample(2, 1, np.random.default_rng(0))


def test_a_space_too_large_to_be_counted_exactly_is_not_sampled_from() -> None:
    """256 walks a block: 2^64 of eight blocks, 2^72 of nine."""
    with pytest.raises(ValueError, match=r"4.72e\+21 walks of 9 blocks are more"):
        Feasible(Space(max_blocks=9), Limits()).sample(9, 1, np.random.default_rng(0))


@of_all_spaces
@pytest.mark.parametrize("dtype", ["float16", "int8"])
@settings(max_examples=50)
@given(st.data(), st.integers(0, 2**32 - 1))
def test_the_nearest_choices_fit_and_are_the_same_where_the_network_fits(
    dtype: str, name: str, data: st.DataObject, seed: int
) -> None:
    space, within = SPACES[name], data.draw(limits(name, dtype))
    feasible, rng, fitting = (
        Feasible(space, within, dtype),
        np.random.default_rng(seed),
        fitting_in(name, dtype, within),
    )
    for choices in encodings(replace(space, max_blocks=2).sample(10, rng)):
        choices = {**dict.fromkeys(space.distributions(), 8), **choices}
        if not fitting:
            continue
        near = feasible.nearest(choices)
        assert (space.decode(near) == space.decode(choices)) == (space.decode(choices) in fitting)
        assert keeps(within, space.decode(near), dtype)
        assert feasible.nearest(near) == near


def test_later_choices_give_way_to_earlier_ones_that_leave_less() -> None:
    space = Space(max_blocks=6, dilations=(1, 2), expansions=(2.1, 2.7), widths=(32, 56, 80, 104))
    dear = space.encode(TABLE1) | {"form_2": "2 1x1"}  # 44.1 MMACs; blocks behind it can make up for that
    near = Feasible(space, Limits()).nearest(dear)
    changed = [name for name in dear if near[name] != dear[name]]
    assert changed and all(int(name[-1]) > 2 for name in changed)


def test_a_stem_that_fits_nothing_gives_way_to_the_one_of_the_nearest_widths() -> None:
    stems = NetworkWide(stem=((8, 16), (8, 32), (16, 32)))
    space = Space(max_blocks=6, dilations=(1, 2), expansions=(2.1,), widths=(16, 32, 56, 104), network_wide=stems)
    wanted = space.encode(replace(TABLE1, stem=(16, 32)))
    near = Feasible(space, Limits(max_macs=10_000_000)).nearest(wanted)  # from 11.6 MMACs on some fit behind 16-32
    assert near["stem"] == "8-32"


@pytest.mark.parametrize(
    ("name", "max_activation_bytes"), [("blocks", 1), ("network-wide", 1), ("blocks", 7_000), ("many classes", 7_000)]
)
def test_nothing_is_counted_drawn_or_near_where_activations_exceed_their_limit(
    name: str, max_activation_bytes: int
) -> None:
    """1 byte holds no stem; 7,000 bytes the stem (6,144), but no block (7,680)."""
    feasible = Feasible(SPACES[name], Limits(max_activation_bytes=max_activation_bytes))
    assert not feasible.allows(2)
    assert Census(feasible).count(2, 30_000_000) == 0
    with pytest.raises(ValueError, match=f"128,000 bytes and {max_activation_bytes:,} bytes of activations"):
        feasible.sample(2, 1, np.random.default_rng(0))
    with pytest.raises(ValueError, match="nothing fits"):
        feasible.nearest({"blocks": 2})


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_the_stem_a_block_and_the_head_can_each_exceed_the_limit_of_activations(dtype: str) -> None:
    """For the lists above to show that none of them is forgotten."""
    size = DTYPES[dtype].activation_bytes
    stems = [most_elements(stem_steps(frame)) for frame in WIDE.frames]
    assert min(LISTED["network-wide", 2, dtype].held) == min(stems) * size < max(stems) * size
    headed = LISTED["many classes", 2, dtype]
    by_head = [held_by(network) == held_by(replace(network, classes=91)) for network in headed.networks]
    assert 0 < sum(by_head) < len(by_head)


@of_all_spaces
def test_nothing_is_near_where_nothing_fits(name: str) -> None:
    with pytest.raises(ValueError, match="nothing fits 30,000,000 MACs and 1,000 bytes"):
        Feasible(SPACES[name], Limits(max_bytes=1_000)).nearest({"blocks": 2})


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    """Any valid ones that are small enough to be listed: in even steps or not, with expansions that coincide or not."""

    def ascending(values: st.SearchStrategy[Any]) -> tuple[Any, ...]:
        return tuple(sorted(draw(st.lists(values, min_size=1, max_size=2, unique=True))))

    def some(values: tuple[Any, ...], *, most: int = 2) -> tuple[Any, ...]:
        return tuple(draw(st.lists(st.sampled_from(values), max_size=most, unique=True)))

    most = draw(st.integers(1, 2))
    try:
        return Space(
            replace(FRAME, stem=(4, draw(st.integers(1, 40))), blocks=(Block(8, 8),)),
            draw(st.integers(1, most)),
            most,
            dilations=ascending(st.integers(1, 5)),
            expansions=ascending(st.floats(0.1, 6) | st.sampled_from((0.5, 1, 1.25, 2.1))),
            widths=ascending(st.integers(1, 40)),
            network_wide=NetworkWide(
                stem=some(((1, 5), (3, 16), (4, 16), (4, 40))), activation=some(("relu6", "relu"), most=1),
                pool=some(("average", "maximum")), norm=some(("sum", "depthwise")), response=some(("none", "global")),
            ),
        )  # fmt: skip
    except ValueError:
        assume(False)
        raise


@settings(max_examples=40)
@given(
    spaces(), st.sampled_from([*DTYPES]), st.floats(0, 1), st.floats(0, 1), st.none() | st.floats(0, 1),
    st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_all_that_speaks_of_a_space_speaks_of_the_same_networks(
    space: Space, dtype: str, share_of_bytes: float, share_of_macs: float, share_of_held: float | None, seed: int
) -> None:
    networks = {blocks: list(every_network(space, blocks)) for blocks in space.sizes}
    every = {network for of_size in networks.values() for network in of_size}
    assert space.size() == sum(map(len, networks.values())) == len(every)

    sampled = space.sample(200, np.random.default_rng(seed))
    decoded = [space.decode(choices) for choices in encodings(sampled)]
    assert every.issuperset(decoded)
    assert np.array_equal(count_choices(space, sampled, dtype=dtype), count(decoded, dtype=dtype))

    distributions = space.distributions()
    asked = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed)).ask(distributions)
    assert space.decode(asked.params) in every
    for network in decoded[:20]:
        choices = space.encode(network)
        assert space.decode(choices) == network
        assert all(each._contains(each.to_internal_repr(choices[name])) for name, each in distributions.items())
        assert every.issuperset(change.architecture for change in space.single_changes(network))

    _, macs, bytes = count([*every], dtype=dtype)
    held = activation_bytes([*every], dtype=dtype)
    most = None if share_of_held is None else int(np.quantile(held, share_of_held))
    within = Limits(int(np.quantile(bytes, share_of_bytes)), int(np.quantile(macs, share_of_macs)), most)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nas.space.tables.MOST_UNITS", 1 << 20)  # odd widths have small units, and so long tables
        feasible = Feasible(space, within, dtype)
        for blocks, of_size in networks.items():
            assert feasible.walks(blocks) * len(space.dilations) ** blocks == len(of_size)
            fits = np.array([keeps(within, network, dtype) for network in of_size])
            assert Census(feasible).count(blocks, within.max_macs) == fits.sum()
            if fits.any():
                (drawn,) = feasible.sample(blocks, 1, np.random.default_rng(seed))
                assert drawn in {network for network, fit in zip(of_size, fits, strict=True) if fit}
