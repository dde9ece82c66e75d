"""Do teachers that know little teach anything? Table 1 on the built-in scenes; teachers start from random weights.

    python -m studies.teaching.weak --cache CACHE

Trains in full, as a search's race does: on labels alone, of clips augmented as views are, and as a search teaches; with
seeds that both share, judged on the scenes' test split. Adds a row for each training to weak.csv, so the command may be
stopped and given again, and writes weak.md.
"""

import argparse
from dataclasses import replace
from itertools import product
from pathlib import Path

import torch

from budget.ledger import totals
from dynacp.audio.scenes import write_scenes
from dynacp.student.architecture import TABLE1, with_classes
from dynacp.student.layers import layers_of
from dynacp.teachers.settings import ALL
from nas.scoring.clips import SearchData, load_search_data
from nas.scoring.score import FULL_EPOCHS, SHORT, TEACHERS, Scorer, ScoreSettings
from nas.strategy.propose import combined_seed
from studies.in_full import TestSplit, summary
from studies.sharing import Rows
from studies.teaching.run import LABELS, MARK, SEEDS

HERE = Path(__file__).parent
TRAINED = Rows(HERE / "weak.csv", ["network", "seed"])
ALONE, TAUGHT = "labels alone", "as a search teaches"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True, help="for the scenes, their log-mels, and teachers")
    cache = parser.parse_args().cache
    torch.set_num_threads(1)
    root = write_scenes(cache / "scenes")
    data = load_search_data(root, seed=0, cache=cache, device=torch.device("cpu"))
    test = TestSplit(root, data.front_end, cache)
    recipe = replace(SHORT, samples=FULL_EPOCHS * len(data.training))
    architecture = with_classes(TABLE1, len(data.classes))
    on_labels = Scorer.on_labels(data, ScoreSettings(distillation=LABELS))
    scorers = {ALONE: on_labels, TAUGHT: taught(data, cache / "teachers")}
    for seed, (name, scorer) in product(SEEDS, scorers.items()):
        if (name, seed) not in TRAINED.done():
            network, _ = scorer.distil(architecture, recipe, seed=combined_seed(MARK, seed))
            judged = test.judged(network)
            TRAINED.keep({"network": name, "seed": seed, "macs": totals(layers_of(architecture)).macs, **judged})
            print(f"{name}, seed {seed}: {judged['accuracy']:.1%}", flush=True)
    text = summary(TRAINED.read(), test, reference=ALONE).to_markdown(index=False)
    (HERE / "weak.md").write_text(text + "\n", encoding="utf-8")
    print(text)


def taught(data: SearchData, folder: Path) -> Scorer:
    """What distils as a search does by default, but that all eight teachers speak."""
    settings = ScoreSettings()
    ensemble = data.ensemble(
        replace(TEACHERS, which=ALL), seed=0, folder=folder, on_step=lambda *_: None, views=settings.views
    )
    print(f"teachers: seen {ensemble.seen}, unseen {ensemble.unseen}, {ensemble.accuracies}, {ensemble.accuracy:.1%}")
    return Scorer.from_ensemble(data, ensemble, settings)


if __name__ == "__main__":
    main()
