"""Proposing candidates: a sampler asks, the exact count rejects, and nothing is stored until a candidate is accepted.

A sampler is a function of what is `Asked`: everything it may know, and a seed made of the search's seed and the
candidate's number. So a search that is stopped and resumed proposes what an undisturbed one would, and a rejection
costs a count instead of half a second of database commits.
"""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from budget.ledger import totals
from budget.limits import Limits
from dynacp.student.architecture import Architecture
from nas.space.counting import sample_fitting
from nas.space.space import Space

DIRECTIONS = (StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE)
"""Validation macro accuracy up, MACs down."""

RANDOM_BATCH, MAX_RANDOM_PROPOSALS = 1_000, 200_000
"""Random proposals counted at once, and for one candidate in all before the search gives up."""


class SpaceExhaustedError(RuntimeError):
    """No new layout that fits turned up within the proposals allowed for one candidate."""


def derived_seed(*parts: int) -> int:
    """A 31-bit seed that depends on all parts, so that no two uses of one base seed share a stream."""
    return int(np.random.SeedSequence([len(parts), *parts]).generate_state(1)[0] >> 1)


@dataclass(frozen=True)
class Rules:
    """What a candidate must be: a network of the space that fits the limits at the inference dtype."""

    space: Space
    limits: Limits
    dtype: str

    def cost(self, architecture: Architecture) -> dict[str, int]:
        """Parameters, MACs, and bytes at the inference dtype, exactly."""
        cost = totals(architecture.layers(), dtype=self.dtype)
        return {name: int(number) for name, number in cost._asdict().items()}

    def violations(self, architecture: Architecture) -> dict[str, float]:
        cost = self.cost(architecture)
        return self.limits.violations(bytes=cost["bytes"], macs=cost["macs"])


@dataclass(frozen=True)
class History:
    """What a search has come to when it asks for candidate `number`."""

    number: int
    scored: Sequence[FrozenTrial] = ()
    """COMPLETE, with values (validation macro accuracy, MACs)."""
    pending: Sequence[FrozenTrial] = ()
    """RUNNING: proposed, not scored yet."""
    told: Sequence[dict[str, Any]] = ()
    """Choices that were rejected, for a sampler that learns from them."""
    seen: Collection[Architecture] = ()


@dataclass
class Proposal:
    """A candidate that is new and fits, and what it took to find it."""

    architecture: Architecture
    choices: dict[str, Any]
    system_attrs: dict[str, Any] = field(default_factory=dict)
    rejected: int = 0
    duplicates: int = 0
    seconds: float = 0.0
    told: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Asked:
    """One candidate's proposals: what may be known, and a count of what was refused."""

    rules: Rules
    history: History
    seed: int
    rejected: int = 0
    duplicates: int = 0
    told: list[dict[str, Any]] = field(default_factory=list)

    @property
    def rng(self) -> np.random.Generator:
        return np.random.default_rng(self.seed)

    def consider(self, choices: dict[str, Any]) -> Proposal | dict[str, float]:
        """A proposal, if these choices are new and fit; otherwise they are counted, and their violations returned."""
        architecture = self.rules.space.decode(choices)
        violations = self.rules.violations(architecture)
        if max(violations.values()) > 0:
            self.rejected += 1
        elif architecture in self.history.seen:
            self.duplicates += 1
        else:
            return Proposal(architecture, choices)
        return violations


Sampler = Callable[[Asked], Proposal | None]
"""Returns what `Asked.consider` accepted; None where it has nothing to propose, and then chance does."""


def by_chance(asked: Asked) -> Proposal:
    """Uniform encodings, counted in bulk. Raises `SpaceExhaustedError`."""
    rules, rng = asked.rules, asked.rng
    for _ in range(MAX_RANDOM_PROPOSALS // RANDOM_BATCH):
        fitting = sample_fitting(rules.space, rules.limits, rules.dtype, proposals=RANDOM_BATCH, rng=rng)
        rejected = asked.rejected
        for passed, (place, choices) in enumerate(fitting.items()):
            if isinstance(proposal := asked.consider(choices), Proposal):
                asked.rejected = rejected + place - passed
                return proposal
        asked.rejected = rejected + RANDOM_BATCH - len(fitting)
    raise SpaceExhaustedError(
        f"no new layout within {rules.limits.max_macs:,} MACs and {rules.limits.max_bytes:,} bytes turned "
        f"up in {asked.rejected + asked.duplicates:,} proposals ({asked.rejected:,} too large, "
        f"{asked.duplicates:,} known)"
    )


def propose(sampler: Sampler, rules: Rules, history: History, *, seed: int) -> Proposal:
    """The next candidate. Raises `SpaceExhaustedError` where neither the sampler nor chance finds one."""
    started = time.perf_counter()
    asked = Asked(rules, history, derived_seed(seed, history.number))
    proposal = sampler(asked) or by_chance(asked)
    proposal.rejected, proposal.duplicates, proposal.told = asked.rejected, asked.duplicates, asked.told
    proposal.seconds = time.perf_counter() - started
    return proposal
