"""How well do the four MN of studies.teaching.run know the test split, on which devices and which classes?

    python -m studies.teaching.teachers --data FIELD --mn mn04_as_mAP_432.pt --cache CACHE

Writes teachers.md: the accuracies of the cross-fitted teachers that this cache holds, one by one and of their mean, and
beside them those of the students in trained.csv, in the mean of their seeds.
"""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch

from dynacp.audio.recording_devices import OVERALL
from dynacp.pipeline.intervals import Bootstrap
from dynacp.stages import StageStore
from dynacp.teachers.fine_tuning import load_teacher
from dynacp.training.loop import predict
from nas.scoring.score import TEACHERS
from studies.in_full import TestSplit
from studies.sharing import study_parser
from studies.teaching.run import TRAINED, Teaching

HERE = Path(__file__).parent
WAYS = ("labels", "four MN, cross-fitted, views, and labels")


def main() -> None:
    options = study_parser(__doc__).parse_args()
    torch.set_num_threads(1)
    teaching, store = Teaching(options), StageStore()
    test, settings = TestSplit(options.data, *teaching.heard), replace(TEACHERS, mn=options.mn)
    stages = teaching.data.teachers(settings, seed=0, folder=options.cache / "teachers")
    classes = teaching.data.classes
    logits = {name: predict(load_teacher(stage, store, len(classes)), test.features) for name, stage in stages.items()}
    logits["mean of the four"] = torch.stack([*logits.values()]).mean(0)
    bootstrap = Bootstrap(test.clips, test.clips.device_names)
    told = {name: bootstrap.accuracies(each).iloc[0] for name, each in logits.items()}
    students = TRAINED.read().query("way in @WAYS").groupby(["net", "way"], sort=False)
    for (net, way), of_seeds in students["decided"]:
        accuracies = [bootstrap.accuracies(test.as_logits(decided)).iloc[0] for decided in of_seeds]
        told[f"{net}: {way}"] = pd.concat(accuracies, axis=1).mean(axis=1)
    table = (100 * pd.DataFrame(told).T)[[OVERALL, *bootstrap.tested_devices, *classes]]
    text = "\n\n".join(
        table[columns].to_markdown(floatfmt=".1f") for columns in ([OVERALL, *bootstrap.tested_devices], [*classes])
    )
    (HERE / "teachers.md").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
