"""The strategies of `--sampler`: functions of a `ProposalContext`. All pass tests/nas/strategy/test_samplers.py."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import optuna
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, TPESampler
from optuna.trial import TrialState

from nas.strategy.model_based import fits, model
from nas.strategy.pareto import front
from nas.strategy.propose import DIRECTIONS, Proposal, ProposalContext, Sampler, by_chance

STARTUP_TRIALS = 20
"""Candidates that the search draws at random before a sampler that learns from their scores proposes."""


@dataclass(frozen=True)
class FromOptuna:
    """A sampler of Optuna's, asked in a study in memory that holds the history."""

    make: Callable[[int], BaseSampler]
    """Makes the sampler from a seed."""
    proposals: int
    """Proposals asked for one candidate before chance takes over (one costs tpe about 20 ms, gp over a second)."""

    def __call__(self, context: ProposalContext) -> Proposal | None:
        """The sampler's first proposal that fits and is new; None after `proposals` that do not."""
        history, distributions = context.history, context.rules.space.distributions()
        study = optuna.create_study(directions=DIRECTIONS, sampler=self.make(context.seed))
        study.add_trials([*history.scored, *history.pending])
        for _ in range(self.proposals):
            trial = study.ask(distributions)
            if proposal := context.consider(trial.params):
                return replace(proposal, system_attrs=_generation(study, trial))
            study.tell(trial, state=TrialState.FAIL)
        return None


def _generation(study: optuna.Study, trial: optuna.Trial) -> dict[str, Any]:
    """The attributes that a genetic sampler notes of a trial, and must find there again.

    Optuna 5 keeps them as system attributes, and has no public name for them; tests/nas/strategy/test_samplers.py fails
    where a search that is resumed would lose them.
    """
    attributes = study.get_trials(deepcopy=False)[trial.number].system_attrs
    return {name: value for name, value in attributes.items() if "generation" in name}


def after_random_ones(sampler: Sampler) -> Sampler:
    """`sampler` once there are `STARTUP_TRIALS` candidates to learn from; until then it leaves proposing to chance."""
    return lambda context: sampler(context) if context.history.number >= STARTUP_TRIALS else None


def local(context: ProposalContext) -> Proposal | None:
    """Propose a random single change of a random network on the front, as scored, that still has a new one that fits.

    None where none has.
    """
    space, rng = context.rules.space, context.rng
    fitting = [trial for trial in context.history.scored if fits(trial)]
    best = [fitting[index] for index in front([(trial.values[0], trial.values[1]) for trial in fitting])]
    for parent in rng.permutation(len(best)):
        changes = space.single_changes(space.decode(best[parent].params))
        for index in rng.permutation(len(changes)):
            if proposal := context.consider(space.encode(changes[index].architecture)):
                return proposal
    return None


SAMPLERS: dict[str, Sampler] = {
    "tpe": after_random_ones(
        FromOptuna(lambda seed: TPESampler(n_startup_trials=0, multivariate=True, constant_liar=True, seed=seed), 64)
    ),
    "gp": after_random_ones(FromOptuna(lambda seed: GPSampler(n_startup_trials=0, seed=seed), 8)),
    "model": after_random_ones(model),
    "nsga2": FromOptuna(lambda seed: NSGAIISampler(population_size=STARTUP_TRIALS, seed=seed), 500),
    "local": after_random_ones(local),
    "random": by_chance,
}
"""The samplers by their names in `--sampler`."""
