"""Thompson sampling: draws one plausible function of merits from a Gaussian process, and proposes the network that adds
most hypervolume to the front under it.

The merit of a network is what candidates are ranked by, more being better (`nas.study.candidate.Candidate.merit`).
"""

from collections.abc import Sequence

import numpy as np
from optuna.trial import FrozenTrial

from dynacp.student.architecture import Architecture
from nas.space.counting import count, keep, sample_fitting
from nas.space.features import features
from nas.strategy.pareto import Point, front, gains, ranking
from nas.strategy.propose import Proposal, ProposalContext
from nas.strategy.surrogate import LEAST, Surrogate

UNIFORM = 2_000
"""Uniform random encodings for each proposal, which is chosen from those that fit, among others."""

PARENTS = 10
"""Best trained architectures for each proposal, which is chosen from their single changes, among others."""

CHANGED = 600
"""The most single changes of all parents together that a proposal is chosen from."""

REFERENCE = 0.25
"""The merit of the hypervolume's reference point, as a quantile of the expected merits of trained architectures;
networks below it gain nothing, however cheap.
"""


def model(context: ProposalContext) -> Proposal | None:
    """Propose the network that gains most, of random ones that fit and of single changes of the best trained ones.

    None while fewer than `LEAST` networks that fit are scored, or where no new network fits; chance proposes then.

    The merits are drawn from the model as one function (Thompson 1933). A draw differs from the next where the model
    is unsure, so that the search explores there; and it has no noise, so that a lucky training is not taken for a good
    architecture.
    """
    space, scored = context.rules.space, [trial for trial in context.history.scored if fits(trial)]
    if len(scored) < LEAST:
        return None
    known, macs = [space.decode(trial.params) for trial in scored], [trial.values[1] for trial in scored]
    of_known = features(known)
    surrogate = Surrogate(of_known, [trial.values[0] for trial in scored])
    expected = surrogate.predict(of_known).mean
    reference = float(np.quantile(expected, REFERENCE)), float(context.rules.limits.max_macs)
    best = ranking(_points(expected, macs), reference=reference)[:PARENTS]
    fresh = _fresh(context, [known[index] for index in best])
    if not fresh:
        return None
    merits = surrogate.draw(np.concatenate([of_known, features(fresh)]), context.rng)
    there = _points(merits[: len(known)], macs)
    new = _points(merits[len(known) :], count(fresh).macs)
    gained = gains(new, [there[index] for index in front(there)], reference=reference)
    return context.consider(space.encode(fresh[int(np.argmax(gained))]))


def _points(merits: Sequence[float] | np.ndarray, macs: Sequence[float] | np.ndarray) -> list[Point]:
    return list(zip(merits, macs, strict=True))


def _fresh(context: ProposalContext, parents: Sequence[Architecture]) -> list[Architecture]:
    """New networks that fit, each once: from uniform encodings, and single changes of the parents."""
    rules, rng, space = context.rules, context.rng, context.rules.space
    encodings = sample_fitting(space, rules.limits, rules.dtype, proposals=UNIFORM, rng=rng).values()
    changes = [change.architecture for parent in parents for change in space.single_changes(parent)]
    fitting = [changes[index] for index in np.flatnonzero(keep(rules.limits, changes, dtype=rules.dtype))]
    chosen = [fitting[index] for index in rng.permutation(len(fitting))[:CHANGED]]
    new = dict.fromkeys([*map(space.decode, encodings), *chosen])
    return [network for network in new if network not in context.history.seen]


def fits(trial: FrozenTrial) -> bool:
    """Whether a trial's network keeps the limits of its search, as its constraints note it."""
    return all(value <= 0 for value in trial.constraints.values())
