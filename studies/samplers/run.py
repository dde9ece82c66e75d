"""Which way of proposing finds the best front at equal cost, live? Searches of the field set, on its labels.

    python -m studies.samplers.run --data FIELD --cache CACHE [--shard K/N]
    python -m studies.samplers.again --data FIELD --cache CACHE [--shard K/N]
    python -m studies.samplers.compare

Each search proposes as `python -m nas.search` does, one candidate after another, and trains each with 1,024 samples and
the search's one seed. All samplers of a seed share their first candidates, which chance draws, and every training that
was done before. Adds a row for each candidate to candidates.csv, so the command may be stopped and given again; shards
may run side by side, each with one thread.
"""

import argparse
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from budget.limits import Limits
from dynacp.student.architecture import TABLE1, Architecture, with_classes
from dynacp.training.distillation import Distillation
from dynacp.training.loop import one_hot
from nas.designer.links import to_text
from nas.scoring.clips import load_search_data
from nas.scoring.score import Scorer, ScoreSettings, finite_losses
from nas.space.network_wide import EVERY
from nas.space.space import Space
from nas.strategy.propose import History, Proposal, Rules, Scored, combined_seed, propose
from studies.optunas import COMPARED
from studies.sharing import UNVIEWED, Rows, share, study_parser

HERE = Path(__file__).parent
ROWS = Rows(HERE / "candidates.csv", ["sampler", "seed", "number"])
SEEDS, SAMPLES = range(5), 1_024
CANDIDATES = {"random": 200, "model": 100, "local": 100, "tpe": 100}
"""By the name of a sampler: random search goes on to the default number of `python -m nas.search`."""

EARLIER = {"thompson": 100}
"""Samplers whose searches are in the table, but which are gone."""

CLASSES = 10
RULES = Rules(Space(with_classes(TABLE1, CLASSES), network_wide=EVERY), Limits(), "float16")
STATISTICS = ("training_loss", "late_loss", "seconds")
LABELS = ScoreSettings(replace(UNVIEWED, samples=SAMPLES), Distillation(label_weight=1.0))


@dataclass(frozen=True)
class Trainer:
    """Trains as a search does, but validates nothing, which saves a third: no sampler reads accuracies."""

    scorer: Scorer

    @classmethod
    def on(cls, options: argparse.Namespace) -> "Trainer":
        """On the data of a command line, with one thread."""
        torch.set_num_threads(1)
        data = load_search_data(options.data, seed=0, cache=options.cache, device=torch.device("cpu"))
        return cls(Scorer(data, one_hot(data.labels, CLASSES), LABELS))

    def __call__(self, architecture: Architecture, *, seed: int) -> dict[str, float]:
        """The statistics of one training, by name."""
        started, recipe = time.perf_counter(), LABELS.recipe
        _, losses = self.scorer.distil(architecture, recipe, seed=seed)
        counted = finite_losses(losses, recipe.steps)
        return {
            "training_loss": float(counted.mean()),
            "late_loss": float(counted[recipe.steps // 2 :].mean()),
            "seconds": time.perf_counter() - started,
        }


def search(sampler: str, seed: int, trainer: Trainer) -> None:
    """Propose and train until there are enough candidates; what is stored of them is taken as it is."""
    done = ROWS.read()
    done = done[done["seed"] == seed]
    known = {row["architecture"]: {name: row[name] for name in STATISTICS} for row in done.to_dict("records")}
    mine = done[done["sampler"] == sampler].sort_values("number")
    scored = [
        Scored(Architecture.from_json(row["architecture"]), -row["training_loss"], row["macs"], fits=True)
        for row in mine.to_dict("records")
    ]
    for number in range(len(scored), CANDIDATES[sampler]):
        proposal = _proposed(sampler, scored, seed)
        text, macs = to_text(proposal.architecture), int(proposal.cost.macs)
        training = known.get(text) or trainer(proposal.architecture, seed=combined_seed(seed, SAMPLES))
        key = {"sampler": sampler, "seed": seed, "number": number}
        cost = {"macs": macs, "bytes": proposal.cost.bytes, "proposing": proposal.seconds}
        ROWS.keep({**key, **cost, **training, "architecture": text})
        scored.append(Scored(proposal.architecture, -training["training_loss"], macs, fits=True))


def _proposed(sampler: str, scored: list[Scored], seed: int) -> Proposal:
    if not scored:
        return Proposal.of(RULES.space.frame, RULES)
    history = History(len(scored), scored, {each.architecture for each in scored})
    return propose(COMPARED[sampler], RULES, history, seed=seed)


def main() -> None:
    options = study_parser(__doc__, teachers=False).parse_args()
    trainer = Trainer.on(options)
    for sampler, seed in share([(sampler, seed) for sampler in CANDIDATES for seed in SEEDS], options):
        started = time.perf_counter()
        search(sampler, seed, trainer)
        print(f"{sampler}, seed {seed}: {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
