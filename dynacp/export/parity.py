"""Whether an exported model says what the student says, clip by clip, and what it recognises where it does not."""

from dataclasses import dataclass

import numpy as np
import torch

from dynacp.train import macro_accuracy


@dataclass(frozen=True)
class Parity:
    """Of two models' logits on the same clips."""

    clips: int
    largest_difference: float
    """Of any logit."""
    equal_decisions: float
    """Share of the clips that both take for the same class."""

    @classmethod
    def between(cls, ours: np.ndarray, theirs: np.ndarray) -> "Parity":
        """Both [clips, classes]."""
        equal = ours.argmax(axis=1) == theirs.argmax(axis=1)
        return cls(len(ours), float(np.abs(ours - theirs).max()), float(equal.mean()))

    def __str__(self) -> str:
        same = f"{self.equal_decisions:.1%} of {self.clips:,} clips decided alike"
        return f"{same}, logits at most {self.largest_difference:.2g} apart"


@dataclass(frozen=True)
class Accuracy:
    """Macro accuracies of a student on the test clips that it is for, in [0, 1]: what int8 costs it."""

    clips: int
    float32: float
    calibrated: float
    """In int8, without further training."""
    fine_tuned: float | None
    """In int8, after a training that knew of it; None where that was not needed."""

    @property
    def tuned_is_better(self) -> bool:
        return self.fine_tuned is not None and self.fine_tuned > self.calibrated

    @staticmethod
    def of(logits: np.ndarray, labels: np.ndarray) -> float:
        return macro_accuracy(torch.from_numpy(logits), labels)

    def __str__(self) -> str:
        kept = "which is kept" if self.tuned_is_better else "which is not kept"
        tuned = "" if self.fine_tuned is None else f", {self.fine_tuned:.2%} fine-tuned, {kept}"
        return (
            f"Accuracy on {self.clips:,} test clips {self.float32:.2%} in float32; in int8 {self.calibrated:.2%} "
            f"calibrated{tuned}"
        )
