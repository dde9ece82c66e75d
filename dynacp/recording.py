"""Reading a recording of whatever rate and channels for a student."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf
import torch
from torchaudio.functional import resample


class AudioError(ValueError):
    """A file that no prediction can be made for; names it and the remedy."""


@dataclass(frozen=True)
class Recording:
    """Float32 samples in [-1, 1] at the rate that was asked for, and what the file was like."""

    samples: np.ndarray
    channels: int
    own_rate: int


def read_recording(file: str | Path, rate: int) -> Recording:
    """Mixed to mono and resampled where needed. Raises `AudioError` for a file that cannot be used."""
    try:
        sound, own_rate = sf.read(file, dtype="float32", always_2d=True)
    except (sf.LibsndfileError, OSError) as error:
        raise AudioError(f"{file} cannot be read as audio ({error}); give wav, flac or ogg files.") from None
    samples = sound.mean(axis=1)
    if not np.isfinite(samples).all():
        raise AudioError(f"{file} holds samples that are not finite; record or convert it anew.")
    if own_rate != rate:
        samples = resample(torch.from_numpy(samples), own_rate, rate).numpy()
    return Recording(samples, sound.shape[1], own_rate)
