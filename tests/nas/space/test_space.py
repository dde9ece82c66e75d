"""The search space and its encodings."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from architectures import random_architectures
from hypothesis import given
from hypothesis import strategies as st
from optuna import create_study
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)
from optuna.samplers import RandomSampler

from dynacp.student.architecture import BASELINE, TABLE1, Block
from nas.space.network_wide import EVERY, NetworkWide
from nas.space.space import FORMS, Space, encodings, expanded_channels

SPACE = Space()
WIDE = Space(network_wide=EVERY)
SMALL = Space(min_blocks=1, max_blocks=2, dilations=(1, 2), expansions=(1.5, 2.1), widths=(16, 24))


@pytest.mark.parametrize("space", [SPACE, WIDE])
def test_table_1_is_in_the_space_exactly(space: Space) -> None:
    assert space.decode(space.encode(TABLE1)) == TABLE1


def test_the_space_is_as_large_as_promised() -> None:
    assert (SPACE.min_blocks, SPACE.max_blocks) == (4, 8)
    assert len({stride for _, stride in FORMS.values()}) == 4
    assert len(SPACE.dilations) >= 3
    assert len(SPACE.expansions) >= 3
    assert len(SPACE.widths) >= 6
    per_block = (4 * 15 + 1 + 3) * 3 * 4  # plain forms with a width, identity, pooled; dilations; expansions
    assert SPACE.size() == sum(per_block**blocks for blocks in range(4, 9)) > 10**10


def test_the_size_is_the_number_of_distinct_networks_that_a_small_space_decodes_to() -> None:
    names = [name for name in SMALL.distributions() if name != "blocks"]
    choices = {"dilation": SMALL.dilations, "form": tuple(FORMS), "expansion": SMALL.expansions, "width": SMALL.widths}
    values = [choices[name.split("_")[0]] for name in names]
    networks = {
        SMALL.decode({"blocks": blocks, **dict(zip(names, row, strict=True))})
        for blocks in (1, 2)
        for row in product(*values)
    }
    assert len(networks) == SMALL.size()


def test_network_wide_choices_multiply_the_networks_by_their_values_and_by_what_may_follow_each_stem() -> None:
    """Two values each of activation, pool, norm and response."""
    assert WIDE.size() == 16 * sum(replace(SPACE, frame=frame).size() for frame in WIDE.frames[::16])
    assert [frame.stem for frame in WIDE.frames[::16]] == [(8, 16), (8, 24), (8, 32), (16, 32)]


def test_network_wide_choices_come_first_and_those_of_blocks_stay_as_they_were() -> None:
    searched = {
        "stem": CategoricalDistribution(("8-16", "8-24", "8-32", "16-32")),
        "activation": CategoricalDistribution(("relu6", "relu")),
        "pool": CategoricalDistribution(("average", "maximum")),
        "norm": CategoricalDistribution(("sum", "depthwise")),
        "response": CategoricalDistribution(("none", "global")),
    }
    assert WIDE.distributions() == searched | SPACE.distributions()
    assert list(WIDE.distributions()) == [*searched, *SPACE.distributions()] == list(WIDE.values())
    assert list(WIDE.sample(1, np.random.default_rng(0))) == list(WIDE.values())


def test_a_single_network_wide_value_is_taken_and_not_searched() -> None:
    space = Space(network_wide=NetworkWide(pool=("maximum",), stem=((16, 32),)))
    wanted = replace(TABLE1, pool="maximum", stem=(16, 32))
    assert space.values() == SPACE.values()
    assert space.decode(SPACE.encode(TABLE1)) == wanted
    assert space.decode(space.encode(wanted)) == wanted
    with pytest.raises(ValueError, match=r"`stem` \(8, 32\), not \(16, 32\), `pool` average, not maximum"):
        space.encode(TABLE1)


def test_every_other_value_of_a_network_wide_choice_is_a_single_change() -> None:
    changes = {(change.name, change.value): change.architecture for change in WIDE.single_changes(TABLE1)}
    assert changes["pool", "maximum"] == replace(TABLE1, pool="maximum")
    assert changes["norm", "depthwise"] == replace(TABLE1, norm="depthwise")
    narrow = changes["stem", "8-24"]
    assert narrow.stem == (8, 24)
    assert [block.out for block in narrow.blocks] == [24, 24, 24, 56, 56, 104], "blocks that keep channels follow"
    assert len([name for name, _ in changes if name == "stem"]) == 3


def test_network_wide_values_that_make_no_network_are_refused() -> None:
    with pytest.raises(ValueError, match="`pool` must hold each value once"):
        NetworkWide(pool=("average", "average"))
    with pytest.raises(ValueError, match="`pool` must be one of average, maximum, but got 'median'"):
        Space(network_wide=NetworkWide(pool=("average", "median")))
    with pytest.raises(ValueError, match="`norm` must be 'depthwise' in the family 'cp'"):
        Space(BASELINE, network_wide=NetworkWide(norm=("sum", "depthwise")))


@pytest.mark.parametrize("space", [SPACE, WIDE])
@given(seed=st.integers(0, 100_000))
def test_what_decodes_encodes_to_choices_that_decode_to_the_same(space: Space, seed: int) -> None:
    (architecture,) = random_architectures(1, seed=seed, space=space)
    choices = space.encode(architecture)
    assert space.decode(choices) == architecture
    for name, distribution in space.distributions().items():
        assert distribution._contains(distribution.to_internal_repr(choices[name])), name


@pytest.mark.parametrize(
    ("network", "complaint"),
    [
        (
            BASELINE,
            "differs from the space's frame in more than its blocks: `input` .256, 65., not .256, 89., `family` cp",
        ),
        (replace(TABLE1, stem=(8, 16), blocks=(Block(24, 32),) * 4), r"blocks: `stem` \(8, 16\), not \(8, 32\)"),
        (replace(TABLE1, stem=(8, 16), blocks=(Block(24, 16, residual=2),) * 4), r"`stem` \(8, 16\), not \(8, 32\)"),
        (replace(TABLE1, blocks=TABLE1.blocks[:3]), "4 to 8 blocks"),
        (replace(TABLE1, pool="maximum"), "`pool` maximum, not average"),
        (replace(TABLE1, blocks=(Block(72, 32), *TABLE1.blocks[1:])), "block 1: no expansion"),
        (replace(TABLE1, blocks=(*TABLE1.blocks[:5], Block(120, 20))), "block 6: .* outside the space"),
    ],
)
def test_a_network_outside_the_space_is_refused(network: object, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        SPACE.encode(network)  # type: ignore[arg-type]


def test_expanded_channels_round_as_make_divisible_does() -> None:
    def make_divisible(value: float) -> int:
        rounded = max(8, int(value + 4) // 8 * 8)
        return rounded + 8 if rounded < 0.9 * value else rounded

    for channels, tenths in product(SPACE.widths, (15, 21, 27, 33)):
        assert expanded_channels(channels, tenths / 10) == make_divisible(channels * tenths / 10), (channels, tenths)


def test_expansions_never_coincide_so_that_no_network_has_two_sets_of_read_choices() -> None:
    for channels in (*SPACE.widths, TABLE1.stem[1]):
        assert len({int(expanded_channels(channels, expansion)) for expansion in SPACE.expansions}) == 4


def test_sampling_is_uniform_over_each_choice_and_follows_the_seed() -> None:
    columns = SPACE.sample(20_000, np.random.default_rng(0))
    for name, choices in (("blocks", 5), ("form_3", 8), ("width_8", 15), ("expansion_1", 4), ("dilation_2", 3)):
        _, counts = np.unique(columns[name], return_counts=True)
        expected = 20_000 / choices
        assert len(counts) == choices
        assert np.abs(counts - expected).max() < 5 * np.sqrt(expected), name
    again = SPACE.sample(20_000, np.random.default_rng(0))
    assert all((columns[name] == again[name]).all() for name in columns)


@pytest.mark.parametrize("space", [SPACE, WIDE])
def test_what_is_not_read_does_not_change_the_network_and_all_else_can(space: Space) -> None:
    rng = np.random.default_rng(3)
    one, other = (list(encodings(space.sample(300, rng))) for _ in range(2))
    for choices, others in zip(one, other, strict=True):
        read, network = space.read(choices), space.decode(choices)
        assert space.decode({name: (choices if name in read else others)[name] for name in choices}) == network
        for name in read - {"blocks"}:
            if others[name] != choices[name]:
                assert space.decode(choices | {name: others[name]}) != network, name


def test_the_default_choices_are_stored_as_they_always_were() -> None:
    """Optuna goes on with a study only while its distributions stay the same."""
    forms = "1 1x1", "1 2x1", "1 1x2", "1 2x2", "2 1x1", "3 2x1", "3 1x2", "3 2x2"
    wanted: dict[str, BaseDistribution] = {"blocks": IntDistribution(4, 8)}
    for number in range(1, 9):
        wanted |= {
            f"dilation_{number}": IntDistribution(1, 3),
            f"form_{number}": CategoricalDistribution(forms),
            f"expansion_{number}": FloatDistribution(1.5, 3.3, step=0.6),
            f"width_{number}": IntDistribution(16, 128, step=8),
        }
    stored = {name: distribution_to_json(each) for name, each in SPACE.distributions().items()}
    assert stored == {name: distribution_to_json(each) for name, each in wanted.items()}
    assert list(stored) == list(wanted)


@pytest.mark.parametrize(
    ("values", "distribution"),
    [
        ({"widths": (16, 24, 64)}, CategoricalDistribution((16, 24, 64))),
        ({"widths": (16, 40, 64)}, IntDistribution(16, 64, step=24)),
        ({"widths": (48,)}, IntDistribution(48, 48)),
        ({"dilations": (1, 4)}, IntDistribution(1, 4, step=3)),
        ({"dilations": (1, 2, 4)}, CategoricalDistribution((1, 2, 4))),
        ({"expansions": (2.0,)}, FloatDistribution(2.0, 2.0, step=1)),
        ({"expansions": (1.5, 2.5, 6.0)}, CategoricalDistribution((1.5, 2.5, 6.0))),
        ({"expansions": (1.0, 1.0000001)}, CategoricalDistribution((1.0, 1.0000001))),
        ({"expansions": (1, 2)}, IntDistribution(1, 2)),
    ],
)
def test_choices_are_proposed_as_they_were_given_and_no_others(
    values: dict[str, tuple[float, ...]], distribution: BaseDistribution
) -> None:
    space, ((name, given),) = replace(SPACE, min_blocks=1, max_blocks=1, **values), values.items()  # type: ignore[arg-type]
    choice = f"{name.removesuffix('s')}_1"
    assert space.distributions()[choice] == distribution
    study = create_study(sampler=RandomSampler(seed=0))
    assert {study.ask(space.distributions()).params[choice] for _ in range(30)} == set(given)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"widths": ()}, r"`widths` must be positive, of type int, and ascend, but got \(\)"),
        ({"widths": (24, 16)}, "`widths` must be positive, of type int, and ascend"),
        ({"widths": (16, 16)}, "`widths` must be .* ascend"),
        ({"widths": (16.0,)}, "`widths` must be .* of type int"),
        ({"dilations": (0, 1)}, "`dilations` must be positive"),
        ({"dilations": (True,)}, "`dilations` must be .* of type int"),
        ({"expansions": (1.5, float("nan"))}, "`expansions` must be .* of type int or float"),
        ({"expansions": (1.5, float("inf"))}, "`expansions` must be .* of type int or float"),
        ({"expansions": (0.2,)}, "`expansions`: 0.2 times 16 channels .* begin with 0.25 or more"),
        ({"expansions": (1e300,)}, "`expanded` must be at most 100,000,000"),
        (
            {"widths": (16, 50_000)},
            "the largest network of the space is too large: block 1: a network may have at most 100,000,000 weights",
        ),
        ({"dilations": (2_000,)}, "`dilation` must be at most 1,024"),
        ({"min_blocks": 0}, "1 <= min_blocks <= max_blocks must hold, but got 0 and 8"),
        ({"min_blocks": 9}, "1 <= min_blocks <= max_blocks must hold, but got 9 and 8"),
        ({"max_blocks": 8.0}, "1 <= min_blocks <= max_blocks must hold, but got 4 and 8.0"),
        ({"max_blocks": 300}, "at most 256 blocks"),
    ],
)
def test_choices_that_make_no_network_are_refused(fields: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        replace(SPACE, **fields)  # type: ignore[arg-type]
