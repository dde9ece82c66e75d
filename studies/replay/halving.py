"""Successive halving for two objectives: the front trains on first, then what comes closest behind it.

Whether a candidate trains on is decided among those proposed so far, so that no search waits for a round to be full.
"""

from collections.abc import Sequence
from math import ceil

from nas.strategy.pareto import Point, ranking

KEPT = 2
"""One of this many candidates is promoted to the next rung, which trains with this many times the samples."""


def climbs(earlier: Sequence[Point], own: Point, *, reference: Point) -> bool:
    """Whether a candidate trains at the next rung: whether it is in the better half of those that came to its own.

    `own` is its (accuracy in [0, 1], MACs) at that rung, and `earlier` holds those of the candidates before it. All
    are ranked by Pareto front, and within one by the hypervolume lost without them, measured from `reference`.
    """
    ranked = ranking([*earlier, own], reference=reference)
    return ranked.index(len(earlier)) < ceil(len(ranked) / KEPT)
