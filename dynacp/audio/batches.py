"""Training batches made from waves: what can only be done before the log-mel is, done anew for every batch."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dynacp.audio.augment import impulse_response, roll_samples
from dynacp.audio.cache import WAVE_SCALE
from dynacp.audio.features import FrontEnd, LogMel
from dynacp.settings import require, sourced


@dataclass(frozen=True)
class WaveAugmentation:
    """What is done to the waves of a batch. Zero, or false, turns a part off."""

    roll_samples: int = sourced(4_410, "the report rolls in time but not how far: CP-JKU's 0.1 s")
    perturb_edges: bool = sourced(True, "report, section 2.2 (f_min, f_max of the mel bank)")
    impulse_probability: float = sourced(
        0.4, "with --irs alone, on the clean device; not in the report: CP-JKU's 0.4 to 0.6"
    )

    def __post_init__(self) -> None:
        require(self.roll_samples >= 0, "roll_samples", self.roll_samples, "0 (off) or more")
        require(0 <= self.impulse_probability <= 1, "impulse_probability", self.impulse_probability, "in [0, 1]")


class Waves:
    """Waves of some clips, int16 [clips, samples], that come out as batches of augmented log-mels.

    On a GPU they are copied there once. `responses` are impulse responses [count, taps] for the clips that are
    `eligible` (bool [clips]: recordings of the clean device).
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
        """The clips at these indices (a CPU tensor), augmented: log-mels [batch, 1, mels, frames]."""
        if self._on_device is not None:
            waves = self._on_device[clips.to(self.device)]
        else:
            waves = torch.from_numpy(self._waves[self._rows[clips.numpy()]])
        samples, augmentation = waves.float() / WAVE_SCALE, self.augmentation
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
