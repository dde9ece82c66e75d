"""The fronts that studies.samplers.run has found so far, judged without noise.

    python -m studies.samplers.compare

A model of all trainings of all searches together says what each candidate would score without noise (after the mean of
each seed, which all its searches share, is taken out). By it, the hypervolume of the front that a search had found by
each candidate is compared with that of random search with the same seed. Writes searches.md and searches.png.
"""

from pathlib import Path

import pandas as pd
import seaborn as sns

from dynacp.pictures import new_figure, save_figure
from dynacp.student.architecture import Architecture
from nas.space.features import features
from nas.strategy.pareto import front, hypervolume
from nas.strategy.surrogate import Surrogate
from studies.samplers.run import CANDIDATES, ROWS
from studies.sharing import reach

HERE, MACS, CHANCE = Path(__file__).parent, 30e6, "random"


def main() -> None:
    table = judged(ROWS.read())
    whole = table.groupby(["sampler", "seed"]).filter(lambda search: len(search) == CANDIDATES)
    grown = whole.groupby(["sampler", "seed"], sort=False).apply(growth).reset_index()
    text = compared(grown).to_markdown(index=False)
    (HERE / "searches.md").write_text(text + "\n", encoding="utf-8")
    print(text)
    draw(grown)


def judged(table: pd.DataFrame) -> pd.DataFrame:
    """With the merit that a model of all trainings expects, a column `merit`."""
    once = table.drop_duplicates(["seed", "architecture"])
    level = once[once["number"] < 20].groupby("seed")["training_loss"].mean()  # the first are drawn alike in all
    merits = once["seed"].map(level) - once["training_loss"]
    described = features([Architecture.from_json(text) for text in once["architecture"]])
    means = Surrogate(described, merits.to_numpy()).predict(described).mean
    expected = dict(zip(once["architecture"], means, strict=True))
    return table.assign(merit=table["architecture"].map(expected))


def growth(search: pd.DataFrame) -> pd.DataFrame:
    """By the number of candidates so far: the hypervolume of the front that the search's own scores make, as judged."""
    search = search.sort_values("number")
    points = list(zip(-search["training_loss"], search["macs"], strict=True))
    volumes = []
    for number in range(1, len(points) + 1):
        best = front(points[:number])
        found = [(search["merit"].iloc[index], search["macs"].iloc[index]) for index in best]
        volumes.append(hypervolume(found, reference=(-0.3, MACS)) / MACS)
    return pd.DataFrame({"candidates": range(1, len(points) + 1), "hypervolume": volumes})


def compared(grown: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds; differences from random search, and the share of its cost that reaches its front, by seed."""
    final = grown[grown["candidates"] == CANDIDATES].pivot(index="seed", columns="sampler", values="hypervolume")
    rows = []
    for sampler in final:
        apart = (final[sampler] - final[CHANCE]).dropna()
        shares = pd.Series({seed: share_of_cost(grown, str(sampler), seed, final) for seed in apart.index})
        rows.append(
            {
                "sampler": sampler,
                "searches": len(apart),
                "hypervolume": f"{final[sampler].mean():.4f}",
                "less random's": f"{apart.mean():+.4f} ± {reach(apart):.4f}" if len(apart) > 1 else "",
                "share of random's cost to reach its front": f"{shares.mean():.2f} ± {reach(shares):.2f}",
            }
        )
    return pd.DataFrame(rows)


def share_of_cost(grown: pd.DataFrame, sampler: str, seed: int, final: pd.DataFrame) -> float:
    """Candidates that it took to reach the front that random search ends with, over all; 1 where it does not."""
    mine = grown[(grown["sampler"] == sampler) & (grown["seed"] == seed)]
    there = mine[mine["hypervolume"] >= final.loc[seed, CHANCE]]
    return float(there["candidates"].min() / CANDIDATES) if len(there) else 1.0


def draw(grown: pd.DataFrame) -> None:
    figure = new_figure(8, 5)
    axes = figure.subplots()
    sns.lineplot(grown, x="candidates", y="hypervolume", hue="sampler", ax=axes, errorbar=("ci", 95))
    axes.set_title("Hypervolume of the front found, without noise (mean over seeds, 95 %)", loc="left", fontsize=11)
    axes.legend(frameon=False)
    sns.despine(figure)
    save_figure(figure, HERE / "searches.png", dpi=130)


if __name__ == "__main__":
    main()
