"""How well a short score measures architectures: how much of it is theirs, and how it ranks them beside full trainings.

Scores are arrays [architectures, seeds]: a row of trainings for each architecture, more being better.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import kendalltau

Scores = npt.NDArray[np.float64]

RESAMPLES = 2_000


class Estimate(NamedTuple):
    """A value, and its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def reliability(scores: Scores, *, shared: bool) -> float:
    """The share of a single score's variance that is the architecture's: an intraclass correlation, at best 1.

    `shared` says that column k of all rows was trained with one seed, so that what a seed does to all alike does not
    count as noise (Shrout and Fleiss 1979: ICC(3,1), and ICC(1,1) where each training has a seed of its own). NaN
    with fewer than two seeds or architectures.
    """
    architectures, seeds = scores.shape
    if min(architectures, seeds) < 2:
        return float("nan")
    of_row = scores.mean(axis=1, keepdims=True)
    between = seeds * of_row.var(ddof=1)
    rest = scores - of_row
    if shared:
        rest = rest - rest.mean(axis=0)
    within = (rest**2).sum() / ((architectures - 1) * (seeds - 1) if shared else architectures * (seeds - 1))
    return float((between - within) / (between + (seeds - 1) * within))


def averaged(reliability: float, trainings: float) -> float:
    """The reliability of the mean of so many trainings (Spearman and Brown)."""
    return trainings * reliability / (1 + (trainings - 1) * reliability)


def tau(scores: Scores, truth: Scores) -> float:
    """Kendall's tau of one score with the mean of the full trainings, in the mean over the scores' seeds."""
    means = truth.mean(axis=1)
    return float(np.mean([kendalltau(column, means).statistic for column in scores.T]))


def tau_interval(scores: Scores, truth: Scores) -> Estimate:
    """The tau with an interval: percentiles over architectures drawn again, with the same draws for every score."""
    rng, number = np.random.default_rng(0), len(scores)
    draws = rng.integers(0, number, (RESAMPLES, number))
    low, high = np.nanpercentile([tau(scores[draw], truth[draw]) for draw in draws], [2.5, 97.5])
    return Estimate(tau(scores, truth), float(low), float(high))


def without_noise(tau: float, *reliabilities: float) -> float:
    """The tau that two measurements would have without noise, given how reliable each is.

    As for a bivariate normal: tau is 2/pi of the arc sine of the correlation, and noise shrinks the correlation by
    the root of each reliability (Spearman 1904). At most 1.
    """
    correlation = np.sin(np.pi / 2 * tau) / np.sqrt(np.prod(reliabilities))
    return float(2 / np.pi * np.arcsin(np.clip(correlation, -1, 1)))


def with_noise(tau: float, *reliabilities: float) -> float:
    """What is left of a noiseless tau where the measurements are so reliable: the inverse of `without_noise`."""
    return float(2 / np.pi * np.arcsin(np.sin(np.pi / 2 * tau) * np.sqrt(np.prod(reliabilities))))
