"""Noise-free estimates of every candidate's merit, from one model over all candidates, in place of its single lucky or
unlucky training.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import kendalltau

from dynacp.student.architecture import Architecture
from nas.space.features import FloatArray, features
from nas.strategy.surrogate import LEAST, Surrogate
from nas.study.candidate import Candidate


class Expected(NamedTuple):
    """What an architecture would score on average over many trainings of the candidates' length."""

    merit: float
    """What candidates are ranked by: minus the mean training loss in nats; the accuracy in older studies."""
    accuracy: float
    """Validation macro accuracy, about in [0, 1], predicted from the merit by linear regression over the candidates."""


class Forecast(NamedTuple):
    """What any architecture would score on average over many trainings, and how sure the model is of that."""

    accuracy: float
    """As `Expected.accuracy`."""
    deviation: float
    """The standard deviation of that accuracy, from the model's uncertainty of the merit."""
    near: bool
    """Whether the model has seen architectures near it."""


class Posterior:
    """A model of the merits of `candidates` (`nas.strategy.surrogate`), fitted on construction.

    There must be `LEAST` of them, all trained equally long. Raises `KeyError` for a candidate without a score.
    """

    def __init__(self, candidates: Sequence[Candidate]) -> None:
        known = features([each.architecture for each in candidates])
        self._model = Surrogate(known, [each.merit for each in candidates])
        merits, accuracies = self._model.means(known), [each.accuracy for each in candidates]
        self._slope, self._height = 0.0, float(np.mean(accuracies))
        if np.ptp(merits) > 0:
            self._slope, self._height = map(float, np.polyfit(merits, accuracies, 1))
        told = map(Expected, merits.tolist(), self._in_accuracy(merits).tolist())
        self.of_candidates = dict(zip([each.number for each in candidates], told, strict=True))
        """What the candidates themselves would score, by number."""

    @classmethod
    def of(cls, candidates: Sequence[Candidate]) -> "Posterior | None":
        """The model of these candidates; None where they are too few for one."""
        return cls(candidates) if len(candidates) >= LEAST else None

    def forecast(self, architecture: Architecture) -> Forecast:
        """What an architecture would score, whether it was trained or not."""
        described = features([architecture])
        mean, deviation = self._model.predict(described)
        return Forecast(
            accuracy=float(self._in_accuracy(mean)[0]),
            deviation=float(abs(self._slope) * deviation[0]),
            near=bool(self._model.near(described)[0]),
        )

    def _in_accuracy(self, merits: FloatArray) -> FloatArray:
        return self._height + self._slope * merits


def expected(candidates: Sequence[Candidate], model: Posterior | None) -> dict[int, Expected]:
    """What candidates would score without noise, by their model; keys are candidate numbers.

    Without a model each is expected to score as it did. Raises `KeyError` for a candidate without a score.
    """
    return model.of_candidates if model else {each.number: Expected(each.merit, each.accuracy) for each in candidates}


def how_ranked(candidates: Sequence[Candidate]) -> str:
    """A sentence that says what candidates are ranked by, and how far their accuracies rank them alike."""
    if any(each.merit == each.accuracy for each in candidates):
        return "Candidates are ranked by their accuracy."
    words = (
        "Candidates are ranked by the mean loss of their training, which says more than their accuracy does "
        "(studies/score); that is what people read."
    )
    if len(candidates) < LEAST:
        return words
    tau = kendalltau([each.merit for each in candidates], [each.accuracy for each in candidates]).statistic
    return f"{words} Here the two rank candidates alike to a tau of {tau:.2f}."
