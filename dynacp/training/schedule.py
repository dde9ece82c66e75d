"""How long a training is and how fast: by epochs, as settings give it, and by samples, as the loop takes it."""

from dataclasses import dataclass

from dynacp.audio.augmentation_settings import Augmentation
from dynacp.settings import require


@dataclass(frozen=True)
class Recipe:
    """A training budget and how it is spent: AdamW on a one-cycle cosine schedule that peaks after `warm_up` of it.

    It has no defaults: whoever trains states all of it, in settings that a user can see. Raises `SettingError` for
    values that make no training.
    """

    samples: int
    """The number of training samples in all, where a clip counts each time that it is seen."""
    batch: int
    """The number of clips in a batch."""
    peak_rate: float
    """The highest learning rate."""
    weight_decay: float
    """AdamW's weight decay."""
    warm_up: float
    """The share of the steps before the peak, between 0 and 1."""
    augmentation: Augmentation
    """What is done to each batch of log-mels."""

    def __post_init__(self) -> None:
        require(self.samples >= 1, "samples", self.samples, "at least 1")
        _check(self)

    @property
    def steps(self) -> int:
        """The number of training steps: of whole batches, one at least."""
        return max(1, self.samples // self.batch)


@dataclass(frozen=True)
class Schedule:
    """How long a training is and how fast: AdamW on a one-cycle cosine that peaks after `warm_up` of the steps.

    Raises `SettingError` for values that make no training.
    """

    epochs: int
    """How often each clip is seen."""
    batch: int
    """The number of clips in a batch."""
    peak_rate: float
    """The highest learning rate."""
    weight_decay: float = 1e-4
    """AdamW's weight decay."""
    warm_up: float = 0.1
    """The share of the steps before the peak, between 0 and 1."""

    def __post_init__(self) -> None:
        require(self.epochs >= 1, "epochs", self.epochs, "at least 1")
        _check(self)

    def recipe(self, clips: int, augmentation: Augmentation) -> Recipe:
        """The recipe of this schedule for a training on that many clips, with its augmentation.

        Raises `SettingError` for no clips.
        """
        return Recipe(self.epochs * clips, self.batch, self.peak_rate, self.weight_decay, self.warm_up, augmentation)


def _check(schedule: "Recipe | Schedule") -> None:
    """Raise `SettingError` for a number that no training can take."""
    require(schedule.batch >= 2, "batch", schedule.batch, "at least 2, for batch norm")
    require(schedule.peak_rate > 0, "peak_rate", schedule.peak_rate, "positive")
    require(schedule.weight_decay >= 0, "weight_decay", schedule.weight_decay, "0 or more")
    require(0 < schedule.warm_up < 1, "warm_up", schedule.warm_up, "a share between 0 and 1")
