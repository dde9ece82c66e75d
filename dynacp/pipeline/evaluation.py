"""The stages that read the test split, which no others do: every model's logits of each of its clips.

A system is `general` (the same models for every clip) or `device-specific` (those of the clip's device; the general
ones for a device without). Both are logits [test clips, classes].
"""

from typing import Any

import numpy as np
from torch import Tensor

from dynacp.audio.dataset import GENERAL
from dynacp.pipeline.pipeline import Pipeline
from dynacp.pipeline.plan import COMPUTED_IN
from dynacp.stages import FORMAT, OnStep, Stage
from dynacp.training.loop import batches, predict

SPECIFIC = "device-specific"
"""The name of the system in which a clip's own device decides which model predicts it."""

SYSTEMS = (GENERAL, SPECIFIC)
"""The names of both systems."""


def tested_teachers(pipeline: Pipeline) -> Stage:
    """The stage of each family's logits [test clips, classes], summed over its four teachers. It stores

    `{"mn": {"general": logits, "device-specific": logits}, "dymn": ...}`

    as float32 on the CPU. Needs all teachers of the run. Raises `DataError` for data that cannot be used.
    """
    rows = _rows(pipeline)
    stages = {device: [pipeline.teacher(device, member) for member in pipeline.members] for device in rows}

    def make(on_step: OnStep) -> dict[str, Any]:
        summed: dict[str, dict[str, Tensor]] = {}
        for device, part in rows.items():
            features = pipeline.dataset.test_features(part)
            for stage, member in zip(stages[device], pipeline.members, strict=True):
                of_family = summed.setdefault(member.family.name, {})
                logits = predict(pipeline.load_teacher(stage), features, after_batch=on_step)
                of_family[device] = of_family.get(device, 0) + logits
        return {family: _systems(logits, rows) for family, logits in summed.items()}

    macs = sum(pipeline.teacher_macs[member.family.name] for member in pipeline.members)
    return _stage(pipeline, "teachers", stages, make, len(pipeline.members), macs)


def tested_students(pipeline: Pipeline) -> Stage:
    """The stage of the students' logits [test clips, classes], computed in `COMPUTED_IN` of the run's dtype. It stores

    `{"general": logits, "device-specific": logits}`

    as float32 on the CPU. Needs all students of the run. Raises `DataError` for data that cannot be used.
    """
    rows = _rows(pipeline)

    def make(on_step: OnStep) -> dict[str, Any]:
        dtype = COMPUTED_IN[pipeline.settings.dtype]
        logits = {}
        for device, part in rows.items():
            student, features = pipeline.load_student(device), pipeline.dataset.test_features(part)
            logits[device] = predict(student, features, dtype=dtype, after_batch=on_step)
        return _systems(logits, rows)

    stages = {device: [pipeline.student(device)] for device in rows}
    return _stage(pipeline, "students", stages, make, 1, pipeline.student_macs)


def _rows(pipeline: Pipeline) -> dict[str, np.ndarray]:
    """Test clips by the models that predict them: all for the general ones, and each device's."""
    test = pipeline.dataset.test
    own = {device: test.recorded_by(device) for device in pipeline.dataset.devices}
    return {GENERAL: np.arange(len(test)), **{device: rows for device, rows in own.items() if len(rows)}}


def _systems(logits: dict[str, Tensor], rows: dict[str, np.ndarray]) -> dict[str, Tensor]:
    specific = logits[GENERAL].clone()
    for device in rows.keys() - {GENERAL}:
        specific[rows[device]] = logits[device]
    return {GENERAL: logits[GENERAL], SPECIFIC: specific}


def _stage(pipeline: Pipeline, name: str, stages: dict[str, list[Stage]], make: Any, models: int, macs: int) -> Stage:
    """A stage that needs all the models; `macs` is what those of one device take for one clip."""
    rows = _rows(pipeline)
    return Stage(
        name=f"test/{name}",
        path=pipeline.plan.run / "test" / name,
        settings={"format": FORMAT, "clips": pipeline.dataset.test_key, "dtype": pipeline.settings.dtype},
        needs=tuple(stage for of_device in stages.values() for stage in of_device),
        make=make,
        steps=models * sum(batches(len(part)) for part in rows.values()),
        work=macs * sum(len(part) for part in rows.values()),
    )
