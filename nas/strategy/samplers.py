"""The strategies of `--sampler`: functions of what is `Asked`. All pass tests/nas/strategy/test_samplers.py."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas.strategy.front import front
from nas.strategy.propose import DIRECTIONS, Asked, Proposal, Sampler, by_chance

STARTUP_TRIALS = 20
"""Candidates drawn at random before a model of the scores proposes."""

TOLD_PER_CANDIDATE = 4
"""Rejections told to the sampler for each trained candidate, as trials that violate the limits."""


@dataclass(frozen=True)
class FromOptuna:
    """A sampler of Optuna's, asked in a study of its own that holds the history."""

    make: Callable[[int], BaseSampler]
    proposals: int
    """Asked for one candidate before chance takes over (each costs about 20 ms of tpe, over a second of gp)."""

    def __call__(self, asked: Asked) -> Proposal | None:
        rules, history = asked.rules, asked.history
        study = optuna.create_study(directions=DIRECTIONS, sampler=self.make(asked.seed))
        distributions = rules.space.distributions()
        study.add_trials([*history.scored, *history.pending])
        for choices in history.told:
            violations = rules.violations(rules.space.decode(choices))
            study.add_trial(
                create_trial(
                    state=TrialState.PRUNED, params=choices, distributions=distributions, constraints=violations
                )
            )
        for _ in range(self.proposals):
            trial = study.ask(distributions)
            answer = asked.consider(trial.params)
            if isinstance(answer, Proposal):
                answer.system_attrs = _generation(study, trial)
                return answer
            _refuse(study, trial, answer, asked)
        return None


def _generation(study: optuna.Study, trial: optuna.Trial) -> dict[str, Any]:
    """What a genetic sampler notes of a trial, and must find there again."""
    attributes = study.get_trials(deepcopy=False)[trial.number].system_attrs
    return {name: value for name, value in attributes.items() if "generation" in name}


def _refuse(study: optuna.Study, trial: optuna.Trial, violations: dict[str, float], asked: Asked) -> None:
    """Tell the sampler of the first few that do not fit; of the rest it learns nothing."""
    if max(violations.values()) <= 0 or len(asked.told) == TOLD_PER_CANDIDATE:
        study.tell(trial, state=TrialState.FAIL)
        return
    asked.told.append(trial.params)
    for name, value in violations.items():
        trial.set_constraint(name, value)
    study.tell(trial, state=TrialState.PRUNED)


def after_random_ones(sampler: Sampler) -> Sampler:
    """The sampler, once `STARTUP_TRIALS` candidates are there to learn from."""
    return lambda asked: sampler(asked) if asked.history.number >= STARTUP_TRIALS else None


def local(asked: Asked) -> Proposal | None:
    """One choice of a network on the front made otherwise: a random one of a random network that has one left."""
    space, rng = asked.rules.space, asked.rng
    fitting = [trial for trial in asked.history.scored if _fits(trial)]
    best = [fitting[index] for index in front([(trial.values[0], trial.values[1]) for trial in fitting])]
    for index in rng.permutation(len(best)):
        changes = space.single_changes(space.decode(best[index].params))
        for place in rng.permutation(len(changes)):
            answer = asked.consider(space.encode(changes[place].architecture))
            if isinstance(answer, Proposal):
                return answer
    return None


def _fits(trial: FrozenTrial) -> bool:
    return all(value <= 0 for value in trial.constraints.values())


SAMPLERS: dict[str, Sampler] = {
    "tpe": after_random_ones(
        FromOptuna(lambda seed: TPESampler(n_startup_trials=0, multivariate=True, constant_liar=True, seed=seed), 64)
    ),
    "gp": after_random_ones(FromOptuna(lambda seed: GPSampler(n_startup_trials=0, seed=seed), 8)),
    "nsga2": FromOptuna(lambda seed: NSGAIISampler(population_size=STARTUP_TRIALS, seed=seed), 500),
    "local": after_random_ones(local),
    "random": by_chance,
}
