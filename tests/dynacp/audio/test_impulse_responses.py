"""Microphones' impulse responses: what they do to clips, and which files are read as such."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from dynacp.audio.augment import impulse_response, load_impulse_responses

DECAY = 0.5 ** torch.arange(20).float()
RESPONSES = torch.stack([DECAY, DECAY * (-1) ** torch.arange(20), DECAY.roll(3)])


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def respond(waves: Tensor, generator: torch.Generator, *, probability: float = 1.0, **changes: Any) -> Tensor:
    arguments = {"responses": RESPONSES, "eligible": torch.ones(len(waves), dtype=torch.bool), **changes}
    return impulse_response(waves, probability=probability, generator=generator, **arguments)


def test_a_clip_is_convolved_with_one_of_the_responses_and_keeps_its_energy() -> None:
    waves = torch.randn(12, 320, generator=seeded(0))  # a fast length of the FFT: nothing hides a tail that wraps round
    used = set()
    for wave, wet in zip(waves.double().numpy(), respond(waves, seeded(1)).numpy(), strict=True):
        candidates = [np.convolve(wave, response)[:320] for response in RESPONSES.double().numpy()]
        scaled = [c * np.linalg.norm(wave) / np.linalg.norm(c) for c in candidates]
        matches = [number for number, c in enumerate(scaled) if np.allclose(c, wet, atol=1e-5)]
        assert len(matches) == 1
        used.update(matches)
    assert used == {0, 1, 2}


def test_only_eligible_clips_get_a_response() -> None:
    waves = torch.randn(10, 300, generator=seeded(0))
    eligible = torch.arange(10) % 2 == 0
    changed = (respond(waves, seeded(1), eligible=eligible) != waves).any(dim=1)
    assert torch.equal(changed, eligible)


def test_about_the_given_share_of_clips_gets_a_response() -> None:
    waves = torch.randn(2000, 30, generator=seeded(0))
    share = (respond(waves, seeded(1), probability=0.4) != waves).any(dim=1).float().mean()
    assert abs(share - 0.4) < 0.05  # 4.5 standard deviations of sqrt(0.4 x 0.6 / 2000) = 0.011


def test_a_response_longer_than_the_clip_is_heard_within_the_clip_only() -> None:
    waves = torch.randn(1, 50, generator=seeded(0))
    late = torch.zeros(1, 500)
    late[0, 0], late[0, 60:] = 1, 9
    assert torch.allclose(respond(waves, seeded(0), responses=late), waves, atol=1e-5)


def test_digital_silence_stays_silent_under_a_response() -> None:
    silence = torch.zeros(2, 300)
    assert torch.equal(respond(silence, seeded(0)), silence)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"probability": -0.1}, r"`probability` must be in \[0, 1\].* got -0.1"),
        ({"eligible": torch.ones(8)}, "`eligible` must be a bool .* torch.float32"),
        ({"eligible": torch.tensor([True])}, r"each of the 8 clips, but got \[1\]"),
    ],
)
def test_wrong_probabilities_and_choices_of_clips_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        respond(torch.randn(8, 24, generator=seeded(0)), seeded(0), **changes)


def test_responses_are_read_in_order_from_the_first_channel_with_unit_energy(tmp_path: Path) -> None:
    stereo = np.zeros((4, 2))
    stereo[1, 0], stereo[:, 1] = 0.25, 0.9
    soundfile.write(tmp_path / "b.wav", stereo, 44_100, subtype="FLOAT")
    soundfile.write(tmp_path / "a.wav", [0.3, 0.0, 0.4], 44_100, subtype="FLOAT")
    (tmp_path / "notes.txt").write_text("no response")
    responses = load_impulse_responses(tmp_path, 44_100)
    # 0.3^2 + 0.4^2 = 0.5^2; the shorter response ends in zeros
    assert torch.allclose(responses, torch.tensor([[0.6, 0, 0.8, 0], [0, 1, 0, 0]]))


def test_a_response_at_another_rate_is_resampled(tmp_path: Path) -> None:
    time = np.arange(4800) / 48_000
    soundfile.write(tmp_path / "a.wav", np.sin(2 * np.pi * 1000 * time), 48_000, subtype="FLOAT")
    (response,) = load_impulse_responses(tmp_path, 44_100)
    assert len(response) == 4410
    assert torch.fft.rfft(response).abs().argmax() == 100  # 1000 Hz x 0.1 s


def test_responses_of_any_rate_and_ending_are_read(tmp_path: Path) -> None:
    """Recorders write .WAV; and a kernel of torchaudio's for 44,101 Hz would have two billion weights."""
    pulse = np.eye(1, 2_000, 7)[0] / 2
    for name, rate in (("a.WAV", 44_100), ("b.flac", 44_101), ("c.wav", 96_000)):
        soundfile.write(tmp_path / name, pulse, rate, subtype="PCM_24")
    responses = load_impulse_responses(tmp_path, 44_100)
    assert responses.shape == (3, 2_000)
    assert torch.allclose(responses.square().sum(dim=1), torch.ones(3))
    assert responses.argmax(dim=1).tolist() == [7, 7, 3]


@pytest.mark.parametrize(
    ("samples", "complaint"),
    [
        ([0.5, 1.5], r"has samples of magnitude 1\.5; scale them to \[-1, 1\]"),
        (
            [0.5, 150],
            r"has samples of magnitude 150, but full scale is 1; scale them to \[-1, 1\]; replace or remove it",
        ),
        ([0.5, np.nan], r"holds samples that are not finite; .*; replace or remove it"),
        (np.full(11 * 44_100, 0.1), r"lasts 11 s, longer than the 10 s that it may; cut it; replace or remove it"),
    ],
)
def test_responses_out_of_range_or_of_a_whole_recording_are_refused(
    tmp_path: Path, samples: np.ndarray, complaint: str
) -> None:
    soundfile.write(tmp_path / "a.wav", samples, 44_100, subtype="FLOAT")
    with pytest.raises(ValueError, match=rf"a\.wav {complaint}"):
        load_impulse_responses(tmp_path, 44_100)


def test_the_measured_microphones_can_be_read(shared: Path) -> None:
    responses = load_impulse_responses(shared / "data" / "device_irs" / "augment", 44_100)
    assert len(responses) == 8
    assert torch.allclose(responses.square().sum(dim=1), torch.ones(8), atol=1e-4)


def test_folders_without_usable_responses_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no \.wav files; give a folder of impulse responses"):
        load_impulse_responses(tmp_path, 44_100)
    soundfile.write(tmp_path / "a.wav", np.zeros(10), 44_100)
    with pytest.raises(ValueError, match=r"a\.wav is silent, .*; replace or remove it"):
        load_impulse_responses(tmp_path, 44_100)
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    with pytest.raises(ValueError, match=r"a\.wav cannot be read as audio .*; replace or remove it"):
        load_impulse_responses(tmp_path, 44_100)
