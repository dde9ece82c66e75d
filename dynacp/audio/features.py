"""From samples to the network's input: the log-mel front end.

The network expects 256 bands x 89 frames. 89 frames are one second at 44.1 kHz with a hop of 500 samples, not
resampled; the paper's "effective sampling rate of 32,000 Hz" (section 2.1) is then the rate which the mel bank is
told. So a tone of f Hz lands in the band of f x 32,000 / 44,100 Hz, and the bank's upper edge of 15,500 Hz is a true
frequency of 21,361 Hz. The bank, logarithm and normalisation are those of CP-JKU's DCASE systems
(https://github.com/fschmid56/cpjku_dcase23), which the paper builds on.
"""

from dataclasses import dataclass, fields
from functools import lru_cache
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchaudio.compliance.kaldi import get_mel_banks

from dynacp.settings import sourced

LOG_FLOOR = 1e-5
"""The value added to the mel power before the logarithm, so that digital silence is finite (CP-JKU)."""

CPU_CLIPS_AT_ONCE = 4
"""Clips that a CPU transforms at once: its caches do not hold the spectra of 64, and four take a third of the time."""

BAND_GROUPS = 8
"""The number of groups of bands in which the mel bank is multiplied, each over its own bins alone, since a band weighs
few of them.
"""

GroupedBank: TypeAlias = tuple[tuple[int, int, Tensor], ...]
"""A mel bank as groups of bands: (first bin, last bin + 1, weights [bands, bins] over these bins)."""


@dataclass(frozen=True)
class FrontEnd:
    """Settings of the front end. Raises `ValueError` for settings that give no mel bank or no frame.

    In training the lower edge of the mel bank is drawn from [0, f_min_range) Hz and the upper edge from the
    `f_max_range` Hz that end at mel_rate / 2; evaluation takes 0 Hz and the middle of that range. A range of 1 means no
    perturbation. `mel_rate` is in Hz; `n_fft`, `window_samples` and `hop_samples` are in samples; `mels` is the number
    of bands.
    """

    sample_rate: int = sourced(44_100, "paper, section 2.1: the clips' own rate, in Hz")
    mel_rate: int = sourced(32_000, "paper, section 2.1, the effective rate: what the mel bank is told")
    n_fft: int = sourced(4096, "paper, section 2.1 (which calls it the window length of the STFT)")
    window_samples: int = sourced(3072, "paper, section 2.1; a symmetric Hann window, as CP-JKU's")
    hop_samples: int = sourced(500, "paper, section 2.1")
    mels: int = sourced(256, "paper, section 2.1")
    f_min_range: int = sourced(1, "paper, section 2.2 gives no range: CP-JKU's, in Hz; 1 means none")
    f_max_range: int = sourced(1000, "paper, section 2.2 gives no range: CP-JKU's, in Hz")
    pre_emphasis: float = sourced(0.97, "paper, section 2.2 gives no coefficient: CP-JKU's; takes one sample")

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type is int and (type(value) is not int or value < 1):
                hint = "; 1 means no perturbation" if field.name.endswith("_range") else ""
                raise ValueError(f"`{field.name}` must be a positive integer, but got {value!r}{hint}.")
        if not 0 <= self.pre_emphasis < 1:
            raise ValueError(f"`pre_emphasis` must be in [0, 1), 0 for none, but got {self.pre_emphasis!r}.")
        if self.n_fft % 2:
            raise ValueError(f"`n_fft` must be even, but got {self.n_fft}; take {self.n_fft + 1}.")
        if self.window_samples > self.n_fft:
            raise ValueError(
                f"`window_samples` must be at most `n_fft` ({self.n_fft}), but got {self.window_samples}; "
                "raise `n_fft`."
            )
        if self.mels < BAND_GROUPS:
            raise ValueError(f"`mels` must be at least {BAND_GROUPS}, but got {self.mels}.")
        if self.f_min_range + self.f_max_range > self.mel_rate // 2:
            raise ValueError(
                f"`f_min_range` + `f_max_range` must be at most half of `mel_rate` ({self.mel_rate // 2}), "
                f"but got {self.f_min_range} + {self.f_max_range}; narrow a range."
            )

    def frames(self, samples: int) -> int:
        """The number of frames of a clip of that many samples: 89 for 44,100, with the defaults.

        Raises `ValueError` for a clip too short to pad.
        """
        kept = samples - (1 if self.pre_emphasis else 0)
        if kept <= self.n_fft // 2:
            raise ValueError(
                f"a clip must have more than {samples - kept + self.n_fft // 2} samples to be centred in frames of "
                f"{self.n_fft}, but has {samples}; pad it or lower `n_fft`."
            )
        return 1 + kept // self.hop_samples

    def edges(self, generator: torch.Generator | None = None) -> tuple[int, int]:
        """(f_min, f_max) of the mel bank in Hz: drawn for training with a generator (of the CPU), else evaluation's.

        Both are in [0, mel_rate / 2], f_min below f_max.
        """
        top = self.mel_rate // 2
        if generator is None:
            return 0, top - self.f_max_range // 2
        f_min = int(torch.randint(self.f_min_range, (), generator=generator))
        return f_min, top - int(torch.randint(self.f_max_range, (), generator=generator))


def mel_bank(settings: FrontEnd, f_min: int, f_max: int) -> Tensor:
    """Kaldi's triangular mel bank from `f_min` to `f_max` Hz, [mels, n_fft / 2 + 1]; the bin at half the rate is 0.

    It is float32, on the CPU. `f_min` < `f_max` are in [0, mel_rate / 2], as `FrontEnd.edges` gives them. Raises
    `AssertionError` for others, except that an `f_max` of 0 or less counts from mel_rate / 2.
    """
    vocal_tract = (100.0, -500.0, 1.0)  # a warp factor of 1: no warping
    bank, _ = get_mel_banks(settings.mels, settings.n_fft, float(settings.mel_rate), f_min, f_max, *vocal_tract)
    return functional.pad(bank, (0, 1))


@lru_cache(maxsize=8)  # evaluation asks for one bank again and again; a draw in training builds its own in 2 ms
def grouped_bank(settings: FrontEnd, f_min: int, f_max: int, device: torch.device) -> GroupedBank:
    """`mel_bank` on `device`, as `BAND_GROUPS` groups of neighbouring bands, each cut to the bins that it needs.

    A group is (its first bin, the bin behind its last, weights [bands, bins]). `f_min` and `f_max` are in Hz; raises
    `AssertionError` as `mel_bank` does. Results are cached and shared: do not change them.
    """
    groups = []
    for bands in mel_bank(settings, f_min, f_max).tensor_split(BAND_GROUPS):
        bins = bands.any(dim=0).nonzero().flatten().tolist() or [0]
        first, end = bins[0], bins[-1] + 1
        groups.append((first, end, bands[:, first:end].contiguous().to(device)))
    return tuple(groups)


def normalise(log_mel: Tensor) -> Tensor:
    """(x + 4.5) / 5: roughly zero mean and unit range for log-mels of audio in [-1, 1] (CP-JKU).

    `log_mel` are natural logarithms of mel power, of any shape, which is kept.
    """
    return (log_mel + 4.5) / 5


MASK_VALUE: float = normalise(torch.tensor(0.0)).item()
"""The value of masked bands and frames, 0.9: a log-mel of 0 after the normalisation, before which SpecAugment masks
(paper, section 2.2, equation 1)."""


class LogMel(nn.Module):
    """Waves [batch, samples] in [-1, 1] to normalised log-mels [batch, 1, mels, frames], float32.

    It has no parameters and no state to store; its `settings` are an attribute. Works in float32 also under autocast,
    whose half precision would not hold a spectrum's range.
    """

    window: Tensor
    """The Hann window of the Fourier transform, float32 [window_samples]."""

    def __init__(self, settings: FrontEnd = FrontEnd()) -> None:
        super().__init__()
        self.settings = settings
        window = torch.hann_window(settings.window_samples, periodic=False)
        self.register_buffer("window", window, persistent=False)

    def forward(self, waves: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """Normalised log-mels [batch, 1, mels, frames] of waves [batch, samples] in [-1, 1].

        With a generator (of the CPU), for training, the edges of the mel bank are drawn once for the batch; without,
        they are those of evaluation. Raises `ValueError` for anything but a batch of float samples, and for clips too
        short for one frame.
        """
        if waves.ndim != 2 or not len(waves) or not waves.is_floating_point():
            shape = list(waves.shape)
            raise ValueError(
                f"`waves` must be [batch, samples] of floats in [-1, 1], but got {shape} of {waves.dtype}; "
                "add the batch dimension, or scale integers."
            )
        self.settings.frames(waves.shape[1])
        bank = grouped_bank(self.settings, *self.settings.edges(generator), waves.device)
        clips = CPU_CLIPS_AT_ONCE if waves.device.type == "cpu" else len(waves)
        with torch.autocast(waves.device.type, enabled=False):
            return torch.cat([self.log_mel(part, bank) for part in waves.float().split(clips)])

    def log_mel(self, waves: Tensor, bank: GroupedBank) -> Tensor:
        """Normalised log-mels [batch, 1, mels, frames] of float32 waves [batch, samples], through the given mel bank.

        `bank` is one of the same settings, as `grouped_bank` gives it. Computed by operations on tensors alone, which
        can be exported: nothing is checked but by them.
        """
        settings = self.settings
        if settings.pre_emphasis:
            waves = waves[:, 1:] - settings.pre_emphasis * waves[:, :-1]
        spectrum = torch.stft(
            waves,
            settings.n_fft,
            settings.hop_samples,
            settings.window_samples,
            self.window,
            center=True,
            return_complex=True,
        ).mT
        power = spectrum.real.square() + spectrum.imag.square()  # [batch, frames, bins], as the STFT lays it out
        mel = torch.cat([functional.linear(power[..., first:end], weights) for first, end, weights in bank], dim=-1)
        return normalise(torch.log(mel + LOG_FLOOR)).mT.unsqueeze(1).contiguous()
