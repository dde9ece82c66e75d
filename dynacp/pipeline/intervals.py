"""Accuracies on a test split, with intervals that know how few places the clips were recorded in.

The clips of one location are alike, and each is there once for every device, so an interval that treats clips as
independent is far too narrow. Here locations are drawn again, with replacement and within their class, and all
accuracies are computed from each draw; two systems are compared on the same draws.
"""

from functools import cached_property

import numpy as np
import pandas as pd
from torch import Tensor

from dynacp.audio.recording_devices import OVERALL, RecordingDevices
from dynacp.audio.tau import Clips

RESAMPLES = 2_000
"""The number of draws of locations behind each interval."""

CONFIDENCE = 0.95
"""The probability that an interval is to cover the true value."""


class Bootstrap:
    """Draws of the test split's locations: the first is the split itself, the `RESAMPLES` others resample it.

    `clips` are the test clips, `trained_devices` the names of the devices with training clips; `recording` says which
    of them are real, and `seed` decides the draws. `tested_devices` are the names of the devices with test clips,
    `groups` (group -> names) those in each group. A class recorded in one place alone cannot be resampled, and adds
    nothing to any interval: see `fewest_places`, the least number of locations of a class.
    """

    def __init__(
        self,
        clips: Clips,
        trained_devices: tuple[str, ...],
        *,
        recording: RecordingDevices = RecordingDevices(),
        seed: int = 0,
    ) -> None:
        self.clips = clips
        self.tested_devices = tuple(clips.device_names[index] for index in np.unique(clips.devices))
        self.groups = recording.groups(self.tested_devices, trained_devices)
        rng = np.random.default_rng(seed)
        table = pd.DataFrame({"label": clips.labels, "group": clips.groups})
        self._place = table.groupby(["label", "group"]).ngroup().to_numpy()
        class_of = table["label"].groupby(self._place).first().to_numpy()
        self._weights = np.ones((RESAMPLES + 1, len(class_of)))
        self.fewest_places = int(np.unique(class_of, return_counts=True)[1].min())
        for label in np.unique(class_of):
            mine = np.flatnonzero(class_of == label)
            if (count := len(mine)) > 1:  # Rao and Wu 1988: n - 1 of n, scaled up, or the variance comes out too small
                drawn = rng.multinomial(count - 1, np.full(count, 1 / count), RESAMPLES)
                self._weights[1:, mine] = drawn * count / (count - 1)

    def accuracies(self, logits: Tensor) -> pd.DataFrame:
        """The accuracies of logits [clips, classes]: a row for each draw, a column for each accuracy, in [0, 1].

        `logits` are on the CPU. The first row is of the test split itself. `accuracy` is the mean over classes (the
        challenge's measure); that of a class or a device is the share of its clips that is recognised; `real`, `seen`
        and `unseen` are means over the devices in these groups.
        """
        right = self._counts(logits.argmax(dim=1).numpy() == self.clips.labels)
        total = self._all
        with np.errstate(invalid="ignore"):  # classes and devices without test clips
            of_class = right.sum(axis=2) / total.sum(axis=2)
            of_device = right.sum(axis=1) / total.sum(axis=1)
        columns: dict[str, np.ndarray] = {OVERALL: of_class[:, self._tested_classes].mean(axis=1)}
        device_number = {name: self.clips.device_names.index(name) for name in self.tested_devices}
        for name, devices in self.groups.items():
            columns[name] = of_device[:, [device_number[device] for device in devices]].mean(axis=1)
        columns |= {self.clips.classes[label]: of_class[:, label] for label in self._tested_classes}
        columns |= {name: of_device[:, number] for name, number in device_number.items()}
        return pd.DataFrame(columns)

    @cached_property
    def tested_classes(self) -> tuple[str, ...]:
        """The names of the classes that have test clips, sorted."""
        return tuple(self.clips.classes[label] for label in self._tested_classes)

    @cached_property
    def _tested_classes(self) -> np.ndarray:
        return np.unique(self.clips.labels)

    @cached_property
    def _all(self) -> np.ndarray:
        return self._counts(np.ones(len(self.clips)))

    def _counts(self, weights: np.ndarray) -> np.ndarray:
        """Clips by draw, class and device, each counted by its weight."""
        shape = (self._weights.shape[1], len(self.clips.classes), len(self.clips.device_names))
        cells = np.zeros(shape)
        np.add.at(cells, (self._place, self.clips.labels, self.clips.devices), weights)
        return (self._weights @ cells.reshape(shape[0], -1)).reshape(-1, *shape[1:])


def summary(draws: pd.DataFrame) -> pd.DataFrame:
    """The value and the 95 % interval of each column of draws: a table with the columns value, low and high.

    It has a row for each column of `draws`, by its name. `draws` are what `Bootstrap.accuracies` gives, or the
    difference between two systems' draws.
    """
    tail = (1 - CONFIDENCE) / 2
    spread = draws.iloc[1:].quantile([tail, 1 - tail])
    return pd.DataFrame({"value": draws.iloc[0], "low": spread.iloc[0], "high": spread.iloc[1]}).rename_axis("measure")


def confusion(logits: Tensor, labels: np.ndarray) -> np.ndarray:
    """The share of each class's clips (rows) that is taken for each class (columns), in [0, 1].

    It is [classes, classes]; a class without clips is a row of zeros. `logits` are [clips, classes] on the CPU,
    `labels` class numbers [clips].
    """
    classes = logits.shape[1]
    counts = np.zeros((classes, classes))
    np.add.at(counts, (labels, logits.argmax(dim=1).numpy()), 1)
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
