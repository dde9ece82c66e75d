"""What do device students bring over their base, and over as much more training of it? On the test split.

    python -m studies.teaching.devices --data FIELD --mn mn04_as_mAP_432.pt --cache CACHE --network ARCH.json --name NET

Trains a base and its device students by the pipeline of `dynacp train`, in its preset `best`, shortened;
and the base further, on all clips, with as many samples as all of its device students have together. Every model is a
stage in the cache, so the command may be stopped and given again. Adds a row of each kind for each seed to devices.csv,
and writes NAME-devices.md.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from budget.ledger import totals
from dynacp.audio.dataset import GENERAL
from dynacp.pipeline.evaluation import SPECIFIC, tested_students
from dynacp.pipeline.pipeline import Pipeline
from dynacp.pipeline.plan import PRESETS, Plan
from dynacp.pipeline.runner import make_in_turn
from dynacp.stages import in_order
from dynacp.student.layers import layers_of
from dynacp.student.model import DynaCP
from dynacp.training.loop import train
from dynacp.training.schedule import Schedule
from studies.in_full import TestSplit, summary
from studies.sharing import Rows
from studies.teaching.run import SEEDS, network_parser

HERE = Path(__file__).parent
TRAINED = Rows(HERE / "devices.csv", ["net", "network", "seed"])

BEST = PRESETS["best"]
SETTINGS = replace(
    BEST,
    dtype="float32",
    teachers=replace(BEST.teachers, epochs=4, batch=32, mn_rate=1e-3),
    device_teachers=Schedule(2, 16, 2e-4),
    base=Schedule(6, 32, 5e-3),
    devices=Schedule(6, 32, 1e-3, warm_up=0.25),
    distillation=replace(BEST.distillation, views=12),
)
"""What was shortened: 80 epochs of teachers to 4, 20 of device teachers to 2, 150 of the base and 50 of device students
to 6, 32 views to 12."""


def main() -> None:
    options = network_parser(__doc__).parse_args()
    torch.set_num_threads(1)
    for seed in SEEDS:
        if (options.name, "base", seed) not in TRAINED.done():
            keep(Pipeline(plan(options, seed)), options, seed)
    test = TestSplit(options.data, SETTINGS.front_end, options.cache)
    text = summary(TRAINED.read().query("net == @options.name"), test, reference="base").to_markdown(index=False)
    (HERE / f"{options.name}-devices.md").write_text(text + "\n", encoding="utf-8")
    print(text)


def plan(options: argparse.Namespace, seed: int) -> Plan:
    folder = options.cache / "device-students"
    return Plan(
        architecture=options.network,
        settings=replace(SETTINGS, seed=seed, teachers=replace(SETTINGS.teachers, mn=options.mn)),
        data=options.data,
        run=folder / f"{options.name}-{seed}",
        teachers=folder / "teachers",
        cache=options.cache,
    )


def keep(pipeline: Pipeline, options: argparse.Namespace, seed: int) -> None:
    """Train with one seed, and add a row for each kind."""
    tested = tested_students(pipeline)
    make_in_turn(pipeline, in_order([tested]), lambda *_: None)
    said = pipeline.store.load(tested)
    test = TestSplit(options.data, SETTINGS.front_end, options.cache)
    kinds = {
        "base, trained further": test.judged(further(pipeline, seed)),
        "device students": test.decided(said[SPECIFIC]),
        "base": test.decided(said[GENERAL]),
    }
    cost = {"macs": totals(layers_of(pipeline.architecture)).macs}
    for name, judged in kinds.items():
        if (options.name, name, seed) not in TRAINED.done():
            TRAINED.keep({"net": options.name, "network": name, "seed": seed, **cost, **judged})
        print(f"{name}, seed {seed}: {judged['accuracy']:.1%}", flush=True)


def further(pipeline: Pipeline, seed: int) -> DynaCP:
    """The base after the schedule of the device students, on the clips of all devices."""
    network, settings = pipeline.load_student(GENERAL), pipeline.settings
    recipe = settings.devices.recipe(len(pipeline.dataset.training), settings.augmentation)
    examples = pipeline.examples(GENERAL, recipe.augmentation)
    train(network, examples, settings.distillation.loss, recipe, seed=seed)
    return network


if __name__ == "__main__":
    main()
