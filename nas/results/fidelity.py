"""Whether the short trainings of a search rank as full trainings do, on the data of the search itself."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from nas.scoring.agreement import Estimate, Scores, averaged, reliability, tau_interval, with_noise, without_noise
from nas.strategy.propose import combined_seed
from nas.strategy.race import Run
from nas.study.candidate import Candidate
from nas.study.further import FurtherTrainings, Wanted
from nas.study.store import Store

TRUSTED = 0.5
"""Short trainings rank candidates well enough if the lower end of their tau's 95 % interval exceeds this.

The tau is Kendall's rank correlation with the accuracies of full trainings, as `agreement` gives it.
"""

AIMED_TAU = 0.65
"""The tau with full trainings, as `agreement` gives it, that the needed training length is estimated for."""

LEAST_TRUTH = 0.5
"""The reliability of the mean of a candidate's full trainings below which it is no truth to judge by."""

_SEEDS = 3_000_000
"""Marks the seeds of these trainings, so that neither the search nor its race used one of them."""

LEAST = 4
"""Fewer candidates than this give no result."""

RANKING = "training loss, mean of all steps"
"""The title of the statistic that candidates are ranked by."""

MACS = "MACs alone"
"""The title of the row that ranks candidates by their MACs, without any training."""

STATISTICS = {
    RANKING: ("training_loss", -1),
    "training loss, mean of the first half": ("early_loss", -1),
    "training loss, mean of the last half": ("late_loss", -1),
    "training loss, last step": ("loss", -1),
    "validation accuracy": ("accuracy", 1),
    "validation cross-entropy": ("cross_entropy", -1),
    "the same by recording": ("recording_cross_entropy", -1),
}
"""Statistic's title: (its name in a training's record, the sign that makes larger better)."""


def spread(candidates: Sequence[Candidate], number: int) -> list[Candidate]:
    """`number` of these candidates at most, the baseline and others spread evenly from the lowest to the highest merit.

    In this order. Raises `ValueError` for a candidate without a score.
    """
    ranked = sorted((each for each in candidates if each.number), key=lambda each: each.merit)
    places = np.unique(np.linspace(0, len(ranked) - 1, min(number - 1, len(ranked))).round().astype(int))
    return [each for each in candidates if not each.number] + [ranked[place] for place in places.tolist()]


def wanted(chosen: Sequence[Candidate], *, short: int, full: int, seeds: int, seed: int) -> Wanted:
    """The trainings of a check: each of the chosen twice for the length of a trial, then `seeds` times in full.

    Returns pairs (candidate, how it is trained). `short`, a trial's length, and `full` are training samples. All
    candidates share the seeds, which derive from `seed`, the search's.
    """
    lengths = [(short, index) for index in range(2)] + [(full, index) for index in range(seeds)]
    runs = [Run(samples, 0, combined_seed(seed, _SEEDS, samples, index)) for samples, index in lengths]
    return [(each, run) for run in runs for each in chosen]


def agreement(done: FurtherTrainings, *, short: int, full: int) -> pd.DataFrame:
    """How each statistic of the short trainings, and MACs alone, ranks candidates as the full trainings do: a row each.

    `short` and `full` are training samples. Columns: statistic, candidates (how many), tau, low, high, reliability,
    truth, noiseless. `tau`, with its 95 % interval from `low` to `high`, is between one short training and the mean
    accuracy of the full ones; `noiseless` what it would be if neither had training noise; `reliability` the short
    statistic's, and `truth` that of the mean of the full trainings (`nas.scoring.agreement`). Only candidates with all
    their trainings count; the table is empty with fewer than `LEAST`.
    """
    table = done.table()
    full_ones, short_ones = (_wide(table, samples, "accuracy").dropna() for samples in (full, short))
    both = full_ones.index.intersection(short_ones.index)
    if len(both) < LEAST:
        return pd.DataFrame()
    truth = full_ones.loc[both].to_numpy()
    rows = []
    for name, (statistic, sign) in STATISTICS.items():
        scores = _wide(table, short, statistic).loc[both].to_numpy()
        if not np.isnan(scores).any():  # trainings of an older version lack some
            rows.append(_row(name, sign * scores, truth))
    return pd.DataFrame([*rows, _row(MACS, _macs(done, both), truth)])


def of_study(store: Store) -> pd.DataFrame:
    """How short trainings of a stored search rank its candidates as full ones do: the table that `agreement` gives.

    A row per statistic; empty if `nas.fidelity` never ran.
    """
    done, short = store.fidelity, store.settings.samples
    return agreement(done, short=short, full=max(done.table()["samples"], default=short)) if done else pd.DataFrame()


def _macs(done: FurtherTrainings, numbers: Iterable[int]) -> Scores:
    macs = {trial.user_attrs["candidate"]: trial.user_attrs["macs"] for trial in done.trials()}
    return np.array([[macs[number]] for number in numbers], dtype=np.float64)


def _wide(table: pd.DataFrame, samples: int, statistic: str) -> pd.DataFrame:
    """A row per candidate, a column per seed; NaN where a training lacks the statistic."""
    table = table.reindex(columns=["candidate", "samples", "seed", statistic])
    return table[table["samples"] == samples].pivot(index="candidate", columns="seed", values=statistic)


def _row(statistic: str, scores: Scores, truth: Scores) -> dict[str, object]:
    tau, own = tau_interval(scores, truth), reliability(scores, shared=True)
    of_truth = averaged(reliability(truth, shared=True), truth.shape[1])
    known = [each for each in (own, of_truth) if each > 0]  # NaN with one seed, and where there is nothing but noise
    return {
        "statistic": statistic,
        "candidates": len(scores),
        "tau": tau.value,
        "low": tau.low,
        "high": tau.high,
        "reliability": own,
        "truth": of_truth,
        "noiseless": without_noise(tau.value, *known),
    }


def as_text(row: Mapping[Any, Any]) -> dict[str, str]:
    """A row of what `agreement` gives, for people: `statistic`, `candidates`, `tau`, `reliability` and `noiseless`."""
    known = {name: "" if np.isnan(row[name]) else f"{row[name]:.2f}" for name in ("reliability", "noiseless")}
    tau = str(Estimate(row["tau"], row["low"], row["high"]))
    return {"statistic": row["statistic"], "candidates": str(row["candidates"]), "tau": tau, **known}


def conclusion(table: pd.DataFrame, *, short: int) -> str:
    """Sentences on whether short trainings can be trusted on these data, and how long they would have to be if not.

    `table` is as `agreement` gives it; `short` is the samples of a short training.
    """
    if table.empty:
        return f"Fewer than {LEAST} candidates have all their trainings: nothing can be said yet."
    of: dict[str, dict[str, float]] = table.set_index("statistic").to_dict("index")  # type: ignore[assignment]
    own, macs = of[RANKING], of[MACS]
    if np.isnan(own["tau"]):
        return "All full trainings came to the same accuracy, so nothing can be said: take a higher full_epochs."
    tau = Estimate(own["tau"], own["low"], own["high"])
    words = f"Short trainings of {short:,} samples rank as full ones with a tau of {tau}; MACs alone with "
    words += f"{macs['tau']:.2f}. "
    if own["low"] > TRUSTED:
        return f"{words}The score can be trusted here."
    if own["truth"] < LEAST_TRUTH:
        return (
            f"{words}The full trainings scatter too much to judge by (their mean has a reliability of "
            f"{max(own['truth'], 0):.2f}): take more --seeds."
        )
    words += "The score may not rank well enough here. " if own["low"] > 0 else "The score cannot be trusted here. "
    if own["tau"] >= AIMED_TAU:
        return f"{words}Too few candidates were checked to say: take more --layouts."
    of_truth = own["truth"] if own["truth"] > 0 else 1.0
    if not with_noise(own["noiseless"], of_truth) > AIMED_TAU or not own["reliability"] > 0:
        return (
            f"{words}Without the noise of short trainings the tau would not reach {AIMED_TAU} either: trainings of "
            f"{short:,} samples rank by something else. Take more --samples, and check again."
        )
    told = f"bring the tau to {AIMED_TAU}, if a longer training tells as much as several short ones."
    for trainings in range(2, 101):
        if with_noise(own["noiseless"], averaged(own["reliability"], trainings), of_truth) >= AIMED_TAU:
            return f"{words}About {trainings * short:,} samples a trial would {told}"
    return f"{words}Only more than {100 * short:,} samples a trial would {told}"
