"""Audio files are read alike everywhere: any rate, any length, and nothing that is damaged or on another scale."""

import os
import struct
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import tiny
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torchaudio.functional import resample

from dynacp.audio import reading
from dynacp.audio.features import FrontEnd
from dynacp.audio.reading import RATES, AudioError, opened, read_recording
from dynacp.audio.resampling import LARGEST_KERNEL, interpolated, kernel_weights
from dynacp.export.submission import System, log_mels
from dynacp.student.architecture import with_classes
from dynacp.student.model import DynaCP

RATE = 44_100
USUAL = (8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 48_000, 64_000, 88_200, 96_000, 176_400, 192_000, 384_000)
WITHOUT_DIVISOR = (44_101, 44_099, 44_056, 22_255, 37_799, 999_983)


def noise(samples: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    sound = np.random.default_rng(seed).uniform(-0.5, 0.5, (samples, channels)).astype(np.float32)
    return sound[:, 0] if channels == 1 else sound


def written(file: Path, sound: np.ndarray, rate: int = RATE, **form: str) -> Path:
    sf.write(file, sound, rate, **form)
    return file


def patched(file: Path, *changes: tuple[int, int]) -> Path:
    """32-bit little-endian numbers written over a file: (position, number)."""
    content = bytearray(file.read_bytes())
    for position, number in changes:
        struct.pack_into("<I", content, position, number)
    file.write_bytes(content)
    return file


@pytest.mark.parametrize("own_rate", USUAL)
def test_usual_rates_are_resampled_as_torchaudio_does_bit_for_bit(tmp_path: Path, own_rate: int) -> None:
    sound = noise(own_rate // 4)
    file = written(tmp_path / "a.wav", sound, own_rate, subtype="FLOAT")
    assert np.array_equal(read_recording(file, RATE).samples, resample(torch.from_numpy(sound), own_rate, RATE).numpy())


@pytest.mark.parametrize("own_rate", WITHOUT_DIVISOR)
def test_a_rate_that_shares_no_divisor_is_resampled_exactly(tmp_path: Path, own_rate: int) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 1_000 * np.arange(own_rate) / own_rate)
    recorded = read_recording(written(tmp_path / "a.wav", tone, own_rate, subtype="FLOAT"), RATE)
    expected = 0.5 * np.sin(2 * np.pi * 1_000 * np.arange(RATE) / RATE)
    assert recorded.samples.shape == (RATE,)
    assert recorded.own_rate == own_rate
    # The filter's ripple in the passband; its edges see the silence before and after.
    assert np.abs(recorded.samples - expected)[50:-50].max() < 1e-3


@settings(max_examples=40)
@given(own_rate=st.integers(*RATES), rate=st.sampled_from((16_000, 32_000, 44_100)), seed=st.integers(0, 9))
def test_both_ways_of_resampling_compute_the_same(own_rate: int, rate: int, seed: int) -> None:
    assume(own_rate != rate)
    sound = noise(own_rate // 20, seed=seed)
    slow = interpolated(sound, own_rate, rate)
    assert len(slow) == -(-len(sound) * rate // own_rate)
    if kernel_weights(own_rate, rate) <= LARGEST_KERNEL // 8:
        fast = resample(torch.from_numpy(sound), own_rate, rate).numpy()
        assert np.abs(fast - slow).max() < 1e-4  # torchaudio computes its weights in 32 bits


@pytest.mark.parametrize("own_rate", [44_100, 48_000, 44_101, 8_000])
@pytest.mark.parametrize("channels", [1, 3])
def test_reading_in_blocks_gives_what_reading_at_once_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_rate: int, channels: int
) -> None:
    file = written(tmp_path / "a.wav", noise(int(3.4 * own_rate), channels), own_rate, subtype="FLOAT")
    at_once = read_recording(file, RATE).samples
    monkeypatch.setattr(reading, "BLOCK_SAMPLES", 60_000)  # one second at these rates
    with opened(file) as audio:
        blocks = list(audio.blocks(RATE))
    assert [len(block) for block in blocks[:-1]] == [RATE] * 3
    np.testing.assert_allclose(np.concatenate(blocks), at_once, rtol=0, atol=1e-6)


def test_channels_are_mixed_or_one_is_taken(tmp_path: Path) -> None:
    sound = noise(100, 2)
    file = written(tmp_path / "a.wav", sound, subtype="FLOAT")
    mixed, left = read_recording(file, RATE), read_recording(file, RATE, channel=0)
    assert mixed.channels == left.channels == 2
    assert np.array_equal(mixed.samples, sound.mean(axis=1))
    assert np.array_equal(left.samples, sound[:, 0])


@pytest.mark.parametrize("loud", [100, 32_768, 1e20, 3e38])
def test_samples_on_another_scale_are_refused(tmp_path: Path, loud: float) -> None:
    sound = noise(1_000) * np.float32(loud)
    with pytest.raises(AudioError, match=r"a\.wav has samples of magnitude .*, but full scale is 1; scale them"):
        read_recording(written(tmp_path / "a.wav", sound, subtype="FLOAT"), RATE)


def test_a_slight_overshoot_is_clipped_and_told(tmp_path: Path) -> None:
    sound = np.array([[0.5, 0.5], [-1.5, 0.5], [1.0, 1.25]], np.float32)
    read = read_recording(written(tmp_path / "a.wav", sound, subtype="FLOAT"), RATE)
    assert read.peak == 1.5
    assert read.samples.tolist() == [0.5, -0.25, 1.0]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    sound = np.where(np.arange(1_000) == 7, value, noise(1_000))
    with pytest.raises(AudioError, match=r"holds samples that are not finite; record or convert it anew"):
        read_recording(written(tmp_path / "a.wav", sound, subtype="FLOAT"), RATE)


FORMS = {
    "wav": ("WAV", "PCM_16"),
    "24.wav": ("WAV", "PCM_24"),
    "float.wav": ("WAV", "FLOAT"),
    "ex.wav": ("WAVEX", "PCM_16"),
    "64.wav": ("RF64", "PCM_16"),
    "w64": ("W64", "PCM_16"),
    "aiff": ("AIFF", "PCM_16"),
    "au": ("AU", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}


@pytest.mark.parametrize("ending", FORMS)
def test_a_file_that_is_cut_off_is_refused_and_a_whole_one_read(tmp_path: Path, ending: str) -> None:
    form, subtype = FORMS[ending]
    file = written(tmp_path / f"a.{ending}", noise(RATE), format=form, subtype=subtype)
    assert read_recording(file, RATE).samples.shape == (RATE,)
    for bytes_ in (file.stat().st_size - 2, file.stat().st_size // 2):
        os.truncate(file, bytes_)
        with pytest.raises(AudioError, match=r"is cut off: .*; fetch or convert it anew|cannot be read as audio"):
            read_recording(file, RATE)


def test_an_ogg_file_that_ends_with_a_whole_page_but_not_the_last_is_cut_off(tmp_path: Path) -> None:
    file = written(tmp_path / "a.ogg", noise(RATE))
    os.truncate(file, file.read_bytes().rindex(b"OggS"))
    with pytest.raises(AudioError, match="is cut off"):
        read_recording(file, RATE)


@pytest.mark.parametrize("promised", [0xFFFFFFFF, 0x7FFFF000, 0x7FFFFFFF - 36])
def test_a_wav_from_a_pipe_whose_header_promises_any_length_is_read(tmp_path: Path, promised: int) -> None:
    file = patched(written(tmp_path / "a.wav", noise(RATE), subtype="PCM_16"), (4, 0xFFFFFFFF), (40, promised))
    assert read_recording(file, RATE).samples.shape == (RATE,)


def test_a_flac_from_a_pipe_that_does_not_say_how_long_it_is_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path / "a.flac", noise(RATE))
    content = bytearray(file.read_bytes())
    content[21:26] = bytes([content[21] & 0xF0, 0, 0, 0, 0])
    file.write_bytes(content)
    with pytest.raises(AudioError, match=r"does not say how long it is; fetch or convert it anew"):
        read_recording(file, RATE)


@pytest.mark.parametrize("rate", [1, 999, 1_000_001, 2**31 - 1])
def test_a_rate_that_no_recorder_has_is_refused_by_its_number(tmp_path: Path, rate: int) -> None:
    file = patched(written(tmp_path / "a.wav", noise(RATE), subtype="PCM_16"), (24, rate))
    with pytest.raises(AudioError, match=rf"claims a sample rate of {rate:,} Hz, .*; resample it to .* 1,000,000 Hz"):
        read_recording(file, RATE)


def test_what_is_no_audio_file_is_named_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(b"\0" * 100)
    (tmp_path / "text.wav").write_text("no audio")
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "link.wav").symlink_to(tmp_path / "nowhere.wav")
    os.mkfifo(tmp_path / "pipe.wav")
    for name, reason in {
        "a.raw": "samplerate must be specified",
        "text.wav": "Format not recognised",
        "empty.wav": "Format not recognised",
        "link.wav": "it is no file, or not there",
        "pipe.wav": "it is no file, or not there",
        "none.wav": "it is no file, or not there",
        ".": "it is no file, or not there",
    }.items():
        with pytest.raises(AudioError, match=rf"cannot be read as audio \({reason}\); give wav, flac or ogg files\.$"):
            read_recording(tmp_path / name, RATE)


def test_a_recording_longer_than_wanted_is_refused_unread(tmp_path: Path) -> None:
    file = written(tmp_path / "a.wav", noise(2 * RATE))
    with pytest.raises(AudioError, match=r"a\.wav lasts 2 s, longer than the 1\.5 s that it may; cut it"):
        read_recording(file, RATE, longest=1.5)


@pytest.mark.parametrize("ending", ["wav", "float.wav", "flac", "ogg"])
def test_damaged_bytes_give_an_error_or_samples_in_range_and_nothing_else(tmp_path: Path, ending: str) -> None:
    form, subtype = FORMS[ending]
    whole = written(tmp_path / f"a.{ending}", noise(3_000, 2), 48_000, format=form, subtype=subtype).read_bytes()
    rng, read = np.random.default_rng(0), 0
    for number in range(150):
        content = np.frombuffer(whole, np.uint8).copy()
        places = rng.integers(0, 120 if number % 2 else len(content), rng.integers(1, 5))
        content[places] = rng.integers(0, 256, len(places))
        file = tmp_path / f"{number}.{ending}"
        file.write_bytes(content.tobytes())
        try:
            with opened(file) as audio:
                for block in audio.blocks(RATE):
                    assert np.isfinite(block).all()
                    assert np.abs(block).max(initial=0) < 2  # resampling overshoots where samples are clipped
            read += 1
        except AudioError as error:
            assert str(error).startswith(str(file))
    assert 0 < read < 150


def test_the_challenge_s_package_hears_a_clip_of_44_101_hz(tmp_path: Path) -> None:
    architecture = with_classes(tiny.LEAN, len(tiny.CLASSES))
    checkpoint = {
        "architecture": architecture.to_json(),
        "classes": list(tiny.CLASSES),
        "front_end": asdict(FrontEnd()),
        "dtype": "float32",
        "base": "base",
        "students": {"base": DynaCP(architecture).state_dict()},
    }
    (heard,) = log_mels(System(checkpoint), [written(tmp_path / "a.wav", noise(44_101), 44_101)])
    assert heard.shape == (1, 1, 256, 89)


BOUNDED = """
import resource, sys
from pathlib import Path
from dynacp.audio.reading import AudioError, opened, read_recording
from dynacp.audio.resampling import resampled
import numpy as np
list(resampled([np.zeros(48_000, np.float32)], 48_000, 44_100))  # what torch makes once
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + 250 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for file in sys.argv[1:]:
    with opened(file) as audio:
        print(sum(len(block) for block in audio.blocks(44_100)))
    try:
        read_recording(file, 44_100)
    except AudioError as error:
        print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit on memory is Linux's")
def test_memory_is_bounded_by_250_mb_whatever_the_rate_the_length_and_the_channels(tmp_path: Path) -> None:
    """44,101 Hz took 23 GB; an hour of eight bits is 635 MB as floats, and the wide file 361 MB."""
    odd = written(tmp_path / "odd.wav", noise(2 * 44_101), 44_101)
    fast = written(tmp_path / "fast.wav", noise(999_983), 999_983)
    long = written(tmp_path / "long.wav", np.zeros(4), subtype="PCM_U8")
    wide = written(tmp_path / "wide.wav", np.zeros((1, 1_024)), subtype="PCM_U8")
    for file, frames, channels in ((long, 3_600 * RATE, 1), (wide, 2 * RATE, 1_024)):
        header = file.read_bytes().index(b"data") + 8
        patched(file, (4, header - 8 + frames * channels), (header - 4, frames * channels))
        os.truncate(file, header + frames * channels)  # without a byte on the disk
    command = [sys.executable, "-c", BOUNDED, *map(str, (odd, fast, wide, long))]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr[-2_000:]
    lengths, error = run.stdout.splitlines()[:4], run.stdout.splitlines()[4:]
    assert lengths == [str(seconds * RATE) for seconds in (2, 1, 2, 3_600)]
    assert "long.wav lasts 3,600 s, longer than the 600 s that it may; cut it" in error[0]
