"""Proposing candidates: a sampler asks, the exact count rejects, and nothing is stored until a candidate is accepted.

A sampler is a function of a `ProposalContext`: all that it may know, and a seed made of the search's seed and the
candidate's number. So a search that is stopped and resumed proposes what an undisturbed one would, and a rejection
costs a count instead of half a second of database commits.
"""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from optuna.study import StudyDirection

from budget.errors import UserError
from budget.ledger import Totals, totals
from budget.limits import Limits
from budget.memory import peak
from dynacp.student.architecture import Architecture
from dynacp.student.layers import layers_of, steps_of
from nas.space.counting import sample_fitting
from nas.space.space import Space

DIRECTIONS = (StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE)
"""What Optuna does with a trial's two values: it maximizes the accuracy or merit, and minimizes the MACs."""

RANDOM_BATCH = 1_000
"""Random proposals counted at once."""

MAX_RANDOM_PROPOSALS = 200_000
"""Random proposals for one candidate before the search gives up."""


class SpaceExhaustedError(RuntimeError):
    """No new architecture that fits turned up within the proposals allowed for one candidate."""


def combined_seed(*parts: int) -> int:
    """A 31-bit seed that depends on all parts, so that different uses of one base seed get different streams.

    Raises `ValueError` for a negative part.
    """
    return int(np.random.SeedSequence([len(parts), *parts]).generate_state(1)[0] >> 1)


@dataclass(frozen=True)
class Rules:
    """What a candidate must be: a network of the space that keeps the limits at an inference dtype, which is a name of
    `budget.dtypes.DTYPES`.
    """

    space: Space
    limits: Limits
    dtype: str

    def cost(self, architecture: Architecture) -> Totals:
        """The exact cost of a network: parameters, MACs for one clip, and bytes at the inference dtype.

        Raises `UserError` for a dtype not in `budget.dtypes.DTYPES`.
        """
        return totals(layers_of(architecture), dtype=self.dtype)

    def activation_bytes(self, architecture: Architecture) -> int | None:
        """The peak of a network's activation memory, in bytes at the inference dtype; None where it has no limit."""
        limited = self.limits.max_activation_bytes is not None
        return peak(steps_of(architecture)).bytes[self.dtype] if limited else None

    def allow(self, architecture: Architecture, cost: Totals) -> bool:
        """Whether a network of this cost keeps the limits."""
        held = self.activation_bytes(architecture)
        return bool(self.limits.allow(bytes=cost.bytes, macs=cost.macs, activation_bytes=held))


class Scored(NamedTuple):
    """A candidate with a score, as samplers see it."""

    architecture: Architecture
    """Its network, which lies in the space."""
    merit: float
    """What candidates are ranked by, more being better."""
    macs: int
    """Its MACs for one second of audio."""
    fits: bool
    """Whether it keeps the search's limits; all but a baseline do."""


@dataclass(frozen=True)
class History:
    """What a search has come to when it asks for the next candidate."""

    number: int
    """The number of the candidate that is asked for; the baseline is 0."""
    scored: Sequence[Scored] = ()
    """The candidates with a score, but for a baseline outside the space."""
    seen: Collection[Architecture] = ()
    """Architectures that were proposed before, those that are being trained among them."""


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A network that is new and fits, and what it took to find it."""

    architecture: Architecture
    """The network."""
    choices: dict[str, Any]
    """The encoding that the sampler chose, for `Space.decode`; empty for a baseline outside the space."""
    cost: Totals
    """Its parameters, MACs for one clip, and bytes at the inference dtype."""
    rejected: int = 0
    """Proposals before this one that did not fit."""
    duplicates: int = 0
    """Proposals before this one that fit, but had been proposed before."""
    seconds: float = 0.0
    """Wall-clock seconds that all of it took."""

    @classmethod
    def of(cls, architecture: Architecture, rules: Rules) -> "Proposal":
        """The proposal of a given network, whether it fits or not; without `choices` if it lies outside the space."""
        try:
            choices = rules.space.encode(architecture)
        except UserError:
            choices = {}
        return cls(architecture=architecture, choices=choices, cost=rules.cost(architecture))


@dataclass
class ProposalContext:
    """All that a sampler may know to propose one candidate, and counts of the proposals that were refused."""

    rules: Rules
    """The space, the limits and the inference dtype that a candidate must keep."""
    history: History
    """The candidates so far: those with a score, and all that were seen."""
    seed: int
    """The seed of this candidate alone."""
    rejected: int = 0
    """Proposals so far that did not fit."""
    duplicates: int = 0
    """Proposals so far that fit, but had been proposed before."""

    @cached_property
    def rng(self) -> np.random.Generator:
        """The random stream of this candidate; the same generator each time."""
        return np.random.default_rng(self.seed)

    def consider(self, choices: dict[str, Any]) -> Proposal | None:
        """The proposal of an encoding whose network fits and is new; any other is counted as refused and gives None."""
        architecture = self.rules.space.decode(choices)
        cost = self.rules.cost(architecture)
        if not self.rules.allow(architecture, cost):
            self.rejected += 1
        elif architecture in self.history.seen:
            self.duplicates += 1
        else:
            return Proposal(architecture=architecture, choices=choices, cost=cost)
        return None


Sampler = Callable[[ProposalContext], Proposal | None]
"""Returns what `ProposalContext.consider` accepted, or None where it has nothing to propose; then chance proposes."""


def by_chance(context: ProposalContext) -> Proposal:
    """The sampler that takes the first new network that fits, of uniform random encodings.

    Raises `SpaceExhaustedError` after `MAX_RANDOM_PROPOSALS` of them.
    """
    rules = context.rules
    for _ in range(MAX_RANDOM_PROPOSALS // RANDOM_BATCH):
        fitting = sample_fitting(rules.space, rules.limits, rules.dtype, proposals=RANDOM_BATCH, rng=context.rng)
        for passed, (index, choices) in enumerate(fitting.items()):
            if proposal := context.consider(choices):
                context.rejected += index - passed
                return proposal
        context.rejected += RANDOM_BATCH - len(fitting)
    raise SpaceExhaustedError(
        f"no new architecture within {rules.limits} turned up in {context.rejected + context.duplicates:,} proposals "
        f"({context.rejected:,} too large, {context.duplicates:,} known)"
    )


def propose(sampler: Sampler, rules: Rules, history: History, *, seed: int) -> Proposal:
    """The next candidate: the sampler's proposal, or one by chance where the sampler has none.

    `seed` is the search's. Raises `SpaceExhaustedError` where neither finds a new network that fits, `ValueError` for a
    negative seed.
    """
    started = time.perf_counter()
    context = ProposalContext(rules, history, combined_seed(seed, history.number))
    proposal = sampler(context) or by_chance(context)
    return replace(
        proposal,
        rejected=context.rejected,
        duplicates=context.duplicates,
        seconds=time.perf_counter() - started,
    )
