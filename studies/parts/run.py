"""What do the input and network-wide choices bring? Trainings on labels, judged on the test split.

    python -m studies.parts.run --data FIELD --cache CACHE [--shard K/N]

Adds a row for each training to trained.csv, first of all inputs, then of all parts, one seed after the other, so that
the command may be stopped and given again, and shards may run side by side, each with one thread. Writes parts.md.
"""

import argparse
import time
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from budget.ledger import totals
from dynacp.audio.batches import Features
from dynacp.audio.cache import log_mels
from dynacp.audio.features import FrontEnd
from dynacp.audio.tau import training_clips
from dynacp.student.architecture import TABLE1, Architecture, with_classes
from dynacp.student.layers import layers_of
from dynacp.student.model import DynaCP
from dynacp.training.examples import Augmented
from dynacp.training.loop import one_hot, train
from nas.strategy.propose import combined_seed
from studies.in_full import TestSplit, summary
from studies.sharing import UNVIEWED, Rows, share, study_parser

HERE = Path(__file__).parent
SEEDS, EPOCHS = range(5), 3
MARK = 2_027
"""Marks the seeds of these trainings."""

RECIPE = replace(UNVIEWED, batch=32)
"""Of a training, but for its length."""


@dataclass(frozen=True)
class Variant:
    """A network, and how its log-mels are made."""

    name: str
    architecture: Architecture = TABLE1
    front_end: FrontEnd = FrontEnd()

    @classmethod
    def of_input(cls, name: str, architecture: Architecture, mels: int, hop: int) -> "Variant":
        """A network on other log-mels."""
        front_end = FrontEnd(mels=mels, hop_samples=hop)
        frames = front_end.frames(front_end.sample_rate)
        return cls(f"{name}, {mels} x {frames}", replace(architecture, input=(mels, frames)), front_end)


FOUND = Architecture.read(HERE.parent / "field-1" / "export" / "field-1-193.json")
"""The network that the search field-1 recommends."""

INPUTS = (
    Variant("Table 1"),
    Variant.of_input("Table 1", TABLE1, 128, 500),
    Variant.of_input("Table 1", TABLE1, 256, 1_000),
    Variant.of_input("Table 1", TABLE1, 128, 1_000),
    Variant("#193", FOUND),
    Variant.of_input("#193", FOUND, 128, 500),
    Variant.of_input("#193", FOUND, 256, 1_000),
    Variant.of_input("#193", FOUND, 128, 1_000),
    Variant.of_input("#193", FOUND, 256, 300),
)
"""Mel bands x frames: without any, 256 x 89, a hop of 500 samples."""

PARTS = (
    Variant("maximum pools", replace(TABLE1, pool="maximum")),
    Variant("norm on D", replace(TABLE1, norm="depthwise")),
    Variant("both", replace(TABLE1, pool="maximum", norm="depthwise")),
    Variant("both, ReLU", replace(TABLE1, pool="maximum", norm="depthwise", activation="relu")),
    Variant("both, global response norm", replace(TABLE1, pool="maximum", norm="depthwise", response="global")),
    Variant("ReLU", replace(TABLE1, activation="relu")),
    Variant("global response norm", replace(TABLE1, response="global")),
)


class Data:
    """The field set as the front end of one variant sees it."""

    def __init__(self, options: argparse.Namespace, front_end: FrontEnd) -> None:
        clips = training_clips(options.data)
        array = log_mels(clips, front_end, options.cache)
        self.training = Features(array, np.arange(len(clips)), torch.device("cpu"))
        self.labels, self.classes = clips.labels, len(clips.classes)
        self.test = TestSplit(options.data, front_end, options.cache)


def main() -> None:
    options = study_parser(__doc__, teachers=False).parse_args()
    rows, seen = Rows(HERE / "trained.csv", ["network", "seed"]), dict[FrontEnd, Data]()
    torch.set_num_threads(1)
    for seed, variant in share([*product(SEEDS, INPUTS), *product(SEEDS, PARTS)], options):
        if (variant.name, seed) in rows.done():
            continue
        data = seen.setdefault(variant.front_end, Data(options, variant.front_end))
        architecture, started = with_classes(variant.architecture, data.classes), time.perf_counter()
        network = trained(architecture, data, seed=combined_seed(MARK, seed))
        cost = {"macs": totals(layers_of(architecture)).macs}
        judged, seconds = data.test.judged(network), time.perf_counter() - started
        rows.keep({"network": variant.name, "seed": seed, **cost, **judged, "seconds": seconds})
        print(f"{variant.name}, seed {seed}: {judged['accuracy']:.1%} in {seconds:.0f} s", flush=True)
    test = Data(options, FrontEnd()).test
    tables = [summary(rows.read(), test, reference=name).to_markdown(index=False) for name in ("Table 1", "#193")]
    (HERE / "parts.md").write_text("\n\n".join(tables) + "\n", encoding="utf-8")
    print(*tables, sep="\n\n")


def trained(architecture: Architecture, data: Data, *, seed: int) -> DynaCP:
    """A network trained from scratch on the labels of all training clips."""
    torch.manual_seed(seed)
    network, targets = DynaCP(architecture), one_hot(data.labels, data.classes)
    recipe = replace(RECIPE, samples=EPOCHS * len(data.labels))
    examples = Augmented(data.training, (targets,), recipe.augmentation)
    train(network, examples, functional.cross_entropy, recipe, seed=seed)
    return network


if __name__ == "__main__":
    main()
