"""A data set as training sees it: its clips decoded, and given out whole or by device."""

from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dynacp.audio.augment import load_impulse_responses
from dynacp.audio.augmentation_settings import WaveAugmentation
from dynacp.audio.batches import Features, Waves
from dynacp.audio.cache import log_mels, unlabelled_waves, waves
from dynacp.audio.features import FrontEnd
from dynacp.audio.reading import audio_files
from dynacp.audio.recording_devices import DEVICE_GROUPS, OVERALL, RecordingDevices, check_names
from dynacp.audio.tau import Clips, DataError, test_clips, training_clips
from dynacp.settings import SettingError

GENERAL = "general"
"""Stands for all clips where a device's name is expected."""

BASE = "base"
"""The name of the student that belongs to no device, and serves those without one of their own."""

FINE_TUNED = "-int8"
"""The ending of the names of students that exports fine-tune for int8. No device's name holds a hyphen."""

MIN_CLIPS = 2
"""The fewest training clips of a device that has models of its own: batch norm learns nothing from one clip."""


@dataclass(frozen=True)
class Dataset:
    """A data set in TAU's layout (`dynacp.audio.tau`), decoded into a cache when clips are first asked for.

    Its methods and properties raise `DataError` for files that cannot be used. Where a method takes a `device`, it is
    the name of a recording device; one that no training clip is of has no clips, which is no error. What properties
    give is kept and shared: do not change it.
    """

    root: Path
    """The folder of the data set."""
    cache: Path
    """The folder that decoded clips are kept in."""
    front_end: FrontEnd
    """How log-mels are computed."""
    device: torch.device
    """The torch device that batches are on, not a recording device."""
    responses_folder: Path | None = None
    """Audio files of device impulse responses (`--irs`), which augment clips of the clean device; None: no such
    augmentation."""
    recording: RecordingDevices = RecordingDevices()
    """Which recording devices are clean, and which are real."""
    unlabelled_folder: Path | None = None
    """Audio files without labels (`--unlabelled`) that teachers speak of; None: there are none."""

    @cached_property
    def training(self) -> Clips:
        """The clips of split25.csv, in its order; raises `DataError` as `training_clips` does."""
        return training_clips(self.root)

    @cached_property
    def test(self) -> Clips:
        """The clips of test.csv, in its order. Raises `DataError` where one of them is a training clip too."""
        clips = test_clips(self.root)
        if both := sorted(set(self.training.files) & set(clips.files)):
            raise DataError(
                f"{self.root}: {len(both):,} clips are in split25.csv and in test.csv, {both[0].name} among them; a "
                "clip trained on cannot test: take them out of one of the two."
            )
        return clips

    def check(self) -> None:
        """Raise `DataError` for what is wrong with the layout's files, the devices' names, or the impulse responses.

        Raise `SettingError` for impulse responses where no clip is of the clean device, `AudioError` where a folder of
        audio without labels holds no audio. No clip is decoded.
        """
        self._check_devices()
        if self.unlabelled_folder:
            self._check_unlabelled(self.unlabelled_folder)
        self._responses  # noqa: B018
        self.test  # noqa: B018

    def _check_devices(self) -> None:
        clips, clean, measures = self.training, self.recording.clean, (OVERALL, *DEVICE_GROUPS)
        if taken := set(clips.classes) & {*measures}:
            raise DataError(f"{self.root / 'meta.csv'}: no class may be named {taken.pop()!r}; rename it.")
        try:
            check_names(clips.device_names, files=(GENERAL, BASE), columns=(*measures, *clips.classes))
        except ValueError as error:
            raise DataError(f"{self.root / 'meta.csv'}: {error}.") from None
        if self.responses_folder is not None and not len(clips.recorded_by(clean)):
            there = ", ".join(clips.device_names[number] for number in np.unique(clips.devices))
            raise SettingError(
                f"impulse responses are for clips of the clean device, `recording.clean` is {clean!r}, and no training "
                f"clip is of it; there are {there}: take one with `--set recording.clean=NAME`, or leave out `--irs`."
            )

    def _check_unlabelled(self, folder: Path) -> None:
        tested = {file.resolve() for file in self.test.files}
        if both := [file for file in audio_files([folder]) if file.resolve() in tested]:
            raise DataError(
                f"{folder}: {len(both):,} of its files are in test.csv, {both[0].name} among them; a clip learned from "
                "cannot test: give another folder."
            )

    @cached_property
    def devices(self) -> tuple[str, ...]:
        """The names, sorted, of the recording devices with enough training clips for models of their own.

        They have `MIN_CLIPS` or more.
        """
        counts = np.bincount(self.training.devices, minlength=len(self.training.device_names))
        return tuple(name for name, count in zip(self.training.device_names, counts, strict=True) if count >= MIN_CLIPS)

    def decode(self) -> None:
        """Decode the training clips into the cache now, where later calls, in whatever process, find them."""
        self._waves, self._log_mels, self._unlabelled  # noqa: B018

    @cached_property
    def key(self) -> dict[str, Any]:
        """What identifies the training clips and the impulse responses that augment them by content, as plain JSON.

        `waves` is the name of the stored array, `labels` a hash of classes and devices, `classes` their names, and
        `responses` a hash of the impulse responses and the clips that they augment, or None. Decodes the training
        clips.
        """
        assert isinstance(self._waves, np.memmap)
        clips, responses = self.training, self._responses
        return {
            "waves": Path(str(self._waves.filename)).stem,
            "labels": _digest(clips.labels.tobytes() + clips.devices.tobytes()),
            "classes": list(clips.classes),
            "responses": None if responses is None else _digest(responses.numpy().tobytes() + self._clean.tobytes()),
        }

    @cached_property
    def test_key(self) -> dict[str, str]:
        """What identifies the test clips by content and recording devices, as plain JSON.

        `log_mels` is the name of the stored array, `devices` a hash of the clips' devices. Decodes the test clips.
        """
        assert isinstance(self._test_log_mels, np.memmap)
        devices = [self.test.device_names[number] for number in self.test.devices]
        return {
            "log_mels": Path(str(self._test_log_mels.filename)).stem,
            "devices": _digest("\0".join(devices).encode()),
        }

    def rows(self, device: str) -> np.ndarray:
        """The indices of a recording device's training clips, int64 [clips]; for `GENERAL` those of all clips."""
        if device == GENERAL:
            return np.arange(len(self.training))
        return self.training.recorded_by(device)

    def labels(self, device: str) -> np.ndarray:
        """The class number of each of a device's training clips, int64 [clips]; for `GENERAL` of all clips."""
        return self.training.labels[self.rows(device)]

    def augmented(self, rows: np.ndarray, augmentation: WaveAugmentation) -> Waves:
        """The training clips at these indices (int64 [clips]) as a source of batches of augmented log-mels."""
        return Waves(
            self._waves,
            rows,
            self.device,
            front_end=self.front_end,
            augmentation=augmentation,
            responses=self._responses,
            eligible=self._clean[rows],
        )

    @property
    def unlabelled(self) -> int:
        """The number of clips without labels, of one second each."""
        return len(self._unlabelled)

    @property
    def unlabelled_key(self) -> str | None:
        """What identifies the clips without labels by content; None without any."""
        return Path(str(self._unlabelled.filename)).stem if isinstance(self._unlabelled, np.memmap) else None

    def augmented_unlabelled(self, augmentation: WaveAugmentation) -> Waves:
        """The clips without labels as a source of batches of augmented log-mels; none gets an impulse response."""
        rows = np.arange(self.unlabelled)
        return Waves(
            self._unlabelled,
            rows,
            self.device,
            front_end=self.front_end,
            augmentation=augmentation,
            eligible=np.zeros(len(rows), dtype=bool),
        )

    def training_features(self, rows: np.ndarray) -> Features:
        """The training clips at these indices (int64 [clips]) as evaluation would see them, without augmentation."""
        return Features(self._log_mels, rows, self.device)

    def test_features(self, rows: np.ndarray) -> Features:
        """The log-mels of the test clips at these indices (int64 [clips]), without augmentation."""
        return Features(self._test_log_mels, rows, self.device)

    @cached_property
    def _clean(self) -> np.ndarray:
        """Whether each training clip is of the clean device, bool [clips]."""
        return np.isin(np.arange(len(self.training)), self.training.recorded_by(self.recording.clean))

    @cached_property
    def _waves(self) -> np.ndarray:
        return waves(self.training, self.front_end.sample_rate, self.cache)

    @cached_property
    def _log_mels(self) -> np.ndarray:
        return log_mels(self.training, self.front_end, self.cache)

    @cached_property
    def _test_log_mels(self) -> np.ndarray:
        return log_mels(self.test, self.front_end, self.cache)

    @cached_property
    def _unlabelled(self) -> np.ndarray:
        rate = self.front_end.sample_rate
        if self.unlabelled_folder is None:
            return np.empty((0, rate), np.int16)
        return unlabelled_waves(self.unlabelled_folder, rate, self.cache)

    @cached_property
    def _responses(self) -> Tensor | None:
        if self.responses_folder is None:
            return None
        try:
            return load_impulse_responses(self.responses_folder, self.front_end.sample_rate)
        except ValueError as error:
            raise DataError(str(error)) from None


def _digest(content: bytes) -> str:
    return blake2b(content, digest_size=8).hexdigest()
