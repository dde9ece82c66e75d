"""Does it pay to stop trainings halfway? Replays over the reference trainings that studies.score.run has stored.

    python -m studies.score.stopping

Draws architectures of the pocket set at random and spends the same number of training samples on them in three ways:
whole trainings; twice as many at half of the length; or all to the half, and the better half of them to the end. Writes
stopping.md beside this file.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from nas.space.counting import count
from nas.strategy.pareto import front, hypervolume, ranking
from studies.fidelity.run import FULL as DISTILLED
from studies.pool.run import read_pool
from studies.score.compare import statistics
from studies.score.run import SEEDS, SHORT

HERE = Path(__file__).parent
REPEATS = 2_000
BUDGETS = (12, 18, 24)
"""Of a replay, in whole trainings."""

REFERENCE = 0.5, 30e6
"""The accuracy of a full training and the MACs that the hypervolume of a front is measured from."""

AREA = (1 - REFERENCE[0]) * REFERENCE[1]
"""That of a front which holds a perfect network without MACs."""

Chosen = Callable[[pd.DataFrame, int], list[int]]
"""The rows of a shuffled table that a way of spending a budget puts on its front."""


def whole(drawn: pd.DataFrame, budget: int) -> list[int]:
    """All trained to the end."""
    return on_front(drawn[:budget], "training loss, mean")


def halves(drawn: pd.DataFrame, budget: int) -> list[int]:
    """Twice as many, judged by the first half of their training."""
    return on_front(drawn[: 2 * budget], "training loss, first half")


def stopped(drawn: pd.DataFrame, budget: int) -> list[int]:
    """As many as can be paid for if the worse half stops halfway, by layers of the Pareto front."""
    begun = drawn[: budget * 4 // 3]
    points = list(zip(begun["training loss, first half"], begun["macs"], strict=True))
    worst = min(merit for merit, _ in points), REFERENCE[1]
    going = ranking(points, reference=worst)[: len(begun) // 2]
    return on_front(begun.iloc[going], "training loss, mean")


def on_front(trained: pd.DataFrame, merit: str) -> list[int]:
    points = list(zip(trained[merit], trained["macs"], strict=True))
    return [trained.index[index] for index in front(points)]


def main() -> None:
    ways: dict[str, Chosen] = {
        "whole trainings": whole,
        "twice as many halves": halves,
        "the worse half stops": stopped,
    }
    table, rng = known(), np.random.default_rng(0)
    rows = []
    for budget in BUDGETS:
        for _ in range(REPEATS):
            of_seed = table[table["seed"] == rng.choice(SEEDS)].set_index("layout")
            drawn = of_seed.iloc[rng.permutation(len(of_seed))]
            for name, way in ways.items():
                best = drawn.loc[way(drawn, budget)]
                volume = hypervolume(list(zip(best["truth"], best["macs"], strict=True)), reference=REFERENCE)
                accuracy = best["truth"].iloc[int(np.argmax(best["macs"]))]
                rows.append({"budget": budget, "way": name, "hypervolume": volume / AREA, "accuracy": accuracy})
    means = pd.DataFrame(rows).pivot_table(index="way", columns="budget", sort=False)
    means.columns = means.columns.map("{0[0]}, {0[1]}".format)
    text = means.to_markdown(floatfmt=".3f")
    (HERE / "stopping.md").write_text(text + "\n", encoding="utf-8")
    print(text)


def known() -> pd.DataFrame:
    """A row per architecture and seed: what its reference training says of it, its MACs, its full accuracy."""
    short = SHORT.read()
    trained = statistics(short[(short["set"] == "pocket") & (short["variant"] == "reference")])
    truth = DISTILLED.read().set_index("layout")["accuracy"]
    macs = pd.Series(count(read_pool()).macs)
    trained = trained[trained["layout"].isin(truth.index)]
    return trained.assign(truth=trained["layout"].map(truth), macs=trained["layout"].map(macs))


if __name__ == "__main__":
    main()
