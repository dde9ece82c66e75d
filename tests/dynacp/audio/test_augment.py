"""The augmentations, against the laws that each must keep."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dynacp.audio.augment import (
    freq_mixstyle,
    impulse_response,
    mask_frequency,
    mask_time,
    mixup,
    roll_frames,
    roll_samples,
)
from dynacp.audio.features import MASK_VALUE

Augmentation = Callable[[Tensor, torch.Generator], Tensor]

ON_WAVES: dict[str, Augmentation] = {
    "roll_samples": lambda x, g: roll_samples(x, max_samples=30, generator=g),
    "impulse_response": lambda x, g: respond(x, g, probability=0.9),
}
ON_LOG_MELS: dict[str, Augmentation] = {
    "roll_frames": lambda x, g: roll_frames(x, max_frames=9, generator=g),
    "mask_frequency": lambda x, g: mask_frequency(x, max_bands=20, generator=g),
    "mask_time": lambda x, g: mask_time(x, max_frames=9, generator=g),
    "freq_mixstyle": lambda x, g: freq_mixstyle(x, probability=1.0, alpha=0.4, generator=g),
    "mixup": lambda x, g: mixup(x, x[:, 0, :3, 0], alpha=0.4, generator=g)[0],
}
EVERY = ON_WAVES | ON_LOG_MELS


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(name: str, clips: int = 8, seed: int = 0) -> Tensor:
    shape = (clips, 400) if name in ON_WAVES else (clips, 1, 32, 24)
    return torch.randn(shape, generator=seeded(seed))


def respond(waves: Tensor, generator: torch.Generator, *, probability: float) -> Tensor:
    """Each clip takes part, and each response is noise."""
    responses, eligible = torch.randn(3, 20, generator=seeded(0)), torch.ones(len(waves), dtype=torch.bool)
    return impulse_response(waves, responses, probability=probability, eligible=eligible, generator=generator)


# what all have in common


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shape_dtype_and_layout_are_kept(name: str, dtype: torch.dtype) -> None:
    x = batch(name).to(dtype)
    y = EVERY[name](x, seeded(0))
    assert (y.shape, y.dtype, y.is_contiguous()) == (x.shape, dtype, True)


@pytest.mark.parametrize("name", EVERY)
def test_the_input_is_not_modified(name: str) -> None:
    x = batch(name)
    before = x.clone()
    changed = EVERY[name](x, seeded(0))
    assert torch.equal(x, before)
    assert not torch.equal(changed, before)


@pytest.mark.parametrize("name", EVERY)
def test_a_seed_decides_every_draw(name: str) -> None:
    x = batch(name)
    torch.manual_seed(0)
    first = EVERY[name](x, seeded(1))
    torch.manual_seed(1)  # the global generator has no say
    assert torch.equal(first, EVERY[name](x, seeded(1)))
    assert not torch.equal(first, EVERY[name](x, seeded(2)))


@pytest.mark.parametrize("name", EVERY)
def test_a_generator_goes_on_from_batch_to_batch(name: str) -> None:
    x, generator = batch(name), seeded(1)
    assert not torch.equal(EVERY[name](x, generator), EVERY[name](x, generator))


OFF: dict[str, Augmentation] = {
    "roll_samples": lambda x, g: roll_samples(x, max_samples=0, generator=g),
    "impulse_response": lambda x, g: respond(x, g, probability=0),
    "roll_frames": lambda x, g: roll_frames(x, max_frames=0, generator=g),
    "mask_frequency": lambda x, g: mask_frequency(x, max_bands=0, generator=g),
    "mask_time": lambda x, g: mask_time(x, max_frames=0, generator=g),
    "freq_mixstyle": lambda x, g: freq_mixstyle(x, probability=0, alpha=0.4, generator=g),
    "mixup": lambda x, g: mixup(x, x[:, 0, :3, 0], alpha=0, generator=g)[0],
}


@pytest.mark.parametrize("name", OFF)
def test_a_strength_of_zero_is_the_identity(name: str) -> None:
    x = batch(name)
    assert torch.equal(OFF[name](x, seeded(0)), x)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator")
@pytest.mark.parametrize("name", EVERY)
def test_a_seed_gives_the_same_augmentation_on_an_accelerator(name: str) -> None:
    x = batch(name)
    there = EVERY[name](x.cuda(), seeded(1))
    assert there.is_cuda
    assert torch.allclose(there.cpu(), EVERY[name](x, seeded(1)), atol=1e-4)


# rolls


@settings(max_examples=50)
@given(clips=st.integers(1, 6), length=st.integers(1, 40), data=st.data())
def test_a_roll_is_one_shift_of_each_clip_within_the_limit(clips: int, length: int, data: st.DataObject) -> None:
    most = data.draw(st.integers(0, length))
    x = torch.arange(clips * 3 * length).view(clips, 1, 3, length).float()
    rolled = roll_frames(x, max_frames=most, generator=seeded(data.draw(st.integers(0, 1000))))
    for clip, result in zip(x, rolled, strict=True):
        assert any(torch.equal(torch.roll(clip, shift, -1), result) for shift in range(-most, most + 1))


def test_a_roll_can_be_undone_and_reaches_every_shift() -> None:
    position = torch.arange(12.0).expand(400, -1)
    rolled = roll_samples(position, max_samples=2, generator=seeded(0))
    shifts = -rolled[:, 0] % 12  # what stands first came from -shift
    undone = rolled.gather(1, (torch.arange(12) + shifts[:, None]).long() % 12)
    assert torch.equal(undone, position)
    assert set(shifts.int().tolist()) == {10, 11, 0, 1, 2}


# masks


def runs(masked: Tensor) -> int:
    """How many runs of True a vector has."""
    return int((masked.int().diff(prepend=torch.tensor([0])) == 1).sum())


@settings(max_examples=50)
@given(mels=st.integers(1, 20), frames=st.integers(1, 20), seed=st.integers(0, 1000), data=st.data())
def test_a_mask_is_one_run_no_wider_than_the_limit(mels: int, frames: int, seed: int, data: st.DataObject) -> None:
    x = torch.zeros(5, 1, mels, frames)
    bands, columns = data.draw(st.integers(0, mels)), data.draw(st.integers(0, frames))
    for clip in mask_frequency(x, max_bands=bands, generator=seeded(seed)):
        masked = clip[0] == MASK_VALUE
        assert torch.equal(masked, masked[:, :1].expand_as(masked))
        assert masked[:, 0].sum() <= bands
        assert runs(masked[:, 0]) <= 1
    for clip in mask_time(x, max_frames=columns, generator=seeded(seed)):
        masked = clip[0] == MASK_VALUE
        assert torch.equal(masked, masked[:1].expand_as(masked))
        assert masked[0].sum() <= columns
        assert runs(masked[0]) <= 1


def test_outside_the_mask_nothing_changes() -> None:
    x = batch("mask_frequency")
    masked = mask_frequency(x, max_bands=20, generator=seeded(0))
    assert torch.equal(torch.where(masked == MASK_VALUE, x, masked), x)


def test_every_width_and_every_place_of_a_mask_comes_up() -> None:
    x = torch.zeros(4000, 1, 5, 1)
    masked = (mask_frequency(x, max_bands=3, generator=seeded(0)) == MASK_VALUE)[:, 0, :, 0]
    drawn = {tuple(row.nonzero().flatten().tolist()) for row in masked}
    assert drawn == {()} | {tuple(range(s, s + w)) for w in (1, 2, 3) for s in range(5 - w + 1)}
    widths = masked.sum(dim=1).bincount() / 4000
    assert torch.allclose(widths, torch.tensor(0.25), atol=0.03)  # 4 standard deviations: 4 sqrt(3 / 16 / 4000)


# mixtures


def statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each clip's bands, [batch, mels] each."""
    return x.mean(dim=(1, 3)), x.std(dim=(1, 3), correction=0)


def test_mixstyle_gives_bands_the_statistics_between_two_clips_and_keeps_their_shape() -> None:
    clips = torch.arange(1.0, 7.0).view(6, 1, 1, 1)
    x = clips * batch("freq_mixstyle", clips=6) + 10 * clips
    y = freq_mixstyle(x, probability=1, alpha=1.0, generator=seeded(0))
    (mean_x, deviation_x), (mean_y, deviation_y) = statistics(x), statistics(y)
    shape_x = (x - mean_x[:, None, :, None]) / deviation_x[:, None, :, None]
    shape_y = (y - mean_y[:, None, :, None]) / deviation_y[:, None, :, None]
    assert torch.allclose(shape_x, shape_y, atol=1e-3)
    own = torch.linspace(0, 1, 2001)[:, None, None]
    for clip in range(6):  # some partner and one weight explain the means of all bands, and the deviations too
        error = (own * mean_x[clip] + (1 - own) * mean_x - mean_y[clip]).abs().amax(-1)
        weight, partner = divmod(int(error.argmin()), 6)
        assert error.min() < 0.02
        mixed = torch.lerp(deviation_x[partner], deviation_x[clip], own[weight])
        assert torch.allclose(mixed, deviation_y[clip], atol=0.02)


def test_mixstyle_keeps_a_clip_without_partner_and_one_with_all_the_weight() -> None:
    x = batch("freq_mixstyle", clips=40)
    alone = freq_mixstyle(x[:1], probability=1, alpha=0.4, generator=seeded(0))
    assert torch.equal(alone, x[:1])
    either = freq_mixstyle(x, probability=1, alpha=1e-9, generator=seeded(0))  # weights of 0 or 1, half of them 1
    kept = (either == x).flatten(1).all(dim=1)
    assert 10 < kept.sum() < 30
    partners = (statistics(either)[0][:, None] - statistics(x)[0]).abs().amax(dim=2)
    assert (partners.amin(dim=1) < 1e-5).all(), "the others take on all of their partner's"


def test_mixstyle_draws_once_for_a_batch() -> None:
    x, generator = batch("freq_mixstyle", clips=4), seeded(0)
    hits = [not torch.equal(freq_mixstyle(x, probability=0.8, alpha=1, generator=generator), x) for _ in range(500)]
    assert abs(np.mean(hits) - 0.8 * 23 / 24) < 0.08  # one permutation in 4! keeps all; 4.2 standard deviations


def test_mixstyle_of_silent_bands_is_finite() -> None:
    x = batch("freq_mixstyle")
    x[::2] = -1.4026
    assert freq_mixstyle(x, probability=1, alpha=0.4, generator=seeded(0)).isfinite().all()


@settings(max_examples=50)
@given(
    clips=st.integers(1, 9),
    classes=st.integers(2, 6),
    alpha=st.sampled_from([0.01, 0.3, 1, 8]),
    seed=st.integers(0, 99),
)
def test_mixup_mixes_inputs_and_targets_by_one_weight_and_keeps_the_simplex(
    clips: int, classes: int, alpha: float, seed: int
) -> None:
    x = torch.randn(clips, 1, 4, 5, generator=seeded(seed))
    labels = torch.rand(clips, classes, generator=seeded(seed)).softmax(dim=1)
    marks = torch.eye(clips)  # row i: how much of each clip is in clip i
    mixed, (soft, shares) = mixup(x, (labels, marks), alpha=alpha, generator=seeded(seed))
    assert torch.allclose(mixed, torch.einsum("ij,j...->i...", shares, x), atol=1e-5)
    assert torch.allclose(soft, shares @ labels, atol=1e-5)
    assert (soft >= 0).all()
    assert torch.allclose(soft.sum(dim=1), torch.ones(clips))
    assert ((shares > 0).sum(dim=1) <= 2).all()


def test_mixup_weights_follow_the_beta_distribution() -> None:
    marks = torch.eye(4000)
    _, shares = mixup(torch.zeros(4000, 1), marks, alpha=0.3, generator=seeded(0))
    own = shares.diagonal()
    assert abs(own.mean() - 0.5) < 0.025
    # the variance of Beta(a, a) is 1 / (4 (2 a + 1)): 0.156 for 0.3; the few clips that are their own partner have 1
    assert abs(own.var() - 1 / (4 * 1.6)) < 0.01


def test_one_tensor_of_targets_comes_back_as_one() -> None:
    x, targets = batch("mixup"), torch.eye(8)
    _, one = mixup(x, targets, alpha=0.3, generator=seeded(0))
    _, (first,) = mixup(x, (targets,), alpha=0.3, generator=seeded(0))
    assert torch.equal(one, first)


# refusals


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, g: roll_frames(x, max_frames=25, generator=g), r"`max_frames` must be in \[0, 24\].*but got 25"),
        (lambda x, g: roll_frames(x, max_frames=-1, generator=g), "`max_frames` must be in .* 0 for off, but got -1"),
        (lambda x, g: roll_samples(x, max_samples=25, generator=g), r"`max_samples` must be in \[0, 24\]"),
        (lambda x, g: mask_frequency(x, max_bands=33, generator=g), r"`max_bands` must be in \[0, 32\].*but got 33"),
        (lambda x, g: mask_time(x, max_frames=25, generator=g), r"`max_frames` must be in \[0, 24\].*but got 25"),
        (lambda x, g: freq_mixstyle(x, probability=2, alpha=1, generator=g), r"`probability` must be in \[0, 1\]"),
        (lambda x, g: freq_mixstyle(x, probability=1, alpha=0, generator=g), "`alpha` must be positive, but got 0"),
        (lambda x, g: mixup(x, x, alpha=-1, generator=g), r"`alpha` must be 0 \(off\) or positive, but got -1"),
        (lambda x, g: mixup(x, x[1:], alpha=1, generator=g), "probabilities for each of the 8 clips, but got .7, 1"),
        (lambda x, g: mixup(x, torch.zeros(8).long(), alpha=1, generator=g), "make class numbers one-hot"),
    ],
)
def test_wrong_strengths_are_refused(call: Augmentation, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(batch("mixup"), seeded(0))
