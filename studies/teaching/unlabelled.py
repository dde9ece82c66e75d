"""What does audio without labels bring? A quarter of the training split keeps its labels, the rest is heard without.

    python -m studies.teaching.unlabelled --data FIELD --mn mn04_as_mAP_432.pt --cache CACHE --network JSON --name NET

Bases as in `studies.teaching.devices`, whose teachers are fine-tuned on the clips with labels alone; with and without
the others, with equally many training samples, and on labels alone. Resumes as that study does. Adds a row for each
training to unlabelled.csv, and writes NAME-unlabelled.md.
"""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import torch

from budget.ledger import totals
from dynacp.audio.dataset import GENERAL
from dynacp.audio.tau import parts_of_whole_groups, training_clips
from dynacp.pipeline.pipeline import Pipeline
from dynacp.pipeline.plan import Plan
from dynacp.pipeline.runner import make_in_turn
from dynacp.stages import in_order
from dynacp.student.layers import layers_of
from studies.in_full import TestSplit, summary
from studies.sharing import Rows
from studies.teaching.devices import SETTINGS
from studies.teaching.run import SEEDS, network_parser

HERE = Path(__file__).parent
TRAINED = Rows(HERE / "unlabelled.csv", ["net", "network", "seed"])
PARTS = 4
"""One part in so many keeps its labels."""


@dataclass(frozen=True)
class Kind:
    name: str
    unlabelled: bool = False
    label_weight: float = SETTINGS.distillation.label_weight


KINDS = (
    Kind("a quarter with labels, on these alone", label_weight=1.0),
    Kind("a quarter with labels"),
    Kind("a quarter with labels, the rest without", unlabelled=True),
)


def main() -> None:
    options = network_parser(__doc__).parse_args()
    torch.set_num_threads(1)
    root = divided(options.data, options.cache / "a-quarter")
    for seed in SEEDS:
        for kind in KINDS:
            if (options.name, kind.name, seed) not in TRAINED.done():
                keep(Pipeline(plan(options, root, kind, seed)), options, kind, seed)
    test = TestSplit(options.data, SETTINGS.front_end, options.cache)
    told = TRAINED.read().query("net == @options.name")
    text = summary(told, test, reference=KINDS[1].name).to_markdown(index=False)
    (HERE / f"{options.name}-unlabelled.md").write_text(text + "\n", encoding="utf-8")
    print(text)


def divided(data: Path, root: Path) -> Path:
    """A data set whose training split is a quarter of the locations, and a folder `unlabelled` of the other clips."""
    clips = training_clips(data)
    kept = parts_of_whole_groups(clips, PARTS, seed=0)[0]
    (root / "split_setup").mkdir(parents=True, exist_ok=True)
    for name in ("audio", "meta.csv", "evaluation_setup", "split_setup/test.csv"):
        _link(root / name, data / name)
    listed = pd.DataFrame(
        {
            "filename": [f"audio/{file.name}" for file in clips.take(kept).files],
            "scene_label": [clips.classes[label] for label in clips.labels[kept]],
        }
    )
    listed.to_csv(root / "split_setup" / "split25.csv", sep="\t", index=False)
    (root / "unlabelled").mkdir(exist_ok=True)
    for file in clips.take(~kept).files:
        _link(root / "unlabelled" / file.name, file)
    return root


def _link(link: Path, file: Path) -> None:
    if not link.exists():
        link.symlink_to(file.resolve())


def plan(options: argparse.Namespace, root: Path, kind: Kind, seed: int) -> Plan:
    """That of a base, with as many training samples in every kind."""
    base, distillation = SETTINGS.base, replace(SETTINGS.distillation, label_weight=kind.label_weight)
    if not kind.unlabelled:
        base = replace(base, epochs=PARTS * base.epochs)
    teachers = replace(SETTINGS.teachers, mn=options.mn)
    folder = options.cache / "unlabelled-study"
    return Plan(
        architecture=options.network,
        settings=replace(SETTINGS, seed=seed, base=base, distillation=distillation, teachers=teachers),
        data=root,
        run=folder / f"{options.name}-{KINDS.index(kind)}-{seed}",
        teachers=folder / "teachers",
        cache=options.cache,
        unlabelled=root / "unlabelled" if kind.unlabelled else None,
    )


def keep(pipeline: Pipeline, options: argparse.Namespace, kind: Kind, seed: int) -> None:
    """Train a base, and add its row."""
    make_in_turn(pipeline, in_order([pipeline.student(GENERAL)]), lambda *_: None)
    judged = TestSplit(options.data, SETTINGS.front_end, options.cache).judged(pipeline.load_student(GENERAL))
    cost = {"macs": totals(layers_of(pipeline.architecture)).macs}
    TRAINED.keep({"net": options.name, "network": kind.name, "seed": seed, **cost, **judged})
    print(f"{kind.name}, seed {seed}: {judged['accuracy']:.1%}", flush=True)


if __name__ == "__main__":
    main()
