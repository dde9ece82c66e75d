"""Views of clips: each augmented once and for all, so that teachers and students hear the very same.

A soft label belongs to what its teacher heard. Students that hear clips masked, rolled and mixed, and are told what
teachers say of the clips as they are, learn little from it ("A good teacher is patient and consistent",
https://arxiv.org/abs/2106.05237). A view is computed anew from its seed whenever it is asked for, so that only what
teachers say of it need be kept.
"""

from functools import lru_cache
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from dynacp.audio.augment import draw_masks, draw_shifts, draw_weights, masked, mixed, rolled
from dynacp.audio.augmentation_settings import Augmentation
from dynacp.stages import derived_seed


class ViewedSource(Protocol):
    """Clips that views can be made of: `Features` or `Waves`; `len` is their number."""

    device: torch.device
    """The device that log-mels are on."""

    def __len__(self) -> int: ...

    def view(self, clips: Tensor, seed: int) -> Tensor:
        """The clips at these indices (a CPU tensor) as a seed has them: float32 log-mels [batch, 1, mels, frames].

        What the seed decides of a clip does not depend on the others in the batch. They are on `device`, in a tensor of
        their own.
        """


class Joined:
    """The clips of one source, followed by those of another; both are on the same device."""

    def __init__(self, first: ViewedSource, second: ViewedSource) -> None:
        self._first, self._second, self.device = first, second, first.device

    def __len__(self) -> int:
        return len(self._first) + len(self._second)

    def view(self, clips: Tensor, seed: int) -> Tensor:
        """As `ViewedSource.view` says."""
        of_second, first = clips >= len(self._first), len(self._first)
        asked = [(self._first, ~of_second, clips), (self._second, of_second, clips - first)]
        parts = [source.view(rows[own], seed) for source, own, rows in asked if own.any()]
        places = torch.argsort(of_second, stable=True)  # of the clips, as the parts have them one after the other
        return torch.cat(parts)[torch.argsort(places).to(self.device)]


class Draws(NamedTuple):
    """What is decided of every clip in one view; all are on the CPU."""

    shifts: Tensor
    """Frames that it is rolled by, int64 [clips]."""
    bands: Tensor
    """The mel bands that are masked, int64 [clips, 2]: the first and the one behind the last."""
    frames: Tensor
    """The frames that are masked, likewise."""
    partners: Tensor
    """The clip that it is mixed with, int64 [clips]."""
    weights: Tensor
    """Its own weight in the mix, float64 [clips]."""


class Views:
    """Views of the clips of a source: rolled, masked and mixed as an `Augmentation` says, by seed and number.

    Clips are mixed with clips of the same cell alone; `cells` are numbers, int64 [clips]. Raises `SettingError` for
    Freq-MixStyle, which views do not have.
    """

    def __init__(self, source: ViewedSource, augmentation: Augmentation, *, cells: np.ndarray, seed: int) -> None:
        augmentation.require_views()
        self._source, self._augmentation, self._seed = source, augmentation, seed
        self._cells = torch.from_numpy(cells)
        self._draws = lru_cache(maxsize=2)(self._drawn)  # a batch may hold the end of an epoch and the next one's start

    def __len__(self) -> int:
        return len(self._source)

    @property
    def device(self) -> torch.device:
        """The device that batches are on."""
        return self._source.device

    def batch(self, clips: Tensor, number: int) -> Tensor:
        """View `number` of the clips at these indices (a CPU tensor): float32 log-mels [batch, 1, mels, frames].

        They are on `device`. Raises `ValueError` for a roll or a mask that is longer than the log-mels.
        """
        draws = self._draws(number)
        own = self._unmixed(clips, number, draws)
        if not self._augmentation.mixup_alpha:
            return own
        return mixed(own, self._unmixed(draws.partners[clips], number, draws), draws.weights[clips])

    def mix(self, targets: Tensor, clips: Tensor, number: int) -> Tensor:
        """Targets of all clips, [clips, ...], as view `number` of those at these indices mixes them: [batch, ...]."""
        draws = self._draws(number)
        own, others = clips.to(targets.device), draws.partners[clips].to(targets.device)
        return mixed(targets[own], targets[others], draws.weights[clips])

    def _unmixed(self, clips: Tensor, number: int, draws: Draws) -> Tensor:
        x = self._source.view(clips, self._seed_of(number))
        if self._augmentation.roll_frames:
            x = rolled(x, draws.shifts[clips])
        if self._augmentation.mask_bands:
            x = masked(x, -2, draws.bands[clips])
        if self._augmentation.mask_frames:
            x = masked(x, -1, draws.frames[clips])
        return x

    def _seed_of(self, number: int) -> int:
        return derived_seed(self._seed, f"view {number}")

    def _drawn(self, number: int) -> Draws:
        settings, clips = self._augmentation, len(self)
        mels, frames = self._source.view(torch.tensor([0]), 0).shape[-2:]
        generator = torch.Generator().manual_seed(self._seed_of(number))
        return Draws(
            shifts=draw_shifts(clips, settings.roll_frames, generator),
            bands=draw_masks(clips, settings.mask_bands, mels, generator),
            frames=draw_masks(clips, settings.mask_frames, frames, generator),
            partners=_partners(self._cells, generator),
            weights=draw_weights(clips, settings.mixup_alpha or 1.0, generator),
        )


def cells_of(*masks: np.ndarray) -> np.ndarray:
    """A number for each clip, int64 [clips]: the same for clips of which all the masks, bool [..., clips], say the
    same.
    """
    return np.unique(np.vstack(masks), axis=1, return_inverse=True)[1].reshape(-1)


def _partners(cells: Tensor, generator: torch.Generator) -> Tensor:
    """For each clip another of its cell, by one random cycle through every cell; itself if it is alone there."""
    shuffled = torch.randperm(len(cells), generator=generator)
    in_cells = shuffled[torch.argsort(cells[shuffled], stable=True)]
    sizes = torch.unique_consecutive(cells[in_cells], return_counts=True)[1]
    following = torch.cat([cell.roll(-1) for cell in in_cells.split(sizes.tolist())])
    partners = torch.empty_like(in_cells)
    partners[in_cells] = following
    return partners
