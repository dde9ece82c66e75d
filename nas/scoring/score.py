"""An architecture's score: validation macro accuracy after a short distillation from the cached ensemble."""

import time
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from dynacp.audio.augmentation_settings import Augmentation
from dynacp.settings import sourced
from dynacp.student.architecture import Architecture
from dynacp.student.model import DynaCP
from dynacp.teachers.ensemble import MEMBERS, Ensemble
from dynacp.teachers.settings import TeacherSettings
from dynacp.training.distillation import Distillation
from dynacp.training.loop import macro_accuracy, one_hot, predict, train
from dynacp.training.schedule import Recipe
from nas.scoring.clips import SearchData

SAMPLES = 2_048
"""The default length of a short distillation, in clips drawn for training, repeats counted."""


GENTLE = Augmentation(mixstyle_probability=0.1, mixup_alpha=0.1)
"""What a short training bears of the augmentations that work on cached log-mels. On the pocket set Table 1 reaches
62 % in 3,072 samples with roll and masks alone, 45 % with Freq-MixStyle and mixup at full training's strength as well:
scores that low tell architectures apart badly."""


SHORT = Recipe(samples=SAMPLES, batch=32, peak_rate=5e-3, weight_decay=1e-4, warm_up=0.25, augmentation=GENTLE)
"""The recipe of one candidate's training."""


TEACHERS = TeacherSettings(epochs=4, batch=32, mn_rate=1e-3, dymn_rate=1e-3)
"""A search's teachers, fine-tuned for a short while as its students are: minutes on two cores."""


@dataclass(frozen=True)
class ScoreSettings:
    """The settings of the short distillation that scores a candidate."""

    recipe: Recipe = SHORT
    distillation: Distillation = field(default_factory=Distillation)


@dataclass(frozen=True)
class SearchSettings:
    """All numbers that a search's teachers and trainings depend on, each with its source."""

    teachers: TeacherSettings = sourced(TEACHERS, "chosen here: minutes on two cores")
    recipe: Recipe = sourced(SHORT, "chosen here for short trainings: studies/replay, studies/fidelity")
    distillation: Distillation = Distillation()

    @property
    def score(self) -> ScoreSettings:
        """The settings that score a candidate."""
        return ScoreSettings(self.recipe, self.distillation)


@dataclass(frozen=True)
class Score:
    """Validation macro accuracy in [0, 1], the last training loss, and the wall-clock seconds of both."""

    accuracy: float
    loss: float
    seconds: float


@dataclass(frozen=True)
class Scorer:
    """Trains candidates on the data, each alike but for its seed."""

    data: SearchData
    soft_labels: Tensor
    settings: ScoreSettings

    @classmethod
    def from_ensemble(cls, data: SearchData, ensemble: Ensemble, settings: ScoreSettings) -> "Scorer":
        """A scorer whose soft labels are those of an ensemble of teachers."""
        soft = settings.distillation.soft_labels(ensemble.summed_logits, len(MEMBERS))
        return cls(data, soft, settings)

    def __call__(self, architecture: Architecture, *, seed: int, samples: int | None = None) -> Score:
        """Distil from scratch with `samples` training samples (by default the recipe's) and score.

        A training that diverges is scored as it stands, which is by chance.
        """
        started = time.perf_counter()
        recipe = self.settings.recipe
        if samples is not None:
            recipe = replace(recipe, samples=samples)
        network, loss = self.distil(architecture, recipe, seed=seed)
        accuracy = macro_accuracy(predict(network, self.data.validation), self.data.validation_labels)
        return Score(accuracy, loss, time.perf_counter() - started)

    def distil(self, architecture: Architecture, recipe: Recipe, *, seed: int) -> tuple[DynaCP, float]:
        """The trained network and its last loss."""
        torch.manual_seed(seed)
        network, data = DynaCP(architecture), self.data
        labels = one_hot(data.training_labels, len(data.classes))
        losses = train(
            network,
            data.training,
            (self.soft_labels, labels),
            self.settings.distillation.loss,
            recipe,
            seed=seed,
        )
        return network, losses[-1]
