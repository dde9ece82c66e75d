"""What studies.score.run has found so far: each statistic of each short training against the full trainings.

    python -m studies.score.compare

Writes statistics.csv, statistics.md and statistics.png beside this file.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns

from dynacp.pictures import new_figure, save_figure
from nas.scoring.agreement import Scores, reliability, tau_interval, without_noise
from nas.space.counting import count
from studies.pool.run import read_pool
from studies.score.run import EIGHTHS, FULL, SHORT, VARIANTS

HERE = Path(__file__).parent
WEIGHTS = ("final", "restated", "averaged")
LEAST = 12
"""Architectures below which nothing is said."""


def main() -> None:
    short, full = SHORT.read(), FULL.read()
    rows = [row for name in short["set"].unique() for row in compared(short, full, name)]
    table = pd.DataFrame(rows)
    table.to_csv(HERE / "statistics.csv", index=False, float_format="%.4f")
    written = table.assign(
        tau=[f"{row.tau:.2f} [{row.low:.2f}, {row.high:.2f}]" for row in table.itertuples()],
        samples=table["samples"].map("{:,}".format),
    ).drop(columns=["low", "high"])
    text = written.to_markdown(index=False, floatfmt=".2f")
    (HERE / "statistics.md").write_text(text + "\n", encoding="utf-8")
    print(text)
    draw(table)


def compared(short: pd.DataFrame, full: pd.DataFrame, name: str) -> Iterator[dict[str, object]]:
    """A row for each statistic of each variant, and one for MACs alone."""
    truth = wide(full[full["set"] == name], "accuracy")
    macs = pd.Series(count(read_pool()).macs)
    told = {"set": name, "truth": reliability(truth.dropna().to_numpy(), shared=True)}
    yield {**told, "variant": "none", "statistic": "MACs", "samples": 0} | agreement(
        macs[truth.index].to_numpy(float)[:, None], truth.to_numpy()
    )
    for variant in VARIANTS:
        trained = statistics(short[(short["set"] == name) & (short["variant"] == variant.name)])
        for statistic in [str(column) for column in trained if column not in SHORT.key]:
            scores = wide(trained, statistic).dropna()
            known = scores.index.intersection(truth.index)
            if len(known) >= LEAST:
                yield {
                    **told, "variant": variant.name, "statistic": statistic, "samples": variant.recipe.samples
                } | agreement(scores.loc[known].to_numpy(), truth.loc[known].to_numpy())  # fmt: skip


def statistics(trained: pd.DataFrame) -> pd.DataFrame:
    """Every statistic of the trainings, more being better."""
    parts = trained[[f"loss_{part}" for part in range(1, EIGHTHS + 1)]]
    table = trained[SHORT.key].copy()
    table["training loss, mean"] = -parts.mean(axis=1)
    for share, first in (("last three quarters", 2), ("last half", 4), ("last quarter", 6), ("last eighth", 7)):
        table[f"training loss, {share}"] = -parts.iloc[:, first:].mean(axis=1)
    table["training loss, first half"] = -parts.iloc[:, :4].mean(axis=1)
    for weights in WEIGHTS:
        table[f"accuracy, {weights}"] = trained[f"{weights}_accuracy"]
        table[f"cross-entropy, {weights}"] = -trained[f"{weights}_cross_entropy"]
        table[f"cross-entropy by recording, {weights}"] = -trained[f"{weights}_recording_cross_entropy"]
        if trained[f"{weights}_divergence"].notna().any():
            table[f"divergence from the teachers, {weights}"] = -trained[f"{weights}_divergence"]
    return table


def wide(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """A row per architecture, a column per seed."""
    return rows.pivot(index="layout", columns="seed", values=column)


def agreement(scores: Scores, truth: Scores) -> dict[str, float]:
    """How reliable a score is, with seeds that all share and with seeds of their own; and its tau with the truth."""
    truth = truth[:, ~np.isnan(truth).any(axis=0)]
    shared, own = (reliability(scores, shared=shared) for shared in (True, False))
    tau = tau_interval(scores, truth)
    noiseless = without_noise(tau.value, shared, reliability(truth, shared=True))
    return {
        "architectures": len(scores),
        "reliability": shared,
        "own seeds": own,
        "tau": tau.value,
        "low": tau.low,
        "high": tau.high,
        "noiseless": noiseless,
    }


def draw(table: pd.DataFrame) -> None:
    """The tau of each statistic of the reference training, and of the mean training loss of each variant."""
    names = list(table["set"].unique())
    figure = new_figure(12, 4 * len(names) + 1)
    panels = figure.subplots(len(names), 2, squeeze=False, sharex=True)
    for (left, right), name in zip(panels, names, strict=True):
        of_set = table[table["set"] == name]
        reference = of_set[of_set["variant"].isin(["none", "reference"])]
        variants = of_set[of_set["statistic"] == "training loss, mean"]
        for axes, rows, label in ((left, reference, "statistic"), (right, variants, "variant")):
            reach = [rows["tau"] - rows["low"], rows["high"] - rows["tau"]]
            axes.errorbar(rows["tau"], rows[label], xerr=reach, fmt="o", color="#1f3a93", capsize=3)
            axes.invert_yaxis()
            axes.grid(alpha=0.25)
        left.set_title(f"{name} set: statistics of the reference", loc="left", fontsize=10.5)
        right.set_title("mean training loss, by variant", loc="left", fontsize=10.5)
    for axes in panels[-1]:
        axes.set_xlabel("Kendall's tau with the full training")
    sns.despine(figure)
    save_figure(figure, HERE / "statistics.png", dpi=130)


if __name__ == "__main__":
    main()
