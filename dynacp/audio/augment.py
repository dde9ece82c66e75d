"""Augmentations of training batches: small pure functions of a batch and a generator.

Waves are [batch, samples]; log-mels are normalised, [batch, 1, mels, frames]. Every random draw comes from a generator
of the CPU, so one seed gives one augmentation on any device. No input is modified; a strength of zero (and a draw that
augments nothing) returns the input itself. A strength out of range raises `ValueError`.
"""

from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from scipy.fft import next_fast_len
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from dynacp.audio.features import MASK_VALUE
from dynacp.audio.reading import UnusableAudioError, is_audio, read_recording

Targets = TypeVar("Targets", Tensor, tuple[Tensor, ...])
"""The targets that `mixup` mixes: one tensor, or a tuple of them."""

LONGEST_RESPONSE = 10
"""The longest impulse response in seconds: a microphone's takes a fraction of one, a cathedral's reverberation ten."""


def roll_samples(waves: Tensor, *, max_samples: int, generator: torch.Generator) -> Tensor:
    """Waves [batch, samples], each rolled in time by its own shift in [-max_samples, max_samples].

    0 means off and returns `waves` itself. `generator` is of the CPU. Raises `ValueError` for a negative shift, and for
    one longer than the waves.
    """
    return _roll(waves, "max_samples", max_samples, generator)


def roll_frames(x: Tensor, *, max_frames: int, generator: torch.Generator) -> Tensor:
    """Log-mels [batch, 1, mels, frames], each rolled in time by its own shift in [-max_frames, max_frames].

    0 means off and returns `x` itself. `generator` is of the CPU. Raises `ValueError` for a negative shift, and for one
    longer than the log-mels.
    """
    return _roll(x, "max_frames", max_frames, generator)


def impulse_response(
    waves: Tensor, responses: Tensor, *, probability: float, eligible: Tensor, generator: torch.Generator
) -> Tensor:
    """Waves [batch, samples], some as if recorded by another microphone: device impulse response augmentation.

    Each clip that is `eligible` (bool [batch]: those of the clean device) is convolved, with this probability, with a
    random one of `responses` [count, taps], then cut to the length and scaled to the energy that it had: its colour
    changes, not its level. Morocutti et al. 2023 (https://arxiv.org/abs/2305.07499) take probabilities of 0.4 to 0.6.
    `generator` is of the CPU. Returns `waves` itself where no clip is drawn. Raises `ValueError` for a probability
    outside [0, 1], or another shape or type of `eligible`.
    """
    if eligible.shape != waves.shape[:1] or eligible.dtype != torch.bool:
        raise ValueError(
            f"`eligible` must be a bool for each of the {len(waves)} clips, but got {list(eligible.shape)} of "
            f"{eligible.dtype}."
        )
    drawn = draw_responses(len(waves), len(responses), probability=probability, generator=generator)
    return convolved(waves, responses, torch.where(eligible.cpu(), drawn, NO_RESPONSE))


NO_RESPONSE = -1
"""Stands for an impulse response's number where a clip gets none."""


def draw_responses(clips: int, responses: int, *, probability: float, generator: torch.Generator) -> Tensor:
    """For each of so many clips, with this probability, the number of one of the responses, else `NO_RESPONSE`.

    int64 [clips], on the CPU. Raises `ValueError` for a probability outside [0, 1].
    """
    _check_probability(probability)
    hit = torch.rand(clips, generator=generator) < probability
    return torch.where(hit, torch.randint(responses, (clips,), generator=generator), NO_RESPONSE)


def convolved(waves: Tensor, responses: Tensor, pick: Tensor) -> Tensor:
    """Waves [batch, samples], each convolved with the response of its number in `pick`, as `impulse_response` says.

    `pick` is int64 [batch] on the CPU. Returns `waves` itself where all are `NO_RESPONSE`.
    """
    chosen = (pick != NO_RESPONSE).nonzero().flatten()
    if not len(chosen):
        return waves
    pick, chosen = pick[chosen].to(waves.device), chosen.to(waves.device)
    dry = waves[chosen]
    size = next_fast_len(waves.shape[1] + responses.shape[1] - 1, real=True)  # long enough that no tail wraps round
    spectra = torch.fft.rfft(responses.to(waves), n=size)[pick]
    wet = torch.fft.irfft(torch.fft.rfft(dry, n=size) * spectra, n=size)[:, : waves.shape[1]]
    smallest = torch.finfo(waves.dtype).tiny
    level = dry.norm(dim=1, keepdim=True) / wet.norm(dim=1, keepdim=True).clamp_min(smallest)
    return waves.index_copy(0, chosen, wet * level)


def load_impulse_responses(folder: Path, sample_rate: int) -> Tensor:
    """The audio files of a folder, in the order of their names, as responses [count, taps] of unit energy each.

    They are float32, on the CPU. The first channel is taken and resampled to `sample_rate` Hz; shorter responses end in
    zeros. Folders inside are not searched. Raises `ValueError` for a folder without such files (or that is not there),
    and for a file that cannot be read, is silent, goes beyond [-1, 1] or lasts longer than `LONGEST_RESPONSE`.
    """
    paths = sorted(path for path in folder.glob("*") if is_audio(path))
    if not paths:
        raise ValueError(f"{folder} holds no .wav files; give a folder of impulse responses.")
    return pad_sequence([_load_impulse_response(path, sample_rate) for path in paths], batch_first=True)


def _load_impulse_response(path: Path, sample_rate: int) -> Tensor:
    try:
        recording = read_recording(path, sample_rate, channel=0, longest=LONGEST_RESPONSE)
    except UnusableAudioError as error:
        raise ValueError(f"{path} {error.fault}; {error.remedy}; replace or remove it.") from None
    if recording.peak > 1:  # a response's level does not matter, but its shape does
        raise ValueError(f"{path} has samples of magnitude {recording.peak:.4g}; scale them to [-1, 1].")
    response = torch.from_numpy(recording.samples)
    energy = response.square().sum()
    if not energy > 0:
        raise ValueError(f"{path} is silent, which no impulse response is; replace or remove it.")
    return response / energy.sqrt()


def mask_frequency(x: Tensor, *, max_bands: int, generator: torch.Generator) -> Tensor:
    """Log-mels [batch, 1, mels, frames], each with one run of 0 to `max_bands` bands masked (SpecAugment; paper: 48).

    Masked bands take `MASK_VALUE` (paper, section 2.2, equation 1). 0 means off and returns `x` itself. `generator` is
    of the CPU. Raises `ValueError` for a negative number, and for more bands than there are.
    """
    return _mask(x, -2, "max_bands", max_bands, generator)


def mask_time(x: Tensor, *, max_frames: int, generator: torch.Generator) -> Tensor:
    """Log-mels [batch, 1, mels, frames], each with one run of 0 to `max_frames` frames masked (paper: 0, off).

    Masked frames take `MASK_VALUE`. 0 means off and returns `x` itself. `generator` is of the CPU. Raises `ValueError`
    for a negative number, and for more frames than there are.
    """
    return _mask(x, -1, "max_frames", max_frames, generator)


def freq_mixstyle(x: Tensor, *, probability: float, alpha: float, generator: torch.Generator) -> Tensor:
    """Log-mels [batch, 1, mels, frames] whose bands take on some of another clip's mean and deviation.

    Freq-MixStyle (https://arxiv.org/abs/2206.12513): with one draw of `probability` for the batch, the statistics of
    each band over channel and time are mixed with those of a random partner, with a weight from Beta(alpha, alpha) for
    each clip. The paper takes probability 0.8, alpha 0.4. `generator` is of the CPU. Returns `x` itself where the draw
    says no. Raises `ValueError` for a probability outside [0, 1], and for an alpha that is not positive.
    """
    _check_probability(probability)
    if not alpha > 0:
        raise ValueError(f"`alpha` must be positive, but got {alpha!r}; for no mixing set `probability` to 0.")
    if torch.rand((), generator=generator) >= probability:
        return x
    own = _beta(alpha, x, generator)
    partner = torch.randperm(len(x), generator=generator).to(x.device)
    mean = x.mean(dim=(1, 3), keepdim=True)
    variance = (x - mean).square().mean(dim=(1, 3), keepdim=True)  # torch.var_mean takes five times as long
    deviation = (variance + 1e-6).sqrt()
    scale = torch.lerp(deviation[partner], deviation, own) / deviation
    return torch.addcmul(torch.lerp(mean[partner], mean, own) - mean * scale, x, scale)


def mixup(x: Tensor, targets: Targets, *, alpha: float, generator: torch.Generator) -> tuple[Tensor, Targets]:
    """Each clip mixed with a random partner, inputs and targets alike: weight * own + (1 - weight) * partner's.

    The weights come from Beta(alpha, alpha), one for each clip (paper, section 2.2, equation 2); alpha 0 means off and
    returns the arguments themselves. `x` is [batch, ...]; `targets` is one tensor [batch, ...] of probabilities, or
    several in a tuple (such as labels and a teacher's). `generator` is of the CPU. Raises `ValueError` for a negative
    alpha, and for other targets.
    """
    if not alpha >= 0:
        raise ValueError(f"`alpha` must be 0 (off) or positive, but got {alpha!r}.")
    for target in (targets,) if isinstance(targets, Tensor) else targets:
        if not target.is_floating_point() or len(target) != len(x):
            raise ValueError(
                f"`targets` must be probabilities for each of the {len(x)} clips, but got {list(target.shape)} of "
                f"{target.dtype}; make class numbers one-hot."
            )
    if alpha == 0:
        return x, targets
    own = _beta(alpha, x, generator)
    partner = torch.randperm(len(x), generator=generator)

    def mix(values: Tensor) -> Tensor:
        return mixed(values, values[partner.to(values.device)], own)

    return mix(x), mix(targets) if isinstance(targets, Tensor) else tuple(map(mix, targets))


def mixed(own: Tensor, others: Tensor, weights: Tensor) -> Tensor:
    """weight * own + (1 - weight) * other's for each of a batch, [batch, ...]; one weight for each of the batch."""
    return torch.lerp(others, own, weights.view(-1, *[1] * (own.ndim - 1)).to(own))


def _roll(x: Tensor, name: str, most: int, generator: torch.Generator) -> Tensor:
    """[batch, ..., length] with each clip rolled along its last dimension: windows on the clip between its own ends."""
    _check_width(name, most, x.shape[-1])
    return rolled(x, draw_shifts(len(x), most, generator)) if most else x


def draw_shifts(clips: int, most: int, generator: torch.Generator) -> Tensor:
    """A shift in [-most, most] for each of so many clips: int64 [clips], on the CPU."""
    return torch.randint(-most, most + 1, (clips,), generator=generator)


def rolled(x: Tensor, shifts: Tensor) -> Tensor:
    """[batch, ..., length] with each clip rolled along its last dimension by its shift, int64 [batch] on the CPU.

    No shift is longer than the clip.
    """
    length, most = x.shape[-1], int(shifts.abs().max())
    between = torch.cat([x[..., length - most :], x, x[..., :most]], dim=-1)
    starts = most - shifts.to(x.device)
    return between.unfold(-1, length, 1)[torch.arange(len(x), device=x.device), ..., starts, :]


def _mask(x: Tensor, dim: int, name: str, most: int, generator: torch.Generator) -> Tensor:
    """[batch, 1, mels, frames] with a run of each clip masked along `dim`, its width uniform in [0, most]."""
    _check_width(name, most, x.shape[dim])
    return masked(x, dim, draw_masks(len(x), most, x.shape[dim], generator)) if most else x


def draw_masks(clips: int, most: int, length: int, generator: torch.Generator) -> Tensor:
    """For each of so many clips a run of 0 to `most` positions: its first and the one behind its last.

    int64 [clips, 2], on the CPU; every run lies in [0, length), and `most` is at most `length`.
    """
    width = torch.randint(most + 1, (clips, 1), generator=generator)
    start = (torch.rand(clips, 1, generator=generator) * (length - width + 1)).long()  # uniform in [0, length - width]
    return torch.cat([start, start + width], dim=1)


def masked(x: Tensor, dim: int, runs: Tensor) -> Tensor:
    """Log-mels [batch, 1, mels, frames], each with a run along `dim` masked; `runs` are as `draw_masks` gives them."""
    position, shape = torch.arange(x.shape[dim]), [len(x), 1, 1, 1]
    shape[dim] = x.shape[dim]
    inside = (runs[:, :1] <= position) & (position < runs[:, 1:])
    return torch.where(inside.view(shape).to(x.device), MASK_VALUE, x)


def _beta(alpha: float, x: Tensor, generator: torch.Generator) -> Tensor:
    """Weights [batch, 1, ...] from Beta(alpha, alpha), like `x`."""
    return draw_weights(len(x), alpha, generator).view(-1, *[1] * (x.ndim - 1)).to(x)


def draw_weights(clips: int, alpha: float, generator: torch.Generator) -> Tensor:
    """A weight from Beta(alpha, alpha) for each of so many clips: float64 [clips], on the CPU.

    They are numpy's, as torch's Beta takes no generator.
    """
    seed = int(torch.randint(2**63 - 1, (), generator=generator))
    return torch.from_numpy(np.random.default_rng(seed).beta(alpha, alpha, clips))


def _check_probability(probability: float) -> None:
    if not 0 <= probability <= 1:
        raise ValueError(f"`probability` must be in [0, 1], 0 for off, but got {probability!r}.")


def _check_width(name: str, value: int, length: int) -> None:
    if not 0 <= value <= length:
        raise ValueError(f"`{name}` must be in [0, {length}], 0 for off, but got {value!r}.")
