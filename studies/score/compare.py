"""What studies.score.run has found so far: each statistic of each short training against the full trainings.

    python -m studies.score.compare

Writes statistics.csv, statistics.md and statistics.png beside this file.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import seaborn as sns

from dynacp.pictures import new_figure, save_figure
from nas.scoring.agreement import (
    Estimate,
    Scores,
    averaged,
    estimate,
    reliability,
    resampled_taus,
    tau,
    tau_interval,
    without_noise,
)
from nas.space.counting import count
from studies.fidelity.run import FULL as DISTILLED
from studies.pool.run import read_pool
from studies.score.run import EIGHTHS, FULL, SHORT, VARIANTS

HERE = Path(__file__).parent
MEAN = "training loss, mean"
TOGETHER = "mean loss + cross-entropy"
"""The mean training loss and the final cross-entropy by recording, each standardised over the architectures, added."""

WEIGHTS = ("final", "restated", "averaged")
LEAST = 12
"""Architectures below which nothing is said."""


def main() -> None:
    short = SHORT.read()
    rows = [row for truth in truths() for row in compared(short, truth)]
    table = pd.DataFrame(rows)
    table.to_csv(HERE / "statistics.csv", index=False, float_format="%.4f")
    written = table.assign(
        tau=[str(Estimate(*row)) for row in table[["tau", "low", "high"]].to_numpy()],
        samples=table["samples"].map("{:,}".format),
    ).drop(columns=["low", "high"])
    text = written.to_markdown(index=False, floatfmt=".2f")
    (HERE / "statistics.md").write_text(text + "\n", encoding="utf-8")
    print(text)
    draw(table)


class Truth(NamedTuple):
    """Accuracies of full trainings on the test split, a row per architecture and a column per seed."""

    set: str
    name: str
    accuracies: pd.DataFrame


def truths() -> Iterator[Truth]:
    """This study's full trainings on labels, and those of studies/fidelity, distilled; as far as they have come."""
    full, distilled = FULL.read(), DISTILLED.read().assign(seed=0)
    of_set = {(name, "labels"): rows for name, rows in full.groupby("set")} | {("pocket", "distilled"): distilled}
    for (name, how), rows in of_set.items():
        accuracies = wide(rows, "accuracy")
        if len(accuracies) >= LEAST:
            yield Truth(str(name), how, accuracies)


def compared(short: pd.DataFrame, truth: Truth) -> Iterator[dict[str, object]]:
    """A row for each statistic of each variant, and one for MACs alone."""
    known = truth.accuracies
    told = {
        "set": truth.set,
        "truth": truth.name,
        "its reliability": reliability(complete(known).to_numpy(), shared=True),
    }
    macs = pd.Series(count(read_pool()).macs)
    yield {**told, "variant": "none", "statistic": "MACs", "samples": 0} | agreement(
        macs[known.index].to_numpy(float)[:, None], complete(known).to_numpy()
    )
    of_variant = {
        variant: short[(short["set"] == truth.set) & (short["variant"] == variant.name)] for variant in VARIANTS
    }
    trained = {variant: statistics(rows) for variant, rows in of_variant.items() if len(rows)}
    for variant, rows in trained.items():
        for statistic in [str(column) for column in rows if column not in SHORT.key]:
            scores = complete(wide(rows, statistic))
            both = scores.index.intersection(known.index)
            if len(both) >= LEAST:
                mine, full = scores.loc[both], complete(known.loc[both]).to_numpy()
                yield {
                    **told,
                    "variant": variant.name,
                    "statistic": statistic,
                    "samples": variant.recipe.samples,
                    "seconds": of_variant[variant]["seconds"].median(),
                    **agreement(mine.to_numpy(), full),
                    "against the reference": against(mine, wide(trained[VARIANTS[0]], MEAN).loc[both], full),
                }


def statistics(trained: pd.DataFrame) -> pd.DataFrame:
    """Every statistic of the trainings, more being better."""
    parts = trained[[f"loss_{part}" for part in range(1, EIGHTHS + 1)]]
    table = trained[SHORT.key].copy()
    table[MEAN] = -parts.mean(axis=1)
    for share, first in (("last three quarters", 2), ("last half", 4), ("last quarter", 6), ("last eighth", 7)):
        table[f"training loss, {share}"] = -parts.iloc[:, first:].mean(axis=1)
    table["training loss, first half"] = -parts.iloc[:, :4].mean(axis=1)
    for weights in WEIGHTS:
        table[f"accuracy, {weights}"] = trained[f"{weights}_accuracy"]
        table[f"cross-entropy, {weights}"] = -trained[f"{weights}_cross_entropy"]
        table[f"cross-entropy by recording, {weights}"] = -trained[f"{weights}_recording_cross_entropy"]
        if trained[f"{weights}_divergence"].notna().any():
            table[f"divergence from the teachers, {weights}"] = -trained[f"{weights}_divergence"]
    of_seed = table.groupby("seed")[[MEAN, "cross-entropy by recording, final"]]
    table[TOGETHER] = of_seed.transform(lambda each: (each - each.mean()) / each.std()).sum(axis=1)
    return table


def wide(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """A row per architecture, a column per seed."""
    return rows.pivot(index="layout", columns="seed", values=column)


def agreement(scores: Scores, truth: Scores) -> dict[str, float]:
    """How reliable a score is, with seeds that all share and with seeds of their own; and its tau with the truth."""
    shared, own = (reliability(scores, shared=shared) for shared in (True, False))
    tau = tau_interval(scores, truth)
    of_truth = averaged(reliability(truth, shared=True), truth.shape[1])
    known = [each for each in (shared, of_truth) if each > 0]  # NaN with one seed
    return {
        "architectures": len(scores),
        "reliability": shared,
        "own seeds": own,
        "tau": tau.value,
        "low": tau.low,
        "high": tau.high,
        "noiseless": without_noise(tau.value, *known),
    }


def against(scores: pd.DataFrame, reference: pd.DataFrame, truth: Scores) -> str:
    """How far the tau of scores is from that of the reference's mean loss, of the same architectures and seeds."""
    pair = scores.to_numpy(), reference[scores.columns].to_numpy()
    mine, others = (tau(each, truth) for each in pair)
    drawn, others_drawn = (resampled_taus(each, truth) for each in pair)
    return str(estimate(mine - others, drawn - others_drawn))


def complete(trainings: pd.DataFrame) -> pd.DataFrame:
    """The seeds, a column each, with which all of these architectures were trained."""
    return trainings.loc[:, trainings.notna().all()]


def draw(table: pd.DataFrame) -> None:
    """The tau of each statistic of the reference training, and of the mean training loss of each variant."""
    groups = list(table.groupby(["set", "truth"], sort=False))
    figure = new_figure(12, 4 * len(groups) + 1)
    panels = figure.subplots(len(groups), 2, squeeze=False, sharex=True)
    for (left, right), ((name, truth), rows) in zip(panels, groups, strict=True):
        reference = rows[rows["variant"].isin(["none", "reference"])]
        variants = rows[rows["statistic"] == MEAN]
        for axes, shown, label in ((left, reference, "statistic"), (right, variants, "variant")):
            reach = [shown["tau"] - shown["low"], shown["high"] - shown["tau"]]
            axes.errorbar(shown["tau"], shown[label], xerr=reach, fmt="o", color="#1f3a93", capsize=3)
            axes.invert_yaxis()
            axes.grid(alpha=0.25)
        left.set_title(f"{name} set, truth {truth}: statistics of the reference", loc="left", fontsize=10.5)
        right.set_title("mean training loss, by variant", loc="left", fontsize=10.5)
    for axes in panels[-1]:
        axes.set_xlabel("Kendall's tau with the full training")
    sns.despine(figure)
    save_figure(figure, HERE / "statistics.png", dpi=130)


if __name__ == "__main__":
    main()
