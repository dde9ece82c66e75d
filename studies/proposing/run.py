"""Proposals that fit: TPE with rejection, TPE that is told of rejections, and TPE whose choices are moved to what fits.

    python studies/proposing/run.py

Searches of 100 trials on a made-up landscape: a random forest fitted to the pocket search's 100 scores (../pocket),
plus the noise between seeds that was measured there. No network is trained, so what is compared is the proposing alone.
Writes searches.csv (a row per search) beside this file.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
from optuna._hypervolume import compute_hypervolume
from optuna.trial import FrozenTrial, create_trial
from scipy.stats import t
from sklearn.ensemble import RandomForestRegressor

from budget.limits import Limits
from dynacp.architecture import TABLE1, Architecture
from nas import propose
from nas.counting import count
from nas.feasible import Feasible
from nas.propose import Proposal, Proposer, _Asking
from nas.space import Space
from nas.store import Store, architecture_of

HERE = Path(__file__).parent
TRIALS, SEEDS = 100, range(20)
TOLD = "rejection, told"
"""As the search proposes."""

NOISE = 0.040
"""Standard deviation between seeds on the pocket set."""


def features(network: Architecture) -> list[float]:
    """What the landscape depends on: MACs, parameters, depth, and what each block does."""
    parameters, macs = count([network])[0].tolist()
    strides = np.array([block.stride for block in network.blocks])
    halvings = [np.cumsum(strides[:, axis] - 1).mean() for axis in (0, 1)]
    dilated = np.mean([block.dilation for block in network.blocks])
    plain = np.mean([block.residual == 1 for block in network.blocks])
    widest = max(block.out for block in network.blocks)
    return [macs, parameters, len(network.blocks), *halvings, dilated, plain, widest, network.blocks[-1].out]


@dataclass(frozen=True)
class Nearest(Proposer):
    """Moves what the sampler proposes to the nearest choices that fit."""

    feasible: Feasible | None = None

    def _asking(self, trained, told):
        asking = super()._asking(trained, told)
        return _Moved(asking.proposer, asking.study, asking.proposals, asking.rng)


class _Moved(_Asking):
    def from_sampler(self, seen):
        assert isinstance(self.proposer, Nearest) and self.proposer.feasible is not None
        for _ in range(self.proposals):
            trial = self.study.ask(self.proposer.space.distributions())
            choices = self.proposer.feasible.nearest(trial.params)
            architecture = self.proposer.space.decode(choices)
            if architecture not in seen:
                return self._proposal(architecture, choices, {})
            self.duplicates += 1
        return None


def searched(proposer: Proposer, landscape: RandomForestRegressor, seed: int) -> dict[str, float]:
    """One search of the landscape: what it found and what proposing took."""
    rng, space = np.random.default_rng(seed), proposer.space
    trained: list[FrozenTrial] = []
    told: list[dict[str, object]] = []
    seen: dict[Architecture, float] = {}
    proposal, rejected, duplicates, started = Proposal(TABLE1, space.encode(TABLE1), {}), 0, 0, time.perf_counter()
    while True:
        truth = float(landscape.predict([features(proposal.architecture)])[0])
        macs = proposer.cost(proposal.architecture)["macs"]
        seen[proposal.architecture] = truth
        trained.append(
            create_trial(
                values=[truth + rng.normal(0, NOISE), macs],
                params=proposal.choices,
                distributions=space.distributions(),
                constraints=proposer.violations(proposal.architecture),
            )
        )
        told += proposal.told
        rejected, duplicates = rejected + proposal.rejected, duplicates + proposal.duplicates
        if len(trained) == TRIALS:
            break
        proposal = proposer.propose(trained, told, seen)
    costs = count(list(seen))[:, 1]
    points = np.array([(-truth, macs / 30e6) for truth, macs in zip(seen.values(), costs, strict=True)])
    return {
        "proposals": TRIALS - 1 + rejected + duplicates,
        "share that fit": 1 - rejected / (TRIALS - 1 + rejected + duplicates),
        "duplicates": duplicates,
        "seconds per candidate": (time.perf_counter() - started) / (TRIALS - 1),
        "true hypervolume": compute_hypervolume(points[points[:, 0] < -0.1], np.array([-0.1, 1.0])),
        "best true accuracy": max(seen.values()),
        "median MMACs": float(np.median(costs)) / 1e6,
        "mean blocks": float(np.mean([len(network.blocks) for network in seen])),
        "halvings in the last block": float(
            np.mean([sum(step - 1 for step in network.blocks[-1].stride) for network in seen])
        ),
    }


def main() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    known = Store.open("pocket").trials
    landscape = RandomForestRegressor(300, min_samples_leaf=3, random_state=0, n_jobs=1)
    landscape.fit([features(architecture_of(trial)) for trial in known], [trial.values[0] for trial in known])
    space, limits, file = Space(), Limits(), HERE / "searches.csv"
    feasible = Feasible(space, limits)
    feasible.allows(feasible.start, space.max_blocks, *feasible.budget)  # the tables, once for a search
    rows = pd.read_csv(file).to_dict("records") if file.exists() else []
    done = {(row["proposals by"], row["seed"]) for row in rows}
    for seed in SEEDS:
        plan = (space, limits, "float16", "tpe", seed)
        for name, told, proposer in (
            (TOLD, 4, Proposer(*plan)),
            ("rejection", 0, Proposer(*plan)),
            ("moved to what fits", 0, Nearest(*plan, feasible)),
        ):
            propose.TOLD_PER_CANDIDATE = told
            if (name, seed) not in done:
                rows.append({"proposals by": name, "seed": seed, **searched(proposer, landscape, seed)})
                print(rows[-1], flush=True)
                pd.DataFrame(rows).to_csv(file, index=False, float_format="%.5g")
    print(compared(pd.DataFrame(rows)))


def compared(searches: pd.DataFrame) -> str:
    """Means, and differences from the search's default by seed with 95 % intervals (Student's t), as Markdown."""
    of_seed = searches.pivot(index="seed", columns="proposals by")
    table = searches.drop(columns="seed").groupby("proposals by").mean().T
    for name in table.columns.drop(TOLD):
        for figure in table.index:
            apart = of_seed[figure][name] - of_seed[figure][TOLD]
            reach = t.ppf(0.975, len(apart) - 1) * apart.sem()
            table.loc[figure, f"{name}, difference"] = f"{apart.mean():+.3g} ± {reach:.2g}"
    return table.to_markdown(floatfmt=".4g")


if __name__ == "__main__":
    main()
