"""Audio without labels: every whole second of whatever files a folder holds."""

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import tiny
import torch

from dynacp.audio.cache import WAVE_SCALE, unlabelled_waves
from dynacp.audio.dataset import Dataset
from dynacp.audio.features import FrontEnd
from dynacp.audio.reading import AudioError
from dynacp.audio.tau import DataError

RATE = 8_000


def write(file: Path, samples: np.ndarray, rate: int = RATE) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    sf.write(file, samples, rate, subtype="FLOAT" if file.suffix == ".wav" else None)


def noise(samples: int, *, seed: int = 0, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (samples, channels)).astype(np.float32)


def test_every_whole_second_of_each_file_is_taken_in_the_order_of_names(tmp_path: Path) -> None:
    long, short, stereo = noise(2 * RATE + 500), noise(RATE - 1, seed=1), noise(RATE, seed=2, channels=2)
    write(tmp_path / "audio" / "a" / "long.wav", long)
    write(tmp_path / "audio" / "b" / "short.wav", short)
    write(tmp_path / "audio" / "c.wav", stereo)
    (tmp_path / "audio" / "notes.txt").write_text("no audio")
    seconds = unlabelled_waves(tmp_path / "audio", RATE, tmp_path / "cache")
    wanted = np.stack([long[:RATE, 0], long[RATE : 2 * RATE, 0], stereo.mean(axis=1)])
    by_name = [2, 0, 1]  # c.wav lies above the folders a and b, and sorts behind them as a path
    np.testing.assert_array_equal(seconds, np.rint(wanted[sorted(by_name)] * WAVE_SCALE))
    assert seconds.dtype == np.int16


@pytest.mark.parametrize("rate", [16_000, 11_025, 8_001])
def test_other_rates_are_resampled(tmp_path: Path, rate: int) -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(3 * rate) / rate) / 2
    write(tmp_path / "audio" / "tone.wav", tone, rate)
    seconds = unlabelled_waves(tmp_path / "audio", RATE, tmp_path / "cache") / WAVE_SCALE
    wanted = np.sin(2 * np.pi * 440 * np.arange(3 * RATE) / RATE).reshape(3, RATE) / 2
    assert seconds.shape == (3, RATE)
    assert np.abs(seconds - wanted)[:, 100:-100].max() < 0.01


def test_a_recording_longer_than_a_block_is_cut_as_a_whole_one_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "audio" / "long.wav", noise(5 * RATE + 7))
    whole = unlabelled_waves(tmp_path / "audio", RATE, tmp_path / "one")
    monkeypatch.setattr("dynacp.audio.reading.BLOCK_SAMPLES", 2 * RATE)
    np.testing.assert_array_equal(unlabelled_waves(tmp_path / "audio", RATE, tmp_path / "other"), whole)


def test_all_files_that_cannot_be_used_are_named_with_a_remedy(tmp_path: Path) -> None:
    folder = tmp_path / "audio"
    write(folder / "good.wav", noise(RATE))
    (folder / "text.wav").write_text("no audio")
    (folder / "empty.flac").write_bytes(b"")
    with pytest.raises(
        DataError, match=r"2, namely .*empty\.flac: cannot be read.*text\.wav: cannot be read.*give wav"
    ):
        unlabelled_waves(folder, RATE, tmp_path / "cache")
    (folder / "text.wav").unlink()
    (folder / "empty.flac").unlink()
    write(folder / "silent.wav", np.zeros(2 * RATE))
    write(folder / "loud.wav", 9 * noise(RATE))
    with pytest.raises(DataError, match=r"loud\.wav: has samples.*silent\.wav: is digital silence.*leave them out"):
        unlabelled_waves(folder, RATE, tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*.npy")), "nothing that could be taken for a result"


def test_folders_without_a_second_of_audio_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="does not exist"):
        unlabelled_waves(tmp_path / "audio", RATE, tmp_path / "cache")
    write(tmp_path / "audio" / "short.wav", noise(RATE - 1))
    with pytest.raises(DataError, match="none of its audio files lasts a second"):
        unlabelled_waves(tmp_path / "audio", RATE, tmp_path / "cache")


def test_a_folder_with_test_clips_is_refused_before_anything_is_decoded(tmp_path: Path) -> None:
    root = tiny.write_tiny(tmp_path / "set")
    dataset = Dataset(root, tmp_path / "cache", FrontEnd(), torch.device("cpu"), unlabelled_folder=root / "audio")
    with pytest.raises(DataError, match=r"24 of its files are in test\.csv"):
        dataset.check()
    assert not (tmp_path / "cache").exists()
