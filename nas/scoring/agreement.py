"""How well a short training's score measures architectures: what share of its variance comes from the architecture
rather than from noise, and how it ranks them beside full trainings.

Scores are arrays [architectures, seeds]: a row of trainings for each architecture, more being better.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.float64]
"""Scores of trainings, [architectures, seeds], more being better."""

RESAMPLES = 2_000
"""Bootstrap samples behind an interval."""


class Estimate(NamedTuple):
    """A value, and the ends of its 95 % interval; all NaN where there is nothing to estimate."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if np.isnan(self.value):
            return ""
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def reliability(scores: Scores, *, shared: bool) -> float:
    """The share of a single score's variance that comes from the architecture rather than from noise, at best 1.

    It is an intraclass correlation. `shared` says that column k of all rows was trained with one seed, so that what a
    seed does to all alike does not count as noise (Shrout and Fleiss 1979: ICC(3,1), and ICC(1,1) where each training
    has a seed of its own). NaN with fewer than two seeds or architectures, and where all scores are the same.
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
    total = between + (seeds - 1) * within
    return float((between - within) / total) if total else float("nan")


def averaged(reliability: float, trainings: float) -> float:
    """The reliability of the mean of `trainings` scores, each as reliable as `reliability` (Spearman and Brown)."""
    return trainings * reliability / (1 + (trainings - 1) * reliability)


def tau(scores: Scores, truth: Scores) -> float:
    """Kendall's tau-b between single scores and the mean of the full trainings, averaged over the scores' seeds.

    `scores` and `truth`, those of the full trainings, are [architectures, seeds], with the same rows; their numbers of
    seeds (columns) may differ. NaN where all scores of a seed, or the means of all full trainings, are the same.
    """
    return float(_taus(scores, truth, np.ones((1, len(scores))))[0])


def tau_interval(scores: Scores, truth: Scores) -> Estimate:
    """Kendall's tau-b as `tau` gives it, between `scores` and the mean of the full trainings, with its 95 % interval.

    `scores` and `truth` (the scores of the full trainings) are [architectures, seeds], with the same rows. The interval
    is a bootstrap over architectures, always with the same random samples, so that taus of several scores can be
    compared. NaN where all scores, or all full trainings, are the same.
    """
    return estimate(tau(scores, truth), resampled_taus(scores, truth))


def resampled_taus(scores: Scores, truth: Scores) -> Scores:
    """`tau` of `RESAMPLES` bootstrap samples of the architectures, the same samples for the same number of these.

    `scores` and `truth` are those of `tau`; a tau is NaN for a sample without two that differ.
    """
    number = len(scores)
    drawn = np.random.default_rng(0).multinomial(number, np.full(number, 1 / number), RESAMPLES).astype(np.float64)
    return _taus(scores, truth, drawn)


def estimate(value: float, resampled: Scores) -> Estimate:
    """A value with the 95 % interval of its bootstrap samples, percentiles of those that are numbers."""
    if np.isnan(resampled).all():
        return Estimate(*[float("nan")] * 3)
    return Estimate(value, *map(float, np.nanpercentile(resampled, [2.5, 97.5])))


def _taus(scores: Scores, truth: Scores, drawn: Scores) -> Scores:
    """The tau of each sample of the architectures; `drawn` [samples, architectures] says how often each is in it."""

    def pairs(signs: Scores) -> Scores:
        return np.einsum("si,ij,sj->s", drawn, signs, drawn, optimize=True)

    means = truth.mean(axis=1)
    right = np.sign(means[:, None] - means)
    of_seed = []
    for column in scores.T:
        left = np.sign(column[:, None] - column)
        with np.errstate(invalid="ignore"):  # NaN for a sample without two that differ
            of_seed.append(pairs(left * right) / np.sqrt(pairs(left**2) * pairs(right**2)))
    return np.mean(of_seed, axis=0)


def without_noise(tau: float, *reliabilities: float) -> float:
    """The tau that two measurements would have without noise, `reliabilities` as `reliability` gives them; at most 1.

    Each must be above 0; without any, the tau stays. As for a bivariate normal: tau is 2/pi of the arc sine of the
    correlation, and noise shrinks the correlation by the root of each reliability (Spearman 1904).
    """
    correlation = np.sin(np.pi / 2 * tau) / np.sqrt(np.prod(reliabilities))
    return float(2 / np.pi * np.arcsin(np.clip(correlation, -1, 1)))


def with_noise(tau: float, *reliabilities: float) -> float:
    """The tau expected of measurements with noise, from `tau`, the one without: inverts `without_noise`.

    `reliabilities` are those of the measurements, as `reliability` gives them.
    """
    return float(2 / np.pi * np.arcsin(np.sin(np.pi / 2 * tau) * np.sqrt(np.prod(reliabilities))))
