"""Which way of searching finds the best front at equal cost: searches replayed over the pool of trained architectures.

    python -m studies.replay.run

No network is trained: a training of an architecture with so many samples costs those samples and gives the score in
../pool/scores.csv. A search may choose among the pool's architectures alone, each once: what a sampler proposes stands
for the architecture of the pool that is nearest to it and not taken yet. What a search found is the front of its own
scores, judged by other trainings of the same architectures, those with 8,192 samples, in two ways: by their
hypervolume, which takes the best of noisy judgements and so favours long fronts, and by the accuracy of what the search
itself would pick from its front under a limit of MACs, in the mean over all limits. Writes replays.csv (a row per
search and cost), and replays.md and replays.png from it.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import seaborn as sns

from budget.ledger import totals
from budget.limits import Limits
from dynacp.pictures import new_figure, save_figure
from dynacp.student.architecture import Architecture
from dynacp.student.layers import layers_of
from nas.space.counting import count
from nas.space.space import Space
from nas.strategy.pareto import front, hypervolume
from nas.strategy.propose import History, Proposal, Rules, Scored, propose
from studies.optunas import COMPARED
from studies.pool.run import SCORES, read_pool
from studies.replay.halving import climbs
from studies.sharing import reach

HERE = Path(__file__).parent
JUDGED = 8_192
SEEDS = range(20)
COSTS = (25_000, 50_000, 75_000, 100_000)
"""Training samples that a search may spend: from 12 to 48 trainings with 2,048, a third of the pool."""

REFERENCE = (0.1, 30e6)
RULES = Rules(Space(), Limits(), "float16")

LADDERS = {
    "1,024": (1_024,),
    "2,048": (2_048,),
    "4,096": (4_096,),
    "1,024 to 4,096": (1_024, 2_048, 4_096),
    "2,048 to 4,096": (2_048, 4_096),
    "512 to 2,048": (512, 1_024, 2_048),
}
"""Training samples at each rung: one rung is a search without early stopping. (512 alone score like chance.)"""


MEASURES = {"hypervolume": "judged hypervolume", "picked": "judged accuracy of the pick"}


class Pool:
    """Layouts, their costs, and a score at each rung."""

    def __init__(self) -> None:
        layouts, scores = read_pool(), pd.read_csv(SCORES)
        scores = scores[scores["seed"] == 0].pivot(index="layout", columns="samples", values="accuracy").dropna()
        self.scores = {samples: column.to_numpy(float) for samples, column in scores.items()}
        self.layouts = [layouts[index] for index in scores.index]
        self.macs = count(self.layouts).macs
        described = np.array([describe(layout) for layout in self.layouts])
        self._centre, self._spread = described.mean(axis=0), described.std(axis=0)
        self._places = (described - self._centre) / self._spread

    def nearest(self, layout: Architecture, taken: set[int]) -> int:
        """The architecture of the pool that is most like this one and not taken."""
        apart = np.linalg.norm(self._places - (np.array(describe(layout)) - self._centre) / self._spread, axis=1)
        apart[list(taken)] = np.inf
        return int(np.argmin(apart))

    def judged(self, chosen: list[int]) -> float:
        """Hypervolume by the trainings that no search has seen, as a share of the box."""
        points = [(float(self.scores[JUDGED][index]), float(self.macs[index])) for index in chosen]
        return share_of_box(points)

    def picked(self, chosen: list[int]) -> float:
        return picked(self.macs[chosen], self.scores[JUDGED][chosen])


def share_of_box(points: list[tuple[float, float]]) -> float:
    """Hypervolume of (accuracy, MACs), as a share of all that could be reached."""
    return hypervolume(points, reference=REFERENCE) / ((1 - REFERENCE[0]) * REFERENCE[1])


def picked(macs: np.ndarray, judged: np.ndarray) -> float:
    """Judged accuracy of the dearest of a front (by MACs) below a limit, in the mean over limits; else chance."""
    reach = np.diff(np.minimum([*macs, REFERENCE[1]], REFERENCE[1])) / REFERENCE[1]
    return float(REFERENCE[0] + (judged - REFERENCE[0]) @ reach)


def describe(layout: Architecture) -> list[float]:
    """What makes two architectures alike: cost, depth, and how early and by what each block shrinks, widens and
    dilates."""
    parameters, macs, _ = map(int, totals(layers_of(layout)))
    strides = np.array([block.stride for block in layout.blocks])
    halvings = [np.cumsum(strides[:, axis] - 1).mean() for axis in (0, 1)]
    dilated = np.mean([block.dilation for block in layout.blocks])
    plain = np.mean([block.residual == 1 for block in layout.blocks])
    ratio = np.mean([block.expanded / block.out for block in layout.blocks])
    return [
        np.log(macs),
        np.log(parameters),
        len(layout.blocks),
        *halvings,
        dilated,
        plain,
        ratio,
        layout.blocks[-1].out,
    ]


@dataclass
class Replayed:
    """A candidate of a replayed search, as far as climbing goes."""

    number: int
    index: int
    macs: int
    proposal: Proposal
    scores: dict[int, float] = field(default_factory=dict)
    stopped: bool = False


def replay(pool: Pool, sampler: str, rungs: tuple[int, ...], seed: int) -> Iterator[tuple[int, list[int]]]:
    """One search; yields the samples spent so far and the front of its own scores, after each candidate."""
    candidates, spent, taken = list[Replayed](), 0, set[int]()
    while len(taken) < len(pool.layouts):
        index, proposal = _propose(pool, sampler, candidates, taken, seed)
        taken.add(index)
        candidate = Replayed(len(candidates), index, int(pool.macs[index]), proposal)
        for samples in rungs:
            if not _trains_on(candidate, candidates):
                candidate.stopped = True
                break
            candidate.scores[samples] = float(pool.scores[samples][index])
            spent += samples
        candidates.append(candidate)
        finished = [each for each in candidates if not each.stopped]
        best = front([(each.scores[rungs[-1]], each.macs) for each in finished])
        yield spent, [finished[place].index for place in best]


def _trains_on(candidate: Replayed, earlier: list[Replayed]) -> bool:
    """Whether it trains at its next rung. The first always does, and everyone at the first one."""
    if not earlier or not candidate.scores:
        return True
    rung = max(candidate.scores)
    there = [(each.scores[rung], each.macs) for each in earlier if rung in each.scores]
    return climbs(there, (candidate.scores[rung], candidate.macs), reference=REFERENCE)


def _propose(pool: Pool, sampler: str, candidates: list[Replayed], taken: set[int], seed: int) -> tuple[int, Proposal]:
    """Table 1, then what the sampler proposes, moved to the pool."""
    if not candidates:
        return 0, Proposal.of(pool.layouts[0], RULES)
    scored = [_scored(each) for each in candidates]
    history = History(len(candidates), scored, {pool.layouts[index] for index in taken})
    proposal = propose(COMPARED[sampler], RULES, history, seed=seed)
    index = pool.nearest(proposal.architecture, taken)
    return index, Proposal.of(pool.layouts[index], RULES)


def _scored(each: Replayed) -> Scored:
    return Scored(each.proposal.architecture, each.scores[max(each.scores)], each.macs, fits=True)


def searched(pool: Pool, sampler: str, ladder: str, seed: int) -> list[dict[str, object]]:
    """A row per cost: the judged hypervolume of what was found, and how many candidates that took."""
    rows, found, trained = [], list[int](), 0
    costs = list(COSTS)
    for spent, best in replay(pool, sampler, LADDERS[ladder], seed):
        while costs and spent > costs[0]:
            rows.append(_row(pool, sampler, ladder, seed, costs.pop(0), found, trained))
        if not costs:
            return rows
        found, trained = best, trained + 1
    return [*rows, *(_row(pool, sampler, ladder, seed, cost, found, trained) for cost in costs)]


def _row(
    pool: Pool, sampler: str, ladder: str, seed: int, cost: int, found: list[int], trained: int
) -> dict[str, object]:
    return {
        "sampler": sampler, "rungs": ladder, "seed": seed, "samples": cost, "candidates": trained, "found": len(found),
        "hypervolume": pool.judged(found), "picked": pool.picked(found),
    }  # fmt: skip


def compared(replays: pd.DataFrame, *, against: tuple[str, str], samples: int) -> pd.DataFrame:
    """Means at one cost, and differences from one strategy, seed by seed, with 95 % intervals (Student's t)."""
    at_cost = replays[replays["samples"] == samples]
    rows = []
    for strategy, searches in at_cost.groupby(["sampler", "rungs"], sort=False):
        row = {"sampler": strategy[0], "rungs": strategy[1]}
        row |= {name: f"{searches[name].mean():.1f}" for name in ("candidates", "found")}
        for measure in MEASURES:
            table = at_cost.pivot(index="seed", columns=["sampler", "rungs"], values=measure)
            apart = table[strategy] - table[against]
            row[measure] = f"{table[strategy].mean():.4f}"
            row[f"{measure}, difference"] = "" if strategy == against else f"{apart.mean():+.4f} ± {reach(apart):.4f}"
        rows.append(row)
    return pd.DataFrame(rows).sort_values("picked", ascending=False)


def draw(replays: pd.DataFrame) -> None:
    samplers = [name for name in ("random", "tpe", "nsga2", "local") if name in set(replays["sampler"])]
    figure = new_figure(11, 6.2)
    panels = figure.subplots(2, len(samplers), sharex=True, sharey="row", squeeze=False)
    for (row, (measure, label)), (column, sampler) in product(enumerate(MEASURES.items()), enumerate(samplers)):
        axes, rows = panels[row, column], replays[replays["sampler"] == sampler]
        sns.lineplot(
            rows.assign(thousands=rows["samples"] / 1e3), x="thousands", y=measure, ax=axes, marker="o", seed=0,
            hue="rungs", hue_order=list(LADDERS), errorbar=("ci", 95), legend=bool(row == 0 and axes is panels[0, -1]),
        )  # fmt: skip
        if row == 0:
            axes.set_title(sampler, loc="left", weight="bold")
        axes.set(xlabel="thousand samples", ylabel=label)
        axes.grid(alpha=0.25)
    sns.move_legend(panels[0, -1], "upper left", bbox_to_anchor=(1, 1), frameon=False, title="rungs")
    sns.despine(figure)
    save_figure(figure, HERE / "replays.png", dpi=140)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samplers", nargs="+", default=["random", "local", "tpe"])
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    pool, file = Pool(), HERE / "replays.csv"
    rows: list[Any] = pd.read_csv(file).to_dict("records") if file.exists() else []
    done = {(row["sampler"], row["rungs"], row["seed"]) for row in rows}
    for sampler in options.samplers:
        for ladder in LADDERS:
            for seed in SEEDS:
                if (sampler, ladder, seed) not in done:
                    rows += searched(pool, sampler, ladder, seed)
            pd.DataFrame(rows).to_csv(file, index=False, float_format="%.5f")
            print(f"{sampler}, {ladder}: done", flush=True)
    replays = pd.DataFrame(rows)
    draw(replays)
    tables = []
    for cost in COSTS:
        table = compared(replays, against=("tpe", "2,048"), samples=cost)
        tables.append(f"At {cost:,} samples:\n\n{table.to_markdown(index=False)}\n")
    (HERE / "replays.md").write_text("\n".join(tables), encoding="utf-8")
    print("\n".join(tables))


if __name__ == "__main__":
    main()
