"""Rungs of a growing training budget, and who is promoted: the front first, then what comes closest behind it.

Successive halving for two objectives. Whether candidate k is promoted is decided among candidates 0 to k alone, as soon
as those have come to its rung or stopped below it. So no worker waits for a round to be full, and who is promoted does
not depend on which worker is quicker, or dies.
"""

from collections.abc import Mapping, Sequence
from enum import Enum
from math import ceil
from typing import Protocol

from budget.errors import UserError
from nas.strategy.pareto import Point, ranking

KEPT = 2
"""One of this many candidates is promoted to the next rung, which trains with this many times the samples."""


class RungCandidate(Protocol):
    """What promotion needs to know of a candidate."""

    @property
    def number(self) -> int:
        """The candidate's number, in the order of proposing; 0 is the baseline, which is always promoted."""

    @property
    def macs(self) -> int:
        """MACs for one clip."""

    @property
    def scores(self) -> Mapping[int, float]:
        """Validation macro accuracy in [0, 1], by the training samples of each rung that the candidate came to."""

    @property
    def stopped(self) -> bool:
        """Whether it was stopped at its highest rung."""


class RungDecision(Enum):
    """What happens next to a candidate."""

    PROMOTE = "trains at the next rung"
    STOP = "is not trained further"
    WAIT = "depends on an earlier candidate that has not come so far"


def rungs(samples: int, number: int, *, least: int) -> tuple[int, ...]:
    """The training samples of each of `number` rungs, ascending; the last has `samples`.

    Raises `UserError` where the first would have fewer than `least`, a batch.
    """
    steps = tuple(samples // KEPT**below for below in reversed(range(number)))
    if steps[0] < least:
        raise UserError(
            f"`--rungs`: {number} rungs up to {samples:,} samples begin with {steps[0]}, less than a batch of {least}; "
            "take fewer rungs, or more samples."
        )
    return steps


def decide(candidate: RungCandidate, earlier: Sequence[RungCandidate], *, reference: Point) -> RungDecision:
    """The decision on a candidate, given those with lower numbers so far; without a score it goes to the first rung.

    `reference` is the (accuracy, MACs) from which hypervolume is measured, such as chance and the limit of MACs.
    """
    if candidate.number == 0 or not candidate.scores:
        return RungDecision.PROMOTE
    rung = max(candidate.scores)
    there = [other for other in [*earlier, candidate] if rung in other.scores]
    if len(earlier) < candidate.number or any(rung not in other.scores and not other.stopped for other in earlier):
        return RungDecision.WAIT
    ranked = ranking([(other.scores[rung], other.macs) for other in there], reference=reference)
    return RungDecision.PROMOTE if ranked.index(len(there) - 1) < ceil(len(there) / KEPT) else RungDecision.STOP
