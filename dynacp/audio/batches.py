"""Training batches of log-mels, [batch, 1, mels, frames]: from log-mels that are decoded already, or from waves."""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from dynacp.audio.augment import (
    NO_RESPONSE,
    convolved,
    draw_responses,
    draw_shifts,
    impulse_response,
    roll_samples,
    rolled,
)
from dynacp.audio.augmentation_settings import WaveAugmentation
from dynacp.audio.cache import WAVE_SCALE
from dynacp.audio.features import FrontEnd, LogMel


class ClipSource(Protocol):
    """Clips that training takes batches from; `len` is their number."""

    device: torch.device
    """The device that batches are on."""

    def __len__(self) -> int: ...

    def batch(self, clips: Tensor, generator: torch.Generator) -> Tensor:
        """The clips at these indices (a CPU tensor) as float32 log-mels [batch, 1, mels, frames], augmented or not.

        They are on `device`, in a tensor of their own. `generator` (of the CPU) decides the augmentation.
        """


class Inputs(Protocol):
    """Clips that a network predicts; `len` is their number."""

    @property
    def device(self) -> torch.device:
        """The device that batches are on."""

    def __len__(self) -> int: ...

    def __getitem__(self, clips: Tensor) -> Tensor:
        """The clips at these indices (a CPU tensor), float32 log-mels [batch, 1, mels, frames] on `device`."""


class Features:
    """Log-mels of some clips, without augmentation; a batch of them is float32.

    `log_mels` are float16 [all clips, mels, frames], and `rows` are the indices of these clips in them. On a GPU they
    are copied there once; on the CPU they stay where they are, which may be a memory-mapped file. `device` is the one
    that batches are on.
    """

    def __init__(self, log_mels: np.ndarray, rows: np.ndarray, device: torch.device) -> None:
        self._log_mels, self._rows, self.device = log_mels, rows, device
        self._on_device = torch.from_numpy(log_mels[rows]).to(device) if device.type != "cpu" else None

    def __len__(self) -> int:
        return len(self._rows)

    def __add__(self, others: "Features") -> "Features":
        """These clips, followed by others of the same array of log-mels; `AssertionError` for those of another."""
        assert self._log_mels is others._log_mels, "both must be of one array"
        return Features(self._log_mels, np.concatenate([self._rows, others._rows]), self.device)

    def __getitem__(self, clips: Tensor) -> Tensor:
        """A copy of the clips at these indices (a CPU tensor), float32 [batch, 1, mels, frames] on `device`."""
        if self._on_device is not None:
            batch = self._on_device[clips.to(self.device)]
        else:
            batch = torch.from_numpy(self._log_mels[self._rows[clips.numpy()]])
        return batch.float().unsqueeze(1)

    def batch(self, clips: Tensor, _generator: torch.Generator) -> Tensor:
        """The clips at these indices (a CPU tensor) as they are: float32 log-mels [batch, 1, mels, frames].

        They are on `device`, in a tensor of their own. The generator is not used: `Augmentation` comes later.
        """
        return self[clips]

    def view(self, clips: Tensor, _seed: int) -> Tensor:
        """The clips at these indices (a CPU tensor) as they are: float32 log-mels [batch, 1, mels, frames].

        They are on `device`, in a tensor of their own. No seed changes them.
        """
        return self[clips]


class Waves:
    """Waves of some clips, from which batches of augmented log-mels are computed.

    `waves` are int16 [all clips, samples], and `rows` are the indices of these clips in them. On a GPU they are copied
    there once. `front_end` says how log-mels are computed, and `augmentation` what is done to waves. `responses` are
    impulse responses [count, taps] for the clips that are `eligible` (bool [clips], one for each of `rows`: recordings
    of the clean device); None: no clip gets one. `device` is the one that batches are on.
    """

    def __init__(
        self,
        waves: np.ndarray,
        rows: np.ndarray,
        device: torch.device,
        *,
        front_end: FrontEnd,
        augmentation: WaveAugmentation,
        responses: Tensor | None = None,
        eligible: np.ndarray,
    ) -> None:
        self.device, self.augmentation = device, augmentation
        self._waves, self._rows = waves, rows
        self._on_device = torch.from_numpy(waves[rows]).to(device) if device.type != "cpu" else None
        self._front_end = LogMel(front_end).to(device)
        self._responses = responses
        self._eligible = torch.from_numpy(eligible)

    def __len__(self) -> int:
        return len(self._rows)

    def batch(self, clips: Tensor, generator: torch.Generator) -> Tensor:
        """The clips at these indices (a CPU tensor), augmented: float32 log-mels [batch, 1, mels, frames].

        They are on `device`, in a tensor of their own. `generator` is of the CPU. Raises `ValueError` for a roll longer
        than the waves, and for waves too short for one frame.
        """
        samples, augmentation = self._samples(clips), self.augmentation
        if augmentation.roll_samples:
            samples = roll_samples(samples, max_samples=augmentation.roll_samples, generator=generator)
        if self._responses is not None:
            samples = impulse_response(
                samples,
                self._responses,
                probability=augmentation.impulse_probability,
                eligible=self._eligible[clips],
                generator=generator,
            )
        return self._front_end(samples, generator=generator if augmentation.perturb_edges else None)

    def view(self, clips: Tensor, seed: int) -> Tensor:
        """The clips at these indices (a CPU tensor), augmented as a seed says.

        They are float32 log-mels [batch, 1, mels, frames] on `device`, in a tensor of their own. A clip's roll and
        response are its own, the edges of the mel bank those of all. Raises `ValueError` as `batch` does.
        """
        samples, augmentation = self._samples(clips), self.augmentation
        generator = torch.Generator().manual_seed(seed)
        edges = torch.Generator().manual_seed(int(torch.randint(2**62, (), generator=generator)))
        if augmentation.roll_samples:
            samples = rolled(samples, draw_shifts(len(self), augmentation.roll_samples, generator)[clips])
        if self._responses is not None:
            number, probability = len(self._responses), augmentation.impulse_probability
            drawn = draw_responses(len(self), number, probability=probability, generator=generator)
            samples = convolved(samples, self._responses, torch.where(self._eligible, drawn, NO_RESPONSE)[clips])
        return self._front_end(samples, generator=edges if augmentation.perturb_edges else None)

    def _samples(self, clips: Tensor) -> Tensor:
        """The waves at these indices, float32 [batch, samples] on `device`."""
        if self._on_device is not None:
            waves = self._on_device[clips.to(self.device)]
        else:
            waves = torch.from_numpy(self._waves[self._rows[clips.numpy()]])
        return waves.float() / WAVE_SCALE
