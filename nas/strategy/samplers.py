"""The strategies of `--sampler`: functions of a `ProposalContext`. All pass tests/nas/strategy/test_samplers.py."""

from nas.strategy.model_based import model
from nas.strategy.pareto import front
from nas.strategy.propose import Proposal, ProposalContext, Sampler, by_chance

STARTUP_TRIALS = 20
"""Candidates that the search draws at random before a sampler that learns from their scores proposes."""


def after_random_ones(sampler: Sampler) -> Sampler:
    """`sampler` once there are `STARTUP_TRIALS` candidates to learn from; until then it leaves proposing to chance."""
    return lambda context: sampler(context) if context.history.number >= STARTUP_TRIALS else None


def local(context: ProposalContext) -> Proposal | None:
    """Propose a random single change of a random network on the front, as scored, that still has a new one that fits.

    None where none has.
    """
    space, rng = context.rules.space, context.rng
    fitting = [each for each in context.history.scored if each.fits]
    best = [fitting[index] for index in front([(each.merit, each.macs) for each in fitting])]
    for parent in rng.permutation(len(best)):
        changes = space.single_changes(best[parent].architecture)
        for index in rng.permutation(len(changes)):
            if proposal := context.consider(space.encode(changes[index].architecture)):
                return proposal
    return None


SAMPLERS: dict[str, Sampler] = {
    "model": after_random_ones(model),
    "local": after_random_ones(local),
    "random": by_chance,
}
"""The samplers by their names in `--sampler`; why they are these, and which is best: studies/samplers."""
