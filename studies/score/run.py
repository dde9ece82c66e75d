"""What does one short training tell of an architecture? Many statistics of it against the full training.

    python -m studies.score.run --set pocket --data POCKET --mn mn04_as_mAP_432.pt --cache CACHE [--shard K/N]
    python -m studies.score.run --set field  --data FIELD  --mn mn04_as_mAP_432.pt --cache CACHE [--shard K/N]

Adds a row for each short training to short.csv and for each full training to full.csv, both beside this file, so the
command may be stopped and given again, and shards may run side by side, each with one thread. `studies.score.compare`
reads them. All architectures share their seeds: with a seed they all see the same clips in the same order.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, astuple, dataclass, replace
from functools import cached_property, partial
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from dynacp.audio.batches import Features
from dynacp.audio.cache import log_mels
from dynacp.audio.tau import test_clips
from dynacp.student.architecture import Architecture, with_classes
from dynacp.student.model import DynaCP
from dynacp.teachers.settings import ALL
from dynacp.training.distillation import Distillation
from dynacp.training.examples import Augmented, Examples
from dynacp.training.loop import (
    cross_entropies,
    macro_accuracy,
    macro_mean,
    one_hot,
    predict,
    train,
)
from dynacp.training.schedule import Recipe
from nas.scoring.clips import SearchData, load_search_data
from nas.scoring.score import TEACHERS, VIEWED, Scorer, ScoreSettings, validation_statistics
from nas.space.counting import count
from studies.fidelity.run import chosen
from studies.pool.run import read_pool
from studies.sharing import UNVIEWED, Rows, share, study_parser
from studies.teaching.run import MN, SOFT, TOLD

HERE, CPU = Path(__file__).parent, torch.device("cpu")
SHORT = Rows(HERE / "short.csv", ["set", "layout", "variant", "seed"])
FULL = Rows(HERE / "full.csv", ["set", "layout", "seed"])

ARCHITECTURES = {"pocket": 60, "field": 36}
VARIED = {"pocket": 24, "field": 36}
"""So many of them are trained in the variants too."""

SEEDS = (0, 1)
FULL_EPOCHS = {"pocket": 8, "field": 3}

REFERENCE = UNVIEWED
EIGHTHS = 8
"""A training's losses are kept as the means of so many equal parts."""

RESTATED = 512
"""Training clips that batch norms are estimated anew from."""

EMA_DECAY = 0.95
"""Of the averaged weights, for each step: they look back over about 20 of some 128 steps."""


@dataclass(frozen=True)
class Variant:
    """A short training that differs from the reference. Without `distillation` it is on labels.

    Teachers that are cross-fitted are the four MN, the others all eight.
    """

    name: str
    recipe: Recipe = REFERENCE
    distillation: Distillation | None = None
    cross_fitted: bool = False
    by_recording: bool = False
    searches: bool = False
    """Whether a search's default is so; it is trained with both seeds."""


VARIANTS = (
    Variant("reference"),
    Variant("distilled", distillation=Distillation()),
    Variant("cross-fitted", REFERENCE, SOFT, cross_fitted=True),
    Variant("cross-fitted, and labels", REFERENCE, TOLD, cross_fitted=True),
    Variant(
        "views, and labels",
        replace(REFERENCE, augmentation=VIEWED),
        replace(TOLD, views=2),
        cross_fitted=True,
        searches=True,
    ),
    Variant("distilled, batch 32", replace(REFERENCE, batch=32), Distillation()),
    Variant("batch 32", replace(REFERENCE, batch=32)),
    Variant("batch 8", replace(REFERENCE, batch=8)),
    Variant("by recording", by_recording=True),
    Variant("rate 1e-2", replace(REFERENCE, peak_rate=1e-2)),
    Variant("rate 2.5e-3", replace(REFERENCE, peak_rate=2.5e-3)),
    Variant("1024 samples", replace(REFERENCE, samples=1_024)),
    Variant("4096 samples", replace(REFERENCE, samples=4_096)),
    Variant("8192 samples", replace(REFERENCE, samples=8_192)),
)


@dataclass(frozen=True)
class ShortJob:
    set: str
    layout: int
    variant: str
    seed: int


@dataclass(frozen=True)
class FullJob:
    set: str
    layout: int
    seed: int


class Data:
    """A data set, and what is made from it once."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.clips: SearchData = load_search_data(options.data, seed=0, cache=options.cache, device=CPU)
        self._scorers = dict[str, Scorer]()

    def scorer(self, variant: Variant) -> Scorer:
        """What distils in a variant."""
        if variant.name not in self._scorers:
            assert variant.distillation is not None
            told = ScoreSettings(variant.recipe, variant.distillation)
            which = MN if variant.cross_fitted else ALL
            teachers = replace(TEACHERS, mn=self.options.mn, which=which, cross_fitted=variant.cross_fitted)
            folder = self.options.cache / "teachers"
            ensemble = self.clips.ensemble(teachers, seed=0, folder=folder, on_step=lambda *_: None, views=told.views)
            self._scorers[variant.name] = Scorer.from_ensemble(self.clips, ensemble, told)
        return self._scorers[variant.name]

    @cached_property
    def test(self) -> tuple[Features, np.ndarray]:
        clips = test_clips(self.options.data)
        array = log_mels(clips, self.clips.front_end, self.options.cache)
        return Features(array, np.arange(len(clips)), CPU), clips.labels


def architectures(name: str) -> list[int]:
    """Numbers of the pool: those of studies/fidelity first, Table 1 (0) at their head, in an order that mixes costs."""
    spread, band = chosen(pd.DataFrame(count(read_pool())._asdict()))
    rest = sorted(set(range(len(read_pool()))) - {*spread, *band})
    known = sorted({*spread, *band} - {0})
    mixed = np.random.default_rng(0).permutation(known).tolist()
    return [0, *mixed, *rest][: ARCHITECTURES[name]]


def main() -> None:
    parser = study_parser(__doc__)
    parser.add_argument("--set", choices=ARCHITECTURES, required=True, help="what the rows call the data set")
    parser.add_argument("--only", choices=["full", *(each.name for each in VARIANTS)], nargs="+", help="these alone")
    options = parser.parse_args()
    data, pool = Data(options), read_pool()
    torch.set_num_threads(1)
    for job in share(jobs(options.set), options):
        kind, rows = ("full", FULL) if isinstance(job, FullJob) else (job.variant, SHORT)
        if astuple(job) in rows.done() or kind not in (options.only or [kind]):
            continue
        network, started = with_classes(pool[job.layout], len(data.clips.classes)), time.perf_counter()
        told = full(network, data, job) if isinstance(job, FullJob) else short(network, data, job)
        rows.keep({**asdict(job), **told, "seconds": time.perf_counter() - started})
        print(job, f"{time.perf_counter() - started:.0f} s", flush=True)


def jobs(name: str) -> Iterator[ShortJob | FullJob]:
    """The reference, the full trainings with the first seed, the other variants, and full trainings again."""
    layouts, reference, others = architectures(name), VARIANTS[0], VARIANTS[1:]
    yield from (ShortJob(name, layout, reference.name, seed) for seed, layout in product(SEEDS, layouts))
    yield from (FullJob(name, layout, SEEDS[0]) for layout in layouts)
    for variant in others:
        pairs = product(SEEDS if variant.searches else SEEDS[:1], layouts[: VARIED[name]])
        yield from (ShortJob(name, layout, variant.name, seed) for seed, layout in pairs)
    yield from (FullJob(name, layout, SEEDS[1]) for layout in layouts)


def full(architecture: Architecture, data: Data, job: FullJob) -> dict[str, float]:
    """The truth: trained on the labels of all training clips, and what it says of the test split."""
    clips = data.clips
    labels = np.concatenate([clips.training_labels, clips.validation_labels])
    recipe = replace(REFERENCE, samples=FULL_EPOCHS[job.set] * len(labels), batch=32)
    network = seeded(architecture, job.seed)
    targets = one_hot(labels, len(clips.classes))
    examples = Augmented(clips.training + clips.validation, (targets,), recipe.augmentation)
    train(network, examples, functional.cross_entropy, recipe, seed=job.seed)
    features, truth = data.test
    logits = predict(network, features)
    return {
        "accuracy": macro_accuracy(logits, truth),
        "cross_entropy": macro_mean(cross_entropies(logits, truth), truth),
    }


def short(architecture: Architecture, data: Data, job: ShortJob) -> dict[str, float]:
    """Every statistic of one short training."""
    variant, clips = next(each for each in VARIANTS if each.name == job.variant), data.clips
    order = np.arange(len(clips.training))
    loss: Callable[..., Tensor] = functional.cross_entropy
    if variant.by_recording:
        order = by_recording(clips.groups[clips.training_rows], job.seed)
    targets = (one_hot(clips.training_labels, len(clips.classes))[order],)
    training = Features(clips.log_mels, clips.training_rows[order], CPU)
    examples: Examples = Augmented(training, targets, variant.recipe.augmentation)
    if variant.distillation is not None:
        examples, loss = data.scorer(variant).examples(variant.recipe.augmentation), variant.distillation.loss
    network = seeded(architecture, job.seed)
    averaged = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(EMA_DECAY))
    after_step = partial(averaged.update_parameters, network)
    losses = train(network, examples, loss, variant.recipe, seed=job.seed, after_step=after_step)
    parts = {f"loss_{i}": float(np.mean(part)) for i, part in enumerate(np.array_split(losses, EIGHTHS), start=1)}
    told = parts | judged(network, data, variant, "final")
    restated = judged(restate(network, clips.training), data, variant, "restated")
    return told | restated | judged(restate(averaged.module, clips.training), data, variant, "averaged")


def seeded(architecture: Architecture, seed: int) -> DynaCP:
    torch.manual_seed(seed)
    return DynaCP(architecture)


def by_recording(recordings: np.ndarray, seed: int) -> np.ndarray:
    """An order of the clips that `train` turns into one recording after the other: nearly every batch is of recordings
    that no earlier batch held, so that its loss is of sounds never heard."""
    rank = np.random.default_rng(seed).permutation(len(np.unique(recordings)))
    wanted = np.argsort(rank[np.unique(recordings, return_inverse=True)[1]], kind="stable")
    drawn = torch.randperm(len(recordings), generator=torch.Generator().manual_seed(seed)).numpy()
    return wanted[np.argsort(drawn)]


def restate(network: nn.Module, training: Features) -> nn.Module:
    """Estimate the means and variances of batch norms anew, from the first training clips."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over batches
    network.train()
    with torch.no_grad():
        for clips in torch.arange(RESTATED).mul(len(training) // RESTATED).split(64):
            network(training[clips].contiguous(memory_format=torch.channels_last))
    return network


def judged(network: nn.Module, data: Data, variant: Variant, weights: str) -> dict[str, float]:
    """What weights say of the validation clips: accuracy, cross-entropy by clip and by recording, divergence."""
    clips = data.clips
    labels, logits = clips.validation_labels, predict(network, clips.validation)
    said = validation_statistics(logits, labels, clips.groups[clips.validation_rows])
    told = {**said, "divergence": np.nan}
    if variant.distillation is not None and not variant.distillation.views:
        soft = data.scorer(variant).soft_labels[torch.from_numpy(clips.validation_rows)]
        student = functional.log_softmax(logits / variant.distillation.temperature, dim=-1)
        told["divergence"] = float(functional.kl_div(student, soft, reduction="batchmean"))
    return {f"{weights}_{name}": value for name, value in told.items()}


if __name__ == "__main__":
    main()
