"""Views: what a seed and a number decide of every clip, whoever asks."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import torch

from dynacp.audio.augmentation_settings import Augmentation, WaveAugmentation
from dynacp.audio.batches import Features, Waves
from dynacp.audio.features import MASK_VALUE, FrontEnd
from dynacp.audio.views import Joined, ViewedSource, Views, cells_of
from dynacp.settings import SettingError

CLIPS, MELS, FRAMES = 12, 10, 9
CPU = torch.device("cpu")
SETTINGS = Augmentation(roll_frames=3, mask_bands=4, mask_frames=2, mixstyle_probability=0.0, mixup_alpha=1.0)
HALVES = np.arange(CLIPS) % 2


def features() -> Features:
    log_mels = np.random.default_rng(0).normal(size=(CLIPS, MELS, FRAMES)).astype(np.float16)
    return Features(log_mels, np.arange(CLIPS), CPU)


def waves() -> Waves:
    """Every fourth clip may have one of two responses."""
    return Waves(
        np.random.default_rng(1).integers(-3_000, 3_000, (CLIPS, 44_100)).astype(np.int16),
        np.arange(CLIPS),
        CPU,
        front_end=FrontEnd(),
        augmentation=WaveAugmentation(impulse_probability=0.9),
        responses=torch.randn(2, 50, generator=torch.Generator().manual_seed(0)),
        eligible=np.arange(CLIPS) % 4 == 0,
    )


def views(source: ViewedSource | None = None, *, seed: int = 0, settings: Augmentation = SETTINGS) -> Views:
    return Views(source or features(), settings, cells=HALVES, seed=seed)


@pytest.mark.parametrize("source", [features, waves])
def test_a_view_of_a_clip_is_the_same_in_every_batch(source: Callable[[], ViewedSource]) -> None:
    everything = views(source()).batch(torch.arange(CLIPS), 3)
    for some in ([5], [7, 2, 11], [4, 4]):
        alone = views(source()).batch(torch.tensor(some), 3)  # which processors round otherwise than in a larger batch
        torch.testing.assert_close(alone, everything[some], rtol=1e-4, atol=1e-4)
    for other in (views(source()).batch(torch.arange(CLIPS), 4), views(source(), seed=1).batch(torch.arange(CLIPS), 3)):
        assert not torch.isclose(other, everything).all(dim=(1, 2, 3)).any()


def test_responses_are_for_those_clips_that_may_have_them() -> None:
    wet, dry = waves(), waves()
    dry.augmentation = WaveAugmentation(impulse_probability=0.0)
    altered = (wet.view(torch.arange(CLIPS), 2) != dry.view(torch.arange(CLIPS), 2)).flatten(1).any(dim=1)
    assert altered.any() and not altered[np.arange(CLIPS) % 4 != 0].any()


def test_a_clip_is_rolled_masked_and_mixed_with_one_of_its_cell_as_its_targets_are() -> None:
    """Targets that name the clips tell who is in the mix, and with what weight."""
    viewed, plain = views(), features()[torch.arange(CLIPS)][:, 0]
    unmixed = views(settings=Augmentation(3, 4, 2, 0.0, 0.4, 0.0)).batch(torch.arange(CLIPS), 1)[:, 0]
    for clip, x in enumerate(unmixed):
        kept = [np.flatnonzero((x != MASK_VALUE).any(dim=other)) for other in (1, 0)]
        assert len(kept[0]) >= MELS - 4 and len(kept[1]) >= FRAMES - 2
        rolls = [plain[clip].roll(shift, dims=1) for shift in range(-3, 4)]
        assert any(torch.equal(x[np.ix_(*kept)], rolled[np.ix_(*kept)]) for rolled in rolls)
    weights = viewed.mix(torch.eye(CLIPS), torch.arange(CLIPS), 1)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(CLIPS))
    mixed = torch.einsum("ij,jft->ift", weights, unmixed)
    torch.testing.assert_close(viewed.batch(torch.arange(CLIPS), 1)[:, 0], mixed)
    partners = [set(row.nonzero().flatten().tolist()) - {clip} for clip, row in enumerate(weights)]
    assert [len(each) for each in partners] == [1] * CLIPS
    assert all({HALVES[clip]} == {HALVES[partner] for partner in each} for clip, each in enumerate(partners))
    assert Counter(partner for each in partners for partner in each) == Counter(range(CLIPS)), "each is a partner once"


def test_a_clip_that_is_alone_in_its_cell_is_mixed_with_itself() -> None:
    alone = Views(features(), SETTINGS, cells=np.arange(CLIPS), seed=0)
    torch.testing.assert_close(alone.mix(torch.eye(CLIPS), torch.arange(CLIPS), 0), torch.eye(CLIPS))


def test_weights_are_uniform_as_the_mixup_s_alpha_says() -> None:
    viewed = Views(features(), SETTINGS, cells=np.zeros(CLIPS, dtype=np.int64), seed=0)
    own = torch.cat([viewed.mix(torch.eye(CLIPS), torch.arange(CLIPS), number).diag() for number in range(200)])
    quantiles = torch.quantile(own, torch.tensor([0.1, 0.5, 0.9]))
    torch.testing.assert_close(quantiles, torch.tensor([0.1, 0.5, 0.9]), atol=0.04, rtol=0)


def test_cells_are_what_all_masks_tell_apart() -> None:
    cells = cells_of(np.array([[True, True, False, False]]), np.array([[True, False, False, False], [False] * 4]))
    assert len(set(cells.tolist())) == 3 and cells[2] == cells[3]


def test_freq_mixstyle_is_refused() -> None:
    with pytest.raises(SettingError, match="`mixstyle_probability` must be 0 where soft labels are of views"):
        views(settings=Augmentation())


def test_joined_sources_give_each_clip_as_its_own_source_does_whatever_the_order() -> None:
    first, second = waves(), features_like(waves())
    joined, clips = Joined(first, second), torch.tensor([13, 0, 12, 5, 23])
    assert len(joined) == 2 * CLIPS
    seen = joined.view(clips, 3)
    assert torch.equal(seen[[1, 3]], first.view(clips[[1, 3]], 3))
    assert torch.equal(seen[[0, 2, 4]], second.view(clips[[0, 2, 4]] - CLIPS, 3))
    for source, alone in ((first, torch.tensor([4, 1])), (second, torch.tensor([8, 2]))):
        of_joined = alone + (CLIPS if source is second else 0)
        assert torch.equal(joined.view(of_joined, 1), source.view(alone, 1))


def features_like(source: Waves) -> Features:
    shape = source.view(torch.tensor([0]), 0).shape[-2:]
    log_mels = np.random.default_rng(2).normal(size=(CLIPS, *shape)).astype(np.float16)
    return Features(log_mels, np.arange(CLIPS), CPU)
