"""Optuna's TPE as a sampler of a search. It was the default until studies/samplers compared it with others."""

import optuna
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, create_trial

from nas.space.space import Space
from nas.strategy.propose import DIRECTIONS, Proposal, ProposalContext, Sampler, Scored
from nas.strategy.samplers import SAMPLERS, after_random_ones

PROPOSALS = 64
"""Proposals asked for one candidate before chance takes over."""


def as_trial(space: Space, scored: Scored) -> FrozenTrial:
    """A candidate as Optuna's samplers see it, with values (merit, MACs)."""
    return create_trial(
        values=(scored.merit, scored.macs),
        params=space.encode(scored.architecture),
        distributions=space.distributions(),
        system_attrs={"constraints": [-1.0 if scored.fits else 1.0]},
    )


def _tpe(context: ProposalContext) -> Proposal | None:
    """Its first proposal that fits and is new, asked in a study in memory that holds the history."""
    space, sampler = context.rules.space, TPESampler(n_startup_trials=0, multivariate=True, seed=context.seed)
    study = optuna.create_study(directions=DIRECTIONS, sampler=sampler)
    study.add_trials([as_trial(space, each) for each in context.history.scored])
    for _ in range(PROPOSALS):
        trial = study.ask(space.distributions())
        if proposal := context.consider(trial.params):
            return proposal
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
    return None


tpe = after_random_ones(_tpe)

COMPARED: dict[str, Sampler] = {**SAMPLERS, "tpe": tpe}
"""The samplers of a search, and TPE, by name."""
