"""The result of a search: fronts, hypervolume, and rescored means with intervals."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.stats import chi2, norm

from nas.strategy.pareto import Point, front, hypervolume
from nas.study.candidate import Candidate
from nas.study.store import Store

CONFIDENCE = 0.95


def hypervolume_history(store: Store) -> pd.DataFrame:
    """A row per candidate: training samples so far, and the front's hypervolume, by search scores.

    The hypervolume is a share of the box from chance and the MAC limit to 1 and 0 MACs.
    """
    reference = (store.settings.chance, store.settings.limits.max_macs)
    box = (1 - reference[0]) * reference[1]
    best, samples, history = list[Point](), 0, []
    for candidate in store.candidates:
        samples += sum(candidate.scores)
        if candidate.fits and candidate.finished:
            points = [*best, candidate.point]
            best = [points[index] for index in front(points)]
        history.append({"samples": samples, "hypervolume": hypervolume(best, reference=reference) / box})
    return pd.DataFrame(history, index=pd.RangeIndex(1, len(history) + 1, name="candidates"))


@dataclass(frozen=True)
class Rescored:
    """An architecture's rescores: mean and standard deviation between seeds, and how far it lies from Table 1.

    `low` and `high` bound the difference from Table 1 (Dunnett: simultaneously for all architectures compared, at 95
    %); they are NaN for Table 1 itself. They cover the noise between training seeds, not the choice of validation
    clips.
    """

    candidate: Candidate
    accuracies: tuple[float, ...]
    difference: float
    low: float
    high: float

    @property
    def mean(self) -> float:
        """The mean accuracy over the seeds."""
        return float(np.mean(self.accuracies))

    @property
    def deviation(self) -> float:
        """The standard deviation of the accuracy between seeds."""
        return float(np.std(self.accuracies, ddof=1))

    @property
    def verdict(self) -> str:
        """How it compares with Table 1: better, worse, not told apart, or the baseline itself."""
        if np.isnan(self.low):
            return "the baseline"
        return "better" if self.low > 0 else "worse" if self.high < 0 else "not told apart"


def rescored(store: Store) -> list[Rescored]:
    """The rescored architectures by MACs; empty until two seeds are there for the baseline.

    A seed gives every architecture the same order of clips and augmentations, and what it does to one it does to all:
    so architectures are compared seed by seed, on the seeds that all of them have.
    """
    candidates = {candidate.number: candidate for candidate in store.candidates}
    scores_of = {number: scores for number, scores in sorted(store.rescores.items()) if len(scores) > 1}
    shared = sorted(set.intersection(*(set(scores) for scores in scores_of.values()))) if scores_of else []
    if 0 not in scores_of or len(shared) < 2:
        return []
    numbers = [0, *(number for number in scores_of if number)]
    paired = np.array([[scores_of[number][seed] for seed in shared] for number in numbers])
    apart, reach = paired.mean(axis=1) - paired[0].mean(), _reach(paired)
    entries = []
    for number, accuracies, difference in zip(numbers, paired.tolist(), apart.tolist(), strict=True):
        low, high = (difference - reach, difference + reach) if number else (float("nan"), float("nan"))
        entries.append(Rescored(candidates[number], tuple(accuracies), difference, low, high))
    return sorted(entries, key=lambda entry: entry.candidate.macs)


def _reach(paired: np.ndarray) -> float:
    """How far the interval of each difference from the first row reaches, for [architectures, seeds] in randomised
    blocks.
    """
    architectures, seeds = paired.shape
    if architectures < 2:
        return float("nan")
    rest = paired - paired.mean(axis=1, keepdims=True) - paired.mean(axis=0) + paired.mean()
    freedom = (architectures - 1) * (seeds - 1)
    return dunnett_quantile(architectures - 1, freedom) * float(np.sqrt(2 * (rest**2).sum() / freedom / seeds))


def dunnett_quantile(comparisons: int, freedom: int) -> float:
    """The value that the largest of `comparisons` |t| against one control stays below with 95 % probability (Dunnett
    1955).

    With Z of the control and S, the estimated over the true deviation: the mean over both of
    P(|X - Z| <= sqrt(2) c S) to the power of `comparisons`, X standard normal; Z by Gauss and Hermite, S by quantiles.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(61)
    weights = weights / weights.sum()
    spread = np.sqrt(chi2.ppf((np.arange(4_000) + 0.5) / 4_000, freedom) / freedom)

    def coverage(c: float) -> float:
        width = np.sqrt(2) * c * spread[:, None]
        inside = norm.cdf(nodes + width) - norm.cdf(nodes - width)
        return float((inside**comparisons @ weights).mean())

    return float(brentq(lambda c: coverage(c) - CONFIDENCE, 0.5, 100))
