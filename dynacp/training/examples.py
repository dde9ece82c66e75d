"""What a training takes its batches from: clips that are augmented anew each time, or seeded views of them."""

from typing import Protocol

import torch
from torch import Tensor

from dynacp.audio.augmentation_settings import Augmentation
from dynacp.audio.batches import ClipSource
from dynacp.audio.views import Views


class Examples(Protocol):
    """Clips with their targets; `len` is the number of clips."""

    @property
    def device(self) -> torch.device:
        """The device that batches are on."""

    def __len__(self) -> int: ...

    def batch(self, clips: Tensor, epochs: Tensor, generator: torch.Generator) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The clips at these indices: float32 log-mels [batch, 1, mels, frames], and targets [batch, classes], each.

        Targets are probabilities. `clips` and `epochs` are int64 [batch], on the CPU; the epochs count from 0 how often
        a clip was seen before. Log-mels are in a tensor of their own. `generator` (of the CPU) decides what is random.
        """


class Augmented:
    """Clips that are augmented anew each time; their `targets`, [clips, classes], are mixed as they are."""

    def __init__(self, source: ClipSource, targets: tuple[Tensor, ...], augmentation: Augmentation) -> None:
        self._source, self._augmentation, self.device = source, augmentation, source.device
        self._targets = tuple(target.to(source.device) for target in targets)

    def __len__(self) -> int:
        return len(self._source)

    def batch(self, clips: Tensor, _epochs: Tensor, generator: torch.Generator) -> tuple[Tensor, tuple[Tensor, ...]]:
        """As `Examples.batch` says; the epochs make no difference."""
        targets = tuple(target[clips.to(self.device)] for target in self._targets)
        return self._augmentation(self._source.batch(clips, generator), targets, generator)


class Viewed:
    """Views of clips, one an epoch, over and over, with what teachers say of each view and the labels, in this order.

    `soft_labels` are [views, all clips, classes] and `labels` [all clips, classes], all of the clips that `views` has;
    those at `rows` (int64 [clips]) are the examples.
    """

    def __init__(self, views: Views, rows: Tensor, soft_labels: Tensor, labels: Tensor) -> None:
        self._views, self._rows, self.device = views, rows, views.device
        self._soft_labels, self._labels = soft_labels.to(views.device), labels.to(views.device)

    def __len__(self) -> int:
        return len(self._rows)

    def batch(self, clips: Tensor, epochs: Tensor, _generator: torch.Generator) -> tuple[Tensor, tuple[Tensor, ...]]:
        """As `Examples.batch` says; nothing is random. A batch at the end of an epoch may hold two views."""
        rows, numbers = self._rows[clips], epochs % len(self._soft_labels)
        parts = [self._view(rows[numbers == number], int(number)) for number in numbers.unique_consecutive()]
        log_mels, soft, hard = (torch.cat(each) for each in zip(*parts, strict=True))
        return log_mels, (soft, hard)

    def _view(self, rows: Tensor, number: int) -> tuple[Tensor, Tensor, Tensor]:
        soft = self._soft_labels[number, rows.to(self.device)]
        return self._views.batch(rows, number), soft, self._views.mix(self._labels, rows, number)
