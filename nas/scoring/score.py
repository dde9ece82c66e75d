"""Scores an architecture by one short distillation from the cached teacher ensemble.

Candidates are ranked by the mean loss of all training steps. In a first epoch every batch is unseen when its loss is
taken, so that mean is a score on more clips than the validation split holds. It scatters less between seeds than any
other statistic of the same training, and none is shown to rank better as the full training does (studies/score).
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from dynacp.audio.augmentation_settings import Augmentation
from dynacp.audio.views import Views
from dynacp.settings import require, sourced
from dynacp.student.architecture import Architecture
from dynacp.student.model import DynaCP
from dynacp.teachers.ensemble import Ensemble
from dynacp.teachers.settings import TeacherSettings
from dynacp.training.distillation import Distillation
from dynacp.training.examples import Augmented, Examples, Viewed
from dynacp.training.loop import (
    cross_entropies,
    macro_accuracy,
    macro_mean,
    macro_recording_mean,
    one_hot,
    predict,
    train,
)
from dynacp.training.schedule import Recipe
from nas.scoring.clips import SearchData

SAMPLES = 2_048
"""The default length of a short distillation, in clips drawn for training, repeats counted."""


VIEWED = Augmentation(mixstyle_probability=0.0, mixup_alpha=1.0)
"""The augmentation of the views that students and teachers hear: weights of the mixup are uniform in [0, 1], as in
https://arxiv.org/abs/2106.05237."""


SHORT = Recipe(samples=SAMPLES, batch=16, peak_rate=5e-3, weight_decay=1e-4, warm_up=0.25, augmentation=VIEWED)
"""The default recipe of one candidate's training."""


TEACHERS = TeacherSettings(which="mn", epochs=4, batch=32, mn_rate=1e-3, dymn_rate=1e-3, cross_fitted=True)
"""The default settings of a search's teachers, which are fine-tuned for a short while only: minutes on two cores.

DyMN would take twice as long as MN."""


FULL_EPOCHS = 6
"""The default length of a full training in the race, in passes over the training clips."""


DISTILLATION = Distillation(temperature=1.0, views=FULL_EPOCHS)
"""The default loss: the labels, and what cross-fitted teachers say, as they say it, of the views that students hear.

A full training hears another view of a clip in each epoch.
"""


DIVERGED = 10.0
"""The loss, in nats, of each step of a training whose first loss is no number: more than guessing costs."""


@dataclass(frozen=True)
class ScoreSettings:
    """The settings of the short distillation that scores a candidate."""

    recipe: Recipe = SHORT
    """The training; its `samples` are replaced by those of each training."""
    distillation: Distillation = DISTILLATION
    """The loss."""

    @property
    def views(self) -> tuple[int, Augmentation] | None:
        """How many views teachers are asked about, and how they are augmented; None for none."""
        return (self.distillation.views, self.recipe.augmentation) if self.distillation.views else None


@dataclass(frozen=True)
class SearchSettings:
    """All numbers that a search's teachers and trainings depend on, each with its source.

    `recipe` is a candidate's training, `distillation` its loss, and `teachers` how these are fine-tuned. `full_epochs`
    is the length of a full training in the race, in passes over the training clips. Raises `SettingError` for one below
    1.
    """

    teachers: TeacherSettings = sourced(
        TEACHERS, "chosen here: minutes on two cores; MN, cross-fitted: studies/teaching"
    )
    recipe: Recipe = sourced(SHORT, "chosen here for short trainings: studies/score, of views: studies/teaching")
    distillation: Distillation = sourced(DISTILLATION, "what brought most on real audio: studies/teaching")
    full_epochs: int = sourced(FULL_EPOCHS, "of a full training in the race, chosen here: minutes on two cores")

    def __post_init__(self) -> None:
        require(self.full_epochs >= 1, "full_epochs", self.full_epochs, "at least 1")
        if self.distillation.views:
            self.recipe.augmentation.require_views()

    @property
    def score(self) -> ScoreSettings:
        """The settings that score a candidate."""
        return ScoreSettings(self.recipe, self.distillation)


@dataclass(frozen=True, kw_only=True)
class Score:
    """The statistics of one training.

    `training_loss`, `early_loss`, `late_loss` and `loss` are the distillation loss in nats.
    """

    training_loss: float
    """The mean over all training steps: what candidates are ranked by."""
    early_loss: float
    """The mean over the first half of the steps."""
    late_loss: float
    """The mean over the last half of the steps."""
    loss: float
    """That of the last step; not finite if the training diverged."""
    accuracy: float
    """Validation macro accuracy in [0, 1]: what people read."""
    cross_entropy: float
    """Validation cross-entropy with the labels in nats, the mean over the classes of each one's mean."""
    recording_cross_entropy: float
    """The same, where each recording (the clips of one location) counts as much as any other of its class."""
    seconds: float
    """Wall-clock seconds of training and validation."""


@dataclass(frozen=True)
class Scorer:
    """Trains and scores architectures, all with the same recipe apart from seed, length and split.

    Call it as `scorer(architecture, seed=, samples=, way=0)`. `soft_labels` are the teachers' softened probabilities
    [clips, classes], of all clips of `data`, in their order, or with `views` of these, [views, clips, classes];
    `settings` holds the recipe and the loss.
    """

    data: SearchData
    soft_labels: Tensor
    settings: ScoreSettings
    views: Views | None = None

    @classmethod
    def from_ensemble(cls, data: SearchData, ensemble: Ensemble, settings: ScoreSettings) -> "Scorer":
        """A scorer with the soft labels of an ensemble, whose logits are of the clips as `data` divides them."""
        soften = settings.distillation.soft_labels
        if ensemble.view_logits is not None:
            return cls(data, soften(ensemble.view_logits), settings, ensemble.views)
        logits = torch.empty(len(data.labels), len(data.classes))
        logits[data.training_rows], logits[data.validation_rows] = ensemble.logits, ensemble.validation_logits
        return cls(data, soften(logits), settings)

    @classmethod
    def on_labels(cls, data: SearchData, settings: ScoreSettings) -> "Scorer":
        """A scorer without teachers, for a loss that needs none."""
        untold = torch.full((len(data.labels), len(data.classes)), 1 / len(data.classes))
        return cls(data, untold, settings)

    def __call__(self, architecture: Architecture, *, seed: int, samples: int, way: int = 0) -> Score:
        """Distil from scratch with so many training samples, and score on the validation clips of a way.

        `way` is a row of `data.held_out`, else `IndexError`. Seeds torch's global generator. A training that diverges
        is scored as it stands, which is by chance; each step that it did not come to counts with its highest loss.
        """
        started = time.perf_counter()
        recipe, data = replace(self.settings.recipe, samples=samples), self._divided[way]
        network, losses = self.distil(architecture, recipe, seed=seed, way=way)
        labels, logits = data.validation_labels, predict(network, data.validation)
        counted = finite_losses(losses, recipe.steps)
        early, late = np.array_split(counted, [recipe.steps // 2])
        return Score(
            training_loss=float(counted.mean()),
            early_loss=float(early.mean()) if early.size else losses[0],
            late_loss=float(late.mean()),
            loss=losses[-1],
            **validation_statistics(logits, labels, data.groups[data.validation_rows]),
            seconds=time.perf_counter() - started,
        )

    @cached_property
    def _divided(self) -> tuple[SearchData, ...]:
        return tuple(replace(self.data, way=way) for way in range(len(self.data.held_out)))

    def distil(
        self, architecture: Architecture, recipe: Recipe, *, seed: int, way: int = 0
    ) -> tuple[DynaCP, list[float]]:
        """Train a network of this architecture from scratch, with `recipe`, on the training clips of a way.

        Returns it, on `data.device`, and its loss at each step (nats), fewer than `recipe.steps` if the training
        diverged: the last is then not finite. `way` is a row of `data.held_out`, else `IndexError`. Seeds torch's
        global generator.
        """
        torch.manual_seed(seed)
        network, examples = DynaCP(architecture), self.examples(recipe.augmentation, way=way)
        return network, train(network, examples, self.settings.distillation.loss, recipe, seed=seed)

    def examples(self, augmentation: Augmentation, *, way: int = 0) -> Examples:
        """What a network is trained on with this augmentation: the training clips of a way, else `IndexError`."""
        data = self._divided[way]
        rows, labels = torch.from_numpy(data.training_rows), one_hot(data.labels, len(data.classes))
        if self.views is not None:
            return Viewed(self.views, rows, self.soft_labels, labels)
        return Augmented(data.training, (self.soft_labels[rows], labels[rows]), augmentation)


def validation_statistics(logits: Tensor, labels: np.ndarray, recordings: np.ndarray) -> dict[str, float]:
    """The `accuracy`, `cross_entropy` and `recording_cross_entropy` of a `Score`, from logits [clips, classes].

    `labels` are class numbers, int64 [clips]; `recordings` name where each clip was recorded.
    """
    losses = cross_entropies(logits, labels)
    return {
        "accuracy": macro_accuracy(logits, labels),
        "cross_entropy": macro_mean(losses, labels),
        "recording_cross_entropy": macro_recording_mean(losses, labels, recordings),
    }


def finite_losses(losses: Sequence[float], steps: int) -> np.ndarray:
    """The losses of all steps, a finite number each: those of a training that diverged go on with its highest one.

    With `DIVERGED` where it never had one.
    """
    finite = np.array(losses)[np.isfinite(losses)]
    return np.pad(finite, (0, steps - len(finite)), constant_values=finite.max() if finite.size else DIVERGED)
