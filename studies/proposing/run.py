"""Proposals that fit: TPE with rejection, and TPE whose choices are moved to what fits.

    python -m studies.proposing.run

Searches of 100 trials on a made-up landscape: a random forest fitted to the scores of the pool's 157 architectures with
2,048 samples (../pool), plus the noise between seeds that was measured there. No network is trained, so what is
compared is the proposing alone. Writes searches.csv (a row per search) beside this file. Its third row by seed, TPE
that was told of rejections, is of code that is gone: it brought too little (README.md).
"""

from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.samplers import TPESampler
from sklearn.ensemble import RandomForestRegressor

from budget.limits import Limits
from dynacp.student.architecture import TABLE1, Architecture
from nas.scoring.score import SAMPLES
from nas.space.counting import count
from nas.space.feasible import Feasible
from nas.space.space import Space
from nas.strategy.pareto import hypervolume
from nas.strategy.propose import DIRECTIONS, History, Proposal, ProposalContext, Rules, Sampler, propose
from nas.strategy.samplers import STARTUP_TRIALS
from nas.study.candidate import Candidate
from studies.optunas import PROPOSALS, as_trial, tpe
from studies.replay.run import Pool, describe
from studies.sharing import reach

HERE = Path(__file__).parent
TRIALS, SEEDS = 100, range(20)
REJECTION = "rejection"
"""What the search does."""

NOISE = 0.045
"""Standard deviation between seeds of one architecture of the pool with 2,048 samples."""


def moved(feasible: Feasible) -> Sampler:
    """TPE, whose choices, the first random ones too, are moved to the nearest ones that fit."""

    def sampler(context: ProposalContext) -> Proposal | None:
        study = optuna.create_study(
            directions=DIRECTIONS,
            sampler=TPESampler(n_startup_trials=STARTUP_TRIALS, multivariate=True, seed=context.seed),
        )
        study.add_trials([as_trial(feasible.space, each) for each in context.history.scored])
        for _ in range(PROPOSALS):
            trial = study.ask(feasible.space.distributions())
            if proposal := context.consider(feasible.nearest(trial.params)):
                return proposal
        return None

    return sampler


def searched(sampler: Sampler, rules: Rules, landscape: RandomForestRegressor, seed: int) -> dict[str, float]:
    """One search of the landscape: what it found and what proposing took."""
    rng, done, seen, started = (
        np.random.default_rng(seed),
        list[Candidate](),
        dict[Architecture, float](),
        perf_counter(),
    )
    while len(done) < TRIALS:
        if done:
            history = History(len(done), [candidate.as_scored for candidate in done], seen)
            proposal = propose(sampler, rules, history, seed=seed)
        else:
            proposal = Proposal.of(TABLE1, rules)
        truth = float(landscape.predict([describe(proposal.architecture)])[0])
        seen[proposal.architecture] = truth
        training = {"accuracy": truth + rng.normal(0, NOISE)}
        done.append(Candidate.trained(len(done), rules, proposal, samples=1, training=training))
    rejected, duplicates = (sum(candidate[name] for candidate in done) for name in ("rejected", "duplicates"))
    costs = count(list(seen)).macs
    points = [(truth, macs / 30e6) for truth, macs in zip(seen.values(), costs, strict=True)]
    return {
        "proposals": TRIALS - 1 + rejected + duplicates,
        "share that fit": 1 - rejected / (TRIALS - 1 + rejected + duplicates),
        "duplicates": duplicates,
        "seconds per candidate": (perf_counter() - started) / (TRIALS - 1),
        "true hypervolume": hypervolume(points, reference=(0.1, 1.0)),
        "best true accuracy": max(seen.values()),
        "median MMACs": float(np.median(costs)) / 1e6,
        "mean blocks": float(np.mean([len(network.blocks) for network in seen])),
        "halvings in the last block": float(
            np.mean([sum(step - 1 for step in network.blocks[-1].stride) for network in seen])
        ),
    }


def main() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pool = Pool()
    landscape = RandomForestRegressor(300, min_samples_leaf=3, random_state=0, n_jobs=1)
    landscape.fit([describe(layout) for layout in pool.layouts], pool.scores[SAMPLES])
    rules, file = Rules(Space(), Limits(), "float16"), HERE / "searches.csv"
    feasible = Feasible(rules.space, rules.limits)
    feasible.allows(rules.space.max_blocks)  # the tables, once for a search
    rows: list[Any] = pd.read_csv(file).to_dict("records") if file.exists() else []
    done = {(row["proposals by"], row["seed"]) for row in rows}
    for seed in SEEDS:
        for name, sampler in ((REJECTION, tpe), ("moved to what fits", moved(feasible))):
            if (name, seed) not in done:
                rows.append({"proposals by": name, "seed": seed, **searched(sampler, rules, landscape, seed)})
                print(rows[-1], flush=True)
                pd.DataFrame(rows).to_csv(file, index=False, float_format="%.5g")
    print(compared(pd.DataFrame(rows)))


def compared(searches: pd.DataFrame) -> str:
    """Means, and differences from the search's default by seed with 95 % intervals (Student's t), as Markdown."""
    of_seed = searches.pivot(index="seed", columns="proposals by")
    table = searches.drop(columns="seed").groupby("proposals by").mean().T
    for name in table.columns.drop(REJECTION):
        for figure in table.index:
            apart = of_seed[figure][name] - of_seed[figure][REJECTION]
            table.loc[figure, f"{name}, difference"] = f"{apart.mean():+.3g} ± {reach(apart):.2g}"
    return table.to_markdown(floatfmt=".4g")


if __name__ == "__main__":
    main()
