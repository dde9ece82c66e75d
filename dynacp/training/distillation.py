"""Multi-teacher distillation: the soft labels of an ensemble, and the one loss.

The paper sums the logits of its eight teachers and gives no temperature. A sum of n logits is n times their mean, so
temperature n T on the sum is T on the mean. Here, and nowhere else, it is decided: the teachers' logits are averaged
and softened by T. T = 2 is CP-JKU's (DCASE 2023).

CP-JKU's loss is 0.02 of label cross-entropy and 0.98 of a divergence averaged over batch *and* ten classes. Averaged
over the batch alone, as here and as defined, that divergence is ten times as large: 0.02 against 0.098, or 0.17 to
0.83 as shares.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from dynacp.settings import require, sourced


@dataclass(frozen=True)
class Distillation:
    """What students learn: the weight of the labels (the rest is the teachers') and the softening temperature.

    The temperature is that on the mean of the teachers' logits. With `views`, students and teachers hear the same views
    of clips (`dynacp.audio.views`), one an epoch, over and over. Raises `SettingError` for values out of range.
    """

    label_weight: float = sourced(0.17, "the paper gives none: CP-JKU's, averaged over the batch alone")
    temperature: float = sourced(2.0, "the paper gives none: CP-JKU's")
    views: int = sourced(0, "as in the paper, soft labels are of clips as they are; else of so many views of each")

    def __post_init__(self) -> None:
        require(self.views >= 0, "views", self.views, "0 (off) or more")
        require(0 <= self.label_weight <= 1, "label_weight", self.label_weight, "in [0, 1]")
        require(self.temperature > 0, "temperature", self.temperature, "positive")

    @property
    def needs_teachers(self) -> bool:
        """Whether anything is learned from teachers; with a weight of 1 labels are all."""
        return self.label_weight < 1

    def soft_labels(self, mean_logits: Tensor) -> Tensor:
        """The teachers' mean logits [..., classes] as softened probabilities [..., classes]."""
        return torch.softmax(mean_logits / self.temperature, dim=-1)

    def loss(self, logits: Tensor, soft_labels: Tensor, labels: Tensor) -> Tensor:
        """The weighted sum of the cross-entropy with the labels and T² x the divergence from the teachers, in nats.

        It is a scalar, averaged over the batch. All arguments are [batch, classes]; `soft_labels` and `labels` are
        probabilities, so that mixup can mix them.
        """
        student = functional.log_softmax(logits / self.temperature, dim=-1)
        divergence = functional.kl_div(student, soft_labels, reduction="batchmean")
        hard = functional.cross_entropy(logits, labels)
        return self.label_weight * hard + (1 - self.label_weight) * self.temperature**2 * divergence
