"""Resampling between any two rates, in bounded memory."""

import math
from collections.abc import Iterable, Iterator
from itertools import chain, pairwise

import numpy as np
import torch
from torchaudio.functional import resample

LARGEST_KERNEL = 2**22
"""The most weights that torchaudio's table may have (17 MB); from 44,101 to 44,100 Hz it would have 2 billion."""

FILTER_WIDTH = 6
"""Zero crossings of the filter on each side; torchaudio's default."""

ROLLOFF = 0.99
"""The filter's cutoff as a share of half the lower rate; torchaudio's default."""

WEIGHTS_AT_ONCE = 2**17
"""Weights that are held in memory at once while samples are interpolated."""


def resampled(blocks: Iterable[np.ndarray], own_rate: int, rate: int) -> Iterator[np.ndarray]:
    """Float32 blocks at `own_rate` Hz, resampled to `rate` Hz as if they were one array.

    Each block [samples] is whole seconds, but for the last, and gives one block; n samples become ceil(n * rate /
    own_rate). It is resampled together with a second of its neighbours, which is more than the filter reaches.
    """
    past = np.empty(0, np.float32)
    for block, following in pairwise(chain(blocks, [np.empty(0, np.float32)])):
        joined = np.concatenate([past[-own_rate:], block, following[:own_rate]])
        start = rate if len(past) else 0
        yield _resampled(joined, own_rate, rate)[start : start + math.ceil(len(block) * rate / own_rate)]
        past = block


def kernel_weights(own_rate: int, rate: int) -> int:
    """The number of weights in torchaudio's table from `own_rate` to `rate` Hz.

    It grows with the product of rates that share no divisor.
    """
    shared = math.gcd(own_rate, rate)
    return rate // shared * (own_rate // shared + 2 * _reach(own_rate, rate))


def _resampled(samples: np.ndarray, own_rate: int, rate: int) -> np.ndarray:
    if kernel_weights(own_rate, rate) <= LARGEST_KERNEL:
        return resample(torch.from_numpy(samples), own_rate, rate).numpy()
    return interpolated(samples, own_rate, rate)


def interpolated(samples: np.ndarray, own_rate: int, rate: int) -> np.ndarray:
    """What torchaudio's `resample` computes: samples [samples] at `own_rate` Hz, as float32 ones at `rate` Hz.

    n samples become ceil(n * rate / own_rate). Weights are made for each sample in turn, in place of a table of all.
    """
    reach, cutoff = _reach(own_rate, rate), _cutoff(own_rate, rate)
    taps = np.arange(-reach, reach + 1)
    padded = np.pad(samples, reach + 1)
    out = np.empty(math.ceil(len(samples) * rate / own_rate), np.float32)
    at_once = max(1, WEIGHTS_AT_ONCE // len(taps))
    for start in range(0, len(out), at_once):
        whole, rest = np.divmod(np.arange(start, min(start + at_once, len(out))) * own_rate, rate)
        crossings = ((taps - rest[:, None] / rate) * cutoff).clip(-FILTER_WIDTH, FILTER_WIDTH)
        weights = np.sinc(crossings) * np.cos(crossings * (np.pi / 2 / FILTER_WIDTH)) ** 2 * cutoff
        near = padded[whole[:, None] + (taps + reach + 1)]
        out[start : start + len(whole)] = np.einsum("st,st->s", weights, near)
    return out


def _cutoff(own_rate: int, rate: int) -> float:
    """The filter's zero crossings per sample at its own rate."""
    return ROLLOFF * min(own_rate, rate) / own_rate


def _reach(own_rate: int, rate: int) -> int:
    """The number of samples, at their own rate, that the filter takes to either side."""
    return math.ceil(FILTER_WIDTH / _cutoff(own_rate, rate))
