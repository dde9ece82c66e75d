"""Which way of proposing finds the best front at equal cost, live? Searches of the field set, on its labels.

    python -m studies.samplers.run --data FIELD --cache CACHE [--shard K/N]
    python -m studies.samplers.compare

Each search proposes as `python -m nas.search` does, one candidate after another, and trains each with 1,024 samples and
the search's one seed. All samplers of a seed share their first candidates, which chance draws, and every training that
was done before. Adds a row for each candidate to candidates.csv, so the command may be stopped and given again; shards
may run side by side, each with one thread.
"""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from budget.limits import Limits
from dynacp.student.architecture import TABLE1, Architecture, with_classes
from dynacp.training.distillation import Distillation
from dynacp.training.loop import one_hot
from nas.designer.links import to_text
from nas.scoring.clips import load_search_data
from nas.scoring.score import SHORT, Scorer, ScoreSettings
from nas.space.network_wide import EVERY
from nas.space.space import Space
from nas.strategy.propose import History, Proposal, Rules, combined_seed, propose
from nas.strategy.samplers import SAMPLERS
from nas.study.candidate import Candidate
from studies.sharing import Rows, share, study_parser

HERE = Path(__file__).parent
ROWS = Rows(HERE / "candidates.csv", ["sampler", "seed", "number"])
SEEDS, CANDIDATES, SAMPLES = range(5), 100, 1_024
COMPARED = ("random", "model", "local", "tpe", "nsga2", "gp")
LABELS = ScoreSettings(replace(SHORT, samples=SAMPLES), Distillation(label_weight=1.0))


@dataclass
class Search:
    """One search, and the trainings of others with its seed."""

    sampler: str
    seed: int
    rules: Rules
    scorer: Scorer

    def run(self) -> None:
        """Propose and train until there are enough candidates, those that are stored taken as they are."""
        done = ROWS.read()
        trained = {row["architecture"]: row for row in done[done["seed"] == self.seed].to_dict("records")}
        mine = done[(done["seed"] == self.seed) & (done["sampler"] == self.sampler)]
        candidates = [self._stored(row) for row in mine.sort_values("number").to_dict("records")]
        for number in range(len(candidates), CANDIDATES):
            proposal = self._proposed(candidates)
            text = to_text(proposal.architecture)
            training = self._training(trained.get(text), proposal.architecture)
            key = {"sampler": self.sampler, "seed": self.seed, "number": number}
            cost = {"macs": proposal.cost.macs, "bytes": proposal.cost.bytes, "proposing": proposal.seconds}
            ROWS.keep({**key, **cost, **training, "architecture": text})
            candidates.append(self._candidate(number, proposal, training))

    def _proposed(self, candidates: list[Candidate]) -> Proposal:
        if not candidates:
            return Proposal.of(self.rules.space.frame, self.rules)
        scored, seen = [each.as_scored for each in candidates], {each.architecture for each in candidates}
        history = History(len(candidates), scored=scored, seen=seen)
        return propose(SAMPLERS[self.sampler], self.rules, history, seed=self.seed)

    def _training(self, known: Mapping[Any, Any] | None, architecture: Architecture) -> dict[str, float]:
        """The statistics of the architecture's training, `known` where it was trained before with this seed."""
        if known is not None:
            return {name: known[name] for name in ("training_loss", "late_loss", "accuracy", "seconds")}
        score = asdict(self.scorer(architecture, seed=combined_seed(self.seed, SAMPLES), samples=SAMPLES))
        return {name: score[name] for name in ("training_loss", "late_loss", "accuracy", "seconds")}

    def _stored(self, row: Mapping[Any, Any]) -> Candidate:
        proposal = Proposal.of(Architecture.from_json(row["architecture"]), self.rules)
        training = {name: row[name] for name in ("training_loss", "late_loss", "accuracy", "seconds")}
        return self._candidate(row["number"], proposal, training)

    def _candidate(self, number: int, proposal: Proposal, training: Mapping[str, float]) -> Candidate:
        return Candidate.trained(number, self.rules, proposal, samples=SAMPLES, training={**training, "seed": 0})


def main() -> None:
    options = study_parser(__doc__, teachers=False).parse_args()
    torch.set_num_threads(1)
    data = load_search_data(options.data, seed=0, cache=options.cache, device=torch.device("cpu"))
    scorer = Scorer(data, one_hot(data.labels, len(data.classes)), LABELS)
    rules = Rules(Space(with_classes(TABLE1, len(data.classes)), network_wide=EVERY), Limits(), "float16")
    for sampler, seed in share([(sampler, seed) for sampler in COMPARED for seed in SEEDS], options):
        started = time.perf_counter()
        Search(sampler, seed, rules, scorer).run()
        print(f"{sampler}, seed {seed}: {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
