"""The eight teachers: which they are, their summed logits, and whether they know anything.

As in the paper (section 2.1), each family is fine-tuned four times: time-frequency masking on or off, time roll on or
off.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import product

import numpy as np
from torch import Tensor

from dynacp.efficientat import FAMILIES, Family
from dynacp.stages import Stage, StageStore
from dynacp.teachers.settings import TeacherSettings
from dynacp.training.loop import macro_accuracy
from dynacp.training.schedule import Recipe


@dataclass(frozen=True)
class Member:
    """One teacher of the ensemble, by what tells it from the others."""

    family: Family
    """The family of its network."""
    masking: bool
    """Whether bands and frames are masked in its training."""
    roll: bool
    """Whether clips are rolled in time in its training."""

    @property
    def name(self) -> str:
        """The teacher's name, such as mn-masking-roll."""
        return f"{self.family.name}-{'masking' if self.masking else 'plain'}-{'roll' if self.roll else 'still'}"

    def recipe(self, settings: TeacherSettings, clips: int) -> Recipe:
        """How this teacher is fine-tuned on that many clips; raises `SettingError` for none."""
        augmentation = settings.augmentation
        if not self.masking:
            augmentation = replace(augmentation, mask_bands=0, mask_frames=0)
        if not self.roll:
            augmentation = replace(augmentation, roll_frames=0)
        return settings.schedule(self.family).recipe(clips, augmentation)


MEMBERS = tuple(Member(*choice) for choice in product(FAMILIES.values(), (False, True), (False, True)))
"""The eight teachers: each family with and without masking and roll."""


@dataclass(frozen=True)
class Ensemble:
    """The summed logits of finished teachers, and how well they do on validation clips."""

    summed_logits: Tensor
    """The float32 logits [clips, classes] of the training clips without augmentation, summed over the teachers."""
    validation_logits: Tensor
    """The same of the validation clips."""
    accuracies: dict[str, float]
    """Name of a teacher -> its macro accuracy on the validation clips, in [0, 1]."""
    accuracy: float
    """The macro accuracy of the summed logits on the validation clips, in [0, 1]."""

    @classmethod
    def of(cls, stages: Mapping[str, Stage], store: StageStore, validation: np.ndarray) -> "Ensemble":
        """The ensemble of finished teachers, `stages` by name. Raises `StageError` for one that is not finished.

        `validation` are the class numbers of the validation clips, which come last in the teachers' logits.
        """
        logits = {name: store.load(stage)["logits"] for name, stage in stages.items()}
        summed = summed_logits(list(stages.values()), store)
        training = len(summed) - len(validation)
        accuracies = {name: macro_accuracy(each[training:], validation) for name, each in logits.items()}
        known, held_out = summed[:training], summed[training:]
        return cls(known, held_out, accuracies, macro_accuracy(held_out, validation))

    @property
    def fingerprint(self) -> str:
        """A hash of the training clips' logits, eight hexadecimal digits.

        It differs between ensembles that machines rounded differently.
        """
        return blake2b(self.summed_logits.numpy().tobytes(), digest_size=4).hexdigest()


def summed_logits(stages: Sequence[Stage], store: StageStore) -> Tensor:
    """The sum of the float32 logits [clips, classes] that teachers (one at least) stored, on the CPU.

    Raises `StageError` for a teacher that is not finished.
    """
    logits: Tensor = sum(store.load(stage)["logits"] for stage in stages)
    return logits


def chance_warning(accuracies: Mapping[str, float], labels: np.ndarray, clips: str) -> str | None:
    """A warning about teachers whose macro accuracy is within two standard errors of guessing; None where none is.

    `accuracies` are in [0, 1], by the teacher's name, on clips with these class numbers [clips]; `clips` is what the
    warning calls the clips.
    """
    counts = np.unique(labels, return_counts=True)[1]
    chance = 1 / len(counts)
    error = math.sqrt(chance * (1 - chance) * np.sum(1 / counts)) / len(counts)
    weak = [f"{name} {accuracy:.1%}" for name, accuracy in accuracies.items() if accuracy <= chance + 2 * error]
    if not weak:
        return None
    return (
        f"Teachers not clearly better than guessing ({chance:.1%}) on {clips}: {', '.join(weak)}. Students learn "
        "little from them: fine-tune for more epochs, start from checkpoints (--mn, --dymn), or check the labels."
    )
