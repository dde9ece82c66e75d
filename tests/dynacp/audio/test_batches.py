"""Training batches made from waves."""

from pathlib import Path

import numpy as np
import pytest
import tiny
import torch

from dynacp.audio.augmentation_settings import WaveAugmentation
from dynacp.audio.batches import Waves
from dynacp.audio.cache import log_mels, waves
from dynacp.audio.features import FrontEnd
from dynacp.audio.tau import Clips, training_clips

OFF = WaveAugmentation(roll_samples=0, perturb_edges=False, impulse_probability=0.0)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Clips:
    return training_clips(tiny.write_tiny(tmp_path_factory.mktemp("data") / "tiny"))


@pytest.fixture(scope="module")
def stored(clips: Clips, tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    return waves(clips, tiny.RATE, tmp_path_factory.mktemp("cache"))


def source(
    stored: np.ndarray,
    augmentation: WaveAugmentation,
    *,
    responses: torch.Tensor | None = None,
    eligible: np.ndarray | None = None,
    rows: np.ndarray | None = None,
) -> Waves:
    chosen = np.arange(len(stored)) if rows is None else rows
    return Waves(
        stored,
        chosen,
        torch.device("cpu"),
        front_end=FrontEnd(),
        augmentation=augmentation,
        responses=responses,
        eligible=np.zeros(len(chosen), dtype=bool) if eligible is None else eligible,
    )


def drawn(waves: Waves, *, seed: int = 0) -> torch.Tensor:
    return waves.batch(torch.arange(6), torch.Generator().manual_seed(seed))


def test_unaugmented_waves_give_the_cached_log_mels(clips: Clips, stored: np.ndarray, tmp_path: Path) -> None:
    assert (stored.dtype, stored.shape) == (np.int16, (tiny.TRAINING_CLIPS, tiny.RATE))
    expected = torch.from_numpy(log_mels(clips, FrontEnd(), tmp_path)[:6].copy()).float()
    got = drawn(source(stored, OFF))
    assert got.shape == (6, 1, 256, 89)
    assert (got[:, 0] - expected).abs().max() < 2e-3  # half precision of the cache


@pytest.mark.parametrize("part", [{"roll_samples": 4_410}, {"perturb_edges": True}])
def test_each_part_changes_the_batch_and_repeats_with_the_seed(stored: np.ndarray, part: dict[str, int]) -> None:
    augmented = source(stored, WaveAugmentation(**{"roll_samples": 0, "perturb_edges": False, **part}))  # type: ignore[arg-type]
    assert torch.equal(drawn(augmented, seed=1), drawn(augmented, seed=1))
    assert not torch.equal(drawn(augmented, seed=1), drawn(augmented, seed=2))
    assert not torch.equal(drawn(augmented, seed=1), drawn(source(stored, OFF)))


def test_impulse_responses_change_recordings_of_device_a_alone(stored: np.ndarray) -> None:
    eligible = np.arange(len(stored)) % 2 == 0
    response = torch.zeros(1, 400)
    response[0, ::40] = 0.3
    always = WaveAugmentation(roll_samples=0, perturb_edges=False, impulse_probability=1.0)
    wet = drawn(source(stored, always, responses=response, eligible=eligible))
    changed = (wet - drawn(source(stored, OFF))).abs().amax(dim=(1, 2, 3)) > 0
    assert changed.tolist() == eligible[:6].tolist()


def test_a_selection_of_rows_is_what_comes_out(stored: np.ndarray) -> None:
    some = source(stored, OFF, rows=np.array([5, 3]))
    assert len(some) == 2
    got = some.batch(torch.tensor([1]), torch.Generator())
    assert torch.equal(got, source(stored, OFF).batch(torch.tensor([3]), torch.Generator()))
