"""Does what a search recommends hold on recordings that no search has heard? Full trainings, judged on the test split.

    python -m studies.claim.run --search field-0 --data FIELD --mn mn04_as_mAP_432.pt --cache CACHE [--shard K/N]

Trains the finalists of a committed search of the field set and Table 1 with the search's teachers on the whole training
split, with seeds that all share and no search has used. Adds a row for each training to trained.csv, so the command may
be stopped and given again, and shards may run side by side, each with one thread. Writes NAME.md for the search NAME;
its recommendation stands behind Table 1.
"""

import argparse
import time
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from dynacp.overrides import restored
from dynacp.training.distillation import Distillation
from nas.export import pick
from nas.results.finalists import finalists
from nas.scoring.clips import SearchData, load_search_data
from nas.scoring.score import SHORT, TEACHERS, Scorer, ScoreSettings
from nas.strategy.propose import combined_seed
from nas.study.candidate import Candidate
from nas.study.store import Store
from studies.in_full import TestSplit, summary
from studies.sharing import Rows, share, study_parser

HERE = Path(__file__).parent
SEEDS, EPOCHS = range(5), (6, 20)
MARK = 2_026
"""Marks the seeds of these trainings, so that no search has used them."""

BATCH = 32
"""Of a full training; all else but its length is as in the search."""


def main() -> None:
    parser = study_parser(__doc__)
    parser.add_argument("--search", required=True, help="the study's name")
    options = parser.parse_args()
    store = Store.open(options.search)
    data = load_search_data(
        options.data, seed=store.settings.identity["seed"], cache=options.cache, device=torch.device("cpu")
    )
    rows = Rows(HERE / "trained.csv", ["search", "epochs", "network", "seed"])
    test = TestSplit(options.data, data.front_end, options.cache)
    entered = candidates(store)
    scorer = teaching(options, data, store)
    torch.set_num_threads(1)
    first, rest = entered[:2], entered[2:]
    jobs = [job for epochs in EPOCHS for some in (first, rest) for job in product([epochs], some, SEEDS)]
    for epochs, each, seed in share(jobs, options):
        if (options.search, epochs, each.name, seed) not in rows.done():
            started = time.perf_counter()
            recipe = replace(scorer.settings.recipe, batch=BATCH, samples=epochs * len(data.labels))
            network, _ = scorer.distil(each.architecture, recipe, seed=combined_seed(MARK, seed))
            cost = {"macs": each.macs, "bytes": each.bytes}
            key = {"search": options.search, "epochs": epochs, "network": each.name, "seed": seed}
            rows.keep({**key, **cost, **test.judged(network), "seconds": time.perf_counter() - started})
            print(f"{each.name}, {epochs} epochs, seed {seed}: {time.perf_counter() - started:.0f} s", flush=True)
            write(rows.read(), options.search, test)
    print(write(rows.read(), options.search, test))


def write(trained: pd.DataFrame, search: str, test: TestSplit) -> str:
    """Write what the trainings of a search so far say; returns it."""
    text = "\n\n".join(
        f"{epochs} epochs:\n\n{summary(rows, test, reference='Table 1').to_markdown(index=False)}"
        for epochs, rows in trained[trained["search"] == search].groupby("epochs")
    )
    (HERE / f"{search}.md").write_text(text + "\n", encoding="utf-8")
    return text


def candidates(store: Store) -> list[Candidate]:
    """Table 1, what the search recommends, and its other finalists, in this order."""
    recommended = pick(store, "best", float("inf"))
    rest = [entry.candidate for entry in finalists(store)]
    return list({each.number: each for each in (store.candidates[0], recommended, *rest)}.values())


def teaching(options: argparse.Namespace, data: SearchData, store: Store) -> Scorer:
    """What distils as the search did, on all clips; its teachers are fine-tuned anew where the cache lacks them."""
    search, folder = store.settings.identity, options.cache / "teachers"
    told = restored(ScoreSettings(SHORT, Distillation()), search["score"])
    which, cross_fitted = (search["teachers"][name] for name in ("which", "cross_fitted"))
    teachers = replace(TEACHERS, which=which, mn=options.mn, cross_fitted=cross_fitted)
    ensemble = data.ensemble(teachers, seed=search["seed"], folder=folder, on_step=lambda *_: None, views=told.views)
    everything = replace(data, held_out=np.zeros((1, len(data.labels)), dtype=bool))
    return replace(Scorer.from_ensemble(data, ensemble, told), data=everything)


if __name__ == "__main__":
    main()
