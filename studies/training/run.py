"""What each part of the training brings, on the pocket set: trains every condition with three seeds, and compares.

    python -m studies.training.run --data POCKET --mn mn04_as_mAP_432.pt --winner studies/pocket/export/pocket-54.json

All conditions share one set of teachers. Every model is a stage of a run under runs/training-study, so the command may
be stopped and given again. Writes students.csv (a row per trained student) and comparisons.md beside this file.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from platformdirs import user_cache_path
from scipy.stats import t
from torch import Tensor

from dynacp.audio.dataset import GENERAL
from dynacp.audio.recording_devices import OVERALL
from dynacp.overrides import changed
from dynacp.pipeline.evaluation import SPECIFIC, tested_students
from dynacp.pipeline.intervals import Bootstrap
from dynacp.pipeline.pipeline import Pipeline
from dynacp.pipeline.plan import PRESETS, Plan, TrainingSettings
from dynacp.pipeline.report import Report
from dynacp.pipeline.runner import GROUPS, make_in_turn, stages_of
from dynacp.stages import Stage, in_order
from dynacp.student.architecture import TABLE1, Architecture, resolve
from dynacp.training.loop import predict
from dynacp.training.schedule import Schedule

SEEDS = (0, 1, 2)
HERE, RUNS = Path(__file__).parent, Path("runs/training-study")

SETTINGS = replace(
    TrainingSettings(),
    teachers=replace(TrainingSettings().teachers, epochs=4, batch=32, mn_rate=1e-3, dymn_rate=1e-3),
    device_teachers=Schedule(3, 16, 2e-4),
    base=Schedule(15, 32, 5e-3, warm_up=0.25),
    augmentation=PRESETS["quick"].augmentation,
    devices=Schedule(10, 16, 5e-4, warm_up=0.25),
    device_augmentation=PRESETS["quick"].device_augmentation,
)
"""What was shortened: 80 epochs of teachers to 4, 20 of device teachers to 3, 150 of the base to 15, 50 of device
students to 10. Freq-MixStyle and mixup are as weak as short trainings need them, which the search's validation showed.
"""


class SumAtTwo(Pipeline):
    """Softens the summed logits at temperature 2, not at 2 x 8: the sum as the report has it, unmatched."""

    def mean_logits(self, teachers: Sequence[Stage]) -> Tensor:
        return super().mean_logits(teachers) * len(teachers)


@dataclass(frozen=True)
class Condition:
    name: str
    architecture: Architecture
    kind: type[Pipeline] = Pipeline
    overrides: tuple[str, ...] = ()
    devices: bool = False


def conditions(winner: Architecture) -> list[Condition]:
    return [
        Condition("Table 1", TABLE1, devices=True),
        Condition("the search's winner", winner, devices=True),
        Condition("labels alone", TABLE1, overrides=("distillation.label_weight=1.0",)),
        Condition("one teacher", TABLE1, overrides=("teachers.which=mn-plain-still",)),
        Condition("sum at T = 2", TABLE1, SumAtTwo),
        Condition("maximum pools", replace(TABLE1, pool="maximum")),
        Condition("batch norm on D", replace(TABLE1, norm="depthwise")),
        Condition("ReLU", replace(TABLE1, activation="relu")),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--mn", type=Path, required=True)
    parser.add_argument("--winner", required=True)
    options = parser.parse_args()
    chosen = conditions(resolve(options.winner))
    logits: dict[tuple[str, str], list[Tensor]] = {}
    for seed in SEEDS:  # all conditions with the first seed before any with the second
        for condition in chosen:
            pipeline = condition.kind(_plan(options, condition, seed))
            for system, said in _trained(condition, pipeline).items():
                logits.setdefault((condition.name, system), []).append(said)
            _write(pipeline, logits)
    whole = Pipeline(_plan(options, chosen[0], SEEDS[0]))
    stages = in_order([stage for group in GROUPS for stage in stages_of(whole, group)])
    make_in_turn(whole, stages, _progress)
    Report(whole).write()
    _say_what_the_soft_labels_are(whole)


def _plan(options: argparse.Namespace, condition: Condition, seed: int) -> Plan:
    teachers = replace(SETTINGS.teachers, mn=options.mn)
    settings = changed(replace(SETTINGS, seed=seed, teachers=teachers), condition.overrides)
    run = RUNS / f"{condition.name.lower().replace(' ', '-')}-{seed}"
    device = "cuda" if torch.cuda.is_available() else "cpu"
    cache = user_cache_path("dynacp")
    return Plan(
        architecture=condition.architecture,
        settings=settings,
        data=options.data,
        run=run,
        teachers=RUNS / "teachers",
        cache=cache,
        device=device,
    )


def _trained(condition: Condition, pipeline: Pipeline) -> dict[str, Tensor]:
    """What the condition's students say of the test clips: the base, and the device students where it has them."""
    if condition.devices:
        tested = tested_students(pipeline)
        make_in_turn(pipeline, in_order([tested]), _progress)
        return pipeline.store.load(tested)
    base = pipeline.student(GENERAL)
    make_in_turn(pipeline, in_order([base]), _progress)
    features = pipeline.dataset.test_features(np.arange(len(pipeline.dataset.test)))
    dtype = getattr(torch, pipeline.settings.dtype)
    return {GENERAL: predict(pipeline.load_student(GENERAL), features, dtype=dtype)}


_seen = set[str]()


def _progress(name: str, _steps: int) -> None:
    if name not in _seen:
        print(name, flush=True)
    _seen.add(name)


def _write(pipeline: Pipeline, logits: dict[tuple[str, str], list[Tensor]]) -> None:
    """The accuracies so far, and each condition against the base of Table 1."""
    bootstrap = Bootstrap(pipeline.dataset.test, pipeline.dataset.devices, recording=pipeline.settings.recording)
    draws = {
        key: np.stack([bootstrap.accuracies(said)[OVERALL].to_numpy() for said in seeds], axis=1)
        for key, seeds in logits.items()
    }
    rows = [
        {"condition": name, "system": system, "seed": seed, "accuracy": accuracy}
        for (name, system), by_seed in draws.items()
        for seed, accuracy in zip(SEEDS, by_seed[0], strict=False)
    ]
    pd.DataFrame(rows).to_csv(HERE / "students.csv", index=False, float_format="%.5f")
    pairs = [((name, GENERAL), ("Table 1", GENERAL)) for name, system in draws if system == GENERAL][1:]
    pairs += [((name, SPECIFIC), (name, GENERAL)) for name, system in draws if system == SPECIFIC]
    table = [
        {
            "what": " ".join(left),
            "mean ± sd, %": _mean(draws[left][0]),
            "against": " ".join(right),
            "mean ± sd, % ": _mean(draws[right][0]),
            "difference in points, 95 %": _difference(draws[left], draws[right]) if draws[left].shape[1] > 1 else "",
        }
        for left, right in pairs
    ]
    (HERE / "comparisons.md").write_text(pd.DataFrame(table).to_markdown(index=False) + "\n")


def _mean(accuracies: np.ndarray) -> str:
    spread = f" ± {accuracies.std(ddof=1) * 100:.1f}" if len(accuracies) > 1 else ""
    return f"{accuracies.mean() * 100:.1f}{spread} ({len(accuracies)})"


def _difference(left: np.ndarray, right: np.ndarray) -> str:
    """An interval for both noises: test locations are drawn again, alike for both sides; seeds scatter on each."""
    apart = left.mean(axis=1) - right.mean(axis=1)
    variance = apart[1:].var(ddof=1) + sum(side[0].var(ddof=1) / side.shape[1] for side in (left, right))
    reach = t.ppf(0.975, left.shape[1] + right.shape[1] - 2) * np.sqrt(variance) * 100
    return f"{apart[0] * 100:+.1f} ± {reach:.1f}"


def _say_what_the_soft_labels_are(pipeline: Pipeline) -> None:
    """How much soft labels say beyond the labels."""
    teachers = [pipeline.teacher(GENERAL, member) for member in pipeline.members]
    soft = pipeline.settings.distillation.soft_labels(pipeline.mean_logits(teachers))
    right = soft.argmax(dim=1).numpy() == pipeline.dataset.labels(GENERAL)
    print(
        f"the ensemble recognises {right.mean():.2%} of the training clips that it was fine-tuned on; its largest soft "
        f"label is {soft.max(dim=1).values.mean():.3f} in the mean"
    )


if __name__ == "__main__":
    main()
