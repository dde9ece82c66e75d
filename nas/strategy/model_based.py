"""Noisy expected hypervolume improvement (Daulton, Balandat, Bakshy 2021): proposes the network that a Gaussian process
of the merits expects to add most hypervolume to the front, whatever the true merits of the trained networks are.

The merit of a network is what candidates are ranked by, more being better (`nas.study.candidate.Candidate.merit`).
"""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from dynacp.student.architecture import Architecture
from nas.space.counting import count, keep
from nas.space.features import features
from nas.strategy.pareto import Point, front, gains, ranking
from nas.strategy.propose import Proposal, ProposalContext
from nas.strategy.surrogate import LEAST, Surrogate

PARENTS = 10
"""Best trained architectures for each proposal, which is chosen from networks one and two changes away from them."""

RIVALS = 200
"""Best trained architectures that can be on the front of a draw: time grows as their cube, memory as their square."""

ONCE, TWICE = 600, 400
"""The most networks with one change, and with two, that a proposal is chosen from."""

SECOND_CHANGES = 20
"""Changes that are tried of a network that was changed once."""

DRAWS = 16
"""Functions of merits over which the gained hypervolume is averaged."""

REFERENCE = 0.25
"""The merit of the hypervolume's reference point, as a quantile of the expected merits of trained architectures;
networks below it gain nothing, however cheap.
"""


def model(context: ProposalContext) -> Proposal | None:
    """Propose the network that gains most, of those that one or two changes make of the best trained ones.

    None while fewer than `LEAST` networks that fit are scored, or where no new network fits; chance proposes then.

    Each draw from the model is one function of merits without noise, by which the trained networks have a front too: so
    a lucky training is not taken for a good architecture. Draws differ where the model is unsure, and what may be far
    better gains in their mean.
    """
    space, scored = context.rules.space, [each for each in context.history.scored if each.fits]
    if len(scored) < LEAST:
        return None
    known, macs = [each.architecture for each in scored], [each.macs for each in scored]
    of_known = features(known)
    surrogate = Surrogate(of_known, [each.merit for each in scored])
    expected = surrogate.means(of_known)
    reference = float(np.quantile(expected, REFERENCE)), float(context.rules.limits.max_macs)
    best = ranking(_points(expected, macs), reference=reference)
    near = _near(context, [known[index] for index in best[:PARENTS]])
    if not near:
        return None
    rivals, costs, gained = sorted(best[:RIVALS]), count(near).macs, np.zeros(len(near))
    for merits in surrogate.draw(np.concatenate([of_known[rivals], features(near)]), DRAWS, context.rng):
        there = _points(merits[: len(rivals)], [macs[index] for index in rivals])
        new = _points(merits[len(rivals) :], costs)
        gained += gains(new, [there[index] for index in front(there)], reference=reference)
    return context.consider(space.encode(near[int(np.argmax(gained))]))


def _points(merits: Sequence[float] | np.ndarray, macs: Sequence[float] | np.ndarray) -> list[Point]:
    return list(zip(merits, macs, strict=True))


def _near(context: ProposalContext, parents: Sequence[Architecture]) -> list[Architecture]:
    """New networks that fit, each once: some of those one change away from the parents, and some two."""
    space, rules, rng = context.rules.space, context.rules, context.rng

    def fitting(networks: list[Architecture], most: int) -> list[Architecture]:
        kept = [networks[index] for index in np.flatnonzero(keep(rules.limits, networks, dtype=rules.dtype))]
        return _some(kept, most, rng)

    once = [change.architecture for parent in parents for change in space.single_changes(parent)]
    begun = _some(once, 2 * TWICE // SECOND_CHANGES, rng)
    twice = [change.architecture for one in begun for change in _some(space.single_changes(one), SECOND_CHANGES, rng)]
    near = dict.fromkeys([*fitting(once, ONCE), *fitting(twice, TWICE)])
    return [network for network in near if network not in context.history.seen]


T = TypeVar("T")


def _some(things: Sequence[T], most: int, rng: np.random.Generator) -> list[T]:
    """So many of the things by chance, all where there are no more."""
    return [things[index] for index in rng.permutation(len(things))[:most]]
