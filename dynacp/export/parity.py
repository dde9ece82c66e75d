"""Whether an exported model says what the student says, clip by clip."""

from dataclasses import dataclass

import numpy as np


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
