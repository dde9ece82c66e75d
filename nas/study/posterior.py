"""Noise-free estimates of every candidate's merit, from one model over all candidates, in place of its single lucky or
unlucky training.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import kendalltau

from nas.space.features import features
from nas.strategy.surrogate import LEAST, Surrogate
from nas.study.candidate import Candidate


class Expected(NamedTuple):
    """What a candidate would score on average over many trainings of the same length."""

    merit: float
    """What candidates are ranked by: minus the mean training loss in nats; the accuracy in older studies."""
    accuracy: float
    """Validation macro accuracy, about in [0, 1], predicted from the merit by linear regression over the candidates."""
    deviation: float
    """The standard deviation of that accuracy, from the model's uncertainty of the merit; NaN without a model."""


def expected(candidates: Sequence[Candidate]) -> dict[int, Expected]:
    """Estimate what candidates would score without noise; keys are candidate numbers.

    All should have been trained equally long. A model of the merits (`nas.strategy.surrogate`) is fitted to all of
    them. With fewer than `LEAST` candidates there is none, and each is expected to score as it did. Raises `KeyError`
    for a candidate without a score.
    """
    if len(candidates) < LEAST:
        return {each.number: Expected(each.merit, each.accuracy, float("nan")) for each in candidates}
    known = features([each.architecture for each in candidates])
    merits, deviations = Surrogate(known, [each.merit for each in candidates]).predict(known)
    slope, height = 0.0, float(np.mean([each.accuracy for each in candidates]))
    if np.ptp(merits) > 0:
        slope, height = np.polyfit(merits, [each.accuracy for each in candidates], 1)
    return {
        each.number: Expected(float(merit), float(height + slope * merit), float(abs(slope) * deviation))
        for each, merit, deviation in zip(candidates, merits, deviations, strict=True)
    }


def how_ranked(candidates: Sequence[Candidate]) -> str:
    """A sentence that says what candidates are ranked by, and how far their accuracies rank them alike."""
    if any(each.merit == each.accuracy for each in candidates):
        return "Candidates are ranked by their accuracy."
    words = (
        "Candidates are ranked by the mean loss of their training, which measures best (studies/score); the accuracy "
        "is what people read."
    )
    if len(candidates) < LEAST:
        return words
    tau = kendalltau([each.merit for each in candidates], [each.accuracy for each in candidates]).statistic
    return f"{words} Here the two rank candidates alike to a tau of {tau:.2f}."
