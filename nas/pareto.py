"""The result of a search: fronts, hypervolume, and scores of fresh seeds with intervals."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from optuna.trial import FrozenTrial
from scipy.stats import dunnett

from nas.store import Store

CONFIDENCE = 0.95


def hypervolume(points: Sequence[tuple[float, float]], *, reference: tuple[float, float]) -> float:
    """Area dominated by (accuracy, MACs) points, accuracy up and MACs down, within a reference (accuracy, MACs)."""
    area, height = 0.0, reference[0]
    for accuracy, macs in sorted(points, key=lambda point: (point[1], -point[0])):
        if macs < reference[1] and accuracy > height:
            area += (accuracy - height) * (reference[1] - macs)
            height = accuracy
    return area


def hypervolume_history(store: Store) -> pd.Series:
    """Hypervolume after each trained trial, as a share of the box from chance and the MAC limit to 1 and 0 MACs."""
    identity = store.settings["identity"]
    reference = (1 / identity["space"]["classes"], identity["limits"]["max_macs"])
    box = (1 - reference[0]) * reference[1]
    points, history = list[tuple[float, float]](), []
    for trial in store.trials:
        if all(value <= 0 for value in trial.constraints.values()):
            points.append((trial.values[0], trial.values[1]))
        history.append(hypervolume(points, reference=reference) / box)
    return pd.Series(history, index=pd.RangeIndex(1, len(history) + 1, name="trained trials"), name="hypervolume")


@dataclass(frozen=True)
class Rescored:
    """A layout's fresh scores: mean and standard deviation between seeds, and how far it lies from Table 1.

    `low` and `high` bound the difference from Table 1 (Dunnett: simultaneously for all layouts compared, at 95 %);
    they are NaN for Table 1 itself. They cover the noise between training seeds, not the choice of validation clips.
    """

    trial: FrozenTrial
    accuracies: tuple[float, ...]
    difference: float
    low: float
    high: float

    @property
    def mean(self) -> float:
        return float(np.mean(self.accuracies))

    @property
    def deviation(self) -> float:
        return float(np.std(self.accuracies, ddof=1))

    @property
    def verdict(self) -> str:
        if np.isnan(self.low):
            return "the baseline"
        return "better" if self.low > 0 else "worse" if self.high < 0 else "not told apart"


def rescored(store: Store) -> list[Rescored]:
    """The re-scored layouts by MACs; empty until the baseline, which is the first trial, has two fresh scores."""
    fresh = {trial.number: tuple(store.rescored(trial).values()) for trial in store.trials}
    fresh = {number: scores for number, scores in fresh.items() if len(scores) > 1}
    if 0 not in fresh:
        return []
    others = [number for number in fresh if number != 0]
    intervals = dict(zip(others, _against(fresh[0], [fresh[number] for number in others]), strict=True))
    intervals[0] = (float("nan"), float("nan"))
    entries = [
        Rescored(store.trials[number], scores, float(np.mean(scores) - np.mean(fresh[0])), *intervals[number])
        for number, scores in fresh.items()
    ]
    return sorted(entries, key=lambda entry: entry.trial.values[1])


def _against(control: Sequence[float], samples: Sequence[Sequence[float]]) -> list[tuple[float, float]]:
    if not samples:
        return []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the critical value is found by a random search that reports its tolerance
        result = dunnett(*samples, control=control, random_state=np.random.default_rng(0))
        interval = result.confidence_interval(CONFIDENCE)
    return list(zip(interval.low.tolist(), interval.high.tolist(), strict=True))
