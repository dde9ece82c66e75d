"""Proposing candidates: a sampler asks, the exact count rejects, and nothing is stored until a candidate is trained.

Each candidate gets a fresh in-memory study that holds the trained trials so far, and a sampler seeded by the base seed
and the candidate's number. So a search that is stopped and resumed proposes what an undisturbed one would, and a
rejection costs a count instead of half a second of database commits.
"""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import optuna
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from budget.ledger import bytes_per_parameter, totals
from budget.limits import Limits
from dynacp.architecture import Architecture
from nas.counting import sample_fitting
from nas.space import Space

DIRECTIONS = (StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE)
"""Validation macro accuracy up, MACs down."""

STARTUP_TRIALS = 20
"""Trained trials before a model of the scores proposes; until then candidates are drawn at random."""

PROPOSALS = {"tpe": 64, "gp": 8, "nsga2": 500, "random": 500}
"""Proposals asked of a sampler for one candidate (each costs about 20 ms of tpe, over a second of gp). Where none is
new and fits, candidates are drawn at random, exactly and in bulk."""

RANDOM_BATCH, MAX_RANDOM_PROPOSALS = 1_000, 200_000
"""Random proposals counted at once, and for one candidate in all before the search gives up."""

TOLD_PER_CANDIDATE = 4
"""Rejections told to the sampler for each trained candidate, as trials that violate the limits."""


class SpaceExhaustedError(RuntimeError):
    """No new layout that fits turned up within the proposals allowed for one candidate."""


@dataclass
class Proposal:
    """A candidate that is new and fits, and what it took to find it."""

    architecture: Architecture
    choices: dict[str, Any]
    system_attrs: dict[str, Any]
    rejected: int = 0
    duplicates: int = 0
    seconds: float = 0.0
    told: list[dict[str, Any]] = field(default_factory=list)


SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "tpe": lambda seed: TPESampler(n_startup_trials=0, multivariate=True, seed=seed),
    "nsga2": lambda seed: NSGAIISampler(population_size=STARTUP_TRIALS, seed=seed),
    "gp": lambda seed: GPSampler(n_startup_trials=0, seed=seed),
    "random": lambda seed: RandomSampler(seed=seed),
}


def derived_seed(*parts: int) -> int:
    """A 31-bit seed that depends on all parts, so that no two uses of one base seed share a stream."""
    return int(np.random.SeedSequence([len(parts), *parts]).generate_state(1)[0] >> 1)


@dataclass(frozen=True)
class Proposer:
    """Finds the next candidate; everything it knows is handed to `propose`."""

    space: Space
    limits: Limits
    dtype: str
    sampler: str
    seed: int

    def cost(self, architecture: Architecture) -> dict[str, int]:
        """Parameters, bytes at the inference dtype, and MACs, exactly."""
        parameters, macs = totals(architecture.layers())
        return {
            "parameters": int(parameters),
            "bytes": int(parameters) * bytes_per_parameter(self.dtype),
            "macs": int(macs),
        }

    def violations(self, architecture: Architecture) -> dict[str, float]:
        cost = self.cost(architecture)
        return self.limits.violations(bytes=cost["bytes"], macs=cost["macs"])

    def propose(
        self, trained: Sequence[FrozenTrial], told: Sequence[dict[str, Any]], seen: Collection[Architecture]
    ) -> Proposal:
        """The next candidate after these trained trials and the rejections told with them.

        Raises `SpaceExhaustedError` where neither the sampler nor chance finds one.
        """
        started = time.perf_counter()
        search = self._asking(trained, told)
        proposal = search.from_sampler(seen) or search.from_chance(seen)
        proposal.seconds = time.perf_counter() - started
        return proposal

    def _asking(self, trained: Sequence[FrozenTrial], told: Sequence[dict[str, Any]]) -> "_Asking":
        seed = derived_seed(self.seed, len(trained))
        startup = self.sampler in ("tpe", "gp") and len(trained) < STARTUP_TRIALS
        name = "random" if startup else self.sampler
        study = optuna.create_study(directions=DIRECTIONS, sampler=SAMPLERS[name](seed))
        study.add_trials(trained)
        for choices in told:
            study.add_trial(self._told(choices))
        return _Asking(self, study, PROPOSALS[name], np.random.default_rng(seed))

    def _told(self, choices: dict[str, Any]) -> FrozenTrial:
        return create_trial(
            state=TrialState.PRUNED,
            params=choices,
            distributions=self.space.distributions(),
            constraints=self.violations(self.space.decode(choices)),
        )


@dataclass
class _Asking:
    """One candidate's proposals, counted."""

    proposer: Proposer
    study: optuna.Study
    proposals: int
    rng: np.random.Generator
    rejected: int = 0
    duplicates: int = 0
    told: list[dict[str, Any]] = field(default_factory=list)

    def from_sampler(self, seen: Collection[Architecture]) -> Proposal | None:
        space = self.proposer.space
        distributions = space.distributions()
        for _ in range(self.proposals):
            trial = self.study.ask(distributions)
            architecture = space.decode(trial.params)
            violations = self.proposer.violations(architecture)
            fits = max(violations.values()) <= 0
            if fits and architecture not in seen:
                notes = self.study.get_trials(deepcopy=False)[trial.number].system_attrs  # nsga2's generation
                return self._proposal(architecture, trial.params, notes)
            self._refuse(trial, violations, fits)
        return None

    def _refuse(self, trial: optuna.Trial, violations: dict[str, float], fits: bool) -> None:
        if fits:
            self.duplicates += 1
        else:
            self.rejected += 1
            if len(self.told) < TOLD_PER_CANDIDATE:
                self.told.append(trial.params)
                for name, value in violations.items():
                    trial.set_constraint(name, value)
                self.study.tell(trial, state=TrialState.PRUNED)
                return
        self.study.tell(trial, state=TrialState.FAIL)

    def from_chance(self, seen: Collection[Architecture]) -> Proposal:
        proposer = self.proposer
        for _ in range(MAX_RANDOM_PROPOSALS // RANDOM_BATCH):
            fitting = sample_fitting(
                proposer.space, proposer.limits, proposer.dtype, proposals=RANDOM_BATCH, rng=self.rng
            )
            self.rejected += RANDOM_BATCH - len(fitting)
            for choices in fitting:
                architecture = proposer.space.decode(choices)
                if architecture not in seen:
                    return self._proposal(architecture, choices, {})
                self.duplicates += 1
        raise SpaceExhaustedError(
            f"no new layout within {proposer.limits.max_macs:,} MACs and {proposer.limits.max_bytes:,} bytes turned "
            f"up in {self.rejected + self.duplicates:,} proposals ({self.rejected:,} too large, "
            f"{self.duplicates:,} known)"
        )

    def _proposal(self, architecture: Architecture, choices: dict[str, Any], system_attrs: dict[str, Any]) -> Proposal:
        return Proposal(architecture, choices, system_attrs, self.rejected, self.duplicates, told=self.told)
