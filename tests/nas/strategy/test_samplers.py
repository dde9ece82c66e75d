"""What every sampler of the command line must do, and what some do beyond it."""

from dataclasses import replace
from functools import cache

import optuna
import pytest
from made_up import history, search

from budget.limits import Limits
from dynacp.student.architecture import TABLE1
from nas.space.counting import count
from nas.space.network_wide import EVERY
from nas.space.space import Space
from nas.strategy.pareto import hypervolume
from nas.strategy.propose import Rules, SpaceExhaustedError, combined_seed, propose
from nas.strategy.samplers import SAMPLERS, STARTUP_TRIALS
from nas.study.candidate import Candidate

optuna.logging.set_verbosity(optuna.logging.WARNING)

RULES = Rules(Space(network_wide=EVERY), Limits(), "float16")
NARROW = replace(RULES, limits=Limits(max_macs=8_000_000))
SMALL = Rules(
    Space(min_blocks=1, max_blocks=1, dilations=(1, 2), expansions=(1.5, 2.1), widths=(16, 24)),
    Limits(max_macs=9_000_000, max_activation_bytes=400_000),
    "float16",
)


@pytest.fixture(params=sorted(SAMPLERS))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@cache
def searched(name: str) -> list[Candidate]:
    """Past the random start; the model takes half a second for each."""
    return search(SAMPLERS[name], RULES, STARTUP_TRIALS + {"model": 8}.get(name, 25))


class TestEverySampler:
    def test_proposes_distinct_networks_that_fit(self, name: str) -> None:
        networks = [candidate.architecture for candidate in searched(name)]
        assert len(set(networks)) == len(networks)
        parameters, macs, _ = count(networks)
        assert (2 * parameters).max() <= 128_000
        assert macs.max() <= 30_000_000

    def test_proposes_the_same_by_seed_also_after_a_stop(self, name: str) -> None:
        done = searched(name)
        again = search(SAMPLERS[name], RULES, len(done), start=done[: STARTUP_TRIALS // 2])
        assert [candidate.architecture for candidate in again] == [candidate.architecture for candidate in done]
        other = search(SAMPLERS[name], RULES, 3, seed=1)
        assert {candidate.architecture for candidate in other}.isdisjoint({each.architecture for each in done})

    def test_gives_choices_of_the_space_that_decode_to_what_it_proposes(self, name: str) -> None:
        distributions = RULES.space.distributions()
        for candidate in searched(name):
            assert RULES.space.decode(candidate.trial.params) == candidate.architecture
            assert candidate.trial.params.keys() == distributions.keys()
            for choice, value in candidate.trial.params.items():
                assert distributions[choice]._contains(distributions[choice].to_internal_repr(value))

    def test_never_proposes_what_another_worker_is_training(self, name: str) -> None:
        *done, pending = searched(name)
        known = history(done)
        busy = replace(known, seen={*known.seen, pending.architecture})
        assert propose(SAMPLERS[name], RULES, busy, seed=0).architecture not in busy.seen

    def test_proposes_a_small_space_to_the_last_network_and_then_says_that_it_is_exhausted(
        self, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(
            "nas.strategy.propose.MAX_RANDOM_PROPOSALS", 20_000
        )  # hundreds for each network of this space
        space = SMALL.space
        every = {space.decode(choices) for choices in _all_choices(space)}
        fitting = {network for network in every if SMALL.allow(network, SMALL.cost(network))}
        assert 10 < len(fitting) < len(every) == space.size()
        sampler = SAMPLERS[name]
        done = search(sampler, SMALL, len(fitting))
        assert {candidate.architecture for candidate in done} <= fitting
        known = replace(history(done), seen=fitting)
        with pytest.raises(
            SpaceExhaustedError, match=r"within 9,000,000 MACs, .* 400,000 bytes of activations .* known"
        ):
            propose(sampler, SMALL, known, seed=0)

    def test_says_how_much_it_tried_where_nothing_fits(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """The stem alone takes 3,806,288 MACs."""
        monkeypatch.setattr("nas.strategy.propose.MAX_RANDOM_PROPOSALS", 2_000)
        nothing = replace(RULES, limits=Limits(max_macs=3_000_000))
        with pytest.raises(SpaceExhaustedError, match="too large, 0 known"):
            propose(SAMPLERS[name], nothing, replace(history([]), seen={TABLE1}), seed=0)


def _all_choices(space: Space) -> list[dict[str, object]]:
    grid: list[dict[str, object]] = [{"blocks": 1}]
    for name, distribution in space.distributions().items():
        if name != "blocks":
            values = [distribution.to_external_repr(value) for value in _internal(distribution)]
            grid = [{**choices, name: value} for choices in grid for value in values]
    return grid


def _internal(distribution: optuna.distributions.BaseDistribution) -> list[float]:
    if isinstance(distribution, optuna.distributions.CategoricalDistribution):
        return list(range(len(distribution.choices)))
    low, high, step = distribution.low, distribution.high, distribution.step  # type: ignore[attr-defined]
    return [round(low + step * index, 6) for index in range(round((high - low) / step) + 1)]


@pytest.mark.parametrize("sampler", ["local", "model"])
def test_a_sampler_that_learns_finds_a_better_front_than_chance(sampler: str) -> None:
    """The choices of blocks alone, since the made-up score reads no others."""
    rules = replace(RULES, space=Space())

    def found(name: str) -> float:
        done = search(SAMPLERS[name], rules, 45, seed=2)
        return hypervolume([candidate.point for candidate in done], reference=(0.4, 30e6))

    assert found(sampler) > 1.05 * found("random")


def test_local_search_changes_one_choice_of_a_network_on_the_front() -> None:
    done = search(SAMPLERS["local"], RULES, STARTUP_TRIALS + 5)
    for number in range(STARTUP_TRIALS, len(done)):
        before = done[:number]
        front = [
            one
            for one in before
            if not any(
                other.accuracy >= one.accuracy and other.macs <= one.macs and other.point != one.point
                for other in before
            )
        ]
        around = {change.architecture for one in front for change in RULES.space.single_changes(one.architecture)}
        assert done[number].architecture in around


def test_derived_seeds_differ_by_every_part() -> None:
    seeds = {combined_seed(*parts) for parts in [(0, 0), (0, 1), (1, 0), (1, 1), (0, 1, 0), (0, 1, 1)]}
    assert len(seeds) == 6
