"""A teacher as a stage: fine-tuned once, stored with its logits and with all that it was made from.

A search and a full training make their teachers here, with one rule for seeds and keys.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from budget.cli.terminal import warn
from dynacp.audio.batches import ClipSource, Features
from dynacp.efficientat import FAMILIES, DyMN, Teacher
from dynacp.stages import OnStep, Stage, StageStore, derived_seed
from dynacp.teachers.ensemble import chance_warning
from dynacp.teachers.members import Member
from dynacp.training.examples import Augmented
from dynacp.training.loop import (
    TRAINING_WORK,
    batches,
    macro_accuracy,
    one_hot,
    predict,
    refuse_divergence,
    state_on_cpu,
    train,
)
from dynacp.training.schedule import Recipe


@dataclass(frozen=True, kw_only=True)
class TeacherData:
    """The clips that a teacher is fine-tuned on, and those whose logits it stores."""

    classes: int
    """The number of classes."""
    seen: np.ndarray
    """Whether it is fine-tuned on each of the clips whose logits are stored: bool [clips]."""
    labels: Callable[[], np.ndarray]
    """Gives the class numbers of the clips that it is fine-tuned on, int64 [seen clips]."""
    training: Callable[[], ClipSource]
    """Gives the source of batches of the clips that it is fine-tuned on, in their order."""
    predicted: Callable[[], Features]
    """Gives the clips whose logits are stored, in their order."""
    made_with: Mapping[str, Any]
    """What identifies the clips by their content, as plain JSON."""
    augmented_by: Mapping[str, Any]
    """What is done to the clips before the recipe's augmentation, as plain JSON."""

    @property
    def number(self) -> int:
        """The number of clips that it is fine-tuned on."""
        return int(self.seen.sum())


def teacher_stage(
    name: str,
    folder: Path,
    member: Member,
    data: TeacherData,
    *,
    start: object,
    build: Callable[[], Teacher],
    recipe: Recipe,
    seed: int,
    macs: int,
    needs: tuple[Stage, ...] = (),
    warns: bool = False,
) -> Stage:
    """The stage of one teacher, stored in `folder` under its member's name and a key of all that it depends on.

    `name` is the stage's, unique in a run. `start` says, as plain JSON, what `build` gives: the network before it is
    fine-tuned, perhaps from the stages in `needs`. The stage's seed follows from `seed` and `name`. `macs` are the
    network's for one clip; the stage's work is estimated from them. With `warns` there is a warning if the teacher is
    not clearly better than guessing.

    It stores `logits` (float32 [clips, classes]), `seen` (bool [clips]), the last `loss`, and what `load_teacher`
    reads: `family`, `width`, `temperature` (None for an MN) and `state`. Making it raises `StageError` for a training
    that diverges, and what `build` and `data` raise.
    """
    seed = derived_seed(seed, name)
    seen = blake2b(data.seen.tobytes(), digest_size=8).hexdigest()
    trained = {"from": start, "recipe": asdict(recipe), **data.augmented_by, "seed": seed, "seen": seen}
    made_with = {**data.made_with, **trained}
    # Teachers of other settings may share the folder; the name tells them apart.
    key = blake2b(json.dumps([made_with, [need.path.name for need in needs]]).encode(), digest_size=4).hexdigest()

    def make(on_step: OnStep) -> dict[str, Any]:
        torch.manual_seed(seed)
        teacher, labels = build(), data.labels()
        loss = _fine_tune(teacher, data, labels, recipe, seed, on_step)
        refuse_divergence(name, loss, recipe)
        logits = predict(teacher, data.predicted(), after_batch=on_step)
        if warns:
            accuracy = {name: macro_accuracy(logits[torch.from_numpy(data.seen)], labels)}
            warn(chance_warning(accuracy, labels, "the clips that they were trained on"))
        return {**_stored(teacher, member), "logits": logits, "seen": torch.from_numpy(data.seen), "loss": loss}

    return Stage(
        name=name,
        path=folder / f"{member.name}-{key}",
        settings=made_with,
        needs=needs,
        make=make,
        steps=recipe.steps + batches(len(data.seen)),
        work=macs * (TRAINING_WORK * recipe.samples + len(data.seen)),
    )


def _fine_tune(
    teacher: Teacher, data: TeacherData, labels: np.ndarray, recipe: Recipe, seed: int, on_step: OnStep
) -> float:
    """Train a teacher in place on its labels [clips]; returns the last loss."""
    return train(
        teacher,
        Augmented(data.training(), (one_hot(labels, data.classes),), recipe.augmentation),
        functional.cross_entropy,
        recipe,
        seed=seed,
        after_step=on_step,
        after_epoch=teacher.epoch_ends,
    )[-1]


def _stored(teacher: Teacher, member: Member) -> dict[str, Any]:
    """What `load_teacher` makes a teacher from."""
    return {
        "family": member.family.name,
        "width": teacher.width,
        "temperature": getattr(teacher, "temperature", None),  # a DyMN's is no part of its state
        "state": state_on_cpu(teacher),
    }


def load_teacher(stage: Stage, store: StageStore, classes: int) -> Teacher:
    """The network that a teacher's finished stage holds, made anew on the CPU, in training mode.

    `classes` are those that it was trained for, else `RuntimeError`. Raises `StageError` for one that is not finished.
    """
    content = store.load(stage)
    teacher = FAMILIES[content["family"]].network(content["width"], classes)
    teacher.load_state_dict(content["state"])
    if isinstance(teacher, DyMN):
        teacher.temperature = content["temperature"]
    return teacher
