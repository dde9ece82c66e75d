"""Proposing candidates: only what is new and fits, by seed, and honest about what it took."""

from collections.abc import Sequence

import optuna
import pytest
from optuna.trial import FrozenTrial, create_trial

from budget.limits import Limits
from dynacp.architecture import TABLE1, Architecture
from nas.counting import count
from nas.propose import (
    SAMPLERS,
    STARTUP_TRIALS,
    TOLD_PER_CANDIDATE,
    Proposal,
    Proposer,
    SpaceExhaustedError,
    derived_seed,
)
from nas.space import Space

optuna.logging.set_verbosity(optuna.logging.WARNING)

SPACE = Space()
SMALL = Space(min_blocks=1, max_blocks=1, dilations=(1, 2), expansions=(1.5, 2.1), widths=(16, 24))


def proposer(sampler: str = "tpe", *, seed: int = 0, space: Space = SPACE, limits: Limits | None = None) -> Proposer:
    return Proposer(space, limits or Limits(), "float16", sampler, seed)


def search(
    asked: Proposer, trials: int, start: Sequence[tuple[Proposal, FrozenTrial]] = ()
) -> list[tuple[Proposal, FrozenTrial]]:
    """As the search does it, with a made-up score: more blocks, better; wider last block, better."""
    done = list(start)
    while len(done) < trials:
        told = [choices for proposal, _ in done for choices in proposal.told]
        seen = {proposal.architecture for proposal, _ in done}
        proposal = asked.propose([trial for _, trial in done], told, seen)
        cost = asked.cost(proposal.architecture)
        score = len(proposal.architecture.blocks) / 10 + proposal.architecture.blocks[-1].out / 1_000
        trial = create_trial(
            values=(score, cost["macs"]),
            params=proposal.choices,
            distributions=asked.space.distributions(),
            constraints=asked.violations(proposal.architecture),
            system_attrs=proposal.system_attrs,
        )
        done.append((proposal, trial))
    return done


def layouts(done: Sequence[tuple[Proposal, FrozenTrial]]) -> list[Architecture]:
    return [proposal.architecture for proposal, _ in done]


@pytest.mark.parametrize(
    ("sampler", "trials"), [("random", 45), ("tpe", 45), ("nsga2", 45), ("gp", STARTUP_TRIALS + 2)]
)
def test_a_sampler_proposes_distinct_fitting_networks_the_same_ones_by_seed_also_after_a_stop(
    sampler: str, trials: int
) -> None:
    done = search(proposer(sampler), trials)
    networks = layouts(done)
    assert len(set(networks)) == trials
    parameters, macs = count(networks).T
    assert (2 * parameters).max() <= 128_000
    assert macs.max() <= 30_000_000
    half = search(proposer(sampler), trials // 2)
    assert layouts(half) == networks[: trials // 2]
    assert layouts(search(proposer(sampler), trials, start=half)) == networks
    assert layouts(search(proposer(sampler, seed=1), 3)) != networks[:3]


def test_what_was_rejected_is_counted_and_only_a_few_are_told() -> None:
    done = search(proposer("tpe", limits=Limits(max_macs=8_000_000)), 30)
    assert sum(proposal.rejected for proposal, _ in done) > 100
    for proposal, _ in done:
        assert len(proposal.told) <= min(TOLD_PER_CANDIDATE, proposal.rejected)
        for choices in proposal.told:
            violations = proposer(limits=Limits(max_macs=8_000_000)).violations(SPACE.decode(choices))
            assert max(violations.values()) > 0


def test_a_sampler_that_is_told_of_violations_proposes_fewer_of_them() -> None:
    """At 8 MMACs few random encodings fit; the model does much better than chance."""
    limits = Limits(max_macs=8_000_000)
    done = search(proposer("tpe", limits=limits), STARTUP_TRIALS + 20)
    before = sum(proposal.rejected for proposal, _ in done[:STARTUP_TRIALS])
    after = sum(proposal.rejected for proposal, _ in done[STARTUP_TRIALS:])
    assert after < before / 2


def test_a_small_space_is_proposed_to_the_last_network_and_then_said_to_be_exhausted() -> None:
    limits = Limits(max_macs=9_000_000)
    asked = proposer("random", space=SMALL, limits=limits)
    every = set()
    for seed in range(400):
        every.add(layouts(search(proposer("random", space=SMALL, limits=limits, seed=seed), 1))[0])
    done = search(asked, len(every))
    assert set(layouts(done)) == every
    assert 10 < len(every) < SMALL.size()
    with pytest.raises(SpaceExhaustedError, match=r"no new layout within 9,000,000 MACs and 128,000 bytes .* known"):
        search(asked, len(every) + 1, start=done)


def test_limits_that_nothing_meets_end_the_search_with_the_count_of_what_was_tried() -> None:
    """The stem alone takes 3,806,288 MACs."""
    with pytest.raises(SpaceExhaustedError, match="too large, 0 known"):
        proposer("tpe", limits=Limits(max_macs=3_000_000)).propose([], [], {TABLE1})


def test_every_sampler_of_the_command_line_is_tested_here() -> None:
    assert set(SAMPLERS) == {"tpe", "nsga2", "gp", "random"}


def test_derived_seeds_differ_by_every_part() -> None:
    seeds = {derived_seed(*parts) for parts in [(0, 0), (0, 1), (1, 0), (1, 1), (0, 1, 0), (0, 1, 1)]}
    assert len(seeds) == 6
