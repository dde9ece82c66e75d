"""The result of a search: hypervolume, and what the race proves of its finalists."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.stats import chi2, norm

from nas.strategy.pareto import Point, front, hypervolume
from nas.strategy.race import Run
from nas.study.candidate import Candidate
from nas.study.store import Store

CONFIDENCE = 0.95
"""The probability that the intervals of all architectures compared hold simultaneously, at every look at them."""

NOTE_ON_THE_RACE = (
    "The search score comes from one short training and favours lucky trainings; the race's mean does not. Its "
    "interval holds simultaneously for all architectures that entered a race of this search, and covers seeds and "
    "recordings: every recording of the training split is validation once. Teachers, if any, know four fifths of "
    "these recordings, so all means may be a little higher than on unheard ones."
)
"""What must be known to read the result, in words for people."""


def hypervolume_history(store: Store) -> pd.DataFrame:
    """How the front grew: a row per candidate, named by how many there were by then.

    Columns: `samples`, training samples of all candidates so far, and `hypervolume`, that of the front in MACs and in
    the accuracy that the model of all trainings expects (`Store.expected`), as a share of the area between chance
    accuracy and 1, and 0 MACs and the limit. Only candidates that are finished and fit enter the front; the others add
    samples alone.
    """
    reference, expected = (store.settings.chance, store.settings.limits.max_macs), store.expected()
    box = (1 - reference[0]) * reference[1]
    best, samples, history = list[Point](), 0, []
    for candidate in store.candidates:
        samples += candidate.samples
        if candidate.number in expected:
            points = [*best, (expected[candidate.number].accuracy, candidate.macs)]
            best = [points[index] for index in front(points)]
        history.append({"samples": samples, "hypervolume": hypervolume(best, reference=reference) / box})
    return pd.DataFrame(history, index=pd.RangeIndex(1, len(history) + 1, name="candidates"))


@dataclass(frozen=True, kw_only=True)
class Finalist:
    """The baseline, or an architecture trained again beside it: its accuracies, and how far it lies from the baseline.

    `low` and `high` bound the difference in accuracy from the baseline, simultaneously for all architectures compared,
    at 95 % (Dunnett).
    """

    candidate: Candidate
    """The candidate that it was in the search."""
    accuracies: tuple[float, ...]
    """Validation macro accuracy, in [0, 1]: in each fold (way to divide the clips) the mean over its trainings; in a
    study without folds that of each seed.
    """
    difference: float
    """Mean accuracy minus that of the baseline, both in [0, 1]; positive is better than the baseline."""
    low: float
    """The least `difference` that the interval holds; NaN for the baseline."""
    high: float
    """The greatest `difference` that the interval holds; NaN for the baseline."""
    macs_share: float
    """Its MACs as a share of the baseline's."""
    bytes_share: float
    """Its bytes of parameters as a share of the baseline's."""
    margin: float
    """The accuracy, in [0, 1], that it may lose against the baseline and still count as not worse."""

    @property
    def mean(self) -> float:
        """The mean of `accuracies`."""
        return float(np.mean(self.accuracies))

    @property
    def deviation(self) -> float:
        """The sample standard deviation of `accuracies` (n - 1 degrees of freedom)."""
        return float(np.std(self.accuracies, ddof=1))

    @property
    def in_points(self) -> str:
        """The difference from the baseline and its interval in percentage points, such as `+1.2 [-0.3, +2.7]`.

        Empty for the baseline itself.
        """
        if np.isnan(self.low):
            return ""
        return f"{self.difference * 100:+.1f} [{self.low * 100:+.1f}, {self.high * 100:+.1f}]"

    @property
    def claim(self) -> str:
        """What is proved against the baseline, in words.

        `better` and `not worse` (at fewer MACs) are claims that hold; `worse` and `not told apart` are none; the
        baseline itself is `the baseline`.
        """
        if np.isnan(self.low):
            return "the baseline"
        if self.low > 0:
            return "better"
        if self.low > -self.margin and self.macs_share < 1:
            return "not worse"
        return "worse" if self.high < 0 else "not told apart"

    @property
    def verdict(self) -> str:
        """The `claim`, and for `not worse` at which cost: `not worse, at 80% of its MACs and 95% of its bytes`."""
        return f"{self.claim}, {self.cost}" if self.claim == "not worse" else self.claim

    @property
    def cost(self) -> str:
        """Its cost beside the baseline's, in words, such as `at 80% of its MACs and 95% of its bytes`."""
        return f"at {self.macs_share:.0%} of its MACs and {self.bytes_share:.0%} of its bytes"

    @property
    def holds(self) -> bool:
        """Whether it is proved better, or not worse at fewer MACs."""
        return self.claim in ("better", "not worse")


def finalists(store: Store) -> list[Finalist]:
    """The architectures of the last round of the race and the baseline, by MACs.

    Empty until two folds of that round are trained. A fold is a way to divide the clips. Comparisons are paired by fold
    (or by seed in studies without folds), over the runs that all of them have. Each recording serves as validation in
    one fold, so the interval covers seeds and recordings; in studies without folds it covers the noise between seeds
    alone. Where the race may look at its claims several times, intervals hold at all looks together (Bonferroni).
    """
    numbers, shared = _last_round(store)
    ways = {run.way for run in shared}
    blocks = np.array([run.way if len(ways) > 1 else run.seed for run in shared])
    if len(np.unique(blocks)) < 2:
        return []
    runs = pd.DataFrame({number: [store.race.done[number][run]["accuracy"] for run in shared] for number in numbers})
    paired = runs.groupby(blocks).mean().to_numpy().T
    candidates = {candidate.number: candidate for candidate in store.candidates}
    apart = paired.mean(axis=1) - paired[0].mean()
    entered = store.entered() | set(numbers[1:])
    reach = _reach(paired, comparisons=len(entered), looks=store.race.looks)
    entries = []
    for number, accuracies, difference in zip(numbers, paired.tolist(), apart.tolist(), strict=True):
        low, high = (difference - reach, difference + reach) if number else (float("nan"), float("nan"))
        entries.append(
            Finalist(
                candidate=candidates[number],
                accuracies=tuple(accuracies),
                difference=difference,
                low=low,
                high=high,
                macs_share=candidates[number].macs / candidates[0].macs,
                bytes_share=candidates[number].bytes / candidates[0].bytes,
                margin=store.settings.margin,
            )
        )
    return sorted(entries, key=lambda entry: entry.candidate.macs)


def decided(store: Store) -> bool:
    """Whether of each finalist it is known if it is better, as good at fewer MACs, or worse."""
    rivals = [entry for entry in finalists(store) if not np.isnan(entry.low)]
    return bool(rivals) and all(entry.verdict != "not told apart" for entry in rivals)


def what_it_would_take(store: Store, entries: Sequence[Finalist]) -> str | None:
    """A sentence on what more would prove a claim, in trainings and hours, if all means stayed as they are.

    It also says where no number of trainings would help. None where a claim is proved, and where no other architecture
    than the baseline is among the entries, which are as `finalists` gives them.
    """
    # An interval narrows as the root of the number of trainings grows.
    rivals = [entry for entry in entries if not np.isnan(entry.low)]
    if not rivals or any(entry.holds for entry in rivals):
        return None
    wanted = list[tuple[float, str, Finalist]]()
    for entry in rivals:
        reach = entry.difference - entry.low
        claims = {
            "better": entry.difference,
            "not worse": entry.difference + entry.margin if entry.macs_share < 1 else 0.0,
        }
        wanted += [((reach / apart) ** 2, claim, entry) for claim, apart in claims.items() if apart > 0]
    baseline = store.settings.baseline.name
    if not wanted:
        return f"No claim holds, and more trainings would not change that: no finalist comes near enough to {baseline}."
    factor, claim, entry = min(wanted, key=lambda each: each[0])
    _, shared = _last_round(store)
    more = int(np.ceil(factor * len(shared))) - len(shared)
    samples = shared[0].samples
    notes = [done[run] for done in store.race.done.values() for run in shared if run in done]
    hours = float(np.mean([note.get("seconds", np.nan) for note in notes])) * 2 * more / 3600
    return (
        f"No claim holds yet. That {entry.candidate.name} is {claim} would take about {more} more trainings each of it "
        f"and of {baseline}, if the means stay as they are: {2 * more * samples:,} samples, {hours:.1f} hours of one "
        "worker."
    )


def weak_teachers(entries: Sequence[Finalist], accuracy: float) -> str | None:
    """A warning where teachers recognise less than the baseline that they taught; else, and without finalists, None.

    `accuracy` is a teacher's, in [0, 1], on clips that it was not fine-tuned on; `entries` are as `finalists` gives.
    """
    baseline = next((entry for entry in entries if np.isnan(entry.low)), None)
    if baseline is None or accuracy >= baseline.mean:
        return None
    return (
        f"A teacher recognises {accuracy:.1%} of the clips that it was not fine-tuned on, {baseline.candidate.name} in "
        f"full {baseline.mean:.1%}: such teachers may cost more than they bring (studies/teaching). Better ones start "
        "from checkpoints (--mn, --dymn); `--set distillation.label_weight=1` does without any."
    )


def _last_round(store: Store) -> tuple[list[int], list[Run]]:
    """The candidates that were trained more than once at the greatest length at which the baseline and another were,
    the baseline first, and the runs that all of them have."""
    runs = store.race.done
    for samples in sorted({run.samples for run in runs.get(0, {})}, reverse=True):
        of_length = {number: {run for run in each if run.samples == samples} for number, each in runs.items()}
        several = {number: each for number, each in sorted(of_length.items()) if len(each) > 1}
        if 0 in several and len(several) > 1:
            return list(several), sorted(set.intersection(*several.values()))
    return [], []


def _reach(paired: np.ndarray, *, comparisons: int, looks: int) -> float:
    """How far the interval of each difference from the first row reaches, for [architectures, blocks] in randomised
    blocks, where so many architectures were compared in all: those that dropped out earlier count as well.
    """
    architectures, blocks = paired.shape
    rest = paired - paired.mean(axis=1, keepdims=True) - paired.mean(axis=0) + paired.mean()
    freedom = (architectures - 1) * (blocks - 1)
    quantile = dunnett_quantile(comparisons, freedom, confidence=1 - (1 - CONFIDENCE) / looks)
    return quantile * float(np.sqrt(2 * (rest**2).sum() / freedom / blocks))


def dunnett_quantile(comparisons: int, freedom: int, *, confidence: float = CONFIDENCE) -> float:
    """The two-sided critical value of Dunnett's test (1955) of `comparisons` treatments against one control, with
    `freedom` degrees of freedom.
    """
    # The largest |t| stays below c with this probability: with Z of the control and S, the estimated over the true
    # deviation, the mean over both of P(|X - Z| <= sqrt(2) c S) to the power of `comparisons`, X standard normal; Z by
    # Gauss and Hermite, S by quantiles.
    nodes, weights = np.polynomial.hermite_e.hermegauss(61)
    weights = weights / weights.sum()
    spread = np.sqrt(chi2.ppf((np.arange(4_000) + 0.5) / 4_000, freedom) / freedom)

    def coverage(c: float) -> float:
        width = np.sqrt(2) * c * spread[:, None]
        inside = norm.cdf(nodes + width) - norm.cdf(nodes - width)
        return float((inside**comparisons @ weights).mean())

    return float(brentq(lambda c: coverage(c) - confidence, 0.5, 100))
