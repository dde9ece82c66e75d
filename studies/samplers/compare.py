"""The fronts that studies.samplers.run has found, judged without the noise by which they were chosen.

    python -m studies.samplers.compare

A search's front is that of its own model, as `python -m nas.search` gives it. It is judged in two ways: by what a model
of all trainings of all searches together expects of its networks (after the mean of each seed, which all its searches
share, is taken out), at every fifth candidate; and after 100 candidates by new trainings (studies.samplers.again).
Writes searches.md and searches.png.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns

from dynacp.pictures import new_figure, save_figure
from dynacp.student.architecture import Architecture
from nas.space.features import FloatArray, features
from nas.strategy.pareto import front, hypervolume
from nas.strategy.samplers import STARTUP_TRIALS
from nas.strategy.surrogate import Surrogate
from studies.samplers.run import CANDIDATES, EARLIER, ROWS
from studies.sharing import Rows, reach

HERE, MACS, CHANCE = Path(__file__).parent, 30e6, "random"
AGAIN = Rows(HERE / "again.csv", ["architecture", "seed"])
COMPARED_AT, STEP = 100, 5
LEAST = 0.3
"""How much worse than the mean of the first random candidates a network is that adds nothing, in nats."""


def main() -> None:
    table = ROWS.read()
    length = CANDIDATES | EARLIER
    whole = table.groupby(["sampler", "seed"]).filter(lambda rows: len(rows) == length[rows["sampler"].iloc[0]])
    merits = modelled(table)
    trained = again(merits)
    grown, fresh = [], []
    for (sampler, seed), search in whole.groupby(["sampler", "seed"], sort=False):
        search = search.sort_values("number")
        numbers = range(STARTUP_TRIALS, len(search) + 1, STEP)
        volumes = [volume(own_front(search, number), merits) for number in numbers]
        grown.append(pd.DataFrame({"sampler": sampler, "seed": seed, "candidates": numbers, "hypervolume": volumes}))
        best = own_front(search, COMPARED_AT)
        if set(best["architecture"]) <= trained.keys():
            fresh.append({"sampler": sampler, "seed": seed, "hypervolume": volume(best, trained)})
    text = compared(pd.concat(grown), pd.DataFrame(fresh)).to_markdown(index=False)
    (HERE / "searches.md").write_text(text + "\n", encoding="utf-8")
    print(text)
    draw(pd.concat(grown))


def modelled(table: pd.DataFrame) -> dict[str, float]:
    """By architecture: the merit that a model of all trainings expects, less the mean of random candidates."""
    once = table.drop_duplicates(["seed", "architecture"])
    level = once[once["number"] < STARTUP_TRIALS].groupby("seed")["training_loss"].mean()
    described = _described(once)
    merits = (once["seed"].map(level) - once["training_loss"]).to_numpy()
    return dict(zip(once["architecture"], Surrogate(described, merits).means(described), strict=True))


def again(merits: Mapping[str, float]) -> dict[str, float]:
    """By architecture: the mean merit of its new trainings, at the level of `merits`, which `modelled` gives."""
    trained = AGAIN.read()
    if trained.empty:
        return {}
    means = -trained.groupby("architecture")["training_loss"].mean()
    level = float(np.mean([merit - merits[str(text)] for text, merit in means.items()]))
    return {str(text): float(merit) - level for text, merit in means.items()}


def _described(table: pd.DataFrame) -> FloatArray:
    return features([Architecture.from_json(text) for text in table["architecture"]])


def own_front(search: pd.DataFrame, number: int) -> pd.DataFrame:
    """The rows of a search, in the order of its candidates, that its own model puts on the front after so many."""
    known = search[:number]
    described = _described(known)
    expected = Surrogate(described, -known["training_loss"].to_numpy()).means(described)
    return known.iloc[front(list(zip(expected, known["macs"], strict=True)))]


def volume(best: pd.DataFrame, merits: Mapping[str, float]) -> float:
    """The hypervolume of a front, in nats, as a share of the limit of MACs."""
    points = [(merits[text], float(macs)) for text, macs in zip(best["architecture"], best["macs"], strict=True)]
    return hypervolume(points, reference=(-LEAST, MACS)) / MACS


def compared(grown: pd.DataFrame, fresh: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds; differences from random search, and the share of its cost that reaches its front, by seed."""
    at = grown[grown["candidates"] == COMPARED_AT].pivot(index="seed", columns="sampler", values="hypervolume")
    last = grown[grown["candidates"] == CANDIDATES[CHANCE]].set_index("seed")["hypervolume"]
    new = fresh.pivot(index="seed", columns="sampler", values="hypervolume") if len(fresh) else pd.DataFrame()
    rows = []
    for sampler in at:
        mine = grown[grown["sampler"] == sampler].groupby("seed")
        shares = pd.Series({seed: share_of_cost(search, last[seed]) for seed, search in mine if seed in last})
        told = f"{shares.mean():.2f} ± {reach(shares):.2f}; {(shares <= 0.5).sum()} of {len(shares)} by the half"
        rows.append(
            {
                "sampler": sampler,
                f"hypervolume after {COMPARED_AT}": f"{at[sampler].mean():.4f}",
                "less random's": _apart(at, str(sampler)),
                "by new trainings": f"{new[sampler].mean():.4f}" if sampler in new else "",
                "less random's ": _apart(new, str(sampler)),
                f"share of {CANDIDATES[CHANCE]} random candidates that reaches their front": told,
            }
        )
    return pd.DataFrame(rows)


def _apart(volumes: pd.DataFrame, sampler: str) -> str:
    if sampler == CHANCE or not {sampler, CHANCE} <= set(volumes):
        return ""
    apart = (volumes[sampler] - volumes[CHANCE]).dropna()
    return f"{apart.mean():+.4f} ± {reach(apart):.4f}"


def share_of_cost(search: pd.DataFrame, goal: float) -> float:
    """Candidates after which a search's front stays as good as that, over random search's; 1 where none do."""
    short = search.loc[search["hypervolume"] < goal, "candidates"].max()
    if short == search["candidates"].max():
        return 1.0
    return float((STARTUP_TRIALS if np.isnan(short) else short + STEP) / CANDIDATES[CHANCE])


def draw(grown: pd.DataFrame) -> None:
    figure = new_figure(8, 5)
    axes = figure.subplots()
    sns.lineplot(grown, x="candidates", y="hypervolume", hue="sampler", ax=axes, errorbar=("ci", 95), seed=0)
    axes.set_title("Hypervolume of the front found, without noise (mean over seeds, 95 %)", loc="left", fontsize=11)
    axes.legend(frameon=False)
    sns.despine(figure)
    save_figure(figure, HERE / "searches.png", dpi=130)


if __name__ == "__main__":
    main()
