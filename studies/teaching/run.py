"""What do students learn from teachers, and how should these speak? Trainings judged on the test split.

    python -m studies.teaching.run --data FIELD --mn mn04_as_mAP_432.pt --cache CACHE --network ARCH.json [--shard K/N]

Trains a network on nearly all training clips in every way of `WAYS`, with seeds that all share. Adds a row for each
training to trained.csv, all ways with the first seed before any with the second, so the command may be stopped and
given again, and shards may run side by side, each with one thread. Writes NAME.md for each network NAME. Teachers are
fine-tuned on the same clips, or cross-fitted, when a way first asks for them.
"""

import argparse
import time
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from budget.ledger import totals
from dynacp.audio.augmentation_settings import Augmentation
from dynacp.audio.tau import parts_of_whole_groups, training_clips
from dynacp.student.architecture import Architecture, resolve, with_classes
from dynacp.student.layers import layers_of
from dynacp.student.model import DynaCP
from dynacp.teachers.settings import ALL
from dynacp.training.distillation import Distillation
from dynacp.training.loop import train
from nas.scoring.clips import load_search_data
from nas.scoring.score import TEACHERS, VIEWED, Scorer, ScoreSettings
from nas.strategy.propose import combined_seed
from studies.in_full import TestSplit, summary
from studies.sharing import UNVIEWED, Rows, share, study_parser

HERE = Path(__file__).parent
TRAINED = Rows(HERE / "trained.csv", ["net", "way", "seed"])
SEEDS, EPOCHS, LONG = range(5), 6, 30
MARK = 2_028
"""Marks the seeds of these trainings, so that no search has used them."""

RECALLED = 20
"""Averaged weights look back over one part in so many of a training's steps."""

PARTS = 20
"""One part of so many is for neither teachers nor students."""

RECIPE = replace(UNVIEWED, batch=32)
"""Of a training, but for its length."""

LABELS, SOFT = Distillation(label_weight=1.0), Distillation(label_weight=0.0, temperature=1.0)
TOLD = replace(SOFT, label_weight=0.17)
"""Teachers, and labels for a sixth of the loss."""


@dataclass(frozen=True)
class Way:
    """What students hear, and what they are told of it."""

    name: str
    distillation: Distillation
    which: str = ALL
    cross_fitted: bool = False
    augmentation: Augmentation = RECIPE.augmentation
    epochs: int = EPOCHS


MN, ONE = "mn", "mn-masking-roll"
VIEWS, MORE_VIEWS = replace(SOFT, views=EPOCHS), replace(SOFT, views=2 * EPOCHS)
WAYS = (
    Way("labels", LABELS),
    Way("labels, mixed as views are", LABELS, augmentation=VIEWED),
    Way("four MN, cross-fitted, views", MORE_VIEWS, MN, True, VIEWED),
    Way("four MN, cross-fitted", SOFT, MN, True),
    Way("four MN, cross-fitted, and labels", TOLD, MN, True),
    Way("four MN", SOFT, MN),
    Way("four MN, as a search had them", Distillation(), MN),
    Way("one MN", SOFT, ONE),
    Way("four MN, views", VIEWS, MN, augmentation=VIEWED),
    Way("four MN, cross-fitted, views, T = 2", replace(MORE_VIEWS, temperature=2.0), MN, True, VIEWED),
    Way("four MN, cross-fitted, views, and labels", replace(TOLD, views=2 * EPOCHS), MN, True, VIEWED),
    Way("four MN, cross-fitted, views, and half labels", replace(MORE_VIEWS, label_weight=0.5), MN, True, VIEWED),
    Way("labels, long", LABELS, epochs=LONG),
    Way("labels, mixed as views are, long", LABELS, augmentation=VIEWED, epochs=LONG),
    Way("four MN, cross-fitted, views, long", MORE_VIEWS, MN, True, VIEWED, epochs=LONG),
    Way("eight", SOFT),
    Way("eight, cross-fitted, views", VIEWS, cross_fitted=True, augmentation=VIEWED),
)


def main() -> None:
    parser = network_parser(__doc__)
    names = [way.name for way in WAYS]
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="WAY", help="these ways alone")
    options = parser.parse_args()
    teaching = Teaching(options)
    test = TestSplit(options.data, *teaching.heard)
    architecture = with_classes(options.network, len(teaching.data.classes))
    torch.set_num_threads(1)
    for seed, way in share(product(SEEDS, WAYS), options):
        if way.name in options.only and (options.name, way.name, seed) not in TRAINED.done():
            started = time.perf_counter()
            networks = trained(architecture, teaching.scorer(way), way, seed=combined_seed(MARK, seed))
            took = time.perf_counter() - started
            cost = {"macs": totals(layers_of(architecture)).macs}
            for name, network in networks.items():
                row = {"net": options.name, "way": name, "seed": seed, **cost, **test.judged(network), "seconds": took}
                TRAINED.keep(row)
                print(f"{name}, seed {seed}: {row['accuracy']:.1%}, {took:.0f} s", flush=True)
    told = TRAINED.read().query("net == @options.name").rename(columns={"way": "network"})
    text = summary(told, test, reference="labels").to_markdown(index=False)
    (HERE / f"{options.name}.md").write_text(text + "\n", encoding="utf-8")
    print(text)


def network_parser(description: str | None) -> argparse.ArgumentParser:
    """The options of a study that trains one network."""
    parser = study_parser(description)
    parser.add_argument("--network", type=resolve, required=True, help="table1, or a JSON file")
    parser.add_argument("--name", required=True, help="of the network in the tables")
    return parser


def trained(architecture: Architecture, scorer: Scorer, way: Way, *, seed: int) -> dict[str, nn.Module]:
    """Networks by the names of their rows: that of a way, and the same with averaged weights, from one training."""
    recipe = replace(RECIPE, augmentation=way.augmentation, samples=way.epochs * len(scorer.data.training))
    torch.manual_seed(seed)
    network, examples = DynaCP(architecture), scorer.examples(way.augmentation)
    averaged = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(1 - RECALLED / recipe.steps), use_buffers=True)
    after_step = partial(averaged.update_parameters, network)
    train(network, examples, way.distillation.loss, recipe, seed=seed, after_step=after_step)
    return {f"{way.name}, averaged weights": averaged.module, way.name: network}


class Teaching:
    """The training split, but for the part that tells how well teachers know what they have not seen, and teachers."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        data = load_search_data(options.data, seed=0, cache=options.cache, device=torch.device("cpu"))
        held_out = parts_of_whole_groups(training_clips(options.data), PARTS, seed=0)[:1]
        self.data = replace(data, held_out=held_out, key=f"{data.key} in {PARTS}")
        self.heard = data.front_end, options.cache
        self._scorers = dict[str, Scorer]()

    def scorer(self, way: Way) -> Scorer:
        if way.name not in self._scorers:
            self._scorers[way.name] = self._scorer(way)
        return self._scorers[way.name]

    def _scorer(self, way: Way) -> Scorer:
        settings = ScoreSettings(replace(RECIPE, augmentation=way.augmentation), way.distillation)
        if not way.distillation.needs_teachers:
            return Scorer.on_labels(self.data, settings)
        teachers = replace(TEACHERS, mn=self.options.mn, which=way.which, cross_fitted=way.cross_fitted)
        folder = self.options.cache / "teachers"
        ensemble = self.data.ensemble(teachers, seed=0, folder=folder, on_step=lambda *_: None, views=settings.views)
        print(f"{way.name}: seen {ensemble.seen}, unseen {ensemble.unseen}, {ensemble.accuracies}", flush=True)
        return Scorer.from_ensemble(self.data, ensemble, settings)


if __name__ == "__main__":
    main()
