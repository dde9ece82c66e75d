"""The front end, against golden numbers and against a second one in numpy and double precision."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dynacp.audio.features import MASK_VALUE, FrontEnd, LogMel, mel_bank, normalise


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(clips: int, samples: int = 44_100, seed: int = 0) -> Tensor:
    return torch.randn(clips, samples, generator=seeded(seed)).clamp(-4, 4) / 4


def mel(hertz: Any) -> Any:
    return 1127 * np.log1p(np.asarray(hertz) / 700)


def triangles(f_min: float, f_max: float, *, bands: int = 256, n_fft: int = 4096, rate: float = 32_000) -> np.ndarray:
    """Triangles that are equally spaced in mel, over the bins of an FFT: [bands, bins]."""
    points = np.linspace(mel(f_min), mel(f_max), bands + 2)
    bins = mel(np.arange(n_fft // 2 + 1) * rate / n_fft)
    return np.stack([np.interp(bins, points[b : b + 3], [0, 1, 0]) for b in range(bands)])


def witness(wave: np.ndarray) -> np.ndarray:
    """The whole chain of the defaults for one clip, frame by frame, in double precision: [mels, frames]."""
    wave = wave.astype(np.float64)
    wave = np.pad(wave[1:] - 0.97 * wave[:-1], 2048, mode="reflect")
    window = np.zeros(4096)
    window[512:3584] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(3072) / 3071)
    spectra = [np.fft.rfft(wave[start : start + 4096] * window) for start in range(0, len(wave) - 4096 + 1, 500)]
    power = np.abs(np.stack(spectra, axis=1)) ** 2
    return (np.log(triangles(0, 15_500) @ power + 1e-5) + 4.5) / 5


@pytest.mark.parametrize("samples", [44_100, 44_099])
def test_one_second_gives_256_bands_and_89_frames(samples: int) -> None:
    # pre-emphasis leaves 44,099 (44,098) samples; 1 + 44,099 // 500 = 1 + 44,098 // 500 = 89
    log_mel = LogMel()(noise(1, samples))
    assert log_mel.shape == (1, 1, 256, 89)
    assert log_mel.dtype == torch.float32
    assert log_mel.is_contiguous()


def test_one_second_at_32_khz_gives_64_frames_and_65_without_pre_emphasis() -> None:
    assert FrontEnd(sample_rate=32_000).frames(32_000) == 64  # 1 + 31,999 // 500
    assert FrontEnd(sample_rate=32_000, pre_emphasis=0).frames(32_000) == 65  # 1 + 32,000 // 500


@settings(max_examples=30)
@given(
    samples=st.integers(200, 3000),
    hop=st.integers(20, 300),
    window=st.integers(2, 256),
    mels=st.integers(8, 40),
    pre_emphasis=st.sampled_from([0, 0.97]),
    clips=st.integers(1, 6),
)
def test_the_settings_foretell_the_shape(
    samples: int, hop: int, window: int, mels: int, pre_emphasis: float, clips: int
) -> None:
    front_end = FrontEnd(n_fft=256, window_samples=window, hop_samples=hop, mels=mels, pre_emphasis=pre_emphasis)
    log_mel = LogMel(front_end)(noise(clips, samples))
    assert log_mel.shape == (clips, 1, mels, front_end.frames(samples))
    assert log_mel.isfinite().all()


def test_a_second_front_end_in_numpy_agrees() -> None:
    time = torch.arange(44_100) / 44_100
    chirp = 0.5 * torch.sin(2 * math.pi * (200 + 9000 * time) * time)
    clips = torch.stack([noise(1)[0], chirp + 0.2 * noise(1, seed=1)[0]])  # quieter noise drowns in float32's rounding
    for wave, log_mel in zip(clips, LogMel()(clips), strict=True):
        np.testing.assert_allclose(log_mel[0], witness(wave.numpy()), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("edges", [(0, 15_500), (0, 15_000), (7, 15_986)])
def test_the_mel_bank_is_made_of_triangles_equally_spaced_in_mel(edges: tuple[int, int]) -> None:
    np.testing.assert_allclose(mel_bank(FrontEnd(), *edges), triangles(*edges), atol=1e-3)


@pytest.mark.parametrize(("f_max_range", "upper"), [(1, 16_000), (1000, 15_500), (2000, 15_000)])
def test_evaluation_ends_the_bank_in_the_middle_of_the_range(f_max_range: int, upper: int) -> None:
    front_end = FrontEnd(f_max_range=f_max_range)
    assert front_end.edges() == (0, upper)
    above = np.arange(2049) * 32_000 / 4096 > upper
    bank = mel_bank(front_end, *front_end.edges())
    assert not bank[:, above].any()
    assert bank[-1, ~above][-3:].any()


def test_a_draw_takes_every_whole_frequency_of_both_ranges_and_no_other() -> None:
    front_end, generator = FrontEnd(f_min_range=2, f_max_range=3), seeded(0)
    drawn = {front_end.edges(generator) for _ in range(200)}
    assert drawn == {(f_min, f_max) for f_min in (0, 1) for f_max in (15_998, 15_999, 16_000)}


@pytest.mark.parametrize("hertz", [300, 1_000, 4_000, 11_025, 21_000])
def test_a_tone_appears_at_32000_over_44100_of_its_frequency(hertz: float) -> None:
    tone = 0.5 * torch.sin(2 * math.pi * hertz * torch.arange(44_100) / 44_100)
    energy = LogMel()(tone[None])[0, 0].mean(dim=1)
    position = mel(hertz * 32_000 / 44_100) / mel(15_500) * 257  # in steps of the bank, whose band b peaks at b + 1
    assert abs(int(energy.argmax()) - (position - 1)) <= 1


def test_digital_silence_gives_the_floor_and_no_nan() -> None:
    silence = LogMel()(torch.zeros(2, 44_100), generator=seeded(0))
    assert torch.allclose(silence, torch.tensor((math.log(1e-5) + 4.5) / 5))  # -1.4026


def test_a_masked_log_mel_of_zero_is_nine_tenths_after_the_normalisation() -> None:
    assert pytest.approx(0.9) == MASK_VALUE  # (0 + 4.5) / 5
    assert normalise(torch.tensor(0.5)).item() == pytest.approx(1.0)  # (0.5 + 4.5) / 5


def test_evaluation_gives_the_same_bytes_again() -> None:
    front_end, waves = LogMel(), noise(3)
    assert torch.equal(front_end(waves), front_end(waves))


def test_a_seed_decides_the_perturbation() -> None:
    front_end, waves = LogMel(), noise(1)
    assert torch.equal(front_end(waves, generator=seeded(1)), front_end(waves, generator=seeded(1)))
    assert not torch.equal(front_end(waves, generator=seeded(1)), front_end(waves, generator=seeded(2)))


def test_ranges_of_one_leave_training_equal_to_evaluation() -> None:
    front_end, waves = LogMel(FrontEnd(f_min_range=1, f_max_range=1)), noise(1)
    assert torch.equal(front_end(waves, generator=seeded(1)), front_end(waves))


def test_a_batch_shares_one_draw() -> None:
    same = LogMel()(noise(1).expand(9, -1), generator=seeded(3))
    assert torch.allclose(same, same[:1].expand_as(same), atol=1e-5)


def test_a_clip_does_not_depend_on_the_batch_around_it() -> None:
    front_end, waves = LogMel(), noise(6)
    alone = torch.cat([front_end(wave[None]) for wave in waves])
    assert torch.allclose(front_end(waves), alone, atol=1e-5)


def test_autocast_does_not_lower_the_precision() -> None:
    front_end, waves = LogMel(), noise(1)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(front_end(waves), LogMel()(waves))
        cast = front_end(waves)
    assert torch.equal(cast, front_end(waves))


def test_the_input_is_not_modified_and_nothing_is_stored() -> None:
    front_end, waves = LogMel(), noise(2)
    before = waves.clone()
    front_end(waves, generator=seeded(0))
    assert torch.equal(waves, before)
    assert not front_end.state_dict()
    assert not list(front_end.parameters())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"sample_rate": 0}, "`sample_rate` must be a positive integer, but got 0"),
        ({"hop_samples": 500.0}, "`hop_samples` must be a positive integer, but got 500.0"),
        ({"mels": True}, "`mels` must be a positive integer, but got True"),
        ({"f_min_range": 0}, "`f_min_range` must be a positive integer, but got 0; 1 means no perturbation"),
        ({"pre_emphasis": 1.0}, r"`pre_emphasis` must be in \[0, 1\), 0 for none, but got 1.0"),
        ({"pre_emphasis": math.nan}, "`pre_emphasis` must be in"),
        ({"n_fft": 4095}, "`n_fft` must be even, but got 4095; take 4096"),
        ({"window_samples": 5000}, r"`window_samples` must be at most `n_fft` \(4096\), but got 5000; raise `n_fft`"),
        ({"mels": 7}, "`mels` must be at least 8, but got 7"),
        ({"f_max_range": 16_000}, r"at most half of `mel_rate` \(16000\), but got 1 \+ 16000; narrow a range"),
    ],
)
def test_settings_that_give_no_front_end_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FrontEnd(**wrong)


@pytest.mark.parametrize(
    ("waves", "message"),
    [
        (torch.zeros(44_100), r"must be \[batch, samples\] of floats .* got \[44100\].*; add the batch dimension"),
        (torch.zeros(1, 44_100, dtype=torch.int16), r"got \[1, 44100\] of torch.int16; .* or scale integers"),
        (torch.zeros(0, 44_100), r"got \[0, 44100\]"),
        (torch.zeros(1, 2049), "more than 2049 samples .* but has 2049; pad it or lower `n_fft`"),
    ],
)
def test_waves_that_give_no_log_mel_are_refused(waves: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LogMel()(waves)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator")
def test_an_accelerator_agrees_with_the_processor() -> None:
    waves = noise(9)
    there = LogMel().cuda()(waves.cuda(), generator=seeded(4)).cpu()
    assert torch.allclose(there, LogMel()(waves, generator=seeded(4)), atol=1e-4)
