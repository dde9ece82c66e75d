"""How an exported model compares with its student: logits clip by clip, and accuracies where these differ."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from dynacp.training.loop import macro_accuracy

READ_AT_ONCE = 256
"""Clips read into memory at once."""


@dataclass(frozen=True)
class Parity:
    """How far two models' logits on the same clips agree."""

    clips: int
    """The number of clips."""
    largest_difference: float
    """The largest absolute difference between two logits of the same clip and class."""
    equal_decisions: float
    """The share of clips, in [0, 1], that both models take for the same class."""

    @classmethod
    def between(cls, ours: np.ndarray, theirs: np.ndarray) -> "Parity":
        """The agreement of two arrays of logits, both [clips, classes] of the same clips, one at least."""
        equal = ours.argmax(axis=1) == theirs.argmax(axis=1)
        return cls(len(ours), float(np.abs(ours - theirs).max()), float(equal.mean()))

    def __str__(self) -> str:
        same = f"{self.equal_decisions:.1%} of {self.clips:,} clips decided alike"
        return f"{same}, logits at most {self.largest_difference:.2g} apart"


@dataclass(frozen=True)
class ClipInputs:
    """Clips as an exported model takes them, which need not fit into memory together."""

    read: Callable[[slice], np.ndarray]
    """Gives the clips of a slice: float32 log-mels [clips, 1, mels, frames], or samples [clips, samples]."""
    labels: np.ndarray
    """The class numbers of all clips, int64 [clips]."""

    def __len__(self) -> int:
        return len(self.labels)

    def accuracy(self, model: Callable[[np.ndarray], np.ndarray]) -> float:
        """Macro accuracy in [0, 1] of a model that turns clips, as `read` gives them, into logits [clips, classes].

        It is given `READ_AT_ONCE` clips at a time. Raises `ValueError` where there is no clip.
        """
        parts = (slice(start, start + READ_AT_ONCE) for start in range(0, len(self), READ_AT_ONCE))
        logits = np.concatenate([model(self.read(part)) for part in parts])
        return macro_accuracy(torch.from_numpy(logits), self.labels)


@dataclass(frozen=True)
class Choice:
    """Macro accuracies in [0, 1] on training clips, by which one of two int8 students is kept."""

    clips: int
    """The number of clips."""
    float32: float
    """The accuracy of the student before quantisation."""
    calibrated: float
    """The accuracy in int8 without further training."""
    fine_tuned: float | None = None
    """The accuracy in int8 after a training that rounds as int8 does; None where calibration was good enough."""

    @property
    def lost(self) -> float:
        """The accuracy that calibration alone costs, as a difference of shares: 0.01 is a point; negative: a gain."""
        return self.float32 - self.calibrated

    @property
    def keeps_fine_tuned(self) -> bool:
        """Whether the fine-tuned student is kept: it must be better than the calibrated one."""
        return self.fine_tuned is not None and self.fine_tuned > self.calibrated

    def __str__(self) -> str:
        kept = "kept" if self.keeps_fine_tuned else "not kept"
        tuned = "" if self.fine_tuned is None else f", {self.fine_tuned:.2%} fine-tuned ({kept})"
        return (
            f"On {self.clips:,} training clips {self.float32:.2%} in float32, in int8 {self.calibrated:.2%} "
            f"calibrated{tuned}"
        )


@dataclass(frozen=True)
class Accuracy:
    """Macro accuracies in [0, 1] on the test clips of a student's device. They decide nothing."""

    clips: int
    """The number of clips."""
    float32: float
    """The accuracy of the student before quantisation."""
    int8: float
    """The accuracy of the exported file, computed by its runtime."""

    def __str__(self) -> str:
        return f"On {self.clips:,} test clips {self.float32:.2%} in float32, {self.int8:.2%} in int8"
