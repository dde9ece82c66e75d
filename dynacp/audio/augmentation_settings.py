"""What is done to a training batch, as settings with sources: to its waves, and to its log-mels."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dynacp.audio.augment import freq_mixstyle, mask_frequency, mask_time, mixup, roll_frames
from dynacp.settings import require, sourced


@dataclass(frozen=True)
class WaveAugmentation:
    """What is done to the waves of a batch in training. Zero, or false, turns a part off.

    `roll_samples` is the largest shift in time, in samples; `perturb_edges` draws the edges of the mel bank
    (`FrontEnd`) for each batch; `impulse_probability` is that of an impulse response, for each clip of the clean
    device. Raises `SettingError` for values out of range.
    """

    roll_samples: int = sourced(4_410, "the paper rolls in time but not how far: CP-JKU's 0.1 s")
    perturb_edges: bool = sourced(True, "paper, section 2.2 (f_min, f_max of the mel bank)")
    impulse_probability: float = sourced(
        0.4, "with --irs alone, on the clean device; not in the paper: CP-JKU's 0.4 to 0.6"
    )

    def __post_init__(self) -> None:
        require(self.roll_samples >= 0, "roll_samples", self.roll_samples, "0 (off) or more")
        require(0 <= self.impulse_probability <= 1, "impulse_probability", self.impulse_probability, "in [0, 1]")


@dataclass(frozen=True)
class Augmentation:
    """What is done to a batch of log-mels in training. Zero turns a part off.

    `roll_frames` is the largest shift in time, in frames; `mask_bands` and `mask_frames` are the widest masks, in bands
    and frames. `mixstyle_probability` and `mixstyle_alpha` are those of `freq_mixstyle`, `mixup_alpha` that of `mixup`
    (`dynacp.audio.augment`). Raises `SettingError` for values out of range, such as a `mixstyle_alpha` of 0.
    """

    roll_frames: int = sourced(8, "the paper rolls in time but not how far: CP-JKU's 0.1 s")
    mask_bands: int = sourced(48, "paper, section 2.2")
    mask_frames: int = sourced(0, "paper, section 2.2")
    mixstyle_probability: float = sourced(0.8, "paper, section 2.2")
    mixstyle_alpha: float = sourced(0.4, "paper, section 2.2")
    mixup_alpha: float = sourced(0.3, "the paper gives none: EfficientAT's")

    def __post_init__(self) -> None:
        for name in ("roll_frames", "mask_bands", "mask_frames", "mixup_alpha"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "0 (off) or more")
        require(0 <= self.mixstyle_probability <= 1, "mixstyle_probability", self.mixstyle_probability, "in [0, 1]")
        require(self.mixstyle_alpha > 0, "mixstyle_alpha", self.mixstyle_alpha, "positive")

    def require_views(self) -> None:
        """Raise `SettingError` for Freq-MixStyle, which views (`dynacp.audio.views`) do not have.

        It mixes what happens to be in a batch.
        """
        probability = self.mixstyle_probability
        require(not probability, "mixstyle_probability", probability, "0 where soft labels are of views")

    def __call__(
        self, log_mels: Tensor, targets: tuple[Tensor, ...], generator: torch.Generator
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Augmented log-mels [batch, 1, mels, frames] and their targets [batch, ...], which mixup mixes alike.

        `targets` are probabilities, `generator` is of the CPU. Inputs are not changed, and are returned themselves
        where nothing is done. Raises `ValueError` for a shift or a mask wider than the log-mels, and for targets that
        are no probabilities.
        """
        if self.roll_frames:
            log_mels = roll_frames(log_mels, max_frames=self.roll_frames, generator=generator)
        if self.mask_bands:
            log_mels = mask_frequency(log_mels, max_bands=self.mask_bands, generator=generator)
        if self.mask_frames:
            log_mels = mask_time(log_mels, max_frames=self.mask_frames, generator=generator)
        if self.mixstyle_probability:
            log_mels = freq_mixstyle(
                log_mels, probability=self.mixstyle_probability, alpha=self.mixstyle_alpha, generator=generator
            )
        if self.mixup_alpha:
            log_mels, targets = mixup(log_mels, targets, alpha=self.mixup_alpha, generator=generator)
        return log_mels, targets
